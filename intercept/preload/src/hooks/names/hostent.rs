//! `gethostbyname`, `gethostbyaddr`, their twins for a family, and those that are given a buffer.

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};
use core::net::IpAddr;
use core::ptr;

use zt_intercept::{Errno, Outcome};
use zt_socket_rpc::linux::{AF_INET, AF_INET6};

use super::{NO_DATA, host_error, raw_address, text};
use crate::environment::is_active;
use crate::hooks::input;
use crate::libc::{self, HostEnt};
use crate::log;
use crate::process::program;

const ERANGE: c_int = 34;
/// What a static answer may need: a name, the addresses of one family, pointers to them.
const ROOM: usize = 1024;

/// The answer of the functions that are given no buffer. They may not be called from two threads.
struct Static(UnsafeCell<(HostEnt, [usize; ROOM / size_of::<usize>()])>);

// SAFETY: the functions that use it are not for several threads, by their definition.
unsafe impl Sync for Static {}

static ANSWER: Static = Static(UnsafeCell::new((
    HostEnt {
        name: ptr::null_mut(),
        aliases: ptr::null_mut(),
        family: 0,
        len: 0,
        addresses: ptr::null_mut(),
    },
    [0; ROOM / size_of::<usize>()],
)));

/// Where an answer goes.
struct Place {
    entry: *mut HostEnt,
    buffer: *mut c_char,
    len: usize,
}

impl Place {
    fn fixed() -> Self {
        let answer = ANSWER.0.get();
        // SAFETY: places inside the static, which is not read here.
        unsafe {
            Self {
                entry: &raw mut (*answer).0,
                buffer: (&raw mut (*answer).1).cast(),
                len: ROOM,
            }
        }
    }

    /// Writes an answer; says whether there was room.
    ///
    /// # Safety
    /// The entry and the buffer are writable.
    unsafe fn put(
        &self,
        name: &[u8],
        family: c_int,
        addresses: impl Iterator<Item = IpAddr> + Clone,
    ) -> bool {
        let size = if family == c_int::from(AF_INET6) {
            16
        } else {
            4
        };
        let word = size_of::<usize>();
        let pad = self.buffer.align_offset(word);
        let count = addresses.clone().count();
        let pointers = count + 2;
        if pad + pointers * word + count * size + name.len() + 1 > self.len {
            return false;
        }
        // SAFETY: all of it is inside the buffer, by the sum above; pointers are aligned.
        unsafe {
            let list = self.buffer.add(pad).cast::<*mut c_char>();
            let mut at = self.buffer.add(pad + pointers * word);
            for (n, ip) in addresses.enumerate() {
                *list.add(n) = at;
                match ip {
                    IpAddr::V4(v4) if size == 4 => {
                        ptr::copy_nonoverlapping(v4.octets().as_ptr(), at.cast(), 4);
                    }
                    IpAddr::V4(v4) => {
                        let mapped = v4.to_ipv6_mapped().octets();
                        ptr::copy_nonoverlapping(mapped.as_ptr(), at.cast(), 16);
                    }
                    IpAddr::V6(v6) => {
                        ptr::copy_nonoverlapping(v6.octets().as_ptr(), at.cast(), size);
                    }
                }
                at = at.add(size);
            }
            *list.add(count) = ptr::null_mut();
            *list.add(count + 1) = ptr::null_mut();
            ptr::copy_nonoverlapping(name.as_ptr(), at.cast(), name.len());
            *at.add(name.len()) = 0;
            *self.entry = HostEnt {
                name: at,
                aliases: list.add(count + 1),
                family,
                len: size as c_int,
                addresses: list,
            };
        }
        true
    }
}

/// What became of a question.
enum Answered {
    /// In its place.
    Found,
    /// A code of `h_errno`.
    Failed(c_int),
    NoRoom,
    /// The C library is to be asked.
    Pass,
}

/// # Safety
/// A text, and a place that can be written.
unsafe fn by_name(name: *const c_char, family: c_int, place: &Place) -> Answered {
    let v4 = family == c_int::from(AF_INET);
    if !is_active() || !v4 && family != c_int::from(AF_INET6) {
        return Answered::Pass;
    }
    // SAFETY: the caller's promise.
    let Some(name) = (unsafe { text(name) }) else {
        return Answered::Pass;
    };
    match log::outcome("gethostbyname", -1, program().resolve(name, v4, !v4)) {
        Outcome::Done(found) => {
            let fits = found.iter().filter(move |ip| ip.is_ipv4() == v4);
            if fits.clone().next().is_none() {
                return Answered::Failed(NO_DATA);
            }
            let name = name.strip_suffix(b".").unwrap_or(name);
            // SAFETY: the caller's promise.
            if unsafe { place.put(name, family, fits) } {
                Answered::Found
            } else {
                Answered::NoRoom
            }
        }
        Outcome::Fail(errno) => Answered::Failed(host_error(errno)),
        Outcome::PassThrough(_) => Answered::Pass,
    }
}

