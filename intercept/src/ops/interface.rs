//! The LAN's interface, as programs list it beside the container's own.

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
