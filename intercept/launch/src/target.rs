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
    /// What is told of them.
    information: OwnedFd,
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
            information: sys::open_directory(&format!("/proc/{thread}/fdinfo"))?,
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
    /// The `O_…` flags of a descriptor.
    pub(crate) fn flags_of(&self, fd: Fd) -> Result<i32, Errno> {
        let mut text = [0; 128];
        let read = sys::read_in_directory(&self.information, fd, &mut text);
        let text = read.ok().and_then(|len| text.get(..len));
        text.and_then(|text| str::from_utf8(text).ok())
            .and_then(|text| field(text, "flags"))
            .and_then(|flags| i32::from_str_radix(flags, 8).ok())
            .ok_or(Errno(libc::EBADF))
    }

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
    Some(stat(process)?.parent)
}

/// Whether a process has not ended yet: what is about to has no memory any more, and nobody may look at it.
pub(crate) fn is_there(process: i32) -> bool {
    stat(process).is_some_and(|stat| !stat.is_leaving || stat.threads > 1)
}

/// What `/proc/<process>/stat` says.
struct Stat {
    parent: i32,
    /// Its first thread has ended or is about to; others may go on.
    is_leaving: bool,
    threads: u32,
}

/// `PF_EXITING`.
const EXITING: u32 = 4;

fn stat(process: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name before it may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let flags: u32 = fields.nth(4)?.parse().ok()?;
    let threads = fields.nth(10)?.parse().ok()?;
    Some(Stat {
        parent,
        is_leaving: matches!(state, "Z" | "X") || flags & EXITING != 0,
        threads,
    })
}

/// What `/proc/<thread>/status` says under a name.
fn status(thread: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{thread}/status")).ok()
}

/// The value in a line of a name, a colon and a value.
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
    fn a_process_is_there_until_its_last_thread_leaves() {
        let own = stat(std::process::id().cast_signed()).expect("one's own");
        assert!(!own.is_leaving && own.threads >= 1);
        assert_eq!(
            own.parent,
            std::os::unix::process::parent_id().cast_signed()
        );
        let text = "7 (a) b) S 3 7 7 0 -1 4194564 100 0 0 0 0 0 0 0 20 0 2 0 99";
        let leaving = parse_stat(text).expect("a line");
        assert_eq!((leaving.parent, leaving.threads), (3, 2));
        assert!(leaving.is_leaving);
        let present = parse_stat(&text.replace("4194564", "4194560")).expect("a line");
        assert!(!present.is_leaving);
    }

    #[test]
    fn a_blocked_signal_does_not_end_a_call() {
        let blocked = STATUS.replace("SigBlk:\t0000000000000000", "SigBlk:\t0000000000004000");
        assert!(!signalled(7, &blocked));
        let own = STATUS.replace("SigPnd:\t0000000000000000", "SigPnd:\t0000000000000200");
        assert!(signalled(8, &own));
    }
}
