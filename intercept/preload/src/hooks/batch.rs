//! `recvmmsg`, `sendmmsg`: many messages in one call.

use core::ffi::c_int;

use zt_intercept::Outcome;

use super::receive::{self, MSG_DONTWAIT, asks_for_bytes, refused};
use super::send::{self, without_urgency};
use super::{framed, input};
use crate::environment::is_active;
use crate::frame;
use crate::message::{BatchMessage, MOST_MESSAGES};
use crate::next::{self, fail};
use crate::process::program;

const MSG_WAITFORONE: c_int = 0x10000;

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn recvmmsg(
    fd: c_int,
    messages: *mut u8,
    count: u32,
    flags: c_int,
    timeout: *mut u8,
) -> c_int {
    if !is_active() || messages.is_null() || count == 0 {
        // SAFETY: the program's arguments.
        return unsafe { next::recvmmsg(fd, messages, count, flags, timeout) };
    }
    let batch = messages.cast::<BatchMessage>();
    let Some(id) = framed(fd) else {
        if let Some(errno) = refused(fd, flags) {
            return fail(errno);
        }
        // SAFETY: the program's promise: an array of `count` messages, of which there is one.
        let room = unsafe { (*batch).header.name_len };
        // SAFETY: the program's arguments.
        let received = unsafe { next::recvmmsg(fd, messages, count, flags, timeout) };
        // SAFETY: the kernel has written so many messages.
        return unsafe { ended(fd, received, batch, room) };
    };
    let mut flags = flags;
    for index in 0..count.min(MOST_MESSAGES) {
        // SAFETY: the program's promise: an array of `count` messages.
        let message = unsafe { &mut *batch.add(index as usize) };
        // SAFETY: as above.
        let len = unsafe { frame::receive(fd, id, &mut message.header, flags) };
        if len < 0 {
            // What was received counts; the error will come again.
            return if index == 0 { -1 } else { index as c_int };
        }
        message.len = len as u32;
        // The time-out is only looked at after a datagram, and so hardly ever matters: a batch that has begun takes
        // what is there.
        if flags & MSG_WAITFORONE != 0 || !timeout.is_null() {
            flags |= MSG_DONTWAIT;
        }
    }
    count.min(MOST_MESSAGES) as c_int
}

/// The end of a batch that may have come from a stream of ours: no names, and an end of file that is a reset.
///
/// # Safety
/// `batch` has as many messages as were received, and one at least; `room` is the room for the first one's name.
unsafe fn ended(fd: c_int, received: c_int, batch: *mut BatchMessage, room: u32) -> c_int {
    let Ok(count) = usize::try_from(received) else {
        return receive::ended(fd, received as isize, true) as c_int;
    };
    // SAFETY: the caller's promise; the kernel has read the vectors and written the names.
    unsafe {
        let batch = core::slice::from_raw_parts_mut(batch, count);
        let Some(first) = batch.first_mut().map(|message| &mut message.header) else {
            return received;
        };
        if !first.name.is_null() {
            let written = room.min(first.name_len) as usize;
            if program().strip_name(fd, core::slice::from_raw_parts_mut(first.name, written)) {
                batch
                    .iter_mut()
                    .for_each(|message| message.header.name_len = 0);
            }
        }
        let empty = batch.iter().position(|message| {
            let header = &message.header;
            message.len == 0 && asks_for_bytes(header.vector, header.vector_len)
        });
        match empty {
            Some(0) => match receive::ended(fd, 0, true) {
                0 => received,
                failed => failed as c_int,
            },
            // Whether it is an end or a reset the next call tells.
            Some(at) if program().is_stream(fd) => at as c_int,
            _ => received,
        }
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sendmmsg(
    fd: c_int,
    messages: *mut u8,
    count: u32,
    flags: c_int,
) -> c_int {
    if !is_active() || messages.is_null() {
        // SAFETY: the program's arguments.
        return unsafe { next::sendmmsg(fd, messages, count, flags) };
    }
    let flags = without_urgency(fd, flags);
    let batch = messages.cast::<BatchMessage>();
    let count = count.min(MOST_MESSAGES);
    for index in 0..count {
        // SAFETY: the program's promise: an array of `count` messages.
        let message = unsafe { &mut *batch.add(index as usize) };
        let (name, name_len) = (message.header.name, message.header.name_len);
        // SAFETY: as above.
        let sent = match program().sender(fd, unsafe { input(name, name_len) }) {
            // SAFETY: as above.
            Outcome::Done(id) => unsafe { frame::send(fd, id, &message.header, flags) },
            Outcome::Fail(errno) => fail(errno) as isize,
            // The kernel's own so far: it sends this one and what follows up to the first that is not its own.
            Outcome::PassThrough(_) => {
                // SAFETY: the rest of the program's array.
                unsafe {
                    let own = kernels_own(batch.add(index as usize), count - index);
                    let sent = next::sendmmsg(fd, batch.add(index as usize).cast(), own, flags);
                    return if sent >= 0 {
                        sent + index as c_int
                    } else if index > 0 {
                        index as c_int
                    } else {
                        send::ended(fd, sent as isize) as c_int
                    };
                }
            }
        };
        if sent < 0 {
            // What was sent counts.
            return if index == 0 { -1 } else { index as c_int };
        }
        message.len = sent as u32;
    }
    count as c_int
}

/// How many messages from the first on are for the kernel's own network.
///
/// # Safety
/// An array of `count` messages, of which the first is the kernel's.
unsafe fn kernels_own(batch: *const BatchMessage, count: u32) -> u32 {
    for index in 1..count {
        // SAFETY: the caller's promise.
        let to = unsafe {
            let header = &(*batch.add(index as usize)).header;
            input(header.name, header.name_len)
        };
        if to.is_some_and(|to| program().is_for_lan(to)) {
            return index;
        }
    }
    count
}
