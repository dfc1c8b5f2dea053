//! The broker against programs on one side and another host on the other, without a network between.

mod datagrams;
mod direct;
mod naming;
pub(crate) mod program;
mod sharing;
mod straight;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use program::{Connection, Listening, Program, reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use zt_netstack::{Burst, FrameSink, HostConfig, ListenAddr};
use zt_socket_rpc::{Entry, Options, Origin, Reply, Request, SetOption, State};

use super::*;
use crate::engine::reactor::Events;

const OURS: &str = "10.1.0.1";
const THEIRS: &str = "10.1.0.2";

/// A broker with its host, and a peer's host on the same wire.
struct Rig {
    poller: Poller,
    events: Events,
    budget: Budget,
    host: Host,
    broker: Broker,
    peer: Host,
    peer_events: Vec<HostEvent>,
    now: Instant,
    program: Program,
    directory: tempfile::TempDir,
}

/// A wire: frames on their way.
#[derive(Default)]
struct Wire(Vec<(u16, Vec<u8>)>);

impl FrameSink for Wire {
    fn ready(&self) -> bool {
        self.0.len() < 4096
    }

    fn frame(&mut self, _dst: [u8; 6], ethertype: u16, payload: &[u8]) {
        self.0.push((ethertype, payload.to_vec()));
    }

    fn burst(&mut self, dst: [u8; 6], ethertype: u16, burst: &Burst<'_>) {
        for i in 0..burst.count() {
            let mut packet = vec![0; burst.len(i)];
            burst.write(i, &mut packet);
            self.frame(dst, ethertype, &packet);
        }
    }
}

const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn host(mac: [u8; 6], ip: &str, seed: u64) -> Host {
    let addresses = vec![(ip.parse().unwrap(), 24)];
    Host::new(
        HostConfig {
            mac,
            mtu: 2800,
            addresses,
            routes: Vec::new(),
        },
        seed,
    )
}

fn at(ip: &str, port: u16) -> SocketAddr {
    (ip.parse::<IpAddr>().unwrap(), port).into()
}

impl Rig {
    fn new() -> Self {
        Self::with_budget(1024)
    }

    fn with_budget(descriptors: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let poller = Poller::new().unwrap();
        let network = NetworkId(0x8056_c2e2_1c00_0001);
        let broker = Broker::open(directory.path(), network, 0, &poller).unwrap();
        let program = Program::new(&broker.socket());
        let mut rig = Self {
            poller,
            events: Events::with_capacity(64),
            budget: Budget::new(descriptors),
            host: host(OUR_MAC, OURS, 1),
            broker,
            peer: host(PEER_MAC, THEIRS, 2),
            peer_events: Vec::new(),
            now: Instant(1_000_000),
            program,
            directory,
        };
        rig.settle();
        rig
    }

    /// One turn of everything. Says whether anything happened.
    fn turn(&mut self) -> bool {
        self.poller
            .wait(&mut self.events, Some(Duration::ZERO))
            .unwrap();
        let Self {
            poller,
            events,
            budget,
            host,
            broker,
            now,
            ..
        } = self;
        let mut turn = Turn {
            poller,
            host,
            budget,
            now: *now,
        };
        let mut busy = false;
        for (token, ready) in events.iter() {
            busy = true;
            broker.handle_ready(&mut turn, token, ready);
        }
        if broker.deadline().is_some_and(|deadline| deadline <= *now) {
            broker.handle_timeout(&mut turn);
        }
        while let Some(event) = turn.host.poll_event() {
            busy = true;
            broker.handle_host_event(&mut turn, event);
        }
        busy |= broker.run(&mut turn);
        let mut wire = Wire::default();
        turn.host.poll_transmit(*now, &mut wire);
        broker.after_transmit(&mut turn);
        turn.host.poll_transmit(*now, &mut wire);
        busy |= !wire.0.is_empty();
        for (ethertype, frame) in wire.0 {
            self.peer
                .handle_frame(*now, OUR_MAC, PEER_MAC, ethertype, &frame);
        }
        while let Some(event) = self.peer.poll_event() {
            self.peer_events.push(event);
        }
        busy | self.peer_speaks()
    }

    /// Has the broker look at one of its sockets before all others.
    fn hear(&mut self, kind: Kind) {
        let Self {
            poller,
            budget,
            host,
            broker,
            now,
            ..
        } = self;
        let mut turn = Turn {
            poller,
            host,
            budget,
            now: *now,
        };
        broker.handle_ready(&mut turn, Token::of(kind, 0), Ready::default());
    }