/// # Safety
/// An address, and a place that can be written.
unsafe fn by_address(address: *const u8, len: u32, family: c_int, place: &Place) -> Answered {
    if !is_active() {
        return Answered::Pass;
    }
    // SAFETY: the caller's promise.
    let Some(ip) = (unsafe { input(address, len) }).and_then(raw_address) else {
        return Answered::Pass;
    };
    match log::outcome("gethostbyaddr", -1, program().name_of(ip)) {
        // SAFETY: the caller's promise.
        Outcome::Done(name) => unsafe {
            if place.put(name.as_bytes(), family, [ip].into_iter()) {
                Answered::Found
            } else {
                Answered::NoRoom
            }
        },
        Outcome::Fail(errno) => Answered::Failed(host_error(errno)),
        Outcome::PassThrough(_) => Answered::Pass,
    }
}

/// The end of a function without a buffer; `None` leaves it to the C library.
fn shown(answered: &Answered, place: &Place) -> Option<*mut HostEnt> {
    match answered {
        Answered::Found => Some(place.entry),
        Answered::Failed(error) => {
            libc::set_host_error(*error);
            Some(ptr::null_mut())
        }
        Answered::NoRoom => {
            libc::set_host_error(host_error(Errno(ERANGE)));
            Some(ptr::null_mut())
        }
        Answered::Pass => None,
    }
}

/// The end of a function with a buffer; `None` leaves it to the C library.
///
/// # Safety
/// The program's places.
unsafe fn given(
    answered: &Answered,
    place: &Place,
    found: *mut *mut HostEnt,
    error: *mut c_int,
) -> Option<c_int> {
    // SAFETY: the caller's promise.
    unsafe {
        *found = ptr::null_mut();
        match answered {
            Answered::Found => {
                *found = place.entry;
                Some(0)
            }
            Answered::Failed(code) => {
                *error = *code;
                // Not found is no error of the call itself.
                Some(0)
            }
            Answered::NoRoom => {
                *error = libc::NO_RECOVERY;
                Some(ERANGE)
            }
            Answered::Pass => None,
        }
    }
}

/// An entry in the place that all calls without a buffer share.
///
/// # Safety
/// As [`by_name`].
unsafe fn shown_by_name(
    name: *const c_char,
    family: c_int,
    otherwise: impl FnOnce() -> *mut HostEnt,
) -> *mut HostEnt {
    let place = Place::fixed();
    // SAFETY: the caller's promise.
    let answered = unsafe { by_name(name, family, &place) };
    shown(&answered, &place).unwrap_or_else(otherwise)
}

/// An entry in the program's place.
///
/// # Safety
/// As [`by_name`] and [`given`].
unsafe fn given_by_name(
    name: *const c_char,
    family: c_int,
    place: &Place,
    (found, error): (*mut *mut HostEnt, *mut c_int),
    otherwise: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let answered = by_name(name, family, place);
        given(&answered, place, found, error).unwrap_or_else(otherwise)
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyname(name: *const c_char) -> *mut HostEnt {
    // SAFETY: the program's arguments.
    unsafe { shown_by_name(name, AF_INET.into(), || libc::gethostbyname(name)) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyname2(name: *const c_char, family: c_int) -> *mut HostEnt {
    // SAFETY: the program's arguments.
    unsafe { shown_by_name(name, family, || libc::gethostbyname2(name, family)) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyname_r(
    name: *const c_char,
    entry: *mut HostEnt,
    buffer: *mut c_char,
    len: usize,
    found: *mut *mut HostEnt,
    error: *mut c_int,
) -> c_int {
    let place = Place { entry, buffer, len };
    // SAFETY: the program's arguments.
    unsafe {
        given_by_name(name, AF_INET.into(), &place, (found, error), || {
            libc::gethostbyname_r(name, entry, buffer, len, found, error)
        })
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyname2_r(
    name: *const c_char,
    family: c_int,
    entry: *mut HostEnt,
    buffer: *mut c_char,
    len: usize,
    found: *mut *mut HostEnt,
    error: *mut c_int,
) -> c_int {
    let place = Place { entry, buffer, len };
    // SAFETY: the program's arguments.
    unsafe {
        given_by_name(name, family, &place, (found, error), || {
            libc::gethostbyname2_r(name, family, entry, buffer, len, found, error)
        })
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyaddr(address: *const u8, len: u32, family: c_int) -> *mut HostEnt {
    let place = Place::fixed();
    // SAFETY: the program's arguments.
    unsafe {
        let answered = by_address(address, len, family, &place);
        shown(&answered, &place).unwrap_or_else(|| libc::gethostbyaddr(address, len, family))
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyaddr_r(
    address: *const u8,
    len: u32,
    family: c_int,
    entry: *mut HostEnt,
    buffer: *mut c_char,
    buffer_len: usize,
    found: *mut *mut HostEnt,
    error: *mut c_int,
) -> c_int {
    let place = Place {
        entry,
        buffer,
        len: buffer_len,
    };
    // SAFETY: the program's arguments.
    unsafe {
        let answered = by_address(address, len, family, &place);
        given(&answered, &place, found, error).unwrap_or_else(|| {
            libc::gethostbyaddr_r(
                address, len, family, entry, buffer, buffer_len, found, error,
            )
        })
    }
}
