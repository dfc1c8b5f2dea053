//! Where records are kept: a trait, and a store in memory for tests.
//!
//! The controller keeps every record in memory and tells the store about each change; it never waits for the store. Writing
//! files, and doing so atomically, is the owner's part.

use std::collections::BTreeMap;

use serde_json::Value;
use zt_protocol::{Address, NetworkId};

/// Keeps the records of a controller. What was kept comes back as [`Records`](crate::Records).
///
/// Keys are relative paths without extension: `network/<16 hex>` and `network/<16 hex>/member/<10 hex>`, so that a store of files
/// has the layout of `controller.d` (VL2 §5.1) by appending `.json`.
pub trait Store: Send {
    /// Keeps `record` under `key`, replacing what was there.
    fn put(&mut self, key: &str, record: &Value);
    /// Forgets `key`; a key that is not there is no error.
    fn delete(&mut self, key: &str);
}

/// The key of a network's record.
pub(crate) fn network_key(network: NetworkId) -> String {
    format!("network/{network}")
}

/// The key of a member's record.
pub(crate) fn member_key(network: NetworkId, member: Address) -> String {
    format!("network/{network}/member/{member}")
}

/// What a key names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Network(NetworkId),
    Member(NetworkId, Address),
}

impl Key {
    /// Reads a key; `None` for anything that is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let ("network", network) = (parts.next()?, parts.next()?.parse().ok()?) else {
            return None;
        };
        let key = match (parts.next(), parts.next()) {
            (None, _) => Self::Network(network),
            (Some("member"), Some(member)) => Self::Member(network, member.parse().ok()?),
            _ => return None,
        };
        parts.next().is_none().then_some(key)
    }
}

/// A store that keeps everything in memory.
#[derive(Debug, Default, Clone)]
pub struct MemoryStore {
    /// The records by key.
    pub records: BTreeMap<String, Value>,
}

impl Store for MemoryStore {
    fn put(&mut self, key: &str, record: &Value) {
        self.records.insert(key.to_owned(), record.clone());
    }

    fn delete(&mut self, key: &str) {
        self.records.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_written() {
        let network = NetworkId(0xf032_a881_1c00_abcd);
        let member: Address = "34f65e212f".parse().unwrap();
        assert_eq!(network_key(network), "network/f032a8811c00abcd");
        assert_eq!(
            Key::parse(&network_key(network)),
            Some(Key::Network(network))
        );
        assert_eq!(
            Key::parse(&member_key(network, member)),
            Some(Key::Member(network, member))
        );
    }

    #[test]
    fn other_paths_are_no_keys() {
        for text in [
            "",
            "network",
            "network/1",
            "trace/f032a8811c00abcd",
            "network/f032a8811c00abcd/member",
            "network/f032a8811c00abcd/member/34f65e212f/x",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