    fn peer_speaks(&mut self) -> bool {
        let mut wire = Wire::default();
        self.peer.poll_transmit(self.now, &mut wire);
        let any = !wire.0.is_empty();
        for (ethertype, frame) in wire.0 {
            self.host
                .handle_frame(self.now, PEER_MAC, OUR_MAC, ethertype, &frame);
        }
        any
    }

    /// Turns until nothing happens any more, without letting time pass.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            quiet = if self.turn() { 0 } else { quiet + 1 };
        }
        self.broker.disposal.finish();
    }

    /// Lets time pass, running every timer on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(10);
            for host in [&mut self.host, &mut self.peer] {
                if host.deadline().is_some_and(|deadline| deadline <= self.now) {
                    host.handle_timeout(self.now);
                }
            }
            self.settle();
        }
    }

    fn entry(&self, id: Id) -> Option<Entry> {
        self.broker.table.reader().entry(id.tag())
    }

    /// The flow of the first event of the peer that `pick` likes.
    fn peer_event(&mut self, pick: impl Fn(&HostEvent) -> Option<FlowId>) -> Option<FlowId> {
        let index = self
            .peer_events
            .iter()
            .position(|event| pick(event).is_some())?;
        pick(&self.peer_events.remove(index))
    }

    fn peer_accepted(&mut self) -> FlowId {
        self.peer_event(|event| match event {
            HostEvent::Accepted { flow, .. } => Some(*flow),
            _ => None,
        })
        .expect("the peer accepts")
    }

    fn peer_was_reset(&mut self, flow: FlowId) -> bool {
        self.peer_event(|event| match event {
            HostEvent::Reset(reset, _) if *reset == flow => Some(flow),
            _ => None,
        })
        .is_some()
    }

    fn peer_saw_end(&mut self, flow: FlowId) -> bool {
        self.peer_event(|event| match event {
            HostEvent::RemoteFinished(finished) if *finished == flow => Some(flow),
            _ => None,
        })
        .is_some()
    }

    fn peer_sends(&mut self, flow: FlowId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let sent = self.peer.flow(flow).unwrap().send_with(|room| {
                let count = rest.len().min(room.len());
                room[..count].copy_from_slice(&rest[..count]);
                count
            });
            assert!(sent > 0, "the peer's ring has room");
            rest = &rest[sent..];
        }
        self.settle();
    }

    fn peer_takes(&mut self, flow: FlowId) -> Vec<u8> {
        let mut got = Vec::new();
        while self.peer.flow(flow).unwrap().recv_with(|bytes| {
            got.extend_from_slice(bytes);
            bytes.len()
        }) > 0
        {}
        got
    }

    /// A program's connection to a listening peer, up on both sides.
    fn connected(&mut self) -> (Connection, FlowId) {
        self.connected_with(Options::default())
    }

    fn connected_with(&mut self, options: Options) -> (Connection, FlowId) {
        let local = ListenAddr { ip: None, port: 80 };
        let _ = self.peer.listen(local, 16);
        let (connection, _) = self.program.connect(at(THEIRS, 80), false, options);
        self.settle();
        (connection, self.peer_accepted())
    }

    /// A listening program.
    fn listening(&mut self, port: u16, backlog: u16) -> Listening {
        let (listening, control) = self.program.listen(at("0.0.0.0", port), backlog, None);
        self.settle();
        let answer = reply(&control).unwrap().unwrap().0;
        assert_eq!(
            answer,
            Reply::Done {
                local: at("0.0.0.0", port)
            }
        );
        listening
    }

    /// A connection of the peer to a listening program.
    fn peer_connects(&mut self, port: u16) -> FlowId {
        let flow = self.peer.connect(self.now, at(OURS, port), None).unwrap();
        self.settle();
        flow
    }

    fn nothing_is_left(&mut self) {
        self.settle();
        self.broker.disposal.finish();
        self.broker.sweep_direct();
        assert_eq!(self.broker.sockets(), (0, 0));
        assert!(self.broker.by_flow.is_empty() && self.broker.by_id.is_empty());
        assert_eq!(self.budget.held(), 0);
    }
}

/// Waits for what a thread does.
fn within<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(std::time::Instant::now() < end, "in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn readiness(fd: impl AsFd) -> PollFlags {
    let mut fds = [PollFd::new(&fd, PollFlags::IN | PollFlags::OUT)];
    poll(
        &mut fds,
        Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }),
    )
    .unwrap();
    fds[0].revents()
}

