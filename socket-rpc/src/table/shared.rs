//! The service's side of the table: a sealed memory file, mapped for writing once.

use core::num::NonZeroU64;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use super::{TABLE_LEN, TABLE_WORDS, TableWriter};

/// A table in a memory file of its own. Programs get [`StateTable::file`]; they can map it for reading only.
pub struct StateTable {
    // Dropped before the mapping goes: see `Drop`.
    writer: TableWriter<'static>,
    memory: NonNull<core::ffi::c_void>,
    file: OwnedFd,
}

// SAFETY: the mapping belongs to this value alone and is accessed through atomics only.
unsafe impl Send for StateTable {}

impl StateTable {
    /// Makes an empty table. `instance` must differ after every start of the service.
    ///
    /// # Errors
    /// The kernel gives no memory file or no mapping.
    pub fn create(instance: NonZeroU64) -> io::Result<Self> {
        let file =
            rustix::fs::memfd_create("zt-nc", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&file, TABLE_LEN as u64)?;
        // SAFETY: a fresh shared mapping of a file of exactly this length; no existing memory is touched.
        let memory = unsafe {
            rustix::mm::mmap(
                core::ptr::null_mut(),
                TABLE_LEN,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )
        }?;
        let memory = NonNull::new(memory).ok_or(io::ErrorKind::OutOfMemory)?;
        // Programs must not be able to write, nor to shrink the file under the mappings of others. The mapping above
        // stays writable.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        if let Err(error) = rustix::fs::fcntl_add_seals(&file, seals) {
            // SAFETY: the mapping made above, not used by anyone yet.
            unsafe { rustix::mm::munmap(memory.as_ptr(), TABLE_LEN) }?;
            return Err(error.into());
        }
        // SAFETY: page-aligned, exactly this long, zeroed, and mapped until `Drop`; the reference leaves this value
        // only within borrows of it.
        let words = unsafe { memory.cast::<[AtomicU64; TABLE_WORDS]>().as_ref() };
        Ok(Self {
            writer: TableWriter::new(words, instance.get()),
            memory,
            file,
        })
    }

    /// The file to attach to [`Reply::Hello`](crate::Reply::Hello).
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Deref for StateTable {
    type Target = TableWriter<'static>;

    fn deref(&self) -> &Self::Target {
        &self.writer
    }
}

impl DerefMut for StateTable {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.writer
    }
}

impl Drop for StateTable {
    fn drop(&mut self) {
        // SAFETY: mapped by `create` with this length. A failure leaves the mapping, which is harmless.
        let _ = unsafe { rustix::mm::munmap(self.memory.as_ptr(), TABLE_LEN) };
    }
}
