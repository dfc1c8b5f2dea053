//! The broker: programs' sockets on one network, over the contract of `zt_socket_rpc`.
//!
//! It owns the control socket `nc_<network id>`, the service's halves of all pairs and the state table,
//! and moves bytes between pairs and the flows of the network's host. It has no protocol of its own and
//! buffers nothing. Whatever a program sends is hostile input: parsed totally, counted, bounded.
//!
//! `Broker` is driven by the engine: readiness and the host's events go in, `Broker::run` moves
//! bytes for a turn.

mod accepting;
mod acceptor;
mod binding;
mod budget;
mod burst;
mod control;
mod counters;
mod datagram;
mod datagrams;
mod delivery;
mod descriptor;
mod direct;
mod disposal;
mod echo;
mod groups;
mod lifetimes;
mod listener;
mod listening;
mod lost;
mod naming;
mod native;
mod outcomes;
mod ports;
mod progress;
mod questions;
mod requests;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use zt_netstack::{FlowId, Host, HostEvent, Instant, UdpId};
use zt_protocol::NetworkId;
use zt_socket_rpc::table::{Interface, StateTable};
use zt_socket_rpc::{Id, Prefix, STREAMS_SUFFIX};

use crate::engine::reactor::{Interest, Kind, Poller, Ready, Token};
use crate::engine::slots::{Key, Slots};
pub(crate) use budget::Budget;
use burst::Burst;
use control::{Accepted, Call, Carrying, ControlSocket};
use counters::Counters;
use datagram::Datagram;
use direct::Arrival;
use disposal::Disposal;
use lifetimes::Lifetimes;
use listener::Listener;
pub(crate) use naming::NameConfig;
use naming::Naming;
use ports::Ports;
use stream::{Stream, Verdict};

/// Control connections served before bytes are moved again.
const REQUESTS_A_TURN: usize = 64;
/// When to look again at queues that nothing will announce.
const RETRY: Duration = Duration::from_millis(20);

/// What the broker borrows from the engine for one call.
pub(crate) struct Turn<'a> {
    pub(crate) poller: &'a Poller,
    pub(crate) host: &'a mut Host,
    pub(crate) budget: &'a mut Budget,
    pub(crate) now: Instant,
}

/// The programs' edge of one network.
pub(crate) struct Broker {
    network: u16,
    instance: NonZeroU64,
    control: ControlSocket,
    /// Where connections begin that nobody waits for. A path that is almost too long has none: programs do without.
    streams_socket: Option<ControlSocket>,
    table: StateTable,
    streams: Slots<Stream>,
    listeners: Slots<Listener>,
    datagrams: Slots<Datagram>,
    /// Ends of pairs that two programs hold by themselves.
    direct: Lifetimes,
    by_id: HashMap<Id, Socket>,
    by_flow: HashMap<FlowId, Owner>,
    /// Whose the ports of the host are.
    ports: Ports,
    by_udp: HashMap<UdpId, Key>,
    naming: Naming,
    runnable: VecDeque<Socket>,
    /// Connections to ourselves that are up: programs hear of one after its other end is in the queue of
    /// the listener, as on a kernel's loopback.
    up: Vec<FlowId>,
    up_next_turn: Vec<FlowId>,
    /// Flows to reset once their last bytes had a chance to leave.
    dying: Vec<FlowId>,
    /// Listeners wait for descriptors, or for room that nothing announces.
    starved: bool,
    retry_at: Option<Instant>,
    disposal: Disposal,
    /// Counted by the threads of listeners.
    accepted_native: Arc<AtomicU64>,
    counters: Counters,
    /// Room for one frame, used by one datagram socket at a time.
    scratch: Vec<u8>,
    /// The same for several frames.
    burst: Burst,
}

/// A socket of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Socket {
    Stream(Key),
    Listener(Key),
    Datagram(Key),
    /// One end of a pair that two programs hold: nothing here moves its bytes.
    Direct,
}

/// A connection that the program was not told of yet.
enum Pending {
    /// From the LAN.
    Flow(FlowId),
    /// From a program of this service.
    Direct(Arrival),
}

/// Whose flow it is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Stream(Key),
    /// Accepted, but the program was not told yet.
    Pending(Key),
}

