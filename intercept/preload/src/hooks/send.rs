//! `sendto`, `sendmsg`: a destination on a TCP socket.

use core::ffi::c_int;

use zt_intercept::Outcome;
use zt_intercept::send::MSG_FASTOPEN;

use super::input;
use crate::environment::is_active;
use crate::log;
use crate::message::MessageHeader;
use crate::next::{self, fail};
use crate::process::program;

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sendto(
    fd: c_int,
    buffer: *const u8,
    count: usize,
    flags: c_int,
    address: *const u8,
    len: u32,
) -> isize {
    if !is_active() || address.is_null() {
        // SAFETY: the program's arguments.
        return unsafe { next::sendto(fd, buffer, count, flags, address, len) };
    }
    // SAFETY: the program's promise.
    match unsafe { fast_open(fd, flags, address, len) } {
        FastOpen::Connected => {
            // SAFETY: the program's arguments, without the destination that was connected to.
            return unsafe {
                next::sendto(
                    fd,
                    buffer,
                    count,
                    flags & !MSG_FASTOPEN,
                    core::ptr::null(),
                    0,
                )
            };
        }
        FastOpen::Failed => return -1,
        FastOpen::NotOurs => {}
    }
    // SAFETY: the program's arguments.
    let result = unsafe { next::sendto(fd, buffer, count, flags, address, len) };
    if result < 0 && program().ignores_destination(fd, next::errno()) {
        // SAFETY: the program's arguments, without the destination.
        return unsafe { next::sendto(fd, buffer, count, flags, core::ptr::null(), 0) };
    }
    result
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(fd: c_int, message: *const u8, flags: c_int) -> isize {
    let header = message.cast::<MessageHeader>();
    // SAFETY: the program's promise: a `struct msghdr`.
    if !is_active() || message.is_null() || unsafe { (*header).name.is_null() } {
        // SAFETY: the program's arguments.
        return unsafe { next::sendmsg(fd, message, flags) };
    }
    // SAFETY: as above.
    let (name, name_len) = unsafe { ((*header).name, (*header).name_len) };
    // SAFETY: the program's promise.
    match unsafe { fast_open(fd, flags, name, name_len) } {
        FastOpen::Connected => {
            // SAFETY: as above.
            return unsafe { send_without_name(fd, header, flags & !MSG_FASTOPEN) };
        }
        FastOpen::Failed => return -1,
        FastOpen::NotOurs => {}
    }
    // SAFETY: the program's arguments.
    let result = unsafe { next::sendmsg(fd, message, flags) };
    if result < 0 && program().ignores_destination(fd, next::errno()) {
        // SAFETY: as above.
        return unsafe { send_without_name(fd, header, flags) };
    }
    result
}

/// # Safety
/// `header` is the program's `struct msghdr`.
unsafe fn send_without_name(fd: c_int, header: *const MessageHeader, flags: c_int) -> isize {
    // SAFETY: the program's arguments, in a copy that has no name.
    unsafe {
        let unnamed = MessageHeader {
            name: core::ptr::null_mut(),
            name_len: 0,
            ..core::ptr::read(header)
        };
        next::sendmsg(fd, (&raw const unnamed).cast(), flags)
    }
}

/// What `MSG_FASTOPEN` has come to.
enum FastOpen {
    /// Connected on the LAN: the data follows.
    Connected,
    /// `errno` is set; `EINPROGRESS` included.
    Failed,
    /// The kernel's own.
    NotOurs,
}

/// Connects first when a send asks for both.
///
/// # Safety
/// `len` readable bytes of address.
unsafe fn fast_open(fd: c_int, flags: c_int, address: *const u8, len: u32) -> FastOpen {
    if flags & MSG_FASTOPEN == 0 {
        return FastOpen::NotOurs;
    }
    // SAFETY: the caller's promise.
    let Some(to) = (unsafe { input(address, len) }) else {
        return FastOpen::NotOurs;
    };
    match log::outcome("connect", fd, program().connect(fd, to)) {
        Outcome::Done(_) => FastOpen::Connected,
        Outcome::Fail(errno) => {
            fail(errno);
            FastOpen::Failed
        }
        Outcome::PassThrough(_) => FastOpen::NotOurs,
    }
}
