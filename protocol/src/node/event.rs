//! What a node tells its owner, and what the owner answers.

use crate::vl1::{PathId, Vl1Event};
use crate::{Identity, NetworkId, PacketId};

/// Something the owner of a [`Node`](super::Node) must know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// News of VL1: reachability, a newer planet, peers worth remembering.
    Vl1(Vl1Event),
    /// The network has a configuration for the first time since it was joined: addresses and
    /// routes can be set up. See [`Node::networks`](super::Node::networks).
    NetworkUp(NetworkId),
    /// Status or configuration of the network changed.
    NetworkChanged(NetworkId),
    /// The network was left.
    NetworkDown(NetworkId),
    /// A configuration was accepted: keep it as `networks.d/<id>.conf` and hand it to
    /// [`Node::join`](super::Node::join) at the next start.
    ConfigStored {
        /// The network configured.
        network: NetworkId,
        /// The dictionary as the controller sent it.
        dictionary: Vec<u8>,
    },
    /// Somebody, perhaps this node itself, asks for the configuration of a network whose
    /// controller is this node. Answer with
    /// [`Node::answer_config_request`](super::Node::answer_config_request).
    ConfigRequest(ConfigRequest),
}

/// A request to this node's controller (VL2 §2.1).
#[derive(Debug)]
pub struct ConfigRequest {
    /// The network asked for.
    pub network: NetworkId,
    /// Who asks; authenticated.
    pub member: Identity,
    /// The metadata dictionary of the request.
    pub metadata: Vec<u8>,
    /// Leads the answer back.
    pub ticket: Ticket,
}

/// Leads the answer to a [`ConfigRequest`] back to where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    pub(crate) network: NetworkId,
    pub(crate) member: crate::Address,
    /// The request and the path it came by; `None` when this node asked itself.
    pub(crate) request: Option<(PacketId, PathId)>,
}

/// What a controller answers to a [`ConfigRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigAnswer {
    /// The configuration, as a serialised dictionary (VL2 §2.7).
    Config(Vec<u8>),
    /// The member is not authorised.
    AccessDenied,
    /// There is no such network.
    NotFound,
    /// No answer: the member asks too often, or the network is not ours.
    Ignore,
}
