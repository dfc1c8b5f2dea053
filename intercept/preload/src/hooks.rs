//! The exported functions: pointers in, errno out.
//!
//! Each begins with one branch: an inert process goes straight on to the C library. Pointers are the program's; where
//! the kernel would answer `EFAULT` for a null pointer the call is left to it.

mod addresses;
mod batch;
mod descriptors;
mod epoll;
mod indirect;
mod interfaces;
mod names;
mod options;
mod receive;
mod reserved;
mod send;
mod setup;
mod vectors;

use core::ffi::c_int;

use zt_intercept::{Errno, SockAddr};
use zt_socket_rpc::Id;
use zt_socket_rpc::linux::EINVAL;

use crate::environment::is_active;
use crate::process::program;

/// A program's buffer as a slice; `None` when it is null.
///
/// # Safety
/// The program's promise to the C library: `len` readable bytes.
unsafe fn input<'a>(bytes: *const u8, len: u32) -> Option<&'a [u8]> {
    // The kernel takes lengths as signed numbers and refuses negative ones.
    if bytes.is_null() || len > i32::MAX as u32 {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { core::slice::from_raw_parts(bytes, len as usize) })
}

/// A datagram socket of ours, whose messages have headers.
#[inline(always)]
fn framed(fd: c_int) -> Option<Id> {
    if is_active() {
        program().datagram(fd)
    } else {
        None
    }
}

/// Writes a value as the kernel does: cut to the buffer.
///
/// # Safety
/// The program's promise to the C library: `*len` writable bytes.
unsafe fn cut_to(buffer: *mut u8, len: u32, value: &[u8]) -> usize {
    let count = value.len().min(len as usize);
    // SAFETY: the caller's promise, and `count` bytes of the value.
    unsafe { core::ptr::copy_nonoverlapping(value.as_ptr(), buffer, count) };
    count
}

/// Writes an address and its full length.
///
/// # Safety
/// The program's promise to the C library: both null, or a length and that many writable bytes.
unsafe fn put_address(address: *mut u8, len: *mut u32, value: &SockAddr) -> Result<(), Errno> {
    if address.is_null() || len.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe {
        if *len > i32::MAX as u32 {
            return Err(Errno(EINVAL));
        }
        cut_to(address, *len, value.as_bytes());
        *len = value.as_bytes().len() as u32;
    }
    Ok(())
}

/// The arguments' length check of the fortified functions.
fn fortify(count: usize, size: usize) {
    if count > size {
        crate::log::line(format_args!("buffer overflow detected"));
        crate::raw::abort();
    }
}
