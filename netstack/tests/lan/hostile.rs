//! Frames that no honest host sends: truncated, contradictory, random. None may panic or disturb a flow.

use std::time::Duration;

use proptest::prelude::*;
use zt_netstack::HostEvent;

use crate::wire::{Conditions, Frame, Wire, mac, read, write};

/// Real frames of a conversation, to be spoiled.
fn recorded() -> Vec<Frame> {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let (client, server) = wire.pair(80);
    write(&mut wire.hosts[0], client, &[1; 10_000]);
    wire.run(Duration::from_secs(1), |host, _, event| {
        if let HostEvent::Readable(flow) = event {
            read(host, flow);
        }
    });
    wire.hosts[1].flow(server).expect("a flow").close();
    wire.hosts[0].flow(client).expect("a flow").close();
    wire.idle(Duration::from_secs(1));
    wire.seen
}

fn fix_ip_checksum(payload: &mut [u8]) {
    if payload.len() < 20 {
        return;
    }
    payload[10..12].fill(0);
    let mut sum: u32 = payload[..20]
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    payload[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// A conversation that must go well whatever else arrives, unless a segment of the flow itself was spoiled.
fn conversation(noise: Vec<Frame>) -> bool {
    let mut wire = Wire::new(2, 1, Conditions::default());
    wire.listen(1, 99, 5);
    let (client, _) = wire.pair(80);
    let mut noise = noise.into_iter();
    write(&mut wire.hosts[0], client, &[2; 50_000]);
    let mut got = 0;
    let until = wire.now + Duration::from_secs(30);
    loop {
        if let Some(frame) = noise.next() {
            wire.inject(frame);
        }
        let more = wire.step(until, &mut |host, _, event| {
            if let HostEvent::Readable(flow) = event {
                got += read(host, flow).len();
            }
        });
        if !more {
            break;
        }
    }
    got == 50_000
}

#[test]
fn frames_cut_at_every_length_are_survived() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    wire.listen(1, 80, 5);
    for frame in recorded() {
        for len in 0..frame.payload.len().min(120) {
            let now = wire.now;
            for host in &mut wire.hosts {
                host.handle_frame(
                    now,
                    [2, 7, 7, 7, 7, 7],
                    frame.dst,
                    frame.ethertype,
                    &frame.payload[..len],
                );
            }
        }
    }
    wire.idle(Duration::from_secs(1));
}

#[test]
fn old_frames_of_a_flow_that_is_over_disturb_nobody() {
    let mut old = recorded();
    old.retain(|frame| frame.ethertype == 0x0800);
    assert!(conversation(old));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_frames_disturb_nobody(
        frames in proptest::collection::vec(
            (prop_oneof![Just(0x0800u16), Just(0x0806), Just(0x86dd), any::<u16>()],
             proptest::collection::vec(any::<u8>(), 0..200), 0usize..3),
            0..50,
        ),
    ) {
        let noise = frames.into_iter().map(|(ethertype, mut payload, to)| {
            if let Some(first) = payload.first_mut() {
                *first = match ethertype { 0x0800 => 0x45, 0x86dd => 0x60, _ => *first };
            }
            if ethertype == 0x0800 && payload.len() >= 20 {
                let len = (payload.len() as u16).to_be_bytes();
                payload[2..4].copy_from_slice(&len);
                payload[12..20].copy_from_slice(&[10, 0, 0, 77, 10, 0, 0, 1 + to as u8]);
                payload[6] &= 0x40;
                payload[7] = 0;
                fix_ip_checksum(&mut payload);
            }
            let dst = if to == 2 { [0xff; 6] } else { mac(to) };
            Frame { src: [2, 7, 7, 7, 7, 7], dst, ethertype, payload }
        });
        prop_assert!(conversation(noise.collect()));
    }

    /// Random segments between the very ports of an open flow: it may end, but nothing may panic.
    #[test]
    fn random_segments_of_a_flow_are_survived(
        segments in proptest::collection::vec(
            (any::<u32>(), any::<u32>(), any::<u8>(), any::<u16>(), 0usize..3000, any::<bool>(), 0u8..3,
             proptest::collection::vec(any::<u8>(), 0..12)),
            1..60,
        ),
    ) {
        let mut wire = Wire::new(2, 1, Conditions::default());
        let (client, server) = wire.pair(80);
        let port = wire.hosts[1].flow(server).expect("a flow").remote().port();
        write(&mut wire.hosts[1], server, &[3; 200_000]);
        write(&mut wire.hosts[0], client, &[3; 200_000]);
        let last = std::rc::Rc::new(std::cell::RefCell::new((0u32, 0u32)));
        let noted = last.clone();
        wire.filter = Some(Box::new(move |frame| {
            if frame.src == mac(0) && frame.ethertype == 0x0800 && frame.payload.len() >= 40 {
                let word = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().expect("four"));
                *noted.borrow_mut() = (word(24), word(28));
            }
            true
        }));
        let until = wire.now + Duration::from_secs(5);
        for (sequence, acknowledgement, flags, window, len, near, which, options) in segments {
            wire.step(until, &mut |host, _, event| {
                if let HostEvent::Readable(flow) = event {
                    read(host, flow);
                }
            });
            let (real_sequence, real_acknowledgement) = *last.borrow();
            let off = |base: u32, by: u32| if near { base.wrapping_add(by % 4000).wrapping_sub(2000) } else { by };
            let mut options = options;
            options.resize(options.len().next_multiple_of(4), 0);
            let mut packet = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
            packet.extend(port.to_be_bytes());
            packet.extend(80u16.to_be_bytes());
            packet.extend((if which == 0 { real_sequence } else { off(real_sequence, sequence) }).to_be_bytes());
            packet.extend((if which == 1 { real_acknowledgement } else { off(real_acknowledgement, acknowledgement) }).to_be_bytes());
            packet.extend([((20 + options.len()) as u8 / 4) << 4, flags & !0x04]);
            packet.extend(window.to_be_bytes());
            packet.extend([0, 0, 0, 0]);
            packet.extend(options);
            packet.resize(packet.len() + len, 9);
            let total = (packet.len() as u16).to_be_bytes();
            packet[2..4].copy_from_slice(&total);
            fix_ip_checksum(&mut packet);
            wire.inject(Frame { src: mac(0), dst: mac(1), ethertype: 0x0800, payload: packet });
        }
        wire.idle(Duration::from_secs(100));
    }
}
