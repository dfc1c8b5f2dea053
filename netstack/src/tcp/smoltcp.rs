//! [`Tcp`] by smoltcp: one `SocketSet` a connection, one `Interface` for all, and cures for what it does not do well.
//!
//! | smoltcp | cure |
//! |---|---|
//! | searches every socket for every packet | the host finds the flow; the set it polls has one member |
//! | rounds the window down to `1 << scale`, which moves its right edge back and cuts bytes that the peer may send | every window field but that of a SYN is sent one smaller |
//! | delays the ACK of the first super-segment | full segments are acknowledged in the next [`Tcp::transmit`], small ones wait [`ACK_DELAY`] for an answer to ride on |
//! | never retransmits before one second, measures in milliseconds | its clock runs faster than ours once a connection is open ([`clock`](super::clock)) |
//! | repairs one loss a window, opens its window by one segment an acknowledgement | it is shown other acknowledgements ([`recovery`]) |
//! | without Nagle it sends whatever bit the window leaves | Nagle is off only while less than a segment is queued |
//! | drops an old segment with its acknowledgement, so that two ends that repeat themselves never end | is shown the acknowledgement apart |
//! | drops super-segments on IPv6 | none are asked for |

mod device;
mod shared;

pub(crate) use shared::Shared;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};

use self::device::{Port, Sent};
use self::shared::MAX_PACKET;
use super::recovery::{self, Recovery, Showing};
use super::{Due, Numbers, Phase, Reach, Tally, Tcp};
use crate::burst::Burst;
use crate::memory::Leased;
use crate::packet::{ACK, FIN, IpPacket, RST, SYN, Segment};
use crate::tcp::clock::Clock;
use crate::time::Instant;

type SmolInstant = smoltcp::time::Instant;

/// How long the acknowledgement of less than a segment waits for data to ride on.
const ACK_DELAY: Duration = Duration::from_millis(2);
/// Bytes through a ring after which its pages are worth giving back at the end.
const SPENT: u64 = 64 << 10;

/// One connection.
pub(crate) struct Connection {
    leased: Leased,
    clock: Clock,
    handshake: Handshake,
    /// Shift of the windows that this side sends; 0 once the peer turned scaling down.
    window_shift: u8,
    /// Shift of the windows that the peer sends.
    peer_scale: u8,
    segment: usize,
    recovery: Recovery,
    numbers: Numbers,
    received: Received,
    ack: AckTiming,
    nodelay: bool,
    /// Bytes that went through the rings since they were last given back.
    moved: u64,
    tally: Tally,
}

/// Times the handshake.
#[derive(Default)]
struct Handshake {
    /// When the SYN, or the answer to one, was sent.
    sent: Option<Instant>,
    /// It was sent again: no way to know which of them was answered.
    repeated: bool,
    took: Option<Duration>,
}

/// What arrived, to know whether bytes wait behind a hole.
#[derive(Default)]
struct Received {
    /// End of the bytes without a hole.
    contiguous: u32,
    /// End of the last byte seen.
    highest: u32,
}

/// How the bytes received since the last packet sent are to be acknowledged.
#[derive(Default, PartialEq)]
enum AckTiming {
    #[default]
    Idle,
    /// Less than a segment: smoltcp's delay runs.
    Delayed,
    /// A full segment: with the next transmit.
    Now,
}

impl Connection {
    fn open(shared: &Shared, reach: Reach) -> io::Result<Connection> {
        let rings = shared.rings(reach);
        let leased = Leased::new(&rings.arena, rings.receive, |receive, send| {
            let send_len = rings.send.min(send.len());
            let mut socket = Socket::new(
                SocketBuffer::new(receive),
                SocketBuffer::new(&mut send[..send_len]),
            );
            socket.set_ack_delay(None);
            let mut sockets = SocketSet::new(Vec::with_capacity(1));
            sockets.add(socket);
            sockets
        })?;
        Ok(Connection {
            leased,
            clock: Clock::new(),
            handshake: Handshake::default(),
            window_shift: rings.window_shift(),
            peer_scale: 0,
            segment: 0,
            recovery: Recovery::default(),
            numbers: Numbers::default(),
            received: Received::default(),
            ack: AckTiming::default(),
            nodelay: false,
            moved: 0,
            tally: Tally::default(),
        })
    }

