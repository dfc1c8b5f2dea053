//! `zt-run ps`: who is where, and how its neighbours are reached.

use std::collections::HashMap;

use anyhow::Result;
use bollard::{
    Docker,
    models::{ContainerSummary, ContainerSummaryStateEnum},
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    Context, containers, lifecycle,
    names::{self, Role},
    sidecar::control::{Control, Peer},
    table::Table,
};

/// How many sidecars are asked at once.
const AT_ONCE: usize = 8;

/// Prints the table.
pub(crate) async fn list(context: &mut Context) -> Result<()> {
    let docker = context.docker().await?;
    lifecycle::reap(&docker, &mut context.progress).await;
    let programs = containers::with_role(&docker, Role::Program).await?;
    let members = &members(&docker, &programs).await;
    let mut rows: Vec<Row> = stream::iter(programs)
        .map(|program| row(&docker, program, members))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let mut table = Table::new(["NAME", "IMAGE", "STATUS", "NETWORK", "ADDRESS", "PATH"]);
    for row in &rows {
        let network = if row.lan.is_empty() {
            &row.network
        } else {
            &row.lan
        };
        let address = row.addresses.first().map_or("", String::as_str);
        table.row([
            &row.name,
            &row.image,
            &row.status,
            network,
            address,
            &path(&row.peers),
        ]);
    }
    context.print(&table, rows.iter().map(Row::json).collect());
    Ok(())
}

/// One program.
#[derive(Default)]
struct Row {
    name: String,
    image: String,
    status: String,
    network: String,
    lan: String,
    node: String,
    addresses: Vec<String>,
    peers: Vec<Peer>,
}

impl Row {
    fn json(&self) -> Value {
        let peers: Vec<Value> = self
            .peers
            .iter()
            .map(|peer| json!({ "address": peer.address, "role": peer.role, "direct": peer.direct() }))
            .collect();
        json!({
            "name": self.name, "image": self.image, "status": self.status, "network": self.network,
            "lan": Some(&self.lan).filter(|lan| !lan.is_empty()), "node": self.node, "addresses": self.addresses,
            "path": path(&self.peers), "peers": peers,
        })
    }
}

/// The members of the LANs that programs are on, as far as their controllers are ours and answer.
type Members = HashMap<String, Vec<String>>;

async fn members(docker: &Docker, programs: &[ContainerSummary]) -> Members {
    let mut known = Members::new();
    for program in programs {
        let (lan, network) = (
            containers::label(program, names::LAN),
            containers::label(program, names::NETWORK),
        );
        if !lan.is_empty()
            && !known.contains_key(lan)
            && let Ok(members) = Control::new(docker, &names::lan(lan))
                .members(network)
                .await
        {
            known.insert(lan.to_owned(), members);
        }
    }
    known
}

async fn row(docker: &Docker, program: ContainerSummary, members: &Members) -> Row {
    let label = |key| containers::label(&program, key).to_owned();
    let mut row = Row {
        name: label(names::NAME),
        image: program.image.clone().unwrap_or_default(),
        status: program.status.clone().unwrap_or_default(),
        network: label(names::NETWORK),
        lan: label(names::LAN),
        ..Row::default()
    };
    if program.state != Some(ContainerSummaryStateEnum::RUNNING) {
        return row;
    }
    let sidecar = names::sidecar(&row.name);
    let control = Control::new(docker, &sidecar);
    match tokio::join!(control.status(), control.networks(), control.peers()) {
        (Ok(status), Ok(networks), Ok(peers)) => {
            row.node = status.address;
            let network = networks
                .into_iter()
                .find(|network| network.id == row.network);
            row.addresses = network
                .map(|network| network.addresses())
                .unwrap_or_default();
            row.peers = peers;
            if let Some(members) = members.get(&row.lan) {
                // A node remembers others for a while; those that were removed from the LAN do not count.
                row.peers
                    .retain(|peer| peer.role != "LEAF" || members.contains(&peer.address));
            }
        }
        _ => row.status.push_str(", sidecar does not answer"),
    }
    row
}

/// How the other members are reached: only they count, not the roots.
fn path(peers: &[Peer]) -> String {
    let leaves = || peers.iter().filter(|peer| peer.role == "LEAF");
    let direct = leaves().filter(|peer| peer.direct().is_some()).count();
    match (direct, leaves().count() - direct) {
        (0, 0) => String::new(),
        (_, 0) => "direct".to_owned(),
        (0, _) => "relayed".to_owned(),
        (direct, relayed) => format!("{direct} direct, {relayed} relayed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(role: &str, direct: bool) -> Peer {
        let paths = if direct {
            r#"[{"address":"10.0.0.1/9993","active":true}]"#
        } else {
            "[]"
        };
        serde_json::from_str(&format!(
            r#"{{"address":"89e92ceee5","role":"{role}","paths":{paths}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn the_path_tells_how_members_are_reached() {
        assert_eq!(path(&[peer("PLANET", true)]), "");
        assert_eq!(
            path(&[peer("PLANET", true), peer("LEAF", true), peer("LEAF", true)]),
            "direct"
        );
        assert_eq!(path(&[peer("LEAF", false)]), "relayed");
        assert_eq!(
            path(&[peer("LEAF", false), peer("LEAF", true)]),
            "1 direct, 1 relayed"
        );
    }
}
