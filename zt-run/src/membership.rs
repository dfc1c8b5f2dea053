//! Waiting until a member has its address, and saying what stands in the way.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

use crate::{
    Context,
    network::Target,
    sidecar::control::{Control, Network},
};

/// Waits until the network is up on the sidecar, and returns the addresses.
pub(crate) async fn wait(
    context: &mut Context,
    control: &Control<'_>,
    target: &Target,
    node: &str,
    until: Instant,
) -> Result<Vec<String>> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(20);
    let mut asked = false;
    loop {
        let network = control
            .networks()
            .await?
            .into_iter()
            .find(|network| network.id == target.id);
        let addresses = network.as_ref().map(Network::addresses).unwrap_or_default();
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        let status = network.map_or_else(
            || "REQUESTING_CONFIGURATION".to_owned(),
            |network| network.status,
        );
        if let Some(reason) = hopeless(&status, target) {
            bail!("{reason}");
        }
        if Instant::now() >= until {
            bail!("{}", too_late(&status, target, node, began.elapsed()));
        }
        if status == "ACCESS_DENIED" && !asked {
            asked = true;
            context.progress.say(&denied(target, node));
        }
        let detail = format!(" ({status}, {} s)", began.elapsed().as_secs());
        context.progress.phase(
            &format!("waiting for an address on {}", target.title()),
            &detail,
        );
        context.interrupt.or(sleep(pause)).await?;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// States that no waiting changes.
fn hopeless(status: &str, target: &Target) -> Option<String> {
    let controller = target.controller();
    match status {
        "NOT_FOUND" => Some(format!(
            "there is no network {}: its controller {controller} does not know it; check the id",
            target.id
        )),
        "CLIENT_TOO_OLD" => Some(format!(
            "the controller {controller} of the network {} wants a newer version of this service",
            target.id
        )),
        _ => None,
    }
}

/// Who must do what when a network does not let us in.
fn denied(target: &Target, node: &str) -> String {
    format!(
        "the network {} does not admit this member yet: authorise {node} at its controller {} \
         (for a network of ZeroTier Central: my.zerotier.com, \"Members\"; \
         for a controller of one's own whose control API this machine reaches: --controller URL --token-file FILE does it)",
        target.id,
        target.controller()
    )
}

/// The last line when the time is over.
fn too_late(status: &str, target: &Target, node: &str, waited: Duration) -> String {
    let seconds = waited.as_secs_f64().round();
    match status {
        "ACCESS_DENIED" => format!("no address after {seconds} s: {}", denied(target, node)),
        "OK" => format!(
            "the network {} let {node} in, but gave it no address within {seconds} s: give it one, or a pool, at the controller {}",
            target.id,
            target.controller()
        ),
        _ => format!(
            "no address after {seconds} s: the controller {} of the network {} did not answer ({status})\n\
             can the engine's containers send UDP? is the id right? --timeout waits longer",
            target.controller(),
            target.id
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            id: "8056c2e21c000001".into(),
            lan: None,
        }
    }

    #[test]
    fn a_denied_member_learns_who_must_authorise_whom_where() {
        let text = too_late(
            "ACCESS_DENIED",
            &target(),
            "89e92ceee5",
            Duration::from_secs(60),
        );
        for part in [
            "89e92ceee5",
            "8056c2e21c000001",
            "8056c2e21c ",
            "--token",
            "60 s",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_network_that_does_not_exist_is_not_waited_for() {
        assert!(
            hopeless("NOT_FOUND", &target())
                .unwrap()
                .contains("8056c2e21c000001")
        );
        assert!(hopeless("REQUESTING_CONFIGURATION", &target()).is_none());
    }
}
