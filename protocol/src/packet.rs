//! Packets on the wire (VL1 §2): the header, sealing and opening in place, and compression.
//!
//! Sealing and opening are the only way from bytes to a [`Verb`]: an [`Opened`] value is the
//! proof that a packet's MAC was right. Fragments are in [`fragment`].

pub mod fragment;
pub mod lz4;

use crate::address::{Address, PacketId};
use crate::crypto::{CipherSuite, PeerKeys};
use crate::verb::Verb;
use crate::wire::{Malformed, Reader};
use rand_core::Rng;
use std::ops::Range;

pub use lz4::{compress, decompress};

/// Bytes before the body: header and verb byte.
pub const HEADER_LEN: usize = 28;
/// The largest packet that stock can put together from fragments (VL1 §2.7).
pub const MAX_PACKET: usize = 9928;
/// Stock's buffer for a whole packet; some of its replies come as one datagram of this size.
pub const MAX_RECEIVED: usize = 10_024;
/// The largest body after decompression (VL1 §2.8).
pub const MAX_BODY: usize = MAX_RECEIVED - HEADER_LEN;
/// The default limit of a UDP payload; larger packets are fragmented.
pub const PHYSICAL_MTU: usize = 1432;

pub(crate) const ID_LEN: usize = 8;
pub(crate) const FLAGS_AT: usize = 18;
pub(crate) const MAC_RANGE: Range<usize> = 19..27;
pub(crate) const VERB_AT: usize = 27;
pub(crate) const HOPS_MASK: u8 = 0x07;

const FLAG_ENCRYPTED: u8 = 0x80;
const FLAG_FRAGMENTED: u8 = 0x40;
const SUITE_SHIFT: u8 = 3;
const VERB_COMPRESSED: u8 = 0x80;

/// The clear part of a packet (VL1 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The wire id, which replies quote.
    pub id: PacketId,
    /// Whom the packet is for.
    pub destination: Address,
    /// Who sealed it.
    pub source: Address,
    flags: u8,
}

impl Header {
    /// Reads the header of a packet. The bytes may be a head datagram whose fragments are
    /// still to come.
    pub fn parse(packet: &[u8]) -> Result<Header, Malformed> {
        let mut reader = Reader::new(packet, "packet header");
        reader.require(packet.len() >= HEADER_LEN)?;
        let id = PacketId::read(&mut reader)?;
        let destination = Address::read(&mut reader)?;
        let source = Address::read(&mut reader)?;
        Ok(Header {
            id,
            destination,
            source,
            flags: reader.u8()?,
        })
    }

    /// Whether fragments follow this datagram.
    pub fn is_fragmented(&self) -> bool {
        self.flags & FLAG_FRAGMENTED != 0
    }

    /// How the packet is sealed, or `None` for a suite that we do not speak.
    pub fn suite(&self) -> Option<CipherSuite> {
        CipherSuite::from_number((self.flags >> SUITE_SHIFT) & 0x07)
    }

    /// How often it was relayed; not authenticated.
    pub fn hops(&self) -> u8 {
        self.flags & HOPS_MASK
    }

    /// Whether this may be a HELLO in clear text, which its receiver must be able to read
    /// before it has a key for the sender (VL1 §3.2).
    pub fn is_clear_hello(&self, packet: &[u8]) -> bool {
        self.suite() == Some(CipherSuite::Poly1305)
            && packet
                .get(VERB_AT)
                .is_some_and(|&byte| Verb::from_byte(byte) == Verb::HELLO)
    }
}

/// Writes the header of a packet to be sealed: a fresh random id, addresses, verb.
///
/// `fragmented` tells whether the packet is going to be sent in more than one datagram; the MAC
/// covers it.
///
/// # Panics
/// If `packet` is shorter than [`HEADER_LEN`].
pub fn write_header(
    packet: &mut [u8],
    rng: &mut (impl Rng + ?Sized),
    destination: Address,
    source: Address,
    fragmented: bool,
    verb: Verb,
    compressed: bool,
) {
    rng.fill_bytes(&mut packet[..ID_LEN]);
    packet[8..13].copy_from_slice(&destination.to_bytes());
    packet[13..18].copy_from_slice(&source.to_bytes());
    packet[FLAGS_AT] = if fragmented { FLAG_FRAGMENTED } else { 0 };
    packet[MAC_RANGE].fill(0);
    packet[VERB_AT] = verb.to_byte() | if compressed { VERB_COMPRESSED } else { 0 };
}

