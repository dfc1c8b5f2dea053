//! `read`, `recv`, `recvfrom`, `recvmsg`, and the fortified twins.
//!
//! The call is the C library's; only its rare ends are looked at: zero, `ECONNRESET`, a name. A datagram socket of ours
//! is known beforehand, for there a header has to be taken off.

use core::ffi::c_int;

use zt_intercept::Errno;
use zt_socket_rpc::Id;
use zt_socket_rpc::linux::ECONNRESET;

use super::{fortify, framed};
use crate::environment::is_active;
use crate::frame;
use crate::message::{IoVec, MessageHeader};
use crate::next::{self, fail};
use crate::process::program;

const MSG_TRUNC: c_int = 0x20;
pub(super) const MSG_DONTWAIT: c_int = 0x40;
const MSG_WAITALL: c_int = 0x100;

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn read(fd: c_int, buffer: *mut u8, count: usize) -> isize {
    if let Some(id) = framed(fd) {
        // SAFETY: the program's promise.
        return unsafe { receive_plain(fd, id, buffer, count, 0) };
    }
    if let Some(errno) = refused(fd, 0) {
        return fail(errno) as isize;
    }
    // SAFETY: the program's arguments.
    let result = unsafe { next::read(fd, buffer, count) };
    if result > 0 || !is_active() {
        result
    } else {
        ended(fd, result, count != 0)
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn __read_chk(fd: c_int, buffer: *mut u8, count: usize, size: usize) -> isize {
    fortify(count, size);
    if let Some(id) = framed(fd) {
        // SAFETY: the program's promise.
        return unsafe { receive_plain(fd, id, buffer, count, 0) };
    }
    if let Some(errno) = refused(fd, 0) {
        return fail(errno) as isize;
    }
    // SAFETY: the program's arguments.
    let result = unsafe { next::__read_chk(fd, buffer, count, size) };
    if result > 0 || !is_active() {
        result
    } else {
        ended(fd, result, count != 0)
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn recv(fd: c_int, buffer: *mut u8, count: usize, flags: c_int) -> isize {
    if let Some(id) = framed(fd) {
        // SAFETY: the program's promise.
        return unsafe { receive_plain(fd, id, buffer, count, flags) };
    }
    if let Some(errno) = refused(fd, flags) {
        return fail(errno) as isize;
    }
    if let Some(count) = discarded(fd, count, flags) {
        return count;
    }
    // SAFETY: the program's arguments.
    let result = unsafe { next::recv(fd, buffer, count, flags) };
    if result > 0 || !is_active() {
        result
    } else {
        ended(fd, result, count != 0)
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn __recv_chk(
    fd: c_int,
    buffer: *mut u8,
    count: usize,
    size: usize,
    flags: c_int,
) -> isize {
    fortify(count, size);
    if let Some(id) = framed(fd) {
        // SAFETY: the program's promise.
        return unsafe { receive_plain(fd, id, buffer, count, flags) };
    }
    if let Some(errno) = refused(fd, flags) {
        return fail(errno) as isize;
    }
    // SAFETY: the program's arguments.
    let result = unsafe { next::__recv_chk(fd, buffer, count, size, flags) };
    if result > 0 || !is_active() {
        result
    } else {
        ended(fd, result, count != 0)
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn recvfrom(
    fd: c_int,
    buffer: *mut u8,
    count: usize,
    flags: c_int,
    address: *mut u8,
    len: *mut u32,
) -> isize {
    if let Some(id) = framed(fd) {
        // SAFETY: the program's promise.
        return unsafe { receive_named(fd, id, (buffer, count), flags, address, len) };
    }
    if !is_active() {
        // SAFETY: the program's arguments.
        return unsafe { next::recvfrom(fd, buffer, count, flags, address, len) };
    }
    if let Some(errno) = refused(fd, flags) {
        return fail(errno) as isize;
    }
    // SAFETY: the program's promise.
    let room = unsafe { room(address, len) };
    // SAFETY: the program's arguments.
    let result = unsafe { next::recvfrom(fd, buffer, count, flags, address, len) };
    // SAFETY: the kernel has written this address.
    unsafe { named(fd, result, count != 0, address, len, room) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn __recvfrom_chk(
    fd: c_int,
    buffer: *mut u8,
    count: usize,
    size: usize,
    flags: c_int,
    address: *mut u8,
    len: *mut u32,
) -> isize {
    fortify(count, size);
    if let Some(id) = framed(fd) {
        // SAFETY: the program's promise.
        return unsafe { receive_named(fd, id, (buffer, count), flags, address, len) };
    }
    if !is_active() {
        // SAFETY: the program's arguments.
        return unsafe { next::__recvfrom_chk(fd, buffer, count, size, flags, address, len) };
    }
    if let Some(errno) = refused(fd, flags) {
        return fail(errno) as isize;
    }
    // SAFETY: the program's promise.
    let room = unsafe { room(address, len) };
    // SAFETY: the program's arguments.
    let result = unsafe { next::__recvfrom_chk(fd, buffer, count, size, flags, address, len) };
    // SAFETY: the kernel has written this address.
    unsafe { named(fd, result, count != 0, address, len, room) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn recvmsg(fd: c_int, message: *mut u8, flags: c_int) -> isize {
    if !is_active() || message.is_null() {
        // SAFETY: the program's arguments.
        return unsafe { next::recvmsg(fd, message, flags) };
    }
    if let Some(id) = framed(fd) {
        // SAFETY: the program's promise: a `struct msghdr`.
        return unsafe { frame::receive(fd, id, &mut *message.cast(), flags) };
    }
    if let Some(errno) = refused(fd, flags) {
        return fail(errno) as isize;
    }
    let header = message.cast::<MessageHeader>();
    // SAFETY: the program's promise: a `struct msghdr`.
    let (name, room) = unsafe { ((*header).name, (*header).name_len) };
    // SAFETY: the program's arguments.
    let result = unsafe { next::recvmsg(fd, message, flags) };
    if result >= 0 {
        // SAFETY: the kernel has written what control data there is.
        unsafe { frame::adopt_passed(&*header) };
    }
    // SAFETY: the kernel has read the same vector, and has written the name.
    unsafe {
        let wanted = result != 0 || asks_for_bytes((*header).vector, (*header).vector_len);
        named(fd, result, wanted, name, &raw mut (*header).name_len, room)
    }
}

/// # Safety
/// `count` writable bytes.
unsafe fn receive_plain(fd: c_int, id: Id, buffer: *mut u8, count: usize, flags: c_int) -> isize {
    let none = core::ptr::null_mut();
    // SAFETY: the caller's promise.
    unsafe { receive_named(fd, id, (buffer, count), flags, none, core::ptr::null_mut()) }
}

/// # Safety
/// As [`receive_plain`]; `address` has `*len` writable bytes, or is null.
unsafe fn receive_named(
    fd: c_int,
    id: Id,
    (buffer, count): (*mut u8, usize),
    flags: c_int,
    address: *mut u8,
    len: *mut u32,
) -> isize {
    let mut vector = [IoVec {
        base: buffer,
        len: count,
    }];
    let mut message = MessageHeader::new(&mut vector, core::ptr::null_mut(), 0);
    // SAFETY: the caller's promise.
    unsafe {
        message.name_len = room(address, len);
        if !len.is_null() {
            message.name = address;
        }
        let received = frame::receive(fd, id, &mut message, flags);
        if received >= 0 && !message.name.is_null() {
            *len = message.name_len;
        }
        received
    }
}

/// The end of a receive that returned zero or failed.
pub(super) fn ended(fd: c_int, result: isize, wanted: bool) -> isize {
    if result == 0 && wanted {
        if let Some(errno) = program().after_end_of_file(fd) {
            return fail(errno) as isize;
        }
    } else if result < 0 && next::errno() == Errno(ECONNRESET) {
        return fail(program().after_reset(fd)) as isize;
    }
    result
}

/// The same for a receive that may have written a name: TCP writes none.
///
/// # Safety
/// `address` has `room` writable bytes, or is null.
unsafe fn named(
    fd: c_int,
    result: isize,
    wanted: bool,
    address: *mut u8,
    len: *mut u32,
    room: u32,
) -> isize {
    if result >= 0 && !address.is_null() && !len.is_null() {
        // SAFETY: the caller's promise.
        unsafe {
            let written = core::slice::from_raw_parts_mut(address, room.min(*len) as usize);
            if program().strip_name(fd, written) {
                *len = 0;
            }
        }
    }
    if result > 0 {
        result
    } else {
        ended(fd, result, wanted)
    }
}

/// The size of the program's address buffer.
///
/// # Safety
/// `len` is null or readable.
unsafe fn room(address: *mut u8, len: *mut u32) -> u32 {
    if address.is_null() || len.is_null() {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { *len }
}

/// What `MSG_TRUNC` asks of a stream: bytes are taken out and go nowhere, for `recv`, which is where programs use it.
#[inline(always)]
fn discarded(fd: c_int, count: usize, flags: c_int) -> Option<isize> {
    (flags & MSG_TRUNC != 0 && is_active() && program().is_stream(fd))
        .then(|| discard(fd, count, flags & !MSG_TRUNC))
}

#[cold]
fn discard(fd: c_int, count: usize, flags: c_int) -> isize {
    let mut scrap = [0; 4096];
    let mut taken = 0;
    let mut flags = flags;
    while taken < count {
        let piece = scrap.len().min(count - taken);
        // SAFETY: `piece` bytes of a buffer of our own.
        let result = unsafe { next::recv(fd, scrap.as_mut_ptr(), piece, flags) };
        match usize::try_from(result) {
            Ok(0) | Err(_) if taken == 0 => return ended(fd, result, true),
            Ok(0) | Err(_) => break,
            Ok(more) => taken += more,
        }
        if flags & MSG_WAITALL == 0 {
            flags |= MSG_DONTWAIT;
        }
    }
    taken as isize
}

/// A receive that must not be made.
#[inline(always)]
pub(super) fn refused(fd: c_int, flags: c_int) -> Option<Errno> {
    if is_active() {
        program().refuses_receive(fd, flags)
    } else {
        None
    }
}

/// Whether a vector has room for anything: a receive of nothing returns zero without an end of file.
///
/// # Safety
/// The kernel has accepted the same array.
pub(super) unsafe fn asks_for_bytes(vector: *const IoVec, count: usize) -> bool {
    // SAFETY: the caller's promise.
    (0..count).any(|index| unsafe { (*vector.add(index)).len != 0 })
}
