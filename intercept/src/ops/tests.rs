mod datagrams;
mod lookup;
mod simulated;

use core::net::SocketAddr;

use simulated::{Simulated, Socket};
use zt_socket_rpc::linux::*;
use zt_socket_rpc::{Entry, Family, Kind, Name, Options, Reply, Request, State};

use crate::hints::Hints;
use crate::kernel::{EPOLL_CTL_ADD, EPOLL_CTL_MOD, EpollEvent, Errno, Fd, Kernel};
use crate::lan::{LanState, Mode, Settings};
use crate::outcome::{Outcome, Reason};
use crate::own::own_name;
use crate::registrations::Registrations;
use crate::sockaddr::encode;
use crate::{NewSockets, Program, SockAddr};
use zt_socket_rpc::linux::{AF_UNIX, AF_UNSPEC, SO_BINDTODEVICE};

/// A program beside its service.
struct World {
    kernel: Simulated,
    settings: Settings,
    lan: LanState,
    registrations: Box<Registrations>,
    listeners: Hints,
    datagrams: Hints,
    new_sockets: NewSockets,
}

impl World {
    fn new(mode: Mode) -> Self {
        Self {
            kernel: Simulated::new(),
            settings: Settings::new(b"/run/zt/nc_1", mode).unwrap(),
            lan: LanState::new(),
            registrations: Box::default(),
            listeners: Hints::new(),
            datagrams: Hints::new(),
            new_sockets: NewSockets::new(),
        }
    }

    fn split() -> Self {
        Self::new(Mode::Split)
    }

    fn program(&self) -> Program<'_, Simulated> {
        let Self {
            kernel,
            settings,
            lan,
            registrations,
            listeners,
            datagrams,
            new_sockets,
        } = self;
        Program {
            kernel,
            settings,
            lan,
            registrations,
            listeners,
            datagrams,
            new_sockets,
        }
    }

    fn connect(&self, fd: Fd, to: &str) -> Outcome {
        self.program().connect(fd, address(to).as_bytes())
    }

    fn bind(&self, fd: Fd, at: &str) -> Outcome {
        self.program().bind(fd, address(at).as_bytes())
    }

    fn requests(&self) -> Vec<(Request, usize)> {
        self.kernel.requests.borrow().clone()
    }

    fn name_of(&self, fd: Fd) -> Option<Name> {
        match self.kernel.socket_at(fd) {
            Socket::Pair { peer, .. } => own_name(&peer),
            _ => None,
        }
    }
}

fn address(text: &str) -> SockAddr {
    let address: SocketAddr = text.parse().unwrap();
    encode(
        address,
        if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        },
    )
}

fn fail(errno: i32) -> Outcome {
    Outcome::Fail(Errno(errno))
}

const LAN: &str = "10.77.0.9:80";

#[test]
fn the_destination_decides_where_a_connection_goes() {
    let pass = Outcome::PassThrough;
    for (to, mode, end) in [
        (LAN, Mode::Split, Outcome::Done(0)),
        ("192.0.2.1:80", Mode::Split, pass(Reason::NotOnTheLan)),
        ("127.0.0.1:80", Mode::Split, pass(Reason::Loopback)),
        ("0.0.0.0:80", Mode::Split, pass(Reason::Loopback)),
        (LAN, Mode::Isolated, Outcome::Done(0)),
        ("192.0.2.1:80", Mode::Isolated, Outcome::Done(0)),
        ("127.0.0.1:80", Mode::Isolated, pass(Reason::Loopback)),
        ("[fd00::1]:80", Mode::Isolated, pass(Reason::NotInternet)),
    ] {
        let world = World::new(mode);
        let fd = world.kernel.tcp(Family::V4, None);
        assert_eq!(world.connect(fd, to), end, "{to} {mode:?}");
        assert_eq!(
            world.requests().len(),
            usize::from(end == Outcome::Done(0)),
            "{to} {mode:?}"
        );
        assert_eq!(world.kernel.descriptors(), [fd]);
    }
}

