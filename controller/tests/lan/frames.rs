//! Frames between members.

use std::time::Duration;

use serde_json::json;
use zt_protocol::Mac;
use zt_protocol::vl2::{ETHERTYPE_ARP, ETHERTYPE_IPV4, Frame};

use crate::connected;
use crate::net::{A, B, C, DELAY, Lan, arp_request};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_arp_request_finds_the_owner_and_nobody_else() {
    let (mut lan, network) = connected(3);
    let (a, b) = (lan.ipv4(A, network), lan.ipv4(B, network));
    let source = lan.mac(A, network);
    let request = arp_request(source, a, b);
    lan.send(A, network, Mac::BROADCAST, ETHERTYPE_ARP, &request);
    let took = lan.run_until(SECOND, |lan| lan.node(B).vl2().counters().frames_in > 0);
    assert!(took <= 12 * DELAY, "{took:?}");
    let got = lan.received(B);
    assert_eq!(got.len(), 1);
    assert_eq!(
        (got[0].src, got[0].dst, got[0].ethertype),
        (source, Mac::BROADCAST, ETHERTYPE_ARP)
    );
    assert_eq!(got[0].payload, request);
    lan.run(SECOND);
    assert_eq!(lan.received(C), []);
    assert_eq!(lan.received(B), [], "once only");
}

#[test]
fn unicast_frames_of_all_sizes_pass_both_ways() {
    let (mut lan, network) = connected(2);
    let (a, b) = (lan.mac(A, network), lan.mac(B, network));
    for len in [1, 28, 1_400, 1_404, 1_405, 2_800, 9_000] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        lan.send(A, network, b, ETHERTYPE_IPV4, &payload);
        lan.run(20 * DELAY);
        let got = lan.received(B);
        assert_eq!(got.len(), 1, "{len} bytes");
        assert_eq!((got[0].src, got[0].dst, &got[0].payload), (a, b, &payload));
        lan.send(B, network, a, ETHERTYPE_IPV4, &payload);
        lan.run(20 * DELAY);
        assert_eq!(lan.received(A).len(), 1, "{len} bytes back");
    }
}

#[test]
fn a_burst_arrives_whole_and_in_order() {
    let (mut lan, network) = connected(2);
    let b = lan.mac(B, network);
    lan.send(A, network, b, ETHERTYPE_IPV4, b"introduction");
    lan.run(SECOND);
    lan.received(B);
    let now = lan.now;
    let (count, len) = (40, 2_790);
    let fill = |index: usize, out: &mut [u8]| out.fill(index as u8);
    lan.node(A)
        .send_burst(now, network, b, ETHERTYPE_IPV4, count, |_| len, fill);
    lan.run(SECOND);
    let got = lan.received(B);
    let order: Vec<_> = got
        .iter()
        .map(|frame| usize::from(frame.payload[0]))
        .collect();
    assert_eq!(order, (0..count).collect::<Vec<_>>());
    assert!(got.iter().all(|frame| frame.payload.len() == len));
}

#[test]
fn a_broadcast_reaches_everybody() {
    let (mut lan, network) = connected(3);
    // The first one finds the members, and they must have found each other's certificates.
    lan.send(A, network, Mac::BROADCAST, ETHERTYPE_IPV4, b"to all");
    lan.run(SECOND);
    for who in [B, C] {
        assert_eq!(lan.received(who).len(), 1);
    }
    assert_eq!(lan.received(A), [], "but not its sender");
}

