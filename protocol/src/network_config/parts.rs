//! The composite values of a network configuration.

use super::shortened;
use crate::address::Address;
use crate::dictionary::Dictionary;
use crate::inet::{InetAddress, IpPrefix};
use crate::wire::{Emit, Malformed, Reader, Sink};
use std::net::{IpAddr, SocketAddr};

/// A role that a member may have (VL2 §2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Role {
    /// May send frames of others.
    ActiveBridge = 0x0000_0200_0000_0000,
    /// Is always contacted.
    Anchor = 0x0000_0400_0000_0000,
    /// Sends multicasts on.
    MulticastReplicator = 0x0000_0800_0000_0000,
}

/// A member with roles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Specialist(u64);

impl Specialist {
    /// Gives `role` to `member`.
    pub fn new(member: Address, role: Role) -> Specialist {
        Specialist(member.to_u64() | role as u64)
    }

    /// The member.
    pub fn address(self) -> Address {
        Address::new(self.0)
    }

    /// Whether it has `role`.
    pub fn is(self, role: Role) -> bool {
        self.0 & role as u64 != 0
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Specialist, Malformed> {
        reader.u64().map(Specialist)
    }
}

impl Emit for Specialist {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u64(self.0);
    }
}

impl std::fmt::Debug for Specialist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Specialist({} roles {:x})", self.address(), self.0 >> 40)
    }
}

/// A managed route (VL2 §2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub target: IpPrefix,
    /// The gateway; none if the target is on the link.
    pub via: Option<IpAddr>,
    /// None are defined.
    pub flags: u16,
    /// Smaller is preferred.
    pub metric: u16,
}

impl Route {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Route, Malformed> {
        Ok(Route {
            target: IpPrefix::read(reader)?,
            via: InetAddress::read(reader)?.0.map(|address| address.ip()),
            flags: reader.u16()?,
            metric: reader.u16()?,
        })
    }
}

impl Emit for Route {
    fn write<S: Sink>(&self, out: &mut S) {
        self.target.write(out);
        InetAddress(self.via.map(|ip| SocketAddr::new(ip, 0))).write(out);
        out.u16(self.flags);
        out.u16(self.metric);
    }
}

/// Name servers for a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// The domain.
    pub domain: String,
    /// Its servers, at most four.
    pub servers: Vec<IpAddr>,
}

impl Dns {
    const DOMAIN_LEN: usize = 128;
    const MAX_SERVERS: usize = 4;

    pub(super) fn parse(bytes: &[u8]) -> Result<Dns, Malformed> {
        if bytes.is_empty() {
            return Ok(Dns::default());
        }
        let mut reader = Reader::new(bytes, "name servers");
        let domain = reader.bytes(Self::DOMAIN_LEN)?;
        let domain = domain.split(|&byte| byte == 0).next().unwrap_or_default();
        let mut servers = Vec::new();
        for _ in 0..Self::MAX_SERVERS {
            servers.extend(
                InetAddress::read(&mut reader)?
                    .0
                    .map(|address| address.ip()),
            );
        }
        Ok(Dns {
            domain: String::from_utf8_lossy(domain).into_owned(),
            servers,
        })
    }
}

impl Emit for Dns {
    fn write<S: Sink>(&self, out: &mut S) {
        let mut domain = [0; Self::DOMAIN_LEN];
        let text = self.domain.as_bytes();
        let length = text.len().min(Self::DOMAIN_LEN - 1);
        domain[..length].copy_from_slice(&text[..length]);
        out.put(&domain);
        for index in 0..Self::MAX_SERVERS {
            let server = self.servers.get(index).map(|&ip| SocketAddr::new(ip, 0));
            InetAddress(server).write(out);
        }
    }
}

/// How a user logs in to a network that demands it (VL2 §2.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SingleSignOn {
    /// 0: a page to visit; 1: OpenID Connect.
    pub version: u64,
    /// Whether logging in is demanded.
    pub is_enabled: bool,
    /// Version 0: the page.
    pub url: String,
    /// Version 0: when the log-in expires, in milliseconds.
    pub expiry: u64,
    /// Version 1: the issuer's URL.
    pub issuer: String,
    /// Version 1: the URL of the central service.
    pub central: String,
    /// Version 1.
    pub nonce: String,
    /// Version 1.
    pub state: String,
    /// Version 1.
    pub client_id: String,
    /// Version 1.
    pub provider: String,
}

impl SingleSignOn {
    pub(super) fn from_dictionary(d: &Dictionary) -> SingleSignOn {
        let text = |key, limit| shortened(d.text(key).unwrap_or_default(), limit);
        SingleSignOn {
            version: d.integer("ssov").unwrap_or(0),
            is_enabled: d.boolean("ssoe"),
            url: text("aurl", 2047),
            expiry: d.integer("aexpt").unwrap_or(0),
            issuer: text("iurl", 2047),
            central: text("ssoce", 2047),
            nonce: text("sson", 127),
            state: text("ssos", 255),
            client_id: text("ssocid", 255),
            provider: text("ssop", 63),
        }
    }

    pub(super) fn push_to(&self, d: &mut Dictionary) {
        d.push_integer("ssov", self.version);
        d.push_boolean("ssoe", self.is_enabled);
        match (self.is_enabled, self.version) {
            (false, _) => {}
            (true, 0) => {
                d.push("aurl", &self.url);
                d.push_integer("aexpt", self.expiry);
            }
            (true, _) => {
                d.push("iurl", &self.issuer);
                d.push("ssoce", &self.central);
                d.push("sson", &self.nonce);
                d.push("ssos", &self.state);
                d.push("ssocid", &self.client_id);
                d.push("ssop", &self.provider);
            }
        }
    }
}
