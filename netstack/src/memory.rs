//! Ring memory: reserved in large mappings, touched lazily, handed from flow to flow.
//!
//! smoltcp wants its rings whole and at once. An anonymous mapping gives that without spending a page before it is
//! written, and a pool of places in such mappings makes a short connection cost neither `mmap` nor page faults.
//! [`Leased`] ties the sockets to the memory that they borrow. But for one call of a wider instruction set in
//! [`checksum`](crate::checksum), this is the only module of the crate with `unsafe` code.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use smoltcp::iface::SocketSet;

/// Page-table pages cover 2 MiB each: places that begin on such a border share none with their neighbours.
const ALIGNMENT: usize = 2 << 20;
/// Places a mapping. Address space is plentiful; mappings of a process are not.
const PLACES: usize = 32;
/// Unused places that may keep their pages, for the next short connections.
const WARM: usize = 64;

/// A pool of equal places for the rings of flows.
#[derive(Clone)]
pub(crate) struct Arena {
    place_len: usize,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    mappings: Vec<Mapping>,
    /// Last in, first out: the next flow gets the pages that are still in the cache.
    warm: Vec<NonNull<u8>>,
    cold: Vec<NonNull<u8>>,
}

struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the pointers name mappings of the process, which no thread owns; all access to them is behind the mutex, and
// the memory of a place is touched only by the one `Lease` that holds it.
unsafe impl Send for Shared {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `len` are those of a mapping that this value made and alone unmaps. Every lease holds the
        // arena alive, so no place of the mapping is in use.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Exclusive use of one place until dropped.
struct Lease {
    arena: Arena,
    base: NonNull<u8>,
    /// Whether so much was written that the pages should go back to the kernel.
    spent: bool,
}

// SAFETY: a lease is the only user of its place, wherever it moves.
unsafe impl Send for Lease {}
// SAFETY: a shared lease gives no access to the memory.
unsafe impl Sync for Lease {}

impl Arena {
    /// A pool of places of at least `place_len` bytes; maps nothing yet.
    pub(crate) fn new(place_len: usize) -> Arena {
        let place_len = place_len
            .max(1)
            .next_multiple_of(rustix::param::page_size());
        Arena {
            place_len,
            shared: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // The lists are whole between any two statements, so a panic elsewhere does not spoil them.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self) -> io::Result<Lease> {
        let mut shared = self.lock();
        let base = match shared.warm.pop().or_else(|| shared.cold.pop()) {
            Some(base) => base,
            None => {
                shared.extend(self.place_len)?;
                shared.cold.pop().ok_or(io::ErrorKind::OutOfMemory)?
            }
        };
        drop(shared);
        Ok(Lease {
            arena: self.clone(),
            base,
            spent: false,
        })
    }
}

impl Shared {
    fn extend(&mut self, place_len: usize) -> io::Result<()> {
        let stride = if place_len >= ALIGNMENT {
            place_len.next_multiple_of(ALIGNMENT)
        } else {
            place_len
        };
        let len = stride * PLACES + ALIGNMENT;
        // SAFETY: a new anonymous mapping at a place of the kernel's choice aliases nothing.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let base = NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        self.mappings.push(Mapping { base, len });
        // SAFETY: the range is the mapping just made. A huge page would spend 2 MiB on the first byte of a flow; where
        // the kernel has none the advice fails and is not needed.
        let _ = unsafe { madvise(base.as_ptr().cast(), len, Advice::LinuxNoHugepage) };
        let start = base.as_ptr().align_offset(ALIGNMENT);
        self.cold.extend((0..PLACES).rev().map(|place| {
            // SAFETY: `start` is below ALIGNMENT, so the last place ends inside the mapping of
            // `stride * PLACES + ALIGNMENT` bytes.
            unsafe { base.add(start + place * stride) }
        }));
        Ok(())
    }
}

impl Lease {
    /// Gives the pages back to the kernel; the next touch finds zeros.
    fn give_back(&self) {
        // SAFETY: the range is this lease's place, inside a living private anonymous mapping. The advice only replaces
        // bytes by zeros, which are valid `u8`; callers make sure that no byte is in use.
        let _ = unsafe {
            madvise(
                self.base.as_ptr().cast(),
                self.arena.place_len,
                Advice::LinuxDontNeed,
            )
        };
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let keep = !self.spent && self.arena.lock().warm.len() < WARM;
        if !keep {
            self.give_back();
        }
        let mut shared = self.arena.lock();
        if keep {
            shared.warm.push(self.base);
        } else {
            shared.cold.push(self.base);
        }
    }
}

/// The sockets of one flow together with the memory under their rings.
pub(crate) struct Leased {
    // Declared, and so dropped, before the memory that it borrows.
    sockets: SocketSet<'static>,
    lease: Lease,
}

impl Leased {
    /// Leases a place and builds sockets over it, split after `first` bytes.
    ///
    /// # Errors
    /// When the kernel gives no more memory.
    ///
    /// # Panics
    /// If `first` is more than the place has.
    pub(crate) fn new(
        arena: &Arena,
        first: usize,
        build: impl for<'a> FnOnce(&'a mut [u8], &'a mut [u8]) -> SocketSet<'a>,
    ) -> io::Result<Leased> {
        let lease = arena.lease()?;
        // SAFETY: the place is mapped, initialised (zeros, or bytes of an earlier flow), and this lease its only user.
        // The slice is called 'static, but it goes only into `build`, which works for every lifetime and so cannot
        // keep it anywhere but in its result; that result lives in `Leased::sockets`, dropped before the lease, and
        // `with` lends it under a lifetime of its own each time, so that no part can be moved to another place.
        let memory: &'static mut [u8] =
            unsafe { std::slice::from_raw_parts_mut(lease.base.as_ptr(), arena.place_len) };
        let (receive, send) = memory.split_at_mut(first);
        Ok(Leased {
            sockets: build(receive, send),
            lease,
        })
    }

