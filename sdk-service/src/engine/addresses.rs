//! This host's own addresses, and who is told about them.

use std::net::{IpAddr, SocketAddr};

use zt_socket_rpc::Prefix;

use super::event::EngineEvent;
use super::run::Engine;
use crate::udp::interfaces::{self, InterfaceAddress};

impl Engine {
    /// Reads the addresses of this host and tells the edge, the node and the shell.
    pub(super) fn read_addresses(&mut self) {
        if let Some(watch) = &self.watch {
            watch.drain();
        }
        let found = match interfaces::addresses() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the addresses of this host cannot be read");
                return;
            }
        };
        let ips: Vec<IpAddr> = found.iter().map(|address| address.ip).collect();
        self.edge.set_addresses(&ips);
        self.interface_addresses.clone_from(&ips);
        self.near = found
            .iter()
            .filter(|address| !is_virtual(address))
            .map(|address| Prefix {
                address: address.ip,
                length: address.prefix,
            })
            .collect();
        for network in self.networks.iter_mut().flatten() {
            network.set_near(&self.near);
        }
        let told = found.iter().filter(|address| {
            !self
                .blacklist
                .iter()
                .any(|prefix| address.interface.starts_with(prefix.as_str()))
                && !is_virtual(address)
                && !is_link_local(address.ip)
        });
        let ports = self.edge.ports();
        let mut local_addresses: Vec<SocketAddr> = told
            .flat_map(|address| ports.iter().map(|&port| SocketAddr::new(address.ip, port)))
            .collect();
        local_addresses.sort_unstable();
        local_addresses.dedup();
        if local_addresses != self.local_addresses {
            tracing::debug!(?local_addresses, "addresses of this host");
            self.node.set_local_addresses(&local_addresses);
            self.local_addresses = local_addresses;
            self.tell(EngineEvent::AddressesChanged(found));
        }
    }

    /// Addresses of the virtual networks must never carry the packets of virtual networks. A default route says nothing
    /// of where an address is: ours are sent by the host's own way.
    pub(super) fn exclude_virtual_networks(&mut self) {
        let prefixes: Vec<(IpAddr, u8)> = self
            .networks
            .iter()
            .flatten()
            .flat_map(|network| network.prefixes())
            .filter(|&(_, bits)| bits > 0)
            .collect();
        self.node.set_excluded(&prefixes);
    }
}

/// Whether an interface is that of a stock node for one of its networks.
fn is_virtual(address: &InterfaceAddress) -> bool {
    address.interface.starts_with("zt")
}

/// A link-local address means nothing without the link, which a peer does not know.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
