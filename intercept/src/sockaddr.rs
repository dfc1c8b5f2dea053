//! Kernel socket addresses, and the addresses of the contract.
//!
//! A v4-mapped address on an `AF_INET6` socket is an IPv4 address inside; `encode` maps it back by the socket's
//! family.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use zt_socket_rpc::Family;
use zt_socket_rpc::linux::{AF_INET, AF_INET6};

/// `sizeof(struct sockaddr_in)`.
const V4_LEN: usize = 16;
/// `sizeof(struct sockaddr_in6)`.
const V6_LEN: usize = 28;
/// What the kernel asks for at least (`SIN6_LEN_RFC2133`, without the scope id).
const V6_MINIMUM: usize = 24;

/// An address as the kernel would write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SockAddr {
    bytes: [u8; V6_LEN],
    len: usize,
}

impl SockAddr {
    /// The bytes of a `struct sockaddr_in` or `struct sockaddr_in6`.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// An address that a program gave, with the family that it gave it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) address: SocketAddr,
    pub(crate) family: Family,
}

/// The `sa_family` of an address.
pub(crate) fn family_of(bytes: &[u8]) -> Option<u16> {
    bytes
        .first_chunk()
        .map(|family| u16::from_ne_bytes(*family))
}

/// Reads a complete IPv4 or IPv6 address.
pub(crate) fn parse(bytes: &[u8]) -> Option<Given> {
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match family_of(bytes)? {
        AF_INET if bytes.len() >= V4_LEN => {
            let octets: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            Some(Given {
                address: SocketAddr::new(Ipv4Addr::from(octets).into(), port),
                family: Family::V4,
            })
        }
        AF_INET6 if bytes.len() >= V6_MINIMUM => {
            let octets: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            let scope = bytes
                .get(24..)
                .and_then(<[u8]>::first_chunk)
                .map_or(0, |scope| u32::from_ne_bytes(*scope));
            let ip = Ipv6Addr::from(octets);
            // A zone is meant for addresses that are good for one link; of others Linux forgets it.
            let scope = if ip.is_unicast_link_local() || ip.is_multicast() {
                scope
            } else {
                0
            };
            let address = match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddr::new(v4.into(), port),
                None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)),
            };
            Some(Given {
                address,
                family: Family::V6,
            })
        }
        _ => None,
    }
}

/// Writes an address for a socket of this family. An IPv6 address is never asked for by an IPv4 socket.
pub(crate) fn encode(address: SocketAddr, family: Family) -> SockAddr {
    let mut bytes = [0; V6_LEN];
    let mut put = |at: usize, value: &[u8]| {
        for (to, from) in bytes.iter_mut().skip(at).zip(value) {
            *to = *from;
        }
    };
    put(2, &address.port().to_be_bytes());
    let len = match (family, address.ip()) {
        (Family::V4, IpAddr::V4(ip)) => {
            put(0, &AF_INET.to_ne_bytes());
            put(4, &ip.octets());
            V4_LEN
        }
        (_, ip) => {
            let (octets, scope) = match (ip, address) {
                // The wildcard of a dual-stack socket is `::`, not `::ffff:0.0.0.0`.
                (IpAddr::V4(Ipv4Addr::UNSPECIFIED), _) => ([0; 16], 0),
                (IpAddr::V4(ip), _) => (ip.to_ipv6_mapped().octets(), 0),
                (IpAddr::V6(ip), SocketAddr::V6(v6)) => (ip.octets(), v6.scope_id()),
                (IpAddr::V6(ip), SocketAddr::V4(_)) => (ip.octets(), 0),
            };
            put(0, &AF_INET6.to_ne_bytes());
            put(8, &octets);
            put(24, &scope.to_ne_bytes());
            V6_LEN
        }
    };
    SockAddr { bytes, len }
}

/// The interface that an address names, 0 if none.
pub(crate) const fn scope_of(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(address) => address.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

/// The unspecified address of a family.
pub(crate) const fn wildcard(family: Family, port: u16) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
        Family::V6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str, family: Family) -> Given {
        let address = text.parse().unwrap();
        let given = parse(encode(address, family).as_bytes()).unwrap();
        assert_eq!(given, Given { address, family });
        given
    }

    #[test]
    fn addresses_survive_the_round_trip() {
        round_trip("10.1.2.3:80", Family::V4);
        round_trip("10.1.2.3:80", Family::V6);
        round_trip("[fd00::1]:80", Family::V6);
        round_trip("[fe80::1%3]:80", Family::V6);
    }

    #[test]
    fn a_mapped_address_is_shown_mapped_on_an_ipv6_socket() {
        let shown = encode("10.1.2.3:80".parse().unwrap(), Family::V6);
        assert_eq!(shown.as_bytes().len(), V6_LEN);
        assert_eq!(
            &shown.as_bytes()[8..24],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3]
        );
        assert_eq!(
            &encode("0.0.0.0:80".parse().unwrap(), Family::V6).as_bytes()[8..24],
            &[0; 16]
        );
    }

    #[test]
    fn short_and_foreign_addresses_are_not_taken() {
        let v4 = encode("10.1.2.3:80".parse().unwrap(), Family::V4);
        for cut in 0..V4_LEN {
            assert_eq!(parse(&v4.as_bytes()[..cut]), None);
        }
        let v6 = encode("[fd00::1]:80".parse().unwrap(), Family::V6);
        for cut in 0..V6_MINIMUM {
            assert_eq!(parse(&v6.as_bytes()[..cut]), None);
        }
        assert!(parse(&v6.as_bytes()[..V6_MINIMUM]).is_some());
        assert_eq!(parse(b"\x01\x00/run/socket-of-something-else"), None);
        assert_eq!(parse(&[0; 16]), None);
    }
}