#[test]
fn a_connection_takes_the_place_of_its_descriptor_with_all_it_had() {
    let world = World::split();
    let fd = world
        .kernel
        .tcp(Family::V4, Some("0.0.0.0:5000".parse().unwrap()));
    world.kernel.change(fd, |open| {
        open.nonblocking = true;
        open.close_on_exec = true;
        open.options
            .insert((SOL_TCP, TCP_NODELAY), vec![1, 0, 0, 0]);
        open.options
            .insert((SOL_SOCKET, SO_RCVTIMEO_OLD), vec![3; 16]);
    });
    let event = EpollEvent {
        events: 5,
        data: 77,
    };
    world.registrations.remember(9, EPOLL_CTL_ADD, fd, event);
    assert_eq!(world.connect(fd, LAN), fail(EINPROGRESS));

    let [(Request::Connect(connect), 1)] = world.requests()[..] else {
        panic!("{:?}", world.requests())
    };
    assert_eq!(connect.remote, LAN.parse().unwrap());
    assert_eq!(connect.local, Some("0.0.0.0:5000".parse().unwrap()));
    assert!(!connect.wait && connect.options.no_delay && connect.plug == 65_000);
    assert_eq!(
        world.name_of(fd),
        Some(Name {
            kind: Kind::Stream,
            id: connect.id
        })
    );
    let open = world.kernel.open.borrow()[&fd].clone();
    assert!(open.nonblocking && open.close_on_exec);
    assert_eq!(open.options[&(SOL_SOCKET, SO_RCVTIMEO_OLD)], [3; 16]);
    assert_eq!(world.kernel.descriptors(), [fd]);
    let restored = [(9, EPOLL_CTL_MOD, fd, event), (9, EPOLL_CTL_ADD, fd, event)];
    assert_eq!(*world.kernel.epoll.borrow(), restored);
}

#[test]
fn sockets_that_are_decided_or_foreign_are_left_alone() {
    let world = World::split();
    let other = world.kernel.add(Socket::Other);
    let elsewhere = world
        .kernel
        .tcp(Family::V4, Some("172.17.0.2:0".parse().unwrap()));
    let listening = Socket::Tcp {
        family: Family::V4,
        local: "0.0.0.0:80".parse().unwrap(),
        listening: true,
    };
    let listening = world.kernel.add(listening);
    let v6 = world.kernel.tcp(Family::V6, None);
    for (fd, reason) in [
        (other, Reason::NotTcp),
        (99, Reason::NotTcp),
        (elsewhere, Reason::BoundElsewhere),
        (listening, Reason::NotTcp),
        (v6, Reason::NotInternet),
    ] {
        assert_eq!(world.connect(fd, LAN), Outcome::PassThrough(reason));
    }
    for (family, reason) in [(AF_UNIX, Reason::NotInternet), (AF_UNSPEC, Reason::NotOurs)] {
        let mut address = [0; 16];
        address[..2].copy_from_slice(&family.to_ne_bytes());
        assert_eq!(
            world.program().connect(v6, &address),
            Outcome::PassThrough(reason)
        );
    }
    assert!(world.requests().is_empty());
}

#[test]
fn the_errno_of_a_failed_connect_is_the_services() {
    let world = World::split();
    world.kernel.serve(|_| {
        Some(Reply::Failed {
            errno: EHOSTUNREACH,
        })
    });
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.connect(fd, LAN), fail(EHOSTUNREACH));
    world.kernel.serve(|_| None);
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.connect(fd, LAN), fail(ENETUNREACH));
}

#[test]
fn without_a_service_lan_destinations_fail_and_others_pass() {
    for leaves_file in [true, false] {
        let world = World::split();
        let fd = world.kernel.tcp(Family::V4, None);
        assert_eq!(world.connect(fd, LAN), Outcome::Done(0));
        world.kernel.stop_service(leaves_file);
        let fd = world.kernel.tcp(Family::V4, None);
        assert_eq!(world.connect(fd, LAN), fail(ENETUNREACH));
        let passed = world.connect(fd, "192.0.2.1:80");
        assert_eq!(passed, Outcome::PassThrough(Reason::NotOnTheLan));
        assert!(matches!(world.kernel.socket_at(fd), Socket::Tcp { .. }));
    }
}

#[test]
fn a_program_waits_once_for_a_service_that_it_has_never_seen() {
    let world = World::split();
    world.kernel.stop_service(false);
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(
        world.connect(fd, "192.0.2.1:80"),
        Outcome::PassThrough(Reason::ServiceAway)
    );
    assert_eq!(world.kernel.slept.get(), 0);
    assert_eq!(
        world.connect(fd, LAN),
        Outcome::PassThrough(Reason::ServiceAway)
    );
    assert_eq!(world.kernel.slept.get(), 10_000);
    assert_eq!(
        world.program().listen(fd, 5),
        Outcome::PassThrough(Reason::ServiceAway)
    );
    assert_eq!(world.kernel.slept.get(), 10_000);
}

