//! Joins the datagrams of a fragmented packet (VL1 §2.7).
//!
//! Nothing here is authenticated: a fragment names only a packet id, so memory and time are
//! bounded and the oldest incomplete packet goes first. Parts that arrive in order, which is
//! nearly always, are appended where they belong, and the finished buffer is *swapped* with the
//! caller's: every byte is copied once.

use super::table::{FastMap, Tables};
use crate::{PacketId, Time};
use std::time::Duration;

/// How long a packet may stay incomplete.
pub(super) const LIFETIME: Duration = Duration::from_secs(5);
/// Parts of one packet, the head included: what stock accepts.
pub(super) const MAX_PARTS: usize = 7;
/// Incomplete packets kept at most.
const MAX_PENDING: usize = 1024;
/// Bytes of incomplete packets kept at most.
const MAX_BYTES: usize = 4 << 20;
/// Empty buffers kept for the next packets.
const MAX_SPARE: usize = 32;
/// The largest joined packet, as stock has it.
const MAX_PACKET: usize = 10_024;

/// What became of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The caller's buffer now holds the whole packet.
    Complete,
    /// More parts are awaited.
    Pending,
    /// The same part came before.
    Duplicate,
    /// The part contradicts its number, the other parts or the largest packet.
    Inconsistent,
}

/// One datagram of a fragmented packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    /// The packet that it belongs to.
    pub(super) id: PacketId,
    /// 0 for the head.
    pub(super) number: u8,
    /// How many there are in all; the head does not know.
    pub(super) total: Option<u8>,
    /// The head with its packet header, or what follows a fragment's header.
    pub(super) data: &'a [u8],
}

/// A list by index: `NONE` ends it.
const NONE: u32 = u32::MAX;

struct Pending {
    id: PacketId,
    since: Time,
    total: Option<u8>,
    received: u8,
    /// Where each part lies in `bytes`, which holds them in order of arrival.
    parts: [(u16, u16); MAX_PARTS],
    in_order: bool,
    bytes: Vec<u8>,
    older: u32,
    newer: u32,
}

/// All incomplete packets, linked from the oldest to the newest.
pub(super) struct Reassembly {
    by_id: FastMap<PacketId, u32>,
    slots: Vec<Pending>,
    free: Vec<u32>,
    spare: Vec<Vec<u8>>,
    oldest: u32,
    newest: u32,
    bytes: usize,
    evicted: u64,
}

impl Reassembly {
    pub(super) fn new(tables: &Tables) -> Self {
        Reassembly {
            by_id: tables.map(),
            slots: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            oldest: NONE,
            newest: NONE,
            bytes: 0,
            evicted: 0,
        }
    }

