//! Listen, connect, close: what programs ask for.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Host, Random};
use crate::config::ListenAddr;
use crate::demux::Tuple;
use crate::event::{FlowId, HostEvent, ListenerId};
use crate::flow::{Flow, Marks, Origin, Owner};
use crate::route::Way;
use crate::tcp::{Connection, Phase, Tcp};
use crate::time::Instant;

/// Ports taken for programs that do not care, as in Linux.
pub(super) const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// Where to begin: a host that comes back must not take the ports of its last life in the same order.
pub(super) fn any_ephemeral(random: &mut Random) -> u16 {
    let count = u64::from(EPHEMERAL.end() - EPHEMERAL.start()) + 1;
    EPHEMERAL.start() + (random.draw() % count) as u16
}
/// A SYN and six repetitions (tcp_syn_retries).
const CONNECT_PATIENCE: Duration = Duration::from_secs(127);
/// A SYN-ACK and five repetitions (tcp_synack_retries).
const ACCEPT_PATIENCE: Duration = Duration::from_secs(63);

/// Why [`Host::connect`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No route leads to the destination: ENETUNREACH.
    #[error("no route to the destination")]
    NoRoute,
    /// The local port is taken for this destination: EADDRINUSE; or all of them, when none was asked for:
    /// EADDRNOTAVAIL.
    #[error("no local port is free for the destination")]
    AddrInUse,
    /// The local address is not one of the host: EADDRNOTAVAIL.
    #[error("the local address is not an address of this host")]
    AddrNotAvailable,
    /// The destination is no unicast address, or its port is 0, or the families differ: EINVAL.
    #[error("the destination cannot be connected to")]
    Invalid,
    /// No memory for the rings: ENOBUFS.
    #[error("no memory for another connection")]
    NoBuffers,
}

/// Why [`Host::listen`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another listener has this port: EADDRINUSE.
    #[error("the port is taken by another listener")]
    AddrInUse,
    /// The address is not one of the host: EADDRNOTAVAIL.
    #[error("the address is not an address of this host")]
    AddrNotAvailable,
}

impl Host {
    /// Accepts connections to a local port: [`bind`](Host::bind) and [`set_backlog`](Host::set_backlog) in one.
    ///
    /// # Errors
    /// [`ListenError`], when the address is taken or not ours.
    pub fn listen(
        &mut self,
        local: ListenAddr,
        backlog: usize,
    ) -> Result<(ListenerId, SocketAddr), ListenError> {
        let bound = self.bind(local)?;
        self.set_backlog(bound.0, backlog);
        Ok(bound)
    }

    /// Takes a port and refuses connections to it until [`set_backlog`](Host::set_backlog), as a socket does between
    /// `bind()` and `listen()`. Returns the address with the port that was chosen; for both families it is `::`.
    ///
    /// # Errors
    /// [`ListenError`], when the address is taken or not ours.
    pub fn bind(&mut self, local: ListenAddr) -> Result<(ListenerId, SocketAddr), ListenError> {
        let single = local.ip.filter(|ip| !ip.is_unspecified());
        if single.is_some_and(|ip| !self.routes.is_own(ip)) {
            return Err(ListenError::AddrNotAvailable);
        }
        let port = match local.port {
            0 => self
                .free_port(|host, port| !host.listeners.has_port(port))
                .ok_or(ListenError::AddrInUse)?,
            port => port,
        };
        let local = ListenAddr { port, ..local };
        if self.listeners.is_taken(local) {
            return Err(ListenError::AddrInUse);
        }
        let id = self.listeners.insert(local);
        let ip = local.ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
        Ok((id, SocketAddr::new(ip, port)))
    }

    /// Begins to accept connections, or changes how many may wait for the owner. Further SYNs stay unanswered, so that
    /// their senders try again.
    pub fn set_backlog(&mut self, listener: ListenerId, backlog: usize) {
        self.listeners.set_backlog(listener, backlog);
    }

    /// While `full`, the listener answers no SYN: the program does not accept fast enough and the owner's queue is full.
    pub fn set_listener_full(&mut self, listener: ListenerId, full: bool) {
        self.listeners.set_full(listener, full);
    }

    /// Ends a listener. Connections that were not reported yet are reset; reported ones live on.
    pub fn unlisten(&mut self, listener: ListenerId) {
        if !self.listeners.remove(listener) {
            return;
        }
        let mut unreported = Vec::new();
        self.events.retain(|event| match event {
            HostEvent::Accepted {
                listener: other,
                flow,
            } if *other == listener => {
                unreported.push(*flow);
                false
            }
            _ => true,
        });
        unreported.into_iter().for_each(|id| self.release(id, true));
        let half_open = |flow: &Flow| {
            flow.origin == Origin::Accept(listener) && flow.tcp.phase() == Phase::Handshake
        };
        let handshakes: Vec<_> = self
            .flows
            .ids()
            .filter(|id| self.flows.get(*id).is_some_and(half_open))
            .collect();
        handshakes.into_iter().for_each(|id| self.forget(id));
    }

