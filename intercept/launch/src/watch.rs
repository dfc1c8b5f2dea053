//! Signals and ends: what the supervisor does for the program as its parent.

use std::os::fd::{AsRawFd as _, OwnedFd};

use libc::{c_int, sigset_t};
use zt_intercept::Errno;

use crate::supervisor::Supervisor;
use crate::sys;

/// Signals that go on to the program. The stopping ones (`SIGTSTP`, …) do to the supervisor what they do to the program,
/// as the shell expects.
const FORWARDED: [c_int; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGWINCH,
    libc::SIGCONT,
];

/// Signals of this process, taken one by one.
pub(crate) struct Signals {
    queue: OwnedFd,
    /// What was held back before, which the program inherits.
    inherited: sigset_t,
}

/// Holds all forwarded signals back, in this thread and those that it will start, and adopts orphans: only descendants
/// can be looked into everywhere.
pub(crate) fn prepare() -> Result<Signals, Errno> {
    // SAFETY: an initialised set, and numbers.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
        let mut set: sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in FORWARDED {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        let mut inherited: sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut inherited);
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        let queue = sys::owned(libc::signalfd(-1, &raw const set, flags))?;
        Ok(Signals { queue, inherited })
    }
}

/// Until the last process has ended; the status of the first.
pub(crate) fn until_the_end(supervisor: &Supervisor, signals: &Signals, child: i32) -> i32 {
    let mut status = None;
    loop {
        while let Some(signal) = signals.next() {
            // A key of the terminal has reached the whole group.
            let by_terminal = signal.ssi_code == SI_KERNEL;
            let signal = signal.ssi_signo.cast_signed();
            if signal != libc::SIGCHLD && !by_terminal && status.is_none() {
                // SAFETY: numbers only; the child has not been waited for, so the number is its own.
                unsafe { libc::kill(child, signal) };
            }
        }
        while let Some((process, ended)) = reap() {
            supervisor.bell.ring();
            if process == child {
                status = Some(ended);
            }
        }
        if let Some(status) = status
            && supervisor.has_ended()
        {
            return status;
        }
        wait_for_either(signals, supervisor);
    }
}

/// `SI_KERNEL`.
const SI_KERNEL: i32 = 0x80;

impl Signals {
    /// What the program is to hold back.
    pub(crate) fn inherited(&self) -> sigset_t {
        self.inherited
    }

    fn next(&self) -> Option<libc::signalfd_siginfo> {
        // SAFETY: plain numbers, for which zero is a value; a writable buffer of that length.
        unsafe {
            let mut signal: libc::signalfd_siginfo = std::mem::zeroed();
            let len = size_of_val(&signal);
            let read = libc::read(self.queue.as_raw_fd(), (&raw mut signal).cast(), len);
            usize::try_from(read)
                .is_ok_and(|read| read == len)
                .then_some(signal)
        }
    }
}

fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: room for a status.
    let process = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    let code = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    (process > 0).then_some((process, code))
}

fn wait_for_either(signals: &Signals, supervisor: &Supervisor) {
    let entry = |fd, events| libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let mut entries = [
        entry(signals.queue.as_raw_fd(), libc::POLLIN),
        // Only its end, which is reported unasked.
        entry(supervisor.listener.as_raw_fd(), 0),
    ];
    // SAFETY: two entries. The end of the filter may come before the end of the child is told.
    unsafe {
        libc::poll(entries.as_mut_ptr(), 2, -1);
        if entries[1].revents & libc::POLLHUP != 0 && entries[0].revents == 0 {
            libc::poll(entries.as_mut_ptr(), 1, -1);
        }
    }
}
