//! One IP host for one virtual network, sans-IO: neighbours, ICMP, TCP and UDP behind five verbs. Beside it, in
//! [`names`], how hosts of the network find each other by name.
//!
//! A [`Host`] takes frames and the time, and gives back frames, events and a deadline. It owns no socket, clock or
//! thread, and knows nothing of the network that carries the frames.
//!
//! One turn of the owner's loop:
//!
//! 1. [`Host::handle_frame`] for every frame of a receive batch, [`Host::handle_timeout`] if the deadline has passed;
//! 2. [`Host::poll_event`] until `None`: [`FlowRef::recv_with`] and [`Host::udp_receive`] what is readable, fill what is
//!    writable;
//! 3. [`Host::poll_transmit`] into the owner's [`FrameSink`]: data, and one acknowledgement a flow for the whole batch;
//! 4. sleep until [`Host::deadline`].
//!
//! Nothing is dropped inside: while the sink is not ready the host keeps what it has, send rings fill up, and
//! [`FlowRef::send_with`] takes no more; nor does [`Host::udp_send`]. Datagrams that nobody receives in time are dropped
//! and counted, as everywhere.

#![deny(unsafe_code)]

mod burst;
mod checksum;
mod config;
mod counters;
mod demux;
mod event;
mod flow;
mod fragment;
mod held;
mod host;
mod icmp;
mod link;
mod listener;
mod memory;
pub mod names;
mod neighbour;
mod packet;
mod reassembly;
mod replies;
mod route;
mod sink;
mod tcp;
mod time;
mod time_wait;
mod timer;
mod udp;

pub use burst::Burst;
pub use config::{Buffers, HostConfig, IpCidr, KeepAlive, ListenAddr, Route};
pub use counters::Counters;
pub use event::{ConnectFailure, FlowId, HostEvent, ListenerId, ResetReason};
pub use flow::{FlowInfo, FlowRef, FlowState};
pub use host::{ConnectError, Host, ListenError};
pub use sink::FrameSink;
pub use tcp::Tally;
pub use time::Instant;
pub use udp::{
    Cast, Datagram, GroupError, Loss, SendOptions, Sharing, Taken, UdpBindError, UdpConnectError,
    UdpEvent, UdpFailure, UdpId, UdpInfo, UdpSendError,
};

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
