//! The verbs by which peers find identities and direct paths: WHOIS, RENDEZVOUS and
//! PUSH_DIRECT_PATHS (VL1 §3.5, §3.6, §3.16).

use crate::address::Address;
use crate::identity::Identity;
use crate::wire::{Emit, Malformed, Reader, Sink};
use std::net::{IpAddr, SocketAddr};

/// The addresses that a WHOIS asks for. One address is asked for by emitting it alone.
pub fn whois_addresses(body: &[u8]) -> impl Iterator<Item = Address> {
    let (addresses, _) = body.as_chunks();
    addresses.iter().map(|&bytes| Address::from_bytes(bytes))
}

/// The identities in an OK(WHOIS), up to the first malformed one.
pub fn whois_identities(payload: &[u8]) -> impl Iterator<Item = Identity> {
    let mut reader = Reader::new(payload, "OK(WHOIS)");
    std::iter::from_fn(move || Identity::read(&mut reader).ok())
}

/// RENDEZVOUS: a root tells a peer where another one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// None are defined.
    pub flags: u8,
    /// The other peer.
    pub peer: Address,
    /// Where it is.
    pub address: SocketAddr,
}

impl Rendezvous {
    /// Parses the body.
    pub fn parse(body: &[u8]) -> Result<Rendezvous, Malformed> {
        let mut reader = Reader::new(body, "RENDEZVOUS");
        let flags = reader.u8()?;
        let peer = Address::read(&mut reader)?;
        let port = reader.u16()?;
        let ip = match reader.u8()? {
            4 => IpAddr::from(reader.array::<4>()?),
            16 => IpAddr::from(reader.array::<16>()?),
            _ => return Err(reader.malformed()),
        };
        Ok(Rendezvous {
            flags,
            peer,
            address: SocketAddr::new(ip, port),
        })
    }
}

impl Emit for Rendezvous {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u8(self.flags);
        self.peer.write(out);
        out.u16(self.address.port());
        match self.address.ip() {
            IpAddr::V4(ip) => {
                out.u8(4);
                out.put(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.u8(16);
                out.put(&ip.octets());
            }
        }
    }
}

/// One address in a PUSH_DIRECT_PATHS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushedPath {
    /// See [`PushedPath::is_forgotten`].
    pub flags: u8,
    /// Where the sender says it is.
    pub address: SocketAddr,
}

impl PushedPath {
    const FORGET: u8 = 0x01;

    /// Whether the address is not to be tried.
    pub fn is_forgotten(&self) -> bool {
        self.flags & Self::FORGET != 0
    }
}

/// PUSH_DIRECT_PATHS: where the sender may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushDirectPaths {
    /// The addresses.
    pub paths: Vec<PushedPath>,
}

impl PushDirectPaths {
    const IPV4: u8 = 4;
    const IPV6: u8 = 6;

    /// Parses the body; addresses that are not IP are skipped.
    pub fn parse(body: &[u8]) -> Result<PushDirectPaths, Malformed> {
        let mut reader = Reader::new(body, "PUSH_DIRECT_PATHS");
        let mut paths = Vec::new();
        for _ in 0..reader.u16()? {
            let flags = reader.u8()?;
            let extended = reader.u16()?;
            reader.bytes(extended.into())?;
            let kind = reader.u8()?;
            let length = reader.u8()?;
            let mut address = Reader::new(reader.bytes(length.into())?, "PUSH_DIRECT_PATHS");
            let ip = match kind {
                Self::IPV4 => IpAddr::from(address.array::<4>()?),
                Self::IPV6 => IpAddr::from(address.array::<16>()?),
                _ => continue,
            };
            paths.push(PushedPath {
                flags,
                address: SocketAddr::new(ip, address.u16()?),
            });
        }
        Ok(PushDirectPaths { paths })
    }
}

impl Emit for PushDirectPaths {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u16(self.paths.len() as u16);
        for path in &self.paths {
            out.u8(path.flags);
            out.u16(0);
            match path.address.ip() {
                IpAddr::V4(ip) => {
                    out.put(&[Self::IPV4, 6]);
                    out.put(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.put(&[Self::IPV6, 18]);
                    out.put(&ip.octets());
                }
            }
            out.u16(path.address.port());
        }
    }
}
