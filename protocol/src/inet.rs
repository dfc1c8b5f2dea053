//! Physical addresses: their wire form (VL1 §3.0) and which of them may carry packets (VL1 §4.12).

use crate::wire::{Emit, Malformed, Reader, Sink};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

const NULL: u8 = 0x00;
const ETHERNET: u8 = 0x01;
const BLUETOOTH: u8 = 0x02;
const OTHER: u8 = 0x03;
const IPV4: u8 = 0x04;
const IPV6: u8 = 0x06;

/// An IP address and port, or nothing. In network configurations the port is a prefix length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InetAddress(pub Option<SocketAddr>);

impl InetAddress {
    /// Reads an address. Kinds that are not IP are skipped and become nothing.
    pub fn read(reader: &mut Reader<'_>) -> Result<InetAddress, Malformed> {
        let ip = match reader.u8()? {
            NULL => return Ok(InetAddress(None)),
            IPV4 => IpAddr::from(reader.array::<4>()?),
            IPV6 => IpAddr::from(reader.array::<16>()?),
            ETHERNET | BLUETOOTH => {
                reader.bytes(6)?;
                return Ok(InetAddress(None));
            }
            OTHER => {
                let length = reader.u16()?;
                reader.bytes(length.into())?;
                return Ok(InetAddress(None));
            }
            _ => return Err(reader.malformed()),
        };
        Ok(InetAddress(Some(SocketAddr::new(ip, reader.u16()?))))
    }
}

impl Emit for InetAddress {
    fn write<S: Sink>(&self, out: &mut S) {
        let Some(address) = self.0 else {
            return out.u8(NULL);
        };
        match address.ip() {
            IpAddr::V4(ip) => {
                out.u8(IPV4);
                out.put(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.u8(IPV6);
                out.put(&ip.octets());
            }
        }
        out.u16(address.port());
    }
}

impl From<SocketAddr> for InetAddress {
    fn from(address: SocketAddr) -> Self {
        InetAddress(Some(address))
    }
}

/// An IP address and how many of its bits name its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpPrefix {
    address: IpAddr,
    bits: u8,
}

impl IpPrefix {
    /// `None` if the address has fewer bits than that.
    pub fn new(address: IpAddr, bits: u8) -> Option<IpPrefix> {
        (bits <= width(address)).then_some(IpPrefix { address, bits })
    }

    /// The address, with its host bits.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits name the network.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The address without its host bits.
    pub fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.bits))
                    .unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() & mask).into()
            }
        }
    }

    /// The last address of the network: all host bits set.
    pub fn last(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(ip) => {
                let host = u32::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() | host).into()
            }
            IpAddr::V6(ip) => {
                let host = u128::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() | host).into()
            }
        }
    }

    /// Whether `ip` is in the same network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        IpPrefix::new(ip, self.bits).is_some_and(|other| {
            ip.is_ipv4() == self.address.is_ipv4() && other.network() == self.network()
        })
    }

    /// Reads an address whose port is a number of bits (VL2 §2.6).
    pub fn read(reader: &mut Reader<'_>) -> Result<IpPrefix, Malformed> {
        let address = InetAddress::read(reader)?.0;
        address
            .and_then(|address| IpPrefix::new(address.ip(), address.port().try_into().ok()?))
            .ok_or(reader.malformed())
    }
}

