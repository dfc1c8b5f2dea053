//! The loop.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::sync::mpsc::UnboundedSender;
use zt_controller::Controller;
use zt_protocol::node::{Event, Node};
use zt_protocol::vl1::{LocalSocket, Vl1Event};
use zt_socket_rpc::Prefix;

use super::clock::{Clock, Now};
use super::controller::EventStore;
use super::event::EngineEvent;
use super::handle::EngineConfig;
use super::linger::Linger;
use super::network::Network;
use super::reactor::{self, Interest, Kind, Poller, Token};
use super::requests::Command;
use crate::broker::Budget;
use crate::udp::interfaces::AddressWatch;
use crate::udp::{Outgoing, SendOutcome, SocketId, UdpEdge};

/// Readiness taken in one call.
const EVENTS: usize = 256;
/// Rounds of filling and emptying the node's outbox before input has its turn again.
const TRANSMIT_ROUNDS: usize = 8;
/// Below this a window is useless.
const MIN_WINDOW: usize = 64 << 10;

/// Everything the engine thread owns.
pub(super) struct Engine {
    pub(super) node: Node,
    pub(super) controller: Controller,
    /// By the index in tokens.
    pub(super) networks: Vec<Option<Box<Network>>>,
    pub(super) edge: UdpEdge,
    pub(super) poller: Poller,
    pub(super) budget: Budget,
    pub(super) watch: Option<AddressWatch>,
    pub(super) socket_directory: PathBuf,
    /// Published on networks whose settings name no other.
    pub(super) name: Option<String>,
    pub(super) blacklist: Vec<String>,
    pub(super) local_addresses: Vec<SocketAddr>,
    pub(super) interface_addresses: Vec<IpAddr>,
    /// The prefixes on the links of this host.
    pub(super) near: Vec<Prefix>,
    /// The receive window of a flow.
    pub(super) window: usize,
    events: UnboundedSender<EngineEvent>,
    commands: mpsc::Receiver<Command>,
    wake: Arc<OwnedFd>,
    clock: Clock,
    linger: Linger,
    /// UDP sockets with input.
    udp_readable: Vec<bool>,
    /// The UDP socket that has no room for the batch on offer.
    udp_blocked: Option<usize>,
}

