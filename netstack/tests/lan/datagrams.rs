//! UDP between two hosts: addresses, errors, queues.

use std::net::SocketAddr;
use std::time::Duration;

use zt_netstack::{
    Cast, SendOptions, Sharing, Taken, UdpConnectError, UdpEvent, UdpFailure, UdpSendError,
};

use crate::udp::{address, at, received};
use crate::wire::{Conditions, Frame, Wire, config, ip, ip6, mac};

const SOON: Duration = Duration::from_millis(10);

fn wire() -> Wire {
    Wire::new(2, 1, Conditions::default())
}

#[test]
fn a_datagram_arrives_with_its_addresses_and_options() {
    for v6 in [false, true] {
        let mut wire = wire();
        let client = wire.udp(0, 5000);
        let server = wire.udp(1, 53);
        let to = SocketAddr::new(address(v6, 1), 53);
        let options = SendOptions {
            ttl: Some(9),
            tos: 0xb8,
            ..SendOptions::default()
        };
        let now = wire.now;
        for payload in [&b"one"[..], b""] {
            wire.hosts[0]
                .udp_send(now, client, None, to, payload, options)
                .expect("sent");
        }
        wire.idle(SOON);
        assert_eq!(wire.udp_events(1), [(server, UdpEvent::Readable)]);
        let mut seen = Vec::new();
        wire.hosts[1].udp_receive(server, |datagram| {
            assert_eq!(datagram.from, SocketAddr::new(address(v6, 0), 5000));
            assert_eq!(datagram.to, to);
            assert_eq!((datagram.ttl, datagram.tos), (9, 0xb8));
            assert_eq!(datagram.cast, Cast::Unicast);
            seen.push(datagram.payload.to_vec());
            Taken::Yes
        });
        assert_eq!(seen, [b"one".to_vec(), Vec::new()]);
    }
}

#[test]
fn what_is_left_for_later_stays_in_front() {
    let mut wire = wire();
    let client = wire.udp(0, 0);
    let server = wire.udp(1, 53);
    for n in 0..3 {
        wire.send_udp(0, client, SocketAddr::new(ip(1), 53), &[n; 4])
            .expect("sent");
    }
    wire.idle(SOON);
    let mut calls = 0;
    let taken = wire.hosts[1].udp_receive(server, |_| {
        calls += 1;
        if calls == 2 { Taken::Later } else { Taken::Yes }
    });
    assert_eq!((taken, calls), (1, 2));
    let info = wire.hosts[1].udp_info(server).expect("a socket");
    assert_eq!((info.receive_queue, info.next_len), (8, Some(4)));
    assert_eq!(wire.payloads(1, server), [[1; 4], [2; 4]]);
}

#[test]
fn a_port_that_nobody_has_is_reported_to_the_sender() {
    for v6 in [false, true] {
        let mut wire = wire();
        let client = wire.udp(0, 0);
        let peer = SocketAddr::new(address(v6, 1), 53);
        wire.hosts[0]
            .udp_connect(client, Some(peer))
            .expect("a way");
        wire.send_udp(0, client, peer, &[1; 5000]).expect("sent");
        wire.idle(SOON);
        let failed = UdpEvent::Failed {
            peer,
            failure: UdpFailure::Refused,
        };
        assert_eq!(wire.udp_events(0), [(client, failed)]);
        assert_eq!(wire.hosts[1].counters().port_closed, 1);
    }
}

#[test]
fn a_neighbour_that_does_not_answer_is_reported_to_the_sender() {
    for v6 in [false, true] {
        let mut wire = wire();
        let client = wire.udp(0, 0);
        let dead = SocketAddr::new(address(v6, 76), 53);
        let alive = SocketAddr::new(address(v6, 1), 53);
        let server = wire.udp(1, 53);
        wire.send_udp(0, client, dead, b"lost").expect("sent");
        wire.send_udp(0, client, alive, b"found").expect("sent");
        wire.idle(SOON);
        assert_eq!(wire.payloads(1, server), [b"found"]);
        wire.idle(Duration::from_secs(4));
        let failed = UdpEvent::Failed {
            peer: dead,
            failure: UdpFailure::Unreachable,
        };
        assert_eq!(wire.udp_events(0), [(client, failed)]);
        assert_eq!(wire.hosts[0].counters().hop_lost, 1);
    }
}

