//! Interfaces: the LAN's beside the container's own.
//!
//! | module | its functions |
//! |---|---|
//! | [`lists`] | `getifaddrs`, `if_nameindex`, and what frees their lists |
//! | [`requests`] | `ioctl` with `SIOCGIF…` |

mod block;
mod lists;
mod requests;

pub(super) use requests::ioctl;

use core::ffi::{CStr, c_char};

use zt_intercept::interface::LanInterface;

use crate::environment::is_active;
use crate::libc;
use crate::process::program;

/// The LAN's interface, in a process that has one.
fn interface() -> Option<LanInterface> {
    if is_active() {
        program().interface()
    } else {
        None
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn if_nametoindex(name: *const c_char) -> u32 {
    // SAFETY: the program's promise: a text.
    unsafe {
        if !name.is_null()
            && interface().is_some_and(|lan| lan.is_named(CStr::from_ptr(name).to_bytes()))
        {
            return LanInterface::INDEX;
        }
        libc::if_nametoindex(name)
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn if_indextoname(index: u32, name: *mut c_char) -> *mut c_char {
    // SAFETY: the program's promise: `IF_NAMESIZE` bytes.
    unsafe {
        if index == LanInterface::INDEX
            && !name.is_null()
            && let Some(lan) = interface()
        {
            let bytes = lan.name();
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), name.cast(), bytes.len());
            return name;
        }
        libc::if_indextoname(index, name)
    }
}
