//! The LAN's interface, as programs list it beside the container's own.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zt_socket_rpc::table::Interface;
use zt_socket_rpc::{LAN_INTERFACE, Prefix};

use crate::Program;
use crate::kernel::Kernel;
use crate::lan::Lan;

/// `IFF_UP`, `IFF_BROADCAST`, `IFF_RUNNING`, `IFF_MULTICAST`, `IFF_LOWER_UP`.
const FLAGS: u32 = 0x1_1043;
/// `IFNAMSIZ`.
const NAME_LEN: usize = Interface::NAME_LEN;

/// The LAN's interface now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanInterface {
    about: Interface,
    addresses: [Option<Prefix>; zt_socket_rpc::table::MAX_ADDRESSES],
}

impl<K: Kernel> Program<'_, K> {
    /// The LAN's interface; `None` while the service is away.
    pub fn interface(&self) -> Option<LanInterface> {
        let Lan::Up(table) = self.lan() else {
            return None;
        };
        Some(LanInterface {
            about: table.interface()?,
            addresses: table.own_addresses(),
        })
    }
}

impl LanInterface {
    /// Its index.
    pub const INDEX: u32 = LAN_INTERFACE;

    /// Its name, with at least one zero behind.
    pub fn name(&self) -> &[u8; NAME_LEN] {
        &self.about.name
    }

    /// Whether it is called so.
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.about.name() == name
    }

    /// Its link address.
    pub fn mac(&self) -> [u8; 6] {
        self.about.mac
    }

    /// Its MTU.
    pub fn mtu(&self) -> u32 {
        self.about.mtu
    }

    /// `IFF_…`.
    pub fn flags(&self) -> u32 {
        FLAGS
    }

    /// Its addresses, each with the length of its network's prefix.
    pub fn addresses(&self) -> impl Iterator<Item = Prefix> + Clone + '_ {
        self.addresses.iter().flatten().copied()
    }

    /// Its first IPv4 address, which stands for the interface where there is room for one only.
    pub fn first_v4(&self) -> Option<Prefix> {
        self.addresses().find(|prefix| prefix.address.is_ipv4())
    }
}

/// The mask of a network.
pub fn netmask(prefix: Prefix) -> IpAddr {
    let bits = u32::from(prefix.length);
    match prefix.address {
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

/// The broadcast address of an IPv4 network.
pub fn broadcast(prefix: Prefix) -> Option<Ipv4Addr> {
    match (prefix.address, netmask(prefix)) {
        (IpAddr::V4(ip), IpAddr::V4(mask)) => {
            Some(Ipv4Addr::from_bits(ip.to_bits() | !mask.to_bits()))
        }
        _ => None,
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
    fn a_network_has_a_mask_and_a_broadcast_address() {
        for (address, length, mask, last) in [
            ("10.1.2.3", 24, "255.255.255.0", Some("10.1.2.255")),
            ("10.1.2.3", 32, "255.255.255.255", Some("10.1.2.3")),
            ("10.1.2.3", 0, "0.0.0.0", Some("255.255.255.255")),
            ("fd00::1", 88, "ffff:ffff:ffff:ffff:ffff:ff00::", None),
            ("fd00::1", 0, "::", None),
        ] {
            let prefix = prefix(address, length);
            assert_eq!(netmask(prefix), mask.parse::<IpAddr>().unwrap());
            assert_eq!(broadcast(prefix), last.map(|ip| ip.parse().unwrap()));
        }
    }
}
