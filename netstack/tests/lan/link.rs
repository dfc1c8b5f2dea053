//! Neighbours and ICMP: what a host says on the link besides TCP.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use zt_netstack::{HostConfig, HostEvent, ResetReason, Route, UdpId};

use crate::wire::{Conditions, Frame, Wire, config, ip, ip6, mac, read, write};

const BROADCAST: [u8; 6] = [0xff; 6];

fn wire() -> Wire {
    let mut wire = Wire::new(2, 1, Conditions::default());
    // The announcements of the start.
    wire.idle(Duration::from_secs(1));
    wire.seen.clear();
    wire
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let pairs = bytes.chunks(2);
    let mut sum: u32 = pairs
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// An IPv4 packet from host 0 to host 1.
fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    packet.extend(payload);
    let len = (packet.len() as u16).to_be_bytes();
    packet[2..4].copy_from_slice(&len);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum);
    packet
}

fn send(wire: &mut Wire, payload: Vec<u8>) {
    wire.inject(Frame {
        src: mac(0),
        dst: mac(1),
        ethertype: 0x0800,
        payload,
    });
    wire.idle(Duration::from_millis(10));
}

fn answers(wire: &Wire) -> Vec<&Frame> {
    wire.seen
        .iter()
        .filter(|frame| frame.src == mac(1))
        .collect()
}

#[test]
fn a_ping_is_answered() {
    let mut wire = wire();
    let mut echo = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    echo.extend(0..=255u8);
    let sum = checksum(&echo);
    echo[2..4].copy_from_slice(&sum);
    send(&mut wire, packet(1, &echo));
    let [answer] = answers(&wire)[..] else {
        panic!("{:?}", wire.seen)
    };
    assert_eq!((answer.dst, answer.ethertype), (mac(0), 0x0800));
    assert_eq!(answer.payload[12..20], [10, 0, 0, 2, 10, 0, 0, 1]);
    assert_eq!(checksum(&answer.payload[..20]), [0, 0]);
    let reply = &answer.payload[20..];
    assert_eq!(checksum(reply), [0, 0]);
    assert_eq!(reply[..2], [0, 0]);
    assert_eq!(reply[4..], echo[4..]);
}

