//! The memory of a thread that waits in a trapped call.
//!
//! By `/proc/<thread>/mem`, which the kernel allows where it allows `process_vm_readv`, but which no usual container's
//! filter refuses. It is opened once a call: what is open stays with the memory of that moment, and an `exec` gives the
//! thread another one.

use std::cell::OnceCell;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;

use zt_intercept::Errno;

/// One thread's memory, as long as a call takes.
#[derive(Debug)]
pub(crate) struct Memory {
    thread: i32,
    file: OnceCell<Option<File>>,
}

impl Memory {
    pub(crate) fn of(thread: i32) -> Self {
        Self {
            thread,
            file: OnceCell::new(),
        }
    }

    /// Whether the kernel lets this process look.
    pub(crate) fn open(thread: i32) -> Result<File, Errno> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/proc/{thread}/mem"))
            .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// Exactly `len` bytes; `None` where the kernel would say `EFAULT`.
    pub(crate) fn read(&self, address: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        if len > 0 {
            self.file()?.read_exact_at(&mut bytes, address).ok()?;
        }
        Some(bytes)
    }

    /// A C `int`.
    pub(crate) fn read_int(&self, address: u64) -> Option<i32> {
        let mut bytes = [0; size_of::<i32>()];
        self.file()?.read_exact_at(&mut bytes, address).ok()?;
        Some(i32::from_ne_bytes(bytes))
    }

    /// Fails with `EFAULT` as the kernel would.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file()
            .and_then(|file| file.write_all_at(bytes, address).ok())
            .ok_or(Errno(libc::EFAULT))
    }

    fn file(&self) -> Option<&File> {
        self.file
            .get_or_init(|| Self::open(self.thread).ok())
            .as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_and_written_where_there_is_some() {
        let place = Box::new(7_i32);
        let address = &raw const *place as u64;
        let memory = Memory::of(std::process::id().cast_signed());
        assert_eq!(memory.read_int(address), Some(7));
        assert_eq!(memory.read(address, 4), Some(7_i32.to_ne_bytes().to_vec()));
        assert_eq!(memory.write(address, &7_i32.to_ne_bytes()), Ok(()));
        assert_eq!(memory.read(8, 1), None);
        assert_eq!(memory.write(8, &[0]), Err(Errno(libc::EFAULT)));
        assert_eq!(memory.read(8, 0), Some(Vec::new()));
    }
}
