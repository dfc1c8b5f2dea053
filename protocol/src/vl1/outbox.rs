//! Sealed datagrams on their way to the sockets, grouped so that the kernel can send many with
//! one call.
//!
//! A packet is built, sealed and cut into fragments where it will be sent from. Datagrams of one
//! size for one destination lie side by side in one [`Transmit`]; only the last may be shorter.
//! Fragments are cut *equal* (a receiver joins them by number, VL1 §2.7), so they group, too. To
//! make room for a fragment's header the bytes before it move up by sixteen: the packet was built
//! that much too far back.
//!
//! The outbox has no keys and knows no peers.

use super::LocalSocket;
use crate::Emit;
use crate::packet::fragment::{self, Plan};
use crate::packet::{Header, PHYSICAL_MTU};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Datagrams that one system call may carry (`UDP_MAX_SEGMENTS` of older kernels).
const MAX_SEGMENTS: usize = 64;
/// Bytes that one system call may carry: the largest UDP payload over IPv4.
const MAX_BATCH: usize = 65_507;
/// One buffer; several batches fit. So large that the allocator maps it untouched.
const CHUNK: usize = 256 << 10;
/// Buffers kept for the next batches.
const MAX_SPARE: usize = 2;
/// Above this the owner is asked to stop producing.
const HIGH_WATER: usize = 512 << 10;
/// Above this even single packets are refused.
const HARD_LIMIT: usize = 4 << 20;

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The socket to send from; every socket if `None`.
    pub(super) local: Option<LocalSocket>,
    pub(super) remote: SocketAddr,
    /// For the junk that opens a NAT without reaching the other side.
    pub(super) ttl: Option<u8>,
}

/// Datagrams for one destination, to be sent with one call.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// The socket to send from; every socket of the address family if `None`.
    pub local: Option<LocalSocket>,
    /// The destination.
    pub remote: SocketAddr,
    /// The datagrams, one after the other.
    pub payload: &'a [u8],
    /// Length of every datagram but the last, which may be shorter.
    pub segment_size: usize,
    /// The IP time to live, if it is not the usual one.
    pub ttl: Option<u8>,
}

impl<'a> Transmit<'a> {
    /// The datagrams one by one, for sockets that cannot cut.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.payload.chunks(self.segment_size)
    }
}

struct Batch {
    target: Target,
    /// Counts the chunks ever opened; which one holds the datagrams.
    chunk: u64,
    start: usize,
    len: usize,
    segment_size: usize,
    segments: usize,
    /// The last datagram was shorter, so nothing may follow it.
    closed: bool,
}

