//! The host: takes frames to the protocols and flows, and collects what they send.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Buffers, HostConfig, ListenAddr};
use crate::event::{FlowId, HostEvent, ListenerId};
use crate::flow::FlowRef;
use crate::sink::FrameSink;
use crate::time::Instant;

/// Why [`Host::connect`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No route leads to the destination: ENETUNREACH.
    #[error("no route to the destination")]
    NoRoute,
    /// The local port, or every port, is taken for this destination: EADDRINUSE.
    #[error("no local port is free for the destination")]
    AddrInUse,
    /// The local address is not one of the host: EADDRNOTAVAIL.
    #[error("the local address is not an address of this host")]
    AddrNotAvailable,
    /// The destination is no unicast address, or its port is 0: EINVAL.
    #[error("the destination cannot be connected to")]
    Invalid,
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

/// One IP host on one virtual network.
pub struct Host {
    config: HostConfig,
}

impl Host {
    /// A host with these addresses. `seed` makes sequence numbers, ports and hashes hard to guess; it must differ
    /// between starts.
    #[must_use]
    pub fn new(config: HostConfig, seed: u64) -> Host {
        let _ = seed;
        Host { config }
    }

    /// Replaces the configuration. Flows of addresses that stay go on; others end with
    /// [`AddressGone`](crate::ResetReason::AddressGone). New addresses are announced.
    pub fn configure(&mut self, now: Instant, config: HostConfig) {
        let _ = now;
        self.config = config;
    }

    /// Ring sizes of the flows to come.
    pub fn set_buffers(&mut self, buffers: Buffers) {
        let _ = buffers;
    }

    /// Takes one frame. Malformed ones are counted and dropped.
    pub fn handle_frame(&mut self, now: Instant, src: [u8; 6], dst: [u8; 6], ethertype: u16, payload: &[u8]) {
        let _ = (now, src, dst, ethertype, payload);
    }

    /// Runs every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`handle_timeout`](Host::handle_timeout) wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Hands frames to `sink` until there are no more, or the sink is no longer ready. Returns whether there are no more.
    pub fn poll_transmit(&mut self, now: Instant, sink: &mut impl FrameSink) -> bool {
        let _ = (now, sink);
        true
    }

    /// The next thing that the owner must know.
    pub fn poll_event(&mut self) -> Option<HostEvent> {
        None
    }

    /// Accepts connections to a local port. At most `backlog` connections wait for the owner; further SYNs stay
    /// unanswered, so that their senders try again. Returns the address with the port that was chosen.
    ///
    /// # Errors
    /// [`ListenError`], when the address is taken or not ours.
    pub fn listen(&mut self, local: ListenAddr, backlog: usize) -> Result<(ListenerId, SocketAddr), ListenError> {
        let _ = (local, backlog);
        Err(ListenError::AddrNotAvailable)
    }

    /// While `full`, the listener answers no SYN: the program does not accept fast enough and the owner's queue is full.
    pub fn set_listener_full(&mut self, listener: ListenerId, full: bool) {
        let _ = (listener, full);
    }

    /// Ends a listener. Connections that were not reported yet are reset; reported ones live on.
    pub fn unlisten(&mut self, listener: ListenerId) {
        let _ = listener;
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
        let _ = (now, remote, local);
        Err(ConnectError::NoRoute)
    }

    /// The flow of that name, unless the owner gave it up.
    pub fn flow(&mut self, id: FlowId) -> Option<FlowRef<'_>> {
        Some(FlowRef { host: self, id }).filter(|_| false)
    }

    /// Whether an address can be reached through this host.
    #[must_use]
    pub fn routes_to(&self, ip: IpAddr) -> bool {
        let _ = ip;
        false
    }

    /// Own addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.config.addresses.iter().map(|(ip, _)| *ip)
    }

    pub(crate) fn flow_addresses(&self, _id: FlowId) -> (SocketAddr, SocketAddr) {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        (any, any)
    }
}
