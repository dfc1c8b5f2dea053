//! What a host tells its owner, and the names of flows and listeners.

use std::fmt;

use crate::udp::{UdpEvent, UdpId};

/// A flow of a [`Host`](crate::Host). Never used again for another flow of the same host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl FlowId {
    /// The id as one number, for tables and poll tokens of the owner.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of [`to_u64`](FlowId::to_u64).
    #[must_use]
    pub fn from_u64(id: u64) -> FlowId {
        FlowId {
            index: id as u32,
            generation: (id >> 32) as u32,
        }
    }
}

impl fmt::Debug for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flow {}.{}", self.index, self.generation)
    }
}

/// A listener of a [`Host`](crate::Host). Never used again for another listener of the same host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub(crate) u64);

/// Something that the owner of a host must know.
///
/// `Readable` and `Writable` are edges: each comes once for new bytes or new room, and again only when more came after
/// the event was taken. Flow ids stay valid until the owner calls [`close`](crate::FlowRef::close) or
/// [`abort`](crate::FlowRef::abort), after every event, the last ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// A peer finished the handshake with a listener.
    Accepted {
        /// The listener that was called.
        listener: ListenerId,
        /// The new flow.
        flow: FlowId,
    },
    /// A flow made by [`connect`](crate::Host::connect) is established.
    Connected(FlowId),
    /// A flow made by [`connect`](crate::Host::connect) will not be established.
    ConnectFailed(FlowId, ConnectFailure),
    /// Bytes arrived.
    Readable(FlowId),
    /// A send ring that was full has room again.
    Writable(FlowId),
    /// The peer finished sending; what it sent before may still wait to be read.
    RemoteFinished(FlowId),
    /// An established flow ended without a FIN of both sides; received bytes may still be read.
    Reset(FlowId, ResetReason),
    /// Both directions are finished and acknowledged.
    Closed(FlowId),
    /// A UDP socket has something to tell.
    Udp(UdpId, UdpEvent),
    /// [`multicast_groups`](crate::Host::multicast_groups) changed.
    GroupsChanged,
}

/// Why a connection could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The peer answered with a reset, or said that the port is unreachable: ECONNREFUSED.
    Refused,
    /// Nobody answered for the next hop, or a router said so: EHOSTUNREACH.
    Unreachable,
    /// The next hop is there and silent: ETIMEDOUT.
    TimedOut,
}

/// Why an established flow ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// The peer sent a reset: ECONNRESET.
    Peer,
    /// Retransmissions or keep-alive probes stayed unanswered: ETIMEDOUT.
    TimedOut,
    /// The own address was taken away.
    AddressGone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_id_survives_as_a_number() {
        let id = FlowId {
            index: 7,
            generation: u32::MAX,
        };
        assert_eq!(FlowId::from_u64(id.to_u64()), id);
    }
}