fn read_now(mut stream: &UnixStream) -> std::io::Result<Vec<u8>> {
    stream.set_nonblocking(true)?;
    let mut got = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(got),
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !got.is_empty() => {
                return Ok(got);
            }
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn hello_gives_the_table() {
    let mut rig = Rig::new();
    let control = rig.program.request(&Request::Hello, &[]);
    rig.settle();
    let (answer, descriptors) = reply(&control).unwrap().unwrap();
    assert_eq!(
        answer,
        Reply::Hello {
            instance: rig.broker.instance.get()
        }
    );
    assert_eq!(descriptors.len(), 1);
    let size = rustix::fs::fstat(&descriptors[0]).unwrap().st_size;
    assert_eq!(size as usize, zt_socket_rpc::table::TABLE_LEN);
}

#[test]
fn a_connection_becomes_writable_when_it_is_up_and_carries_bytes_both_ways() {
    let mut rig = Rig::new();
    rig.peer
        .listen(ListenAddr { ip: None, port: 80 }, 16)
        .unwrap();
    let (connection, control) = rig
        .program
        .connect(at(THEIRS, 80), true, Options::default());
    assert!(
        !readiness(&connection.stream).contains(PollFlags::OUT),
        "plugged"
    );
    rig.settle();
    assert!(
        readiness(&connection.stream).contains(PollFlags::OUT),
        "connected"
    );
    let entry = rig.entry(connection.id).unwrap();
    assert_eq!(
        (entry.state, entry.remote),
        (State::Connected, Some(at(THEIRS, 80)))
    );
    let Ok((Reply::Done { local }, _)) = reply(&control).unwrap() else {
        panic!("an answer")
    };
    assert_eq!(Some(local), entry.local);
    assert_eq!(local.ip(), OURS.parse::<IpAddr>().unwrap());

    let flow = rig.peer_accepted();
    assert_eq!(rig.peer.flow(flow).unwrap().remote(), local);
    (&connection.stream).write_all(b"question").unwrap();
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"question", "and not the plug");
    rig.peer_sends(flow, b"answer");
    assert_eq!(read_now(&connection.stream).unwrap(), b"answer");
}

#[test]
fn a_refused_connection_tells_the_errno_and_leaves_an_error_on_the_descriptor() {
    let mut rig = Rig::new();
    let (connection, control) = rig
        .program
        .connect(at(THEIRS, 81), true, Options::default());
    rig.settle();
    let errno = Errno::CONNREFUSED.raw_os_error();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Failed { errno });
    let entry = rig.entry(connection.id).unwrap();
    assert_eq!((entry.state, entry.errno), (State::Failed, errno));
    let all = PollFlags::IN | PollFlags::OUT | PollFlags::ERR | PollFlags::HUP;
    assert!(readiness(&connection.stream).contains(all));
    assert_eq!(
        rustix::net::sockopt::socket_error(&connection.stream).unwrap(),
        Err(Errno::CONNRESET)
    );
    rig.nothing_is_left();
}

#[test]
fn a_silent_neighbour_is_an_unreachable_host() {
    let mut rig = Rig::new();
    let (connection, _) = rig
        .program
        .connect(at("10.1.0.77", 80), false, Options::default());
    rig.settle();
    assert_eq!(rig.entry(connection.id).unwrap().state, State::Connecting);
    rig.pass(Duration::from_secs(5));
    let entry = rig.entry(connection.id).unwrap();
    assert_eq!(
        (entry.state, entry.errno),
        (State::Failed, Errno::HOSTUNREACH.raw_os_error())
    );
    rig.nothing_is_left();
}

#[test]
fn without_a_route_the_network_is_unreachable_at_once() {
    let mut rig = Rig::new();
    let (connection, _) = rig
        .program
        .connect(at("10.9.9.9", 80), false, Options::default());
    rig.settle();
    assert_eq!(
        rig.entry(connection.id).unwrap().errno,
        Errno::NETUNREACH.raw_os_error()
    );
    rig.nothing_is_left();
}

#[test]
fn a_program_that_gives_up_connecting_leaves_nothing() {
    let mut rig = Rig::new();
    let (connection, _) = rig
        .program
        .connect(at("10.1.0.77", 80), true, Options::default());
    rig.settle();
    assert_eq!(rig.broker.sockets().0, 1);
    drop(connection);
    rig.nothing_is_left();
}

#[test]
fn a_plain_close_is_a_fin() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    (&connection.stream).write_all(b"last words").unwrap();
    drop(connection);
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"last words");
    assert!(rig.peer_saw_end(flow));
    assert!(!rig.peer_was_reset(flow));
    rig.nothing_is_left();
}

