//! Remembers what was made, so that it can be removed again in the right order, whatever happened in between.

use anyhow::Result;
use bollard::{
    Docker,
    query_parameters::{RemoveContainerOptionsBuilder, RemoveVolumeOptions},
};

use crate::{
    engine::{is_going, is_missing, said, status},
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
                left.push(format!("{thing:?}: {error}"));
            }
        }
        anyhow::ensure!(left.is_empty(), "could not remove\n  {}", left.join("\n  "));
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
    fn kept_things_are_forgotten() {
        let mut guard = Guard::default();
        guard.made(Made::Volume("v".into()));
        guard.keep();
    }
}