impl Engine {
    pub(super) fn new(
        config: EngineConfig,
        edge: UdpEdge,
        wake: Arc<OwnedFd>,
        commands: mpsc::Receiver<Command>,
        events: UnboundedSender<EngineEvent>,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&wake, Token::of(Kind::Wake, 0), Interest::Level)?;
        // Where the kernel does not tell of new addresses, the ones of the start are kept.
        let watch = AddressWatch::open().ok();
        if let Some(watch) = &watch {
            poller.add(watch, Token::of(Kind::Addresses, 0), Interest::Level)?;
        }
        let mut sockets = 0;
        for (index, fd) in (0..).zip(edge.descriptors()) {
            poller.add(fd, Token::of(Kind::Udp, index), Interest::Edge)?;
            sockets += 1;
        }
        let mut clock = Clock::new();
        let now = clock.now();
        let store = Box::new(EventStore {
            events: events.clone(),
        });
        let records = config.controller_records;
        let controller = Controller::new(config.identity.clone(), seed()?, records, store);
        let window = edge.receive_buffer().max(MIN_WINDOW);
        Ok(Self {
            node: Node::new(now.time, config.identity, config.planet, seed()?),
            controller,
            networks: Vec::new(),
            edge,
            poller,
            budget: Budget::of_process(),
            watch,
            socket_directory: config.socket_directory,
            name: config.name,
            blacklist: config.interface_prefix_blacklist,
            local_addresses: Vec::new(),
            interface_addresses: Vec::new(),
            near: Vec::new(),
            window,
            events,
            commands,
            wake,
            clock,
            linger: Linger::default(),
            udp_readable: vec![true; sockets],
            udp_blocked: None,
        })
    }

    /// Runs until it is told to stop.
    pub(super) fn run(&mut self) {
        self.read_addresses();
        let mut events = reactor::Events::with_capacity(EVENTS);
        let mut busy = true;
        loop {
            if let Err(error) = self.wait(&mut events, busy) {
                tracing::error!(%error, "the data plane cannot wait for input");
                return;
            }
            let now = self.clock.now();
            let woken = self.dispatch(now, &events);
            busy = self.receive(now);
            if self
                .node
                .deadline()
                .is_some_and(|deadline| deadline <= now.time)
            {
                let networks = &mut self.networks;
                self.node
                    .handle_timeout(now.time, &mut |id, frame| deliver(networks, now, id, frame));
            }
            if woken && !self.take_commands(now) {
                self.close_all(now);
                return;
            }
            self.take_node_events(now);
            for network in self.networks.iter_mut().flatten() {
                busy |= network.run(&self.poller, &mut self.budget, now);
            }
            self.tell_groups(now);
            busy |= self.transmit(now);
        }
    }

    /// Takes what is ready; when there is nothing to do besides, waits for it.
    fn wait(&mut self, events: &mut reactor::Events, busy: bool) -> io::Result<()> {
        if busy {
            return self.poller.wait(events, Some(Duration::ZERO));
        }
        let began = Instant::now();
        while began.elapsed() < self.linger.window() {
            self.poller.wait(events, Some(Duration::ZERO))?;
            if !events.is_empty() {
                return Ok(());
            }
            thread::yield_now();
        }
        let timeout = self.time_to_sleep();
        self.poller.wait(events, timeout)?;
        self.linger.learn(began.elapsed());
        Ok(())
    }

    /// Sorts readiness by its owner. Says whether there are commands.
    fn dispatch(&mut self, now: Now, events: &reactor::Events) -> bool {
        let mut woken = false;
        // Earlier requests before new connections, so that a program's requests keep their order.
        let (control, others): (Vec<_>, Vec<_>) = events
            .iter()
            .partition(|(token, _)| token.kind == Kind::Control);
        for (token, ready) in others.into_iter().chain(control) {
            let index = token.key.index as usize;
            match token.kind {
                Kind::Wake => woken = true,
                Kind::Addresses => self.read_addresses(),
                Kind::Udp => {
                    if let Some(readable) = self.udp_readable.get_mut(index) {
                        *readable |= ready.readable;
                    }
                    if ready.writable && self.udp_blocked == Some(index) {
                        self.udp_blocked = None;
                        self.watch_udp(index, Interest::Edge);
                    }
                }
                _ => {
                    if let Some(Some(network)) = self.networks.get_mut(usize::from(token.network)) {
                        network.handle_ready(&self.poller, &mut self.budget, now, token, ready);
                    }
                }
            }
        }
        woken
    }

    /// Takes one batch from every UDP socket that has input. Says whether there is more.
    fn receive(&mut self, now: Now) -> bool {
        let Self {
            node,
            networks,
            edge,
            udp_readable,
            ..
        } = self;
        let mut more = false;
        for (index, readable) in udp_readable
            .iter_mut()
            .enumerate()
            .filter(|(_, readable)| **readable)
        {
            let received = edge.receive(index, |socket, remote, datagram| {
                let frames =
                    &mut |id, frame: zt_protocol::vl2::Frame<'_>| deliver(networks, now, id, frame);
                node.handle_datagram(now.time, LocalSocket(socket.0), remote, datagram, frames);
            });
            *readable = match received {
                Ok(received) => received.more,
                Err(error) => says_nothing_of_input(&error),
            };
            more |= *readable;
        }
        more
    }

    fn take_commands(&mut self, now: Now) -> bool {
        let mut count = [0; 8];
        // Readable, or nothing to reset.
        let _ = rustix::io::read(&self.wake, &mut count);
        while let Ok(command) = self.commands.try_recv() {
            if !self.carry_out(now, command) {
                return false;
            }
        }
        true
    }

    fn take_node_events(&mut self, now: Now) {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Vl1(Vl1Event::Online) => self.tell(EngineEvent::Online),
                Event::Vl1(Vl1Event::Offline) => self.tell(EngineEvent::Offline),
                Event::Vl1(Vl1Event::PlanetUpdated(planet)) => {
                    self.tell(EngineEvent::PlanetUpdated(planet))
                }
                Event::Vl1(Vl1Event::IdentityCollision) => {
                    self.tell(EngineEvent::IdentityCollision)
                }
                Event::NetworkUp(id) | Event::NetworkChanged(id) => self.reconfigure(now, id),
                Event::ConfigStored {
                    network,
                    dictionary,
                } => {
                    self.tell(EngineEvent::NetworkStored {
                        network,
                        dictionary,
                    });
                }
                Event::ConfigRequest(request) => self.answer_member(now, &request),
                _ => {}
            }
        }
    }

    /// Tells the node which multicast groups it must bring to the hosts.
    pub(super) fn tell_groups(&mut self, now: Now) {
        for network in self.networks.iter_mut().flatten() {
            if let Some(groups) = network.changed_groups() {
                self.node.set_groups(now.time, network.id, &groups);
            }
        }
    }

    /// Moves frames from the hosts to the wire as far as both take them. Says whether more could be
    /// moved at once.
    fn transmit(&mut self, now: Now) -> bool {
        let mut again = false;
        for _ in 0..TRANSMIT_ROUNDS {
            let mut all_taken = true;
            let mut news = false;
            for network in self.networks.iter_mut().flatten() {
                all_taken &= network.transmit(&mut self.node, now);
                // A connection to ourselves makes progress while it is sent.
                news |= network.take_events(&self.poller, &mut self.budget, now);
            }
            again |= news;
            if !self.flush() {
                // The socket will tell when it has room.
                break;
            }
            if all_taken {
                break;
            }
            again = true;
        }
        for network in self.networks.iter_mut().flatten() {
            network.after_transmit(&self.poller, &mut self.budget, now);
        }
        again
    }

    /// Sends the node's batches until there are none or a socket is full. Says whether all are sent.
    pub(super) fn flush(&mut self) -> bool {
        if self.udp_blocked.is_some() {
            return false;
        }
        while let Some(batch) = self.node.poll_transmit() {
            let outgoing = Outgoing {
                local: batch.local.map(|local| SocketId(local.0)),
                remote: batch.remote,
                segment_size: batch.segment_size,
                payload: batch.payload,
                ttl: batch.ttl,
            };
            if self.edge.send(&outgoing) == SendOutcome::WouldBlock {
                let blocked = self.edge.blocked_socket(&outgoing);
                if let Some(index) = blocked {
                    self.udp_blocked = blocked;
                    self.watch_udp(index, Interest::EdgeWithRoom);
                }
                return false;
            }
            self.node.transmit_done();
        }
        true
    }

    fn watch_udp(&self, index: usize, interest: Interest) {
        if let Some(fd) = self.edge.descriptors().nth(index) {
            self.poller
                .change(fd, Token::of(Kind::Udp, index as u32), interest);
        }
    }

    /// The time until the earliest deadline; `None` if there is none.
    fn time_to_sleep(&mut self) -> Option<Duration> {
        let now = self.clock.now();
        let node = self
            .node
            .deadline()
            .map(|deadline| deadline.since(now.time));
        let networks = self
            .networks
            .iter()
            .flatten()
            .filter_map(|network| network.deadline());
        let networks = networks
            .min()
            .map(|deadline| deadline.saturating_since(now.instant));
        node.into_iter().chain(networks).min()
    }

    /// Tells the shell something; if there is none any more, nobody needs to know.
    pub(super) fn tell(&self, event: EngineEvent) {
        let _ = self.events.send(event);
    }
}

