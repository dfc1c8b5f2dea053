//! `getsockopt`, `setsockopt`.

use core::ffi::c_int;

use zt_intercept::{Errno, Outcome};
use zt_socket_rpc::linux::{EFAULT, EINVAL};

use super::{cut_to, input};
use crate::environment::is_active;
use crate::log;
use crate::next::{self, fail};
use crate::process::program;

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut u8,
    len: *mut u32,
) -> c_int {
    if is_active() {
        match log::outcome("getsockopt", fd, program().get_option(fd, level, name)) {
            Outcome::Done(_) if value.is_null() || len.is_null() => return fail(Errno(EFAULT)),
            // SAFETY: the program's promise.
            Outcome::Done(answer) => unsafe {
                if *len > i32::MAX as u32 {
                    return fail(Errno(EINVAL));
                }
                *len = cut_to(value, *len, answer.cut_to(level, *len as usize)) as u32;
                return 0;
            },
            Outcome::Fail(errno) => return fail(errno),
            Outcome::PassThrough(_) => {}
        }
    }
    // SAFETY: the program's arguments.
    unsafe { next::getsockopt(fd, level, name, value, len) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const u8,
    len: u32,
) -> c_int {
    if is_active() {
        let bytes = match len {
            // Negative: as good as too short.
            0x8000_0000.. => Some(&[][..]),
            // SAFETY: the program's promise.
            _ => unsafe { input(value, len) },
        };
        match log::outcome(
            "setsockopt",
            fd,
            program().set_option(fd, level, name, bytes),
        ) {
            Outcome::Done(value) => return value,
            Outcome::Fail(errno) => return fail(errno),
            Outcome::PassThrough(_) => {}
        }
    }
    // SAFETY: the program's arguments.
    unsafe { next::setsockopt(fd, level, name, value, len) }
}
