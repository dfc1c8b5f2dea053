//! Packets of every size, whole and in parts, in every order.

use super::lan::Lan;
use crate::packet::{MAX_PACKET, PHYSICAL_MTU};
use crate::vl1::DropReason;
use crate::{Address, Verb};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HEADER: usize = 28;

fn direct(seed: u8) -> Lan {
    let mut lan = Lan::with_root(seed, 2);
    lan.run(SECOND);
    lan.frame(1, 2, 100);
    lan.run(SECOND);
    assert!(lan.talk(1, 2));
    lan.hosts[2].delivered.clear();
    lan
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7) as u8).collect()
}

#[test]
fn every_size_arrives_and_no_datagram_is_too_long() {
    let mut lan = direct(1);
    for len in [0, 1, 1403, 1404, 1405, 2810, 2811, 5000, 9899, 9900] {
        lan.frame(1, 2, len);
        lan.run(Duration::from_millis(10));
        let packet = lan.hosts[2].delivered.pop().unwrap();
        assert_eq!(packet.body, pattern(len));
    }
    assert!(lan.largest <= PHYSICAL_MTU);
    let (now, to) = (lan.now, lan.address(2));
    let too_long = MAX_PACKET - HEADER + 1;
    assert!(
        !lan.hosts[1]
            .node
            .send_with(now, to, Verb::FRAME, too_long, |_| unreachable!())
    );
}

#[test]
fn parts_in_any_order_join() {
    let mut lan = direct(2);
    lan.jitter = 50;
    for _ in 0..50 {
        lan.frame(1, 2, 9000);
        lan.frame(1, 2, 2810);
    }
    lan.run(SECOND);
    assert_eq!(lan.hosts[2].delivered.len(), 100);
    let whole = |len| {
        lan.hosts[2]
            .delivered
            .iter()
            .filter(|p| p.body == pattern(len))
            .count()
    };
    assert_eq!((whole(9000), whole(2810)), (50, 50));
}

#[test]
fn large_packets_are_relayed_in_parts() {
    let mut lan = Lan::with_root(3, 2);
    lan.run(SECOND);
    lan.frame(1, 2, 9000);
    lan.run(SECOND);
    assert_eq!(
        (
            lan.hosts[2].delivered[0].hops,
            lan.hosts[2].delivered[0].body.len()
        ),
        (1, 9000)
    );
}

#[test]
fn packets_cut_as_stock_cuts_them_join() {
    let mut lan = direct(4);
    let from = lan.hosts[1].outside;
    for len in [1500, 2810, 2829, 9900] {
        // Take the packet apart ours, join it, cut it as stock does: 1432, then 1416 each.
        let whole = sealed(&mut lan, 1, 2, len);
        for part in stock_parts(&whole) {
            lan.inject(2, from, &part);
        }
        assert_eq!(lan.hosts[2].delivered.pop().unwrap().body, pattern(len));
    }
}

#[test]
fn lost_parts_are_counted_and_forgotten() {
    let mut lan = direct(5);
    let from = lan.hosts[1].outside;
    let whole = sealed(&mut lan, 1, 2, 5000);
    for part in stock_parts(&whole).iter().skip(1) {
        lan.inject(2, from, part);
        lan.inject(2, from, part);
    }
    lan.run(6 * SECOND);
    let counters = lan.hosts[2].node.counters();
    assert_eq!(counters.dropped(DropReason::IncompletePacket), 1);
    assert_eq!(counters.dropped(DropReason::DuplicateFragment), 3);
    assert!(lan.hosts[2].delivered.is_empty());
}

#[test]
fn compressed_bodies_come_out_as_they_went_in() {
    let mut lan = direct(6);
    let text = b"supercalifragilisticexpealidocious".repeat(200);
    let (now, to) = (lan.now, lan.address(2));
    let before = lan.hosts[1].node.sent().1;
    lan.hosts[1]
        .node
        .send(now, to, Verb::NETWORK_CONFIG, &text, true);
    assert!(lan.hosts[1].node.sent().1 - before < 200);
    lan.frame(1, 2, 1);
    lan.run(SECOND);
    assert_eq!(lan.hosts[2].delivered[0].body, text);
}

/// A sealed FRAME from one host to another, in one piece, not sent.
fn sealed(lan: &mut Lan, from: usize, to: usize, len: usize) -> Vec<u8> {
    let (now, to): (_, Address) = (lan.now, lan.address(to));
    let node = &mut lan.hosts[from].node;
    node.send_with(now, to, Verb::FRAME, len, |body| {
        body.copy_from_slice(&pattern(len))
    });
    let mut whole = Vec::new();
    while let Some(transmit) = node.poll_transmit() {
        for datagram in transmit.datagrams() {
            let skip = if whole.is_empty() { 0 } else { 16 };
            whole.extend_from_slice(&datagram[skip..]);
        }
        node.transmit_done();
    }
    whole
}

fn stock_parts(whole: &[u8]) -> Vec<Vec<u8>> {
    let (head, rest) = whole.split_at(PHYSICAL_MTU);
    let pieces: Vec<_> = rest.chunks(PHYSICAL_MTU - 16).collect();
    let total = 1 + pieces.len() as u8;
    let mut parts = vec![head.to_vec()];
    for (piece, number) in pieces.into_iter().zip(1..) {
        let mut part = whole[..13].to_vec();
        part.extend_from_slice(&[0xff, total << 4 | number, 0]);
        part.extend_from_slice(piece);
        parts.push(part);
    }
    parts
}
