//! What keeps paths alive, and what happens when something dies or moves.

use super::lan::{Lan, START, identity, planet};
use crate::vl1::{Vl1, Vl1Event};
use crate::{Time, Verb};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const ENDPOINTS: &[&str] = &["10.0.0.1:9993"];

/// A LAN whose leaves have a direct path.
fn direct(seed: u8) -> Lan {
    let mut lan = Lan::with_root(seed, 2);
    lan.run(SECOND);
    lan.frame(1, 2, 100);
    lan.run(SECOND);
    assert!(lan.talk(1, 2));
    lan
}

/// Seconds of talk, once a second, until both sides hear each other directly again.
fn seconds_until_direct(lan: &mut Lan, limit: u64) -> Option<u64> {
    (0..limit).find(|_| {
        lan.run(SECOND);
        lan.talk(1, 2)
    })
}

#[test]
fn an_idle_leaf_costs_its_root_little() {
    let mut lan = Lan::with_root(1, 1);
    lan.run(600 * SECOND);
    assert_eq!(lan.sent(1), "HELLO 11, OK 1, ECHO 20");
    assert_eq!(lan.sent(0), "HELLO 1, OK 30");
    let root = lan.address(0);
    let info = lan.hosts[1].node.peer(lan.now, root).unwrap();
    assert!(lan.now.since(info.last_receive) <= 25 * SECOND);
}

#[test]
fn peers_without_traffic_are_forgotten_after_their_time() {
    let mut lan = direct(2);
    let peer = lan.address(2);
    lan.run(400 * SECOND);
    assert!(
        lan.hosts[1].node.has_direct_path(lan.now, peer),
        "kept alive while active"
    );
    lan.run(1200 * SECOND);
    assert!(lan.hosts[1].node.identity_of(peer).is_none());
    assert!(
        lan.talk(1, 2) || {
            lan.run(SECOND);
            lan.talk(1, 2)
        },
        "and met anew"
    );
}

#[test]
fn a_dead_root_is_greeted_less_and_less_often() {
    let mut lan = Lan::with_root(3, 1);
    lan.hosts[0].up = false;
    lan.run(600 * SECOND);
    let first = lan.hosts[1].node.counters().sent(Verb::HELLO);
    assert!((24..=45).contains(&first), "{first}");
    lan.run(600 * SECOND);
    assert_eq!(lan.hosts[1].node.counters().sent(Verb::HELLO) - first, 20);
    lan.hosts[0].up = true;
    lan.run(35 * SECOND);
    assert!(lan.hosts[1].node.is_online());
}

#[test]
fn a_restarted_root_learns_its_leaves_within_half_a_minute() {
    for offset in 0..5 {
        let mut lan = direct(4);
        lan.run(5 * offset * SECOND);
        let now = lan.now;
        lan.hosts[0].node = Vl1::new(now, identity(0), planet(1, ENDPOINTS), [9; 32]);
        lan.run(32 * SECOND);
        for leaf in [1, 2] {
            let leaf = lan.address(leaf);
            assert!(
                lan.hosts[0].node.identity_of(leaf).is_some(),
                "offset {offset}"
            );
            assert!(lan.hosts[0].node.has_direct_path(lan.now, leaf));
        }
    }
}

#[test]
fn leaves_with_a_direct_path_do_not_need_the_root() {
    let mut lan = direct(5);
    lan.hosts[0].up = false;
    lan.run(120 * SECOND);
    assert!(lan.talk(1, 2));
    assert!(lan.hosts[1].events.contains(&Vl1Event::Offline));
    lan.hosts[0].up = true;
    lan.run(60 * SECOND);
    assert!(lan.hosts[1].node.is_online());
    let root = lan.address(0);
    assert!(
        lan.hosts[1]
            .events
            .ends_with(&[Vl1Event::UpstreamReachable(root), Vl1Event::Online])
    );
}

#[test]
fn another_port_of_the_nat_is_found_within_seconds() {
    let mut lan = direct(6);
    lan.hosts[2].outside = "10.0.0.3:40000".parse().unwrap();
    let seconds = seconds_until_direct(&mut lan, 60);
    assert!(seconds.is_some_and(|seconds| seconds <= 20), "{seconds:?}");
}

#[test]
fn another_address_is_found_within_seconds() {
    let mut lan = direct(7);
    lan.hosts[2].outside = "10.0.0.77:9993".parse().unwrap();
    let seconds = seconds_until_direct(&mut lan, 60);
    assert!(seconds.is_some_and(|seconds| seconds <= 10), "{seconds:?}");
}

