//! Letting go of sockets that the program has closed.
//!
//! The supervisor's copy of an undecided socket or of a listener keeps it open when the program has closed the last of
//! its own. `close` is not trapped (it would make every `close` of every file dear), so somebody has to look: before a port
//! is bound, when a process has ended, and from time to time, less and less often while the program makes no calls. A look
//! is one `stat` of the place where the socket was last; only when it is not there, all descriptors of all the program's
//! processes are gone through.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use zt_intercept::{Errno, Fd};

use crate::sockets::Socket;
use crate::supervisor::Supervisor;
use crate::{sys, target};

/// After a call of the program.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// While it makes none.
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// Options that are due are told together.
const SLACK: Duration = Duration::from_millis(100);
/// A sweep takes at most this part of the time.
const SHARE: u32 = 50;

/// Wakes the sweeper.
#[derive(Debug)]
pub(crate) struct Bell {
    event: OwnedFd,
    /// The program has made a call since the last look.
    is_busy: AtomicBool,
    /// One look at a time.
    look: Mutex<()>,
}

impl Bell {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self {
            event: sys::event()?,
            is_busy: AtomicBool::new(false),
            look: Mutex::default(),
        })
    }

    /// A process has ended: look now.
    pub(crate) fn ring(&self) {
        sys::signal_event(self.event.as_raw_fd());
    }

    /// A copy is kept from now on, or was used.
    pub(crate) fn note(&self) {
        // A sweeper that sleeps for ever has to be told; one that is to come soon anyway has not.
        if !self.is_busy.load(Ordering::Relaxed) && !self.is_busy.swap(true, Ordering::AcqRel) {
            self.ring();
        }
    }

    /// Sleeps for this long, for ever without a limit, or until the bell rings.
    fn wait(&self, limit: Option<Duration>) {
        let limit = limit.map_or(-1, |limit| limit.as_millis() as i32);
        let _ = sys::poll(self.event.as_raw_fd(), libc::POLLIN, limit);
        sys::clear_event(self.event.as_raw_fd());
    }
}

/// Sweeps until the process ends.
pub(crate) fn run(supervisor: &Supervisor) {
    let bell = &supervisor.bell;
    let mut pause = FIRST_PAUSE;
    loop {
        supervisor.later.tell_due(supervisor);
        let started = Instant::now();
        let left = sweep(supervisor);
        pause = if bell.is_busy.swap(false, Ordering::AcqRel) {
            FIRST_PAUSE
        } else {
            (pause * 2).min(LAST_PAUSE)
        };
        let look = (left > 0).then(|| pause.max(started.elapsed() * SHARE));
        let due = supervisor.later.due();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()) + SLACK);
        bell.wait(look.into_iter().chain(due).min());
    }
}

/// Lets go of what only the supervisor has open; how many copies are left.
pub(crate) fn sweep(supervisor: &Supervisor) -> usize {
    let _one = supervisor
        .bell
        .look
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    supervisor.instances.forget_ended();
    let kept = supervisor.sockets.kept();
    let mut missing: HashMap<u64, Arc<Socket>> = kept
        .iter()
        .filter(|(inode, socket)| {
            // One that a call is about (more than the table and this list have it) is open.
            let (process, number) = socket.place();
            Arc::strong_count(socket) <= 2 && target::inode_at(process, number) != Ok(Some(*inode))
        })
        .map(|(inode, socket)| (*inode, Arc::clone(socket)))
        .collect();
    if missing.is_empty() {
        return kept.len();
    }
    if !find(&mut missing) {
        return kept.len();
    }
    for (inode, socket) in &missing {
        // A call may have come in between.
        if Arc::strong_count(socket) <= 3 {
            supervisor.sockets.forget(*inode);
        }
    }
    kept.len() - missing.len()
}

/// Removes what some process has open. False when a process could not be looked at.
fn find(missing: &mut HashMap<u64, Arc<Socket>>) -> bool {
    let mut whole = true;
    for process in descendants() {
        let Ok(directory) = fs::read_dir(format!("/proc/{process}/fd")) else {
            whole &= !target::is_there(process);
            continue;
        };
        for entry in directory.flatten() {
            let Ok(file) = fs::metadata(entry.path()) else {
                continue;
            };
            if let Some(socket) = missing.remove(&file.ino()) {
                let name = entry.file_name();
                let number = name.to_str().and_then(|name| name.parse::<Fd>().ok());
                socket.is_at(process, number.unwrap_or(-1));
            }
        }
    }
    whole
}

/// All processes of the program: its orphans are the supervisor's children.
fn descendants() -> Vec<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            Some((process, target::parent_of(process)?))
        })
        .collect();
    let mut found = vec![std::process::id().cast_signed()];
    let mut next = 0;
    while let Some(&process) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == process)
                .map(|(child, _)| *child),
        );
        next += 1;
    }
    found.split_off(1)
}