    /// How many packets were given up since this was asked last, for lack of time or of room.
    pub(super) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// When the oldest incomplete packet will have to go.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.slots
            .get(self.oldest as usize)
            .map(|oldest| oldest.since + LIFETIME)
    }

    /// Gives up what is too old.
    pub(super) fn expire(&mut self, now: Time) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            self.evict_oldest();
        }
    }

    /// Adds one part. On [`Outcome::Complete`] the whole packet has taken the place of what
    /// `joined` held.
    pub(super) fn add(&mut self, now: Time, part: Part<'_>, joined: &mut Vec<u8>) -> Outcome {
        let number = usize::from(part.number);
        if !is_consistent(part.number, part.total) {
            return Outcome::Inconsistent;
        }
        let index = match self.by_id.get(&part.id) {
            Some(&index) => index,
            None => self.begin(now, part.id),
        };
        let Some(pending) = self.slots.get_mut(index as usize) else {
            return Outcome::Inconsistent;
        };
        if pending.received & 1 << number != 0 {
            return Outcome::Duplicate;
        }
        let total = part.total.or(pending.total);
        let contradicts = matches!((part.total, pending.total), (Some(a), Some(b)) if a != b)
            || total.is_some_and(|total| pending.received >> total != 0);
        if contradicts || pending.bytes.len() + part.data.len() > MAX_PACKET {
            return Outcome::Inconsistent;
        }
        // Bit n is set for the parts 0..n: in order means that exactly those came before.
        pending.in_order &= u16::from(pending.received) == (1u16 << number) - 1;
        pending.total = total;
        pending.received |= 1 << number;
        pending.parts[number] = (pending.bytes.len() as u16, part.data.len() as u16);
        pending.bytes.extend_from_slice(part.data);
        self.bytes += part.data.len();
        let complete =
            total.is_some_and(|total| u16::from(pending.received) == (1u16 << total) - 1);
        if complete {
            self.finish(index, joined);
            return Outcome::Complete;
        }
        while self.bytes > MAX_BYTES {
            self.evict_oldest();
        }
        Outcome::Pending
    }

    fn begin(&mut self, now: Time, id: PacketId) -> u32 {
        if self.by_id.len() >= MAX_PENDING {
            self.evict_oldest();
        }
        let fresh = Pending {
            id,
            since: now,
            total: None,
            received: 0,
            parts: [(0, 0); MAX_PARTS],
            in_order: true,
            bytes: self.spare.pop().unwrap_or_default(),
            older: self.newest,
            newer: NONE,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = fresh;
                index
            }
            None => {
                self.slots.push(fresh);
                (self.slots.len() - 1) as u32
            }
        };
        match self.slots.get_mut(self.newest as usize) {
            Some(newest) => newest.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
        self.by_id.insert(id, index);
        index
    }

    fn finish(&mut self, index: u32, joined: &mut Vec<u8>) {
        let mut bytes = self.unlink(index);
        let pending = &self.slots[index as usize];
        if pending.in_order {
            std::mem::swap(&mut bytes, joined);
        } else {
            joined.clear();
            let total = usize::from(pending.total.unwrap_or_default());
            for &(start, len) in &pending.parts[..total] {
                let start = usize::from(start);
                joined.extend_from_slice(&bytes[start..start + usize::from(len)]);
            }
        }
        self.keep(bytes);
    }

    fn evict_oldest(&mut self) {
        if self.oldest != NONE {
            let bytes = self.unlink(self.oldest);
            self.keep(bytes);
            self.evicted += 1;
        }
    }

    fn keep(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < MAX_SPARE && buffer.capacity() > 0 {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Takes a packet out of the list and the map, and returns its bytes.
    fn unlink(&mut self, index: u32) -> Vec<u8> {
        let pending = &mut self.slots[index as usize];
        let bytes = std::mem::take(&mut pending.bytes);
        let (id, older, newer) = (pending.id, pending.older, pending.newer);
        self.by_id.remove(&id);
        match self.slots.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        self.free.push(index);
        self.bytes -= bytes.len();
        bytes
    }
}

fn is_consistent(number: u8, total: Option<u8>) -> bool {
    match total {
        None => number == 0,
        Some(total) => (2..=MAX_PARTS as u8).contains(&total) && (1..total).contains(&number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reassembly() -> Reassembly {
        Reassembly::new(&Tables::new([1, 2, 3, 4]))
    }

    fn part(id: u64, number: u8, total: u8, data: &[u8]) -> Part<'_> {
        Part {
            id: PacketId(id),
            number,
            total: (number > 0).then_some(total),
            data,
        }
    }

    #[test]
    fn every_order_of_parts_joins() {
        let parts = [b"head".as_slice(), b"middle", b"end"];
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut reassembly = reassembly();
            let mut joined = b"old".to_vec();
            for (step, &number) in order.iter().enumerate() {
                let part = part(7, number, 3, parts[usize::from(number)]);
                let outcome = reassembly.add(Time(1), part, &mut joined);
                let expected = if step == 2 {
                    Outcome::Complete
                } else {
                    Outcome::Pending
                };
                assert_eq!(outcome, expected, "{order:?}");
            }
            assert_eq!(joined, b"headmiddleend", "{order:?}");
            assert_eq!((reassembly.bytes, reassembly.deadline()), (0, None));
        }
    }

    #[test]
    fn duplicates_and_contradictions_change_nothing() {
        let mut reassembly = reassembly();
        let mut joined = Vec::new();
        let mut add = |part| reassembly.add(Time(1), part, &mut joined);
        assert_eq!(add(part(1, 2, 3, b"c")), Outcome::Pending);
        assert_eq!(add(part(1, 2, 3, b"x")), Outcome::Duplicate);
        assert_eq!(
            add(part(1, 1, 2, b"x")),
            Outcome::Inconsistent,
            "another total"
        );
        assert_eq!(
            add(part(1, 3, 3, b"x")),
            Outcome::Inconsistent,
            "number beyond total"
        );
        assert_eq!(
            add(part(1, 1, 8, b"x")),
            Outcome::Inconsistent,
            "more than seven"
        );
        assert_eq!(add(part(1, 1, 1, b"x")), Outcome::Inconsistent, "alone");
        assert_eq!(
            add(part(1, 0, 3, &[0; 10_024])),
            Outcome::Inconsistent,
            "too long in all"
        );
        assert_eq!(add(part(1, 0, 3, b"a")), Outcome::Pending);
        assert_eq!(add(part(1, 1, 3, b"b")), Outcome::Complete);
        assert_eq!(joined, b"abc");
    }

    #[test]
    fn incomplete_packets_expire_oldest_first() {
        let mut reassembly = reassembly();
        let mut joined = Vec::new();
        for id in 0..3 {
            reassembly.add(Time(1000 * id as i64), part(id, 0, 0, b"head"), &mut joined);
        }
        assert_eq!(reassembly.deadline(), Some(Time(5000)));
        reassembly.expire(Time(6000));
        assert_eq!((reassembly.take_evicted(), reassembly.by_id.len()), (2, 1));
        assert_eq!(
            reassembly.add(Time(6000), part(2, 1, 2, b"!"), &mut joined),
            Outcome::Complete
        );
    }

    #[test]
    fn memory_is_bounded_whatever_arrives() {
        let mut reassembly = reassembly();
        let mut joined = Vec::new();
        for id in 0..5000 {
            reassembly.add(Time(1), part(id, 1, 3, &[0; 9000]), &mut joined);
        }
        assert!(reassembly.bytes <= MAX_BYTES);
        assert!(reassembly.slots.len() <= MAX_PENDING);
        assert!(reassembly.spare.len() <= MAX_SPARE);
        for id in 10_000..15_000 {
            reassembly.add(Time(1), part(id, 1, 3, b"tiny"), &mut joined);
        }
        assert_eq!(reassembly.by_id.len(), MAX_PENDING);
    }
}
