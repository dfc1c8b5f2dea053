//! Certificates of ownership (VL2 §3.4): the addresses that a member may call its own.

use super::{NO_ADDITIONS, TypedSignature, governs, sign, signed_message, skip_additions};
use crate::address::{Address, Mac, NetworkId};
use crate::identity::{Identity, SecretIdentity};
use crate::wire::{Emit, Malformed, Reader, Sink};
use std::net::IpAddr;

const MAX_THINGS: usize = 16;
const VALUE_LEN: usize = 16;

const MAC: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 3;

/// Something that can be owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// An Ethernet address.
    Mac(Mac),
    /// An IP address.
    Ip(IpAddr),
    /// A kind that we do not know: its number and value.
    Unknown(u8, [u8; VALUE_LEN]),
}

impl Thing {
    fn read(reader: &mut Reader<'_>) -> Result<Thing, Malformed> {
        let kind = reader.u8()?;
        let value: [u8; VALUE_LEN] = reader.array()?;
        let [a, b, c, d, e, f, ..] = value;
        // Padding that is not zero would be lost, and the signature with it.
        let padded = |used: usize| value[used..].iter().all(|&byte| byte == 0);
        Ok(match kind {
            MAC if padded(6) => Thing::Mac(Mac([a, b, c, d, e, f])),
            IPV4 if padded(4) => Thing::Ip(IpAddr::from([a, b, c, d])),
            IPV6 => Thing::Ip(IpAddr::from(value)),
            _ => Thing::Unknown(kind, value),
        })
    }

    fn write<S: Sink>(&self, out: &mut S) {
        let (kind, value) = match self {
            Thing::Mac(mac) => (MAC, pad(&mac.0)),
            Thing::Ip(IpAddr::V4(ip)) => (IPV4, pad(&ip.octets())),
            Thing::Ip(IpAddr::V6(ip)) => (IPV6, ip.octets()),
            Thing::Unknown(kind, value) => (*kind, *value),
        };
        out.u8(kind);
        out.put(&value);
    }
}

fn pad(short: &[u8]) -> [u8; VALUE_LEN] {
    let mut value = [0; VALUE_LEN];
    value[..short.len()].copy_from_slice(short);
    value
}

/// A certificate of ownership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateOfOwnership {
    /// The network in which the things are owned.
    pub network: NetworkId,
    /// When it was issued, in milliseconds.
    pub timestamp: u64,
    /// None are defined.
    pub flags: u64,
    /// Which of the member's certificates it is.
    pub id: u32,
    things: Vec<Thing>,
    /// The owner.
    pub issued_to: Address,
    signer: Address,
    signature: TypedSignature,
}

impl CertificateOfOwnership {
    /// Certifies that `issued_to` owns `things`, of which a certificate holds at most sixteen.
    pub fn issue(
        controller: &SecretIdentity,
        network: NetworkId,
        issued_to: Address,
        timestamp: u64,
        id: u32,
        things: impl IntoIterator<Item = Thing>,
    ) -> CertificateOfOwnership {
        let mut certificate = CertificateOfOwnership {
            network,
            timestamp,
            flags: 0,
            id,
            things: things.into_iter().take(MAX_THINGS).collect(),
            issued_to,
            signer: controller.address(),
            signature: TypedSignature(None),
        };
        certificate.signature = sign(controller, &certificate.signed_message());
        certificate
    }

    /// Reads a certificate, which delimits itself.
    pub fn read(reader: &mut Reader<'_>) -> Result<CertificateOfOwnership, Malformed> {
        let network = NetworkId::read(reader)?;
        let timestamp = reader.u64()?;
        let flags = reader.u64()?;
        let id = reader.u32()?;
        let count = usize::from(reader.u16()?);
        reader.require(count <= MAX_THINGS)?;
        let things = (0..count)
            .map(|_| Thing::read(reader))
            .collect::<Result<_, _>>()?;
        let issued_to = Address::read(reader)?;
        let signer = Address::read(reader)?;
        let signature = TypedSignature::read(reader)?;
        skip_additions(reader)?;
        Ok(CertificateOfOwnership {
            network,
            timestamp,
            flags,
            id,
            things,
            issued_to,
            signer,
            signature,
        })
    }

    /// What is owned.
    pub fn things(&self) -> &[Thing] {
        &self.things
    }

    /// Whether `thing` is among what is owned.
    pub fn owns(&self, thing: Thing) -> bool {
        self.things.contains(&thing)
    }

    /// Who signed it.
    pub fn signer(&self) -> Address {
        self.signer
    }

    /// Whether the network's controller, whose identity is `controller`, signed it.
    pub fn verify(&self, controller: &Identity) -> bool {
        governs(controller, self.signer, self.network)
            && self.signature.verify(&self.signed_message(), controller)
    }

    fn write_signed<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        out.u64(self.timestamp);
        out.u64(self.flags);
        out.u32(self.id);
        out.u16(self.things.len() as u16);
        for thing in &self.things {
            thing.write(out);
        }
        self.issued_to.write(out);
        self.signer.write(out);
    }

    pub(super) fn signed_message(&self) -> Vec<u8> {
        signed_message(|out| self.write_signed(out))
    }
}

impl Emit for CertificateOfOwnership {
    fn write<S: Sink>(&self, out: &mut S) {
        self.write_signed(out);
        self.signature.write(out);
        out.u16(NO_ADDITIONS);
    }
}
