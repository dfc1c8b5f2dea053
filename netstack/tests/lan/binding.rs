//! Who gets a datagram: wildcard and specific addresses, families, connected and sharing sockets.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use zt_netstack::{ListenAddr, Sharing, UdpBindError, UdpId};

use crate::udp::{REUSE_ADDRESS, address, at};
use crate::wire::{Conditions, Wire, config, ip, ip6};

const SOON: Duration = Duration::from_millis(10);
const REUSE_PORT: Sharing = Sharing {
    reuse_address: false,
    reuse_port: true,
};

fn of(ip: &str, port: u16) -> ListenAddr {
    at(Some(ip.parse().expect("an address")), port)
}

/// Two hosts; host 1 has 10.0.0.2 and 10.0.0.50.
fn wire() -> Wire {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let mut changed = config(1);
    changed.addresses.push((ip(49), 24));
    let now = wire.now;
    wire.hosts[1].configure(now, changed);
    wire
}

/// Which of host 1's sockets gets a datagram.
fn taker(wire: &mut Wire, from: UdpId, to: SocketAddr, sockets: &[UdpId]) -> Vec<usize> {
    wire.send_udp(0, from, to, b"?").expect("sent");
    wire.idle(SOON);
    (0..sockets.len())
        .filter(|n| !wire.received(1, sockets[*n]).is_empty())
        .collect()
}

#[test]
fn a_taken_port_is_refused_unless_both_share_it() {
    let exclusive = Sharing::default();
    let any = at(None, 53);
    let cases = [
        (any, exclusive, any, exclusive, false),
        (any, REUSE_ADDRESS, any, exclusive, false),
        (any, exclusive, any, REUSE_ADDRESS, false),
        (any, REUSE_PORT, any, REUSE_ADDRESS, false),
        (any, REUSE_ADDRESS, any, REUSE_ADDRESS, true),
        (any, REUSE_PORT, any, REUSE_PORT, true),
        // A wildcard covers the specific, as in Linux.
        (
            of("0.0.0.0", 53),
            exclusive,
            of("10.0.0.2", 53),
            exclusive,
            false,
        ),
        (of("0.0.0.0", 53), exclusive, of("::", 53), exclusive, true),
        (of("0.0.0.0", 53), exclusive, any, exclusive, false),
        (
            of("10.0.0.50", 53),
            exclusive,
            of("10.0.0.2", 53),
            exclusive,
            true,
        ),
        (
            of("10.0.0.2", 53),
            exclusive,
            of("fd00::2", 53),
            exclusive,
            true,
        ),
        (any, exclusive, at(None, 54), exclusive, true),
    ];
    for (first, sharing, second, other, fits) in cases {
        let mut wire = wire();
        let id = wire.udp_at(1, first, sharing);
        let expected = if fits {
            Ok(())
        } else {
            Err(UdpBindError::AddrInUse)
        };
        let bound = wire.hosts[1].udp_bind(second, other);
        assert_eq!(bound.map(|_| ()), expected, "{first:?} {second:?}");
        wire.hosts[1].udp_close(id);
        if !fits {
            wire.udp_at(1, second, other);
        }
    }
}

#[test]
fn only_addresses_that_can_receive_are_bound() {
    let mut wire = wire();
    let host = &mut wire.hosts[1];
    for good in [
        "10.0.0.50",
        "0.0.0.0",
        "::",
        "fd00::2",
        "10.0.0.255",
        "255.255.255.255",
        "224.0.0.251",
        "ff02::fb",
    ] {
        let (_, local) = host
            .udp_bind(of(good, 0), Sharing::default())
            .expect("bound");
        assert_eq!(local.ip().to_string(), good);
    }
    for bad in ["10.0.0.9", "fd00::9", "127.0.0.1"] {
        assert_eq!(
            host.udp_bind(of(bad, 0), Sharing::default()),
            Err(UdpBindError::AddrNotAvailable)
        );
    }
}

#[test]
fn ports_of_choice_are_ephemeral_and_apart_from_those_of_tcp() {
    let mut wire = wire();
    let mut ports = HashSet::new();
    for _ in 0..1000 {
        let (_, local) = wire.hosts[0]
            .udp_bind(at(None, 0), Sharing::default())
            .expect("a port");
        assert!((32_768..=60_999).contains(&local.port()));
        assert!(ports.insert(local.port()));
    }
    wire.listen(0, 53, 1);
    wire.udp(0, 53);
}

#[test]
fn when_all_ports_are_taken_there_is_none() {
    let mut wire = wire();
    let bind = |wire: &mut Wire| wire.hosts[0].udp_bind(at(None, 0), Sharing::default());
    for _ in 32_768..=60_999 {
        bind(&mut wire).expect("a port");
    }
    assert_eq!(bind(&mut wire), Err(UdpBindError::AddrInUse));
}