/// Batches in order, in a queue of reusable buffers.
pub(super) struct Outbox {
    chunks: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    /// Number of the first of `chunks`.
    first_chunk: u64,
    /// Where the last chunk is free.
    tail: usize,
    batches: VecDeque<Batch>,
    queued: usize,
    datagrams: u64,
    bytes: u64,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Outbox {
            chunks: VecDeque::new(),
            spare: Vec::new(),
            first_chunk: 0,
            tail: 0,
            batches: VecDeque::new(),
            queued: 0,
            datagrams: 0,
            bytes: 0,
        }
    }

    /// Whether producers should wait until batches have been sent.
    pub(super) fn congested(&self) -> bool {
        self.queued >= HIGH_WATER
    }

    /// Datagrams and bytes that were ever queued.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.datagrams, self.bytes)
    }

    /// Room for a packet of `len` bytes, to be filled and sealed in place before
    /// [`commit`](Self::commit). `None` if the bound is reached.
    pub(super) fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        let headroom = headroom(&Plan::new(len, PHYSICAL_MTU)?);
        let start = self.room_for(headroom + len)? + headroom;
        self.chunks.back_mut()?.get_mut(start..start + len)
    }

    /// Queues the packet of `len` bytes that lies in the room reserved last.
    pub(super) fn commit(&mut self, target: Target, len: usize) {
        let Some(plan) = Plan::new(len, PHYSICAL_MTU) else {
            return;
        };
        let wire_len = headroom(&plan) + len;
        let start = self.tail;
        let Some(wire) = self
            .chunks
            .back_mut()
            .and_then(|c| c.get_mut(start..start + wire_len))
        else {
            return;
        };
        cut(wire, &plan);
        self.push(target, wire_len, plan.datagram_len(), plan.parts());
    }

    /// Queues one datagram as it is.
    pub(super) fn datagram(&mut self, target: Target, datagram: &[u8]) -> bool {
        let Some(start) = self.room_for(datagram.len()) else {
            return false;
        };
        let room = self
            .chunks
            .back_mut()
            .and_then(|c| c.get_mut(start..start + datagram.len()));
        let Some(room) = room else {
            return false;
        };
        room.copy_from_slice(datagram);
        self.push(target, datagram.len(), datagram.len(), 1);
        true
    }

    /// The batch at the front of the queue; it stays there.
    pub(super) fn front(&self) -> Option<Transmit<'_>> {
        let batch = self.batches.front()?;
        let chunk = self.chunks.get((batch.chunk - self.first_chunk) as usize)?;
        Some(Transmit {
            local: batch.target.local,
            remote: batch.target.remote,
            payload: chunk.get(batch.start..batch.start + batch.len)?,
            segment_size: batch.segment_size,
            ttl: batch.target.ttl,
        })
    }

    /// Forgets the batch at the front: it was sent.
    pub(super) fn pop(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.queued -= batch.len;
        }
        let in_use = self
            .batches
            .front()
            .map_or(self.last_chunk(), |batch| batch.chunk);
        while self.first_chunk < in_use && self.chunks.len() > 1 {
            let chunk = self.chunks.pop_front();
            self.spare
                .extend(chunk.filter(|_| self.spare.len() < MAX_SPARE));
            self.first_chunk += 1;
        }
        if self.batches.is_empty() {
            // Begin again where the cache is warm.
            self.tail = 0;
        }
    }

    /// Gives memory back, if nothing is queued.
    pub(super) fn trim(&mut self) {
        if self.batches.is_empty() {
            self.chunks.clear();
            self.spare.clear();
        }
    }

    fn last_chunk(&self) -> u64 {
        self.first_chunk + (self.chunks.len() as u64).saturating_sub(1)
    }

    /// Makes sure that the last chunk has `len` bytes left, and returns where.
    fn room_for(&mut self, len: usize) -> Option<usize> {
        if self.queued + len > HARD_LIMIT || len > CHUNK {
            return None;
        }
        if self
            .chunks
            .back()
            .is_none_or(|chunk| chunk.len() - self.tail < len)
        {
            self.chunks
                .push_back(self.spare.pop().unwrap_or_else(|| vec![0; CHUNK]));
            self.tail = 0;
        }
        Some(self.tail)
    }

    fn push(&mut self, target: Target, len: usize, segment_size: usize, segments: usize) {
        let (start, chunk) = (self.tail, self.last_chunk());
        self.tail += len;
        self.queued += len;
        self.datagrams += segments as u64;
        self.bytes += len as u64;
        let even = len == segment_size * segments;
        if let Some(last) = self.batches.back_mut()
            && last.accepts(&target, chunk, len, segment_size, segments)
        {
            last.len += len;
            last.segments += segments;
            last.closed = !even || segment_size < last.segment_size;
            return;
        }
        self.batches.push_back(Batch {
            target,
            chunk,
            start,
            len,
            segment_size,
            segments,
            closed: !even,
        });
    }
}

impl Batch {
    fn accepts(&self, target: &Target, chunk: u64, len: usize, size: usize, count: usize) -> bool {
        !self.closed
            && self.chunk == chunk
            && (size == self.segment_size || size < self.segment_size && count == 1)
            && self.segments + count <= MAX_SEGMENTS
            && self.len + len <= MAX_BATCH
            && self.target == *target
    }
}

/// Bytes that the headers of a packet's fragments need.
fn headroom(plan: &Plan) -> usize {
    fragment::HEADER_LEN * (plan.parts() - 1)
}

/// Cuts the packet at the end of `wire` into datagrams that fill `wire`.
fn cut(wire: &mut [u8], plan: &Plan) {
    let packet = headroom(plan);
    if packet == 0 {
        return;
    }
    let Ok(Header {
        id, destination, ..
    }) = Header::parse(&wire[packet..])
    else {
        return;
    };
    let total = plan.parts() as u8;
    shift_forward(wire, packet, plan.datagram_len());
    for number in 1..total {
        let at = usize::from(number) * plan.datagram_len();
        let data = plan.range(usize::from(number));
        let room = &mut wire[at..packet + data.end];
        let offset = packet + data.start - at - fragment::HEADER_LEN;
        shift_forward(&mut room[fragment::HEADER_LEN..], offset, data.len());
        fragment::Header {
            id,
            destination,
            total,
            number,
            hops: 0,
        }
        .emit(room);
    }
}