#[test]
fn rules_hold_in_both_directions_and_for_bursts() {
    let (mut lan, network) = connected(2);
    let rules = json!([
        { "type": "MATCH_ETHERTYPE", "etherType": 0x0806 },
        { "type": "ACTION_ACCEPT" },
        { "type": "MATCH_FRAME_SIZE_RANGE", "start": 0, "end": 100 },
        { "type": "ACTION_ACCEPT" },
    ]);
    let path = format!("/controller/network/{network}");
    lan.post(&path, json!({ "rules": rules }));
    lan.run(SECOND);
    let b = lan.mac(B, network);
    lan.send(A, network, b, ETHERTYPE_IPV4, &[0; 100]);
    lan.send(A, network, b, ETHERTYPE_IPV4, &[0; 101]);
    lan.run(SECOND);
    assert_eq!(lan.received(B).len(), 1);
    assert_eq!(lan.node(A).vl2().counters().rules_out, 1);
    // The rules look at sizes, so every frame of a burst is asked about.
    let now = lan.now;
    let len = |index| [90, 200, 100][index];
    lan.node(A)
        .send_burst(now, network, b, ETHERTYPE_IPV4, 3, len, |_, out| {
            out.fill(1)
        });
    lan.run(SECOND);
    let sizes: Vec<_> = lan
        .received(B)
        .iter()
        .map(|frame| frame.payload.len())
        .collect();
    assert_eq!(sizes, [90, 100]);

    lan.post(&path, json!({ "rules": [] }));
    lan.run(SECOND);
    let now = lan.now;
    lan.node(A)
        .send_burst(now, network, b, ETHERTYPE_IPV4, 3, len, |_, out| {
            out.fill(1)
        });
    lan.run(SECOND);
    assert_eq!(lan.received(B), [], "no rule, no frame");
}

#[test]
fn a_rule_can_send_copies_to_an_observer() {
    let (mut lan, network) = connected(3);
    let observer = lan.address(C).to_string();
    let rules = json!([
        { "type": "ACTION_TEE", "address": observer, "length": 10, "flags": 0 },
        { "type": "ACTION_ACCEPT" },
    ]);
    lan.post(
        &format!("/controller/network/{network}"),
        json!({ "rules": rules }),
    );
    lan.run(SECOND);
    let b = lan.mac(B, network);
    lan.send(A, network, b, ETHERTYPE_IPV4, &[7; 60]);
    lan.run(SECOND);
    assert_eq!(lan.received(B).len(), 1);
    let copies = lan.received(C);
    // One copy of the sender, one of the receiver.
    assert_eq!(copies.len(), 2);
    assert!(
        copies
            .iter()
            .all(|copy| copy.payload == [7; 10] && copy.dst == b)
    );
}

#[test]
fn only_an_active_bridge_speaks_for_others() {
    let (mut lan, network) = connected(2);
    let (b, device) = (lan.mac(B, network), Mac([2, 0xaa, 1, 2, 3, 4]));
    let frame = Frame {
        src: device,
        dst: b,
        ethertype: ETHERTYPE_IPV4,
        payload: b"bridged",
    };
    lan.send_frame(A, network, frame);
    lan.run(SECOND);
    assert_eq!(lan.received(B), []);

    let member = format!("/controller/network/{network}/member/{}", lan.address(A));
    lan.post(&member, json!({ "activeBridge": true }));
    lan.run(SECOND);
    assert!(lan.status(A, network).bridge);
    lan.send_frame(A, network, frame);
    lan.run(SECOND);
    let got = lan.received(B);
    assert_eq!(
        (got[0].src, got[0].payload.as_slice()),
        (device, &b"bridged"[..])
    );
    // And back to the device, by the route that was learned.
    lan.send(B, network, device, ETHERTYPE_IPV4, b"reply");
    lan.run(SECOND);
    let got = lan.received(A);
    assert_eq!((got[0].src, got[0].dst), (b, device));
}

#[test]
fn nodes_of_an_ad_hoc_network_talk_without_any_controller() {
    let mut lan = Lan::new(2);
    let network = zt_protocol::NetworkId(0xff0a_0000_0000_0001);
    for who in [A, B] {
        lan.join(who, network);
        assert!(lan.is_up(who, network), "at once");
        lan.listen_for_arp(who, network);
    }
    lan.run(SECOND);
    let (a, b) = (lan.ipv4(A, network), lan.ipv4(B, network));
    let request = arp_request(lan.mac(A, network), a, b);
    lan.send(A, network, Mac::BROADCAST, ETHERTYPE_ARP, &request);
    lan.run(SECOND);
    assert_eq!(lan.received(B).len(), 1);
    let b = lan.mac(B, network);
    lan.send(A, network, b, ETHERTYPE_IPV4, b"hello");
    lan.run(SECOND);
    assert_eq!(lan.received(B).len(), 1);
}