#[test]
fn closing_with_bytes_unread_is_a_reset_after_what_was_written() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    rig.peer_sends(flow, b"never read");
    (&connection.stream).write_all(b"reply").unwrap();
    drop(connection);
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"reply");
    assert!(rig.peer_was_reset(flow));
    rig.nothing_is_left();
}

#[test]
fn linger_of_zero_is_a_reset() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected_with(Options {
        lingers: true,
        ..Options::default()
    });
    drop(connection);
    rig.settle();
    assert!(rig.peer_was_reset(flow));
    rig.nothing_is_left();
}

#[test]
fn half_close_keeps_the_reply() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    (&connection.stream).write_all(b"question").unwrap();
    connection.stream.shutdown(Shutdown::Write).unwrap();
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"question");
    assert!(rig.peer_saw_end(flow));
    rig.peer_sends(flow, b"long answer");
    assert_eq!(read_now(&connection.stream).unwrap(), b"long answer");
    rig.peer.flow(flow).unwrap().finish();
    rig.settle();
    assert_eq!(read_now(&connection.stream).unwrap(), b"", "end of file");
    drop(connection);
    rig.peer.flow(flow).unwrap().close();
    rig.nothing_is_left();
}

#[test]
fn a_peers_half_close_comes_after_its_bytes_and_leaves_our_direction_open() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    rig.peer_sends(flow, &[7; 100_000]);
    rig.peer.flow(flow).unwrap().finish();
    rig.pass(Duration::from_millis(50));
    let got = read_now(&connection.stream).unwrap();
    assert!(
        got.len() == 100_000 && got.iter().all(|&byte| byte == 7),
        "then end of file"
    );
    (&connection.stream).write_all(b"still here").unwrap();
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"still here");
}

#[test]
fn a_peers_reset_is_in_the_table_and_ends_the_pair_after_the_bytes() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    rig.peer_sends(flow, b"before");
    rig.peer.flow(flow).unwrap().abort();
    rig.settle();
    let entry = rig.entry(connection.id).unwrap();
    assert_eq!(
        (entry.state, entry.errno),
        (State::Reset, Errno::CONNRESET.raw_os_error())
    );
    assert_eq!(
        read_now(&connection.stream).unwrap(),
        b"before",
        "then the end"
    );
    drop(connection);
    rig.nothing_is_left();
}

#[test]
fn a_program_that_stops_reading_stops_the_peer_and_loses_nothing() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    let mut sent = 0_usize;
    loop {
        let room = rig.peer.flow(flow).unwrap().send_with(|room| {
            for (i, byte) in room.iter_mut().enumerate() {
                *byte = ((sent + i) % 251) as u8;
            }
            room.len()
        });
        sent += room;
        rig.settle();
        rig.pass(Duration::from_millis(20));
        if room == 0 {
            break;
        }
    }
    assert!(sent > 2 << 20, "both rings and the pair are full: {sent}");
    rig.peer.flow(flow).unwrap().finish();
    let mut got = Vec::new();
    for _ in 0..10_000 {
        match read_now(&connection.stream) {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => got.extend(bytes),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        rig.pass(Duration::from_millis(10));
    }
    assert_eq!(got.len(), sent);
    assert!(
        got.iter()
            .enumerate()
            .all(|(i, &byte)| byte == (i % 251) as u8)
    );
}

#[test]
fn a_peer_that_stops_reading_stops_the_program_and_loses_nothing() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    connection.stream.set_nonblocking(true).unwrap();
    let mut sent = 0_usize;
    let mut stuck = 0;
    while stuck < 10 {
        let chunk: Vec<u8> = (sent..sent + 65_536).map(|i| (i % 251) as u8).collect();
        match (&connection.stream).write(&chunk) {
            Ok(count) => {
                sent += count;
                stuck = 0;
            }
            Err(_) => stuck += 1,
        }
        rig.pass(Duration::from_millis(10));
    }
    assert!(sent > 2 << 20, "both rings and the pair are full: {sent}");
    connection.stream.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    for _ in 0..10_000 {
        got.extend(rig.peer_takes(flow));
        if got.len() == sent {
            break;
        }
        rig.pass(Duration::from_millis(10));
    }
    assert_eq!(got.len(), sent);
    assert!(
        got.iter()
            .enumerate()
            .all(|(i, &byte)| byte == (i % 251) as u8)
    );
    rig.pass(Duration::from_millis(50));
    assert!(rig.peer_saw_end(flow));
}

