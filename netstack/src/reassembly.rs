//! Fragments joined into packets: RFC 791 §3.2, RFC 8200 §4.5.
//!
//! Fragments that overlap end their packet in both families (RFC 5722, RFC 8200; Linux does so for IPv4 too). Memory is
//! bounded for each station of the link and in all; when it runs out, the oldest packet goes.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::checksum::Sum;
use crate::demux::SecretHash;
use crate::neighbour::Mac;
use crate::packet::Part;
use crate::time::Instant;

/// How long the fragments of a packet may be apart (net.ipv4.ipfrag_time of Linux).
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one station.
const PER_STATION: usize = 1 << 20;
/// Bytes in all (net.ipv4.ipfrag_high_thresh of Linux).
const TOTAL: usize = 4 << 20;
/// What a packet costs beside its bytes.
const OVERHEAD: usize = 1024;
/// Fragments of a packet: more than twice what the largest one needs at the smallest MTU of IPv4.
const MAX_PIECES: usize = 256;
/// Buffers kept for the next packets.
const SPARE: usize = 4;

/// What belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Who sent the frame, and whether to this host alone: pieces of different origin are not mixed.
    pub(crate) station: Mac,
    pub(crate) to_us: bool,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) id: u32,
    /// Of IPv4; 0 in IPv6, where only the first fragment knows.
    pub(crate) protocol: u8,
}

/// Why a fragment was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoiled {
    /// It contradicts another one, or itself.
    Malformed,
    /// It overlaps another one, or belongs to a packet in which some did.
    Overlap,
}

/// Where pieces begin and end, in order.
type Pieces = Vec<(usize, usize)>;

/// Packets of which fragments are missing.
#[derive(Debug)]
pub(crate) struct Reassembly {
    packets: HashMap<Key, Packet, SecretHash>,
    /// Keys of `packets`, oldest first.
    order: VecDeque<Key>,
    used: usize,
    used_by: HashMap<Mac, usize, SecretHash>,
    spare: Vec<Vec<u8>>,
    spare_pieces: Vec<Pieces>,
    evicted: u64,
}

#[derive(Debug)]
struct Packet {
    since: Instant,
    /// The header, once it came, and the payload as far as it is known.
    bytes: Vec<u8>,
    pieces: Pieces,
    received: usize,
    /// Length of the payload, known from the last fragment.
    total: Option<usize>,
    /// Nothing more is kept of it.
    spoiled: bool,
}

impl Reassembly {
    pub(crate) fn new(hash: SecretHash) -> Reassembly {
        Reassembly {
            packets: HashMap::with_hasher(hash),
            order: VecDeque::new(),
            used: 0,
            used_by: HashMap::with_hasher(hash),
            spare: Vec::new(),
            spare_pieces: Vec::new(),
            evicted: 0,
        }
    }

    /// Takes a fragment. Returns the packet when it is whole; its buffer should come [back](Reassembly::recycle).
    pub(crate) fn add(
        &mut self,
        now: Instant,
        key: Key,
        part: &Part<'_>,
    ) -> Result<Option<Vec<u8>>, Spoiled> {
        let end = part.offset + part.payload.len();
        let whole_len = part.header.len() + end;
        let limit = if key.src.is_ipv4() {
            65_535
        } else {
            65_535 + 40
        };
        let uneven = part.more && !part.payload.len().is_multiple_of(8);
        if part.payload.is_empty() || uneven || whole_len > limit {
            return Err(Spoiled::Malformed);
        }
        if !self.packets.contains_key(&key) {
            self.make_room(key, OVERHEAD);
            self.insert(now, key);
        }
        let Some(packet) = self.packets.get_mut(&key) else {
            return Ok(None);
        };
        match packet.fits(part.offset, end, part.more) {
            Fit::New(at) => packet.pieces.insert(at, (part.offset, end)),
            Fit::Known => return Ok(None),
            Fit::Not(why) => {
                self.spoil(key);
                return Err(why);
            }
        }
        packet.received += part.payload.len();
        if !part.more {
            packet.total = Some(end);
        }
        let growth = whole_len.saturating_sub(packet.bytes.len());
        self.make_room(key, growth);
        self.charge(key.station, growth);
        let Some(packet) = self.packets.get_mut(&key) else {
            return Ok(None);
        };
        if growth > 0 {
            packet.bytes.resize(whole_len, 0);
        }
        let header_len = part.header.len();
        packet.bytes[header_len + part.offset..whole_len].copy_from_slice(part.payload);
        if part.offset == 0 {
            packet.bytes[..header_len].copy_from_slice(part.header);
            if !key.src.is_ipv4() {
                packet.bytes[6] = part.protocol;
            }
        }
        if packet.total != Some(packet.received) {
            return Ok(None);
        }
        Ok(self.remove(key).map(|mut packet| {
            finish(&mut packet.bytes);
            packet.bytes
        }))
    }

