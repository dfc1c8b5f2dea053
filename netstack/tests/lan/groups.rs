//! Broadcast and multicast: who hears what is for many.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use zt_netstack::{Cast, GroupError, HostEvent, SendOptions, Taken};

use crate::udp::{REUSE_ADDRESS, at};
use crate::wire::{Conditions, Wire, ip, ip6, mac};

const SOON: Duration = Duration::from_millis(10);

fn wire() -> Wire {
    Wire::new(3, 1, Conditions::default())
}

fn group(v6: bool) -> IpAddr {
    let text = if v6 { "ff02::fb" } else { "224.0.0.251" };
    text.parse().expect("an address")
}

#[test]
fn a_broadcast_reaches_everybody() {
    for to in ["255.255.255.255:67", "10.0.0.255:67"] {
        let to: SocketAddr = to.parse().expect("an address");
        let mut wire = wire();
        let sockets: Vec<_> = (0..3).map(|host| wire.udp(host, 67)).collect();
        wire.send_udp(0, sockets[0], to, b"all").expect("sent");
        wire.idle(SOON);
        for (host, id) in sockets.iter().enumerate() {
            let mut seen = 0;
            wire.hosts[host].udp_receive(*id, |datagram| {
                assert_eq!(datagram.from, SocketAddr::new(ip(0), 67));
                assert_eq!((datagram.to, datagram.cast), (to, Cast::Broadcast));
                seen += 1;
                Taken::Yes
            });
            assert_eq!(seen, 1, "host {host}");
        }
        let sent = wire.seen.iter().find(|frame| frame.ethertype == 0x0800);
        assert_eq!(sent.expect("a datagram").dst, [0xff; 6]);
        assert!(wire.hosts[0].is_broadcast(to.ip()));
    }
}

#[test]
fn a_broadcast_that_nobody_wants_is_not_answered() {
    let mut wire = wire();
    let client = wire.udp(0, 0);
    wire.idle(SOON);
    wire.seen.clear();
    let to = "255.255.255.255:67".parse().expect("an address");
    wire.send_udp(0, client, to, b"all").expect("sent");
    wire.idle(SOON);
    assert_eq!(wire.seen.len(), 1);
    assert_eq!(wire.hosts[1].counters().port_closed, 1);
}

#[test]
fn a_large_broadcast_is_joined_by_everybody() {
    let mut wire = wire();
    let sockets: Vec<_> = (0..3).map(|host| wire.udp(host, 67)).collect();
    let to = "10.0.0.255:67".parse().expect("an address");
    wire.send_udp(0, sockets[0], to, &[3; 9000]).expect("sent");
    wire.idle(SOON);
    for (host, id) in sockets.into_iter().enumerate() {
        assert_eq!(wire.payloads(host, id), [[3; 9000]]);
    }
}

#[test]
fn members_hear_their_group_and_others_do_not() {
    for v6 in [false, true] {
        let mut wire = wire();
        let sockets: Vec<_> = (0..3).map(|host| wire.udp(host, 5353)).collect();
        wire.hosts[1]
            .multicast_join(sockets[1], group(v6))
            .expect("joined");
        let to = SocketAddr::new(group(v6), 5353);
        wire.send_udp(0, sockets[0], to, b"who").expect("sent");
        wire.idle(SOON);
        let from = SocketAddr::new(if v6 { ip6(0) } else { ip(0) }, 5353);
        let mut seen = Vec::new();
        wire.hosts[1].udp_receive(sockets[1], |datagram| {
            seen.push((datagram.from, datagram.to, datagram.ttl, datagram.cast));
            Taken::Yes
        });
        assert_eq!(seen, [(from, to, 1, Cast::Multicast)]);
        assert_eq!(wire.received(0, sockets[0]), []);
        assert_eq!(wire.received(2, sockets[2]), []);
        let expected = if v6 {
            [0x33, 0x33, 0, 0, 0, 0xfb]
        } else {
            [1, 0, 0x5e, 0, 0, 0xfb]
        };
        let sent = wire.seen.iter().rfind(|frame| frame.src == mac(0));
        assert_eq!(sent.expect("a datagram").dst, expected);
        let groups: Vec<_> = wire.hosts[1].multicast_groups().collect();
        assert_eq!(groups, [(group(v6), expected)]);
    }
}

