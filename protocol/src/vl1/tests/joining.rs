//! From strangers to a direct path.

use super::lan::{Lan, START, planet};
use crate::Verb;
use crate::vl1::{DropReason, Vl1Event};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_leaf_is_online_after_one_exchange_with_its_root() {
    let mut lan = Lan::with_root(1, 1);
    lan.run(SECOND);
    assert!(lan.hosts[1].node.is_online());
    let root = lan.address(0);
    assert_eq!(lan.hosts[1].events[0], Vl1Event::PeerSeen(root));
    assert!(
        lan.hosts[1]
            .events
            .contains(&Vl1Event::UpstreamReachable(root))
    );
    assert!(lan.hosts[1].events.contains(&Vl1Event::Online));
    // The root confirms the leaf's path by a HELLO of its own.
    assert_eq!(lan.sent(1), "HELLO 1, OK 1");
    assert_eq!(lan.sent(0), "HELLO 1, OK 1");
    let info = lan.hosts[1].node.peer(lan.now, root).unwrap();
    assert_eq!((info.is_root, info.latency), (true, Some(4)));
    assert_eq!(info.version.unwrap().protocol, 12);
    assert!(info.paths[0].active && info.paths[0].preferred);
}

#[test]
fn the_first_frame_is_relayed_and_the_next_goes_directly() {
    let mut lan = Lan::with_root(2, 2);
    lan.run(SECOND);
    let quiet = lan.datagrams;
    lan.frame(1, 2, 100);
    lan.run(SECOND);
    assert_eq!(lan.hosts[2].delivered.len(), 1);
    let first = &lan.hosts[2].delivered[0];
    assert_eq!(
        (first.verb, first.hops, first.body.len()),
        (Verb::FRAME, 1, 100)
    );
    assert!(first.at.since(START + SECOND) < Duration::from_millis(15));
    assert!(lan.talk(1, 2));
    assert_eq!(
        lan.hosts[0].node.counters().relayed,
        2,
        "the frame, and addresses pushed in return"
    );
    assert_eq!(lan.sent(0), "HELLO 2, OK 4, RENDEZVOUS 2");
    assert_eq!(
        lan.sent(1),
        "HELLO 3, OK 3, WHOIS 1, FRAME 2, PUSH_DIRECT_PATHS 1"
    );
    assert_eq!(
        lan.sent(2),
        "HELLO 3, OK 3, WHOIS 1, FRAME 1, PUSH_DIRECT_PATHS 1"
    );
    assert!(lan.datagrams - quiet < 25, "{}", lan.datagrams - quiet);
    assert_eq!(lan.hosts[1].node.counters().drops().count(), 0);
    assert_eq!(lan.hosts[2].node.counters().drops().count(), 0);
}

#[test]
fn nothing_sent_while_the_identity_is_unknown_is_lost() {
    let mut lan = Lan::with_root(3, 2);
    lan.run(SECOND);
    for len in [100, 200, 300] {
        lan.frame(1, 2, len);
    }
    lan.run(SECOND);
    let lengths: Vec<_> = lan.hosts[2]
        .delivered
        .iter()
        .map(|packet| packet.body.len())
        .collect();
    assert_eq!(lengths, [100, 200, 300]);
    assert_eq!(lan.hosts[1].node.counters().sent(Verb::WHOIS), 1);
}

#[test]
fn what_is_sent_before_the_root_answers_waits_for_it() {
    let mut lan = Lan::with_root(4, 1);
    let root = lan.address(0);
    let now = lan.now;
    lan.hosts[1]
        .node
        .send(now, root, Verb::NETWORK_CONFIG_REQUEST, b"?", true);
    lan.run(Duration::from_millis(100));
    assert_eq!(lan.hosts[0].delivered.len(), 1);
}

#[test]
fn pushed_addresses_alone_lead_to_a_direct_path() {
    let mut lan = Lan::with_root(5, 2);
    lan.run(SECOND);
    // Introduced already, as far as the root remembers.
    let pair = (lan.address(1), lan.address(2));
    let now = lan.now;
    assert!(lan.hosts[0].node.introductions.admit(now, pair.0, pair.1));
    lan.frame(1, 2, 100);
    lan.run(SECOND);
    assert_eq!(lan.hosts[0].node.counters().sent(Verb::RENDEZVOUS), 0);
    assert!(lan.talk(1, 2));
}

#[test]
fn an_introduction_alone_leads_through_two_nats() {
    for seed in 10..15 {
        let mut lan = Lan::new(seed);
        lan.add(0, "8.8.8.8:9993", planet(1, &["8.8.8.8:9993"]));
        lan.add(1, "1.2.3.4:1001", planet(1, &["8.8.8.8:9993"]));
        lan.add(2, "5.6.7.8:2002", planet(1, &["8.8.8.8:9993"]));
        for leaf in [1, 2] {
            lan.hosts[leaf].behind_nat = true;
            lan.hosts[leaf].trusts_frames = false;
        }
        lan.run(SECOND);
        lan.frame(1, 2, 100);
        lan.run(SECOND);
        assert!(lan.talk(1, 2), "seed {seed}");
    }
}

