//! Own addresses and the way to others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{HostConfig, IpCidr};
use crate::link::{BROADCAST, group_mac};
use crate::names::RESOLVER;
use crate::neighbour::Mac;

/// The decision for a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Who gets the frame: the destination, a gateway, or this host itself.
    pub(crate) hop: IpAddr,
    /// The own address to speak from.
    pub(crate) source: IpAddr,
}

/// How a datagram, which may be for many, gets to its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The destination is this host.
    Own,
    /// By a neighbour.
    Hop(IpAddr),
    /// To all of a group, or all of the link.
    Many(Mac),
}

/// Addresses and routes of a host.
#[derive(Debug)]
pub(crate) struct RouteTable {
    addresses: Vec<IpCidr>,
    /// Longest prefix first.
    routes: Vec<(IpCidr, Option<IpAddr>)>,
}

impl RouteTable {
    /// Takes what is usable of a configuration: unicast addresses, and routes with a possible prefix.
    pub(crate) fn new(config: &HostConfig) -> RouteTable {
        let addresses: Vec<_> = config
            .addresses
            .iter()
            .copied()
            .filter(|(ip, _)| is_unicast(*ip))
            .collect();
        let on_link = addresses.iter().map(|cidr| (*cidr, None));
        let stated = config.routes.iter().map(|route| (route.prefix, route.via));
        let mut routes: Vec<_> = on_link
            .chain(stated)
            .filter(|((ip, len), _)| *len <= width(*ip))
            .collect();
        routes.sort_by_key(|((_, len), _)| std::cmp::Reverse(*len));
        RouteTable { addresses, routes }
    }

    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|(own, _)| *own == ip)
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().map(|(ip, _)| *ip)
    }

    /// Whether an address is the broadcast address of the link, or of one of our prefixes.
    pub(crate) fn is_broadcast(&self, ip: Ipv4Addr) -> bool {
        ip.is_broadcast()
            || self.addresses.iter().any(|cidr| match *cidr {
                // RFC 3021: a /31 has no broadcast address.
                (IpAddr::V4(own), len) if len < 31 => {
                    ip.to_bits() == own.to_bits() | u32::MAX.checked_shr(len.into()).unwrap_or(0)
                }
                _ => false,
            })
    }

    /// Whether a packet may come from this address: unicast, no broadcast, not our own.
    pub(crate) fn can_be_peer(&self, ip: IpAddr) -> bool {
        is_unicast(ip) && !self.is_own(ip) && !matches!(ip, IpAddr::V4(ip) if self.is_broadcast(ip))
    }

    /// The way of a datagram, and the own address to speak from.
    pub(crate) fn way_of_datagram(&self, ip: IpAddr) -> Option<(Reach, IpAddr)> {
        let mac = match ip {
            // To itself from itself, as with every own address.
            _ if ip == RESOLVER => return Some((Reach::Own, ip)),
            IpAddr::V4(v4) if self.is_broadcast(v4) => BROADCAST,
            _ if ip.is_multicast() => group_mac(ip),
            _ => {
                let way = self.way_to(ip)?;
                let reach = if way.hop == ip && self.is_own(ip) {
                    Reach::Own
                } else {
                    Reach::Hop(way.hop)
                };
                return Some((reach, way.source));
            }
        };
        let same_family = || {
            self.addresses
                .iter()
                .filter(|(own, _)| own.is_ipv4() == ip.is_ipv4())
        };
        let (source, _) = same_family()
            .find(|own| contains(**own, ip))
            .or_else(|| same_family().next())?;
        Some((Reach::Many(mac), *source))
    }

    /// The way to a destination.
    pub(crate) fn way_to(&self, ip: IpAddr) -> Option<Way> {
        if self.is_own(ip) {
            return Some(Way {
                hop: ip,
                source: ip,
            });
        }
        if !is_unicast(ip) {
            return None;
        }
        let (_, via) = self
            .routes
            .iter()
            .find(|(prefix, _)| contains(*prefix, ip))?;
        let hop = via.unwrap_or(ip);
        let same_family = || {
            self.addresses
                .iter()
                .filter(|(own, _)| own.is_ipv4() == hop.is_ipv4())
        };
        let (source, _) = same_family()
            .filter(|own| contains(**own, hop))
            .min_by_key(|(_, len)| std::cmp::Reverse(*len))
            .or_else(|| same_family().next())?;
        Some(Way {
            hop,
            source: *source,
        })
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

pub(crate) fn contains((prefix, len): IpCidr, ip: IpAddr) -> bool {
    match (prefix, ip) {
        (IpAddr::V4(prefix), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            (prefix.to_bits() ^ ip.to_bits()) & mask == 0
        }
        (IpAddr::V6(prefix), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            (prefix.to_bits() ^ ip.to_bits()) & mask == 0
        }
        _ => false,
    }
}

fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_loopback()
                || ip.octets()[0] == 0)
        }
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip == Ipv6Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Route;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn table() -> RouteTable {
        RouteTable::new(&HostConfig {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 2800,
            addresses: vec![
                (ip("10.1.0.7"), 16),
                (ip("10.2.0.7"), 24),
                (ip("fd00::7"), 64),
            ],
            routes: vec![
                Route {
                    prefix: (ip("192.168.0.0"), 16),
                    via: Some(ip("10.1.0.1")),
                },
                Route {
                    prefix: (ip("192.168.5.0"), 24),
                    via: Some(ip("10.2.0.1")),
                },
                Route {
                    prefix: (ip("172.16.0.0"), 12),
                    via: None,
                },
                Route {
                    prefix: (ip("1.0.0.0"), 99),
                    via: None,
                },
            ],
        })
    }

    fn way(to: &str) -> Option<(IpAddr, IpAddr)> {
        table().way_to(ip(to)).map(|way| (way.hop, way.source))
    }

    #[test]
    fn the_longest_prefix_wins() {
        assert_eq!(way("10.1.2.3"), Some((ip("10.1.2.3"), ip("10.1.0.7"))));
        assert_eq!(way("192.168.4.4"), Some((ip("10.1.0.1"), ip("10.1.0.7"))));
        assert_eq!(way("192.168.5.4"), Some((ip("10.2.0.1"), ip("10.2.0.7"))));
        assert_eq!(way("172.17.0.1"), Some((ip("172.17.0.1"), ip("10.1.0.7"))));
        assert_eq!(way("fd00::9"), Some((ip("fd00::9"), ip("fd00::7"))));
        assert_eq!(way("8.8.8.8"), None);
        assert_eq!(way("1.2.3.4"), None);
        assert_eq!(way("224.0.0.1"), None);
    }

    #[test]
    fn the_first_of_equal_addresses_speaks() {
        let mut config = HostConfig {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 2800,
            addresses: vec![(ip("10.1.0.7"), 16), (ip("10.1.0.8"), 16)],
            routes: Vec::new(),
        };
        for first in ["10.1.0.7", "10.1.0.8"] {
            let way = RouteTable::new(&config).way_to(ip("10.1.2.3"));
            assert_eq!(way.map(|way| way.source), Some(ip(first)));
            config.addresses.reverse();
        }
    }

    #[test]
    fn datagrams_for_many_leave_from_the_address_that_is_nearest() {
        let many = |to: &str| table().way_of_datagram(ip(to));
        let all = Reach::Many([0xff; 6]);
        assert_eq!(many("10.1.255.255"), Some((all, ip("10.1.0.7"))));
        assert_eq!(many("10.2.0.255"), Some((all, ip("10.2.0.7"))));
        assert_eq!(many("255.255.255.255"), Some((all, ip("10.1.0.7"))));
        let group = Reach::Many([0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(many("ff02::1"), Some((group, ip("fd00::7"))));
        assert_eq!(many("10.1.0.7"), Some((Reach::Own, ip("10.1.0.7"))));
        let hop = Reach::Hop(ip("10.1.0.1"));
        assert_eq!(many("192.168.4.4"), Some((hop, ip("10.1.0.7"))));
        assert_eq!(many("8.8.8.8"), None);
    }

    #[test]
    fn own_addresses_lead_to_themselves() {
        assert_eq!(way("10.2.0.7"), Some((ip("10.2.0.7"), ip("10.2.0.7"))));
    }

    #[test]
    fn broadcast_addresses_of_own_prefixes_are_known() {
        let table = table();
        for (text, expected) in [
            ("10.1.255.255", true),
            ("10.2.0.255", true),
            ("255.255.255.255", true),
            ("10.2.255.255", false),
        ] {
            assert_eq!(
                table.is_broadcast(text.parse().expect("an address")),
                expected,
                "{text}"
            );
        }
        assert!(!table.can_be_peer(ip("10.1.255.255")));
        assert!(!table.can_be_peer(ip("10.1.0.7")));
        assert!(!table.can_be_peer(ip("0.0.0.0")));
        assert!(table.can_be_peer(ip("8.8.8.8")));
    }
}
