//! Planets with more than one root.

use super::lan::{Lan, planet_of};
use crate::Verb;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const R0: usize = 0;
const R1: usize = 1;
const A: usize = 2;
const B: usize = 3;

/// Two roots and two leaves.
fn lan(seed: u8) -> Lan {
    let roots: &[(usize, &[&str])] = &[(0, &["10.0.0.1:9993"]), (1, &["10.0.0.2:9993"])];
    let mut lan = Lan::new(seed);
    for n in 0..4 {
        lan.add(n, &format!("10.0.0.{}:9993", n + 1), planet_of(1, roots));
    }
    lan
}

#[test]
fn every_root_knows_every_leaf_and_the_other_root() {
    let mut lan = lan(1);
    lan.run(SECOND);
    for root in [R0, R1] {
        for other in (0..4).filter(|&other| other != root) {
            let other = lan.address(other);
            assert!(lan.hosts[root].node.has_direct_path(lan.now, other));
        }
    }
    assert_eq!(lan.hosts[A].node.upstreams().count(), 2);
    assert_eq!(lan.hosts[R0].node.upstreams().count(), 1);
}

#[test]
fn when_one_root_dies_the_other_introduces() {
    for dead in [R0, R1] {
        let mut lan = lan(2);
        lan.run(SECOND);
        lan.hosts[dead].up = false;
        let mut seconds = 0;
        while lan.hosts[B].delivered.is_empty() && seconds < 60 {
            lan.frame(A, B, 100);
            lan.run(SECOND);
            seconds += 1;
        }
        assert!(seconds <= 6, "{seconds}");
        assert!(lan.talk(A, B));
        assert!(lan.hosts[A].node.is_online());
    }
}

#[test]
fn roots_pass_packets_to_each_other_but_not_back() {
    let mut lan = lan(3);
    // Each leaf reaches only one root.
    for (leaf, root) in [(A, "10.0.0.2"), (B, "10.0.0.1")] {
        lan.hosts[leaf]
            .node
            .set_excluded(&[(root.parse().unwrap(), 32)]);
    }
    lan.run(SECOND);
    lan.frame(A, B, 100);
    lan.run(10 * SECOND);
    let relayed = |root: usize| lan.hosts[root].node.counters().relayed;
    assert!(relayed(R0) + relayed(R1) < 20, "no loop");
    assert_eq!(
        lan.hosts[B].delivered.first().map(|packet| packet.verb),
        Some(Verb::FRAME)
    );
}