#[test]
fn the_most_specific_socket_gets_it() {
    let mut wire = wire();
    let client = wire.udp(0, 5000);
    let stranger = wire.udp(0, 5001);
    let connected = wire.udp_at(1, at(None, 53), REUSE_ADDRESS);
    let specific = wire.udp_at(1, of("10.0.0.2", 53), REUSE_ADDRESS);
    let v4 = wire.udp_at(1, of("0.0.0.0", 53), REUSE_ADDRESS);
    let both = wire.udp_at(1, at(None, 53), REUSE_ADDRESS);
    let peer = SocketAddr::new(ip(0), 5000);
    wire.hosts[1]
        .udp_connect(connected, Some(peer))
        .expect("a way");
    let sockets = [connected, specific, v4, both];
    let to = |ip| SocketAddr::new(ip, 53);
    assert_eq!(taker(&mut wire, client, to(ip(1)), &sockets), [0]);
    assert_eq!(taker(&mut wire, stranger, to(ip(1)), &sockets), [1]);
    assert_eq!(taker(&mut wire, client, to(ip(49)), &sockets), [2]);
    assert_eq!(taker(&mut wire, client, to(ip6(1)), &sockets), [3]);
    wire.hosts[1].udp_close(connected);
    assert_eq!(taker(&mut wire, client, to(ip(1)), &sockets), [1]);
}

#[test]
fn a_socket_of_one_family_does_not_hear_the_other() {
    for v6 in [false, true] {
        let mut wire = wire();
        let client = wire.udp(0, 0);
        let only = wire.udp_at(
            1,
            of(if v6 { "::" } else { "0.0.0.0" }, 53),
            Sharing::default(),
        );
        let to = |v6| SocketAddr::new(address(v6, 1), 53);
        assert_eq!(taker(&mut wire, client, to(v6), &[only]), [0]);
        assert_eq!(taker(&mut wire, client, to(!v6), &[only]), [0; 0]);
    }
}

#[test]
fn of_equal_sockets_the_newest_gets_it() {
    let mut wire = wire();
    let client = wire.udp(0, 0);
    let sockets: Vec<_> = (0..3)
        .map(|_| wire.udp_at(1, at(None, 53), REUSE_ADDRESS))
        .collect();
    let to = SocketAddr::new(ip(1), 53);
    assert_eq!(taker(&mut wire, client, to, &sockets), [2]);
    wire.hosts[1].udp_close(sockets[2]);
    assert_eq!(taker(&mut wire, client, to, &sockets), [1]);
}

#[test]
fn sockets_that_share_a_port_share_the_senders() {
    let mut wire = wire();
    let sockets: Vec<_> = (0..4)
        .map(|_| wire.udp_at(1, at(None, 53), REUSE_PORT))
        .collect();
    let to = SocketAddr::new(ip(1), 53);
    let mut hits = [0; 4];
    for _ in 0..100 {
        let client = wire.udp(0, 0);
        let [first] = taker(&mut wire, client, to, &sockets)[..] else {
            panic!("one socket gets it")
        };
        assert_eq!(taker(&mut wire, client, to, &sockets), [first]);
        hits[first] += 1;
        wire.hosts[0].udp_close(client);
    }
    assert!(hits.iter().all(|hits| *hits > 5), "{hits:?}");
}

/// The address of the resolver is inside a host alone, and its port no other's affair.
#[test]
fn the_resolver_is_found_inside_its_host_and_not_on_the_link() {
    use zt_netstack::names::RESOLVER;
    let mut wire = Wire::new(2, 1, Conditions::default());
    let sharing = Sharing::default();
    let resolver = wire.udp_at(0, at(Some(RESOLVER), 53), sharing);
    // A name server for the LAN beside it.
    let server = wire.udp(0, 53);
    let client = wire.udp(0, 0);
    let elsewhere = wire.udp(1, 0);
    wire.idle(Duration::from_millis(10));
    wire.seen.clear();
    let to = SocketAddr::new(RESOLVER, 53);
    wire.send_udp(0, client, to, b"who").expect("sent");
    let (from, question) = wire.received(0, resolver).remove(0);
    assert_eq!((from.ip(), &question[..]), (RESOLVER, &b"who"[..]));
    wire.send_udp(0, resolver, from, b"me").expect("sent");
    assert_eq!(wire.received(0, client), [(to, b"me".to_vec())]);
    wire.hosts[0].udp_connect(client, Some(to)).expect("a way");
    wire.send_udp(0, client, to, b"again").expect("sent");
    assert_eq!(wire.payloads(0, resolver), [b"again"]);
    wire.idle(Duration::from_millis(10));
    assert_eq!(wire.seen.len(), 0, "nothing on the link");
    // What comes from the link with that address is not taken.
    wire.send_udp(
        1,
        elsewhere,
        SocketAddr::new(crate::wire::ip(0), 53),
        b"hello",
    )
    .expect("sent");
    wire.idle(Duration::from_millis(10));
    let mut frame = wire
        .seen
        .iter()
        .find(|frame| frame.ethertype == 0x0800)
        .expect("a datagram")
        .clone();
    assert_eq!(wire.payloads(0, server), [b"hello"]);
    frame.payload[16..20].copy_from_slice(&[169, 254, 53, 53]);
    // Header and datagram with their sums: an absent one, and one made anew.
    frame.payload[26..28].fill(0);
    frame.payload[10..12].fill(0);
    let sum: u32 = frame.payload[..20]
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame.payload[10..12].copy_from_slice(&sum.to_be_bytes());
    wire.inject(frame);
    wire.idle(Duration::from_millis(10));
    assert_eq!(wire.payloads(0, resolver), Vec::<Vec<u8>>::new());
    assert_eq!(wire.payloads(0, server), Vec::<Vec<u8>>::new());
}
