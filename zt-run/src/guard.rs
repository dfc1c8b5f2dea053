//! Remembers what was made, so that it can be removed again in the right order, whatever happened in between.

use std::fmt;

use anyhow::Result;
use bollard::{
    Docker,
    query_parameters::{RemoveContainerOptionsBuilder, RemoveVolumeOptions},
};

use crate::{
    engine::{is_going, is_missing, said, status},
    failure::Failure,
    sidecar::control::Control,
};

/// One thing that was made. The order of the variants is the order of removal: users before what they use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Made {
    /// The program's container, by id or name.
    Program(String),
    /// The sidecar's container, by id or name.
    Sidecar(String),
    /// A member of a network whose controller is the container `lan`.
    Member {
        lan: String,
        network: String,
        address: String,
    },
    /// The container of a LAN.
    Lan(String),
    /// A volume.
    Volume(String),
    /// A volume that others may use, too: it goes with the last of them.
    SharedVolume(String),
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As short as the engine's own client prints them.
        let short = |id: &str| {
            id.get(..12)
                .filter(|_| id.len() == 64)
                .unwrap_or(id)
                .to_owned()
        };
        match self {
            Self::Program(id) => write!(f, "the program's container {}", short(id)),
            Self::Sidecar(id) => write!(f, "the sidecar {}", short(id)),
            Self::Member {
                network, address, ..
            } => write!(f, "the member {address} of the network {network}"),
            Self::Lan(id) => write!(f, "the LAN's container {}", short(id)),
            Self::Volume(name) | Self::SharedVolume(name) => write!(f, "the volume {name}"),
        }
    }
}

/// What counts when the clean-up fails, too: the outcome of the work stays what it is; what is left is added to an error, and
/// is a warning of its own beside a success.
pub(crate) fn settle<T>(outcome: Result<T>, removed: Result<()>) -> (Result<T>, Option<String>) {
    match (outcome, removed) {
        (outcome, Ok(())) => (outcome, None),
        (Ok(value), Err(left)) => (Ok(value), Some(format!("{left:#}"))),
        (Err(error), Err(left)) => {
            let code = Failure::code_of(&error);
            let both = Failure::new(code, format!("{error:#}\n{left:#}"));
            (Err(both.into()), None)
        }
    }
}

/// The things to remove unless [`Guard::keep`] is called.
#[derive(Default)]
pub(crate) struct Guard {
    made: Vec<Made>,
}

impl Guard {
    /// Remembers a thing that now exists.
    pub(crate) fn made(&mut self, thing: Made) {
        if !self.made.contains(&thing) {
            self.made.push(thing);
        }
    }

    /// Everything stays.
    pub(crate) fn keep(mut self) {
        self.made.clear();
    }

    /// Takes what was remembered, in the order of removal.
    fn take(&mut self) -> Vec<Made> {
        let mut made = std::mem::take(&mut self.made);
        made.sort();
        made
    }

    /// Removes everything. Goes on after an error; the error names all that is left.
    pub(crate) async fn undo(mut self, docker: &Docker) -> Result<()> {
        let mut left = Vec::new();
        for thing in self.take() {
            if let Err(error) = remove(docker, &thing).await {
                left.push(format!("{thing}: {error}"));
            }
        }
        anyhow::ensure!(
            left.is_empty(),
            "could not remove\n  {}\nremove it with `docker rm -f` and `docker volume rm`",
            left.join("\n  ")
        );
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        debug_assert!(
            self.made.is_empty() || std::thread::panicking(),
            "neither kept nor undone: {:?}",
            self.made
        );
    }
}

async fn remove(docker: &Docker, thing: &Made) -> Result<()> {
    let result = match thing {
        Made::Program(id) | Made::Sidecar(id) | Made::Lan(id) => {
            let options = RemoveContainerOptionsBuilder::default()
                .force(true)
                .v(true)
                .build();
            docker.remove_container(id, Some(options)).await
        }
        Made::Volume(name) => {
            docker
                .remove_volume(name, None::<RemoveVolumeOptions>)
                .await
        }
        Made::SharedVolume(name) => {
            let result = docker
                .remove_volume(name, None::<RemoveVolumeOptions>)
                .await;
            // 409: in use.
            result.or_else(|error| {
                if status(&error) == Some(409) {
                    Ok(())
                } else {
                    Err(error)
                }
            })
        }
        Made::Member {
            lan,
            network,
            address,
        } => {
            // A LAN that is gone or stopped has nobody to tell.
            let _ = Control::new(docker, lan)
                .remove_member(network, address)
                .await;
            Ok(())
        }
    };
    match result {
        Ok(()) => Ok(()),
        Err(error) if is_missing(&error) || is_going(&error) => Ok(()),
        Err(error) => Err(anyhow::anyhow!(said(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_go_before_what_they_use() {
        let mut guard = Guard::default();
        let member = Made::Member {
            lan: "zt-lan-home".into(),
            network: "1".into(),
            address: "2".into(),
        };
        for thing in [
            Made::Volume("web-zt-home".into()),
            member.clone(),
            Made::Sidecar("s".into()),
            Made::Program("p".into()),
            Made::Volume("web-zt-run".into()),
            Made::Program("p".into()),
        ] {
            guard.made(thing);
        }
        assert_eq!(
            guard.take(),
            [
                Made::Program("p".into()),
                Made::Sidecar("s".into()),
                member,
                Made::Volume("web-zt-home".into()),
                Made::Volume("web-zt-run".into()),
            ]
        );
    }

    #[test]
    fn things_are_named_as_a_person_knows_them() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(
            Made::Program(id).to_string(),
            "the program's container 0123456789ab"
        );
        assert_eq!(Made::Lan("x".into()).to_string(), "the LAN's container x");
        let volume = Made::SharedVolume("zt-lan-home-planet".into());
        assert_eq!(volume.to_string(), "the volume zt-lan-home-planet");
    }

    #[test]
    fn a_failed_clean_up_does_not_change_the_outcome() {
        let left = || Err(anyhow::anyhow!("could not remove x"));
        let (outcome, warning) = settle(Ok(7), left());
        assert_eq!(outcome.unwrap(), 7);
        assert!(warning.unwrap().contains("could not remove x"));

        let failure = Failure::new(Failure::NOT_FOUND, "no such program");
        let (outcome, warning) = settle::<u8>(Err(failure.into()), left());
        let error = outcome.unwrap_err();
        assert_eq!(Failure::code_of(&error), Failure::NOT_FOUND);
        assert_eq!(error.to_string(), "no such program\ncould not remove x");
        assert!(warning.is_none());
    }

    #[test]
    fn kept_things_are_forgotten() {
        let mut guard = Guard::default();
        guard.made(Made::Volume("v".into()));
        guard.keep();
    }
}