#[test]
fn loss_delays_but_does_not_prevent() {
    for seed in 20..24 {
        let mut lan = Lan::with_root(seed, 2);
        (lan.loss, lan.jitter) = (200, 30);
        lan.run(30 * SECOND);
        assert!(
            lan.hosts[1].node.is_online() && lan.hosts[2].node.is_online(),
            "seed {seed}"
        );
        let direct = (0..60).any(|_| {
            lan.run(SECOND);
            lan.talk(1, 2)
        });
        assert!(direct, "seed {seed}");
    }
}

#[test]
fn loopback_is_answered_but_never_a_path() {
    let mut lan = Lan::new(30);
    lan.add(0, "127.0.0.1:9993", planet(1, &["127.0.0.1:9993"]));
    lan.add(1, "127.0.0.1:9994", planet(1, &["127.0.0.1:9993"]));
    lan.run(10 * SECOND);
    assert!(lan.hosts[1].node.counters().received(Verb::OK) > 0);
    let root = lan.address(0);
    assert!(!lan.hosts[1].node.has_direct_path(lan.now, root));
}

#[test]
fn addresses_of_our_own_networks_are_never_paths() {
    let mut lan = Lan::with_root(31, 2);
    lan.hosts[1]
        .node
        .set_excluded(&[("10.0.0.3".parse().unwrap(), 32)]);
    lan.run(SECOND);
    for _ in 0..3 {
        lan.talk(1, 2);
        lan.run(SECOND);
    }
    let peer = lan.address(2);
    assert!(!lan.hosts[1].node.has_direct_path(lan.now, peer));
    assert!(lan.hosts[2].delivered.len() >= 3, "the root relays instead");
}

#[test]
fn a_root_is_believed_only_where_the_planet_says() {
    let mut lan = Lan::new(32);
    lan.add(0, "10.0.0.1:9993", planet(1, &["10.0.0.1:9993"]));
    lan.add(1, "10.0.0.2:9993", planet(1, &["10.0.0.1:9993"]));
    lan.run(SECOND);
    // The same root, moved without a word in the planet.
    lan.hosts[0].outside = "10.0.0.9:9993".parse().unwrap();
    lan.run(400 * SECOND);
    let root = lan.address(0);
    assert!(!lan.hosts[1].node.has_direct_path(lan.now, root));
    assert!(!lan.hosts[1].node.is_online());
    assert!(lan.hosts[1].events.contains(&Vl1Event::Offline));
}

#[test]
fn an_old_peer_is_spoken_to_in_the_old_suite() {
    let mut lan = Lan::with_root(33, 2);
    lan.hosts[2].node.version.protocol = 11;
    lan.run(SECOND);
    lan.frame(1, 2, 3000);
    lan.run(SECOND);
    assert!(lan.talk(1, 2));
    let old = lan.hosts[1].node.peers.get(&lan.address(2)).unwrap();
    assert_eq!(old.suite(), crate::CipherSuite::Salsa2012Poly1305);
    let new = lan.hosts[2].node.peers.get(&lan.address(1)).unwrap();
    assert_eq!(new.suite(), crate::CipherSuite::AesGmacSiv);
    assert_eq!(lan.hosts[2].delivered[0].body.len(), 3000);
}

#[test]
fn an_unknown_address_is_given_up_after_five_seconds() {
    let mut lan = Lan::with_root(34, 1);
    lan.run(SECOND);
    let now = lan.now;
    lan.hosts[1].node.send(
        now,
        crate::Address::new(0x12_3456_7890),
        Verb::FRAME,
        b"?",
        false,
    );
    lan.run(20 * SECOND);
    let counters = lan.hosts[1].node.counters();
    assert_eq!(counters.dropped(DropReason::UnknownDestination), 1);
    assert_eq!(
        counters.sent(Verb::WHOIS),
        10,
        "twice a second for five seconds"
    );
}

#[test]
fn a_wanted_identity_is_announced() {
    let mut lan = Lan::with_root(35, 2);
    lan.run(SECOND);
    let (now, wanted) = (lan.now, lan.address(2));
    lan.hosts[1].node.want_identity(now, wanted);
    lan.run(SECOND);
    assert!(
        lan.hosts[1]
            .events
            .contains(&Vl1Event::IdentityKnown(wanted))
    );
    assert!(lan.hosts[1].node.identity_of(wanted).is_some());
}
