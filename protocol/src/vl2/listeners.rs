//! Who listens to which multicast group, as far as we were told (VL2 §4.4).
//!
//! Members keep these lists to know where to send; roots and controllers keep them for everybody,
//! to answer those who gather. Entries come from other nodes, so their number is bounded in all
//! and for each of them.

use std::collections::{HashMap, hash_map};
use std::time::Duration;

use crate::{Address, MulticastGroup, NetworkId, Time};

/// An entry lives this long after it was last heard of.
const LIFETIME: Duration = Duration::from_secs(600);
const MAX_ENTRIES: usize = 262_144;
const MAX_ENTRIES_OF_LISTENER: u32 = 4_096;

/// A group of one network.
pub(super) type GroupKey = (NetworkId, MulticastGroup);

/// The lists of all groups.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    groups: HashMap<GroupKey, HashMap<Address, Time>>,
    entries: usize,
    per_listener: HashMap<Address, u32>,
}

impl Listeners {
    /// Notes that `listener` wants the frames of a group. Whether it is on the list now.
    pub(super) fn add(&mut self, now: Time, key: GroupKey, listener: Address) -> bool {
        let group = self.groups.entry(key).or_default();
        match group.entry(listener) {
            hash_map::Entry::Occupied(mut seen) => {
                seen.insert(now);
                return true;
            }
            hash_map::Entry::Vacant(vacant) => {
                let of_listener = self.per_listener.entry(listener).or_default();
                if self.entries < MAX_ENTRIES && *of_listener < MAX_ENTRIES_OF_LISTENER {
                    vacant.insert(now);
                    *of_listener += 1;
                    self.entries += 1;
                    return true;
                }
            }
        }
        // Refused: leave no empty list behind.
        if group.is_empty() {
            self.groups.remove(&key);
        }
        false
    }

    /// Takes `listener` off the list of a group.
    pub(super) fn remove(&mut self, key: GroupKey, listener: Address) {
        if let Some(group) = self.groups.get_mut(&key)
            && group.remove(&listener).is_some()
        {
            self.entries -= 1;
            forget(&mut self.per_listener, listener);
        }
    }

    /// The listeners of a group, in no order.
    pub(super) fn of(&self, key: &GroupKey) -> impl Iterator<Item = Address> + use<'_> {
        self.groups
            .get(key)
            .into_iter()
            .flat_map(|group| group.keys().copied())
    }

    /// How many listeners a group has.
    pub(super) fn count(&self, key: &GroupKey) -> usize {
        self.groups.get(key).map_or(0, HashMap::len)
    }

    /// Whether there is nothing to expire.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Drops entries not heard of for too long.
    pub(super) fn expire(&mut self, now: Time) {
        let Self {
            groups,
            entries,
            per_listener,
        } = self;
        groups.retain(|_, group| {
            group.retain(|&listener, &mut seen| {
                let keep = now.since(seen) < LIFETIME;
                if !keep {
                    *entries -= 1;
                    forget(per_listener, listener);
                }
                keep
            });
            !group.is_empty()
        });
    }
}

fn forget(per_listener: &mut HashMap<Address, u32>, listener: Address) {
    if let hash_map::Entry::Occupied(mut count) = per_listener.entry(listener) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: GroupKey = (NetworkId(1), MulticastGroup::BROADCAST);

    #[test]
    fn entries_expire_unless_renewed() {
        let mut listeners = Listeners::default();
        let (a, b) = (Address::new(1), Address::new(2));
        assert!(listeners.add(Time(0), KEY, a) && listeners.add(Time(0), KEY, b));
        assert!(listeners.add(Time(300_000), KEY, b));
        listeners.expire(Time(600_000));
        assert_eq!(listeners.of(&KEY).collect::<Vec<_>>(), [b]);
        listeners.expire(Time(900_000));
        assert!(listeners.is_empty());
        assert_eq!((listeners.entries, listeners.per_listener.len()), (0, 0));
    }

    #[test]
    fn one_listener_cannot_fill_the_table() {
        let mut listeners = Listeners::default();
        let greedy = Address::new(7);
        let added = (0..10_000).filter(|&adi| {
            let group = MulticastGroup {
                adi,
                ..MulticastGroup::BROADCAST
            };
            listeners.add(Time(0), (NetworkId(1), group), greedy)
        });
        assert_eq!(added.count(), 4_096);
        assert_eq!(listeners.groups.len(), 4_096, "no empty lists");
        assert!(listeners.add(Time(0), KEY, Address::new(8)));
    }
}
