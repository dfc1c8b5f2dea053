//! Whole networks on a simulated LAN: one node is root and controller, the others join, talk and
//! are thrown out. Times are virtual.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;
mod joining;
mod net;
mod trust;

use serde_json::json;
use zt_protocol::NetworkId;

use net::{Lan, Who};

/// Makes a private network with a pool and the usual route.
fn make_network(lan: &mut Lan) -> NetworkId {
    let path = format!("/controller/network/{}______", lan.controller.address());
    let network = lan.post(
        &path,
        json!({
            "name": "lab",
            "v4AssignMode": { "zt": true },
            "routes": [{ "target": "10.147.20.0/24" }],
            "ipAssignmentPools": [{ "ipRangeStart": "10.147.20.1", "ipRangeEnd": "10.147.20.254" }],
        }),
    );
    network["id"].as_str().unwrap().parse().unwrap()
}

/// A LAN on which all members are authorised, configured, and listen for ARP.
fn connected(members: usize) -> (Lan, NetworkId) {
    let mut lan = Lan::new(members);
    let network = make_network(&mut lan);
    let everybody: Vec<Who> = (1..=members).collect();
    for &who in &everybody {
        lan.authorize(network, who, true);
        lan.join(who, network);
    }
    lan.run_until(std::time::Duration::from_secs(2), |lan| {
        everybody.iter().all(|&who| lan.is_up(who, network))
    });
    for &who in &everybody {
        lan.listen_for_arp(who, network);
    }
    lan.run(std::time::Duration::from_millis(100));
    (lan, network)
}
