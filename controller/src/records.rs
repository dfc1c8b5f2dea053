//! What a controller starts with: its stored records, understood one and all.
//!
//! A record that cannot be understood is an error, never left out: its member or network would be
//! taken for a new one, and the next change would replace the record.

use std::collections::BTreeMap;

use serde_json::Value;
use zt_protocol::NetworkId;

use crate::controller::Hosted;
use crate::member::Member;
use crate::network::Network;
use crate::store::Key;

/// The records of a controller; by default none.
#[derive(Debug, Clone, Default)]
pub struct Records(BTreeMap<NetworkId, Hosted>);

/// A stored record that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its key in the store.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Records {
    /// Reads records by their keys, as the [`Store`](crate::Store) was given them, in any order.
    ///
    /// # Errors
    /// The first record that means nothing, or belongs to a network without record.
    pub fn read(records: impl IntoIterator<Item = (String, Value)>) -> Result<Self, Unreadable> {
        let mut records: Vec<_> = records.into_iter().collect();
        // A network's own key is a prefix of its members' keys.
        records.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut read = Self::default();
        for (key, record) in records {
            if let Err(reason) = read.add(&key, &record) {
                return Err(Unreadable { key, reason });
            }
        }
        Ok(read)
    }

    fn add(&mut self, key: &str, record: &Value) -> Result<(), String> {
        match Key::parse(key).ok_or("its name is not that of a record")? {
            Key::Network(id) => {
                let network =
                    Network::from_record(id, record).map_err(|invalid| invalid.to_string())?;
                self.0.insert(id, Hosted::new(network));
            }
            Key::Member(id, address) => {
                let hosted = self.0.get_mut(&id).ok_or("its network has none")?;
                let member = Member::from_record(id, address, record)
                    .map_err(|invalid| invalid.to_string())?;
                hosted.last_revocation = hosted.last_revocation.max(member.last_deauthorized);
                hosted.members.insert(address, member);
            }
        }
        Ok(())
    }

    pub(crate) fn into_networks(self) -> BTreeMap<NetworkId, Hosted> {
        self.0
    }
}