    /// Lends the sockets.
    pub(crate) fn with<R>(&mut self, f: impl for<'a> FnOnce(&mut SocketSet<'a>) -> R) -> R {
        f(&mut self.sockets)
    }

    /// Lends the sockets for reading.
    pub(crate) fn with_ref<R>(&self, f: impl for<'a> FnOnce(&SocketSet<'a>) -> R) -> R {
        f(&self.sockets)
    }

    /// Notes that the rings were written end to end: their pages do not wait for the next flow.
    pub(crate) fn set_spent(&mut self, spent: bool) {
        self.lease.spent = spent;
    }

    /// Gives the pages under the rings back to the kernel. Only for rings that hold nothing: what they hold is lost.
    pub(crate) fn give_back(&mut self) {
        self.lease.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::socket::tcp;

    fn leased(arena: &Arena) -> Leased {
        Leased::new(arena, 1 << 20, |receive, send| {
            let mut set = SocketSet::new(Vec::new());
            set.add(tcp::Socket::new(
                tcp::SocketBuffer::new(receive),
                tcp::SocketBuffer::new(send),
            ));
            set
        })
        .expect("memory")
    }

    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
        statm
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<usize>().ok())
            .expect("pages")
            * 4096
    }

    #[test]
    fn places_are_used_again() {
        let arena = Arena::new(2 << 20);
        let first = leased(&arena);
        let base = first.lease.base;
        drop(first);
        assert_eq!(leased(&arena).lease.base, base);
        assert_eq!(arena.lock().mappings.len(), 1);
    }

    #[test]
    fn places_do_not_overlap() {
        let arena = Arena::new(2 << 20);
        let held: Vec<_> = (0..PLACES * 2 + 1).map(|_| leased(&arena)).collect();
        let mut bases: Vec<_> = held
            .iter()
            .map(|leased| leased.lease.base.as_ptr() as usize)
            .collect();
        bases.sort_unstable();
        assert!(bases.windows(2).all(|pair| pair[1] - pair[0] >= 2 << 20));
        assert_eq!(arena.lock().mappings.len(), 3);
    }

    #[test]
    fn rings_cost_nothing_before_they_are_written() {
        let arena = Arena::new(2 << 20);
        let before = resident();
        let held: Vec<_> = (0..1000).map(|_| leased(&arena)).collect();
        let spent = resident().saturating_sub(before);
        assert!(
            spent < held.len() * 8192,
            "{spent} bytes for {} idle places",
            held.len()
        );
    }
}
