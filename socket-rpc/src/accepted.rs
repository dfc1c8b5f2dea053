//! The record that the service pushes to a listener for each new connection.

use core::net::SocketAddr;

use crate::address::{decode_address, encode_address};
use crate::table::Family;
use crate::wire::{Malformed, Reader, Writer};

/// Where an accepted connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The LAN: the attached descriptor is the program's half of a pair with a name of its own.
    Lan,
    /// The container's own network: the attached descriptor is a kernel TCP socket.
    Kernel,
}

/// One accepted connection; its descriptor is attached to the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where it came from.
    pub origin: Origin,
    /// The family of the listener: a `V6` listener shows IPv4 peers v4-mapped.
    pub family: Family,
    /// The address that connected.
    pub peer: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
}

impl Accepted {
    /// Bytes of a record.
    pub const LEN: usize = 8 + 2 * crate::ADDRESS_LEN;
    const MAGIC: [u8; 3] = *b"acc";

    /// Reads a record.
    ///
    /// # Errors
    /// The bytes are not exactly one record.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        if input.array()? != Self::MAGIC || input.u8()? != crate::VERSION {
            return Err(Malformed::because("not an accept record"));
        }
        let origin = match input.u8()? {
            0 => Origin::Lan,
            1 => Origin::Kernel,
            _ => return Err(Malformed::because("unknown origin")),
        };
        let family = Family::from_wire(input.u8()?)?;
        input.u16()?;
        let missing = Malformed::because("accept record without an address");
        let peer = decode_address(&input.array()?)?.ok_or(missing)?;
        let local = decode_address(&input.array()?)?.ok_or(missing)?;
        input.end()?;
        Ok(Self {
            origin,
            family,
            peer,
            local,
        })
    }

    /// Writes the record.
    pub fn emit(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut out = Writer::new(&mut bytes);
        out.bytes(&Self::MAGIC);
        out.u8(crate::VERSION);
        out.u8(match self.origin {
            Origin::Lan => 0,
            Origin::Kernel => 1,
        });
        out.u8(self.family.to_wire());
        out.u16(0);
        out.bytes(&encode_address(Some(self.peer)));
        out.bytes(&encode_address(Some(self.local)));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_survives_the_round_trip_and_no_cut_parses() {
        let record = Accepted {
            origin: Origin::Kernel,
            family: Family::V6,
            peer: "10.1.1.1:5000".parse().unwrap(),
            local: "[fd00::1]:80".parse().unwrap(),
        };
        let bytes = record.emit();
        assert_eq!(Accepted::parse(&bytes), Ok(record));
        for cut in 0..bytes.len() {
            assert!(Accepted::parse(&bytes[..cut]).is_err());
        }
    }
}
