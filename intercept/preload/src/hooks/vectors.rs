//! `readv`, `writev`, `preadv2`, `pwritev2`: receives and sends of several pieces.
//!
//! A socket has no position: the calls with one fail, but for -1, which is none.

use core::ffi::c_int;

use zt_intercept::Errno;
use zt_socket_rpc::Id;
use zt_socket_rpc::linux::EOPNOTSUPP;

use super::receive::{self, MSG_DONTWAIT, asks_for_bytes, refused};
use super::{framed, send};
use crate::environment::is_active;
use crate::frame;
use crate::message::MessageHeader;
use crate::next::{self, fail};

/// No position.
const NONE: i64 = -1;
const RWF_NOWAIT: c_int = 8;
/// The flags that mean nothing to a socket.
const MEANINGLESS: c_int = 0b1_0111;

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn readv(fd: c_int, vector: *const u8, count: c_int) -> isize {
    if let Some(id) = framed(fd) {
        // SAFETY: the program's promise.
        return unsafe { receive_pieces(fd, id, vector, count, 0) };
    }
    if let Some(errno) = refused(fd, 0) {
        return fail(errno) as isize;
    }
    // SAFETY: the program's arguments.
    let result = unsafe { next::readv(fd, vector, count) };
    // SAFETY: the kernel has read the same array.
    unsafe { ended(fd, result, vector, count) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn writev(fd: c_int, vector: *const u8, count: c_int) -> isize {
    match framed(fd) {
        // SAFETY: the program's promise.
        Some(id) => unsafe { send_pieces(fd, id, vector, count, 0) },
        // SAFETY: the program's arguments.
        None => send::ended(fd, unsafe { next::writev(fd, vector, count) }),
    }
}

/// Both names of both calls: glibc has a second one for what is the same on 64 bits.
macro_rules! positioned {
    ($( $read:ident, $write:ident; )*) => {
        $(
            /// # Safety
            /// As the C library's.
            #[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $read(
                fd: c_int, vector: *const u8, count: c_int, offset: i64, flags: c_int,
            ) -> isize {
                if offset == NONE && is_active() {
                    if let Some(id) = framed(fd) {
                        return match message_flags(flags) {
                            // SAFETY: the program's promise.
                            Ok(flags) => unsafe { receive_pieces(fd, id, vector, count, flags) },
                            Err(errno) => fail(errno) as isize,
                        };
                    }
                    if let Some(errno) = refused(fd, 0) {
                        return fail(errno) as isize;
                    }
                }
                // SAFETY: the program's arguments; the kernel has read the array.
                unsafe { ended(fd, next::$read(fd, vector, count, offset, flags), vector, count) }
            }

            /// # Safety
            /// As the C library's.
            #[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $write(
                fd: c_int, vector: *const u8, count: c_int, offset: i64, flags: c_int,
            ) -> isize {
                if offset == NONE
                    && let Some(id) = framed(fd)
                {
                    return match message_flags(flags) {
                        // SAFETY: the program's promise.
                        Ok(flags) => unsafe { send_pieces(fd, id, vector, count, flags) },
                        Err(errno) => fail(errno) as isize,
                    };
                }
                // SAFETY: the program's arguments.
                send::ended(fd, unsafe { next::$write(fd, vector, count, offset, flags) })
            }
        )*
    };
}

positioned! {
    preadv2, pwritev2;
    preadv64v2, pwritev64v2;
}

/// The flags of a message for those of a vectored call.
fn message_flags(flags: c_int) -> Result<c_int, Errno> {
    match flags & !MEANINGLESS {
        0 => Ok(0),
        RWF_NOWAIT => Ok(MSG_DONTWAIT),
        _ => Err(Errno(EOPNOTSUPP)),
    }
}

/// The end of a receive that is not of a framed descriptor.
///
/// # Safety
/// A call that has not failed has read the same array.
unsafe fn ended(fd: c_int, result: isize, vector: *const u8, count: c_int) -> isize {
    if result > 0 || !is_active() {
        return result;
    }
    let wanted = result < 0
        // SAFETY: the caller's promise.
        || unsafe { asks_for_bytes(vector.cast(), usize::try_from(count).unwrap_or(0)) };
    receive::ended(fd, result, wanted)
}

/// A message of the program's pieces.
fn message(vector: *const u8, count: c_int) -> MessageHeader {
    let mut message = MessageHeader::new(&mut [], core::ptr::null_mut(), 0);
    message.vector = vector.cast_mut().cast();
    message.vector_len = usize::try_from(count).unwrap_or(usize::MAX);
    message
}

/// # Safety
/// An array of `count` pieces, each writable.
unsafe fn receive_pieces(
    fd: c_int,
    id: Id,
    vector: *const u8,
    count: c_int,
    flags: c_int,
) -> isize {
    // SAFETY: the caller's promise.
    unsafe { frame::receive(fd, id, &mut message(vector, count), flags) }
}

/// # Safety
/// An array of `count` pieces, each readable.
unsafe fn send_pieces(fd: c_int, id: Id, vector: *const u8, count: c_int, flags: c_int) -> isize {
    // SAFETY: the caller's promise.
    unsafe { frame::send(fd, id, &message(vector, count), flags) }
}
