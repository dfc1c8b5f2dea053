//! Socket addresses and prefixes as they stand in messages and in the state table.
//!
//! Inside the contract an IPv4 address is always an IPv4 address: v4-mapped IPv6 addresses exist only at the program's
//! edge, where the library maps by the family of the socket.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::wire::{Malformed, Reader, Writer};

/// Bytes of an encoded address: family (0, 4 or 6), port, scope id, address.
pub const ADDRESS_LEN: usize = 24;

/// Encodes an address, or the absence of one.
pub fn encode_address(address: Option<SocketAddr>) -> [u8; ADDRESS_LEN] {
    let mut bytes = [0; ADDRESS_LEN];
    let mut out = Writer::new(&mut bytes);
    if let Some(address) = address {
        out.u16(if address.is_ipv4() { 4 } else { 6 });
        out.u16(address.port());
        match address {
            SocketAddr::V4(v4) => {
                out.u32(0);
                out.bytes(&v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                out.u32(v6.scope_id());
                out.bytes(&v6.ip().octets());
            }
        }
    }
    bytes
}

/// Decodes what [`encode_address`] wrote.
///
/// # Errors
/// The family is unknown.
pub fn decode_address(bytes: &[u8; ADDRESS_LEN]) -> Result<Option<SocketAddr>, Malformed> {
    let mut input = Reader::new(bytes);
    let family = input.u16()?;
    let port = input.u16()?;
    let scope = input.u32()?;
    let octets: [u8; 16] = input.array()?;
    match family {
        0 => Ok(None),
        4 => {
            let [a, b, c, d, ..] = octets;
            Ok(Some(SocketAddr::from((Ipv4Addr::new(a, b, c, d), port))))
        }
        6 => Ok(Some(SocketAddr::V6(SocketAddrV6::new(
            Ipv6Addr::from(octets),
            port,
            0,
            scope,
        )))),
        _ => Err(Malformed::because("unknown address family")),
    }
}

/// An address with the length of its network part: an address of our own, or a route's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The address, host part included.
    pub address: IpAddr,
    /// Bits of the network part.
    pub length: u8,
}

impl Prefix {
    pub(crate) const LEN: usize = 24;

    /// Whether `address` is inside. An address of the other family never is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let host_bits = u32::from(width - self.length.min(width));
        (ours ^ theirs).checked_shr(host_bits).unwrap_or(0) == 0
    }

    /// The mask of the network.
    pub fn netmask(&self) -> IpAddr {
        let bits = u32::from(self.length);
        match self.address {
            IpAddr::V4(_) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits));
                Ipv4Addr::from_bits(mask.unwrap_or(0)).into()
            }
            IpAddr::V6(_) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits));
                Ipv6Addr::from_bits(mask.unwrap_or(0)).into()
            }
        }
    }

    /// The last address of an IPv4 network.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match (self.address, self.netmask()) {
            (IpAddr::V4(ip), IpAddr::V4(mask)) => {
                Some(Ipv4Addr::from_bits(ip.to_bits() | !mask.to_bits()))
            }
            _ => None,
        }
    }

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        // The port field of the common form carries the length.
        encode_address(Some(SocketAddr::new(self.address, u16::from(self.length))))
    }

    pub(crate) fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let address = decode_address(bytes).ok()??;
        Some(Self {
            address: address.ip(),
            length: u8::try_from(address.port()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, length: u8) -> Prefix {
        Prefix {
            address: address.parse().unwrap(),
            length,
        }
    }

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["10.1.2.3:80", "0.0.0.0:0", "[fd00::1]:443", "[fe80::1%7]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(
                decode_address(&encode_address(Some(address))),
                Ok(Some(address))
            );
        }
        assert_eq!(decode_address(&encode_address(None)), Ok(None));
        assert!(decode_address(&[9; ADDRESS_LEN]).is_err());
    }

    #[test]
    fn a_network_has_a_mask_and_a_broadcast_address() {
        for (address, length, mask, last) in [
            ("10.1.2.3", 24, "255.255.255.0", Some("10.1.2.255")),
            ("10.1.2.3", 32, "255.255.255.255", Some("10.1.2.3")),
            ("10.1.2.3", 0, "0.0.0.0", Some("255.255.255.255")),
            ("fd00::1", 88, "ffff:ffff:ffff:ffff:ffff:ff00::", None),
            ("fd00::1", 0, "::", None),
        ] {
            let prefix = prefix(address, length);
            assert_eq!(prefix.netmask(), mask.parse::<IpAddr>().unwrap());
            assert_eq!(prefix.broadcast(), last.map(|ip| ip.parse().unwrap()));
        }
    }

    #[test]
    fn a_prefix_contains_its_network_and_no_other() {
        let lan = prefix("10.147.21.50", 24);
        assert!(lan.contains("10.147.21.1".parse().unwrap()));
        assert!(!lan.contains("10.147.22.1".parse().unwrap()));
        assert!(!lan.contains("::ffff:10.147.21.1".parse().unwrap()));
        assert!(prefix("0.0.0.0", 0).contains("203.0.113.7".parse().unwrap()));
        assert!(prefix("10.0.0.1", 32).contains("10.0.0.1".parse().unwrap()));
        assert!(!prefix("10.0.0.1", 32).contains("10.0.0.2".parse().unwrap()));
        assert!(prefix("::", 0).contains("fd00::1".parse().unwrap()));
        assert!(prefix("fd00::", 64).contains("fd00::1".parse().unwrap()));
        assert!(!prefix("fd00::", 64).contains("fd00:0:0:1::1".parse().unwrap()));
        assert_eq!(Prefix::decode(&lan.encode()), Some(lan));
    }
}
