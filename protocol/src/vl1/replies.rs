//! Which packets of ours await an OK (VL1 §4.5).
//!
//! An OK is worth something only if it answers a packet that we sent to its sender lately. One
//! packet may be answered several times: a HELLO leaves from several sockets.

use super::table::{FastMap, Tables};
use crate::{Address, PacketId, Time, Verb};
use std::collections::VecDeque;
use std::time::Duration;

/// How long an answer may take.
const LIFETIME: Duration = Duration::from_secs(10);
/// Packets remembered at most; the oldest goes first.
const MAX_EXPECTED: usize = 16_384;

/// What was asked, and whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) from: Address,
    pub(super) verb: Verb,
}

/// The packets that may still be answered, by the id that they had on the wire.
pub(super) struct Replies {
    by_id: FastMap<PacketId, Expected>,
    order: VecDeque<(Time, PacketId)>,
}

impl Replies {
    pub(super) fn new(tables: &Tables) -> Self {
        Replies {
            by_id: tables.map(),
            order: VecDeque::new(),
        }
    }

    /// Expects `to` to answer the packet that left as `id`.
    pub(super) fn expect(&mut self, now: Time, id: PacketId, to: Address, verb: Verb) {
        while let Some(&(since, oldest)) = self.order.front()
            && (now.is_due(since, LIFETIME) || self.order.len() >= MAX_EXPECTED)
        {
            self.order.pop_front();
            self.by_id.remove(&oldest);
        }
        self.by_id.insert(id, Expected { from: to, verb });
        self.order.push_back((now, id));
    }

    /// The verb that `from` may answer as `id`, or `None` if it was not asked.
    pub(super) fn verb_of(&self, id: PacketId, from: Address) -> Option<Verb> {
        self.by_id
            .get(&id)
            .filter(|expected| expected.from == from)
            .map(|expected| expected.verb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_asked_may_answer_and_more_than_once() {
        let mut replies = Replies::new(&Tables::new([1, 2, 3, 4]));
        let (asked, other) = (Address::new(1), Address::new(2));
        replies.expect(Time(1), PacketId(7), asked, Verb::HELLO);
        for _ in 0..2 {
            assert_eq!(replies.verb_of(PacketId(7), asked), Some(Verb::HELLO));
        }
        assert_eq!(replies.verb_of(PacketId(7), other), None);
        assert_eq!(replies.verb_of(PacketId(8), asked), None);
    }

    #[test]
    fn old_questions_are_forgotten_and_their_number_is_bounded() {
        let mut replies = Replies::new(&Tables::new([1, 2, 3, 4]));
        let peer = Address::new(1);
        replies.expect(Time(1), PacketId(0), peer, Verb::ECHO);
        replies.expect(Time(10_001), PacketId(1), peer, Verb::ECHO);
        assert_eq!(replies.verb_of(PacketId(0), peer), None);
        for id in 0..20_000 {
            replies.expect(Time(10_002), PacketId(id), peer, Verb::ECHO);
        }
        assert!(replies.by_id.len() <= MAX_EXPECTED && replies.order.len() <= MAX_EXPECTED);
        assert_eq!(replies.verb_of(PacketId(19_999), peer), Some(Verb::ECHO));
    }
}
