//! What the data plane tells the shell.

use serde_json::Value;
use zt_protocol::{NetworkId, World};

use super::view::NetworkView;
use crate::udp::interfaces::InterfaceAddress;

/// News for the owner of the data plane: what to keep on disk, and what to tell a person.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineEvent {
    /// A root answers.
    Online,
    /// No root answers any more.
    Offline,
    /// A newer planet is in force: keep it.
    PlanetUpdated(World),
    /// A root says that our address belongs to another identity.
    IdentityCollision,
    /// Keep this as `networks.d/<id>.conf`.
    NetworkStored {
        /// The network configured.
        network: NetworkId,
        /// The dictionary as the controller sent it.
        dictionary: Vec<u8>,
    },
    /// A network's status, addresses or routes changed.
    NetworkChanged(NetworkView),
    /// Keep this as `controller.d/<key>.json`.
    ControllerPut {
        /// `network/<id>` or `network/<id>/member/<address>`.
        key: String,
        /// The record.
        record: Value,
    },
    /// Forget `controller.d/<key>.json`.
    ControllerDelete {
        /// As in [`ControllerPut`](Self::ControllerPut).
        key: String,
    },
    /// The addresses of this host changed; also sent once at the start.
    AddressesChanged(Vec<InterfaceAddress>),
}
