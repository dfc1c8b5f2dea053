//! To whom this node, as a controller, gave a configuration lately: they may use it to find each
//! other (VL2 §4.4).

use std::collections::HashMap;
use std::time::Duration;

use crate::{Address, NetworkId, Time};

const LIFETIME: Duration = Duration::from_secs(180);

/// Members by the time of their last configuration.
#[derive(Debug, Default)]
pub(super) struct Issued {
    members: HashMap<(NetworkId, Address), Time>,
}

impl Issued {
    pub(super) fn note(&mut self, now: Time, network: NetworkId, member: Address) {
        self.members.insert((network, member), now);
    }

    pub(super) fn forget(&mut self, network: NetworkId, member: Address) {
        self.members.remove(&(network, member));
    }

    pub(super) fn is_recent(&self, now: Time, network: NetworkId, member: Address) -> bool {
        self.members
            .get(&(network, member))
            .is_some_and(|&at| now.since(at) < LIFETIME)
    }

    pub(super) fn expire(&mut self, now: Time) {
        self.members.retain(|_, &mut at| now.since(at) < LIFETIME);
    }
}
