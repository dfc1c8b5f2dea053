//! The small names of the protocol: node addresses, network ids, MACs, multicast groups and
//! packet ids. Each is a value that cannot be out of range, with one text form.

use crate::wire::{Emit, Malformed, Reader, Sink, from_hex};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A node's 40-bit address (VL1 §1.1), printed as ten hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u64);

impl Address {
    /// The nil address.
    pub const NIL: Address = Address(0);

    /// The low 40 bits of `value`.
    pub const fn new(value: u64) -> Address {
        Address(value & 0xff_ffff_ffff)
    }

    /// From five big-endian bytes.
    pub const fn from_bytes(b: [u8; 5]) -> Address {
        Address(u64::from_be_bytes([0, 0, 0, b[0], b[1], b[2], b[3], b[4]]))
    }

    /// As five big-endian bytes.
    pub const fn to_bytes(self) -> [u8; 5] {
        let [_, _, _, a, b, c, d, e] = self.0.to_be_bytes();
        [a, b, c, d, e]
    }

    /// As an integer below 2⁴⁰.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// Whether no node may have this address: nil, or a first byte of `ff`, which marks a
    /// fragment in the same place (VL1 §2.7).
    pub const fn is_reserved(self) -> bool {
        self.0 == 0 || self.0 >> 32 == 0xff
    }

    /// Whether this is the nil address.
    pub const fn is_nil(self) -> bool {
        self.0 == 0
    }

    /// Reads five bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Address, Malformed> {
        Ok(Address::from_bytes(reader.array()?))
    }
}

impl Emit for Address {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put(&Address::to_bytes(*self));
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        from_hex(text)
            .map(Address::from_bytes)
            .ok_or(Malformed("address"))
    }
}

/// A network's 64-bit id (VL2 §1.1), printed as sixteen hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u64);

impl NetworkId {
    /// The address of the network's controller: the top 40 bits.
    pub const fn controller(self) -> Address {
        Address::new(self.0 >> 24)
    }

    /// Whether the network is ad hoc and so has no controller (VL2 §1.6).
    pub const fn is_ad_hoc(self) -> bool {
        self.0 >> 56 == 0xff
    }

    /// The IPv6 address of `member` in RFC 4193 mode, a /128 in a /88 (VL2 §1.3).
    pub fn rfc4193_address(self, member: Address) -> Ipv6Addr {
        let [a, b, c, d, e] = member.to_bytes();
        let [p, q, r, s, t, u, v, w] = self.0.to_be_bytes();
        Ipv6Addr::from([0xfd, p, q, r, s, t, u, v, w, 0x99, 0x93, a, b, c, d, e])
    }

    /// The IPv6 address of `member` in 6PLANE mode, a /80 in a /40 (VL2 §1.3).
    pub fn six_plane_address(self, member: Address) -> Ipv6Addr {
        let [a, b, c, d, e] = member.to_bytes();
        let [p, q, r, s] = (self.0 as u32 ^ (self.0 >> 32) as u32).to_be_bytes();
        Ipv6Addr::from([0xfc, p, q, r, s, a, b, c, d, e, 0, 0, 0, 0, 0, 1])
    }

    /// Reads eight bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<NetworkId, Malformed> {
        reader.u64().map(NetworkId)
    }
}

impl Emit for NetworkId {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u64(self.0);
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NetworkId {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bytes = from_hex(text).ok_or(Malformed("network id"))?;
        Ok(NetworkId(u64::from_be_bytes(bytes)))
    }
}

/// An Ethernet address on a virtual network.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everyone on the network.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// The MAC of `member` on `network` (VL2 §1.2).
    pub fn of(member: Address, network: NetworkId) -> Mac {
        let a = member.to_bytes();
        let n = Self::mask(network);
        let first = Self::first_octet(network);
        Mac([
            first,
            a[0] ^ n[0],
            a[1] ^ n[1],
            a[2] ^ n[2],
            a[3] ^ n[3],
            a[4] ^ n[4],
        ])
    }

    /// The member of `network` that this MAC belongs to, or `None` if it is of another network
    /// or of a device behind a bridge.
    pub fn address_on(self, network: NetworkId) -> Option<Address> {
        let [first, b0, b1, b2, b3, b4] = self.0;
        let n = Self::mask(network);
        (first == Self::first_octet(network))
            .then(|| Address::from_bytes([b0 ^ n[0], b1 ^ n[1], b2 ^ n[2], b3 ^ n[3], b4 ^ n[4]]))
    }

    /// Whether the group bit is set; broadcast is multicast too.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is the broadcast address.
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether all bits are zero.
    pub fn is_nil(self) -> bool {
        self.0 == [0; 6]
    }

    /// Reads six bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Mac, Malformed> {
        reader.array().map(Mac)
    }

    fn first_octet(network: NetworkId) -> u8 {
        match (network.0 as u8 & 0xfe) | 0x02 {
            0x52 => 0x32,
            octet => octet,
        }
    }

    /// Bytes 1 to 5 of the network id, counted from the least significant.
    fn mask(network: NetworkId) -> [u8; 5] {
        let [_, _, n5, n4, n3, n2, n1, _] = network.0.to_be_bytes();
        [n1, n2, n3, n4, n5]
    }
}

impl Emit for Mac {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put(&self.0);
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut octets = text.split(':');
        let mut mac = [0; 6];
        for octet in &mut mac {
            let [value] = octets.next().and_then(from_hex).ok_or(Malformed("MAC"))?;
            *octet = value;
        }
        octets
            .next()
            .is_none()
            .then_some(Mac(mac))
            .ok_or(Malformed("MAC"))
    }
}

