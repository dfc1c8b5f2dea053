//! Which descriptors may be listeners of ours: a hint.
//!
//! A receive on a listener must fail and not eat an accept record; but no receive on a connection may pay for that with
//! a system call. So descriptors that were bound or listened or accepted on leave a bit here. A stale bit costs one look
//! at the descriptor; one that is missing (after `dup` or `exec`, until the first `accept`) only matters to a program
//! that reads from a listening socket.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::kernel::Fd;

/// Descriptors that can have a bit.
const DESCRIPTORS: usize = 65_536;

/// One bit a descriptor.
pub struct Listeners([AtomicU64; DESCRIPTORS / 64]);

impl Listeners {
    /// None yet; all zero in memory.
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; DESCRIPTORS / 64])
    }

    pub(crate) fn add(&self, fd: Fd) {
        if let Some((word, bit)) = self.place(fd)
            && word.load(Ordering::Relaxed) & bit == 0
        {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    pub(crate) fn remove(&self, fd: Fd) {
        if let Some((word, bit)) = self.place(fd) {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    pub(crate) fn may_have(&self, fd: Fd) -> bool {
        self.place(fd)
            .is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn place(&self, fd: Fd) -> Option<(&AtomicU64, u64)> {
        let index = usize::try_from(fd).ok()?;
        Some((self.0.get(index / 64)?, 1 << (index % 64)))
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_belong_to_one_descriptor_each() {
        let listeners = Listeners::new();
        listeners.add(64);
        assert!(listeners.may_have(64) && !listeners.may_have(63) && !listeners.may_have(65));
        listeners.remove(64);
        assert!(!listeners.may_have(64));
        for fd in [-1, 65_536, i32::MAX] {
            listeners.add(fd);
            assert!(!listeners.may_have(fd));
        }
    }
}
