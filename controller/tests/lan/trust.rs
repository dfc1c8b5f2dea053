//! Who may talk to whom, and how that ends.

use std::time::Duration;

use serde_json::json;
use zt_controller::Method;
use zt_protocol::Verb;
use zt_protocol::vl2::{ETHERTYPE_IPV4, Status};

use crate::net::{A, B, C, Lan, ROOT, random};
use crate::{connected, make_network};

const SECOND: Duration = Duration::from_secs(1);

/// Sends a frame each way and tells which of them arrived: from A to B, from B to A.
fn exchange(lan: &mut Lan, network: zt_protocol::NetworkId) -> (bool, bool) {
    let (a, b) = (lan.mac(A, network), lan.mac(B, network));
    lan.send(A, network, b, ETHERTYPE_IPV4, b"ping");
    lan.run(SECOND / 2);
    lan.send(B, network, a, ETHERTYPE_IPV4, b"pong");
    lan.run(SECOND / 2);
    (!lan.received(B).is_empty(), !lan.received(A).is_empty())
}

#[test]
fn the_first_frame_arrives_although_its_certificate_was_lost() {
    let (mut lan, network) = connected(2);
    // The certificate is pushed right before the first frame: lose exactly that datagram.
    let mut lost = false;
    lan.lose = Box::new(move |from, to, datagram| {
        let big = datagram.len() > 300;
        let lose = !lost && from == A && to != A && big;
        lost |= lose;
        lose
    });
    let b = lan.mac(B, network);
    lan.send(A, network, b, ETHERTYPE_IPV4, b"first");
    lan.run(SECOND);
    let got = lan.received(B);
    assert_eq!(got.len(), 1, "{:?}", lan.node(B).vl2().counters());
    assert!(
        lan.node(B).vl2().counters().not_a_member >= 1,
        "it was refused first"
    );
}

#[test]
fn a_deauthorised_member_is_cut_off_within_a_second_and_comes_back_when_authorised() {
    let (mut lan, network) = connected(2);
    assert_eq!(exchange(&mut lan, network), (true, true));

    lan.authorize(network, B, false);
    lan.run(SECOND);
    let (_, to_a) = exchange(&mut lan, network);
    assert!(!to_a, "A must not hear B any more");
    assert_eq!(lan.status(B, network).status, Status::AccessDenied);

    lan.authorize(network, B, true);
    lan.run(SECOND);
    assert_eq!(lan.status(B, network).status, Status::Ok);
    assert_eq!(exchange(&mut lan, network), (true, true));
}

#[test]
fn two_members_deauthorised_at_once_are_both_cut_off() {
    let (mut lan, network) = connected(3);
    let a = lan.mac(A, network);
    for who in [B, C] {
        lan.send(who, network, a, ETHERTYPE_IPV4, b"hello");
    }
    lan.run(SECOND);
    assert_eq!(lan.received(A).len(), 2);
    lan.authorize(network, B, false);
    lan.authorize(network, C, false);
    lan.run(SECOND);
    for who in [B, C] {
        lan.send(who, network, a, ETHERTYPE_IPV4, b"still there?");
    }
    lan.run(6 * SECOND);
    assert_eq!(lan.received(A), []);
}

#[test]
fn revocations_spread_among_members_when_the_controller_is_out_of_reach() {
    let (mut lan, network) = connected(3);
    let (a, c) = (lan.mac(A, network), lan.mac(C, network));
    lan.send(A, network, c, ETHERTYPE_IPV4, b"hello");
    lan.send(B, network, a, ETHERTYPE_IPV4, b"hello");
    lan.run(SECOND);
    assert_eq!(lan.received(A).len(), 1);
    // What the controller sends does not reach A; C passes it on.
    lan.lose = Box::new(|from, to, _| from == ROOT && to == A);
    lan.authorize(network, B, false);
    lan.run(SECOND);
    lan.send(B, network, a, ETHERTYPE_IPV4, b"still there?");
    lan.run(SECOND);
    assert_eq!(lan.received(A), []);
}

#[test]
fn a_deleted_network_and_a_deleted_member_are_gone() {
    let (mut lan, network) = connected(2);
    let path = format!("/controller/network/{network}");
    let member = format!("{path}/member/{}", lan.address(B));
    assert_eq!(lan.api(Method::Delete, &member, json!({})).status, 200);
    lan.run(SECOND);
    assert_eq!(lan.status(B, network).status, Status::AccessDenied);
    assert!(!exchange(&mut lan, network).1);
    let members = lan
        .api(Method::Get, &format!("{path}/member"), json!({}))
        .body
        .unwrap();
    assert_eq!(
        members.as_object().unwrap().len(),
        2,
        "it asked again and is listed as a stranger"
    );
    assert_eq!(lan.api(Method::Delete, &path, json!({})).status, 200);
    lan.run(SECOND);
    assert_eq!(lan.status(A, network).status, Status::NotFound);
}