#[test]
fn accept_gives_the_true_addresses_and_a_descriptor_of_its_own() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 16);
    assert!(listening.accept().is_none());
    let flow = rig.peer_connects(8080);
    let (record, fd) = listening.accept().unwrap();
    assert_eq!(record.origin, Origin::Lan);
    assert_eq!(record.peer, rig.peer.flow(flow).unwrap().local());
    assert_eq!(record.local, at(OURS, 8080));
    let stream = UnixStream::from(fd);
    assert!(
        !rustix::fs::fcntl_getfl(&stream)
            .unwrap()
            .contains(rustix::fs::OFlags::NONBLOCK)
    );
    rig.peer_sends(flow, b"GET /");
    assert_eq!(read_now(&stream).unwrap(), b"GET /");
    (&stream).write_all(b"200 OK").unwrap();
    drop(stream);
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"200 OK");
    assert!(rig.peer_saw_end(flow));
    drop(listening);
    rig.nothing_is_left();
}

#[test]
fn a_program_that_does_not_accept_is_not_sent_more_than_its_backlog() {
    let mut rig = Rig::with_budget(4096);
    let listening = rig.listening(8080, 4);
    let mut flows = Vec::new();
    for _ in 0..400 {
        flows.push(rig.peer_connects(8080));
    }
    rig.pass(Duration::from_millis(100));
    let up = rig
        .peer_events
        .iter()
        .filter(|event| matches!(event, HostEvent::Connected(_)))
        .count();
    assert!(
        up < 350,
        "the queue of the pair and the backlog, not all: {up}"
    );
    // Once it accepts, the others come in by themselves.
    let mut accepted = Vec::new();
    for _ in 0..200 {
        accepted.extend(std::iter::from_fn(|| listening.accept()));
        rig.pass(Duration::from_millis(100));
    }
    assert_eq!(accepted.len(), 400);
    drop((accepted, listening));
    rig.nothing_is_left();
}

#[test]
fn a_closed_listener_refuses_and_resets_what_it_did_not_accept() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 4);
    let flow = rig.peer_connects(8080);
    drop(listening);
    rig.settle();
    assert!(rig.peer_was_reset(flow) || rig.peer_saw_end(flow));
    rig.peer_connects(8080);
    let refused = |event: &HostEvent| matches!(event, HostEvent::ConnectFailed(..));
    assert!(rig.peer_events.iter().any(refused));
    rig.nothing_is_left();
}

#[test]
fn a_taken_port_is_refused() {
    let mut rig = Rig::new();
    let _listening = rig.listening(8080, 4);
    let (_, control) = rig.program.listen(at("0.0.0.0", 8080), 4, None);
    rig.settle();
    let errno = Errno::ADDRINUSE.raw_os_error();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Failed { errno });
    assert_eq!(rig.broker.sockets(), (0, 1));
}

#[test]
fn a_bound_socket_gets_a_port_refuses_and_then_listens() {
    let mut rig = Rig::new();
    let (bound, control) = rig.program.bind(at(OURS, 0));
    rig.settle();
    let Ok((Reply::Done { local }, _)) = reply(&control).unwrap() else {
        panic!("bound")
    };
    assert_ne!(local.port(), 0);
    assert_eq!(rig.entry(bound.id).unwrap().state, State::Bound);
    rig.peer_connects(local.port());
    let refused = |event: &HostEvent| matches!(event, HostEvent::ConnectFailed(..));
    assert!(rig.peer_events.iter().any(refused));

    let listen = zt_socket_rpc::Listen {
        id: bound.id,
        local,
        family: zt_socket_rpc::Family::V4,
        backlog: 8,
        kernel_listener: false,
        options: Options::default(),
    };
    let control = rig.program.request(&Request::Listen(listen), &[]);
    rig.settle();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Done { local });
    rig.peer_connects(local.port());
    assert!(bound.accept().is_some());
}

#[test]
fn connections_of_the_programs_own_network_come_through_the_same_queue() {
    let mut rig = Rig::new();
    let kernel = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = kernel.local_addr().unwrap();
    let local = at("0.0.0.0", address.port());
    let (listening, control) = rig.program.listen(local, 16, Some(kernel.as_fd()));
    rig.settle();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Done { local });
    drop(kernel);

    let mut native = TcpStream::connect(address).unwrap();
    let (record, fd) = listening.accept_soon();
    assert_eq!((record.origin, record.local), (Origin::Kernel, address));
    assert_eq!(record.peer, native.local_addr().unwrap());
    native.write_all(b"native").unwrap();
    let mut got = [0; 6];
    TcpStream::from(fd).read_exact(&mut got).unwrap();
    assert_eq!(&got, b"native");

    rig.peer_connects(address.port());
    assert_eq!(listening.accept().unwrap().0.origin, Origin::Lan);
    drop(listening);
    rig.settle();
    // The kernel's listener is closed too.
    within(|| TcpStream::connect(address).err());
    within(|| (rig.budget.held() == 0).then_some(()));
    rig.nothing_is_left();
}