    /// Takes the buffer of a packet back.
    pub(crate) fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < SPARE {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Forgets packets whose time is over; returns how many.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> u64 {
        let mut expired = 0;
        while self.deadline().is_some_and(|deadline| deadline <= now)
            && let Some(key) = self.order.front().copied()
        {
            let spoiled = self.remove(key).is_some_and(|packet| packet.spoiled);
            expired += u64::from(!spoiled);
        }
        expired
    }

    /// When the time of the oldest packet is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let packet = self.packets.get(self.order.front()?)?;
        Some(packet.since + PATIENCE)
    }

    /// How many packets had to go for others since the last call.
    pub(crate) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    fn insert(&mut self, now: Instant, key: Key) {
        let packet = Packet {
            since: now,
            bytes: self.spare.pop().unwrap_or_default(),
            pieces: self.spare_pieces.pop().unwrap_or_default(),
            received: 0,
            total: None,
            spoiled: false,
        };
        self.packets.insert(key, packet);
        self.order.push_back(key);
        self.charge(key.station, OVERHEAD);
    }

    fn charge(&mut self, station: Mac, bytes: usize) {
        self.used += bytes;
        *self.used_by.entry(station).or_default() += bytes;
    }

    fn release(&mut self, station: Mac, bytes: usize) {
        self.used -= bytes;
        if let Some(used) = self.used_by.get_mut(&station) {
            *used -= bytes;
            if *used == 0 {
                self.used_by.remove(&station);
            }
        }
    }

    fn remove(&mut self, key: Key) -> Option<Packet> {
        let mut packet = self.packets.remove(&key)?;
        let mut pieces = std::mem::take(&mut packet.pieces);
        if self.spare_pieces.len() < SPARE {
            pieces.clear();
            self.spare_pieces.push(pieces);
        }
        // What is completed is most often among the youngest.
        if let Some(place) = self.order.iter().rposition(|other| *other == key) {
            self.order.remove(place);
        }
        self.release(key.station, packet.bytes.len() + OVERHEAD);
        Some(packet)
    }

    /// Keeps only the memory that a packet is not wanted.
    fn spoil(&mut self, key: Key) {
        if let Some(packet) = self.packets.get_mut(&key) {
            packet.spoiled = true;
            packet.pieces = Vec::new();
            let bytes = std::mem::take(&mut packet.bytes);
            self.release(key.station, bytes.len());
            self.recycle(bytes);
        }
    }

    /// Lets the oldest packets but that of `key` go until there is room.
    fn make_room(&mut self, key: Key, bytes: usize) {
        let oldest = |order: &VecDeque<Key>, station: Option<Mac>| {
            order
                .iter()
                .find(|other| **other != key && station.is_none_or(|mac| other.station == mac))
                .copied()
        };
        loop {
            let own = self.used_by.get(&key.station).copied().unwrap_or(0);
            let victim = if own + bytes > PER_STATION {
                oldest(&self.order, Some(key.station))
            } else if self.used + bytes > TOTAL {
                oldest(&self.order, None)
            } else {
                None
            };
            let Some(packet) = victim.and_then(|victim| self.remove(victim)) else {
                return;
            };
            self.evicted += u64::from(!packet.spoiled);
            self.recycle(packet.bytes);
        }
    }
}

/// How a piece relates to those that are there.
enum Fit {
    /// It is new, and comes at this place.
    New(usize),
    /// The same was there before.
    Known,
    Not(Spoiled),
}

impl Packet {
    fn fits(&self, start: usize, end: usize, more: bool) -> Fit {
        if self.spoiled {
            return Fit::Not(Spoiled::Overlap);
        }
        let at = self.pieces.partition_point(|piece| piece.0 < start);
        if self.pieces.get(at) == Some(&(start, end)) {
            return Fit::Known;
        }
        let behind = self.pieces.get(at).is_some_and(|next| next.0 < end);
        let before = at > 0 && self.pieces[at - 1].1 > start;
        if behind || before {
            return Fit::Not(Spoiled::Overlap);
        }
        let last = self.pieces.last().map_or(0, |piece| piece.1);
        let contradicts = match self.total {
            Some(total) => !more || end > total,
            None => !more && last > end,
        };
        if contradicts || self.pieces.len() == MAX_PIECES {
            return Fit::Not(Spoiled::Malformed);
        }
        Fit::New(at)
    }
}

/// Makes the header of the first fragment that of the whole.
fn finish(bytes: &mut [u8]) {
    let len = bytes.len();
    if bytes[0] >> 4 == 4 {
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        bytes[6..8].fill(0);
        bytes[10..12].fill(0);
        let sum = Sum::default().add(&bytes[..20]).finish();
        bytes[10..12].copy_from_slice(&sum);
    } else {
        bytes[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
