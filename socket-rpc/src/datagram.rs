//! The header in front of every datagram on a `SEQPACKET` pair.
//!
//! One message is one frame: this header, then the payload, which may be empty. The header is never empty, so an empty
//! datagram is not taken for an end of file. Both directions use the same form:
//!
//! | field | program → service | service → program |
//! |---|---|---|
//! | `peer` | where to | where from; none = unknown |
//! | `local` | the source address asked for (`IP_PKTINFO`), port 0 | where to: the address it was sent to |
//! | `ttl`, `tos` | as asked for, or none | as received, if known |
//! | `interface` | the one to leave by, 0 = any | the one that it came in by |
//! | `errno` | 0 | 0 for a datagram; else there is no payload, and the next call reports this errno |

use core::net::{IpAddr, SocketAddr};

use crate::address::{decode_address, encode_address};
use crate::table::Family;
use crate::wire::{Malformed, Reader, Writer};

/// The largest payload of a datagram over IPv4: a packet of 65535 bytes less the IP and UDP headers.
pub const MAX_PAYLOAD_V4: usize = 65_507;
/// The largest payload over IPv6, whose length does not count the IP header.
pub const MAX_PAYLOAD_V6: usize = 65_527;
/// No frame is longer.
pub const MAX_FRAME: usize = DatagramHeader::LEN + MAX_PAYLOAD_V6;

/// What stands in front of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramHeader {
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// This end's address.
    pub local: Option<IpAddr>,
    /// The family of the program's socket; what a program sends here is ignored.
    pub family: Family,
    /// Time to live, or hop limit.
    pub ttl: Option<u8>,
    /// Type of service, or traffic class.
    pub tos: Option<u8>,
    /// An error in place of a datagram.
    pub errno: u16,
    /// The next frame is a part of the same datagram (`MSG_MORE`).
    pub more: bool,
    /// The index of an interface; [`crate::LAN_INTERFACE`] is the LAN's.
    pub interface: u32,
}

impl DatagramHeader {
    /// Bytes of a header.
    pub const LEN: usize = 12 + 2 * crate::ADDRESS_LEN;
    const HAS_TTL: u8 = 1;
    const HAS_TOS: u8 = 2;
    const MORE: u8 = 4;

    /// Splits a frame into header and payload.
    ///
    /// # Errors
    /// The frame does not begin with a header.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (header, payload) = frame
            .split_at_checked(Self::LEN)
            .ok_or(Malformed::because("frame without a header"))?;
        let mut input = Reader::new(header);
        if input.u8()? != crate::VERSION {
            return Err(Malformed::because("unknown version"));
        }
        let present = input.u8()?;
        if present & !(Self::HAS_TTL | Self::HAS_TOS | Self::MORE) != 0 {
            return Err(Malformed::because("unknown datagram flag"));
        }
        let (ttl, tos) = (input.u8()?, input.u8()?);
        let family = Family::from_wire(input.u8()?)?;
        input.u8()?;
        let errno = input.u16()?;
        let interface = input.u32()?;
        let peer = decode_address(&input.array()?)?;
        let local = decode_address(&input.array()?)?.map(|local| local.ip());
        input.end()?;
        let header = Self {
            peer,
            local,
            family,
            ttl: (present & Self::HAS_TTL != 0).then_some(ttl),
            tos: (present & Self::HAS_TOS != 0).then_some(tos),
            errno,
            more: present & Self::MORE != 0,
            interface,
        };
        Ok((header, payload))
    }

    /// Writes the header.
    pub fn emit(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut out = Writer::new(&mut bytes);
        out.u8(crate::VERSION);
        let mut present = 0;
        if self.ttl.is_some() {
            present |= Self::HAS_TTL;
        }
        if self.tos.is_some() {
            present |= Self::HAS_TOS;
        }
        if self.more {
            present |= Self::MORE;
        }
        out.u8(present);
        out.u8(self.ttl.unwrap_or(0));
        out.u8(self.tos.unwrap_or(0));
        out.u8(self.family.to_wire());
        out.u8(0);
        out.u16(self.errno);
        out.u32(self.interface);
        out.bytes(&encode_address(self.peer));
        out.bytes(&encode_address(
            self.local.map(|local| SocketAddr::new(local, 0)),
        ));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_round_trip_and_no_cut_parses() {
        let header = DatagramHeader {
            peer: Some("10.1.2.3:53".parse().unwrap()),
            local: Some("fd00::1".parse().unwrap()),
            family: Family::V6,
            ttl: Some(0),
            tos: None,
            errno: 111,
            more: true,
            interface: 7,
        };
        let mut frame = std::vec::Vec::from(header.emit());
        for cut in 0..frame.len() {
            assert!(DatagramHeader::parse(&frame[..cut]).is_err());
        }
        assert_eq!(DatagramHeader::parse(&frame), Ok((header, &[][..])));
        frame.extend_from_slice(b"payload");
        assert_eq!(DatagramHeader::parse(&frame), Ok((header, &b"payload"[..])));
        frame[1] = 0xff;
        assert!(DatagramHeader::parse(&frame).is_err());
    }
}
