//! A bounded queue of datagrams in one buffer: no allocation per datagram once the buffer has its size.
//!
//! Each entry lies in one piece, so that it can be lent as a slice. The buffer grows with what waits, up to the limit, and
//! is given back when it turned out much larger than needed.

use std::collections::VecDeque;

/// What an entry costs beside its bytes, so that empty datagrams fill a queue too.
const OVERHEAD: usize = 128;
/// The smallest buffer, and the largest that is always kept.
const SMALL: usize = 4096;

/// Entries of bytes with something to know about each.
#[derive(Debug)]
pub(crate) struct Ring<M> {
    bytes: Vec<u8>,
    entries: VecDeque<Entry<M>>,
    limit: usize,
    used: usize,
    /// The most in use since the queue was empty.
    peak: usize,
}

#[derive(Debug)]
struct Entry<M> {
    start: usize,
    len: usize,
    meta: M,
}

impl<M> Ring<M> {
    /// A queue for `limit` bytes, what they cost to keep included. Takes no memory yet.
    pub(crate) fn new(limit: usize) -> Ring<M> {
        Ring {
            bytes: Vec::new(),
            entries: VecDeque::new(),
            limit,
            used: 0,
            peak: 0,
        }
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Payload bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.used - self.entries.len() * OVERHEAD
    }

    /// Whether an entry of so many bytes would be taken. An empty queue takes any.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.entries.is_empty() || self.used + len + OVERHEAD <= self.limit
    }

    /// Whether half of the queue is free.
    pub(crate) fn is_roomy(&self) -> bool {
        self.used <= self.limit / 2
    }

    /// Adds an entry of `len` bytes, made by `fill`, which finds old bytes there. Returns whether there was room.
    pub(crate) fn push(&mut self, meta: M, len: usize, fill: impl FnOnce(&mut [u8])) -> bool {
        if !self.has_room(len) {
            return false;
        }
        let start = self.place(len).unwrap_or_else(|| self.grow(len));
        fill(&mut self.bytes[start..start + len]);
        self.entries.push_back(Entry { start, len, meta });
        self.used += len + OVERHEAD;
        self.peak = self.peak.max(self.used);
        true
    }

    /// The oldest entry.
    pub(crate) fn front(&self) -> Option<(&M, &[u8])> {
        self.iter().next()
    }

    /// Every entry, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&M, &[u8])> {
        self.entries.iter().map(|entry| {
            let bytes = &self.bytes[entry.start..entry.start + entry.len];
            (&entry.meta, bytes)
        })
    }

    /// Removes the oldest entry.
    pub(crate) fn pop(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        self.used -= entry.len + OVERHEAD;
        if self.entries.is_empty() {
            if self.bytes.len() > SMALL && self.peak < self.bytes.len() / 4 {
                self.bytes = Vec::new();
            }
            self.peak = 0;
        }
    }

    /// Removes everything, and the buffer.
    pub(crate) fn clear(&mut self) {
        *self = Ring::new(self.limit);
    }

    /// Where an entry of `len` bytes can lie: behind the last one, or again at the beginning. Before the first entry a
    /// byte stays free, so that it is always clear which of both comes first.
    fn place(&self, len: usize) -> Option<usize> {
        let (Some(first), Some(last)) = (self.entries.front(), self.entries.back()) else {
            return Some(0).filter(|_| len <= self.bytes.len());
        };
        let end = last.start + last.len;
        if last.start < first.start {
            return Some(end).filter(|end| end + len < first.start);
        }
        if end + len <= self.bytes.len() {
            Some(end)
        } else {
            Some(0).filter(|_| len < first.start)
        }
    }

    /// Moves what is there to a larger buffer; returns where its free part begins.
    fn grow(&mut self, len: usize) -> usize {
        let wanted = (self.len() + len).max(self.bytes.len() * 2);
        let mut bytes = vec![0; wanted.next_power_of_two().max(SMALL)];
        let mut end = 0;
        for entry in &mut self.entries {
            let old = &self.bytes[entry.start..entry.start + entry.len];
            bytes[end..end + entry.len].copy_from_slice(old);
            entry.start = end;
            end += entry.len;
        }
        self.bytes = bytes;
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_come_out_whole_and_in_order(
            steps in proptest::collection::vec(proptest::option::of(0usize..3000), 1..400),
        ) {
            let mut ring = Ring::new(20_000);
            let mut model = VecDeque::new();
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Some(len) => {
                        let bytes = vec![n as u8; len];
                        if ring.push(n, len, |out| out.copy_from_slice(&bytes)) {
                            model.push_back((n, bytes));
                        } else {
                            let used: usize = model.iter().map(|(_, b)| b.len() + OVERHEAD).sum();
                            prop_assert!(used + len + OVERHEAD > 20_000);
                        }
                    }
                    None => {
                        let front = ring.front().map(|(n, bytes)| (*n, bytes.to_vec()));
                        prop_assert_eq!(front, model.pop_front());
                        ring.pop();
                    }
                }
                prop_assert_eq!(ring.len(), model.iter().map(|(_, b)| b.len()).sum::<usize>());
                prop_assert!(ring.bytes.len() <= 65_536);
            }
        }
    }

    #[test]
    fn an_empty_queue_takes_even_what_is_above_the_limit() {
        let mut ring = Ring::new(1000);
        assert!(ring.push((), 65_507, |_| ()));
        assert!(!ring.push((), 0, |_| ()));
    }

    #[test]
    fn empty_datagrams_fill_the_queue_too() {
        let mut ring = Ring::new(OVERHEAD * 10);
        assert_eq!((0..100).filter(|_| ring.push((), 0, |_| ())).count(), 10);
    }

    #[test]
    fn the_buffer_of_a_burst_is_given_back() {
        let mut ring = Ring::new(1 << 20);
        while ring.push((), 10_000, |_| ()) {}
        while !ring.is_empty() {
            ring.pop();
        }
        assert!(ring.bytes.len() >= 1 << 19);
        assert!(ring.push((), 100, |_| ()));
        ring.pop();
        assert_eq!(ring.bytes.len(), 0);
    }
}
