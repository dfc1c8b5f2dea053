//! `res_query`, `res_search`, `res_querydomain`, their twins with a state, and the names that glibc gives them too.

use core::ffi::{c_char, c_int, c_void};
use core::ptr;

use zt_intercept::Outcome;

use super::{HOST_NOT_FOUND, NO_DATA, host_error, text};
use crate::environment::is_active;
use crate::libc;
use crate::log;
use crate::process::program;

/// `C_IN`.
const INTERNET: c_int = 1;
/// A name may be so long.
const LONGEST_NAME: usize = 255;
/// The code of a DNS answer: no such name.
const NXDOMAIN: u8 = 3;

/// The answer of the service; `None` leaves the question to the C library. `res_search` is asked in the same way: the
/// names that the service knows are whole names.
///
/// # Safety
/// The program's promise to the C library: a text, and `len` writable bytes.
unsafe fn ask(
    name: *const c_char,
    class: c_int,
    kind: c_int,
    answer: *mut u8,
    len: c_int,
) -> Option<c_int> {
    if !is_active() || class != INTERNET {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe { ask_for(text(name)?, kind, answer, len) }
}

/// The same for two parts of a name.
///
/// # Safety
/// The program's promise to the C library: texts, and `len` writable bytes.
unsafe fn ask_below(
    (name, domain): (*const c_char, *const c_char),
    class: c_int,
    kind: c_int,
    answer: *mut u8,
    len: c_int,
) -> Option<c_int> {
    if domain.is_null() {
        // SAFETY: the caller's promise.
        return unsafe { ask(name, class, kind, answer, len) };
    }
    if !is_active() || class != INTERNET {
        return None;
    }
    // SAFETY: the caller's promise.
    let (name, domain) = unsafe { (text(name)?, text(domain)?) };
    let mut whole = [0; LONGEST_NAME];
    let end = name.len() + 1 + domain.len();
    let (first, rest) = whole.get_mut(..end)?.split_at_mut(name.len());
    first.copy_from_slice(name);
    let (dot, rest) = rest.split_first_mut()?;
    *dot = b'.';
    rest.copy_from_slice(domain);
    // SAFETY: the caller's promise.
    unsafe { ask_for(whole.get(..end)?, kind, answer, len) }
}

/// # Safety
/// `len` writable bytes.
unsafe fn ask_for(name: &[u8], kind: c_int, answer: *mut u8, len: c_int) -> Option<c_int> {
    let kind = u16::try_from(kind).ok()?;
    let (room, fail) = (usize::try_from(len).ok()?, |error| {
        libc::set_host_error(error);
        Some(-1)
    });
    match log::outcome("res_query", -1, program().records(name, kind)) {
        Outcome::Done(message) => {
            let bytes = message.as_bytes();
            let count = bytes.len().min(room);
            // SAFETY: the caller's promise.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), answer, count) };
            match (bytes.get(3).map(|flags| flags & 15), bytes.get(6..8)) {
                (Some(NXDOMAIN), _) => fail(HOST_NOT_FOUND),
                (Some(0), Some([0, 0])) => fail(NO_DATA),
                _ => Some(bytes.len() as c_int),
            }
        }
        Outcome::Fail(errno) => fail(host_error(errno)),
        Outcome::PassThrough(_) => None,
    }
}

/// Functions without a state and with one, of a whole name and of two parts.
macro_rules! questions {
    (whole $([$plain:ident, $stated:ident])* below $([$below:ident, $stated_below:ident])*) => {
        $(
            /// # Safety
            /// As the C library's.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $plain(
                name: *const c_char, class: c_int, kind: c_int, answer: *mut u8, len: c_int,
            ) -> c_int {
                // SAFETY: the program's arguments.
                unsafe {
                    ask(name, class, kind, answer, len)
                        .unwrap_or_else(|| libc::$plain(name, class, kind, answer, len))
                }
            }

            /// # Safety
            /// As the C library's.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $stated(
                state: *mut c_void, name: *const c_char, class: c_int, kind: c_int, answer: *mut u8, len: c_int,
            ) -> c_int {
                // SAFETY: the program's arguments.
                unsafe {
                    ask(name, class, kind, answer, len)
                        .unwrap_or_else(|| libc::$stated(state, name, class, kind, answer, len))
                }
            }
        )*
        $(
            /// # Safety
            /// As the C library's.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $below(
                name: *const c_char, domain: *const c_char, class: c_int, kind: c_int, answer: *mut u8, len: c_int,
            ) -> c_int {
                // SAFETY: the program's arguments.
                unsafe {
                    ask_below((name, domain), class, kind, answer, len)
                        .unwrap_or_else(|| libc::$below(name, domain, class, kind, answer, len))
                }
            }

            /// # Safety
            /// As the C library's.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $stated_below(
                state: *mut c_void, name: *const c_char, domain: *const c_char, class: c_int, kind: c_int,
                answer: *mut u8, len: c_int,
            ) -> c_int {
                // SAFETY: the program's arguments.
                unsafe {
                    ask_below((name, domain), class, kind, answer, len).unwrap_or_else(|| {
                        libc::$stated_below(state, name, domain, class, kind, answer, len)
                    })
                }
            }
        )*
    };
}

questions! {
    whole
        [res_query, res_nquery]
        [res_search, res_nsearch]
        [__res_query, __res_nquery]
        [__res_search, __res_nsearch]
    below
        [res_querydomain, res_nquerydomain]
        [__res_querydomain, __res_nquerydomain]
}