#[test]
fn all_sockets_of_a_port_hear_the_group() {
    let mut wire = wire();
    let client = wire.udp(0, 0);
    let local = [None, Some("0.0.0.0"), Some("224.0.0.251"), Some("10.0.0.2")];
    let sockets = local.map(|ip| {
        let ip = ip.map(|ip| ip.parse().expect("an address"));
        wire.udp_at(1, at(ip, 5353), REUSE_ADDRESS)
    });
    wire.hosts[1]
        .multicast_join(sockets[0], group(false))
        .expect("joined");
    let to = SocketAddr::new(group(false), 5353);
    wire.send_udp(0, client, to, b"who").expect("sent");
    wire.idle(SOON);
    let heard = sockets.map(|id| wire.payloads(1, id).len());
    // The last is bound to an address that the datagram was not sent to.
    assert_eq!(heard, [1, 1, 1, 0]);

    for id in sockets {
        wire.hosts[1].udp_set_multicast_all(id, false);
    }
    wire.send_udp(0, client, to, b"who").expect("sent");
    wire.idle(SOON);
    let heard = sockets.map(|id| wire.payloads(1, id).len());
    assert_eq!(heard, [1, 0, 0, 0]);
}

#[test]
fn own_members_hear_what_is_sent_unless_it_is_not_looped() {
    for v6 in [false, true] {
        let mut wire = wire();
        let client = wire.udp(0, 0);
        let member = wire.udp(0, 5353);
        wire.hosts[0]
            .multicast_join(member, group(v6))
            .expect("joined");
        let now = wire.now;
        for (loopback, ttl) in [(true, Some(0)), (false, None), (true, None)] {
            let options = SendOptions {
                loopback,
                ttl,
                ..SendOptions::default()
            };
            let to = SocketAddr::new(group(v6), 5353);
            wire.hosts[0]
                .udp_send(now, client, None, to, &[u8::from(loopback)], options)
                .expect("sent");
        }
        assert_eq!(wire.payloads(0, member), [[1], [1]]);
        wire.idle(SOON);
        // A hop limit of zero keeps it inside.
        let is_group = |mac: [u8; 6]| mac[5] == 0xfb;
        assert_eq!(wire.seen.iter().filter(|f| is_group(f.dst)).count(), 2);
    }
}

#[test]
fn a_broadcast_that_is_not_looped_leaves_all_the_same() {
    let mut wire = wire();
    let sockets: Vec<_> = (0..2).map(|host| wire.udp(host, 67)).collect();
    let options = SendOptions {
        loopback: false,
        ..SendOptions::default()
    };
    let (now, to) = (wire.now, "10.0.0.255:67".parse().expect("an address"));
    wire.hosts[0]
        .udp_send(now, sockets[0], None, to, b"all", options)
        .expect("sent");
    wire.idle(SOON);
    assert_eq!(wire.payloads(0, sockets[0]).len(), 0);
    assert_eq!(wire.payloads(1, sockets[1]), [b"all"]);
}

#[test]
fn every_host_is_in_the_group_of_all_hosts() {
    for group in ["224.0.0.1", "ff02::1"] {
        let mut wire = wire();
        let sockets: Vec<_> = (0..2).map(|host| wire.udp(host, 67)).collect();
        let to = SocketAddr::new(group.parse().expect("an address"), 67);
        wire.send_udp(0, sockets[0], to, b"all").expect("sent");
        wire.idle(SOON);
        assert_eq!(wire.payloads(1, sockets[1]), [b"all"]);
    }
}

#[test]
fn a_group_lasts_as_long_as_its_members() {
    let mut wire = wire();
    let sockets = [1000, 1001, 1002].map(|port| wire.udp(0, port));
    let group = group(false);
    let host = &mut wire.hosts[0];
    let changes = |host: &mut zt_netstack::Host| {
        std::iter::from_fn(|| host.poll_event())
            .filter(|event| *event == HostEvent::GroupsChanged)
            .count()
    };
    host.multicast_join(sockets[0], group).expect("joined");
    assert_eq!(changes(host), 1);
    host.multicast_join(sockets[1], group).expect("joined");
    host.multicast_join(sockets[2], group).expect("joined");
    assert_eq!(
        host.multicast_join(sockets[2], group),
        Err(GroupError::AddrInUse)
    );
    host.multicast_leave(sockets[0], group).expect("left");
    assert_eq!(
        host.multicast_leave(sockets[0], group),
        Err(GroupError::AddrNotAvailable)
    );
    host.udp_close(sockets[1]);
    assert_eq!((changes(host), host.multicast_groups().count()), (0, 1));
    host.udp_close(sockets[2]);
    assert_eq!((changes(host), host.multicast_groups().count()), (1, 0));

    assert_eq!(
        host.multicast_join(sockets[0], ip(1)),
        Err(GroupError::NotAGroup)
    );
    assert_eq!(
        host.multicast_join(sockets[1], group),
        Err(GroupError::Unknown)
    );
    for n in 0..20 {
        let group = IpAddr::from([239, 0, 0, n]);
        host.multicast_join(sockets[0], group).expect("joined");
    }
    assert_eq!(
        host.multicast_join(sockets[0], group),
        Err(GroupError::TooMany)
    );
}