#[test]
fn a_program_that_plays_with_its_listener_stops_nobody_else() {
    let mut rig = Rig::new();
    let kernel = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = at("0.0.0.0", kernel.local_addr().unwrap().port());
    let (listening, _) = rig.program.listen(local, 16, Some(kernel.as_fd()));
    rig.settle();
    // Sooner or later the thread's accept finds the queue empty and the flag off, and waits.
    let stealing = std::time::Instant::now() + Duration::from_millis(300);
    while std::time::Instant::now() < stealing {
        let _client = TcpStream::connect(kernel.local_addr().unwrap()).unwrap();
        kernel.set_nonblocking(true).unwrap();
        drop(kernel.accept());
        kernel.set_nonblocking(false).unwrap();
    }
    while listening.accept().is_some() {}
    rig.peer_connects(local.port());
    assert_eq!(listening.accept().unwrap().0.origin, Origin::Lan);
}

#[test]
fn descriptors_in_a_stream_end_it() {
    let mut rig = Rig::new();
    let (connection, _flow) = rig.connected();
    let file = std::fs::File::open("/dev/null").unwrap();
    descriptor::send_message(&connection.stream, b"x", Some(file.as_fd())).unwrap();
    rig.settle();
    assert_eq!(rig.broker.counters().stray_descriptors, 1);
    rig.nothing_is_left();
}

#[test]
fn a_full_accept_queue_takes_up_again_when_the_program_accepts() {
    let mut rig = Rig::with_budget(4096);
    let kernel = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = kernel.local_addr().unwrap();
    let local = at("0.0.0.0", address.port());
    let (listening, _) = rig.program.listen(local, 1024, Some(kernel.as_fd()));
    rig.settle();
    let clients: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    std::thread::sleep(Duration::from_millis(50));
    for _ in &clients {
        listening.accept_soon();
    }
    assert!(listening.accept().is_none());
}

#[test]
fn options_reach_the_table_and_unknown_ids_are_counted() {
    let mut rig = Rig::new();
    let (connection, _flow) = rig.connected();
    let value = zt_socket_rpc::OptionValue::new(&1_i32.to_le_bytes());
    let option = SetOption {
        id: connection.id,
        level: 6,
        name: 1,
        value,
    };
    rig.program.request(&Request::SetOption(option), &[]);
    rig.settle();
    assert!(rig.entry(connection.id).unwrap().options.no_delay);
    rig.program.request(
        &Request::SetOption(SetOption {
            id: program::fresh_id(),
            ..option
        }),
        &[],
    );
    rig.settle();
    assert_eq!(rig.broker.counters().wrong_id, 1);
}

#[test]
fn a_query_says_what_the_table_says() {
    let mut rig = Rig::new();
    let (connection, _flow) = rig.connected();
    let control = rig
        .program
        .request(&Request::Query { id: connection.id }, &[]);
    let unknown = rig.program.request(
        &Request::Query {
            id: program::fresh_id(),
        },
        &[],
    );
    rig.settle();
    let entry = rig.entry(connection.id).unwrap();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::State(entry));
    let errno = Errno::NOENT.raw_os_error();
    assert_eq!(reply(&unknown).unwrap().unwrap().0, Reply::Failed { errno });
}

#[test]
fn garbage_is_counted_and_disturbs_nobody() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let controls = [
        rig.program.say(b"GET / HTTP/1.1\r\n\r\n", &[]),
        rig.program.say(&[0xff; 513], &[]),
        rig.program.say(&[1, 99], &[]),
        rig.program.say(&[1, 1], &[read_end.as_fd()]),
        rig.program.say(&[1, 1], &[write_end.as_fd(); 9]),
        rig.program
            .request(&Request::Listen(listen_request()), &[read_end.as_fd()]),
    ];
    rig.settle();
    for control in &controls {
        assert!(
            matches!(reply(control), Some(Err(()))),
            "closed without an answer"
        );
    }
    let counters = rig.broker.counters();
    assert_eq!(
        counters.malformed + counters.wrong_descriptors,
        controls.len() as u64
    );
    // Nothing keeps the descriptors that came along.
    drop((write_end, controls));
    assert_eq!(rustix::io::read(&read_end, &mut [0_u8; 1]), Ok(0));
    rig.peer_sends(flow, b"undisturbed");
    assert_eq!(read_now(&connection.stream).unwrap(), b"undisturbed");
}

