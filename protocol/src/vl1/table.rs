//! Hash tables of the packet path: fast, and keyed with this node's own seed so that nobody
//! outside can choose keys that collide.

use ahash::RandomState;
use std::collections::HashMap;

/// A map with a fast keyed hash.
pub(super) type FastMap<K, V> = HashMap<K, V, RandomState>;

/// Makes maps that share one secret.
#[derive(Clone)]
pub(super) struct Tables(RandomState);

impl Tables {
    pub(super) fn new(seed: [u64; 4]) -> Self {
        Tables(RandomState::with_seeds(seed[0], seed[1], seed[2], seed[3]))
    }

    pub(super) fn map<K, V>(&self) -> FastMap<K, V> {
        HashMap::with_hasher(self.0.clone())
    }

    pub(super) fn hash<T: std::hash::Hash>(&self, value: T) -> u64 {
        self.0.hash_one(value)
    }
}
