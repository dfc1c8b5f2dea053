//! What the host asks of a TCP, and nothing about how it is done.
//!
//! The host knows addresses, neighbours, listeners and timers; a [`Tcp`] knows one connection. Everything that is
//! particular to one implementation stays behind this trait, so that another can take its place.

mod clock;
mod recovery;
mod smoltcp;

pub(crate) use self::smoltcp::{Connection, Shared};

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::burst::Burst;
use crate::packet::{IpPacket, Segment};
use crate::time::Instant;

/// How far a connection is (RFC 9293 §3.3.2, with the states joined that the host treats alike).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// SYN-SENT or SYN-RECEIVED.
    Handshake,
    /// ESTABLISHED.
    Open,
    /// CLOSE-WAIT: the peer finished.
    RemoteFinished,
    /// FIN-WAIT-1: this side finished, the peer has not acknowledged it.
    LocalFinishing,
    /// FIN-WAIT-2: this side finished.
    LocalFinished,
    /// CLOSING or LAST-ACK: both finished, the own FIN is not acknowledged.
    Closing,
    /// TIME-WAIT.
    TimeWait,
    /// CLOSED.
    Closed,
}

/// When a connection wants [`Tcp::transmit`] to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    At(Instant),
    Never,
}

/// How far the peer is, as earlier connections tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// On a LAN, or unknown.
    Near,
    /// So far that more must be under way than a LAN needs.
    Far,
}

/// The numbers that TIME-WAIT and window updates need of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The next sequence number to send.
    pub(crate) send: u32,
    /// The next sequence number expected.
    pub(crate) receive: u32,
    /// The window field as last sent.
    pub(crate) window: u16,
}

/// What went through a connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Payload bytes given to be sent.
    pub written: u64,
    /// Payload bytes that arrived in order.
    pub received: u64,
    /// Packets sent.
    pub segments_out: u32,
    /// Packets received.
    pub segments_in: u32,
    /// Packets with payload sent.
    pub data_segments_out: u32,
    /// Packets with payload received.
    pub data_segments_in: u32,
    /// Packets sent once more.
    pub repeated: u32,
}

/// One TCP connection.
pub(crate) trait Tcp: Sized {
    /// What all connections of a host share.
    type Shared;

    /// An active connection that wants to send its SYN.
    fn connect(
        shared: &mut Self::Shared,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        reach: Reach,
    ) -> io::Result<Self>;

    /// A passive connection that waits for the SYN which [`receive`](Tcp::receive) gets next.
    fn accept(
        shared: &mut Self::Shared,
        now: Instant,
        local: SocketAddr,
        reach: Reach,
    ) -> io::Result<Self>;

    /// Takes a segment of this connection. An answer that must not wait for [`transmit`](Tcp::transmit) goes to `reply`.
    fn receive(
        &mut self,
        shared: &mut Self::Shared,
        now: Instant,
        packet: &IpPacket<'_>,
        segment: &Segment,
        reply: impl FnOnce(&Burst<'_>),
    );

    /// Sends the next packet or super-segment. Returns whether there was one.
    fn transmit(
        &mut self,
        shared: &mut Self::Shared,
        now: Instant,
        send: impl FnOnce(&Burst<'_>),
    ) -> bool;

    /// When [`transmit`](Tcp::transmit) has something to do.
    fn due(&self, shared: &mut Self::Shared, now: Instant) -> Due;

    /// How long the handshake took, unless its SYN was repeated.
    fn round_trip(&self) -> Option<Duration>;
    fn phase(&self) -> Phase;
    fn numbers(&self) -> Numbers;
    fn tally(&self) -> Tally;
    /// Payload bytes of a full packet.
    fn segment_size(&self) -> usize;

    fn send_with(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize;
    fn send_room(&self) -> usize;
    fn send_queue(&self) -> usize;
    fn send_capacity(&self) -> usize;
    fn recv_with(&mut self, take: impl FnOnce(&[u8]) -> usize) -> usize;
    fn recv_queue(&self) -> usize;

    /// FIN after what is queued.
    fn finish(&mut self);
    /// CLOSED; the next [`transmit`](Tcp::transmit) sends the RST.
    fn abort(&mut self);

    fn set_nodelay(&mut self, on: bool);
    /// Probe after this much silence, again and again.
    fn set_keepalive(&mut self, interval: Option<Duration>);

    /// Whether bytes went through the rings since they were last given back.
    fn is_used(&self) -> bool;
    /// Gives the memory of empty rings back. Returns whether it was possible.
    fn trim(&mut self) -> bool;
}