/// Seals a whole packet in place and returns the id that it has on the wire.
///
/// The header must have been written by [`write_header`]. A HELLO's tail is masked before
/// ([`PeerKeys::mask_hello_tail`]).
///
/// # Panics
/// If `packet` is shorter than [`HEADER_LEN`].
pub fn seal(keys: &PeerKeys, suite: CipherSuite, packet: &mut [u8]) -> PacketId {
    assert!(packet.len() >= HEADER_LEN, "a packet has a whole header");
    let legacy = if suite == CipherSuite::Salsa2012Poly1305 {
        FLAG_ENCRYPTED
    } else {
        0
    };
    packet[FLAGS_AT] = packet[FLAGS_AT] & FLAG_FRAGMENTED | (suite as u8) << SUITE_SHIFT | legacy;
    keys.seal(suite, packet);
    let mut id = [0; ID_LEN];
    id.copy_from_slice(&packet[..ID_LEN]);
    PacketId(u64::from_be_bytes(id))
}

/// What an authentic packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What the body means.
    pub verb: Verb,
    /// Whether the body is an LZ4 block ([`decompress`]).
    pub compressed: bool,
}

/// Why a packet could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Shorter than a header.
    #[error("packet too short")]
    TooShort,
    /// A suite that we do not speak.
    #[error("unsupported cipher suite")]
    UnsupportedSuite,
    /// A verb that has no business in clear text.
    #[error("verb not permitted in clear text")]
    ClearText,
    /// The MAC is wrong: not from that peer, or changed on the way.
    #[error("message authentication failed")]
    NotAuthentic,
}

/// Checks the MAC of a whole packet and decrypts it in place; the hop count is ignored.
///
/// After an error the packet's contents are unspecified, except that only suite 3 changes them:
/// it decrypts before it can authenticate.
pub fn open(keys: &PeerKeys, packet: &mut [u8]) -> Result<Opened, OpenError> {
    let header = Header::parse(packet).map_err(|_| OpenError::TooShort)?;
    let suite = header.suite().ok_or(OpenError::UnsupportedSuite)?;
    if suite == CipherSuite::Poly1305 && !Verb::from_byte(packet[VERB_AT]).may_be_clear() {
        return Err(OpenError::ClearText);
    }
    if !keys.open(suite, packet) {
        return Err(OpenError::NotAuthentic);
    }
    let verb = Verb::from_byte(packet[VERB_AT]);
    // VL1 §2.8: HELLO is never compressed, whatever its flag says.
    let compressed = packet[VERB_AT] & VERB_COMPRESSED != 0 && verb != Verb::HELLO;
    Ok(Opened { verb, compressed })
}

/// Adds one hop to a packet that is relayed; `None` if it has travelled too far already
/// (VL1 §4.9). Works on heads and fragments: `hops_at` is [`Relay::Packet`] or
/// [`Relay::Fragment`].
pub fn add_hop(datagram: &mut [u8], kind: Relay) -> Option<()> {
    const MAX_RELAYED_HOPS: u8 = 3;
    let at = match kind {
        Relay::Packet => FLAGS_AT,
        Relay::Fragment => fragment::HOPS_AT,
    };
    let byte = datagram.get_mut(at)?;
    if *byte & HOPS_MASK >= MAX_RELAYED_HOPS {
        return None;
    }
    *byte += 1;
    Some(())
}

/// What kind of datagram is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// A packet or the head of one.
    Packet,
    /// A fragment after the head.
    Fragment,
}

/// What a datagram is, by its length and one byte (VL1 §2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// A packet, or the head of a fragmented one.
    Packet(Header),
    /// A later part of a fragmented packet.
    Fragment(fragment::Header),
    /// Neither: hole-punching junk, a beacon, or noise.
    Junk,
}

impl Datagram {
    /// Classifies a received datagram.
    pub fn classify(datagram: &[u8]) -> Datagram {
        if datagram.len() > fragment::HEADER_LEN && datagram[13] == fragment::INDICATOR {
            fragment::Header::parse(datagram).map_or(Datagram::Junk, Datagram::Fragment)
        } else {
            Header::parse(datagram).map_or(Datagram::Junk, Datagram::Packet)
        }
    }
}
