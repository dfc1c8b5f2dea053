//! UDP sockets: where they go, what is handed over, and what stands before a payload.

use zt_socket_rpc::{DatagramHeader, Id, OpenDatagram};

use super::*;
use crate::frames::SendControl;
use crate::hints::Hints;

const RESOLVER: &str = "192.0.2.53:53";

impl World {
    fn sender(&self, fd: Fd, to: &str) -> Outcome<Id> {
        self.program().sender(fd, Some(address(to).as_bytes()))
    }

    /// What was asked for, and how many descriptors went along.
    fn opened(&self) -> (OpenDatagram, usize) {
        match self.requests().as_slice() {
            [(Request::OpenDatagram(open), count)] => (*open, *count),
            other => panic!("{other:?}"),
        }
    }

    fn publish_datagram(&self, id: Id, entry: &Entry) {
        let name = Name {
            kind: Kind::Datagram,
            id,
        };
        self.kernel.publish(name, entry);
    }
}

fn entry(state: State, remote: Option<&str>) -> Entry {
    Entry {
        kind: Kind::Datagram,
        state,
        family: Family::V4,
        errno: 0,
        local: Some("0.0.0.0:40000".parse().unwrap()),
        remote: remote.map(|remote| remote.parse().unwrap()),
        options: Options::default(),
    }
}

#[test]
fn the_first_datagram_to_the_lan_moves_a_socket_and_no_other_does() {
    let world = World::split();
    let fd = world.kernel.udp(Family::V4, None);
    assert_eq!(world.program().datagram(fd), None);
    for native in [RESOLVER, "127.0.0.1:53"] {
        assert!(matches!(world.sender(fd, native), Outcome::PassThrough(_)));
    }
    assert!(world.requests().is_empty());
    let Outcome::Done(id) = world.sender(fd, LAN) else {
        panic!("not moved")
    };
    let (open, descriptors) = world.opened();
    assert_eq!((open.id, open.remote, open.kernel_socket), (id, None, true));
    assert_eq!(descriptors, 2);
    assert_eq!(world.program().datagram(fd), Some(id));
    // From then on it carries frames, wherever they go.
    assert_eq!(world.sender(fd, RESOLVER), Outcome::Done(id));
    assert_eq!(world.kernel.descriptors(), [fd]);
}

#[test]
fn a_lookup_elsewhere_costs_no_system_call_once_the_lan_is_known() {
    let world = World::split();
    let fd = world.kernel.udp(Family::V4, None);
    assert!(matches!(
        world.sender(fd, RESOLVER),
        Outcome::PassThrough(_)
    ));
    // Any call that can fail would.
    world.kernel.fail_after.set(Some(0));
    assert_eq!(
        world.sender(fd, RESOLVER),
        Outcome::PassThrough(Reason::NotOnTheLan)
    );
    assert!(world.kernel.fail_after.get().is_some());
}

#[test]
fn where_a_socket_is_bound_decides_what_it_serves() {
    for (mode, at, kernel_socket) in [
        (Mode::Split, "0.0.0.0:5000", Some(true)),
        (Mode::Split, "0.0.0.0:53", Some(false)),
        (Mode::Split, "10.77.0.1:5000", Some(false)),
        (Mode::Split, "192.0.2.1:5000", None),
        (Mode::Split, "127.0.0.1:5000", None),
        (Mode::Split, "224.0.0.251:5353", Some(true)),
        (Mode::Split, "10.77.0.255:5000", Some(false)),
        (Mode::Isolated, "0.0.0.0:5000", Some(true)),
        (Mode::Isolated, "10.77.0.1:5000", Some(false)),
        (Mode::Isolated, "224.0.0.251:5353", Some(false)),
        (Mode::Isolated, "127.0.0.1:5000", None),
    ] {
        let world = World::new(mode);
        let fd = world.kernel.udp(Family::V4, None);
        let end = world.bind(fd, at);
        match kernel_socket {
            Some(kernel_socket) => {
                assert_eq!(end, Outcome::Done(0), "{mode:?} {at}");
                let (open, descriptors) = world.opened();
                assert_eq!(open.kernel_socket, kernel_socket, "{mode:?} {at}");
                assert_eq!(descriptors, 1 + usize::from(kernel_socket));
                assert_eq!(open.local, at.parse().unwrap());
            }
            None => assert!(matches!(end, Outcome::PassThrough(_)), "{mode:?} {at}"),
        }
        assert_eq!(world.kernel.descriptors(), [fd]);
    }
}