impl Emit for IpPrefix {
    fn write<S: Sink>(&self, out: &mut S) {
        InetAddress(Some(SocketAddr::new(self.address, self.bits.into()))).write(out);
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for IpPrefix {
    type Err = Malformed;

    /// Parses `address/bits`; without bits the address is a whole one.
    fn from_str(text: &str) -> Result<IpPrefix, Malformed> {
        const MALFORMED: Malformed = Malformed("IP prefix");
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| MALFORMED)?;
        let bits = match bits {
            None => width(address),
            Some(bits) => bits.parse().map_err(|_| MALFORMED)?,
        };
        IpPrefix::new(address, bits).ok_or(MALFORMED)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// How far an IP address reaches. The order is the order of preference among paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Scope {
    /// Unusable.
    None = 0,
    /// A multicast group.
    Multicast = 1,
    /// This machine.
    Loopback = 2,
    /// Public address space that some organisations use privately.
    PseudoPrivate = 3,
    /// The Internet.
    Global = 4,
    /// One link.
    LinkLocal = 5,
    /// Unused; keeps the numbering.
    Shared = 6,
    /// A private network.
    Private = 7,
}

impl Scope {
    /// Every scope, best first.
    pub const BEST_FIRST: [Scope; 8] = [
        Scope::Private,
        Scope::Shared,
        Scope::LinkLocal,
        Scope::Global,
        Scope::PseudoPrivate,
        Scope::Loopback,
        Scope::Multicast,
        Scope::None,
    ];

    /// Classifies an address.
    pub fn of(ip: IpAddr) -> Scope {
        match ip {
            IpAddr::V4(ip) => Scope::of_v4(ip),
            IpAddr::V6(ip) => Scope::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Scope {
        match ip.octets() {
            [0 | 255, ..] => Scope::None,
            [127, ..] => Scope::Loopback,
            [224..=239, ..] => Scope::Multicast,
            [240..=254, ..] => Scope::PseudoPrivate,
            [6 | 11 | 21 | 22 | 25 | 26 | 28 | 29 | 30 | 51 | 55 | 56, ..] => Scope::PseudoPrivate,
            [169, 254, ..] => Scope::LinkLocal,
            [10, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [100, 64..=127, ..]
            | [192, 0, 2, _]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Scope::Private,
            _ => Scope::Global,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Scope {
        const FE80_1: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Scope::None,
            [0xff00..=0xffff, ..] => Scope::Multicast,
            [0, 0, 0, 0, 0, 0, 0, 1] => Scope::Loopback,
            [0, 0, 0, 0, 0, 0xffff, 0x7f00..=0x7fff, _] => Scope::Loopback,
            _ if ip == FE80_1 => Scope::Loopback,
            [0xfe80..=0xfebf, ..] => Scope::LinkLocal,
            [0xfc00..=0xfdff, ..] => Scope::Private,
            _ => Scope::Global,
        }
    }
}

/// Whether a peer may ever be reached at `ip` (VL1 §4.12, rule 1).
pub fn may_be_path(ip: IpAddr) -> bool {
    let tunnelled = matches!(ip, IpAddr::V6(ip) if ip.segments()[..2] == [0x2001, 0x0470]);
    !tunnelled
        && matches!(
            Scope::of(ip),
            Scope::Private | Scope::Shared | Scope::Global | Scope::PseudoPrivate
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<InetAddress, Malformed> {
        InetAddress::read(&mut Reader::new(bytes, "address"))
    }

    #[test]
    fn addresses_match_the_vectors() {
        for (text, hex) in [
            ("1.2.3.4:9993", "04010203042709"),
            (
                "[2001:db8::1]:443",
                "0620010db800000000000000000000000101bb",
            ),
        ] {
            let address = InetAddress(Some(text.parse().unwrap()));
            let bytes = address.to_bytes();
            assert_eq!(crate::wire::to_hex(&bytes), hex);
            assert_eq!(parse(&bytes), Ok(address));
            for length in 0..bytes.len() {
                assert!(parse(&bytes[..length]).is_err());
            }
        }
        assert_eq!(InetAddress(None).to_bytes(), [0]);
    }

    #[test]
    fn foreign_kinds_are_skipped_whole() {
        for bytes in [&[1, 1, 2, 3, 4, 5, 6, 0xee][..], &[3, 0, 2, 9, 9, 0xee]] {
            let mut reader = Reader::new(bytes, "address");
            assert_eq!(InetAddress::read(&mut reader), Ok(InetAddress(None)));
            assert_eq!(reader.rest(), [0xee]);
        }
        assert!(parse(&[5, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn prefixes_contain_their_network() {
        let prefix: IpPrefix = "10.147.20.5/24".parse().unwrap();
        assert_eq!(prefix.to_string(), "10.147.20.5/24");
        assert_eq!(prefix.network().to_string(), "10.147.20.0");
        assert!(prefix.contains("10.147.20.255".parse().unwrap()));
        assert!(!prefix.contains("10.147.21.0".parse().unwrap()));
        assert!(!prefix.contains("::".parse().unwrap()));
        let all: IpPrefix = "::/0".parse().unwrap();
        assert!(all.contains("ff::1".parse().unwrap()));
        assert!(!all.contains("1.2.3.4".parse().unwrap()));
        let ours: IpPrefix = "10.0.0.0/8".parse().unwrap();
        assert!(!ours.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<IpPrefix>().is_err());
    }

    #[test]
    fn a_network_reaches_from_its_first_to_its_last_address() {
        for (text, first, last) in [
            ("10.1.2.3/8", "10.0.0.0", "10.255.255.255"),
            ("10.1.2.3/32", "10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/0", "0.0.0.0", "255.255.255.255"),
            ("fd00::1/127", "fd00::", "fd00::1"),
            ("fd00::1/128", "fd00::1", "fd00::1"),
            ("fd00::1/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let prefix: IpPrefix = text.parse().unwrap();
            assert_eq!(prefix.network(), first.parse::<IpAddr>().unwrap(), "{text}");
            assert_eq!(prefix.last(), last.parse::<IpAddr>().unwrap(), "{text}");
        }
    }

    #[test]
    fn scopes_follow_the_table() {
        for (text, scope) in [
            ("0.1.2.3", Scope::None),
            ("255.255.255.255", Scope::None),
            ("224.0.0.1", Scope::Multicast),
            ("127.0.0.1", Scope::Loopback),
            ("11.0.0.1", Scope::PseudoPrivate),
            ("240.0.0.1", Scope::PseudoPrivate),
            ("8.8.8.8", Scope::Global),
            ("169.254.0.1", Scope::LinkLocal),
            ("172.32.0.1", Scope::Global),
            ("172.31.0.1", Scope::Private),
            ("100.64.0.1", Scope::Private),
            ("203.0.113.9", Scope::Private),
            ("::", Scope::None),
            ("::1", Scope::Loopback),
            ("fe80::1", Scope::Loopback),
            ("fe80::2", Scope::LinkLocal),
            ("::ffff:127.0.0.9", Scope::Loopback),
            ("::ffff:10.0.0.1", Scope::Global),
            ("ff02::1", Scope::Multicast),
            ("fd00::1", Scope::Private),
            ("2001:db8::1", Scope::Global),
        ] {
            assert_eq!(Scope::of(text.parse().unwrap()), scope, "{text}");
        }
        assert!(!may_be_path("2001:470::1".parse().unwrap()));
        assert!(!may_be_path("127.0.0.1".parse().unwrap()));
        assert!(may_be_path("10.0.0.1".parse().unwrap()));
    }
}
