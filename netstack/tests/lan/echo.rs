//! Echo sockets: ping without privilege.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use zt_netstack::{Taken, UdpBindError, UdpEvent, UdpFailure, UdpId, UdpSendError};

use crate::udp::{address, at};
use crate::wire::{Conditions, Wire, ip};

const SOON: Duration = Duration::from_millis(10);

fn any(v6: bool) -> IpAddr {
    let text = if v6 { "::" } else { "0.0.0.0" };
    text.parse().expect("an address")
}

fn echo(wire: &mut Wire, host: usize, v6: bool, identifier: u16) -> (UdpId, u16) {
    let (id, local) = wire.hosts[host]
        .echo_bind(at(Some(any(v6)), identifier))
        .expect("a free identifier");
    (id, local.port())
}

fn request(v6: bool, sequence: u8, len: usize) -> Vec<u8> {
    let mut message = vec![if v6 { 128 } else { 8 }, 0, 0, 0, 0xaa, 0xaa, 0, sequence];
    message.resize(len, 0x5a);
    message
}

/// What an answer says, without its checksum.
fn answer(v6: bool, identifier: u16, sequence: u8, len: usize) -> Vec<u8> {
    let mut message = request(v6, sequence, len);
    message[0] = if v6 { 129 } else { 0 };
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    message
}

fn answers(wire: &mut Wire, host: usize, id: UdpId) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut all = wire.received(host, id);
    for (_, message) in &mut all {
        message[2..4].fill(0);
    }
    all
}

#[test]
fn a_ping_finds_its_way_back_to_the_socket_that_sent_it() {
    for v6 in [false, true] {
        let mut wire = Wire::new(2, 1, Conditions::default());
        let (first, own) = echo(&mut wire, 0, v6, 0);
        let (second, other) = echo(&mut wire, 0, v6, 77);
        assert_ne!(own, other);
        // To a neighbour, and to the host itself; the second needs fragments.
        for host in [1, 0] {
            for (id, sequence, len) in [(first, 1, 64), (second, 2, 9000), (first, 3, 8)] {
                let to = SocketAddr::new(address(v6, host), 0);
                wire.send_udp(0, id, to, &request(v6, sequence, len))
                    .expect("sent");
            }
            wire.idle(SOON);
            let from = SocketAddr::new(address(v6, host), 0);
            assert!(
                answers(&mut wire, 0, first)
                    == [
                        (from, answer(v6, own, 1, 64)),
                        (from, answer(v6, own, 3, 8))
                    ]
            );
            assert!(answers(&mut wire, 0, second) == [(from, answer(v6, 77, 2, 9000))]);
        }
        assert_eq!(wire.hosts[1].counters().bad_checksum, 0);
    }
}

#[test]
fn an_answer_tells_its_hop_limit() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let (id, identifier) = echo(&mut wire, 0, false, 0);
    let to = SocketAddr::new(ip(1), 0);
    wire.hosts[0].udp_connect(id, Some(to)).expect("a way");
    wire.send_udp(0, id, to, &request(false, 1, 64))
        .expect("sent");
    wire.idle(SOON);
    let taken = wire.hosts[0].udp_receive(id, |datagram| {
        assert_eq!(datagram.ttl, 64);
        assert_eq!(datagram.to, SocketAddr::new(ip(0), identifier));
        Taken::Yes
    });
    assert_eq!(taken, 1);
}

#[test]
fn nothing_but_echo_requests_is_sent() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let (v4, _) = echo(&mut wire, 0, false, 0);
    let (v6, _) = echo(&mut wire, 0, true, 0);
    let to = |v6| SocketAddr::new(address(v6, 1), 0);
    for (id, v6, message) in [
        (v4, false, &request(false, 1, 64)[..7]),
        (v4, false, &request(true, 1, 64)),
        (v4, true, &request(true, 1, 64)),
        (v4, false, &answer(false, 1, 1, 64)),
        (v4, false, &[5, 0, 0, 0, 0, 0, 0, 0]),
        (v6, true, &[135, 0, 0, 0, 0, 0, 0, 0]),
        (v6, false, &request(false, 1, 64)),
    ] {
        let sent = wire.send_udp(0, id, to(v6), message);
        assert_eq!(sent, Err(UdpSendError::Invalid));
    }
    let sent = wire.send_udp(0, v4, to(false), &request(false, 1, 65_516));
    assert_eq!(sent, Err(UdpSendError::TooLong));
    let none = wire.hosts[0].echo_bind(at(None, 0));
    assert_eq!(none, Err(UdpBindError::AddrNotAvailable));
}

#[test]
fn a_host_that_is_not_there_is_reported() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let (id, _) = echo(&mut wire, 0, false, 0);
    let to = SocketAddr::new(ip(76), 0);
    wire.send_udp(0, id, to, &request(false, 1, 64))
        .expect("sent");
    wire.idle(Duration::from_secs(4));
    let failed = UdpEvent::Failed {
        peer: to,
        failure: UdpFailure::Unreachable,
    };
    assert_eq!(wire.udp_events(0), [(id, failed)]);
}

#[test]
fn what_is_known_of_a_loss_is_kept_for_who_wants_it() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let (asks, identifier) = echo(&mut wire, 0, false, 0);
    let udp = wire.udp(0, 0);
    let silent = wire.udp(0, 0);
    wire.hosts[0].udp_keep_losses(asks, true);
    wire.hosts[0].udp_keep_losses(udp, true);
    let nobody = SocketAddr::new(ip(76), 0);
    let closed = SocketAddr::new(ip(1), 9);
    let question = request(false, 1, 64);
    wire.send_udp(0, asks, nobody, &question).expect("sent");
    for id in [udp, silent] {
        wire.send_udp(0, id, closed, &[7; 300]).expect("sent");
    }
    wire.idle(Duration::from_secs(4));
    let host = &mut wire.hosts[0];
    let loss = host.udp_take_loss(asks).expect("a loss");
    assert_eq!(
        (loss.peer, loss.offender, loss.message),
        (nobody, ip(0), (3, 1))
    );
    assert_eq!(loss.payload[..2], question[..2]);
    assert_eq!(loss.payload[4..6], identifier.to_be_bytes());
    let loss = host.udp_take_loss(udp).expect("a loss");
    assert_eq!(
        (loss.peer, loss.offender, loss.message),
        (closed, ip(1), (3, 3))
    );
    assert_eq!(
        (loss.failure, loss.payload),
        (UdpFailure::Refused, vec![7; 128])
    );
    for id in [asks, udp, silent] {
        assert_eq!(host.udp_take_loss(id), None);
    }
    // It is kept until it is taken, and no longer than the wish.
    wire.send_udp(0, udp, closed, b"again").expect("sent");
    wire.idle(SOON);
    wire.hosts[0].udp_keep_losses(udp, false);
    assert_eq!(wire.hosts[0].udp_take_loss(udp), None);
}

#[test]
fn ports_and_identifiers_are_apart() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let (_, identifier) = echo(&mut wire, 0, false, 700);
    assert_eq!(identifier, 700);
    let udp = wire.udp(0, 700);
    let taken = wire.hosts[0].echo_bind(at(Some(any(false)), 700));
    assert_eq!(taken, Err(UdpBindError::AddrInUse));
    // The families are apart too.
    echo(&mut wire, 0, true, 700);
    let client = wire.udp(1, 0);
    wire.send_udp(1, client, SocketAddr::new(ip(0), 700), b"datagram")
        .expect("sent");
    wire.idle(SOON);
    assert_eq!(wire.payloads(0, udp), [b"datagram"]);
}