#[test]
fn what_is_sent_before_the_neighbour_is_known_arrives_in_order() {
    let mut wire = wire();
    let client = wire.udp(0, 0);
    let server = wire.udp(1, 53);
    let to = SocketAddr::new(ip(1), 53);
    for n in 0..20 {
        wire.send_udp(0, client, to, &[n; 4000]).expect("sent");
    }
    wire.idle(Duration::from_micros(120));
    for n in 20..30 {
        wire.send_udp(0, client, to, &[n; 4000]).expect("sent");
    }
    wire.idle(SOON);
    let order: Vec<_> = wire.payloads(1, server).iter().map(|p| p[0]).collect();
    assert_eq!(order, (0..30).collect::<Vec<_>>());
}

#[test]
fn a_burst_for_an_unknown_neighbour_keeps_the_newest() {
    let mut wire = wire();
    let client = wire.udp(0, 0);
    let server = wire.udp(1, 53);
    wire.hosts[1].udp_set_buffers(server, 4 << 20, 0);
    for n in 0..1000u16 {
        let mut payload = [0; 1000];
        payload[..2].copy_from_slice(&n.to_be_bytes());
        wire.send_udp(0, client, SocketAddr::new(ip(1), 53), &payload)
            .expect("sent");
    }
    wire.idle(SOON);
    let got = wire.payloads(1, server);
    let lost = wire.hosts[0].counters().hop_lost as usize;
    assert!(got.len() > 100 && got.len() + lost == 1000, "{}", got.len());
    let first = (lost as u16).to_be_bytes();
    assert_eq!(got[0][..2], first);
    assert_eq!(got.last().expect("some")[..2], 999u16.to_be_bytes());
}

#[test]
fn own_addresses_are_reached_without_the_wire() {
    for v6 in [false, true] {
        let mut wire = wire();
        wire.idle(SOON);
        wire.seen.clear();
        let client = wire.udp(0, 5000);
        let server = wire.udp(0, 53);
        let own = address(v6, 0);
        wire.send_udp(0, client, SocketAddr::new(own, 53), &[7; 60_000])
            .expect("sent");
        let got = wire.received(0, server);
        assert_eq!(got, [(SocketAddr::new(own, 5000), vec![7; 60_000])]);
        let closed = SocketAddr::new(own, 54);
        wire.send_udp(0, client, closed, b"nobody").expect("sent");
        let now = wire.now;
        wire.hosts[0].handle_timeout(now);
        let mut events = Vec::new();
        while let Some(event) = wire.hosts[0].poll_event() {
            events.push(event);
        }
        let failed = UdpEvent::Failed {
            peer: closed,
            failure: UdpFailure::Refused,
        };
        assert_eq!(
            events,
            [
                zt_netstack::HostEvent::Udp(server, UdpEvent::Readable),
                zt_netstack::HostEvent::Udp(client, failed)
            ]
        );
        assert_eq!(wire.seen, []);
    }
}

#[test]
fn a_connected_socket_hears_its_peer_alone() {
    let mut wire = Wire::new(3, 1, Conditions::default());
    let server = wire.udp(0, 53);
    let friend = wire.udp(1, 1000);
    let stranger = wire.udp(2, 1000);
    let peer = SocketAddr::new(ip(1), 1000);
    let local = wire.hosts[0].udp_connect(server, Some(peer));
    assert_eq!(local, Ok(SocketAddr::new(ip(0), 53)));
    let to = SocketAddr::new(ip(0), 53);
    wire.send_udp(1, friend, to, b"friend").expect("sent");
    wire.send_udp(2, stranger, to, b"stranger").expect("sent");
    wire.idle(SOON);
    assert_eq!(wire.received(0, server), [(peer, b"friend".to_vec())]);
    // For the stranger nobody is there.
    assert!(matches!(wire.udp_events(2)[..], [(id, UdpEvent::Failed { .. })] if id == stranger));

    let local = wire.hosts[0].udp_connect(server, None);
    assert_eq!(local, Ok("[::]:53".parse().expect("an address")));
    wire.send_udp(2, stranger, to, b"stranger").expect("sent");
    wire.idle(SOON);
    assert_eq!(wire.payloads(0, server), [b"stranger"]);
}