#[test]
fn a_peer_that_moved_is_reached_even_if_it_says_nothing() {
    let mut lan = direct(8);
    // It starts again elsewhere, and only its root hears of it.
    let now = lan.now;
    let moved = "10.0.0.88:9993";
    lan.hosts[2].node = Vl1::new(now, identity(2), planet(1, ENDPOINTS), [8; 32]);
    lan.hosts[2].outside = moved.parse().unwrap();
    lan.hosts[2]
        .node
        .set_local_addresses(&[moved.parse().unwrap()]);
    lan.hosts[2].delivered.clear();
    let mut seconds = 0;
    while lan.hosts[2].delivered.is_empty() && seconds < 60 {
        lan.frame(1, 2, 100);
        lan.run(SECOND);
        seconds += 1;
    }
    assert!(seconds <= 25, "{seconds}");
    lan.run(5 * SECOND);
    assert!(lan.talk(1, 2), "and directly again");
}

#[test]
fn a_newer_planet_comes_with_the_roots_answer() {
    let mut lan = Lan::new(9);
    let newer = planet(2, &["10.0.0.1:9993", "10.0.0.1:9994"]);
    lan.add(0, "10.0.0.1:9993", newer.clone());
    lan.add(1, "10.0.0.2:9993", planet(1, ENDPOINTS));
    lan.run(SECOND);
    assert!(
        lan.hosts[1]
            .events
            .contains(&Vl1Event::PlanetUpdated(newer.clone()))
    );
    assert_eq!(lan.hosts[1].node.planet(), Some(&newer));
    let root = lan.address(0);
    assert!(
        lan.hosts[1].node.has_direct_path(lan.now, root),
        "the path is still good"
    );
}

#[test]
fn a_planet_that_names_another_place_is_followed_at_once() {
    let mut lan = direct(10);
    lan.hosts[0].outside = "10.0.0.99:9993".parse().unwrap();
    let moved = planet(2, &["10.0.0.99:9993"]);
    let now = lan.now;
    lan.hosts[0].node = Vl1::new(now, identity(0), moved.clone(), [9; 32]);
    for leaf in [1, 2] {
        lan.hosts[leaf]
            .node
            .update_planet(now, moved.clone())
            .unwrap();
    }
    lan.run(Duration::from_millis(100));
    let root = lan.address(0);
    for leaf in [1, 2] {
        assert!(lan.hosts[leaf].node.has_direct_path(lan.now, root));
    }
    let older = planet(1, ENDPOINTS);
    assert!(lan.hosts[1].node.update_planet(now, older).is_err());
}

#[test]
fn a_change_of_our_surface_makes_every_path_prove_itself() {
    let mut lan = Lan::new(11);
    lan.add(0, "8.8.8.8:9993", planet(1, &["8.8.8.8:9993"]));
    lan.add(1, "1.2.3.4:1001", planet(1, &["8.8.8.8:9993"]));
    lan.add(2, "5.6.7.8:2002", planet(1, &["8.8.8.8:9993"]));
    lan.run(SECOND);
    lan.frame(1, 2, 100);
    lan.run(SECOND);
    assert!(lan.talk(1, 2));
    lan.hosts[1].outside = "1.2.3.99:1001".parse().unwrap();
    // The next word to the root, whatever it is, shows the new address.
    let (now, root) = (lan.now, lan.address(0));
    lan.hosts[1].node.send(now, root, Verb::NOP, &[], false);
    lan.frame(1, 2, 10);
    lan.run(SECOND);
    assert!(lan.talk(1, 2));
    assert!(lan.hosts[1].node.counters().sent(Verb::ECHO) > 0);
}

#[test]
fn a_root_without_roots_of_its_own_is_online_from_the_start() {
    let lan = Lan::with_root(12, 0);
    assert!(lan.hosts[0].node.is_root() && lan.hosts[0].node.is_online());
    assert_eq!(lan.hosts[0].node.upstreams().count(), 0);
    assert!(lan.hosts[0].node.deadline() >= Some(START));
    assert_ne!(lan.now, Time::NEVER);
}

#[test]
fn a_remembered_peer_is_reached_without_the_root() {
    let mut lan = Lan::with_root(13, 2);
    lan.hosts[0].up = false;
    let (now, peers) = (lan.now, [identity(1), identity(2)]);
    for (host, other) in [(1, 2), (2, 1)] {
        let at = lan.hosts[other].outside;
        let (node, peer) = (&mut lan.hosts[host].node, *peers[other - 1].public());
        node.remember(now, peer, None, &[at]);
    }
    lan.frame(1, 2, 100);
    lan.run(SECOND);
    assert!(lan.talk(1, 2));
    let first = &lan.hosts[2].delivered[0];
    assert_eq!((first.hops, first.body.len()), (0, 100));
}

#[test]
fn a_new_link_is_tried_at_once() {
    let mut lan = Lan::with_root(14, 1);
    lan.hosts[0].up = false;
    lan.run(300 * SECOND);
    lan.hosts[0].up = true;
    lan.hosts[1]
        .node
        .set_local_addresses(&["10.0.0.5:9993".parse().unwrap()]);
    lan.run(Duration::from_millis(100));
    assert!(lan.hosts[1].node.is_online());
}
