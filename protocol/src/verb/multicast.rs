//! Multicast (VL2 §4.4–§4.6): announcing groups, asking for their members, and sending to them.

use crate::address::{Address, Mac, MulticastGroup, NetworkId};
use crate::credential::CertificateOfMembership;
use crate::wire::{Emit, Malformed, Reader, Sink};

/// One record of a MULTICAST_LIKE: the sender wants this group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MulticastLike {
    /// The network.
    pub network: NetworkId,
    /// The group.
    pub group: MulticastGroup,
}

impl MulticastLike {
    /// Length of a record.
    pub const LEN: usize = 18;

    /// The records of a body; an incomplete last one is ignored.
    pub fn parse_all(body: &[u8]) -> impl Iterator<Item = MulticastLike> {
        let mut reader = Reader::new(body, "MULTICAST_LIKE");
        std::iter::from_fn(move || {
            let network = NetworkId::read(&mut reader).ok()?;
            let group = MulticastGroup::read(&mut reader).ok()?;
            Some(MulticastLike { network, group })
        })
    }
}

impl Emit for MulticastLike {
    fn write<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        self.group.write(out);
    }
}

/// MULTICAST_GATHER: asks for members of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MulticastGather {
    /// The network.
    pub network: NetworkId,
    /// The group.
    pub group: MulticastGroup,
    /// The most members wanted.
    pub limit: u32,
    /// The sender's certificate.
    pub certificate: Option<CertificateOfMembership>,
}

impl MulticastGather {
    const CERTIFICATE: u8 = 0x01;

    /// Parses the body.
    pub fn parse(body: &[u8]) -> Result<MulticastGather, Malformed> {
        let mut reader = Reader::new(body, "MULTICAST_GATHER");
        let network = NetworkId::read(&mut reader)?;
        let flags = reader.u8()?;
        let group = MulticastGroup::read(&mut reader)?;
        let limit = reader.u32()?;
        let certificate = match flags & Self::CERTIFICATE {
            0 => None,
            _ => Some(CertificateOfMembership::read(&mut reader)?),
        };
        Ok(MulticastGather {
            network,
            group,
            limit,
            certificate,
        })
    }
}

impl Emit for MulticastGather {
    fn write<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        out.u8(if self.certificate.is_some() {
            Self::CERTIFICATE
        } else {
            0
        });
        self.group.write(out);
        out.u32(self.limit);
        if let Some(certificate) = &self.certificate {
            certificate.write(out);
        }
    }
}

/// Members of a group, as answers carry them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatherResults {
    /// How many members the responder knows.
    pub total: u32,
    /// Those that it lists.
    pub members: Vec<Address>,
}

impl GatherResults {
    fn read(reader: &mut Reader<'_>) -> Result<GatherResults, Malformed> {
        let total = reader.u32()?;
        let count = usize::from(reader.u16()?);
        let (members, _) = reader.bytes(5 * count)?.as_chunks();
        Ok(GatherResults {
            total,
            members: members.iter().map(|&m| Address::from_bytes(m)).collect(),
        })
    }
}

impl Emit for GatherResults {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u32(self.total);
        out.u16(self.members.len() as u16);
        for member in &self.members {
            member.write(out);
        }
    }
}

/// The payload of OK(MULTICAST_GATHER).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OkMulticastGather {
    /// The network.
    pub network: NetworkId,
    /// The group.
    pub group: MulticastGroup,
    /// Its members.
    pub results: GatherResults,
}

impl OkMulticastGather {
    /// The most members of an answer that fits one datagram which stock receives whole
    /// (VL1 addendum 1).
    pub const MAX_MEMBERS: usize = 287;

    /// Parses the payload.
    pub fn parse(payload: &[u8]) -> Result<OkMulticastGather, Malformed> {
        let mut reader = Reader::new(payload, "OK(MULTICAST_GATHER)");
        Ok(OkMulticastGather {
            network: NetworkId::read(&mut reader)?,
            group: MulticastGroup::read(&mut reader)?,
            results: GatherResults::read(&mut reader)?,
        })
    }
}

impl Emit for OkMulticastGather {
    fn write<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        self.group.write(out);
        self.results.write(out);
    }
}