impl Broker {
    /// Opens the control socket of a network in `directory`. `network` is the engine's index, for tokens.
    pub(crate) fn open(
        directory: &Path,
        id: NetworkId,
        network: u16,
        poller: &Poller,
    ) -> io::Result<Self> {
        let (mut random, mut seed) = ([0; 8], [0; 8]);
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let instance = NonZeroU64::new(u64::from_le_bytes(random)).unwrap_or(NonZeroU64::MIN);
        let path = socket_path(directory, id);
        // Before the control socket: whoever finds that one finds both.
        let streams_socket =
            ControlSocket::open(streams_path(&path), Carrying::Streams, network, poller)
                .inspect_err(|error| tracing::debug!(%error, "no streams socket"))
                .ok();
        Ok(Self {
            network,
            instance,
            control: ControlSocket::open(path, Carrying::Requests, network, poller)?,
            streams_socket,
            table: StateTable::create(instance)?,
            streams: Slots::new(),
            listeners: Slots::new(),
            datagrams: Slots::new(),
            direct: Lifetimes::default(),
            by_id: HashMap::new(),
            by_flow: HashMap::new(),
            ports: Ports::default(),
            by_udp: HashMap::new(),
            naming: Naming::new(u64::from_le_bytes(seed)),
            runnable: VecDeque::new(),
            up: Vec::new(),
            up_next_turn: Vec::new(),
            dying: Vec::new(),
            starved: false,
            retry_at: None,
            disposal: Disposal::default(),
            accepted_native: Arc::default(),
            counters: Counters::default(),
            scratch: Vec::new(),
            burst: Burst::default(),
        })
    }

    /// Where programs connect to.
    pub(crate) fn socket(&self) -> PathBuf {
        self.control.path().to_owned()
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters {
            accepted_native: self.accepted_native.load(Ordering::Relaxed),
            ..self.counters
        }
    }

    /// Connections and listening sockets now.
    pub(crate) fn sockets(&self) -> (usize, usize) {
        (self.streams.len(), self.listeners.len())
    }

    /// Tells programs which addresses the LAN reaches, which are its own here, and which are on the links of the host.
    pub(crate) fn set_lan(&mut self, own: &[Prefix], routes: &[Prefix], near: &[Prefix]) {
        self.table.set_lan(own, routes, near);
    }

    /// Tells programs what they see of the LAN's interface.
    pub(crate) fn set_interface(&mut self, interface: &Interface) {
        self.table.set_interface(interface);
    }

    /// One of the broker's descriptors is ready.
    pub(crate) fn handle_ready(&mut self, turn: &mut Turn<'_>, token: Token, ready: Ready) {
        match token.kind {
            Kind::Control => self.accept_requests(turn),
            Kind::Request => {
                if let Some(call) = self.control.receive(turn.poller, token.key) {
                    self.serve_in_order(turn, call);
                }
            }
            Kind::Streams => self.accept_streams(turn, REQUESTS_A_TURN),
            Kind::StreamRequest => self.receive_straight(turn, token.key),
            Kind::Stream => self.stream_ready(turn, token.key, ready),
            Kind::Listener => self.listener_ready(turn, token.key, ready),
            Kind::Datagram => self.datagram_ready(turn, token.key, ready),
            Kind::KernelDatagram => self.kernel_datagram_ready(token.key),
            _ => {}
        }
    }

    /// Takes connections that begin with their request.
    fn accept_streams(&mut self, turn: &mut Turn<'_>, most: usize) {
        for _ in 0..most {
            let Some(socket) = &mut self.streams_socket else {
                return;
            };
            match socket.accept(turn.poller, turn.now) {
                Accepted::Call(call) => self.serve_straight(turn, *call),
                Accepted::Nothing => {}
                Accepted::Empty => return,
            }
        }
    }

    /// The request of a connection that has not begun with it, if it is there now.
    fn receive_straight(&mut self, turn: &mut Turn<'_>, key: Key) {
        let socket = self.streams_socket.as_mut();
        if let Some(call) = socket.and_then(|it| it.receive(turn.poller, key)) {
            self.serve_straight(turn, call);
        }
    }

    /// Serves a request, which may be about a connection that its thread began just before: at the other socket.
    fn serve_in_order(&mut self, turn: &mut Turn<'_>, call: Call) {
        self.accept_streams(turn, control::BACKLOG as usize);
        let socket = self.streams_socket.as_ref();
        for key in socket.map_or_else(Vec::new, |socket| socket.waiting_of(call.uid)) {
            self.receive_straight(turn, key);
        }
        self.serve(turn, call);
    }

    fn accept_requests(&mut self, turn: &mut Turn<'_>) {
        for _ in 0..REQUESTS_A_TURN {
            match self.control.accept(turn.poller, turn.now) {
                Accepted::Call(call) => {
                    let waiting = self.control.waiting_of(call.uid);
                    let earlier: Vec<Call> = waiting
                        .into_iter()
                        .filter_map(|key| self.control.receive(turn.poller, key))
                        .collect();
                    earlier
                        .into_iter()
                        .chain([*call])
                        .for_each(|call| self.serve_in_order(turn, call));
                }
                Accepted::Nothing => {}
                Accepted::Empty => return,
            }
        }
    }

