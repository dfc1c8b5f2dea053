//! One TCP connection as the owner of a host sees it.

use std::net::SocketAddr;

use crate::config::KeepAlive;
use crate::event::FlowId;
use crate::host::Host;

/// A flow, borrowed from its host.
pub struct FlowRef<'a> {
    pub(crate) host: &'a mut Host,
    pub(crate) id: FlowId,
}

/// How far a flow is, in few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// The handshake is not complete.
    Connecting,
    /// Bytes may flow in both directions.
    Open,
    /// The peer finished sending.
    RemoteFinished,
    /// This side finished sending.
    LocalFinished,
    /// Both sides finished, or the flow was reset, or never came to be.
    Closed,
}

/// What there is to know about a flow, for diagnostics and options such as TCP_INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowInfo {
    /// How far the flow is.
    pub state: FlowState,
    /// Bytes that wait for the network or for an acknowledgement.
    pub send_queue: usize,
    /// Bytes that wait to be read.
    pub recv_queue: usize,
    /// Largest TCP payload of a packet.
    pub segment: usize,
}

impl FlowRef<'_> {
    /// The name of this flow.
    #[must_use]
    pub fn id(&self) -> FlowId {
        self.id
    }

    /// Own address and port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.host.flow_addresses(self.id).0
    }

    /// Address and port of the peer.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.host.flow_addresses(self.id).1
    }

    /// Lends the free part of the send ring up to its end; `fill` returns how much it wrote. Returns the same number;
    /// 0 without calling `fill` when there is no room or sending is over. Because the ring wraps, a second call may
    /// find more room.
    pub fn send_with(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let _ = fill;
        0
    }

    /// Free bytes of the send ring; 0 if sending is over.
    #[must_use]
    pub fn send_room(&self) -> usize {
        0
    }

    /// Lends the received bytes up to the end of the ring; `take` returns how many it used. Returns the same number;
    /// 0 without calling `take` when there are none. Because the ring wraps, a second call may find more.
    pub fn recv_with(&mut self, take: impl FnOnce(&[u8]) -> usize) -> usize {
        let _ = take;
        0
    }

    /// Received bytes that wait to be read.
    #[must_use]
    pub fn recv_len(&self) -> usize {
        0
    }

    /// Whether the peer finished sending and everything was read.
    #[must_use]
    pub fn at_end(&self) -> bool {
        false
    }

    /// Finishes sending: FIN after what is queued. Receiving goes on.
    pub fn finish(&mut self) {}

    /// Sends small pieces at once (TCP_NODELAY) instead of waiting for the acknowledgement of earlier ones.
    pub fn set_nodelay(&mut self, on: bool) {
        let _ = on;
    }

    /// Probes a silent peer, or stops doing so.
    pub fn set_keepalive(&mut self, keepalive: Option<KeepAlive>) {
        let _ = keepalive;
    }

    /// A snapshot of the flow.
    #[must_use]
    pub fn info(&self) -> FlowInfo {
        FlowInfo { state: FlowState::Closed, send_queue: 0, recv_queue: 0, segment: 0 }
    }

    /// Gives the flow up in good order, as `close()` does: what is queued is still sent, then FIN. If received bytes
    /// were not read, the peer gets a reset. The id is void from here on.
    pub fn close(self) {}

    /// Gives the flow up at once with a reset. The id is void from here on.
    pub fn abort(self) {}
}