#[test]
fn a_stranger_with_a_copied_configuration_gets_nothing_through() {
    let mut lan = Lan::new(3);
    let network = make_network(&mut lan);
    for who in [A, B] {
        lan.authorize(network, who, true);
        lan.join(who, network);
    }
    lan.run_until(2 * SECOND, |lan| {
        lan.is_up(A, network) && lan.is_up(B, network)
    });
    lan.join(C, network);
    lan.run(SECOND);

    // C fakes a configuration for itself out of A's; it has A's certificate, but not A's key.
    let stolen = String::from_utf8_lossy(lan.stored_config(A).unwrap()).into_owned();
    assert!(stolen.contains("66d93e6ed9"));
    let bytes = lan.stored_config(A).unwrap().to_vec();
    let at = bytes
        .windows(10)
        .position(|window| window == b"66d93e6ed9")
        .unwrap();
    let mut forged = bytes;
    forged[at..at + 10].copy_from_slice(lan.address(C).to_string().as_bytes());
    let now = lan.now;
    lan.node(C).leave(network);
    lan.node(C).join(now, network, Some(&forged));
    assert!(lan.is_up(C, network), "C believes itself");
    let b = lan.mac(B, network);
    for _ in 0..20 {
        lan.send(C, network, b, ETHERTYPE_IPV4, b"let me in");
        lan.run(SECOND / 10);
    }
    lan.run(SECOND);
    assert_eq!(lan.received(B), []);
    assert!(lan.node(B).vl2().counters().not_a_member >= 20);
    // Told so once a second at most: other packets between the two are few.
    assert_eq!(lan.node(C).vl2().counters().frames_out, 20);
}

#[test]
fn certificates_of_members_who_refresh_at_different_times_agree_for_hours() {
    let (mut lan, network) = connected(2);
    for _ in 0..4 {
        lan.run(Duration::from_secs(1_801));
        assert_eq!(exchange(&mut lan, network), (true, true));
    }
}

#[test]
fn members_go_on_while_the_controller_is_away_and_stop_when_their_certificates_are_stale() {
    let (mut lan, network) = connected(2);
    assert_eq!(exchange(&mut lan, network), (true, true));
    // Both lose the controller: their certificates grow old together and still agree.
    lan.lose = Box::new(|from, _, _| from == ROOT);
    lan.run(Duration::from_secs(600));
    assert_eq!(exchange(&mut lan, network), (true, true));
    assert_eq!(lan.status(A, network).status, Status::Ok);
}

#[test]
fn garbage_of_an_authentic_peer_is_counted_and_disturbs_nobody() {
    let (mut lan, network) = connected(2);
    assert_eq!(exchange(&mut lan, network), (true, true));
    let verbs = [
        Verb::OK,
        Verb::ERROR,
        Verb::FRAME,
        Verb::EXT_FRAME,
        Verb::MULTICAST_LIKE,
        Verb::NETWORK_CREDENTIALS,
        Verb::NETWORK_CONFIG_REQUEST,
        Verb::NETWORK_CONFIG,
        Verb::MULTICAST_GATHER,
        Verb::MULTICAST_FRAME,
    ];
    let (b, root, now) = (lan.address(B), lan.address(ROOT), lan.now);
    let mut state = 1u64;
    for round in 0..2_000usize {
        let verb = verbs[round % verbs.len()];
        let mut body: Vec<u8> = (0..round % 200).map(|_| random(&mut state) as u8).collect();
        // Half of it goes past the first check.
        if round % 2 == 0 && body.len() > 9 {
            body[..8].copy_from_slice(&network.0.to_be_bytes());
            body[8] = 0;
        }
        for to in [b, root] {
            lan.node(A).vl1_mut().send(now, to, verb, &body, false);
        }
        if round % 50 == 0 {
            lan.run(SECOND / 10);
        }
    }
    lan.run(2 * SECOND);
    let counters = lan.node(B).vl2().counters().clone();
    assert!(
        counters.malformed > 300 && counters.over_limit > 0,
        "{counters:?}"
    );
    lan.received(B);
    lan.received(A);
    assert_eq!(exchange(&mut lan, network), (true, true));
}

#[test]
fn a_propagated_configuration_reaches_every_member_and_comes_to_rest() {
    let (mut lan, network) = connected(3);
    for (from, to) in [(A, B), (B, C), (C, A)] {
        let to = lan.mac(to, network);
        lan.send(from, network, to, ETHERTYPE_IPV4, b"hello");
        lan.run(SECOND / 2);
    }
    let before = lan.datagrams;
    lan.run(SECOND);
    let background = lan.datagrams - before;

    // What no controller of version 1.14 does: chunks to be passed on, here to a single member.
    let dictionary = lan.stored_config(A).unwrap().to_vec();
    let controller = lan.identity(ROOT);
    let (first, second) = dictionary.split_at(dictionary.len() / 2);
    let (a, now) = (lan.address(A), lan.now);
    let before = lan.datagrams;
    for (offset, data) in [(0, first), (first.len(), second)] {
        let mut chunk = network.0.to_be_bytes().to_vec();
        chunk.extend((data.len() as u16).to_be_bytes());
        chunk.extend(data);
        chunk.push(1);
        chunk.extend(77u64.to_be_bytes());
        chunk.extend((dictionary.len() as u32).to_be_bytes());
        chunk.extend((offset as u32).to_be_bytes());
        let signature = controller.sign(&chunk);
        chunk.extend([1, 0, 96]);
        chunk.extend(signature);
        let root = lan.node(ROOT).vl1_mut();
        root.send(now, a, Verb::NETWORK_CONFIG, &chunk, false);
    }
    lan.run(SECOND);
    for who in [B, C] {
        // It is A's, which shows that all of it arrived.
        assert_eq!(lan.node(who).vl2().counters().bad_config, 1);
    }
    // Two chunks go to A, and from each member to at most two others; and A answers.
    let spent = lan.datagrams - before;
    assert!(spent <= background + 40, "{spent} datagrams");
}