#[test]
fn a_lan_address_binds_on_the_lan_only() {
    let world = World::split();
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.bind(fd, "10.77.0.1:80"), Outcome::Done(0));
    let [(Request::Bind(bind), 1)] = world.requests()[..] else {
        panic!("{:?}", world.requests())
    };
    assert_eq!(bind.local, "10.77.0.1:80".parse().unwrap());
    assert_eq!(
        world.name_of(fd),
        Some(Name {
            kind: Kind::Listener,
            id: bind.id
        })
    );
    assert_eq!(world.bind(fd, "10.77.0.1:81"), fail(EINVAL));
    assert_eq!(world.kernel.descriptors(), [fd]);
}

#[test]
fn other_addresses_bind_on_the_own_network() {
    let world = World::split();
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(
        world.bind(fd, "127.0.0.1:80"),
        Outcome::PassThrough(Reason::Loopback)
    );
    assert_eq!(
        world.bind(fd, "172.17.0.2:80"),
        Outcome::PassThrough(Reason::NotOnTheLan)
    );
    assert_eq!(world.bind(fd, "0.0.0.0:8080"), Outcome::Done(0));
    assert!(world.requests().is_empty());
    assert!(matches!(world.kernel.socket_at(fd), Socket::Tcp { .. }));
}

#[test]
fn a_port_that_the_kernel_refuses_is_bound_on_the_lan() {
    let world = World::split();
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.bind(fd, "0.0.0.0:80"), Outcome::Done(0));
    assert!(matches!(world.requests()[..], [(Request::Bind(_), 1)]));
    // Without a service the kernel's refusal stands.
    world.kernel.stop_service(false);
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.bind(fd, "0.0.0.0:80"), fail(EACCES));
}

#[test]
fn isolated_sockets_bind_on_the_lan() {
    let world = World::new(Mode::Isolated);
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.bind(fd, "10.77.0.1:8080"), Outcome::Done(0));
    assert!(matches!(world.requests()[..], [(Request::Bind(_), 1)]));
}

#[test]
fn isolated_wildcard_listeners_serve_loopback_too() {
    let world = World::new(Mode::Isolated);
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.bind(fd, "0.0.0.0:8080"), Outcome::Done(0));
    let mut device = [0; 3];
    let asked = world
        .kernel
        .option(fd, SOL_SOCKET, SO_BINDTODEVICE, &mut device);
    assert_eq!((asked, &device), (Ok(3), b"lo\0"));
    assert_eq!(world.program().listen(fd, 5), Outcome::Done(0));
    assert!(matches!(world.requests()[..], [(Request::Listen(_), 2)]));
}

#[test]
fn isolated_wildcard_sockets_are_on_the_lan_only_where_they_cannot_be_confined() {
    let world = World::new(Mode::Isolated);
    world.kernel.confines.set(false);
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.bind(fd, "0.0.0.0:8080"), Outcome::Done(0));
    assert!(matches!(world.requests()[..], [(Request::Bind(_), 1)]));
}

#[test]
fn a_wildcard_listener_is_handed_over_with_its_kernel_socket() {
    let world = World::split();
    let fd = world
        .kernel
        .tcp(Family::V4, Some("0.0.0.0:8080".parse().unwrap()));
    assert_eq!(world.program().listen(fd, 100_000), Outcome::Done(0));
    let [(Request::Listen(listen), 2)] = world.requests()[..] else {
        panic!("{:?}", world.requests())
    };
    assert_eq!(
        (listen.local, listen.backlog),
        ("0.0.0.0:8080".parse().unwrap(), u16::MAX)
    );
    assert!(listen.kernel_listener);
    assert_eq!(
        world.name_of(fd),
        Some(Name {
            kind: Kind::Listener,
            id: listen.id
        })
    );
    assert_eq!(world.kernel.descriptors(), [fd]);
}

#[test]
fn an_unbound_listener_gets_the_port_that_the_kernel_chose() {
    let world = World::split();
    let fd = world.kernel.tcp(Family::V6, None);
    assert_eq!(world.program().listen(fd, 0), Outcome::Done(0));
    let [(Request::Listen(listen), 2)] = world.requests()[..] else {
        panic!("{:?}", world.requests())
    };
    assert_eq!(
        (listen.local, listen.backlog),
        ("[::]:32768".parse().unwrap(), 1)
    );
}

