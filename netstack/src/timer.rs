//! A queue of deadlines with lazy removal.
//!
//! A timer that moves later, as a retransmission timer does with every acknowledgement, costs nothing: the old entry
//! fires, the owner sees that it is early and arms the queue again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Instant;

/// Deadlines of keys. A key may be in the queue more than once.
#[derive(Debug)]
pub(crate) struct TimerQueue<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> TimerQueue<K> {
    pub(crate) fn new() -> Self {
        TimerQueue {
            heap: BinaryHeap::new(),
        }
    }

    /// Adds a deadline.
    pub(crate) fn arm(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Removes the entries that nobody waits for any more.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(Instant, K) -> bool) {
        self.heap.retain(|Reverse((at, key))| wanted(*at, *key));
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one entry that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_when_due_in_order() {
        let mut queue = TimerQueue::new();
        queue.arm(Instant(30), 'c');
        queue.arm(Instant(10), 'a');
        queue.arm(Instant(20), 'b');
        assert_eq!(queue.next(), Some(Instant(10)));
        assert_eq!(queue.pop_due(Instant(20)), Some((Instant(10), 'a')));
        assert_eq!(queue.pop_due(Instant(20)), Some((Instant(20), 'b')));
        assert_eq!(queue.pop_due(Instant(20)), None);
        assert_eq!(queue.next(), Some(Instant(30)));
    }

    #[test]
    fn unwanted_entries_can_be_removed() {
        let mut queue = TimerQueue::new();
        (0..10).for_each(|at| queue.arm(Instant(at), at));
        queue.retain(|_, key| key % 5 == 4);
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.next(), Some(Instant(4)));
    }
}