    fn stream_ready(&mut self, turn: &mut Turn<'_>, key: Key, ready: Ready) {
        let token = self.token(Kind::Stream, key);
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.readable |= ready.readable;
        stream.ending |= ready.ending;
        stream.hung_up |= ready.hung_up;
        if ready.writable && stream.blocked {
            stream.blocked = false;
            turn.poller.change(&stream.fd, token, Interest::Edge);
        }
        self.enqueue(Socket::Stream(key));
    }

    /// Moves bytes for one turn. Says whether there is more to move at once.
    pub(crate) fn run(&mut self, turn: &mut Turn<'_>) -> bool {
        if self.starved {
            self.starved = false;
            let waiting: Vec<Key> = self.listeners.iter().map(|(key, _)| key).collect();
            waiting
                .into_iter()
                .for_each(|key| self.enqueue(Socket::Listener(key)));
        }
        for _ in 0..self.runnable.len() {
            match self.runnable.pop_front() {
                Some(Socket::Stream(key)) => self.run_stream(turn, key),
                Some(Socket::Listener(key)) => self.run_listener(turn, key),
                Some(Socket::Datagram(key)) => self.run_datagram(turn, key),
                Some(Socket::Direct) => {}
                None => break,
            }
        }
        for flow in std::mem::replace(&mut self.up, std::mem::take(&mut self.up_next_turn)) {
            self.flow_connected(turn, flow);
        }
        !self.runnable.is_empty() || !self.up.is_empty()
    }

    fn run_stream(&mut self, turn: &mut Turn<'_>, key: Key) {
        let token = self.token(Kind::Stream, key);
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.queued = false;
        if stream.connecting.is_some() {
            if stream.hung_up {
                self.close_stream(turn, key, Ending::Abort);
            }
            return;
        }
        let was_blocked = stream.blocked;
        let Some(mut flow) = turn.host.flow(stream.flow) else {
            self.close_stream(turn, key, Ending::Over);
            return;
        };
        let mut strays = Vec::new();
        let verdict = stream.run(&mut flow, &mut strays);
        if stream.blocked && !was_blocked {
            turn.poller
                .change(&stream.fd, token, Interest::EdgeWithRoom);
        }
        self.dispose_strays(strays);
        match verdict {
            Verdict::Idle | Verdict::Blocked => {}
            Verdict::Again => self.enqueue(Socket::Stream(key)),
            Verdict::Close => self.close_stream(turn, key, Ending::Close),
            Verdict::Abort => self.close_stream(turn, key, Ending::Abort),
            Verdict::Over => self.close_stream(turn, key, Ending::Over),
        }
    }

    /// Closes what a program attached to bytes that are none of a request.
    fn dispose_strays(&mut self, strays: Vec<OwnedFd>) {
        self.counters.stray_descriptors += strays.len() as u64;
        strays
            .into_iter()
            .for_each(|stray| self.disposal.dispose(stray));
    }

    /// Ends a connection on our side: the pair, the records, the flow.
    fn close_stream(&mut self, turn: &mut Turn<'_>, key: Key, ending: Ending) {
        if let Some(stream) = self.release_stream(turn, key, ending)
            && !stream.is_read_out()
        {
            self.disposal.hang_up(stream.fd);
        }
    }

    /// Ends a connection but for the closing of the pair.
    fn release_stream(&mut self, turn: &mut Turn<'_>, key: Key, ending: Ending) -> Option<Stream> {
        let stream = self.streams.remove(key)?;
        turn.poller.remove(&stream.fd);
        self.by_id.remove(&stream.id);
        self.by_flow.remove(&stream.flow);
        if stream.hung_up {
            self.table.remove(stream.id.tag());
        } else {
            // The program may still ask why.
            self.table.retire(stream.id.tag());
        }
        if let Some(flow) = turn.host.flow(stream.flow) {
            match ending {
                Ending::Close | Ending::Over => flow.close(),
                // What the program wrote before it closed is sent first, as the kernel's TCP would have.
                Ending::Abort if flow.info().send_queue > 0 && stream.connecting.is_none() => {
                    self.dying.push(stream.flow);
                }
                Ending::Abort => flow.abort(),
            }
        }
        Some(stream)
    }

