//! What became of a datagram that did not arrive: one entry of a socket's error queue (`MSG_ERRQUEUE`).

use core::net::{IpAddr, SocketAddr};

use crate::address::{ADDRESS_LEN, decode_address, encode_address};
use crate::wire::{Malformed, Reader, Writer};

/// Who noticed a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The host itself.
    Local,
    /// A message of ICMP.
    Icmp,
    /// A message of ICMPv6.
    Icmp6,
}

/// One lost datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The errno that a call reports.
    pub errno: u16,
    /// Who noticed.
    pub origin: Origin,
    /// Type of the ICMP message.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// Where the datagram should have gone.
    pub destination: SocketAddr,
    /// Who sent the message.
    pub offender: Option<IpAddr>,
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Lost {
    /// So much of the payload is kept at most.
    pub const MAX: usize = 128;
    /// Bytes of the encoded form.
    pub(crate) const LEN: usize = 8 + 2 * ADDRESS_LEN + Self::MAX;

    /// An entry without the payload.
    pub const fn new(errno: u16, origin: Origin, kind: u8, code: u8, to: SocketAddr) -> Self {
        Self {
            errno,
            origin,
            kind,
            code,
            destination: to,
            offender: None,
            bytes: [0; Self::MAX],
            len: 0,
        }
    }

    /// Keeps the beginning of the payload.
    #[must_use]
    pub fn with_payload(mut self, payload: &[u8]) -> Self {
        let kept = payload.len().min(Self::MAX);
        for (to, from) in self.bytes.iter_mut().zip(payload) {
            *to = *from;
        }
        self.len = kept as u8;
        self
    }

    /// The beginning of the payload.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.u16(self.errno);
        out.u8(match self.origin {
            Origin::Local => 1,
            Origin::Icmp => 2,
            Origin::Icmp6 => 3,
        });
        out.u8(self.kind);
        out.u8(self.code);
        out.u8(self.len);
        out.u16(0);
        out.bytes(&encode_address(Some(self.destination)));
        out.bytes(&encode_address(
            self.offender.map(|offender| SocketAddr::new(offender, 0)),
        ));
        out.bytes(&self.bytes);
    }

    pub(crate) fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        let errno = input.u16()?;
        let origin = match input.u8()? {
            1 => Origin::Local,
            2 => Origin::Icmp,
            3 => Origin::Icmp6,
            _ => return Err(Malformed::because("unknown origin of a loss")),
        };
        let (kind, code, len) = (input.u8()?, input.u8()?, input.u8()?);
        input.u16()?;
        let destination = decode_address(&input.array()?)?
            .ok_or(Malformed::because("loss without a destination"))?;
        let offender = decode_address(&input.array()?)?.map(|offender| offender.ip());
        let payload: [u8; Self::MAX] = input.array()?;
        let payload = payload
            .get(..usize::from(len))
            .ok_or(Malformed::because("lost payload too long"))?;
        let lost = Self {
            offender,
            ..Self::new(errno, origin, kind, code, destination)
        };
        Ok(lost.with_payload(payload))
    }
}
