//! `bindresvport`: the C library's own would bind on the container's network only.

use core::ffi::c_int;

use zt_intercept::Errno;
use zt_socket_rpc::linux::{AF_INET, EADDRINUSE, EAFNOSUPPORT};

use super::setup;
use crate::environment::is_active;
use crate::libc;
use crate::next::{self, fail};
use crate::raw::{self, number};

/// The ports that are tried, and those that are tried when all of these are taken.
const RANGES: [(u16, u16); 2] = [(600, 1023), (512, 599)];

/// `struct sockaddr_in`.
#[repr(C)]
struct InternetAddress {
    family: u16,
    /// In the network's order.
    port: u16,
    rest: [u8; 12],
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn bindresvport(fd: c_int, address: *mut u8) -> c_int {
    if !is_active() {
        // SAFETY: the program's arguments.
        return unsafe { libc::bindresvport(fd, address) };
    }
    let mut anywhere = InternetAddress {
        family: AF_INET,
        port: 0,
        rest: [0; 12],
    };
    // SAFETY: the program's promise: null, or a `struct sockaddr_in`.
    let at = unsafe { address.cast::<InternetAddress>().as_mut() }.unwrap_or(&mut anywhere);
    if at.family != AF_INET {
        return fail(Errno(EAFNOSUPPORT));
    }
    // Processes begin at different places, for they take the first that is free.
    // SAFETY: no pointers.
    let start = unsafe { raw::call(number::GETPID, [0; 6]) } as usize;
    for (first, last) in RANGES {
        let count = usize::from(last - first) + 1;
        for turn in 0..count {
            at.port = (first + ((start + turn) % count) as u16).to_be();
            let len = size_of::<InternetAddress>() as u32;
            // SAFETY: a whole address.
            let bound = unsafe { setup::bind(fd, (&raw const *at).cast(), len) };
            if bound == 0 || next::errno() != Errno(EADDRINUSE) {
                return bound;
            }
        }
    }
    fail(Errno(EADDRINUSE))
}
