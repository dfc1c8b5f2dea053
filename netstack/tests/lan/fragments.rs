//! Datagrams larger than the MTU, on a wire that loses, swaps, doubles and spoils fragments.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use zt_netstack::{UdpId, UdpSendError};

use crate::udp::address;
use crate::wire::{Conditions, Frame, Wire, mac};

const SOON: Duration = Duration::from_millis(100);

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|n| (n / 256) as u8 ^ n as u8 ^ seed).collect()
}

fn is_fragment(frame: &Frame) -> bool {
    match frame.ethertype {
        0x0800 => frame.payload[6..8] != [0x40, 0],
        0x86dd => frame.payload[6] == 44,
        _ => false,
    }
}

/// Two hosts with a socket each, and the address of the second one's.
fn ends(v6: bool, seed: u64, conditions: Conditions) -> (Wire, UdpId, UdpId, SocketAddr) {
    let mut wire = Wire::new(2, seed, conditions);
    let (client, server) = (wire.udp(0, 5000), wire.udp(1, 53));
    (wire, client, server, SocketAddr::new(address(v6, 1), 53))
}

/// The fragments that the wire has seen.
fn fragments(wire: &Wire) -> Vec<Frame> {
    let pieces = wire.seen.iter().filter(|frame| is_fragment(frame));
    pieces.cloned().collect()
}

#[test]
fn the_largest_datagram_crosses_the_wire_whatever_the_order() {
    for (v6, len) in [(false, 65_507), (true, 65_527)] {
        let jitter = Duration::from_millis(5);
        let (mut wire, client, server, to) = ends(
            v6,
            3,
            Conditions {
                jitter,
                ..Conditions::default()
            },
        );
        for seed in 0..3 {
            wire.send_udp(0, client, to, &pattern(len, seed))
                .expect("sent");
            wire.idle(SOON);
            let got = wire.received(1, server);
            let from = SocketAddr::new(address(v6, 0), 5000);
            assert!(
                got == [(from, pattern(len, seed))],
                "v6: {v6}, {}",
                got.len()
            );
        }
        assert!(wire.seen.iter().all(|frame| frame.payload.len() <= 2800));
        assert_eq!(wire.hosts[1].counters().reassembled, 3);
    }
}

#[test]
fn what_just_fits_is_not_cut() {
    for (v6, len) in [(false, 2800 - 28), (true, 2800 - 48)] {
        let (mut wire, client, server, to) = ends(v6, 1, Conditions::default());
        for (len, cut) in [(len, 0), (len + 1, 2)] {
            wire.seen.clear();
            wire.send_udp(0, client, to, &pattern(len, 0))
                .expect("sent");
            wire.idle(SOON);
            assert_eq!(wire.payloads(1, server), [pattern(len, 0)]);
            assert_eq!(
                wire.seen.iter().filter(|frame| is_fragment(frame)).count(),
                cut
            );
        }
    }
}

#[test]
fn a_lost_fragment_costs_its_datagram_alone() {
    for v6 in [false, true] {
        let (mut wire, client, server, to) = ends(v6, 1, Conditions::default());
        let mut seen = 0;
        wire.filter = Some(Box::new(move |frame| {
            seen += usize::from(is_fragment(frame));
            !is_fragment(frame) || seen != 7
        }));
        for seed in 0..4 {
            wire.send_udp(0, client, to, &pattern(10_000, seed))
                .expect("sent");
        }
        wire.idle(SOON);
        // Four fragments each: the seventh is of the second.
        let expected = [0, 2, 3].map(|seed| pattern(10_000, seed));
        assert!(wire.payloads(1, server) == expected);
        assert_eq!(wire.hosts[1].counters().reassembly_timeout, 0);
        wire.idle(Duration::from_secs(31));
        assert_eq!(wire.hosts[1].counters().reassembly_timeout, 1);
        assert_eq!(wire.hosts[1].deadline(), None);
    }
}

#[test]
fn loss_is_survived_for_long() {
    let loss = 20_000;
    let (mut wire, client, server, to) = ends(
        false,
        5,
        Conditions {
            loss,
            ..Conditions::default()
        },
    );
    let mut got = 0;
    for seed in 0..500 {
        wire.send_udp(0, client, to, &pattern(60_000, seed as u8))
            .expect("sent");
        wire.idle(Duration::from_millis(1));
        got += wire.payloads(1, server).len();
    }
    // Each of 22 fragments arrives with 98 %: 64 % of the datagrams do.
    assert!((250..400).contains(&got), "{got}");
}

#[test]
fn fragments_that_come_twice_are_taken_once() {
    for v6 in [false, true] {
        let (mut wire, client, server, to) = ends(v6, 1, Conditions::default());
        wire.send_udp(0, client, to, &pattern(10_000, 1))
            .expect("sent");
        wire.idle(SOON);
        wire.received(1, server);
        let pieces = fragments(&wire);
        assert_eq!(pieces.len(), 4);
        for piece in [3, 3, 0, 1, 0, 2] {
            wire.inject(pieces[piece].clone());
        }
        wire.idle(SOON);
        assert!(wire.payloads(1, server) == [pattern(10_000, 1)]);
    }
}

