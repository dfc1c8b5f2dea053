//! `socket`, `connect`, `bind`, `listen`, `accept`, `accept4`.

use core::ffi::c_int;

use zt_intercept::{Errno, Kernel, Outcome};
use zt_socket_rpc::linux::{
    AF_INET, AF_INET6, EACCES, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP,
    SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM,
};

use super::{input, put_address};
use crate::environment::is_active;
use crate::log;
use crate::next::{self, fail};
use crate::process::{Process, made, program};

/// A socket of the kernel. A user whom it refuses an ICMP socket may still ping the LAN.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn socket(domain: c_int, of_type: c_int, protocol: c_int) -> c_int {
    // SAFETY: no pointers.
    let fd = unsafe { next::socket(domain, of_type, protocol) };
    let is_echo = matches!(
        (domain as u16, protocol),
        (AF_INET, IPPROTO_ICMP) | (AF_INET6, IPPROTO_ICMPV6)
    );
    let kind = of_type & !(SOCK_NONBLOCK | SOCK_CLOEXEC);
    if is_active() {
        let is_tcp = matches!(domain as u16, AF_INET | AF_INET6)
            && kind == SOCK_STREAM
            && matches!(protocol, 0 | IPPROTO_TCP);
        made(fd, is_tcp);
    }
    if fd >= 0 || !is_echo || kind != SOCK_DGRAM || !is_active() {
        return fd;
    }
    let refusal = next::errno();
    if refusal != Errno(EACCES) {
        return fd;
    }
    // SAFETY: no pointers.
    let place = unsafe { next::socket(domain, of_type, IPPROTO_UDP) };
    if place < 0 {
        return place;
    }
    match program().open_echo(place) {
        Ok(()) => place,
        Err(_) => {
            Process.close(place);
            fail(refusal)
        }
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn connect(fd: c_int, address: *const u8, len: u32) -> c_int {
    if is_active()
        // SAFETY: the program's promise.
        && let Some(to) = unsafe { input(address, len) }
    {
        match log::outcome("connect", fd, program().connect(fd, to)) {
            Outcome::Done(value) => return value,
            Outcome::Fail(errno) => return fail(errno),
            Outcome::PassThrough(_) => {}
        }
    }
    // SAFETY: the program's arguments.
    unsafe { next::connect(fd, address, len) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn bind(fd: c_int, address: *const u8, len: u32) -> c_int {
    if is_active()
        // SAFETY: the program's promise.
        && let Some(at) = unsafe { input(address, len) }
    {
        match log::outcome("bind", fd, program().bind(fd, at)) {
            Outcome::Done(value) => return value,
            Outcome::Fail(errno) => return fail(errno),
            Outcome::PassThrough(_) => {}
        }
    }
    // SAFETY: the program's arguments.
    unsafe { next::bind(fd, address, len) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    if is_active() {
        match log::outcome("listen", fd, program().listen(fd, backlog)) {
            Outcome::Done(value) => return value,
            Outcome::Fail(errno) => return fail(errno),
            Outcome::PassThrough(_) => {}
        }
    }
    // SAFETY: no pointers.
    unsafe { next::listen(fd, backlog) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn accept(fd: c_int, address: *mut u8, len: *mut u32) -> c_int {
    if is_active() {
        // SAFETY: the program's promise.
        if let Some(value) = unsafe { accept_own(fd, address, len, 0) } {
            return value;
        }
    }
    // SAFETY: the program's arguments.
    unsafe { next::accept(fd, address, len) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn accept4(
    fd: c_int,
    address: *mut u8,
    len: *mut u32,
    flags: c_int,
) -> c_int {
    if is_active() {
        // SAFETY: the program's promise.
        if let Some(value) = unsafe { accept_own(fd, address, len, flags) } {
            return value;
        }
    }
    // SAFETY: the program's arguments.
    unsafe { next::accept4(fd, address, len, flags) }
}

/// Accepts on a listener of ours; `None` leaves the call to the kernel.
///
/// # Safety
/// As for `accept`.
unsafe fn accept_own(fd: c_int, address: *mut u8, len: *mut u32, flags: c_int) -> Option<c_int> {
    match log::outcome("accept", fd, program().accept(fd, flags)) {
        Outcome::Done(connection) => {
            // SAFETY: the program's promise.
            match unsafe { put_address(address, len, &connection.peer) } {
                Ok(()) => Some(connection.fd),
                Err(errno) => Some(fail(errno)),
            }
        }
        Outcome::Fail(errno) => Some(fail(errno)),
        Outcome::PassThrough(_) => None,
    }
}
