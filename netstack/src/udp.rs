//! UDP, and ICMP echo, as programs see them: names, options, datagrams and errors. How sockets are found is in [`table`]; what the host does
//! with datagrams is in its own modules.

mod header;
mod ring;
mod table;

pub(crate) use header::{Header, Outgoing};
pub(crate) use ring::Ring;
pub(crate) use table::{Held, Queued, Service, Socket, Table};

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A UDP or echo socket of a [`Host`](crate::Host). Never used again for another socket of the same host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl UdpId {
    /// The id as one number, for tables and poll tokens of the owner.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of [`to_u64`](UdpId::to_u64).
    #[must_use]
    pub fn from_u64(id: u64) -> UdpId {
        UdpId {
            index: id as u32,
            generation: (id >> 32) as u32,
        }
    }
}

impl fmt::Debug for UdpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "udp {}.{}", self.index, self.generation)
    }
}

/// With whom a socket shares its port, as in Linux: both sockets must have said so when they were bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// SO_REUSEADDR: the newest of equal sockets gets what is for one, all of them what is for many.
    pub reuse_address: bool,
    /// SO_REUSEPORT: equal sockets share what is for one by sender.
    pub reuse_port: bool,
}

/// How one datagram is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendOptions {
    /// Hop limit; `None` takes 64, and 1 to a multicast group.
    pub ttl: Option<u8>,
    /// Type of service of IPv4, traffic class of IPv6.
    pub tos: u8,
    /// Whether sockets of this host get what is sent to a group that the host has joined, or to everybody.
    pub loopback: bool,
}

impl Default for SendOptions {
    /// The values of Linux.
    fn default() -> Self {
        SendOptions {
            ttl: None,
            tos: 0,
            loopback: true,
        }
    }
}

/// To how many a datagram was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// To one address of this host.
    Unicast,
    /// To everybody on the link.
    Broadcast,
    /// To a group.
    Multicast,
}

/// A datagram that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// Where it was sent to: an own address, a group, or a broadcast address.
    pub to: SocketAddr,
    /// Hop limit when it arrived.
    pub ttl: u8,
    /// Type of service of IPv4, traffic class of IPv6.
    pub tos: u8,
    /// To how many it was sent.
    pub cast: Cast,
    /// The bytes of the sender, 65,527 at most; for an echo socket the whole ICMP message.
    pub payload: &'a [u8],
}

/// What became of a datagram that was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is gone from the queue.
    Yes,
    /// It stays, and those behind it too.
    Later,
}

/// What a socket has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpEvent {
    /// A datagram arrived. Comes again only when more arrived after the event was taken.
    Readable,
    /// There is room again after a [`WouldBlock`](UdpSendError::WouldBlock).
    Writable,
    /// A datagram did not arrive. Linux tells this to connected sockets, and to others that set IP_RECVERR.
    Failed {
        /// Where it should have gone.
        peer: SocketAddr,
        /// Why it did not.
        failure: UdpFailure,
    },
}

/// Why a datagram did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpFailure {
    /// The peer said that the port is unreachable: ECONNREFUSED.
    Refused,
    /// Nobody answered for the next hop, or a router said so: EHOSTUNREACH.
    Unreachable,
    /// Its hops were used up: EHOSTUNREACH, which Linux tells only to sockets with IP_RECVERR.
    Expired,
}

/// What is known of a datagram that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where it should have gone.
    pub peer: SocketAddr,
    /// Why it did not get there.
    pub failure: UdpFailure,
    /// Type and code of the ICMP message that says so.
    pub message: (u8, u8),
    /// Who sent that message: this host itself if nobody answered for the next hop.
    pub offender: IpAddr,
    /// The beginning of the payload, as far as the message tells it.
    pub payload: Vec<u8>,
}

impl Loss {
    /// Bytes of the payload that are kept at most.
    pub(crate) const PAYLOAD: usize = 128;
}

/// What there is to know about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpInfo {
    /// Own address and port, as getsockname() shows them; for both families the address is `::`.
    pub local: SocketAddr,
    /// The peer, if the socket is connected.
    pub peer: Option<SocketAddr>,
    /// Bytes that wait to be received.
    pub receive_queue: usize,
    /// Bytes that wait to be sent.
    pub send_queue: usize,
    /// Bytes of the next datagram to be received.
    pub next_len: Option<usize>,
    /// Datagrams lost because the receive queue was full.
    pub dropped: u64,
}

/// Why [`Host::udp_bind`](crate::Host::udp_bind) refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UdpBindError {
    /// Another socket has this port and does not share it, or all ports are taken: EADDRINUSE.
    #[error("the port is taken by another socket")]
    AddrInUse,
    /// The address is neither one of the host nor of many: EADDRNOTAVAIL.
    #[error("the address is not an address of this host")]
    AddrNotAvailable,
}

/// Why [`Host::udp_connect`](crate::Host::udp_connect) refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UdpConnectError {
    /// There is no such socket.
    #[error("no such socket")]
    Unknown,
    /// No route leads to the peer: ENETUNREACH.
    #[error("no route to the peer")]
    NoRoute,
    /// The peer has no port or address, or the family that the socket does not have: EINVAL.
    #[error("the peer cannot be connected to")]
    Invalid,
}

/// Why [`Host::udp_send`](crate::Host::udp_send) refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UdpSendError {
    /// There is no such socket.
    #[error("no such socket")]
    Unknown,
    /// No route leads to the destination: ENETUNREACH.
    #[error("no route to the destination")]
    NoRoute,
    /// More than a datagram can carry: EMSGSIZE.
    #[error("the message is too long for a datagram")]
    TooLong,
    /// The send queue is full; [`Writable`](UdpEvent::Writable) follows: EAGAIN.
    #[error("the send queue is full")]
    WouldBlock,
    /// The source address is not one of the host: EADDRNOTAVAIL.
    #[error("the source is not an address of this host")]
    AddrNotAvailable,
    /// The destination has no port or address, or the family that the socket or the source does not have, or the message
    /// of an echo socket is no echo request: EINVAL.
    #[error("the datagram cannot be sent there")]
    Invalid,
}

/// Why [`Host::multicast_join`](crate::Host::multicast_join) or [`multicast_leave`](crate::Host::multicast_leave) refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// There is no such socket.
    #[error("no such socket")]
    Unknown,
    /// The address is no multicast group: EINVAL.
    #[error("the address is not a multicast group")]
    NotAGroup,
    /// The socket is already a member: EADDRINUSE.
    #[error("the socket is a member already")]
    AddrInUse,
    /// The socket is no member: EADDRNOTAVAIL.
    #[error("the socket is not a member")]
    AddrNotAvailable,
    /// The socket is a member of as many groups as it may be: ENOBUFS.
    #[error("the socket is a member of too many groups")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_id_survives_as_a_number() {
        let id = UdpId {
            index: 7,
            generation: u32::MAX,
        };
        assert_eq!(UdpId::from_u64(id.to_u64()), id);
    }
}
