//! Starting the program with the filter on it, and getting the filter's receiving end from it.
//!
//! The child puts the filter on itself, sends the receiving end over a socket pair, and becomes the program. Neither the
//! sending nor the `exec` is trapped.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use zt_intercept::Errno;

use crate::filter::{self, HAND_OVER};
use crate::memory::Memory;
use crate::{sys, target};

/// Why there is no program to supervise.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The program itself could not be executed.
    Program(io::Error),
    /// The filter is not possible here; with what to do.
    Filter(Errno),
    /// The supervisor may not look into the program.
    Sight(Errno),
    /// Something that this process lacks.
    Other(io::Error),
}

/// What the child sends with the receiving end, or in its place.
const READY: u8 = 0;

/// Starts the program; its process, and the receiving end of its filter.
pub(crate) fn start(
    program: &OsString,
    arguments: &[OsString],
    signals: libc::sigset_t,
) -> Result<(Child, OwnedFd), StartError> {
    let filter = filter::program();
    let (ours, theirs) = sys::socket_pair(libc::SOCK_SEQPACKET)
        .map_err(|Errno(errno)| StartError::Other(io::Error::from_raw_os_error(errno)))?;
    // SAFETY: two descriptors just made.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    let channel = theirs.as_raw_fd();
    let mut command = Command::new(program);
    command.args(arguments);
    // SAFETY: between fork and exec: system calls, and memory that was there before.
    unsafe { command.pre_exec(move || prepare(&filter, channel, &signals)) };
    let spawned = command.spawn();
    drop(command);
    drop(theirs);

    let mut answer = [0; size_of::<i32>()];
    let mut descriptors = [None; zt_socket_rpc::MAX_DESCRIPTORS];
    let received = sys::receive_message(ours.as_raw_fd(), &mut answer, &mut descriptors, 0);
    // SAFETY: a descriptor that has just come in.
    let listener = descriptors[0].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    match (spawned, received, listener) {
        (Ok(child), Ok(_), Some(listener)) => match may_look_into(&child) {
            Ok(()) => Ok((child, listener)),
            Err(errno) => {
                let mut child = child;
                let _ = child.kill();
                let _ = child.wait();
                Err(StartError::Sight(errno))
            }
        },
        (Err(_), Ok(4), None) => Err(StartError::Filter(Errno(i32::from_ne_bytes(answer)))),
        (Err(error), _, Some(_)) => Err(StartError::Program(error)),
        (Err(error), _, None) => Err(StartError::Other(error)),
        (Ok(mut child), _, None) | (Ok(mut child), Err(_), _) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(StartError::Other(io::Error::other(
                "the program's filter was lost",
            )))
        }
    }
}

/// Looks at a descriptor and at memory of the child, neither of which has to be there.
fn may_look_into(child: &Child) -> Result<(), Errno> {
    let process = child.id().cast_signed();
    let looks = [
        target::inode_at(process, 0).map(drop),
        Memory::open(process).map(drop),
    ];
    for look in looks {
        match look {
            Ok(()) | Err(Errno(libc::ENOENT | libc::ESRCH)) => {}
            // It may have ended already, and one that protects itself is told of when it makes a call.
            Err(_) if target::protects_itself(process) || !target::is_there(process) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// In the child: ends with the supervisor, gets the filter, sends its receiving end.
fn prepare(
    filter: &[libc::sock_filter],
    channel: RawFd,
    signals: &libc::sigset_t,
) -> io::Result<()> {
    // SAFETY: numbers, and a set that the system filled in.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, signals, std::ptr::null_mut());
        // Without its supervisor every socket call would fail.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
    }
    match install(filter) {
        Ok(listener) => {
            let sent = sys::send_message_with(channel, &[READY], &[listener], HAND_OVER);
            sys::close(listener);
            sent.map_err(|Errno(errno)| io::Error::from_raw_os_error(errno))
        }
        Err(Errno(errno)) => {
            let _ = sys::send_message(channel, &errno.to_ne_bytes(), &[]);
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

/// Puts the filter on this thread. New privileges are given up only when the kernel insists.
fn install(filter: &[libc::sock_filter]) -> Result<RawFd, Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno(libc::EINVAL))?,
        filter: filter.as_ptr().cast_mut(),
    };
    let set = |flags: libc::c_ulong| {
        // SAFETY: a readable filter of the length given.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        if fd < 0 {
            Err(sys::errno())
        } else {
            Ok(fd as RawFd)
        }
    };
    // Only a deadly signal takes a call away from the supervisor that has begun with it (Linux 5.19).
    let flags =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let mut result = set(flags);
    if result == Err(Errno(libc::EACCES)) {
        // SAFETY: numbers only.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        result = set(flags);
    }
    if result == Err(Errno(libc::EINVAL)) {
        result = set(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    }
    result
}

impl StartError {
    /// Exit status, as shells and `env` have them.
    pub(crate) fn status(&self) -> i32 {
        match self {
            Self::Program(error) => status_of(error),
            _ => 125,
        }
    }

    /// What a person reads.
    pub(crate) fn text(&self, program: &OsString) -> String {
        let program = program.display();
        match self {
            Self::Program(error) => format!("cannot run {program}: {error}"),
            Self::Other(error) => format!("cannot start {program}: {error}"),
            Self::Filter(Errno(libc::EBUSY)) => {
                "another supervisor outside traps system calls already (seccomp EBUSY): zt-launch inside zt-launch, or \
                 a container engine with such a sandbox. Start the program without one of the two"
                    .to_owned()
            }
            Self::Filter(Errno(libc::ENOSYS | libc::EINVAL)) => {
                "this kernel has no seccomp user notification (Linux 5.9 or later is needed)".to_owned()
            }
            Self::Filter(Errno(errno)) => {
                format!("seccomp is not allowed here (errno {errno}): the container's seccomp profile must allow it")
            }
            Self::Sight(Errno(errno)) => format!(
                "{program}'s process may not be looked into (errno {errno}): /proc must be mounted, and \
                 kernel.yama.ptrace_scope must not be above 1"
            ),
        }
    }
}

/// 127 when there is no such program, 126 when it cannot be executed.
pub(crate) fn status_of(error: &io::Error) -> i32 {
    if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}
