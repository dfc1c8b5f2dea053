//! `write`, `send`, `sendto`, `sendmsg`: a destination on a TCP socket, and datagrams.
//!
//! A stream is the kernel's own; only a destination is looked at. A datagram socket of ours is known beforehand, for
//! there a header has to be put in front; and a UDP socket becomes one of ours when its destination is on the LAN.

use core::ffi::c_int;

use zt_intercept::send::MSG_FASTOPEN;
use zt_intercept::{Errno, Outcome};
use zt_socket_rpc::Id;
use zt_socket_rpc::linux::EPIPE;

use super::{framed, input};
use crate::environment::is_active;
use crate::frame;
use crate::log;
use crate::message::{IoVec, MessageHeader};
use crate::next::{self, fail};
use crate::process::program;

const MSG_OOB: c_int = 1;

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sendto(
    fd: c_int,
    buffer: *const u8,
    count: usize,
    flags: c_int,
    address: *const u8,
    len: u32,
) -> isize {
    if !is_active() {
        // SAFETY: the program's arguments.
        return unsafe { next::sendto(fd, buffer, count, flags, address, len) };
    }
    let flags = without_urgency(fd, flags);
    // SAFETY: the program's promise.
    let to = unsafe { input(address, len) };
    match log::outcome("sendto", fd, program().sender(fd, to)) {
        Outcome::Done(id) => {
            let mut vector = [IoVec {
                base: buffer.cast_mut(),
                len: count,
            }];
            let mut message = MessageHeader::new(&mut vector, core::ptr::null_mut(), 0);
            message.name = address.cast_mut();
            message.name_len = len;
            // SAFETY: the program's promise.
            return unsafe { frame::send(fd, id, &message, flags) };
        }
        Outcome::Fail(errno) => return fail(errno) as isize,
        Outcome::PassThrough(_) if address.is_null() => {
            // SAFETY: the program's arguments.
            return ended(fd, unsafe {
                next::sendto(fd, buffer, count, flags, address, len)
            });
        }
        Outcome::PassThrough(_) => {}
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
        return ended(fd, unsafe {
            next::sendto(fd, buffer, count, flags, core::ptr::null(), 0)
        });
    }
    ended(fd, result)
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sendmsg(fd: c_int, message: *const u8, flags: c_int) -> isize {
    let header = message.cast::<MessageHeader>();
    if !is_active() || message.is_null() {
        // SAFETY: the program's arguments.
        return unsafe { next::sendmsg(fd, message, flags) };
    }
    let flags = without_urgency(fd, flags);
    // SAFETY: the program's promise: a `struct msghdr`.
    let (name, name_len) = unsafe { ((*header).name, (*header).name_len) };
    // SAFETY: the program's promise.
    let to = unsafe { input(name, name_len) };
    match log::outcome("sendmsg", fd, program().sender(fd, to)) {
        // SAFETY: as above.
        Outcome::Done(id) => return unsafe { frame::send(fd, id, &*header, flags) },
        Outcome::Fail(errno) => return fail(errno) as isize,
        Outcome::PassThrough(_) if name.is_null() => {
            // SAFETY: the program's arguments.
            return ended(fd, unsafe { next::sendmsg(fd, message, flags) });
        }
        Outcome::PassThrough(_) => {}
    }
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
        return ended(fd, unsafe { send_without_name(fd, header, flags) });
    }
    ended(fd, result)
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn write(fd: c_int, buffer: *const u8, count: usize) -> isize {
    match framed(fd) {
        // SAFETY: the program's promise.
        Some(id) => unsafe { send_plain(fd, id, buffer, count, 0) },
        // SAFETY: the program's arguments.
        None => ended(fd, unsafe { next::write(fd, buffer, count) }),
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn send(fd: c_int, buffer: *const u8, count: usize, flags: c_int) -> isize {
    match framed(fd) {
        // SAFETY: the program's promise.
        Some(id) => unsafe { send_plain(fd, id, buffer, count, flags) },
        None => {
            let flags = without_urgency(fd, flags);
            // SAFETY: the program's arguments.
            ended(fd, unsafe { next::send(fd, buffer, count, flags) })
        }
    }
}

/// The flags of a send on a stream of ours: urgent bytes are bytes like others on the LAN, which a Unix socket would
/// set apart.
#[inline(always)]
pub(super) fn without_urgency(fd: c_int, flags: c_int) -> c_int {
    if flags & MSG_OOB != 0 && is_active() && program().is_stream(fd) {
        flags & !MSG_OOB
    } else {
        flags
    }
}

/// The end of a send on what may be a stream of ours.
#[inline(always)]
pub(super) fn ended(fd: c_int, result: isize) -> isize {
    if result < 0 && is_active() && next::errno() == Errno(EPIPE) {
        return fail(program().after_broken_pipe(fd)) as isize;
    }
    result
}

/// # Safety
/// `count` readable bytes.
unsafe fn send_plain(fd: c_int, id: Id, buffer: *const u8, count: usize, flags: c_int) -> isize {
    let mut vector = [IoVec {
        base: buffer.cast_mut(),
        len: count,
    }];
    let message = MessageHeader::new(&mut vector, core::ptr::null_mut(), 0);
    // SAFETY: the caller's promise.
    unsafe { frame::send(fd, id, &message, flags) }
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
