//! Devices behind active bridges (VL2 §4.7): which bridge leads to a foreign MAC.

use std::collections::HashMap;

use crate::{Address, Mac};

/// Routes remembered; the original keeps 67 million, which no container needs.
const MAX_ROUTES: usize = 65_536;

/// Foreign MACs and the bridges they were seen behind.
#[derive(Debug, Default)]
pub(super) struct BridgeRoutes {
    routes: HashMap<Mac, Address>,
}

impl BridgeRoutes {
    /// A frame of `mac` came through `bridge`.
    pub(super) fn learn(&mut self, mac: Mac, bridge: Address) {
        if self.routes.len() >= MAX_ROUTES && !self.routes.contains_key(&mac) {
            self.forget_busiest();
        }
        self.routes.insert(mac, bridge);
    }

    /// The bridge behind which `mac` was seen last.
    pub(super) fn to(&self, mac: Mac) -> Option<Address> {
        self.routes.get(&mac).copied()
    }

    /// Drops all routes of the bridge that has most: it is the one that floods us.
    fn forget_busiest(&mut self) {
        let mut counts: HashMap<Address, usize> = HashMap::new();
        for &bridge in self.routes.values() {
            *counts.entry(bridge).or_default() += 1;
        }
        let busiest = counts.into_iter().max_by_key(|&(_, count)| count);
        if let Some((busiest, _)) = busiest {
            self.routes.retain(|_, &mut bridge| bridge != busiest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooding_bridge_loses_its_own_routes() {
        let mut routes = BridgeRoutes::default();
        let mac = |n: u32| {
            let [a, b, c, d] = n.to_be_bytes();
            Mac([2, 0, a, b, c, d])
        };
        routes.learn(mac(u32::MAX), Address::new(1));
        for n in 0..MAX_ROUTES as u32 {
            routes.learn(mac(n), Address::new(2));
        }
        assert_eq!(routes.to(mac(u32::MAX)), Some(Address::new(1)));
        assert_eq!(routes.to(mac(7)), None);
        assert_eq!(routes.to(mac(MAX_ROUTES as u32 - 1)), Some(Address::new(2)));
    }
}
