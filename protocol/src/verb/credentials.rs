//! NETWORK_CREDENTIALS (VL2 §3.6): a node shows what a controller signed about it, or passes on
//! what it signed about others.

use crate::credential::{
    Capability, CertificateOfMembership, CertificateOfOwnership, Revocation, Tag,
};
use crate::wire::{Emit, Malformed, Reader, Sink};

/// NETWORK_CREDENTIALS. They may be of several networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkCredentials {
    /// Certificates of membership.
    pub memberships: Vec<CertificateOfMembership>,
    /// Capabilities.
    pub capabilities: Vec<Capability>,
    /// Tags.
    pub tags: Vec<Tag>,
    /// Revocations.
    pub revocations: Vec<Revocation>,
    /// Certificates of ownership.
    pub ownerships: Vec<CertificateOfOwnership>,
}

impl NetworkCredentials {
    const END_OF_MEMBERSHIPS: u8 = 0;

    /// Parses the body, which may end after any list.
    pub fn parse(body: &[u8]) -> Result<NetworkCredentials, Malformed> {
        let mut reader = Reader::new(body, "NETWORK_CREDENTIALS");
        let reader = &mut reader;
        let mut memberships = Vec::new();
        while reader
            .rest()
            .first()
            .is_some_and(|&byte| byte != Self::END_OF_MEMBERSHIPS)
        {
            memberships.push(CertificateOfMembership::read(reader)?);
        }
        if !reader.is_empty() {
            reader.u8()?;
        }
        Ok(NetworkCredentials {
            memberships,
            capabilities: read_list(reader, Capability::read)?,
            tags: read_list(reader, Tag::read)?,
            revocations: read_list(reader, Revocation::read)?,
            ownerships: read_list(reader, CertificateOfOwnership::read)?,
        })
    }
}

fn read_list<'a, T>(
    reader: &mut Reader<'a>,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    if reader.is_empty() {
        return Ok(Vec::new());
    }
    let count = reader.u16()?;
    (0..count).map(|_| read(reader)).collect()
}

fn write_list<S: Sink, T: Emit>(list: &[T], out: &mut S) {
    out.u16(list.len() as u16);
    for item in list {
        item.write(out);
    }
}

impl Emit for NetworkCredentials {
    fn write<S: Sink>(&self, out: &mut S) {
        for certificate in &self.memberships {
            certificate.write(out);
        }
        out.u8(Self::END_OF_MEMBERSHIPS);
        write_list(&self.capabilities, out);
        write_list(&self.tags, out);
        write_list(&self.revocations, out);
        write_list(&self.ownerships, out);
    }
}
