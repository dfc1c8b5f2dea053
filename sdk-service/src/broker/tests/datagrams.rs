//! UDP sockets of programs.

use std::net::UdpSocket;

use rustix::net::{RecvFlags, SendFlags};
use zt_netstack::{Datagram as Arrived, SendOptions, Sharing, Taken, UdpId};
use zt_socket_rpc::{
    BindDatagram, ConnectDatagram, DatagramHeader, Family, LAN_INTERFACE, Membership, OptionValue,
    Prefix, SetOption,
};

use super::*;

fn header(peer: SocketAddr) -> DatagramHeader {
    DatagramHeader {
        peer: Some(peer),
        local: None,
        family: Family::V4,
        ttl: None,
        tos: None,
        errno: 0,
        more: false,
        interface: 0,
    }
}

pub(super) fn send(socket: &Listening, peer: SocketAddr, payload: &[u8]) {
    let frame = [&header(peer).emit(), payload].concat();
    rustix::net::send(&socket.fd, &frame, SendFlags::DONTWAIT).unwrap();
}

pub(super) fn receive(socket: &Listening) -> Option<(DatagramHeader, Vec<u8>)> {
    let mut frame = [0; 70_000];
    let (len, _) = rustix::net::recv(&socket.fd, &mut frame, RecvFlags::DONTWAIT).ok()?;
    let (header, payload) = DatagramHeader::parse(&frame[..len]).unwrap();
    Some((header, payload.to_vec()))
}

impl Rig {
    fn with_lan() -> Self {
        let mut rig = Self::new();
        let lan = Prefix {
            address: OURS.parse().unwrap(),
            length: 24,
        };
        rig.broker.set_lan(&[lan], &[lan], &[]);
        rig
    }

    pub(super) fn open(
        &mut self,
        local: SocketAddr,
        remote: Option<SocketAddr>,
        kernel: Option<&UdpSocket>,
    ) -> Result<(Listening, SocketAddr), i32> {
        let kernel = kernel.map(AsFd::as_fd);
        let (socket, control) = self.program.datagram(local, remote, kernel);
        self.settle();
        match reply(&control).unwrap().unwrap().0 {
            Reply::Done { local } => Ok((socket, local)),
            Reply::Failed { errno } => Err(errno),
            other => panic!("{other:?}"),
        }
    }

    fn peer_binds(&mut self, port: u16) -> UdpId {
        let local = ListenAddr { ip: None, port };
        self.peer.udp_bind(local, Sharing::default()).unwrap().0
    }

    fn peer_says(&mut self, from: UdpId, to: SocketAddr, payload: &[u8]) {
        let options = SendOptions::default();
        self.peer
            .udp_send(self.now, from, None, to, payload, options)
            .unwrap();
        self.settle();
    }

    fn peer_hears(&mut self, at: UdpId) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut heard = Vec::new();
        self.peer.udp_receive(at, |datagram: Arrived<'_>| {
            heard.push((datagram.from, datagram.payload.to_vec()));
            Taken::Yes
        });
        heard
    }
}

#[test]
fn datagrams_go_both_ways_with_their_addresses() {
    let mut rig = Rig::with_lan();
    let (socket, local) = rig.open(at("0.0.0.0", 0), None, None).unwrap();
    assert_ne!(local.port(), 0);
    let peer = rig.peer_binds(53);
    for payload in [&b"question"[..], b"", &[7; 60_000]] {
        send(&socket, at(THEIRS, 53), payload);
        rig.settle();
        let heard = rig.peer_hears(peer);
        assert_eq!(heard, [(at(OURS, local.port()), payload.to_vec())]);
        rig.peer_says(peer, at(OURS, local.port()), payload);
        let (header, got) = receive(&socket).unwrap();
        assert_eq!(
            (header.peer, got.as_slice()),
            (Some(at(THEIRS, 53)), payload)
        );
        assert_eq!(header.local, Some(OURS.parse().unwrap()));
        assert_eq!((header.ttl, header.errno), (Some(64), 0));
    }
    drop(socket);
    rig.nothing_is_left();
    assert!(rig.broker.by_udp.is_empty());
}

#[test]
fn a_refusal_is_told_to_a_connected_socket_and_to_no_other() {
    let mut rig = Rig::with_lan();
    let (socket, _) = rig.open(at("0.0.0.0", 0), None, None).unwrap();
    send(&socket, at(THEIRS, 9), b"anybody?");
    rig.settle();
    assert_eq!(receive(&socket), None);

    let (socket, _) = rig
        .open(at("0.0.0.0", 0), Some(at(THEIRS, 9)), None)
        .unwrap();
    let entry = rig.entry(socket.id).unwrap();
    assert_eq!(
        (entry.state, entry.remote),
        (State::Connected, Some(at(THEIRS, 9)))
    );
    assert_eq!(entry.local.unwrap().ip(), OURS.parse::<IpAddr>().unwrap());
    send(&socket, at(THEIRS, 9), b"anybody?");
    rig.settle();
    let refused = Errno::CONNREFUSED.raw_os_error();
    assert_eq!(rig.entry(socket.id).unwrap().errno, refused);
    assert_eq!(i32::from(receive(&socket).unwrap().0.errno), refused);
    let peer = rig.peer_binds(9);
    send(&socket, at(THEIRS, 9), b"now?");
    rig.settle();
    assert_eq!(rig.entry(socket.id).unwrap().errno, 0);
    assert_eq!(rig.peer_hears(peer).len(), 1);
}

