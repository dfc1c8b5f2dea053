//! Putting the chunks of a configuration together (VL2 §2.4).

use std::collections::VecDeque;

use crate::verb::ConfigChunk;
use crate::wire::Malformed;

/// As stock: this many configurations may be incomplete at once.
const SLOTS: usize = 3;
/// The longest dictionary; stock's limit is a little below.
const MAX_TOTAL: u32 = 512 * 1024;
/// Complete configurations whose chunks are known when they come again: members that pass chunks
/// on give each other the same ones for as long as a packet takes.
const REMEMBERED: usize = 16;
const MAX_CHUNKS: usize = MAX_TOTAL as usize / 1024 + 1;

/// The incomplete configurations of one network.
#[derive(Debug, Default)]
pub struct Assembly {
    /// The least recently used first.
    slots: Vec<Slot>,
    /// Updates that were complete, the latest last.
    completed: VecDeque<u64>,
}

/// What a chunk was good for.
#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new, and others are still missing.
    New,
    /// It was there already, or all of its configuration was.
    Known,
    /// It is new and was the last one missing: the dictionary's text.
    Complete(Vec<u8>),
}

#[derive(Debug)]
struct Slot {
    update: u64,
    chunks: Vec<u64>,
    received: usize,
    dictionary: Vec<u8>,
}

impl Assembly {
    /// Adds a chunk, whose signature the caller has [verified](ConfigChunk::verify), or which
    /// has no placement and comes from the controller itself.
    pub fn add(&mut self, chunk: &ConfigChunk<'_>) -> Result<Added, Malformed> {
        const MALFORMED: Malformed = Malformed("network configuration chunk");
        let Some(placement) = chunk.placement else {
            return Ok(Added::Complete(chunk.data.to_vec()));
        };
        if placement.total >= MAX_TOTAL || placement.update == 0 {
            return Err(MALFORMED);
        }
        if self.completed.contains(&placement.update) {
            return Ok(Added::Known);
        }
        let mut slot = match self
            .slots
            .iter()
            .position(|slot| slot.update == placement.update)
        {
            Some(index) => self.slots.remove(index),
            None => {
                if self.slots.len() == SLOTS {
                    self.slots.remove(0);
                }
                Slot {
                    update: placement.update,
                    chunks: Vec::new(),
                    received: 0,
                    dictionary: vec![0; placement.total as usize],
                }
            }
        };
        let start = placement.offset as usize;
        let Some(place) = slot.dictionary.get_mut(start..start + chunk.data.len()) else {
            return Err(MALFORMED);
        };
        let id = placement.chunk_id();
        let is_new = !slot.chunks.contains(&id) && slot.chunks.len() < MAX_CHUNKS;
        if is_new {
            place.copy_from_slice(chunk.data);
            slot.chunks.push(id);
            slot.received += chunk.data.len();
        }
        if slot.received == slot.dictionary.len() {
            if self.completed.len() == REMEMBERED {
                self.completed.pop_front();
            }
            self.completed.push_back(slot.update);
            return Ok(Added::Complete(slot.dictionary));
        }
        self.slots.push(slot);
        Ok(if is_new { Added::New } else { Added::Known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::NetworkId;
    use crate::identity::SecretIdentity;

    const CONTROLLER: &str = concat!(
        "f032a8811c:0:81eaacfb1da27e132c068d70a75921cef5e11de0c62841d4681f7340ae7271389937783b54d",
        "38800fbac2cb36b57d8b5384f5f713e19ff44597ed6240d67386a:8e68704300a1dfd4f283a78bd61d4daa813",
        "bee70314b7143833e810d5e253ebab893fcebe101681e6a9ec8daae96b04460aef4ee7528b15bf6c9580fb770",
        "c813"
    );
    const NETWORK: NetworkId = NetworkId(0xf032a8811c00abcd);

    #[test]
    fn chunks_join_in_any_order_and_duplicates_do_not_count() {
        let controller: SecretIdentity = CONTROLLER.parse().unwrap();
        let text: Vec<u8> = (0..25_000u32).map(|i| i as u8).collect();
        let chunks: Vec<_> = ConfigChunk::sign_all(&controller, NETWORK, &text, 9).collect();
        assert_eq!(chunks.len(), 3);
        assert!(chunks.iter().all(|chunk| chunk.verify(controller.public())));
        let mut assembly = Assembly::default();
        assert_eq!(assembly.add(&chunks[2]), Ok(Added::New));
        assert_eq!(assembly.add(&chunks[0]), Ok(Added::New));
        assert_eq!(assembly.add(&chunks[2]), Ok(Added::Known));
        assert_eq!(assembly.add(&chunks[1]), Ok(Added::Complete(text.clone())));
        // Late copies do not begin the same configuration again.
        for chunk in &chunks {
            assert_eq!(assembly.add(chunk), Ok(Added::Known));
        }
        assert!(assembly.slots.is_empty());
    }

    #[test]
    fn the_least_recently_used_update_gives_way() {
        let controller: SecretIdentity = CONTROLLER.parse().unwrap();
        let text = vec![7; ConfigChunk::MAX_DATA + 1];
        let of = |update| -> Vec<_> {
            ConfigChunk::sign_all(&controller, NETWORK, &text, update).collect()
        };
        let (first, second) = (of(1), of(2));
        let mut assembly = Assembly::default();
        for chunks in [&first, &second, &of(3)] {
            assert_eq!(assembly.add(&chunks[0]), Ok(Added::New));
        }
        assert_eq!(
            assembly.add(&first[0]),
            Ok(Added::Known),
            "the first is now the latest"
        );
        assert_eq!(
            assembly.add(&of(4)[0]),
            Ok(Added::New),
            "the second gives way"
        );
        assert_eq!(assembly.add(&second[1]), Ok(Added::New));
        assert_eq!(
            assembly.add(&first[1]),
            Ok(Added::Complete(text.clone())),
            "the first was kept"
        );
    }

    #[test]
    fn a_chunk_outside_its_update_is_refused() {
        let controller: SecretIdentity = CONTROLLER.parse().unwrap();
        let long = vec![7; 2 * ConfigChunk::MAX_DATA];
        let short = vec![7; ConfigChunk::MAX_DATA + 1];
        let long: Vec<_> = ConfigChunk::sign_all(&controller, NETWORK, &long, 1).collect();
        let short: Vec<_> = ConfigChunk::sign_all(&controller, NETWORK, &short, 1).collect();
        let mut assembly = Assembly::default();
        assert_eq!(assembly.add(&short[0]), Ok(Added::New));
        assert!(assembly.add(&long[1]).is_err());
    }
}