/// A multicast MAC and its additional distinguishing information (VL2 §1.4). Groups order by
/// MAC, then by ADI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MulticastGroup {
    /// The destination of the group's frames.
    pub mac: Mac,
    /// Splits a busy MAC into many groups: for ARP, the IPv4 address asked for.
    pub adi: u32,
}

impl MulticastGroup {
    /// Everyone on the network.
    pub const BROADCAST: MulticastGroup = MulticastGroup {
        mac: Mac::BROADCAST,
        adi: 0,
    };

    /// The group in which the owner of `ip` is asked for its MAC by ARP.
    pub fn arp_for(ip: Ipv4Addr) -> MulticastGroup {
        MulticastGroup {
            mac: Mac::BROADCAST,
            adi: ip.to_bits(),
        }
    }

    /// The solicited-node group in which the owner of `ip` is asked for its MAC by NDP.
    pub fn ndp_for(ip: Ipv6Addr) -> MulticastGroup {
        let [.., a, b, c] = ip.octets();
        MulticastGroup {
            mac: Mac([0x33, 0x33, 0xff, a, b, c]),
            adi: 0,
        }
    }

    /// The address-resolution group of `ip`.
    pub fn resolving(ip: IpAddr) -> MulticastGroup {
        match ip {
            IpAddr::V4(ip) => Self::arp_for(ip),
            IpAddr::V6(ip) => Self::ndp_for(ip),
        }
    }

    /// The group of all hosts that speak the family of `ip` (224.0.0.1, ff02::1).
    pub fn all_hosts(ip: IpAddr) -> MulticastGroup {
        let mac = match ip {
            IpAddr::V4(_) => Mac([0x01, 0x00, 0x5e, 0, 0, 1]),
            IpAddr::V6(_) => Mac([0x33, 0x33, 0, 0, 0, 1]),
        };
        MulticastGroup { mac, adi: 0 }
    }

    /// Reads ten bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<MulticastGroup, Malformed> {
        Ok(MulticastGroup {
            mac: Mac::read(reader)?,
            adi: reader.u32()?,
        })
    }
}

impl Emit for MulticastGroup {
    fn write<S: Sink>(&self, out: &mut S) {
        self.mac.write(out);
        out.u32(self.adi);
    }
}

/// The first eight bytes of a sealed packet, by which replies quote it. In suite 3 they exist
/// only after sealing (VL1 §2.5).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u64);

impl PacketId {
    /// Reads eight bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<PacketId, Malformed> {
        reader.u64().map(PacketId)
    }
}

impl Emit for PacketId {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u64(self.0);
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_are_strict_and_reversible() {
        for text in ["1122334455", "00000000ff"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "112233445", "11223344556", "112233445g", "+122334455"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        let network: NetworkId = "8056c2e21c000001".parse().unwrap();
        assert_eq!(network.to_string(), "8056c2e21c000001");
        assert_eq!(network.controller().to_string(), "8056c2e21c");
        let mac: Mac = "02:11:22:2f:a6:97".parse().unwrap();
        assert_eq!(mac.to_string(), "02:11:22:2f:a6:97");
        for text in ["02:11:22:2f:a6", "02:11:22:2f:a6:97:00", "2:11:22:2f:a6:97"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn nil_and_ff_addresses_are_reserved() {
        assert!(Address::NIL.is_reserved());
        assert!(Address::new(0xff_0000_0001).is_reserved());
        assert!(!Address::new(0xfe_ffff_ffff).is_reserved());
    }

    #[test]
    fn member_macs_match_the_vectors() {
        let member = Address::new(0x1122334455);
        for (network, mac) in [
            (0x8056c2e21c000001, "02:11:22:2f:a6:97"),
            (0x8056c2e21c000052, "32:11:22:2f:a6:97"),
            (0x8056c2e21c000050, "32:11:22:2f:a6:97"),
        ] {
            let network = NetworkId(network);
            assert_eq!(Mac::of(member, network).to_string(), mac);
            assert_eq!(Mac::of(member, network).address_on(network), Some(member));
        }
        let appendix = Mac::of(Address::new(0x34f65e212f), NetworkId(0xf032a8811c00abcd));
        assert_eq!(appendix.to_string(), "ce:9f:f6:42:a0:87");
        assert_eq!(
            Mac::BROADCAST.address_on(NetworkId(0x8056c2e21c000001)),
            None
        );
    }

    #[test]
    fn derived_ipv6_addresses_match_the_vectors() {
        let network = NetworkId(0x8056c2e21c000001);
        let member = Address::new(0x1122334455);
        let rfc4193 = network.rfc4193_address(member);
        assert_eq!(rfc4193.to_string(), "fd80:56c2:e21c:0:199:9311:2233:4455");
        let six_plane = network.six_plane_address(member);
        assert_eq!(six_plane.to_string(), "fc9c:56c2:e311:2233:4455::1");
    }

    #[test]
    fn resolution_groups_follow_the_address() {
        let arp = MulticastGroup::resolving("10.1.2.3".parse().unwrap());
        assert_eq!(
            arp,
            MulticastGroup {
                mac: Mac::BROADCAST,
                adi: 0x0a010203
            }
        );
        let ndp = MulticastGroup::resolving("fd00::aabb:ccdd".parse().unwrap());
        assert_eq!(ndp.mac.to_string(), "33:33:ff:bb:cc:dd");
        assert_eq!(ndp.adi, 0);
    }
}