#[test]
fn a_datagram_with_an_overlap_is_not_delivered() {
    for v6 in [false, true] {
        let (mut wire, client, server, to) = ends(v6, 1, Conditions::default());
        wire.filter = Some(Box::new(|frame| !is_fragment(frame)));
        wire.send_udp(0, client, to, &pattern(10_000, 1))
            .expect("sent");
        wire.idle(SOON);
        wire.filter = None;
        let pieces = fragments(&wire);
        // The second one again, eight bytes earlier.
        let mut overlap = pieces[1].clone();
        if v6 {
            let place = u16::from_be_bytes([overlap.payload[42], overlap.payload[43]]) - 8;
            overlap.payload[42..44].copy_from_slice(&place.to_be_bytes());
        } else {
            overlap.payload[7] -= 1;
            let sum = u16::from_be_bytes([overlap.payload[10], overlap.payload[11]]);
            let sum = sum.checked_add(1).unwrap_or(1);
            overlap.payload[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        for piece in [&pieces[0], &overlap, &pieces[1], &pieces[2], &pieces[3]] {
            wire.inject(piece.clone());
        }
        wire.idle(SOON);
        assert_eq!(wire.received(1, server), []);
        assert_eq!(wire.hosts[1].counters().fragments_overlapping, 4);
    }
}

#[test]
fn a_sink_that_takes_little_gets_every_fragment() {
    let (mut wire, client, server, to) = ends(
        false,
        1,
        Conditions {
            queue: 3,
            ..Conditions::default()
        },
    );
    wire.send_udp(0, client, to, b"knock").expect("sent");
    wire.idle(SOON);
    for seed in 0..3 {
        wire.send_udp(0, client, to, &pattern(65_507, seed))
            .expect("sent");
    }
    assert_eq!(
        wire.send_udp(0, client, to, &pattern(65_507, 3)),
        Err(UdpSendError::WouldBlock)
    );
    wire.idle(SOON);
    let got = wire.payloads(1, server);
    assert!(got[1..] == [0, 1, 2].map(|seed| pattern(65_507, seed)));
}

#[test]
fn a_large_ping_is_answered_in_fragments() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    wire.idle(SOON);
    wire.seen.clear();
    // An echo request of 4,000 zeros in two fragments.
    let mut message = vec![8, 0, 0xf7, 0xff];
    message.resize(4000, 0);
    for (place, piece) in [(0x2000u16, &message[..2776]), (347, &message[2776..])] {
        let mut packet = vec![
            0x45, 0, 0, 0, 0, 9, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        packet[2..4].copy_from_slice(&(20 + piece.len() as u16).to_be_bytes());
        packet[6..8].copy_from_slice(&place.to_be_bytes());
        let mut sum: u32 = packet
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        sum = (sum & 0xffff) + (sum >> 16);
        packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        packet.extend(piece);
        wire.inject(Frame {
            src: mac(0),
            dst: mac(1),
            ethertype: 0x0800,
            payload: packet,
        });
    }
    wire.idle(SOON);
    let answers: Vec<_> = wire.seen.iter().filter(|f| f.src == mac(1)).collect();
    let lens: Vec<_> = answers.iter().map(|f| f.payload.len()).collect();
    assert_eq!(lens, [2796, 20 + 4000 - 2776]);
    assert_eq!(answers[0].payload[20], 0);
}

#[test]
fn neighbour_discovery_in_a_fragment_is_ignored() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let client = wire.udp(0, 5000);
    let to = SocketAddr::new(address(true, 1), 53);
    wire.send_udp(0, client, to, b"?").expect("sent");
    wire.idle(SOON);
    let solicitation = wire
        .seen
        .iter()
        .find(|frame| frame.src == mac(0) && frame.payload.get(40) == Some(&135))
        .cloned()
        .expect("a solicitation");
    let answers = |wire: &Wire| {
        let is_answer = |f: &&Frame| f.src == mac(1) && f.payload.get(40) == Some(&136);
        wire.seen.iter().filter(is_answer).count()
    };
    wire.seen.clear();
    wire.inject(solicitation.clone());
    wire.idle(SOON);
    assert_eq!(answers(&wire), 1);
    // The same in the only fragment of itself.
    let mut hidden = solicitation;
    hidden.payload[5] += 8;
    hidden.payload[6] = 44;
    let header = [58, 0, 0, 0, 0, 0, 0, 1];
    hidden.payload.splice(40..40, header);
    wire.inject(hidden);
    wire.idle(SOON);
    assert_eq!(answers(&wire), 1);
}

/// Frames of datagrams, whole and in fragments, to be spoiled.
fn recorded() -> Vec<Frame> {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let client = wire.udp(0, 5000);
    for v6 in [false, true] {
        for len in [0, 100, 9000] {
            let to = SocketAddr::new(address(v6, 1), 53);
            wire.send_udp(0, client, to, &pattern(len, 9))
                .expect("sent");
            wire.idle(SOON);
        }
    }
    wire.seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn spoiled_frames_change_nothing_for_sound_ones(
        spoils in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>()), 1..60),
    ) {
        let frames = recorded();
        let mut wire = Wire::new(2, 2, Conditions::default());
        let client = wire.udp(0, 6000);
        let server = wire.udp(1, 53);
        for (n, (frame, place, value, len)) in spoils.into_iter().enumerate() {
            let mut frame = frames[frame.index(frames.len())].clone();
            if frame.ethertype == 0x0806 {
                continue;
            }
            let place = place.index(frame.payload.len().min(64));
            frame.payload[place] = value;
            if n % 3 == 0 {
                frame.payload.truncate(len.index(frame.payload.len() + 1));
            }
            // From a station of its own, so that host 0 stays who it is.
            frame.src = [2, 7, 7, 7, 7, 7];
            wire.inject(frame);
        }
        wire.idle(SOON);
        wire.received(1, server);
        for v6 in [false, true] {
            let to = SocketAddr::new(address(v6, 1), 53);
            wire.send_udp(0, client, to, &pattern(20_000, 4)).expect("sent");
            wire.idle(SOON);
            prop_assert!(wire.payloads(1, server) == [pattern(20_000, 4)]);
        }
    }
}
