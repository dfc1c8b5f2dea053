//! `getsockname`, `getpeername`.

use core::ffi::c_int;

use zt_intercept::{Fd, Outcome, Program, SockAddr};

use super::put_address;
use crate::environment::is_active;
use crate::log;
use crate::next::{self, fail};
use crate::process::{Process, program};

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn getsockname(fd: c_int, address: *mut u8, len: *mut u32) -> c_int {
    if is_active() {
        // SAFETY: the program's promise.
        let answered = unsafe { answer("getsockname", fd, address, len, Program::local_name_of) };
        if let Some(value) = answered {
            return value;
        }
    }
    // SAFETY: the program's arguments.
    unsafe { next::getsockname(fd, address, len) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn getpeername(fd: c_int, address: *mut u8, len: *mut u32) -> c_int {
    if is_active() {
        // SAFETY: the program's promise.
        let answered = unsafe { answer("getpeername", fd, address, len, Program::peer_name_of) };
        if let Some(value) = answered {
            return value;
        }
    }
    // SAFETY: the program's arguments.
    unsafe { next::getpeername(fd, address, len) }
}

type Ask = fn(&Program<'static, Process>, Fd) -> Outcome<SockAddr>;

/// # Safety
/// As for `getsockname`.
unsafe fn answer(
    call: &'static str,
    fd: c_int,
    address: *mut u8,
    len: *mut u32,
    ask: Ask,
) -> Option<c_int> {
    // A null pointer: the kernel's `EFAULT`.
    if address.is_null() || len.is_null() {
        return None;
    }
    match log::outcome(call, fd, ask(&program(), fd)) {
        // SAFETY: the program's promise.
        Outcome::Done(name) => match unsafe { put_address(address, len, &name) } {
            Ok(()) => Some(0),
            Err(errno) => Some(fail(errno)),
        },
        Outcome::Fail(errno) => Some(fail(errno)),
        Outcome::PassThrough(_) => None,
    }
}
