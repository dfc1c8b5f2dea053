//! The broker against programs on one side and another host on the other, without a network between.

mod connecting;
mod datagrams;
mod direct;
mod listening;
mod naming;
pub(crate) mod program;
mod sharing;
mod straight;
mod streams;

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
