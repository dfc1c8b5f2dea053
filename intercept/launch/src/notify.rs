//! The kernel's notifications of trapped calls, and the answers to them.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use zt_intercept::{Errno, Fd};

use crate::memory::Memory;
use crate::sys::{self, errno};

/// One trapped call; its thread waits for the answer.
#[derive(Debug)]
pub(crate) struct Call {
    /// What the kernel knows it by.
    pub(crate) id: u64,
    /// The thread.
    pub(crate) thread: i32,
    /// The number of the call.
    pub(crate) number: i64,
    /// The registers.
    pub(crate) arguments: [u64; 6],
    /// The thread's memory.
    pub(crate) memory: Memory,
}

impl Call {
    /// An argument that is a C `int`.
    pub(crate) fn int(&self, index: usize) -> i32 {
        self.arguments.get(index).map_or(0, |&value| value as i32)
    }

    /// An argument that is a pointer.
    pub(crate) fn pointer(&self, index: usize) -> u64 {
        self.arguments.get(index).copied().unwrap_or(0)
    }
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The call returns this value.
    Value(i32),
    /// The call fails.
    Error(Errno),
    /// The kernel makes the call itself.
    Continue,
    /// It has been answered already, or its thread is gone.
    Done,
}

/// The receiving end of a filter.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`: the caller and the supervisor take turns on one processor, which makes a call many
/// times cheaper (Linux 6.6).
const SYNC_WAKE_UP: u64 = 1;

impl Listener {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        // SAFETY: the argument is a number. An older kernel refuses it and is only slower.
        unsafe {
            libc::ioctl(
                fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _,
                SYNC_WAKE_UP,
            );
        }
        Self(fd)
    }

    /// Waits for the next call. `ENOENT`: its thread has died, or all are gone.
    pub(crate) fn receive(&self) -> Result<Call, Errno> {
        // SAFETY: plain numbers; the kernel wants them to be zero.
        let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: room for a notification.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV as _,
                &raw mut notification,
            )
        };
        if result < 0 {
            return Err(errno());
        }
        Ok(Call {
            id: notification.id,
            thread: notification.pid.cast_signed(),
            number: i64::from(notification.data.nr),
            arguments: notification.data.args,
            memory: Memory::of(notification.pid.cast_signed()),
        })
    }

    /// Whether another call is there already.
    pub(crate) fn has_another(&self) -> bool {
        sys::poll(self.0.as_raw_fd(), libc::POLLIN, 0)
            .is_ok_and(|events| events & libc::POLLIN != 0)
    }

    /// Whether the call is still waiting. Until then, what was read by its thread's number may be another thread's.
    pub(crate) fn is_waiting(&self, call: &Call) -> bool {
        // SAFETY: a readable id.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _,
                &raw const call.id,
            )
        };
        result == 0
    }

    /// Answers a call. A thread that was killed in the meantime needs no answer.
    pub(crate) fn answer(&self, call: &Call, answer: Answer) {
        let (value, error, flags) = match answer {
            Answer::Value(value) => (i64::from(value), 0, 0),
            Answer::Error(errno) => (0, -errno.0, 0),
            Answer::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Answer::Done => return,
        };
        let response = libc::seccomp_notif_resp {
            id: call.id,
            val: value,
            error,
            flags,
        };
        // SAFETY: a readable response.
        unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND as _,
                &raw const response,
            );
        }
    }

    /// Puts a copy of `fd` in the place of `onto` of the calling process.
    pub(crate) fn put(
        &self,
        call: &Call,
        fd: Fd,
        onto: Fd,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        self.add(
            call,
            fd,
            libc::SECCOMP_ADDFD_FLAG_SETFD as u32,
            onto,
            close_on_exec,
        )
        .map(drop)
    }

    /// Answers the call with a copy of `fd` as a new descriptor of its process: the number there.
    pub(crate) fn answer_with(
        &self,
        call: &Call,
        fd: Fd,
        close_on_exec: bool,
    ) -> Result<Fd, Errno> {
        self.add(
            call,
            fd,
            libc::SECCOMP_ADDFD_FLAG_SEND as u32,
            0,
            close_on_exec,
        )
    }

    fn add(
        &self,
        call: &Call,
        fd: Fd,
        flags: u32,
        onto: Fd,
        close_on_exec: bool,
    ) -> Result<Fd, Errno> {
        let request = libc::seccomp_notif_addfd {
            id: call.id,
            flags,
            srcfd: fd.cast_unsigned(),
            newfd: onto.cast_unsigned(),
            newfd_flags: if close_on_exec {
                libc::O_CLOEXEC.cast_unsigned()
            } else {
                0
            },
        };
        loop {
            // SAFETY: a readable request.
            let result = unsafe {
                libc::ioctl(
                    self.0.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_ADDFD as _,
                    &raw const request,
                )
            };
            match if result < 0 { Err(errno()) } else { Ok(result) } {
                Err(Errno(libc::EINTR)) => {}
                // The thread has already another descriptor to take in.
                Err(Errno(libc::EINPROGRESS)) => std::thread::yield_now(),
                result => return result,
            }
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
