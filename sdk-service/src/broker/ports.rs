//! Which program listeners a port of the host belongs to: one, or several that share it by `SO_REUSEPORT` and take turns.

use std::collections::HashMap;

use zt_netstack::ListenerId;

use crate::engine::slots::Key;

/// The listeners of the host with those of the programs.
#[derive(Default)]
pub(super) struct Ports {
    by_host: HashMap<ListenerId, Port>,
}

#[derive(Default)]
struct Port {
    keys: Vec<Key>,
    /// Whose turn it is, modulo their number.
    next: usize,
}

impl Ports {
    /// One more program listens there.
    pub(super) fn add(&mut self, port: ListenerId, key: Key) {
        self.by_host.entry(port).or_default().keys.push(key);
    }

    /// A program does not any more; true when it was the last.
    pub(super) fn remove(&mut self, port: ListenerId, key: Key) -> bool {
        let Some(shared) = self.by_host.get_mut(&port) else {
            return true;
        };
        shared.keys.retain(|other| *other != key);
        let is_last = shared.keys.is_empty();
        if is_last {
            self.by_host.remove(&port);
        }
        is_last
    }

    /// All that share a port.
    pub(super) fn keys(&self, port: ListenerId) -> &[Key] {
        self.by_host
            .get(&port)
            .map_or(&[], |shared| shared.keys.as_slice())
    }

    /// The next of those that `takes` is true for.
    pub(super) fn turn(&mut self, port: ListenerId, takes: impl Fn(Key) -> bool) -> Option<Key> {
        let shared = self.by_host.get_mut(&port)?;
        let count = shared.keys.len();
        let found = (0..count)
            .map(|step| (shared.next + step) % count)
            .find_map(|at| Some((at, *shared.keys.get(at).filter(|key| takes(**key))?)));
        let (at, key) = found?;
        shared.next = (at + 1) % count;
        Some(key)
    }
}
