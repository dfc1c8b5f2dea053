//! The LAN in the table's header: addresses, routes, and the interface that programs see.

use core::net::{IpAddr, Ipv4Addr};
use core::sync::atomic::Ordering;

use super::{
    H_COUNTS, H_INTERFACE, H_NEAR, H_PREFIXES, H_SEQUENCE, MAX_ADDRESSES, MAX_ROUTES, PREFIX_WORDS,
    Table, TableWriter, change, consistent, load, store,
};
use crate::address::Prefix;
use crate::names::HostName;
use crate::wire::{Reader, Writer};

/// What programs see of the LAN's interface. Its index is [`LAN_INTERFACE`](crate::LAN_INTERFACE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, filled up with zeros; at least one.
    pub name: [u8; Self::NAME_LEN],
    /// Its link address.
    pub mac: [u8; 6],
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The network's domain, whose names the service looks up.
    pub domain: Option<HostName>,
}

impl Interface {
    /// `IFNAMSIZ`.
    pub const NAME_LEN: usize = 16;
    /// The longest domain that is published: that of a network has 127 bytes at most.
    pub const MAX_DOMAIN: usize = 127;
    pub(super) const LEN: usize = 160;

    /// The name without the zeros.
    pub fn name(&self) -> &[u8] {
        self.name
            .split(|&byte| byte == 0)
            .next()
            .unwrap_or_default()
    }

    fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut out = Writer::new(&mut bytes);
        out.bytes(&self.name);
        out.bytes(&self.mac);
        out.u16(0);
        out.u32(self.mtu);
        let domain = self.domain.as_ref().map_or(&[][..], HostName::as_bytes);
        let domain = domain.get(..Self::MAX_DOMAIN).unwrap_or(domain);
        out.u8(domain.len() as u8);
        out.bytes(domain);
        bytes
    }

    fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut input = Reader::new(bytes);
        let mut name: [u8; Self::NAME_LEN] = input.array().ok()?;
        // A name without an end would run on in a program.
        name[Self::NAME_LEN - 1] = 0;
        let mac = input.array().ok()?;
        input.u16().ok()?;
        let mtu = input.u32().ok()?;
        let len = input.u8().ok()?;
        let domain = HostName::new(input.slice(usize::from(len)).ok()?);
        Some(Self {
            name,
            mac,
            mtu,
            domain,
        })
        .filter(|interface| interface.name[0] != 0)
    }
}