/// Moves `len` bytes from `offset` to the front of `bytes`. The C library's `memmove` is slow for
/// such near overlaps on some systems.
fn shift_forward(bytes: &mut [u8], offset: usize, len: usize) {
    const BLOCK: usize = 64;
    if offset == 0 {
        return;
    }
    let mut at = 0;
    while at + BLOCK <= len {
        let mut block = [0; BLOCK];
        block.copy_from_slice(&bytes[at + offset..at + offset + BLOCK]);
        bytes[at..at + BLOCK].copy_from_slice(&block);
        at += BLOCK;
    }
    bytes.copy_within(at + offset..len + offset, at);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: &str = "10.0.0.1:9993";

    fn target(remote: &str) -> Target {
        Target {
            local: Some(LocalSocket(0)),
            remote: remote.parse().unwrap(),
            ttl: None,
        }
    }

    fn packet(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 251 + seed) as u8).collect()
    }

    fn send(outbox: &mut Outbox, to: &str, len: usize) {
        let bytes = packet(len, 0);
        outbox.reserve(len).unwrap().copy_from_slice(&bytes);
        outbox.commit(target(to), len);
    }

    fn drain(outbox: &mut Outbox) -> Vec<(usize, usize)> {
        let mut batches = Vec::new();
        while let Some(transmit) = outbox.front() {
            batches.push((transmit.segment_size, transmit.payload.len()));
            outbox.pop();
        }
        batches
    }

    #[test]
    fn fragments_are_equal_and_join_to_the_packet() {
        for len in [
            28, 1432, 1433, 2838, 2839, 2848, 2849, 4000, 9000, 9927, 9928,
        ] {
            let mut outbox = Outbox::new();
            send(&mut outbox, TO, len);
            let original = packet(len, 0);
            let transmit = outbox.front().unwrap();
            let datagrams: Vec<_> = transmit.datagrams().collect();
            let mut joined = datagrams[0].to_vec();
            for (number, fragment) in datagrams.iter().enumerate().skip(1) {
                assert_eq!(fragment[..13], original[..13]);
                assert_eq!(fragment[13], 0xff);
                assert_eq!(fragment[14], (datagrams.len() << 4 | number) as u8);
                assert_eq!(fragment[15], 0);
                joined.extend_from_slice(&fragment[16..]);
            }
            assert_eq!(joined, original, "{len}");
            let longest = datagrams.iter().map(|d| d.len()).max().unwrap();
            let shortest = datagrams.iter().map(|d| d.len()).min().unwrap();
            assert!(longest <= PHYSICAL_MTU && longest - shortest < 7, "{len}");
        }
    }

    #[test]
    fn equal_packets_for_one_destination_share_a_batch() {
        let mut outbox = Outbox::new();
        for _ in 0..22 {
            send(&mut outbox, TO, 2838);
        }
        send(&mut outbox, TO, 100);
        send(&mut outbox, TO, 100);
        assert_eq!(drain(&mut outbox), [(1427, 22 * 2854 + 100), (100, 100)]);
    }

    #[test]
    fn another_destination_size_or_time_to_live_closes_a_batch() {
        let mut outbox = Outbox::new();
        send(&mut outbox, TO, 500);
        send(&mut outbox, "10.0.0.2:9993", 500);
        send(&mut outbox, TO, 500);
        send(&mut outbox, TO, 600);
        send(&mut outbox, TO, 2837);
        send(&mut outbox, TO, 2837);
        outbox.datagram(
            Target {
                ttl: Some(2),
                ..target(TO)
            },
            b"junk",
        );
        let expected = [
            (500, 500),
            (500, 500),
            (500, 500),
            (600, 600),
            (1427, 2853),
            (1427, 2853),
            (4, 4),
        ];
        assert_eq!(drain(&mut outbox), expected);
    }

    #[test]
    fn a_batch_stays_within_one_system_call() {
        let mut outbox = Outbox::new();
        for _ in 0..200 {
            send(&mut outbox, TO, 1432);
        }
        for (size, len) in drain(&mut outbox) {
            assert!(len <= MAX_BATCH && len / size <= MAX_SEGMENTS);
        }
    }

    #[test]
    fn memory_is_bounded_and_reused() {
        let mut outbox = Outbox::new();
        let mut accepted = 0;
        while outbox.reserve(1400).is_some() {
            send(&mut outbox, TO, 1400);
            accepted += 1;
        }
        assert!(outbox.congested());
        assert!(accepted * 1400 <= HARD_LIMIT);
        let sent: usize = drain(&mut outbox).iter().map(|(_, len)| len).sum();
        assert_eq!(sent, accepted * 1400);
        assert_eq!((outbox.queued, outbox.chunks.len(), outbox.tail), (0, 1, 0));
        send(&mut outbox, TO, 1400);
        assert_eq!(outbox.chunks.len(), 1);
    }
}
