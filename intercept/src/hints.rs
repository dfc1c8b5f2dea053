//! Which descriptors may be of a certain kind of ours: one bit each, a hint.
//!
//! Some need to be known before a data call reaches the kernel. A receive on a *listener* must fail and not eat an
//! accept record; a call on a *datagram* socket must put a header before the payload, or take one off; a connection that
//! has come up is given its full buffer. No call on any
//! other descriptor may pay for that with a system call. So descriptors that became one leave a bit here. A stale bit
//! costs one look at the descriptor. `dup` passes the bits on, `fork` copies them, and a program that was started by
//! `exec` looks at the descriptors that it was given.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::kernel::Fd;

/// Descriptors that can have a bit.
const DESCRIPTORS: usize = 65_536;

/// One bit a descriptor.
pub struct Hints([AtomicU64; DESCRIPTORS / 64]);

impl Hints {
    /// None yet; all zero in memory.
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; DESCRIPTORS / 64])
    }

    /// Copies the bit of one descriptor to another.
    pub fn pass_on(&self, from: Fd, to: Fd) {
        if self.may_have(from) {
            self.add(to);
        }
    }

    /// Whether the descriptor can have a bit.
    pub(crate) fn has_place(&self, fd: Fd) -> bool {
        self.place(fd).is_some()
    }

    /// Leaves a bit.
    pub fn add(&self, fd: Fd) {
        if let Some((word, bit)) = self.place(fd)
            && word.load(Ordering::Relaxed) & bit == 0
        {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Takes the bit away; whether there was one.
    pub fn remove(&self, fd: Fd) -> bool {
        self.may_have(fd)
            && self
                .place(fd)
                .is_some_and(|(word, bit)| word.fetch_and(!bit, Ordering::Relaxed) & bit != 0)
    }

    /// Whether there is a bit.
    pub fn may_have(&self, fd: Fd) -> bool {
        self.place(fd)
            .is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// The descriptors that have a bit.
    pub fn iter(&self) -> impl Iterator<Item = Fd> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let word = word.load(Ordering::Relaxed);
            (0..64)
                .filter(move |bit| word >> bit & 1 != 0)
                .map(move |bit| (at * 64 + bit) as Fd)
        })
    }

    fn place(&self, fd: Fd) -> Option<(&AtomicU64, u64)> {
        let index = usize::try_from(fd).ok()?;
        Some((self.0.get(index / 64)?, 1 << (index % 64)))
    }
}

impl Default for Hints {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_belong_to_one_descriptor_each() {
        let hints = Hints::new();
        hints.add(64);
        assert!(hints.may_have(64) && !hints.may_have(63) && !hints.may_have(65));
        assert!(hints.remove(64) && !hints.remove(64));
        assert!(!hints.may_have(64));
        let some = [0, 3, 63, 64, 65_535];
        some.iter().for_each(|&fd| hints.add(fd));
        assert!(hints.iter().eq(some));
        some.iter().for_each(|&fd| assert!(hints.remove(fd)));
        for fd in [-1, 65_536, i32::MAX] {
            hints.add(fd);
            assert!(!hints.may_have(fd));
        }
    }
}
