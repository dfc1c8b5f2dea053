//! What a network looks like from outside: the values behind `listnetworks`.

use std::fmt;

use crate::inet::IpPrefix;
use crate::network_config::{Dns, Route};
use crate::{Mac, MulticastGroup, NetworkId};

/// Where a network stands (VL2 §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// No configuration yet, and no refusal.
    RequestingConfiguration,
    /// Configured.
    Ok,
    /// The controller refuses us until somebody authorises this node.
    AccessDenied,
    /// The controller knows no such network.
    NotFound,
    /// The network wants a single sign-on first.
    AuthenticationRequired,
}

impl Status {
    /// The text of the control API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestingConfiguration => "REQUESTING_CONFIGURATION",
            Self::Ok => "OK",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::AuthenticationRequired => "AUTHENTICATION_REQUIRED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A joined network as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkStatus {
    /// The network's id.
    pub id: NetworkId,
    /// This node's MAC on it.
    pub mac: Mac,
    /// The name given by its controller; empty before the first configuration.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// Whether everybody may join.
    pub public: bool,
    /// Largest payload of a frame.
    pub mtu: u16,
    /// The controller's revision of the configuration; 0 before the first.
    pub revision: u64,
    /// Whether this node is an active bridge of the network.
    pub bridge: bool,
    /// Whether broadcast frames are carried.
    pub broadcast: bool,
    /// The addresses given to this node, in the controller's order.
    pub addresses: Vec<IpPrefix>,
    /// The routes of the network.
    pub routes: Vec<Route>,
    /// Name servers of the network.
    pub dns: Dns,
    /// The multicast groups this node listens to.
    pub groups: Vec<MulticastGroup>,
}