#[test]
fn connect_carries_the_peer_and_leaves_others_alone() {
    let world = World::split();
    let fd = world.kernel.udp(Family::V4, None);
    assert!(matches!(
        world.connect(fd, RESOLVER),
        Outcome::PassThrough(_)
    ));
    assert_eq!(world.connect(fd, LAN), Outcome::Done(0));
    assert_eq!(world.opened().0.remote, Some(LAN.parse().unwrap()));
    let bound = world
        .kernel
        .udp(Family::V4, Some("192.0.2.1:5000".parse().unwrap()));
    assert_eq!(
        world.connect(bound, LAN),
        Outcome::PassThrough(Reason::BoundElsewhere)
    );
}

#[test]
fn a_swap_that_breaks_off_anywhere_leaves_the_socket_as_it_was() {
    for calls in 0..40 {
        let world = World::split();
        let fd = world.kernel.udp(Family::V4, None);
        world.kernel.fail_after.set(Some(calls));
        let end = world.connect(fd, LAN);
        assert_eq!(world.kernel.descriptors(), [fd], "after {calls} calls");
        if end == Outcome::Done(0) {
            assert!(world.name_of(fd).is_some());
        } else {
            assert!(matches!(world.kernel.socket_at(fd), Socket::Udp { .. }));
        }
    }
}

#[test]
fn a_frame_meets_the_errors_of_sendto() {
    let world = World::split();
    let fd = world.kernel.udp(Family::V4, None);
    let Outcome::Done(id) = world.sender(fd, LAN) else {
        panic!("not moved")
    };
    world.publish_datagram(id, &entry(State::Bound, None));
    let none = SendControl::default();
    let frame = |to: Option<&str>, len| {
        let to = to.map(address);
        let to = to.as_ref().map(SockAddr::as_bytes);
        let heading = world.program().frame(fd, id, to, &none, len, false);
        heading.map(|heading| heading.header)
    };
    assert_eq!(frame(None, 1), Err(Errno(EDESTADDRREQ)));
    assert_eq!(frame(Some("10.77.0.9:0"), 1), Err(Errno(EINVAL)));
    assert_eq!(frame(Some("[fd00::1]:5"), 1), Err(Errno(EAFNOSUPPORT)));
    assert_eq!(frame(Some(LAN), 65_508), Err(Errno(EMSGSIZE)));
    assert_eq!(frame(Some("255.255.255.255:9"), 1), Err(Errno(EACCES)));
    let header = frame(Some(LAN), 65_507).unwrap();
    let (header, _) = DatagramHeader::parse(&header).unwrap();
    assert_eq!(header.peer, Some(LAN.parse().unwrap()));

    let world = World::split();
    let fd = world.kernel.udp(Family::V4, None);
    assert_eq!(world.connect(fd, LAN), Outcome::Done(0));
    let id = world.program().datagram(fd).unwrap();
    world.publish_datagram(id, &entry(State::Connected, Some(LAN)));
    let heading = world.program().frame(fd, id, None, &none, 0, false);
    let (header, _) = DatagramHeader::parse(&heading.unwrap().header).unwrap();
    assert_eq!(header.peer, Some(LAN.parse().unwrap()));
}

#[test]
fn control_messages_of_a_send_are_read() {
    let mut control = SendControl::default();
    let info = [[0; 4], [10, 77, 0, 1], [0; 4]].concat();
    control.take(SOL_IP, IP_PKTINFO, &info).unwrap();
    control.take(SOL_IP, IP_TTL, &7_i32.to_ne_bytes()).unwrap();
    control.take(SOL_IP, IP_TOS, &[16]).unwrap();
    for (kind, data) in [(IP_PKTINFO, &info[..7]), (IP_TTL, &[1, 2]), (99, &[0; 4])] {
        assert_eq!(
            SendControl::default().take(SOL_IP, kind, data),
            Err(Errno(EINVAL))
        );
    }
    let world = World::split();
    let fd = world.kernel.udp(Family::V4, None);
    let Outcome::Done(id) = world.sender(fd, LAN) else {
        panic!("not moved")
    };
    world.publish_datagram(id, &entry(State::Bound, None));
    let to = address(LAN);
    let frame = world
        .program()
        .frame(fd, id, Some(to.as_bytes()), &control, 1, false)
        .unwrap();
    let (header, _) = DatagramHeader::parse(&frame.header).unwrap();
    assert_eq!(header.local, Some("10.77.0.1".parse().unwrap()));
    assert_eq!((header.ttl, header.tos), (Some(7), Some(16)));
}

#[test]
fn a_stale_bit_goes_at_the_first_look() {
    let world = World::split();
    let fd = world.kernel.tcp(Family::V4, None);
    world.datagrams.add(fd);
    assert_eq!(world.program().datagram(fd), None);
    assert!(!world.datagrams.may_have(fd));
    let hints = Hints::new();
    hints.add(3);
    hints.pass_on(3, 9);
    hints.pass_on(4, 10);
    assert!(hints.may_have(9) && !hints.may_have(10));
}
