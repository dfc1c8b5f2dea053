//! The processes of the program, seen from outside: their descriptors, their memory, their signals.
//!
//! All of it is what the kernel lets a process do to one of the same user that descends from it.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use zt_intercept::{Errno, Fd};

use crate::sys;

/// `PIDFD_THREAD` (Linux 6.9).
const PIDFD_THREAD: u32 = libc::O_EXCL.cast_unsigned();
/// Threads whose descriptors are kept at hand.
const KEPT: usize = 256;

/// Ways to the threads that have made calls.
#[derive(Debug, Default)]
pub(crate) struct Threads(Mutex<HashMap<i32, Arc<OwnedFd>>>);

impl Threads {
    /// A copy of descriptor `fd` of a thread.
    pub(crate) fn descriptor(&self, thread: i32, fd: Fd) -> Result<OwnedFd, Errno> {
        let kept = self.kept().get(&thread).cloned();
        if let Some(pidfd) = kept {
            match sys::pidfd_getfd(&pidfd, fd) {
                // The number belongs to another thread now.
                Err(Errno(libc::ESRCH)) => {}
                result => return result,
            }
        }
        let pidfd = match sys::pidfd_open(thread, PIDFD_THREAD) {
            Ok(pidfd) => Arc::new(pidfd),
            // An older kernel knows processes only. The thread's number says nothing about a process's end, so it is
            // asked for every time.
            Err(Errno(libc::EINVAL)) => {
                let process = process_of(thread).ok_or(Errno(libc::ESRCH))?;
                return sys::pidfd_getfd(&sys::pidfd_open(process, 0)?, fd);
            }
            Err(errno) => return Err(errno),
        };
        let copy = sys::pidfd_getfd(&pidfd, fd);
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(thread, pidfd);
        copy
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<i32, Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Exactly `len` bytes of a thread's memory; `None` where the kernel would say `EFAULT`.
pub(crate) fn read(thread: i32, address: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    (len == 0 || sys::read_memory(thread, address, &mut bytes) == Ok(len)).then_some(bytes)
}

/// A C `int` of a thread's memory.
pub(crate) fn read_int(thread: i32, address: u64) -> Option<i32> {
    let bytes = read(thread, address, size_of::<i32>())?;
    Some(i32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Writes into a thread's memory.
pub(crate) fn write(thread: i32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    if bytes.is_empty() || sys::write_memory(thread, address, bytes) == Ok(bytes.len()) {
        Ok(())
    } else {
        Err(Errno(libc::EFAULT))
    }
}

/// What `/proc/<thread>/status` says under a name.
fn status(thread: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{thread}/status")).ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.strip_prefix(':')?.trim())
}

/// The process of a thread.
pub(crate) fn process_of(thread: i32) -> Option<i32> {
    field(&status(thread)?, "Tgid")?.parse().ok()
}

/// The name of a thread's program, for messages.
pub(crate) fn name_of(thread: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// Whether a signal waits for the thread to come back from its call.
pub(crate) fn is_signalled(thread: i32) -> bool {
    status(thread).is_some_and(|status| signalled(thread, &status))
}

fn signalled(thread: i32, status: &str) -> bool {
    let set = |name| {
        field(status, name)
            .and_then(|set| u64::from_str_radix(set, 16).ok())
            .unwrap_or(0)
    };
    let unblocked = !set("SigBlk");
    let own = set("SigPnd") & unblocked != 0;
    // A signal for the whole process is the first thread's to take, unless that one blocks it: only then the kernel
    // looks for another, which it wakes by itself.
    let is_first = field(status, "Tgid").is_some_and(|process| process == thread.to_string());
    own || (is_first && set("ShdPnd") & unblocked != 0)
}

/// Whether a descriptor of a thread is close-on-exec.
pub(crate) fn is_close_on_exec(thread: i32, fd: Fd) -> Result<bool, Errno> {
    let info = fs::read_to_string(format!("/proc/{thread}/fdinfo/{fd}"))
        .map_err(|_| Errno(libc::EBADF))?;
    let flags = field(&info, "flags").and_then(|flags| i32::from_str_radix(flags, 8).ok());
    Ok(flags.is_some_and(|flags| flags & libc::O_CLOEXEC != 0))
}

/// A part of what the kernel says of a descriptor of a thread.
pub(crate) fn read_fd_info(thread: i32, fd: Fd, offset: u64, buffer: &mut [u8]) -> Option<usize> {
    let mut file = fs::File::open(format!("/proc/{thread}/fdinfo/{fd}")).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    file.read(buffer).ok()
}

/// Whether a thread may have another descriptor. Kernels before 6.2 do not say how many it has.
pub(crate) fn has_room(thread: i32) -> bool {
    match (
        fs::metadata(format!("/proc/{thread}/fd")),
        sys::descriptor_limit(thread),
    ) {
        (Ok(directory), Some(limit)) => directory.size() < limit,
        _ => true,
    }
}

/// The epoll instances among a thread's descriptors.
pub(crate) fn epoll_instances(thread: i32) -> Vec<Fd> {
    let Ok(directory) = fs::read_dir(format!("/proc/{thread}/fd")) else {
        return Vec::new();
    };
    directory
        .flatten()
        .filter(|entry| {
            fs::read_link(entry.path())
                .is_ok_and(|link| link.as_os_str() == "anon_inode:[eventpoll]")
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nTgid:\t7\nPid:\t7\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n\
                          SigBlk:\t0000000000000000\n";

    #[test]
    fn a_signal_for_the_process_is_its_first_threads() {
        assert!(signalled(7, STATUS));
        assert!(!signalled(8, STATUS));
    }

    #[test]
    fn a_blocked_signal_does_not_end_a_call() {
        let blocked = STATUS.replace("SigBlk:\t0000000000000000", "SigBlk:\t0000000000004000");
        assert!(!signalled(7, &blocked));
        let own = STATUS.replace("SigPnd:\t0000000000000000", "SigPnd:\t0000000000000200");
        assert!(signalled(8, &own));
    }
}