#[test]
fn one_socket_serves_the_lan_and_the_programs_own_network() {
    let mut rig = Rig::with_lan();
    let kernel = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = kernel.local_addr().unwrap().port();
    let (socket, local) = rig.open(at("0.0.0.0", 0), None, Some(&kernel)).unwrap();
    assert_eq!(local.port(), port);
    let native = UdpSocket::bind("127.0.0.1:0").unwrap();
    native.send_to(b"native", ("127.0.0.1", port)).unwrap();
    let peer = rig.peer_binds(53);
    rig.peer_says(peer, at(OURS, port), b"lan");
    let (first, second) = (receive(&socket).unwrap(), receive(&socket).unwrap());
    let mut got = [(first.0.peer, first.1), (second.0.peer, second.1)];
    got.sort();
    let mut wanted = [
        (Some(at(THEIRS, 53)), b"lan".to_vec()),
        (Some(native.local_addr().unwrap()), b"native".to_vec()),
    ];
    wanted.sort();
    assert_eq!(got, wanted);

    send(&socket, native.local_addr().unwrap(), b"answer");
    send(&socket, at(THEIRS, 53), b"answer");
    rig.settle();
    let mut buffer = [0; 10];
    let (len, from) = native.recv_from(&mut buffer).unwrap();
    assert_eq!((len, from), (6, at("127.0.0.1", port)));
    assert_eq!(rig.peer_hears(peer).len(), 1);

    // Connected to one of them, it does not hear the other.
    let request = Request::ConnectDatagram(ConnectDatagram {
        id: socket.id,
        remote: Some(native.local_addr().unwrap()),
    });
    let control = rig.program.request(&request, &[]);
    rig.settle();
    let local = at("127.0.0.1", port);
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Done { local });
    rig.peer_says(peer, at(OURS, port), b"lan");
    assert_eq!(receive(&socket), None);
    native.send_to(b"native", ("127.0.0.1", port)).unwrap();
    rig.settle();
    assert_eq!(receive(&socket).unwrap().1, b"native");
}

impl Rig {
    fn ask(&mut self, request: &Request) -> Reply {
        let control = self.program.request(request, &[]);
        self.settle();
        reply(&control).unwrap().unwrap().0
    }
}

fn membership(socket: &Listening, join: bool, interface: u32) -> Request {
    Request::Membership(Membership {
        id: socket.id,
        group: "239.1.2.3".parse().unwrap(),
        join,
        interface,
        address: None,
    })
}

#[test]
fn a_socket_that_has_joined_is_bound_later_and_stays_a_member() {
    let mut rig = Rig::with_lan();
    let any = at("0.0.0.0", 0);
    let (socket, control) = rig.program.unbound_datagram(any);
    rig.settle();
    assert!(matches!(
        reply(&control).unwrap().unwrap().0,
        Reply::Done { .. }
    ));
    assert_eq!(rig.entry(socket.id).unwrap().local, Some(any));
    let join = membership(&socket, true, 0);
    assert!(matches!(rig.ask(&join), Reply::Done { .. }));
    let failed = |errno: Errno| Reply::Failed {
        errno: errno.raw_os_error(),
    };
    assert_eq!(rig.ask(&join), failed(Errno::ADDRINUSE));
    assert_eq!(rig.ask(&membership(&socket, true, 3)), failed(Errno::NODEV));
    let local = at("0.0.0.0", 5353);
    let bind = Request::BindDatagram(BindDatagram {
        id: socket.id,
        local,
    });
    assert_eq!(rig.ask(&bind), Reply::Done { local });
    assert_eq!(rig.entry(socket.id).unwrap().local, Some(local));
    let peer = rig.peer_binds(9);
    rig.peer_says(peer, at("239.1.2.3", 5353), b"members");
    let (header, payload) = receive(&socket).unwrap();
    assert_eq!(payload, b"members");
    assert_eq!(header.local, Some("239.1.2.3".parse().unwrap()));
    assert_eq!(header.interface, LAN_INTERFACE);
    assert!(matches!(
        rig.ask(&membership(&socket, false, 0)),
        Reply::Done { .. }
    ));
    rig.peer_says(peer, at("239.1.2.3", 5353), b"nobody");
    assert_eq!(receive(&socket), None);
    // Bound once and for all.
    let control = rig.program.request(&bind, &[]);
    rig.settle();
    assert!(reply(&control).unwrap().is_err());
    drop(socket);
    rig.nothing_is_left();
    assert!(rig.broker.by_udp.is_empty());
}

