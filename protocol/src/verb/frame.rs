//! FRAME and EXT_FRAME (VL2 §4.1, §4.2): one Ethernet frame from member to member.

use crate::address::{Mac, NetworkId};
use crate::credential::CertificateOfMembership;
use crate::wire::{Emit, Malformed, Reader, Sink};

/// FRAME: the MACs follow from the two nodes' addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The network.
    pub network: NetworkId,
    /// The Ethernet type.
    pub ethertype: u16,
    /// What follows the Ethernet header.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Bytes before the payload.
    pub const HEADER_LEN: usize = 10;

    /// Parses the body.
    pub fn parse(body: &'a [u8]) -> Result<Frame<'a>, Malformed> {
        let mut reader = Reader::new(body, "FRAME");
        Ok(Frame {
            network: NetworkId::read(&mut reader)?,
            ethertype: reader.u16()?,
            payload: reader.take_rest(),
        })
    }
}

impl Emit for Frame<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        out.u16(self.ethertype);
        out.put(self.payload);
    }
}

/// EXT_FRAME: a frame with its MACs, for bridges and observers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtFrame<'a> {
    /// The network.
    pub network: NetworkId,
    /// Why the frame is sent ([`ExtFrame::TEE`] …) and whether an OK is wanted
    /// ([`ExtFrame::ACKNOWLEDGE`]). That a certificate follows is told by `certificate` alone.
    pub flags: u8,
    /// The sender's certificate; deprecated.
    pub certificate: Option<CertificateOfMembership>,
    /// The Ethernet destination.
    pub destination: Mac,
    /// The Ethernet source.
    pub source: Mac,
    /// The Ethernet type.
    pub ethertype: u16,
    /// What follows the Ethernet header.
    pub payload: &'a [u8],
}

impl<'a> ExtFrame<'a> {
    const CERTIFICATE: u8 = 0x01;
    /// A copy of an outbound frame for an observer.
    pub const TEE: u8 = 0x02;
    /// An outbound frame that goes to another node instead.
    pub const REDIRECT: u8 = 0x04;
    /// A copy of an inbound frame for an observer.
    pub const INBOUND_TEE: u8 = 0x08;
    /// The receiver should answer with an OK.
    pub const ACKNOWLEDGE: u8 = 0x10;

    /// Parses the body.
    pub fn parse(body: &'a [u8]) -> Result<ExtFrame<'a>, Malformed> {
        let mut reader = Reader::new(body, "EXT_FRAME");
        let network = NetworkId::read(&mut reader)?;
        let flags = reader.u8()?;
        let certificate = match flags & Self::CERTIFICATE {
            0 => None,
            _ => Some(CertificateOfMembership::read(&mut reader)?),
        };
        Ok(ExtFrame {
            network,
            flags: flags & !Self::CERTIFICATE,
            certificate,
            destination: Mac::read(&mut reader)?,
            source: Mac::read(&mut reader)?,
            ethertype: reader.u16()?,
            payload: reader.take_rest(),
        })
    }
}

impl Emit for ExtFrame<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        match &self.certificate {
            Some(certificate) => {
                out.u8(self.flags | Self::CERTIFICATE);
                certificate.write(out);
            }
            None => out.u8(self.flags),
        }
        self.destination.write(out);
        self.source.write(out);
        out.u16(self.ethertype);
        out.put(self.payload);
    }
}
