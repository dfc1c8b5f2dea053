//! What the data plane shows of itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use zt_protocol::inet::IpPrefix;
use zt_protocol::vl1::DropReason;
use zt_protocol::vl2::NetworkStatus;
use zt_protocol::{Address, World};

use super::network::Network;
use super::run::Engine;
use crate::home::NetworkSettings;

/// One joined network.
#[derive(Clone, Debug)]
pub struct NetworkView {
    /// The network as the protocol sees it.
    pub status: NetworkStatus,
    /// What a person allows it to do here.
    pub settings: NetworkSettings,
    /// The addresses that are in use: the managed ones that the settings allow.
    pub addresses: Vec<IpPrefix>,
    /// The published name, once it is known to be ours alone.
    pub name: Option<String>,
    /// Where programs connect to.
    pub socket: PathBuf,
    /// Connections of programs now.
    pub connections: usize,
    /// Listening sockets of programs now.
    pub listeners: usize,
}

/// The node.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Its address.
    pub address: Address,
    /// Whether a root answers.
    pub online: bool,
    /// The planet in force.
    pub planet: Option<World>,
    /// Whether this node is one of the planet's roots.
    pub is_root: bool,
    /// The UDP ports it is bound to, the primary one first.
    pub ports: Vec<u16>,
    /// Where it may be reached, as it tells its peers.
    pub local_addresses: Vec<SocketAddr>,
    /// This host's addresses.
    pub interface_addresses: Vec<IpAddr>,
    /// Our addresses as peers see them.
    pub surface_addresses: Vec<SocketAddr>,
    /// What happened since the start, counted by name.
    pub counters: Vec<(String, u64)>,
}

impl Network {
    pub(super) fn view(&self, status: NetworkStatus) -> NetworkView {
        let (connections, listeners) = self.broker.sockets();
        NetworkView {
            status,
            settings: self.settings.clone(),
            addresses: self.addresses.clone(),
            name: self.broker.published().map(ToString::to_string),
            socket: self.broker.socket(),
            connections,
            listeners,
        }
    }
}

impl Engine {
    pub(super) fn node_view(&self) -> NodeView {
        let vl1 = self.node.vl1();
        NodeView {
            address: vl1.address(),
            online: vl1.is_online(),
            planet: vl1.planet().cloned(),
            is_root: vl1.is_root(),
            ports: self.edge.ports(),
            local_addresses: self.local_addresses.clone(),
            interface_addresses: self.interface_addresses.clone(),
            surface_addresses: vl1.surface_addresses().collect(),
            counters: self.counters(),
        }
    }

    /// Every count of every room.
    fn counters(&self) -> Vec<(String, u64)> {
        let traffic = self.edge.traffic();
        let udp = [
            ("datagrams_received", traffic.received),
            ("bytes_received", traffic.received_bytes),
            ("batches_sent", traffic.batches),
            ("bytes_sent", traffic.sent_bytes),
            ("batches_refused", traffic.refused),
        ];
        let mut programs = BTreeMap::from([("descriptors", self.budget.held() as u64)]);
        for network in self.networks.iter().flatten() {
            for (name, count) in network.broker.counters().iter() {
                *programs.entry(name).or_default() += count;
            }
        }
        let vl1 = self.node.vl1().counters();
        let dropped = DropReason::ALL
            .iter()
            .map(|&reason| (reason.name().replace(' ', "_"), vl1.dropped(reason)));
        let dropped = dropped.filter(|&(_, count)| count > 0);
        let vl2 = self.node.vl2().counters().iter();
        udp.into_iter()
            .map(|(name, count)| (format!("udp_{name}"), count))
            .chain(dropped.map(|(name, count)| (format!("vl1_dropped_{name}"), count)))
            .chain(vl2.map(|(name, count)| (format!("vl2_{name}"), count)))
            .chain(
                programs
                    .into_iter()
                    .map(|(name, count)| (format!("programs_{name}"), count)),
            )
            .collect()
    }
}
