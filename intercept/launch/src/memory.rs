//! The memory of a thread that waits in a trapped call.
//!
//! By `process_vm_readv` and `process_vm_writev`, one system call each; where a container's filter refuses those, by
//! `/proc/<thread>/mem`, which is under the kernel's same rule and which no filter knows. That is opened once a call: what
//! is open stays with the memory of that moment, and an `exec` gives the thread another one.

use std::cell::OnceCell;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use zt_intercept::Errno;

use crate::sys;

/// Whether the system calls were refused once.
static IS_REFUSED: AtomicBool = AtomicBool::new(false);

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
        self.fill(address, &mut bytes)?;
        Some(bytes)
    }

    /// A C `int`.
    pub(crate) fn read_int(&self, address: u64) -> Option<i32> {
        let mut bytes = [0; size_of::<i32>()];
        self.fill(address, &mut bytes)?;
        Some(i32::from_ne_bytes(bytes))
    }

    fn fill(&self, address: u64, bytes: &mut [u8]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        if !IS_REFUSED.load(Ordering::Relaxed) {
            match sys::read_memory(self.thread, address, bytes) {
                Err(Errno(libc::EPERM | libc::ENOSYS)) => IS_REFUSED.store(true, Ordering::Relaxed),
                read => return (read == Ok(bytes.len())).then_some(()),
            }
        }
        self.file()?.read_exact_at(bytes, address).ok()
    }

    /// Fails with `EFAULT` as the kernel would.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.write_both((address, bytes), (address, &[]))
    }

    /// Two pieces, in one call where that is possible.
    pub(crate) fn write_both(
        &self,
        first: (u64, &[u8]),
        second: (u64, &[u8]),
    ) -> Result<(), Errno> {
        let len = first.1.len() + second.1.len();
        if len == 0 {
            return Ok(());
        }
        if !IS_REFUSED.load(Ordering::Relaxed) {
            match sys::write_memory(self.thread, [first, second]) {
                Err(Errno(libc::EPERM | libc::ENOSYS)) => IS_REFUSED.store(true, Ordering::Relaxed),
                Ok(written) if written == len => return Ok(()),
                _ => return Err(Errno(libc::EFAULT)),
            }
        }
        [first, second]
            .into_iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .try_for_each(|(address, bytes)| {
                let written = self.file()?.write_all_at(bytes, address);
                written.ok()
            })
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
        let both = ((address, &[1, 2][..]), (address + 2, &[3, 4][..]));
        assert_eq!(memory.write_both(both.0, both.1), Ok(()));
        assert_eq!(memory.read(address, 4), Some(vec![1, 2, 3, 4]));
        assert_eq!(
            memory.write_both(both.0, (8, &[0])),
            Err(Errno(libc::EFAULT))
        );
        assert_eq!(memory.write(address, &7_i32.to_ne_bytes()), Ok(()));
        assert_eq!(memory.read(8, 1), None);
        assert_eq!(memory.write(8, &[0]), Err(Errno(libc::EFAULT)));
        assert_eq!(memory.read(8, 0), Some(Vec::new()));
        // The same, by the file.
        let file = memory.file().expect("one's own memory");
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, address).expect("memory");
        assert_eq!(i32::from_ne_bytes(bytes), 7);
    }
}
