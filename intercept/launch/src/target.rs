//! The processes of the program, seen from outside: their descriptors and their signals.
//!
//! All of it is what the kernel lets a process do to one of the same user that descends from it.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::sync::{Arc, Mutex, PoisonError};

use zt_intercept::{Errno, Fd};

use crate::sys;

/// Threads that are kept at hand.
const KEPT: usize = 512;

/// The threads that have made calls.
#[derive(Debug, Default)]
pub(crate) struct Threads(Mutex<HashMap<i32, Arc<Thread>>>);

/// One thread.
#[derive(Debug)]
pub(crate) struct Thread {
    /// Its process.
    pub(crate) process: i32,
    /// Its folder of descriptors. It stays this thread's, and is empty when the thread has ended.
    descriptors: OwnedFd,
}

impl Threads {
    /// The thread of that number, and the inode of its descriptor `fd` if that is a socket.
    pub(crate) fn socket(&self, thread: i32, fd: Fd) -> Result<(Arc<Thread>, Option<u64>), Errno> {
        let kept = self.kept().get(&thread).cloned();
        if let Some(kept) = kept {
            match sys::socket_inode(&kept.descriptors, fd) {
                // The number may belong to another thread now.
                Err(Errno(libc::ENOENT | libc::ESRCH)) => {}
                inode => return Ok((kept, inode?)),
            }
        }
        let opened = self.open(thread)?;
        match sys::socket_inode(&opened.descriptors, fd) {
            Err(Errno(libc::ENOENT | libc::ESRCH)) => Ok((opened, None)),
            inode => Ok((opened, inode?)),
        }
    }

    /// The thread of that number. Fails when it must not be looked at.
    pub(crate) fn get(&self, thread: i32) -> Result<Arc<Thread>, Errno> {
        // Its own folder says whether it still is the same, and whether it may be looked at.
        self.socket(thread, 0).map(|(thread, _)| thread)
    }

    fn open(&self, thread: i32) -> Result<Arc<Thread>, Errno> {
        let opened = Arc::new(Thread {
            descriptors: sys::open_directory(&format!("/proc/{thread}/fd"))?,
            process: process_of(thread).ok_or(Errno(libc::ESRCH))?,
        });
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(thread, Arc::clone(&opened));
        Ok(opened)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<i32, Arc<Thread>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Thread {
    /// Whether its process may have another descriptor. Kernels before 6.2 do not say how many it has.
    pub(crate) fn has_room(&self) -> bool {
        match (
            sys::size_of_directory(&self.descriptors),
            sys::descriptor_limit(self.process),
        ) {
            (Some(taken), Some(limit)) => taken < limit,
            _ => true,
        }
    }
}

/// The inode of a descriptor of a process, if it is a socket.
pub(crate) fn inode_at(process: i32, fd: Fd) -> Result<Option<u64>, Errno> {
    match fs::metadata(format!("/proc/{process}/fd/{fd}")) {
        Ok(file) if file.file_type().is_socket() => Ok(Some(file.ino())),
        Ok(_) => Ok(None),
        Err(error) => Err(Errno(error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

/// Whether a process has made itself, or was made by its file's mode, one that nobody may look into.
pub(crate) fn protects_itself(process: i32) -> bool {
    let own = fs::metadata("/proc/self").map(|file| file.uid());
    let its = fs::metadata(format!("/proc/{process}")).map(|file| file.uid());
    matches!((own, its), (Ok(own), Ok(its)) if own != its)
}

/// The parent of a process.
pub(crate) fn parent_of(process: i32) -> Option<i32> {
    stat(process)?.1.parse().ok()
}

/// Whether a process has not ended yet.
pub(crate) fn is_there(process: i32) -> bool {
    stat(process).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// The state of a process, and its parent.
fn stat(process: i32) -> Option<(String, String)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
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

/// The `O_…` flags of a descriptor of a thread.
pub(crate) fn flags_of(thread: i32, fd: Fd) -> Result<i32, Errno> {
    let info = fs::read_to_string(format!("/proc/{thread}/fdinfo/{fd}"))
        .map_err(|_| Errno(libc::EBADF))?;
    let flags = field(&info, "flags").and_then(|flags| i32::from_str_radix(flags, 8).ok());
    flags.ok_or(Errno(libc::EBADF))
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
