//! The settings of a process, read once when the library is loaded.
//!
//! No pointer into the environment is kept: programs write their titles over it. A program that runs with more rights
//! than its user is left alone, for its user chooses the environment.

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicU8, Ordering};

use zt_intercept::lan::{MAX_PATH, Mode, Settings};

use crate::log::{self, Level};
use crate::next;
use crate::process::program;
use crate::raw::{self, number};

/// Descriptors below this are looked at when the process starts.
const INHERITED: c_int = 32;

/// Not set before the constructor has run: hooks called earlier are inert.
pub(crate) static ACTIVE: AtomicU8 = AtomicU8::new(0);

struct Once(UnsafeCell<Settings>);

// SAFETY: written by the constructor before `ACTIVE` is set, and never again.
unsafe impl Sync for Once {}

static SETTINGS: Once = Once(UnsafeCell::new(Settings::empty()));

/// Whether this process has a service at all.
#[inline(always)]
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed) != 0
}

/// The settings of an active process.
pub(crate) fn settings() -> &'static Settings {
    // SAFETY: nothing writes after `ACTIVE` was set, and only active hooks come here.
    unsafe { &*SETTINGS.0.get() }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = construct;

extern "C" fn construct(_: c_int, _: *const *const c_char, environment: *const *const c_char) {
    next::resolve();
    // glibc passes the environment to constructors, musl does not.
    let environment = next::musl_environ().unwrap_or(environment);
    if environment.is_null() {
        return;
    }
    // SAFETY: the C library's environment, before the program has run.
    let (network, mode, level) = unsafe {
        (
            lookup(environment, b"ZT_NC_NETWORK"),
            lookup(environment, b"ZT_NC_MODE"),
            lookup(environment, b"ZT_NC_LOG"),
        )
    };
    let Some(path) = network.filter(|path| !path.is_empty()) else {
        return;
    };
    if has_more_rights_than_its_user() {
        return;
    }
    let mode = if mode == Some(b"isolated") {
        Mode::Isolated
    } else {
        Mode::Split
    };
    log::set_level(match level {
        None | Some(b"" | b"0" | b"off") => Level::Off,
        Some(b"2" | b"all" | b"trace") => Level::All,
        Some(_) => Level::Lan,
    });
    match Settings::new(path, mode) {
        Some(settings) => {
            // SAFETY: the constructor runs once, before any other code reads the settings.
            unsafe { *SETTINGS.0.get() = settings };
            ACTIVE.store(1, Ordering::Release);
            // Datagram sockets that were open across `exec`: servers are given theirs at low numbers.
            (0..INHERITED).for_each(|fd| program().adopt(fd));
        }
        None => log::line(format_args!(
            "ZT_NC_NETWORK is not a usable path; the program keeps its own network"
        )),
    }
}

/// Finds a variable. The value is cut where no setting of ours can be so long.
///
/// # Safety
/// `environment` is a null-terminated array of zero-terminated strings that live as long as the result is used.
unsafe fn lookup<'a>(environment: *const *const c_char, name: &[u8]) -> Option<&'a [u8]> {
    let mut entry = environment;
    loop {
        // SAFETY: not beyond the terminating null.
        let variable = unsafe { *entry }.cast::<u8>();
        if variable.is_null() {
            return None;
        }
        // SAFETY: each byte is read only when those before it were not the terminating zero.
        unsafe {
            let is_named = name
                .iter()
                .enumerate()
                .all(|(at, &byte)| *variable.add(at) == byte);
            if is_named && *variable.add(name.len()) == b'=' {
                let value = variable.add(name.len() + 1);
                let len = (0..=MAX_PATH).take_while(|&at| *value.add(at) != 0).count();
                return Some(core::slice::from_raw_parts(value, len));
            }
            entry = entry.add(1);
        }
    }
}

fn has_more_rights_than_its_user() -> bool {
    // SAFETY: no pointers.
    let id = |number| unsafe { raw::call(number, [0; 6]) };
    id(number::GETUID) != id(number::GETEUID) || id(number::GETGID) != id(number::GETEGID)
}