#[test]
fn scope_and_flow_of_an_address_mean_nothing() {
    let mut wire = wire();
    let client = wire.udp(0, 5000);
    let server = wire.udp(1, 53);
    let std::net::IpAddr::V6(address) = ip6(1) else {
        panic!("an IPv6 address")
    };
    let scoped = std::net::SocketAddrV6::new(address, 53, 7, 3).into();
    wire.hosts[0]
        .udp_connect(client, Some(scoped))
        .expect("a way");
    wire.send_udp(0, client, scoped, b"there").expect("sent");
    wire.idle(SOON);
    let [(from, _)] = wire.received(1, server)[..] else {
        panic!("one datagram")
    };
    wire.send_udp(1, server, from, b"back").expect("sent");
    wire.idle(SOON);
    assert_eq!(wire.payloads(0, client), [b"back"]);
}

#[test]
fn what_cannot_be_sent_is_refused_with_its_reason() {
    let mut wire = wire();
    let host = &mut wire.hosts[0];
    let (v4, _) = host
        .udp_bind(at(Some(ip(0)), 0), Sharing::default())
        .expect("a port");
    let (both, _) = host
        .udp_bind(at(None, 0), Sharing::default())
        .expect("a port");
    let now = wire.now;
    let mut send = |id, from, to: &str, len| {
        let to = to.parse().expect("an address");
        let payload = vec![0; len];
        wire.hosts[0].udp_send(now, id, from, to, &payload, SendOptions::default())
    };
    assert_eq!(
        send(both, None, "10.0.0.2:0", 1),
        Err(UdpSendError::Invalid)
    );
    assert_eq!(
        send(both, None, "0.0.0.0:53", 1),
        Err(UdpSendError::Invalid)
    );
    assert_eq!(
        send(v4, None, "[fd00::2]:53", 1),
        Err(UdpSendError::Invalid)
    );
    assert_eq!(
        send(both, Some(ip(0)), "[fd00::2]:53", 1),
        Err(UdpSendError::Invalid)
    );
    assert_eq!(
        send(both, Some(ip(5)), "10.0.0.2:53", 1),
        Err(UdpSendError::AddrNotAvailable)
    );
    assert_eq!(
        send(both, None, "8.8.8.8:53", 1),
        Err(UdpSendError::NoRoute)
    );
    assert_eq!(
        send(both, None, "10.0.0.2:53", 65_508),
        Err(UdpSendError::TooLong)
    );
    assert_eq!(
        send(both, None, "[fd00::2]:53", 65_528),
        Err(UdpSendError::TooLong)
    );
    assert_eq!(send(both, None, "10.0.0.2:53", 65_507), Ok(()));
    wire.hosts[0].udp_close(both);
    assert_eq!(
        wire.send_udp(0, both, SocketAddr::new(ip(1), 53), b""),
        Err(UdpSendError::Unknown)
    );
    let far = Some("8.8.8.8:53".parse().expect("an address"));
    let host = &mut wire.hosts[0];
    assert_eq!(host.udp_connect(v4, far), Err(UdpConnectError::NoRoute));
    let other = Some(SocketAddr::new(ip6(1), 53));
    assert_eq!(host.udp_connect(v4, other), Err(UdpConnectError::Invalid));
}

#[test]
fn a_full_receive_queue_drops_and_counts() {
    let mut wire = wire();
    let client = wire.udp(0, 0);
    let server = wire.udp(1, 53);
    wire.hosts[1].udp_set_buffers(server, 10_000, 10_000);
    for n in 0..100 {
        wire.send_udp(0, client, SocketAddr::new(ip(1), 53), &[n; 1000])
            .expect("sent");
    }
    wire.idle(SOON);
    let dropped = wire.hosts[1].udp_info(server).expect("a socket").dropped;
    let got = wire.payloads(1, server);
    assert_eq!(got.len(), 8);
    assert_eq!(got[7], [7; 1000]);
    assert_eq!(dropped, 92);
    assert_eq!(wire.hosts[1].counters().receive_full, 92);
}

