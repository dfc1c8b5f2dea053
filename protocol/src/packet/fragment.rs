//! Fragments (VL1 §2.7): the 16-byte header of every datagram after the head, and the plan by
//! which a packet is cut.
//!
//! A receiver joins the parts by number, whatever their sizes. So the plan cuts *equal*
//! datagrams: the kernel then sends all of them as one segmented buffer.

use crate::address::{Address, PacketId};
use crate::packet::HOPS_MASK;
use crate::wire::{Emit, Malformed, Reader, Sink};
use std::ops::Range;

/// Bytes before a fragment's data.
pub const HEADER_LEN: usize = 16;
/// The most datagrams of one packet, head included.
pub const MAX_PARTS: usize = 7;

pub(crate) const INDICATOR: u8 = 0xff;
pub(crate) const HOPS_AT: usize = 15;

/// The header of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The wire id of the packet.
    pub id: PacketId,
    /// Whom the packet is for.
    pub destination: Address,
    /// How many datagrams the packet has, head included: 2 to 7.
    pub total: u8,
    /// Which of them this is: 1 to `total` − 1.
    pub number: u8,
    /// How often it was relayed.
    pub hops: u8,
}

impl Header {
    /// Reads a fragment's header; the data follow at [`HEADER_LEN`].
    pub fn parse(datagram: &[u8]) -> Result<Header, Malformed> {
        let mut reader = Reader::new(datagram, "fragment header");
        let id = PacketId::read(&mut reader)?;
        let destination = Address::read(&mut reader)?;
        let indicator = reader.u8()?;
        let parts = reader.u8()?;
        let hops = reader.u8()? & HOPS_MASK;
        let (total, number) = (parts >> 4, parts & 0x0f);
        reader.require(
            indicator == INDICATOR
                && (2..=MAX_PARTS as u8).contains(&total)
                && (1..total).contains(&number),
        )?;
        Ok(Header {
            id,
            destination,
            total,
            number,
            hops,
        })
    }
}

impl Emit for Header {
    fn write<S: Sink>(&self, out: &mut S) {
        self.id.write(out);
        self.destination.write(out);
        out.put(&[
            INDICATOR,
            self.total << 4 | self.number,
            self.hops & HOPS_MASK,
        ]);
    }
}

/// How a packet is cut into datagrams of equal size, the last of which may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    packet: usize,
    parts: usize,
    datagram: usize,
}

impl Plan {
    /// The plan for a packet of `packet` bytes where datagrams may have `mtu` bytes; `None` if
    /// it would need more than [`MAX_PARTS`].
    pub fn new(packet: usize, mtu: usize) -> Option<Plan> {
        if packet <= mtu {
            return Some(Plan {
                packet,
                parts: 1,
                datagram: packet,
            });
        }
        let parts = 1 + (packet - mtu).div_ceil(mtu.checked_sub(HEADER_LEN).filter(|&n| n > 0)?);
        let datagram = (packet + HEADER_LEN * (parts - 1)).div_ceil(parts);
        (parts <= MAX_PARTS).then_some(Plan {
            packet,
            parts,
            datagram,
        })
    }

    /// Number of datagrams.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Size of every datagram but the last, which is at most as large.
    pub fn datagram_len(&self) -> usize {
        self.datagram
    }

    /// Which bytes of the packet datagram `number` carries. Number 0 is the head, without a
    /// fragment header.
    pub fn range(&self, number: usize) -> Range<usize> {
        let data = self.datagram.saturating_sub(HEADER_LEN);
        let start = if number == 0 {
            0
        } else {
            self.datagram + (number - 1) * data
        };
        let end = self.datagram + number * data;
        start.min(self.packet)..end.min(self.packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{MAX_PACKET, PHYSICAL_MTU};

    #[test]
    fn plans_cover_the_packet_with_equal_datagrams() {
        for packet in 28..=MAX_PACKET {
            let plan = Plan::new(packet, PHYSICAL_MTU).unwrap();
            let mut covered = 0;
            for number in 0..plan.parts() {
                let range = plan.range(number);
                assert_eq!(range.start, covered, "{packet}");
                assert!(!range.is_empty(), "{packet}: part {number} is empty");
                covered = range.end;
                let size = range.len() + if number == 0 { 0 } else { HEADER_LEN };
                assert!(size <= PHYSICAL_MTU);
                if number + 1 < plan.parts() {
                    assert_eq!(size, plan.datagram_len(), "{packet}");
                }
            }
            assert_eq!(covered, packet);
        }
        assert_eq!(Plan::new(MAX_PACKET + 1, PHYSICAL_MTU), None);
        assert_eq!(Plan::new(2838, PHYSICAL_MTU).unwrap().datagram_len(), 1427);
    }

    #[test]
    fn header_refuses_impossible_part_numbers() {
        let header = Header {
            id: PacketId(7),
            destination: Address::new(0x1122334455),
            total: 7,
            number: 6,
            hops: 2,
        };
        let bytes = header.to_bytes();
        assert_eq!(bytes.len(), HEADER_LEN);
        assert_eq!(Header::parse(&bytes), Ok(header));
        for parts in [0x00, 0x10, 0x20, 0x22, 0x77, 0x81] {
            let mut bytes = bytes.clone();
            bytes[14] = parts;
            assert!(Header::parse(&bytes).is_err(), "{parts:#x}");
        }
        for length in 0..HEADER_LEN {
            assert!(Header::parse(&bytes[..length]).is_err());
        }
    }
}
