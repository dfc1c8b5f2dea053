//! What `--network` means: the name of a LAN of one's own, or the id of any ZeroTier network.

use anyhow::{Result, bail};
use bollard::{
    Docker,
    models::{ContainerSummary, ContainerSummaryStateEnum},
};

use crate::{containers, names, sidecar::control::Control};

/// A network to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The network id, 16 lower-case hex digits.
    pub id: String,
    /// Our own LAN, if it is one: we can authorise members there, and members need its planet.
    pub lan: Option<String>,
}

impl Target {
    /// How a person calls it.
    pub(crate) fn title(&self) -> &str {
        self.lan.as_deref().unwrap_or(&self.id)
    }

    /// The address of the network's controller: the first ten digits of the id.
    pub(crate) fn controller(&self) -> &str {
        self.id.get(..10).unwrap_or_default()
    }
}

/// True if `text` is written as a network id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Refuses what can be neither a name nor an id, before anything is asked of the engine.
pub(crate) fn check(text: &str) -> Result<()> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id(text) {
        if text.starts_with("ff") || text.starts_with("00000000") {
            bail!(
                "`{text}` is no network id: its first ten digits are not the address of a controller"
            );
        }
        return Ok(());
    }
    if digits && text.len() > 10 {
        bail!(
            "`{text}` is no network id: those have 16 hex digits, this has {}",
            text.len()
        );
    }
    names::check(text).map_err(|_| {
        anyhow::anyhow!("`{text}` is neither a network id (16 hex digits) nor the name of a LAN (see `zt-run lan ls`)")
    })
}

/// Finds the network. For a LAN of ours its container must run, because its service knows the id.
pub(crate) async fn resolve(docker: &Docker, text: &str) -> Result<Target> {
    check(text)?;
    let lans = containers::with_role(docker, names::Role::Lan).await?;
    if is_id(text) {
        let id = text.to_ascii_lowercase();
        for lan in lans.iter().filter(|lan| runs(lan)) {
            let name = containers::label(lan, names::LAN);
            // A LAN that does not answer just is not the one looked for.
            let ids = Control::new(docker, &names::lan(name)).controlled().await;
            match has(&ids.unwrap_or_default(), &id) {
                None => {}
                Some(true) => {
                    return Ok(Target {
                        id,
                        lan: Some(name.to_owned()),
                    });
                }
                Some(false) => bail!(
                    "there is no network {id}: its controller is that of the LAN `{name}`, which does not have it; see `zt-run lan ls`"
                ),
            }
        }
        return Ok(Target { id, lan: None });
    }
    let Some(lan) = lans
        .iter()
        .find(|lan| containers::label(lan, names::LAN) == text)
    else {
        let known: Vec<&str> = lans
            .iter()
            .map(|lan| containers::label(lan, names::LAN))
            .collect();
        let known = if known.is_empty() {
            "there is none yet".to_owned()
        } else {
            format!("there are: {}", known.join(", "))
        };
        bail!(
            "no LAN is called `{text}` ({known})\nmake it with `zt-run lan create {text}`, or give a network id of 16 hex digits"
        );
    };
    if !runs(lan) {
        bail!(
            "the LAN `{text}` is stopped: start it with `docker start {}`",
            names::lan(text)
        );
    }
    let ids = Control::new(docker, &names::lan(text)).controlled().await?;
    let Some(id) = ids.into_iter().next() else {
        bail!(
            "the LAN `{text}` has no network: remove it with `zt-run lan rm {text}` and make it again"
        );
    };
    Ok(Target {
        id,
        lan: Some(text.to_owned()),
    })
}

/// Whether the controller with the networks `controlled` has the network `id`; `None` if that is for another one to say.
fn has(controlled: &[String], id: &str) -> Option<bool> {
    let same = |known: &String| known.get(..10) == id.get(..10);
    controlled
        .iter()
        .any(same)
        .then(|| controlled.iter().any(|known| known == id))
}

fn runs(container: &ContainerSummary) -> bool {
    container.state == Some(ContainerSummaryStateEnum::RUNNING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_sixteen_digits_and_names_do_not_look_like_ids() {
        assert!(check("8056c2e21c000001").is_ok());
        assert!(check("home").is_ok());
        assert!(check("cafe").is_ok());
        let error = |text| check(text).unwrap_err().to_string();
        assert!(error("8056c2e21c00001").contains("this has 15"));
        assert!(error("8056c2e21c0000011").contains("this has 17"));
        assert!(error("my network").contains("neither"));
        assert!(error("ff56c2e21c000001").contains("controller"));
    }

    #[test]
    fn a_lan_knows_which_networks_of_its_controller_do_not_exist() {
        let controlled = ["8056c2e21c000001".to_owned()];
        assert_eq!(has(&controlled, "8056c2e21c000001"), Some(true));
        assert_eq!(has(&controlled, "8056c2e21cabcdef"), Some(false));
        assert_eq!(has(&controlled, "1122334455667788"), None);
        assert_eq!(has(&[], "8056c2e21c000001"), None);
    }

    #[test]
    fn a_network_is_called_by_its_lan() {
        let mut target = Target {
            id: "8056c2e21c000001".into(),
            lan: None,
        };
        assert_eq!(target.title(), "8056c2e21c000001");
        assert_eq!(target.controller(), "8056c2e21c");
        target.lan = Some("home".into());
        assert_eq!(target.title(), "home");
    }
}