#[test]
fn a_ping_with_a_wrong_checksum_or_for_all_is_not() {
    let mut wire = wire();
    send(&mut wire, packet(1, &[8, 0, 1, 2, 0, 0, 0, 0]));
    let mut to_all = packet(1, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    to_all[16..20].fill(255);
    to_all[10..12].fill(0);
    let sum = checksum(&to_all[..20]);
    to_all[10..12].copy_from_slice(&sum);
    wire.inject(Frame {
        src: mac(0),
        dst: BROADCAST,
        ethertype: 0x0800,
        payload: to_all,
    });
    wire.idle(Duration::from_millis(10));
    assert_eq!(answers(&wire), Vec::<&Frame>::new());
    assert_eq!(wire.hosts[1].counters().bad_checksum, 1);
}

#[test]
fn a_datagram_for_nobody_is_refused_and_quoted() {
    let mut wire = wire();
    let sent = packet(17, &[0x12, 0x34, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]);
    send(&mut wire, sent.clone());
    let [answer] = answers(&wire)[..] else {
        panic!("{:?}", wire.seen)
    };
    let error = &answer.payload[20..];
    assert_eq!(error[..2], [3, 3]);
    assert_eq!(checksum(error), [0, 0]);
    assert_eq!(error[8..], sent);
}

#[test]
fn an_unknown_protocol_is_refused() {
    let mut wire = wire();
    send(&mut wire, packet(132, &[1, 2, 3, 4]));
    let [answer] = answers(&wire)[..] else {
        panic!("{:?}", wire.seen)
    };
    assert_eq!(answer.payload[20..22], [3, 2]);
}

#[test]
fn errors_are_not_sent_without_limit() {
    let mut wire = wire();
    let datagram = packet(17, &[0x12, 0x34, 0, 53, 0, 8, 0, 0]);
    for _ in 0..1000 {
        wire.inject(Frame {
            src: mac(0),
            dst: mac(1),
            ethertype: 0x0800,
            payload: datagram.clone(),
        });
    }
    wire.idle(Duration::from_millis(10));
    assert_eq!(answers(&wire).len(), 50);
    assert_eq!(wire.hosts[1].counters().icmp_limited, 950);
}

#[test]
fn who_asks_for_our_address_is_answered_and_known() {
    let mut wire = wire();
    let (client, _) = wire.pair(80);
    let arps = wire
        .seen
        .iter()
        .filter(|frame| frame.ethertype == 0x0806)
        .collect::<Vec<_>>();
    // One question, one answer: the server learned from the question.
    let [question, answer] = arps[..] else {
        panic!("{arps:?}")
    };
    assert_eq!(
        (question.src, question.dst, question.payload[7]),
        (mac(0), BROADCAST, 1)
    );
    assert_eq!(
        (answer.src, answer.dst, answer.payload[7]),
        (mac(1), mac(0), 2)
    );
    assert!(wire.hosts[0].flow(client).is_some());
}

#[test]
fn arp_for_another_or_by_another_changes_nothing() {
    let mut wire = wire();
    let arp = |sender: [u8; 6], target: u8| {
        let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
        arp.extend(sender);
        arp.extend([10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, target]);
        arp
    };
    // Host 0 speaks for a third station; then it asks for somebody else.
    for payload in [arp([2, 9, 9, 9, 9, 9], 2), arp(mac(0), 77)] {
        wire.inject(Frame {
            src: mac(0),
            dst: BROADCAST,
            ethertype: 0x0806,
            payload,
        });
    }
    wire.idle(Duration::from_millis(10));
    assert_eq!(answers(&wire), Vec::<&Frame>::new());
    assert_eq!(wire.hosts[1].counters().neighbour_ignored, 1);
}

#[test]
fn neighbour_discovery_answers_alike() {
    let mut wire = wire();
    wire.listen(1, 80, 1);
    let client = wire.connect(0, SocketAddr::new(ip6(1), 80));
    wire.idle(Duration::from_secs(1));
    assert_eq!(wire.events(0), [HostEvent::Connected(client)]);
    let [question, answer] = &wire.seen[..2] else {
        panic!("{:?}", wire.seen)
    };
    assert_eq!(question.dst, [0x33, 0x33, 0xff, 0, 0, 2]);
    assert_eq!((question.payload[40], answer.payload[40]), (135, 136));
    assert_eq!(answer.dst, mac(0));
}

#[test]
fn new_addresses_are_announced_and_flows_of_kept_ones_go_on() {
    let mut wire = wire();
    let (client, server) = wire.pair(80);
    wire.seen.clear();
    let mut changed = config(0);
    changed.addresses.push((IpAddr::from([10, 0, 0, 50]), 24));
    changed.mtu = 1400;
    let now = wire.now;
    wire.hosts[0].configure(now, changed);
    write(&mut wire.hosts[0], client, &[1; 100_000]);
    let mut got = 0;
    wire.run(Duration::from_secs(2), |host, _, event| {
        if let HostEvent::Readable(flow) = event {
            assert_eq!(flow, server);
            got += read(host, flow).len();
        }
    });
    assert_eq!(got, 100_000);
    // As a question and as an answer.
    for (announcement, operation) in wire.seen.iter().zip([1, 2]) {
        assert_eq!(
            (announcement.dst, announcement.ethertype),
            (BROADCAST, 0x0806)
        );
        assert_eq!(announcement.payload[7], operation);
        assert_eq!(announcement.payload[14..18], [10, 0, 0, 50]);
        assert_eq!(announcement.payload[24..28], [10, 0, 0, 50]);
    }
    assert!(
        wire.seen
            .iter()
            .all(|frame| frame.src != mac(0) || frame.payload.len() <= 1400)
    );
}

/// A third host takes the address of the second, which is gone; the first knows it by its old link address.
fn wire_with_heir(announced: bool) -> (Wire, UdpId, UdpId) {
    let mut wire = Wire::new(3, 1, Conditions::default());
    let (asker, gone) = (wire.udp(0, 53), wire.udp(1, 53));
    wire.send_udp(0, asker, SocketAddr::new(ip(1), 53), b"first")
        .expect("sent");
    wire.idle(Duration::from_millis(10));
    assert_eq!(wire.payloads(1, gone), [b"first"]);
    wire.filter = Some(Box::new(move |frame| {
        frame.dst != mac(1) && (announced || frame.src != mac(2) || frame.ethertype != 0x0806)
    }));
    let now = wire.now;
    let away = HostConfig {
        addresses: Vec::new(),
        ..config(1)
    };
    wire.hosts[1].configure(now, away);
    let heir = HostConfig {
        mac: mac(2),
        ..config(1)
    };
    wire.hosts[2].configure(now, heir);
    let taken = wire.udp(2, 53);
    wire.idle(Duration::from_millis(10));
    wire.filter = Some(Box::new(|frame| frame.dst != mac(1)));
    (wire, asker, taken)
}

#[test]
fn who_announces_an_address_gets_what_is_sent_to_it() {
    let (mut wire, asker, heir) = wire_with_heir(true);
    wire.send_udp(0, asker, SocketAddr::new(ip(1), 53), b"second")
        .expect("sent");
    wire.idle(Duration::from_millis(10));
    assert_eq!(wire.payloads(2, heir), [b"second"]);
}

#[test]
fn who_speaks_to_all_from_an_address_of_another_is_asked_for() {
    let (mut wire, asker, heir) = wire_with_heir(false);
    let all = "255.255.255.255:53".parse().expect("an address");
    wire.send_udp(2, heir, all, b"who").expect("sent");
    wire.idle(Duration::from_millis(10));
    assert_eq!(wire.payloads(0, asker), [b"who"]);
    wire.send_udp(0, asker, SocketAddr::new(ip(1), 53), b"you")
        .expect("sent");
    wire.idle(Duration::from_millis(10));
    assert_eq!(wire.payloads(2, heir), [b"who".as_slice(), b"you"]);
}

#[test]
fn flows_of_an_address_that_goes_away_end() {
    let mut wire = wire();
    let (client, _) = wire.pair(80);
    let connecting = wire.connect(0, SocketAddr::new(ip(77), 1));
    let mut changed = config(0);
    changed.addresses = vec![(IpAddr::from([10, 0, 0, 50]), 24)];
    let now = wire.now;
    wire.hosts[0].configure(now, changed);
    wire.idle(Duration::from_secs(10));
    let events = wire.events(0);
    assert!(
        events.contains(&HostEvent::Reset(client, ResetReason::AddressGone)),
        "{events:?}"
    );
    assert!(matches!(events[..], [_, HostEvent::ConnectFailed(flow, _)] if flow == connecting));
    // Nothing leaves from the old address.
    let from_old = |frame: &&Frame| {
        frame.ethertype == 0x0800 && frame.src == mac(0) && frame.payload[12..16] == [10, 0, 0, 1]
    };
    let after = wire.seen.iter().filter(from_old).count();
    wire.idle(Duration::from_secs(100));
    assert_eq!(wire.seen.iter().filter(from_old).count(), after);
    assert!(!wire.hosts[0].addresses().any(|own| own == ip(0)));
}

#[test]
fn another_network_is_reached_by_the_gateway() {
    let mut wire = wire();
    let mut changed = config(0);
    changed.routes = vec![Route {
        prefix: ([192, 168, 0, 0].into(), 16),
        via: Some(ip(1)),
    }];
    let now = wire.now;
    wire.hosts[0].configure(now, changed);
    wire.idle(Duration::from_millis(1));
    wire.seen.clear();
    wire.connect(0, "192.168.3.4:80".parse().expect("an address"));
    wire.idle(Duration::from_millis(10));
    let question = &wire.seen[0];
    assert_eq!(question.payload[24..28], [10, 0, 0, 2]);
    let syn = wire
        .seen
        .iter()
        .find(|frame| frame.ethertype == 0x0800)
        .expect("a SYN");
    assert_eq!(
        (syn.dst, &syn.payload[16..20]),
        (mac(1), &[192, 168, 3, 4][..])
    );
}