    /// To be called when the host's frames were taken for this turn.
    pub(crate) fn after_transmit(&mut self, turn: &mut Turn<'_>) {
        for flow in self.dying.drain(..) {
            if let Some(flow) = turn.host.flow(flow) {
                flow.abort();
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let streams = self.streams_socket.as_ref();
        self.control
            .deadline()
            .into_iter()
            .chain(streams.and_then(ControlSocket::deadline))
            .chain(self.retry_at)
            .chain(self.naming.deadline())
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        for socket in self.streams_socket.iter_mut().chain([&mut self.control]) {
            self.counters.silent += socket.handle_timeout(turn.poller, turn.now);
        }
        self.naming.run(turn.host, turn.now);
        if self.retry_at.is_some_and(|at| at <= turn.now) {
            self.retry_at = None;
            self.starved = true;
        }
    }

    /// Takes one event of the host.
    pub(crate) fn handle_host_event(&mut self, turn: &mut Turn<'_>, event: HostEvent) {
        match event {
            HostEvent::Accepted { listener, flow } => self.flow_accepted(turn, listener, flow),
            HostEvent::Connected(flow) if is_to_ourselves(turn.host, flow) => {
                self.up_next_turn.push(flow);
            }
            HostEvent::Connected(flow) => self.flow_connected(turn, flow),
            HostEvent::ConnectFailed(flow, failure) => self.flow_failed(turn, flow, failure),
            HostEvent::Reset(flow, reason) => self.flow_reset(turn, flow, reason),
            HostEvent::Udp(id, event) => {
                if !self.naming.handle_event(turn.host, turn.now, id, event) {
                    self.udp_event(turn, id, event);
                }
            }
            // The network asks for them by itself.
            HostEvent::GroupsChanged => {}
            HostEvent::Readable(flow)
            | HostEvent::Writable(flow)
            | HostEvent::RemoteFinished(flow)
            | HostEvent::Closed(flow) => {
                if let Some(&Owner::Stream(key)) = self.by_flow.get(&flow) {
                    self.enqueue(Socket::Stream(key));
                }
            }
        }
    }

    /// Ends everything: the network was left.
    pub(crate) fn close(&mut self, turn: &mut Turn<'_>) {
        for socket in self.streams_socket.iter().chain([&self.control]) {
            socket.close(turn.poller);
        }
        self.naming.close(turn.host, turn.now);
        let listeners: Vec<Key> = self.listeners.iter().map(|(key, _)| key).collect();
        listeners
            .into_iter()
            .for_each(|key| self.close_listener(turn, key));
        let streams: Vec<Key> = self.streams.iter().map(|(key, _)| key).collect();
        streams
            .into_iter()
            .for_each(|key| self.close_stream(turn, key, Ending::Abort));
        let datagrams: Vec<Key> = self.datagrams.iter().map(|(key, _)| key).collect();
        datagrams
            .into_iter()
            .for_each(|key| self.close_datagram(turn, key));
    }

    fn token(&self, kind: Kind, key: Key) -> Token {
        Token {
            kind,
            network: self.network,
            key,
        }
    }

    fn enqueue(&mut self, socket: Socket) {
        let queued = match socket {
            Socket::Stream(key) => self.streams.get_mut(key).map(|stream| &mut stream.queued),
            Socket::Listener(key) => self
                .listeners
                .get_mut(key)
                .map(|listener| &mut listener.queued),
            Socket::Datagram(key) => self.datagrams.get_mut(key).map(|socket| &mut socket.queued),
            Socket::Direct => None,
        };
        if let Some(queued) = queued
            && !*queued
        {
            *queued = true;
            self.runnable.push_back(socket);
        }
    }

    fn retry_soon(&mut self, now: Instant) {
        self.retry_at.get_or_insert(now + RETRY);
    }
}

fn is_to_ourselves(host: &mut Host, flow: FlowId) -> bool {
    let peer = host.flow(flow).map(|flow| flow.remote().ip());
    peer.is_some_and(|peer| host.addresses().any(|own| own == peer))
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// In good order.
    Close,
    /// With a reset.
    Abort,
    /// The flow is over already.
    Over,
}

/// The control socket of a network: its name is shown as the network's device.
pub fn socket_path(directory: &Path, network: NetworkId) -> PathBuf {
    directory.join(format!("nc_{network}"))
}

/// The streams socket beside a control socket.
fn streams_path(control: &Path) -> PathBuf {
    let mut path = control.as_os_str().to_owned();
    path.push(std::ffi::OsStr::from_bytes(STREAMS_SUFFIX));
    path.into()
}

#[cfg(test)]
pub(crate) mod tests;