    /// Begins a connection; [`Connected`](HostEvent::Connected) or [`ConnectFailed`](HostEvent::ConnectFailed) follows.
    /// `local` may leave the address unspecified, the port 0, or both.
    ///
    /// # Errors
    /// [`ConnectError`], when there is no sense in sending a SYN.
    pub fn connect(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Result<FlowId, ConnectError> {
        self.now = now;
        self.time_wait.expire(now);
        let (local, way) = self.local_of(remote, local)?;
        let reach = self.reach_of(way.hop);
        let tcp = Connection::connect(&mut self.tcp, now, local, remote, reach).map_err(|_| {
            self.counters.no_memory += 1;
            ConnectError::NoBuffers
        })?;
        self.time_wait.forget(&Tuple::new(local, remote));
        let id = self.add_flow(tcp, local, remote, way.hop, Origin::Connect);
        self.queue_turn(id);
        Ok(id)
    }

    /// The listener that would accept a connection to `local`, if it takes one now.
    pub fn listener_at(&self, local: SocketAddr) -> Option<ListenerId> {
        let (id, listener) = self.listeners.find(local)?;
        listener.has_room().then_some(id)
    }

    /// The local address that [`connect`](Host::connect) would use.
    ///
    /// # Errors
    /// [`ConnectError`], when there is no sense in a connection.
    pub fn local_for(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Result<SocketAddr, ConnectError> {
        self.now = now;
        self.time_wait.expire(now);
        Ok(self.local_of(remote, local)?.0)
    }

    fn local_of(
        &mut self,
        remote: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Result<(SocketAddr, Way), ConnectError> {
        if remote.port() == 0 || remote.ip().is_unspecified() || remote.ip().is_multicast() {
            return Err(ConnectError::Invalid);
        }
        let way = self
            .routes
            .way_to(remote.ip())
            .ok_or(ConnectError::NoRoute)?;
        let wanted = local
            .map(|local| local.ip())
            .filter(|ip| !ip.is_unspecified());
        let ip = wanted.unwrap_or(way.source);
        if !self.routes.is_own(ip) {
            return Err(ConnectError::AddrNotAvailable);
        }
        if ip.is_ipv4() != remote.is_ipv4() {
            return Err(ConnectError::Invalid);
        }
        let port = match local.map_or(0, |local| local.port()) {
            0 => self
                .free_port(|host, port| {
                    !host.listeners.has_port(port)
                        && host.is_free(SocketAddr::new(ip, port), remote)
                })
                .ok_or(ConnectError::AddrInUse)?,
            port => Some(port)
                .filter(|port| self.is_free(SocketAddr::new(ip, *port), remote))
                .ok_or(ConnectError::AddrInUse)?,
        };
        Ok((SocketAddr::new(ip, port), way))
    }

    fn is_free(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let tuple = Tuple::new(local, remote);
        local != remote
            && !self.demux.contains_key(&tuple)
            && !self.time_wait.forbids(self.now, &tuple)
    }

    /// The next port that satisfies. In order, so that a port rests as long as possible between two uses.
    fn free_port(&mut self, free: impl Fn(&Host, u16) -> bool) -> Option<u16> {
        for _ in EPHEMERAL {
            self.next_port = self.next_port.wrapping_add(1);
            if !EPHEMERAL.contains(&self.next_port) {
                self.next_port = *EPHEMERAL.start();
            }
            if free(self, self.next_port) {
                return Some(self.next_port);
            }
        }
        None
    }

    pub(super) fn add_flow(
        &mut self,
        tcp: Connection,
        local: SocketAddr,
        remote: SocketAddr,
        hop: std::net::IpAddr,
        origin: Origin,
    ) -> FlowId {
        let patience = if origin == Origin::Connect {
            CONNECT_PATIENCE
        } else {
            ACCEPT_PATIENCE
        };
        let id = self.flows.insert(Flow {
            tcp,
            local,
            remote,
            hop,
            origin,
            owner: Owner::Present,
            handshake_until: self.now + patience,
            heard: self.now,
            lively: self.now,
            keepalive: None,
            probing: false,
            trim_at: None,
            armed: None,
            marks: Marks::default(),
        });
        self.demux.insert(Tuple::new(local, remote), id);
        id
    }

    /// The owner gives a flow up.
    pub(crate) fn release(&mut self, id: FlowId, at_once: bool) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        // A SYN-SENT connection is simply forgotten; the peer, if it answers, gets a reset for an unknown connection.
        if flow.marks.ended || flow.tcp.phase() == Phase::Handshake {
            return self.forget(id);
        }
        flow.marks.begun = true;
        flow.owner = Owner::Gone(self.now);
        if at_once || flow.tcp.recv_queue() > 0 {
            flow.tcp.abort();
        } else {
            flow.tcp.finish();
        }
        self.queue_turn(id);
    }

    /// A connection is over. If the owner still holds the flow it is told; otherwise the flow goes at once.
    pub(super) fn end(&mut self, id: FlowId, event: Option<HostEvent>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.marks.ended = true;
        if !flow.is_owned() {
            return self.forget(id);
        }
        if matches!(flow.origin, Origin::Accept(_)) && !flow.marks.established {
            // Nobody was told of it.
            return self.forget(id);
        }
        let tuple = Tuple::new(flow.local, flow.remote);
        self.demux.remove(&tuple);
        if let Some(event) = event {
            self.events.push_back(event);
        }
    }

    /// Removes a flow and its place in the tables.
    pub(super) fn forget(&mut self, id: FlowId) {
        let Some(flow) = self.flows.remove(id) else {
            return;
        };
        let tuple = Tuple::new(flow.local, flow.remote);
        if self.demux.get(&tuple) == Some(&id) {
            self.demux.remove(&tuple);
        }
        if let Origin::Accept(listener) = flow.origin
            && !flow.marks.established
        {
            self.handshakes = self.handshakes.saturating_sub(1);
            self.listeners.handshake_fails(listener);
        }
    }
}