#[test]
fn the_parts_of_a_datagram_leave_as_one() {
    let mut rig = Rig::with_lan();
    let (socket, local) = rig.open(at("0.0.0.0", 0), None, None).unwrap();
    let peer = rig.peer_binds(53);
    for (part, more) in [(&b"one "[..], true), (b"two ", true), (b"three", false)] {
        assert_eq!(rig.peer_hears(peer), []);
        let header = DatagramHeader {
            more,
            ..header(at(THEIRS, 53))
        };
        let frame = [&header.emit(), part].concat();
        rustix::net::send(&socket.fd, &frame, SendFlags::DONTWAIT).unwrap();
        rig.settle();
    }
    let whole = (at(OURS, local.port()), b"one two three".to_vec());
    assert_eq!(rig.peer_hears(peer), [whole]);
}

#[test]
fn a_loss_is_told_to_who_wants_to_know() {
    let mut rig = Rig::with_lan();
    let (socket, _) = rig.open(at("0.0.0.0", 0), None, None).unwrap();
    let take = Request::TakeLost { id: socket.id };
    let none = Reply::Failed {
        errno: Errno::AGAIN.raw_os_error(),
    };
    send(&socket, at(THEIRS, 9), b"anybody?");
    rig.settle();
    assert_eq!(rig.ask(&take), none);
    let option = Request::SetOption(SetOption {
        id: socket.id,
        level: libc::IPPROTO_IP,
        name: libc::IP_RECVERR,
        value: OptionValue::new(&1_i32.to_ne_bytes()),
    });
    let _control = rig.program.request(&option, &[]);
    rig.settle();
    send(&socket, at(THEIRS, 9), b"anybody?");
    rig.settle();
    let Reply::Lost(lost) = rig.ask(&take) else {
        panic!("nothing was lost")
    };
    assert_eq!(
        (lost.destination, lost.payload()),
        (at(THEIRS, 9), &b"anybody?"[..])
    );
    assert_eq!((lost.kind, lost.code), (3, 3));
    assert_eq!(lost.offender, Some(THEIRS.parse().unwrap()));
    assert_eq!(rig.ask(&take), none);
}

#[test]
fn garbage_is_counted_and_disturbs_nothing() {
    let mut rig = Rig::with_lan();
    let (socket, local) = rig.open(at("0.0.0.0", 0), None, None).unwrap();
    let nowhere = DatagramHeader {
        peer: None,
        ..header(at(THEIRS, 1))
    };
    for garbage in [&b""[..], b"x", &[0xff; 200], &nowhere.emit(), &[1; 66_000]] {
        rustix::net::send(&socket.fd, garbage, SendFlags::DONTWAIT).unwrap();
        rig.settle();
    }
    assert_eq!(rig.broker.counters().malformed_frames, 5);
    let peer = rig.peer_binds(53);
    send(&socket, at(THEIRS, 53), b"still here");
    rig.settle();
    assert_eq!(
        rig.peer_hears(peer),
        [(at(OURS, local.port()), b"still here".to_vec())]
    );
}

#[test]
fn only_a_udp_socket_may_come_along() {
    let mut rig = Rig::with_lan();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_socket, control) = rig
        .program
        .datagram(at("0.0.0.0", 0), None, Some(listener.as_fd()));
    rig.settle();
    assert!(reply(&control).unwrap().is_err());
    assert_eq!(rig.broker.counters().wrong_descriptors, 1);
    rig.nothing_is_left();
}

#[test]
fn a_port_is_taken_once_and_free_when_its_socket_is_closed() {
    let mut rig = Rig::with_lan();
    let (socket, _) = rig.open(at("0.0.0.0", 5353), None, None).unwrap();
    let in_use = Errno::ADDRINUSE.raw_os_error();
    let second = rig.open(at("0.0.0.0", 5353), None, None);
    assert_eq!(second.err(), Some(in_use));
    let elsewhere = rig.open(at("10.9.9.9", 5353), None, None);
    assert_eq!(elsewhere.err(), Some(Errno::ADDRNOTAVAIL.raw_os_error()));
    drop(socket);
    assert!(rig.open(at("0.0.0.0", 5353), None, None).is_ok());
}

#[test]
fn a_program_that_does_not_read_loses_nothing_that_the_queue_holds() {
    let mut rig = Rig::with_lan();
    let (socket, local) = rig.open(at("0.0.0.0", 0), None, None).unwrap();
    let peer = rig.peer_binds(53);
    // More than the pair takes, less than pair and queue together.
    let count = 330_u16;
    for number in 0..count {
        let payload = [&number.to_be_bytes()[..], &[0; 500]].concat();
        rig.peer_says(peer, at(OURS, local.port()), &payload);
    }
    let mut got = Vec::new();
    loop {
        let before = got.len();
        while let Some((_, payload)) = receive(&socket) {
            got.push(u16::from_be_bytes([payload[0], payload[1]]));
        }
        rig.settle();
        if got.len() == before {
            break;
        }
    }
    assert_eq!(got, (0..count).collect::<Vec<_>>());
}
