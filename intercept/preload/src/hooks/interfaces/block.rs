//! Memory for one list of ours, which is told from the C library's by what stands at the beginning of its page.

use core::ffi::c_void;
use core::ptr;

use crate::raw::{checked, number};

const PAGE: usize = 4096;
/// No C library writes this at the beginning of a page, together with the address of the page.
const MAGIC: usize = 0x7a74_6c69_7374_7321_u64 as usize;

/// What stands before a list.
#[repr(C)]
struct Header {
    magic: usize,
    place: usize,
    len: usize,
    _aligned: usize,
}

/// A mapping from which pieces are cut.
pub(super) struct Block {
    start: *mut u8,
    used: usize,
    len: usize,
}

impl Block {
    /// Room for so many bytes of pieces; `None` when the system gives none.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        const PROT_READ_WRITE: usize = 3;
        const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
        let len = (size_of::<Header>() + bytes).next_multiple_of(PAGE);
        let nothing = usize::MAX;
        // SAFETY: a new mapping.
        let mapped = unsafe {
            checked(
                number::MMAP,
                [0, len, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, nothing, 0],
            )
        }
        .ok()?;
        let start = ptr::with_exposed_provenance_mut::<u8>(mapped);
        let header = Header {
            magic: MAGIC,
            place: mapped,
            len,
            _aligned: 0,
        };
        // SAFETY: the beginning of the mapping, which is aligned.
        unsafe { start.cast::<Header>().write(header) };
        Some(Self {
            start,
            used: size_of::<Header>(),
            len,
        })
    }

    /// A place for a value of this size and an alignment of a word; null when the block is full.
    pub(super) fn take<T>(&mut self, count: usize) -> *mut T {
        let bytes = (size_of::<T>() * count).next_multiple_of(size_of::<usize>());
        if self.used + bytes > self.len {
            return ptr::null_mut();
        }
        // SAFETY: inside the mapping.
        let place = unsafe { self.start.add(self.used) };
        self.used += bytes;
        place.cast()
    }

    /// A copy of bytes.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> *mut u8 {
        let place = self.take::<u8>(bytes.len());
        if !place.is_null() {
            // SAFETY: so many bytes were taken.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        }
        place
    }
}

/// Whether the first piece of a block is here.
///
/// # Safety
/// A pointer that can be read.
pub(super) unsafe fn begins_at(place: *const c_void) -> bool {
    // SAFETY: the beginning of the page in which the pointer is.
    unsafe { header_of(place) }.is_some()
}

/// # Safety
/// As [`begins_at`].
unsafe fn header_of(place: *const c_void) -> Option<*const Header> {
    let page = place.addr() & !(PAGE - 1);
    if place.is_null() || place.addr() != page + size_of::<Header>() {
        return None;
    }
    let header = place.cast::<u8>().wrapping_sub(size_of::<Header>());
    let header = header.cast::<Header>();
    // SAFETY: in the same page as what can be read.
    unsafe { (*header).magic == MAGIC && (*header).place == page }.then_some(header)
}

/// Gives a block back.
///
/// # Safety
/// The first piece of a block that nobody uses any more.
pub(super) unsafe fn free(place: *const c_void) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(header) = header_of(place) {
            let _ = checked(number::MUNMAP, [header.addr(), (*header).len]);
        }
    }
}