#[test]
fn listeners_of_the_own_network_stay_there() {
    let world = World::split();
    for (at, reason) in [
        ("127.0.0.1:80", Reason::Loopback),
        ("172.17.0.2:80", Reason::BoundElsewhere),
    ] {
        let fd = world.kernel.tcp(Family::V4, Some(at.parse().unwrap()));
        assert_eq!(world.program().listen(fd, 5), Outcome::PassThrough(reason));
    }
    let other = world.kernel.add(Socket::Other);
    assert_eq!(
        world.program().listen(other, 5),
        Outcome::PassThrough(Reason::NotTcp)
    );
}

#[test]
fn a_port_that_is_taken_on_the_lan_fails_the_listen() {
    let world = World::split();
    world
        .kernel
        .serve(|_| Some(Reply::Failed { errno: EADDRINUSE }));
    let fd = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.program().listen(fd, 5), fail(EADDRINUSE));
    assert_eq!(world.kernel.descriptors(), [fd]);
}

fn entry(state: State) -> Entry {
    Entry {
        kind: Kind::Stream,
        state,
        family: Family::V4,
        errno: if state == State::Failed {
            ECONNREFUSED
        } else {
            ECONNRESET
        },
        local: Some("10.77.0.1:40000".parse().unwrap()),
        remote: Some(LAN.parse().unwrap()),
        options: Options::default(),
    }
}

/// A connection whose entry says this.
fn connection(state: State) -> (World, Fd) {
    let world = World::split();
    let fd = world.kernel.tcp(Family::V4, None);
    world.kernel.change(fd, |open| open.nonblocking = true);
    assert_eq!(world.connect(fd, LAN), fail(EINPROGRESS));
    world
        .kernel
        .publish(world.name_of(fd).unwrap(), &entry(state));
    (world, fd)
}

#[test]
fn names_are_the_entrys_addresses() {
    let (world, fd) = connection(State::Connected);
    let program = world.program();
    assert_eq!(
        program.local_name_of(fd),
        Outcome::Done(address("10.77.0.1:40000"))
    );
    assert_eq!(program.peer_name_of(fd), Outcome::Done(address(LAN)));
    let (world, fd) = connection(State::Connecting);
    assert_eq!(
        world.program().peer_name_of(fd),
        Outcome::Fail(Errno(ENOTCONN))
    );
    let foreign = world.kernel.tcp(Family::V4, None);
    assert_eq!(
        world.program().local_name_of(foreign),
        Outcome::PassThrough(Reason::NotOurs)
    );
    assert_eq!(
        world.program().peer_name_of(foreign),
        Outcome::PassThrough(Reason::NotOurs)
    );
}

#[test]
fn success_is_told_once_to_a_repeated_connect() {
    let (world, fd) = connection(State::Connected);
    assert_eq!(world.connect(fd, LAN), Outcome::Done(0));
    assert_eq!(world.connect(fd, LAN), fail(EISCONN));
    let (world, fd) = connection(State::Connecting);
    assert_eq!(world.connect(fd, LAN), fail(EALREADY));
}

