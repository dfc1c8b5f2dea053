//! What the data plane shows of itself.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use zt_protocol::inet::IpPrefix;
use zt_protocol::vl2::NetworkStatus;
use zt_protocol::{Address, World};

use crate::broker;
use crate::home::NetworkSettings;
use crate::udp::Traffic;

/// One joined network.
#[derive(Clone, Debug)]
pub struct NetworkView {
    /// The network as the protocol sees it.
    pub status: NetworkStatus,
    /// What a person allows it to do here.
    pub settings: NetworkSettings,
    /// The addresses that are in use: the managed ones that the settings allow.
    pub addresses: Vec<IpPrefix>,
    /// Where programs connect to.
    pub socket: PathBuf,
    /// Connections of programs now.
    pub connections: usize,
    /// Listening sockets of programs now.
    pub listeners: usize,
    /// What happened at the programs' edge.
    pub counters: broker::Counters,
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
    /// UDP traffic so far.
    pub traffic: Traffic,
    /// Descriptors held for programs.
    pub descriptors: usize,
}
