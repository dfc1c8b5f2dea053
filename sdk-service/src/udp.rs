//! The UDP edge: every socket that touches the physical network.
//!
//! Batches in, batches out. Inbound, `recvmmsg` fills a few 64 KiB buffers that the kernel has already
//! coalesced (`UDP_GRO`); outbound, one `sendmsg` carries up to 64 equal datagrams to one destination
//! (`UDP_SEGMENT`). Where a kernel, a device or a path refuses an offload, the same batch leaves as
//! plain datagrams.
//!
//! Sockets are bound to the wildcard address of each family, on a primary and a secondary port. On a
//! host with several addresses a reply must leave from the address that the request was sent to, or
//! the peer would see a different path: each pair of socket and local address is therefore a
//! [`SocketId`] of its own, and sends through it carry the source address (`IP_PKTINFO`).
//!
//! This room knows nothing of the protocol, owns no timer and never blocks.

mod address;
mod control;
mod edge;
pub mod interfaces;
mod receive;
mod send;
mod socket;

pub use edge::{Received, Traffic, UdpEdge};
pub use send::{Outgoing, SendOutcome};
pub use socket::UdpConfig;

/// One way out of this host: a bound socket, on a host with several addresses together with the
/// source address to use. Small and dense; an id never changes its meaning while the edge lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);