fn so_error(world: &World, fd: Fd) -> i32 {
    match world.program().get_option(fd, SOL_SOCKET, SO_ERROR) {
        Outcome::Done(answer) => {
            i32::from_ne_bytes(answer.cut_to(SOL_SOCKET, 4).try_into().unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_is_told_once_and_with_its_true_errno() {
    let (world, fd) = connection(State::Failed);
    // What the kernel says of a pair that was closed with the plug in it, until it was asked.
    let pending = |errno: i32| {
        world.kernel.change(fd, |open| {
            open.options
                .insert((SOL_SOCKET, SO_ERROR), errno.to_ne_bytes().to_vec());
        });
    };
    assert_eq!(so_error(&world, fd), 0);
    pending(ECONNRESET);
    assert_eq!(so_error(&world, fd), ECONNREFUSED);
    pending(0);
    // As after a peer's end; `connect` has not told of it.
    assert_eq!(world.program().after_end_of_file(fd), None);
    // And the socket is good for another attempt.
    assert_eq!(world.connect(fd, LAN), fail(EINPROGRESS));
}

#[test]
fn a_reset_is_told_once() {
    let (world, fd) = connection(State::Reset);
    assert_eq!(
        world.program().after_end_of_file(fd),
        Some(Errno(ECONNRESET))
    );
    assert_eq!(world.program().after_end_of_file(fd), None);
    assert_eq!(so_error(&world, fd), 0);
    let (world, fd) = connection(State::Reset);
    assert_eq!(so_error(&world, fd), ECONNRESET);
    assert_eq!(so_error(&world, fd), 0);
    assert_eq!(world.program().after_end_of_file(fd), None);
}

#[test]
fn an_end_of_file_is_one_while_the_service_lives() {
    let (world, fd) = connection(State::Connected);
    world
        .kernel
        .serve(|_| Some(Reply::State(entry(State::Connected))));
    assert_eq!(world.program().after_end_of_file(fd), None);
    let foreign = world.kernel.add(Socket::Other);
    assert_eq!(world.program().after_end_of_file(foreign), None);
}

#[test]
fn nothing_is_received_from_a_listener_or_an_error_queue() {
    const MSG_ERRQUEUE: i32 = crate::receive::MSG_ERRQUEUE;
    let world = World::split();
    let listener = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.program().listen(listener, 5), Outcome::Done(0));
    assert_eq!(
        world.program().refuses_receive(listener, 0),
        Some(Errno(ENOTCONN))
    );
    let stream = world.kernel.tcp(Family::V4, None);
    assert_eq!(world.connect(stream, LAN), Outcome::Done(0));
    assert_eq!(world.program().refuses_receive(stream, 0), None);
    assert_eq!(
        world.program().refuses_receive(stream, MSG_ERRQUEUE),
        Some(Errno(EAGAIN))
    );
    // A number that was a listener and is something else now.
    world
        .kernel
        .change(listener, |open| open.socket = Socket::Other);
    assert_eq!(world.program().refuses_receive(listener, 0), None);
    assert!(!world.listeners.may_have(listener));
}

#[test]
fn unix_names_are_not_shown() {
    let world = World::split();
    let mut ours = *b"\x01\x00\0zt-ncs0123456789abcdef";
    assert!(world.program().strip_name(-1, &mut ours));
    assert_eq!(ours, [0; 25]);
    let mut cut = *b"\x01\x00\0zt-ncs0";
    assert!(world.program().strip_name(-1, &mut cut));
    let mut foreign = *b"\x01\x00/run/other\0";
    assert!(!world.program().strip_name(-1, &mut foreign));
    assert!(!world.program().strip_name(-1, &mut []));
}

/// Breaks every operation off at each of its system calls: no descriptor may be lost or left over, and the program's own
/// must still be one of the two that it can be.
#[test]
fn whatever_fails_no_descriptor_is_lost() {
    type Operation = fn(&World, Fd) -> bool;
    let operations: [(&str, Operation); 5] = [
        ("connect", |world, fd| {
            world.connect(fd, LAN) == Outcome::Done(0)
        }),
        ("non-blocking connect", |world, fd| {
            world.kernel.change(fd, |open| open.nonblocking = true);
            world.connect(fd, LAN) == fail(EINPROGRESS)
        }),
        ("bind", |world, fd| {
            world.bind(fd, "10.77.0.1:80") == Outcome::Done(0)
        }),
        ("listen", |world, fd| {
            world.program().listen(fd, 5) == Outcome::Done(0)
        }),
        ("bind and listen", |world, fd| {
            world.bind(fd, "10.77.0.1:80") == Outcome::Done(0) && {
                let entry = Entry {
                    kind: Kind::Listener,
                    ..entry(State::Bound)
                };
                world.kernel.publish(world.name_of(fd).unwrap(), &entry);
                world.program().listen(fd, 5) == Outcome::Done(0)
            }
        }),
    ];
    for (name, operation) in operations {
        let mut calls = 0;
        loop {
            let world = World::split();
            let fd = world.kernel.tcp(Family::V4, None);
            world.kernel.fail_after.set(Some(calls));
            let succeeded = operation(&world, fd);
            assert_eq!(
                world.kernel.descriptors(),
                [fd],
                "{name} broken off at call {calls}"
            );
            if world.kernel.fail_after.get().is_some() {
                assert!(succeeded, "{name} without a failure");
                break;
            }
            calls += 1;
        }
        assert!(calls > 5, "{name} makes only {calls} calls");
    }
}

#[test]
fn a_shortage_of_descriptors_is_not_taken_for_an_absent_service() {
    let mut calls = 0;
    loop {
        let world = World::split();
        let first = world.kernel.tcp(Family::V4, None);
        assert_eq!(world.connect(first, LAN), Outcome::Done(0));
        let fd = world.kernel.tcp(Family::V4, None);
        world.kernel.fail_after.set(Some(calls));
        let outcome = world.connect(fd, LAN);
        assert_ne!(outcome, fail(ENETUNREACH), "broken off at call {calls}");
        if world.kernel.fail_after.get().is_some() {
            return;
        }
        calls += 1;
    }
}