impl Table<'_> {
    /// Whether the LAN's routes lead to `address`: as in the routing table of a host with both networks the longest prefix
    /// decides, and the LAN's of two that are alike. So a default route of the LAN leaves the container its neighbours.
    pub fn routes_to(&self, address: IpAddr) -> bool {
        self.route_to(address).is_some()
    }

    /// The length of the prefix by which the LAN's routes lead to `address`, if they do: 0 for a default route.
    pub fn route_to(&self, address: IpAddr) -> Option<u8> {
        consistent(&self.0[H_SEQUENCE], || {
            let (_, routes) = self.counts();
            let near = self.0[H_NEAR].load(Ordering::Relaxed) as usize;
            let longest = |from: usize, count: usize| {
                (from..(from + count).min(MAX_ROUTES))
                    .filter_map(|index| self.prefix(MAX_ADDRESSES + index))
                    .filter(|prefix| prefix.contains(address))
                    .map(|prefix| prefix.length)
                    .max()
            };
            longest(0, routes).filter(|&route| Some(route) >= longest(routes, near))
        })?
    }

    /// Whether `address` is one of this service's own on the LAN.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.any_prefix(|own, prefix| own && prefix.address == address)
    }

    /// Whether `address` is the broadcast address of one of the LAN's own prefixes.
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        self.any_prefix(|own, prefix| {
            // RFC 3021: a /31 has no broadcast address.
            own && prefix.length < 31 && prefix.broadcast().map(IpAddr::V4) == Some(address)
        })
    }

    /// The first of this service's own IPv4 addresses.
    pub fn own_v4(&self) -> Option<Ipv4Addr> {
        self.find_prefix(|own, prefix| match prefix.address {
            IpAddr::V4(ours) if own => Some(ours),
            _ => None,
        })
    }

    /// The service's own addresses on the LAN, with their networks.
    pub fn own_addresses(&self) -> [Option<Prefix>; MAX_ADDRESSES] {
        let own = consistent(&self.0[H_SEQUENCE], || {
            let (own, _) = self.counts();
            let mut prefixes = [None; MAX_ADDRESSES];
            for (index, prefix) in prefixes.iter_mut().enumerate().take(own) {
                *prefix = self.prefix(index);
            }
            prefixes
        });
        own.unwrap_or([None; MAX_ADDRESSES])
    }

    /// The LAN's interface; `None` before the service has published it.
    pub fn interface(&self) -> Option<Interface> {
        let bytes = consistent(&self.0[H_SEQUENCE], || {
            let mut bytes = [0; Interface::LEN];
            load(&self.0[H_INTERFACE..], &mut bytes);
            bytes
        })?;
        Interface::decode(&bytes)
    }

    fn counts(&self) -> (usize, usize) {
        let counts = self.0[H_COUNTS].load(Ordering::Relaxed);
        let own = ((counts & 0xffff_ffff) as usize).min(MAX_ADDRESSES);
        let routes = ((counts >> 32) as usize).min(MAX_ROUTES);
        (own, routes)
    }

    fn prefix(&self, index: usize) -> Option<Prefix> {
        let mut bytes = [0; Prefix::LEN];
        load(&self.0[H_PREFIXES + index * PREFIX_WORDS..], &mut bytes);
        Prefix::decode(&bytes)
    }

    fn any_prefix(&self, wanted: impl Fn(bool, &Prefix) -> bool) -> bool {
        self.find_prefix(|own, prefix| wanted(own, prefix).then_some(()))
            .is_some()
    }

    fn find_prefix<T>(&self, wanted: impl Fn(bool, &Prefix) -> Option<T>) -> Option<T> {
        consistent(&self.0[H_SEQUENCE], || {
            let (own, routes) = self.counts();
            (0..own)
                .chain(MAX_ADDRESSES..MAX_ADDRESSES + routes)
                .find_map(|index| wanted(index < MAX_ADDRESSES, &self.prefix(index)?))
        })?
    }
}

impl TableWriter<'_> {
    /// Publishes the LAN: the service's own addresses, and every prefix that is reached through the LAN (the managed
    /// routes, the default route only when the network may set it); and those on the links of the container's own
    /// network, which are `near`. What exceeds the room is left out.
    pub fn set_lan(&mut self, addresses: &[Prefix], routes: &[Prefix], near: &[Prefix]) {
        let own = addresses.len().min(MAX_ADDRESSES);
        let routed = routes.len().min(MAX_ROUTES);
        let near = near.get(..MAX_ROUTES - routed).unwrap_or(near);
        change(&self.words[H_SEQUENCE], || {
            self.words[H_COUNTS].store(own as u64 | (routed as u64) << 32, Ordering::Relaxed);
            self.words[H_NEAR].store(near.len() as u64, Ordering::Relaxed);
            let own = addresses.iter().take(MAX_ADDRESSES).enumerate();
            let routes = routes
                .iter()
                .take(MAX_ROUTES)
                .chain(near)
                .enumerate()
                .map(|(at, route)| (MAX_ADDRESSES + at, route));
            for (index, prefix) in own.chain(routes) {
                store(
                    &self.words[H_PREFIXES + index * PREFIX_WORDS..],
                    &prefix.encode(),
                );
            }
        });
    }

    /// Publishes the LAN's interface.
    pub fn set_interface(&mut self, interface: &Interface) {
        change(&self.words[H_SEQUENCE], || {
            store(&self.words[H_INTERFACE..], &interface.encode());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_survives_its_bytes() {
        let mut interface = Interface {
            name: *b"ztmjfmfyq5\0\0\0\0\0\0",
            mac: [2, 1, 2, 3, 4, 5],
            mtu: 2800,
            domain: HostName::new(b"corp.example"),
        };
        assert_eq!(Interface::decode(&interface.encode()), Some(interface));
        assert_eq!(interface.name(), b"ztmjfmfyq5");
        interface.domain = None;
        assert_eq!(Interface::decode(&interface.encode()), Some(interface));
        assert_eq!(Interface::decode(&[0; Interface::LEN]), None);
        let endless = Interface::decode(&[b'x'; Interface::LEN]);
        assert!(endless.is_none_or(|endless| endless.name().len() < Interface::NAME_LEN));
    }
}
