//! The hot path of a whole node allocates nothing: a burst of frames through the rules of an
//! ordinary network, outward and inward.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../protocol/tests/support/counting.rs"]
mod counting;
#[allow(dead_code, reason = "shared with the tests of the LAN")]
#[path = "lan/net.rs"]
mod net;

use std::time::Duration;

use counting::ALLOCATIONS;
use net::{A, B, Lan};
use serde_json::json;
use zt_protocol::NetworkId;
use zt_protocol::vl1::LocalSocket;
use zt_protocol::vl2::ETHERTYPE_IPV4;

const FRAMES: usize = 20;
const LEN: usize = 2_800;

/// One burst from A to B; the payload bytes that B was lent.
fn burst(lan: &mut Lan, network: NetworkId, buffer: &mut [u8]) -> usize {
    let (now, b) = (lan.now, lan.mac(B, network));
    let fill = |index: usize, out: &mut [u8]| out.fill(index as u8);
    lan.node(A)
        .send_burst(now, network, b, ETHERTYPE_IPV4, FRAMES, |_| LEN, fill);
    let mut received = 0;
    while let Some(transmit) = lan.node(A).poll_transmit() {
        let (len, size) = (transmit.payload.len(), transmit.segment_size);
        buffer[..len].copy_from_slice(transmit.payload);
        lan.node(A).transmit_done();
        for datagram in buffer[..len].chunks_mut(size) {
            let from = "192.168.7.2:9993".parse().unwrap();
            let frames =
                &mut |_, frame: zt_protocol::vl2::Frame<'_>| received += frame.payload.len();
            lan.node(B)
                .handle_datagram(now, LocalSocket(0), from, datagram, frames);
        }
    }
    received
}

#[test]
fn a_burst_through_the_rules_costs_no_allocation() {
    let mut lan = Lan::new(2);
    let rules = json!([
        { "type": "MATCH_ETHERTYPE", "etherType": 0x0800, "not": true },
        { "type": "MATCH_ETHERTYPE", "etherType": 0x0806, "not": true },
        { "type": "ACTION_DROP" },
        { "type": "ACTION_ACCEPT" },
    ]);
    let network = lan.post("/controller/network", json!({ "rules": rules }));
    let network: NetworkId = network["id"].as_str().unwrap().parse().unwrap();
    for who in [A, B] {
        lan.authorize(network, who, true);
        lan.join(who, network);
    }
    lan.run(Duration::from_secs(1));
    for (from, to) in [(A, B), (B, A)] {
        let to = lan.mac(to, network);
        lan.send(from, network, to, ETHERTYPE_IPV4, b"introduction");
        lan.run(Duration::from_secs(10));
    }
    let mut buffer = vec![0; 65_536];
    // The first bursts fill the pools.
    for _ in 0..10 {
        assert_eq!(burst(&mut lan, network, &mut buffer), FRAMES * LEN);
    }
    let before = ALLOCATIONS.get();
    for _ in 0..10 {
        assert_eq!(burst(&mut lan, network, &mut buffer), FRAMES * LEN);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