fn listen_request() -> zt_socket_rpc::Listen {
    zt_socket_rpc::Listen {
        id: program::fresh_id(),
        local: at("0.0.0.0", 1),
        family: zt_socket_rpc::Family::V4,
        backlog: 1,
        kernel_listener: false,
        options: Options::default(),
    }
}

#[test]
fn an_id_cannot_be_taken_twice() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    let (_mine, half) = program::named_pair(
        rustix::net::SocketType::STREAM,
        zt_socket_rpc::Kind::Stream,
        program::fresh_id(),
    );
    let request = Request::Connect(zt_socket_rpc::Connect {
        id: connection.id,
        remote: at(THEIRS, 80),
        local: None,
        family: zt_socket_rpc::Family::V4,
        wait: false,
        plug: 0,
        options: Options::default(),
    });
    rig.program.request(&request, &[half.as_fd()]);
    rig.settle();
    assert_eq!(
        rig.broker.counters().wrong_descriptors,
        1,
        "the half has another name"
    );
    rig.peer_sends(flow, b"mine");
    assert_eq!(read_now(&connection.stream).unwrap(), b"mine");
}

#[test]
fn silent_control_connections_are_bounded_and_end_in_time() {
    let mut rig = Rig::new();
    let silent: Vec<OwnedFd> = (0..40).map(|_| rig.program.dial()).collect();
    rig.settle();
    // An honest request passes them by.
    let control = rig.program.request(&Request::Hello, &[]);
    rig.settle();
    assert!(matches!(
        reply(&control),
        Some(Ok((Reply::Hello { .. }, _)))
    ));
    let dropped = |fds: &[OwnedFd]| {
        fds.iter()
            .filter(|fd| matches!(reply(fd), Some(Err(()))))
            .count()
    };
    assert_eq!(dropped(&silent), 8, "more than one user may have waiting");
    rig.pass(Duration::from_secs(6));
    assert_eq!(dropped(&silent), 40);
    assert_eq!(rig.broker.counters().silent, 32);
    assert!(rig.broker.deadline().is_none(), "nothing to wake up for");
}

#[test]
fn requests_of_one_user_keep_their_order() {
    let mut rig = Rig::new();
    rig.peer
        .listen(ListenAddr { ip: None, port: 80 }, 16)
        .unwrap();
    let slow = rig.program.dial();
    rig.settle();
    // The slow connection speaks first, the new one second, before the service looks at either.
    let id = program::fresh_id();
    let (_stream, half) = program::named_pair(
        rustix::net::SocketType::STREAM,
        zt_socket_rpc::Kind::Stream,
        id,
    );
    let connect = Request::Connect(zt_socket_rpc::Connect {
        id,
        remote: at(THEIRS, 80),
        local: None,
        family: zt_socket_rpc::Family::V4,
        wait: false,
        plug: 0,
        options: Options::default(),
    });
    let mut bytes = [0; zt_socket_rpc::MAX_MESSAGE];
    let length = connect.emit(&mut bytes);
    super::descriptor::send_message(&slow, &bytes[..length], Some(half.as_fd())).unwrap();
    let query = rig.program.request(&Request::Query { id }, &[]);
    rig.settle();
    assert!(matches!(reply(&query), Some(Ok((Reply::State(_), _)))));
}

#[test]
fn beyond_the_budget_connections_fail_honestly_and_recover() {
    let mut rig = Rig::with_budget(8);
    rig.peer
        .listen(ListenAddr { ip: None, port: 80 }, 64)
        .unwrap();
    let connections: Vec<_> = (0..10)
        .map(|_| {
            rig.program
                .connect(at(THEIRS, 80), false, Options::default())
                .0
        })
        .collect();
    rig.settle();
    let failed = connections
        .iter()
        .filter(|c| rig.entry(c.id).unwrap().state == State::Failed)
        .count();
    assert_eq!(failed, 3, "seven of eight are one user's share");
    assert_eq!(rig.broker.counters().refused, 3);
    drop(connections);
    rig.nothing_is_left();
    let (connection, _) = rig
        .program
        .connect(at(THEIRS, 80), false, Options::default());
    rig.settle();
    assert_eq!(rig.entry(connection.id).unwrap().state, State::Connected);
}