/// MULTICAST_FRAME: a frame to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MulticastFrame<'a> {
    /// The network.
    pub network: NetworkId,
    /// The sender's certificate; deprecated.
    pub certificate: Option<CertificateOfMembership>,
    /// How many members the sender wants to be told of.
    pub gather_limit: Option<u32>,
    /// The Ethernet source, if it is not the sender's own.
    pub source: Option<Mac>,
    /// Whether the receiver should send it on to the group.
    pub replicate: bool,
    /// The group, whose MAC is the Ethernet destination.
    pub group: MulticastGroup,
    /// The Ethernet type.
    pub ethertype: u16,
    /// What follows the Ethernet header.
    pub payload: &'a [u8],
}

impl<'a> MulticastFrame<'a> {
    const CERTIFICATE: u8 = 0x01;
    const GATHER_LIMIT: u8 = 0x02;
    const SOURCE: u8 = 0x04;
    const REPLICATE: u8 = 0x08;

    /// Parses the body.
    pub fn parse(body: &'a [u8]) -> Result<MulticastFrame<'a>, Malformed> {
        let mut reader = Reader::new(body, "MULTICAST_FRAME");
        let network = NetworkId::read(&mut reader)?;
        let flags = reader.u8()?;
        let certificate = match flags & Self::CERTIFICATE {
            0 => None,
            _ => Some(CertificateOfMembership::read(&mut reader)?),
        };
        let gather_limit = match flags & Self::GATHER_LIMIT {
            0 => None,
            _ => Some(reader.u32()?),
        };
        let source = match flags & Self::SOURCE {
            0 => None,
            _ => Some(Mac::read(&mut reader)?),
        };
        Ok(MulticastFrame {
            network,
            certificate,
            gather_limit,
            source,
            replicate: flags & Self::REPLICATE != 0,
            group: MulticastGroup::read(&mut reader)?,
            ethertype: reader.u16()?,
            payload: reader.take_rest(),
        })
    }
}

impl Emit for MulticastFrame<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        self.network.write(out);
        out.u8(flag(self.certificate.is_some(), Self::CERTIFICATE)
            | flag(self.gather_limit.is_some(), Self::GATHER_LIMIT)
            | flag(self.source.is_some(), Self::SOURCE)
            | flag(self.replicate, Self::REPLICATE));
        if let Some(certificate) = &self.certificate {
            certificate.write(out);
        }
        if let Some(limit) = self.gather_limit {
            out.u32(limit);
        }
        if let Some(source) = self.source {
            source.write(out);
        }
        self.group.write(out);
        out.u16(self.ethertype);
        out.put(self.payload);
    }
}

/// The payload of OK(MULTICAST_FRAME), which answers its gather limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OkMulticastFrame {
    /// The network.
    pub network: NetworkId,
    /// The group.
    pub group: MulticastGroup,
    /// The responder's certificate; deprecated.
    pub certificate: Option<CertificateOfMembership>,
    /// Members of the group.
    pub results: Option<GatherResults>,
}

impl OkMulticastFrame {
    const CERTIFICATE: u8 = 0x01;
    const RESULTS: u8 = 0x02;

    /// Parses the payload.
    pub fn parse(payload: &[u8]) -> Result<OkMulticastFrame, Malformed> {
        let mut reader = Reader::new(payload, "OK(MULTICAST_FRAME)");
        let network = NetworkId::read(&mut reader)?;
        let group = MulticastGroup::read(&mut reader)?;
        let flags = reader.u8()?;
        let certificate = match flags & Self::CERTIFICATE {
            0 => None,
            _ => Some(CertificateOfMembership::read(&mut reader)?),
        };
        let results = match flags & Self::RESULTS {
            0 => None,
            _ => Some(GatherResults::read(&mut reader)?),
        };
        Ok(OkMulticastFrame {
            network,
            group,
            certificate,
            results,
        })
    }
}

impl Emit for OkMulticastFrame {
    fn write<S: Sink>(&self, out: &mut S) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        self.network.write(out);
        self.group.write(out);
        out.u8(flag(self.certificate.is_some(), Self::CERTIFICATE)
            | flag(self.results.is_some(), Self::RESULTS));
        if let Some(certificate) = &self.certificate {
            certificate.write(out);
        }
        if let Some(results) = &self.results {
            results.write(out);
        }
    }
}
