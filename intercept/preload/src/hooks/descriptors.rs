//! `dup`, `dup2`, `dup3`, `fcntl`, `ioctl`, `sockatmark`: copies of framed descriptors, and the length of the next datagram.
//!
//! `fcntl` and `ioctl` are variadic in C. Their optional argument is one word, which the calling conventions of both
//! architectures pass as any third argument.

use core::ffi::c_int;

use super::interfaces;

use crate::environment::is_active;
use crate::next::{self, fail};
use crate::process::{program, shared};
use zt_intercept::Outcome;

const F_DUPFD: c_int = 0;
const F_DUPFD_CLOEXEC: c_int = 1030;
const FIONREAD: usize = 0x541b;
const SIOCATMARK: usize = 0x8905;

/// The end of a call that has made a copy.
pub(super) fn copied(from: c_int, to: c_int) -> c_int {
    if to >= 0 && is_active() {
        shared(from, to);
    }
    to
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: no pointers.
    copied(fd, unsafe { next::dup(fd) })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn dup2(fd: c_int, onto: c_int) -> c_int {
    // SAFETY: no pointers.
    copied(fd, unsafe { next::dup2(fd, onto) })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn dup3(fd: c_int, onto: c_int, flags: c_int) -> c_int {
    // SAFETY: no pointers.
    copied(fd, unsafe { next::dup3(fd, onto, flags) })
}

/// The end of an `fcntl`.
pub(super) fn controlled(fd: c_int, command: c_int, result: c_int) -> c_int {
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => copied(fd, result),
        _ => result,
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the program's arguments.
    controlled(fd, command, unsafe { next::fcntl(fd, command, argument) })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the program's arguments.
    controlled(fd, command, unsafe { next::fcntl64(fd, command, argument) })
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn ioctl(fd: c_int, request: usize, argument: usize) -> c_int {
    if request as u32 as usize == FIONREAD
        && is_active()
        && argument != 0
        && program().datagram(fd).is_some()
    {
        let waiting = program().next_length(fd);
        // SAFETY: the program's promise: a place for an `int`.
        unsafe {
            core::ptr::with_exposed_provenance_mut::<c_int>(argument)
                .write_unaligned(waiting as c_int);
        }
        return 0;
    }
    if let Some(result) = interfaces::ioctl(fd, request, argument) {
        return result;
    }
    if is_active() && argument != 0 {
        match program().queue(fd, request as u32) {
            Outcome::Done(bytes) => {
                // SAFETY: the program's promise: a place for an `int`.
                unsafe {
                    core::ptr::with_exposed_provenance_mut::<c_int>(argument)
                        .write_unaligned(bytes);
                }
                return 0;
            }
            Outcome::Fail(errno) => return fail(errno),
            Outcome::PassThrough(_) => {}
        }
    }
    // SAFETY: the program's arguments.
    unsafe { next::ioctl(fd, request, argument) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sockatmark(fd: c_int) -> c_int {
    let mut mark: c_int = 0;
    // SAFETY: a place for an `int`.
    match unsafe { ioctl(fd, SIOCATMARK, (&raw mut mark).expose_provenance()) } {
        0 => mark,
        failed => failed,
    }
}