    fn socket<R>(&mut self, f: impl for<'a> FnOnce(&mut Socket<'a>) -> R) -> R {
        self.leased
            .with(|sockets| f(sockets.get_mut(SocketHandle::default())))
    }

    fn socket_ref<R>(&self, f: impl for<'a> FnOnce(&Socket<'a>) -> R) -> R {
        self.leased
            .with_ref(|sockets| f(sockets.get(SocketHandle::default())))
    }

    /// The packet that smoltcp left in the scratch buffer, made fit for the wire.
    fn outgoing<'s>(
        &mut self,
        now: Instant,
        scratch: &'s mut [u8],
        sent: &Sent,
    ) -> Option<Burst<'s>> {
        let packet = scratch.get_mut(..sent.len)?;
        let ip_len = if packet.first()? >> 4 == 4 { 20 } else { 40 };
        let segment = Segment::parse(packet.get(ip_len..)?).ok()?;
        let window = packet.get_mut(ip_len + 14..ip_len + 16)?;
        let mut field = u16::from_be_bytes([window[0], window[1]]);
        if !segment.has(SYN) && self.window_shift > 0 {
            field = field.saturating_sub(1);
            window.copy_from_slice(&field.to_be_bytes());
        }
        if segment.has(SYN) {
            self.handshake.repeated |= self.handshake.sent.replace(now).is_some();
        }
        if segment.payload_len > 0 {
            self.recovery.sent(segment.sequence, self.numbers.send);
        }
        let end = segment.sequence.wrapping_add(segment.sequence_len());
        // A retransmission or a keep-alive probe lies behind what was sent before.
        let is_new =
            self.numbers == Numbers::default() || end.wrapping_sub(self.numbers.send) as i32 > 0;
        if is_new {
            self.numbers.send = end;
        }
        if segment.has(ACK) && !segment.has(RST) {
            self.numbers.receive = segment.acknowledgement;
            self.numbers.window = field;
        }
        self.ack = AckTiming::Idle;
        let size = sent
            .segment
            .map_or(MAX_PACKET, |size| usize::from(size.get()));
        let burst = Burst::new(packet, size)?;
        let packets = u32::try_from(burst.count()).unwrap_or(u32::MAX);
        let tally = &mut self.tally;
        tally.segments_out = tally.segments_out.wrapping_add(packets);
        if segment.payload_len > 0 {
            tally.data_segments_out = tally.data_segments_out.wrapping_add(packets);
            if !is_new {
                tally.repeated = tally.repeated.wrapping_add(packets);
            }
        }
        Some(burst)
    }

    /// Learns from the SYN of the peer.
    fn note_syn(&mut self, limit: usize, segment: &Segment) {
        match segment.window_scale {
            Some(scale) => self.peer_scale = scale,
            None => self.window_shift = 0,
        }
        // RFC 9293 §3.7.1: 536 where the peer says nothing. The lower bound is smoltcp's.
        let peer = segment
            .max_segment
            .filter(|size| *size != 0)
            .map_or(536, |size| usize::from(size).max(48));
        self.segment = limit.min(peer);
        let first = segment.sequence.wrapping_add(1);
        self.received = Received {
            contiguous: first,
            highest: first,
        };
    }

    /// Chooses how smoltcp is to acknowledge this segment.
    fn time_ack(&mut self, segment: &Segment) {
        let small =
            segment.payload_len > 0 && segment.payload_len < self.segment && !segment.has(FIN);
        self.ack = match (&self.ack, small) {
            // Once the delay runs, only smoltcp's own rule (more than a segment) ends it early.
            (AckTiming::Delayed, _) | (AckTiming::Idle, true) => AckTiming::Delayed,
            (AckTiming::Now, _) => AckTiming::Now,
            (AckTiming::Idle, false) if segment.payload_len > 0 => AckTiming::Now,
            (AckTiming::Idle, false) => AckTiming::Idle,
        };
        let delay = (self.ack == AckTiming::Delayed).then(|| self.clock.span(ACK_DELAY));
        self.socket(|socket| socket.set_ack_delay(delay));
    }

    /// Shows smoltcp a segment in the way that [`recovery`] advises.
    fn show(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        packet: &[u8],
        segment: &Segment,
        reply: impl FnOnce(&Burst<'_>),
    ) {
        let sent = self.numbers.send;
        let in_flight = self.recovery.in_flight(sent) as usize;
        let Showing::Whole { newly, provoke } = self.recovery.received(segment, sent) else {
            return;
        };
        let mut buffer = [0; 100];
        let number = segment.acknowledgement;
        // An old segment is dropped with its acknowledgement. Two ends that both repeat what the other has would then
        // never hear of it: what is sent at a number below what was sent before is old at the other end.
        let expected = self.expected();
        let end = segment.sequence.wrapping_add(segment.sequence_len());
        let is_old = segment.sequence != expected && expected.wrapping_sub(end) as i32 >= 0;
        let at = if is_old { expected } else { segment.sequence };
        if newly as usize > self.segment {
            let window = usize::from(segment.window) << self.peer_scale;
            // More is queued than under way, and the peer would take it: the congestion window is what holds it.
            if self.send_queue() > in_flight && in_flight + self.segment < window + newly as usize {
                for step in recovery::steps(number, newly, self.segment as u32) {
                    if let Some(bare) =
                        recovery::bare_acknowledgement(packet, at, step, &mut buffer)
                    {
                        self.poll(shared, now, Some(bare), |_| ());
                    }
                }
            }
        }
        if is_old
            && newly > 0
            && let Some(bare) = recovery::bare_acknowledgement(packet, at, number, &mut buffer)
        {
            self.poll(shared, now, Some(bare), |_| ());
        }
        self.poll(shared, now, Some(packet), reply);
        if provoke
            && let Some(bare) = recovery::bare_acknowledgement(packet, at, number, &mut buffer)
        {
            for _ in 0..3 {
                self.poll(shared, now, Some(bare), |_| ());
            }
        }
    }

    /// The number that the next new segment of the peer has.
    fn expected(&self) -> u32 {
        let finished = matches!(
            self.phase(),
            Phase::RemoteFinished | Phase::Closing | Phase::TimeWait
        );
        self.received.contiguous.wrapping_add(u32::from(finished))
    }

    fn poll(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        packet: Option<&[u8]>,
        emit: impl FnOnce(&Burst<'_>),
    ) -> bool {
        let Shared {
            interface,
            capabilities,
            scratch,
            ..
        } = shared;
        let at = self.clock.at(now);
        let receiving = packet.is_some();
        let mut port = Port::new(capabilities, packet, scratch);
        self.leased.with(|sockets| {
            if receiving {
                interface.poll_ingress_single(at, &mut port, sockets);
            } else {
                interface.poll_egress(at, &mut port, sockets);
            }
        });
        let Some(sent) = port.sent.take() else {
            return false;
        };
        if let Some(burst) = self.outgoing(now, scratch, &sent) {
            emit(&burst);
        }
        true
    }
}

impl Tcp for Connection {
    type Shared = Shared;

    fn connect(
        shared: &mut Shared,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        reach: Reach,
    ) -> io::Result<Connection> {
        let mut connection = Connection::open(shared, reach)?;
        connection.clock.start(now);
        connection.segment = shared.segment_limit(local);
        connection
            .socket(|socket| {
                socket.connect(shared.interface.context(), IpEndpoint::from(remote), local)
            })
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(connection)
    }

    fn accept(
        shared: &mut Shared,
        now: Instant,
        local: SocketAddr,
        reach: Reach,
    ) -> io::Result<Connection> {
        let mut connection = Connection::open(shared, reach)?;
        connection.clock.start(now);
        let endpoint = IpListenEndpoint {
            addr: Some(local.ip().into()),
            port: local.port(),
        };
        connection
            .socket(|socket| socket.listen(endpoint))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(connection)
    }

    fn receive(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        packet: &IpPacket<'_>,
        segment: &Segment,
        reply: impl FnOnce(&Burst<'_>),
    ) {
        let handshake = matches!(self.phase(), Phase::Handshake | Phase::Closed);
        if handshake && segment.has(SYN) {
            let limit = shared.segment_limit(SocketAddr::new(packet.dst, segment.dst_port));
            self.note_syn(limit, segment);
        }
        self.time_ack(segment);
        let before = self.recv_queue();
        self.show(shared, now, packet.bytes, segment, reply);
        let arrived = self.recv_queue().saturating_sub(before);
        self.moved += arrived as u64;
        self.tally.received += arrived as u64;
        self.tally.segments_in = self.tally.segments_in.wrapping_add(1);
        if segment.payload_len > 0 {
            self.tally.data_segments_in = self.tally.data_segments_in.wrapping_add(1);
        }
        self.received.contiguous = self.received.contiguous.wrapping_add(arrived as u32);
        if segment.payload_len > 0 && !segment.has(RST) {
            let end = segment.sequence.wrapping_add(segment.payload_len as u32);
            if end.wrapping_sub(self.received.highest) as i32 > 0 {
                self.received.highest = end;
            }
        }
        if handshake && self.phase() == Phase::Open {
            let sent = self.handshake.sent.filter(|_| !self.handshake.repeated);
            self.handshake.took = sent.map(|sent| now.saturating_since(sent));
            self.clock.open(now, self.handshake.took);
        }
    }

    fn transmit(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        send: impl FnOnce(&Burst<'_>),
    ) -> bool {
        if self.nodelay {
            let nagle = self.send_queue() >= self.segment;
            self.socket(|socket| socket.set_nagle_enabled(nagle));
        }
        self.poll(shared, now, None, send)
    }

    fn due(&self, shared: &mut Shared, now: Instant) -> Due {
        let at = self.clock.at(now);
        match self
            .leased
            .with_ref(|sockets| shared.interface.poll_at(at, sockets))
        {
            None => Due::Never,
            // The end of smoltcp's TIME-WAIT forgets bytes that nobody has read yet; the host keeps its own. What is
            // left is the last acknowledgement.
            Some(then)
                if self.phase() == Phase::TimeWait
                    && then != SmolInstant::ZERO
                    && self.ack != AckTiming::Delayed =>
            {
                Due::Never
            }
            Some(then) if then <= at => Due::Now,
            Some(then) => Due::At(self.clock.real(then)),
        }
    }

    fn round_trip(&self) -> Option<Duration> {
        self.handshake.took
    }

    fn phase(&self) -> Phase {
        match self.socket_ref(|socket| socket.state()) {
            State::SynSent | State::SynReceived => Phase::Handshake,
            State::Established => Phase::Open,
            State::CloseWait => Phase::RemoteFinished,
            State::FinWait1 => Phase::LocalFinishing,
            State::FinWait2 => Phase::LocalFinished,
            State::Closing | State::LastAck => Phase::Closing,
            State::TimeWait => Phase::TimeWait,
            // A reset sends a passive handshake back to LISTEN; here nobody listens twice.
            State::Closed | State::Listen => Phase::Closed,
        }
    }

    fn numbers(&self) -> Numbers {
        self.numbers
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn segment_size(&self) -> usize {
        self.segment
    }

    fn send_with(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        if self.send_room() == 0 {
            return 0;
        }
        let filled = self.socket(|socket| {
            socket.send(|room| {
                let filled = fill(room);
                (filled, filled)
            })
        });
        let filled = filled.unwrap_or(0);
        self.moved += filled as u64;
        self.tally.written += filled as u64;
        filled
    }

    fn send_room(&self) -> usize {
        self.socket_ref(|socket| {
            if socket.may_send() {
                socket.send_capacity() - socket.send_queue()
            } else {
                0
            }
        })
    }

    fn send_queue(&self) -> usize {
        self.socket_ref(|socket| socket.send_queue())
    }

    fn send_capacity(&self) -> usize {
        self.socket_ref(|socket| socket.send_capacity())
    }

    fn recv_with(&mut self, take: impl FnOnce(&[u8]) -> usize) -> usize {
        if self.recv_queue() == 0 {
            return 0;
        }
        let taken = self.socket(|socket| {
            socket.recv(|bytes| {
                let taken = take(bytes);
                (taken, taken)
            })
        });
        taken.unwrap_or(0)
    }

    fn recv_queue(&self) -> usize {
        self.socket_ref(|socket| socket.recv_queue())
    }

    fn finish(&mut self) {
        self.socket(|socket| socket.close());
    }

    fn abort(&mut self) {
        self.socket(|socket| socket.abort());
    }

    fn set_nodelay(&mut self, on: bool) {
        self.nodelay = on;
        self.socket(|socket| socket.set_nagle_enabled(!on));
    }

    fn set_keepalive(&mut self, interval: Option<Duration>) {
        let interval = interval.map(|interval| self.clock.span(interval));
        self.socket(|socket| socket.set_keep_alive(interval));
    }

    fn is_used(&self) -> bool {
        self.moved > 0
    }

    fn trim(&mut self) -> bool {
        let hole = self.received.highest.wrapping_sub(self.received.contiguous) as i32 > 0;
        if hole || self.send_queue() > 0 || self.recv_queue() > 0 {
            return false;
        }
        self.leased.give_back();
        self.moved = 0;
        true
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leased.set_spent(self.moved > SPENT);
    }
}