/// Lends a frame to the host of its network.
fn deliver(
    networks: &mut [Option<Box<Network>>],
    now: Now,
    id: zt_protocol::NetworkId,
    frame: zt_protocol::vl2::Frame<'_>,
) {
    if let Some(network) = networks
        .iter_mut()
        .flatten()
        .find(|network| network.id == id)
    {
        network.host.handle_frame(
            now.instant,
            frame.src.0,
            frame.dst.0,
            frame.ethertype,
            frame.payload,
        );
    }
}

/// Whether a receive call ended with an interruption or with the fate of an earlier datagram, which
/// the kernel tells once. Any other error may last: the next arrival makes us look again.
fn says_nothing_of_input(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::INTR
                | Errno::CONNREFUSED
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::NOPROTOOPT
                | Errno::PROTO
                | Errno::MSGSIZE
        )
    )
}

fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_that_the_kernel_tells_once_is_followed_by_another_look() {
        let again = |errno: Errno| says_nothing_of_input(&errno.into());
        for errno in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::INTR] {
            assert!(again(errno), "{errno}");
        }
        for errno in [Errno::AGAIN, Errno::BADF, Errno::NOMEM, Errno::FAULT] {
            assert!(!again(errno), "{errno}");
        }
        assert!(!says_nothing_of_input(&io::Error::other("no number")));
    }
}