#[test]
fn a_full_send_queue_blocks_until_it_has_room_and_loses_nothing() {
    let mut wire = Wire::new(
        2,
        1,
        Conditions {
            queue: 4,
            ..Conditions::default()
        },
    );
    let client = wire.udp(0, 0);
    let other = wire.udp(0, 0);
    let server = wire.udp(1, 53);
    let to = SocketAddr::new(ip(1), 53);
    wire.send_udp(0, client, to, b"knock").expect("sent");
    wire.idle(SOON);
    wire.received(1, server);

    let mut sent = 0u32;
    let fill = |wire: &mut Wire, sent: &mut u32| {
        let payload = |n: u32| [&n.to_be_bytes()[..], &[0; 996]].concat();
        while wire.send_udp(0, client, to, &payload(*sent)).is_ok() {
            *sent += 1;
        }
    };
    fill(&mut wire, &mut sent);
    let first = sent;
    assert!((150..250).contains(&first), "{first}");
    assert_eq!(
        wire.send_udp(0, client, to, &[0; 1000]),
        Err(UdpSendError::WouldBlock)
    );
    // One socket's queue is not in the way of another's.
    wire.send_udp(0, other, to, b"other").expect("room");

    let mut got = Vec::new();
    let mut turns = 0;
    let until = wire.now + Duration::from_secs(10);
    loop {
        let more = wire.step(until, &mut |host, _, event| {
            if let zt_netstack::HostEvent::Udp(id, event) = event {
                match event {
                    UdpEvent::Readable => got.extend(received(host, id)),
                    UdpEvent::Writable => turns += 1,
                    UdpEvent::Failed { .. } => panic!("{event:?}"),
                }
            }
        });
        if turns == 1 {
            turns += 1;
            fill(&mut wire, &mut sent);
        }
        if !more {
            break;
        }
    }
    assert!(sent > first);
    let place = got.iter().position(|(_, payload)| payload == b"other");
    assert!(place.is_some_and(|place| place < 150), "{place:?}");
    got.retain(|(_, payload)| payload.len() == 1000);
    let numbers: Vec<_> = got
        .iter()
        .map(|(_, payload)| u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]))
        .collect();
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
}

#[test]
fn what_a_closed_socket_sent_still_leaves() {
    let mut wire = wire();
    let client = wire.udp(0, 700);
    let server = wire.udp(1, 53);
    let to = SocketAddr::new(ip(1), 53);
    wire.send_udp(0, client, to, b"knock").expect("sent");
    wire.idle(SOON);
    for _ in 0..50 {
        wire.send_udp(0, client, to, &[1; 3000]).expect("sent");
    }
    wire.hosts[0].udp_close(client);
    // The port is free at once.
    let again = wire.udp(0, 700);
    assert_ne!(again, client);
    wire.idle(SOON);
    assert_eq!(wire.received(1, server).len(), 51);
    assert!(wire.hosts[0].udp_info(client).is_none());
}

#[test]
fn a_wrong_checksum_is_dropped_and_none_at_all_is_taken() {
    let mut wire = wire();
    let server = wire.udp(1, 53);
    let mut datagram = vec![
        0x45, 0, 0, 32, 0, 7, 0x40, 0, 64, 17, 0x26, 0xc4, 10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0,
        53, 0, 12, 0, 0, 1, 2, 3, 4,
    ];
    let sum = datagram[..20]
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum::<u32>()
        - 0x26c4;
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    datagram[10..12].copy_from_slice(&sum.to_be_bytes());
    for sum in [[0, 0], [1, 1]] {
        datagram[26..28].copy_from_slice(&sum);
        wire.inject(Frame {
            src: mac(0),
            dst: mac(1),
            ethertype: 0x0800,
            payload: datagram.clone(),
        });
    }
    wire.idle(SOON);
    assert_eq!(wire.payloads(1, server), [[1, 2, 3, 4]]);
    assert_eq!(wire.hosts[1].counters().bad_checksum, 1);
}

#[test]
fn nothing_leaves_from_an_address_that_is_gone() {
    let mut wire = wire();
    let bound = wire.udp_at(0, at(Some(ip(0)), 53), Sharing::default());
    let free = wire.udp(0, 54);
    let server = wire.udp(1, 53);
    let mut changed = config(0);
    changed.addresses[0].0 = ip(40);
    let now = wire.now;
    wire.hosts[0].configure(now, changed);
    let to = SocketAddr::new(ip(1), 53);
    assert_eq!(
        wire.send_udp(0, bound, to, b"old"),
        Err(UdpSendError::AddrNotAvailable)
    );
    wire.send_udp(0, free, to, b"new").expect("sent");
    wire.idle(SOON);
    let from = SocketAddr::new(ip(40), 54);
    assert_eq!(wire.received(1, server), [(from, b"new".to_vec())]);
}