#[test]
fn a_connection_that_was_waited_for_costs_no_more_than_another() {
    let mut rig = Rig::with_budget(8);
    let everywhere = ListenAddr { ip: None, port: 80 };
    rig.peer.listen(everywhere, 64).unwrap();
    let connections: Vec<_> = (0..6)
        .map(|_| {
            let to = at(THEIRS, 80);
            let connection = rig.program.connect(to, true, Options::default());
            rig.settle();
            connection
        })
        .collect();
    for (connection, _) in &connections {
        assert_eq!(rig.entry(connection.id).unwrap().state, State::Connected);
    }
}

#[test]
fn an_accept_that_finds_no_descriptor_waits_for_one() {
    let mut rig = Rig::with_budget(5);
    let listening = rig.listening(8080, 16);
    let flows: Vec<FlowId> = (0..5).map(|_| rig.peer_connects(8080)).collect();
    let mut accepted: Vec<_> = std::iter::from_fn(|| listening.accept()).collect();
    assert_eq!(
        accepted.len(),
        3,
        "with the two of the listener five of five"
    );
    for _ in 0..3 {
        accepted.remove(0);
        rig.pass(Duration::from_millis(40));
        accepted.extend(listening.accept());
    }
    assert_eq!(accepted.len(), 2, "all five were there");
    assert_eq!(rig.broker.counters().accepted, 5);
    drop(flows);
}

#[test]
fn leaving_the_network_ends_everything_and_removes_the_socket() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    let _listening = rig.listening(8080, 4);
    let Rig {
        poller,
        host,
        budget,
        broker,
        now,
        ..
    } = &mut rig;
    let mut turn = Turn {
        poller,
        host,
        budget,
        now: *now,
    };
    broker.close(&mut turn);
    rig.nothing_is_left();
    assert!(rig.peer_was_reset(flow));
    let end = read_now(&connection.stream);
    assert!(end.is_ok_and(|bytes| bytes.is_empty()));
    let socket = rig.broker.socket();
    drop(rig.broker);
    assert!(!socket.exists() && !streams_path(&socket).exists() && rig.directory.path().exists());
}

#[test]
fn a_port_is_free_as_soon_as_its_listener_is_closed() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 4);
    drop(listening);
    // The service has not looked at the first one yet when the second one asks.
    let (_again, control) = rig.program.listen(at("0.0.0.0", 8080), 4, None);
    rig.settle();
    assert!(matches!(reply(&control), Some(Ok((Reply::Done { .. }, _)))));
    assert_eq!(rig.broker.sockets(), (0, 1));
}

#[test]
fn a_connection_to_ourselves_is_in_the_queue_before_it_is_up() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 4);
    let (connection, _) = rig
        .program
        .connect(at(OURS, 8080), false, Options::default());
    let mut accepted = None;
    while !readiness(&connection.stream).contains(PollFlags::OUT) {
        rig.turn();
        accepted = accepted.or_else(|| listening.accept());
    }
    let (record, fd) = accepted.expect("accepted first");
    assert_eq!(Some(record.peer), rig.entry(connection.id).unwrap().local);
    (&connection.stream).write_all(b"to myself").unwrap();
    rig.settle();
    let served = UnixStream::from(fd);
    assert_eq!(read_now(&served).unwrap(), b"to myself");
    drop((served, connection, listening));
    rig.nothing_is_left();
}

#[test]
fn both_families_listen_on_one_port_side_by_side() {
    let mut rig = Rig::new();
    let _v4 = rig.listening(80, 4);
    let id = program::fresh_id();
    let (_v6, half) = program::named_pair(
        rustix::net::SocketType::SEQPACKET,
        zt_socket_rpc::Kind::Listener,
        id,
    );
    let mut listen = zt_socket_rpc::Listen {
        id,
        local: "[::]:80".parse().unwrap(),
        family: zt_socket_rpc::Family::V6,
        ..listen_request()
    };
    let control = rig
        .program
        .request(&Request::Listen(listen), &[half.as_fd()]);
    rig.settle();
    let errno = Errno::ADDRINUSE.raw_os_error();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Failed { errno });
    listen.options.v6_only = true;
    let control = rig
        .program
        .request(&Request::Listen(listen), &[half.as_fd()]);
    rig.settle();
    assert!(matches!(reply(&control), Some(Ok((Reply::Done { .. }, _)))));
}
