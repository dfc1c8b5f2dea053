//! `getaddrinfo`, `freeaddrinfo`, `getnameinfo`.
//!
//! A list must be such that the C library itself can free it, and each library has a form of its own. So the lists are
//! the library's: it is asked once for each address, in numbers, and its answers are joined. Where an answer begins is
//! marked in its flags, for some libraries free an answer only as a whole: our `freeaddrinfo` takes the lists apart again.

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};
use core::net::IpAddr;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use zt_intercept::{Errno, Outcome};
use zt_socket_rpc::linux::{AF_INET, AF_INET6, EAGAIN, ENOENT};

use super::{CText, address_of, text};
use crate::environment::is_active;
use crate::hooks::input;
use crate::libc::{self, AddrInfo, EAI_FAIL};
use crate::log;
use crate::process::program;

const AI_CANONNAME: c_int = 2;
const AI_NUMERICHOST: c_int = 4;
const AI_V4MAPPED: c_int = 8;
const AI_ALL: c_int = 16;
const AI_ADDRCONFIG: c_int = 32;
const AI_IDN: c_int = 64;
const AI_CANONIDN: c_int = 128;
/// An answer of the C library begins here: a flag that none of them uses.
const JOINED: c_int = 1 << 29;

const EAI_NONAME: c_int = -2;
const EAI_AGAIN: c_int = -3;
const EAI_OVERFLOW: c_int = -12;
const NI_NUMERICHOST: c_int = 1;
const NI_NAMEREQD: c_int = 8;

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const AddrInfo,
    found: *mut *mut AddrInfo,
) -> c_int {
    // SAFETY: the program's promise.
    unsafe {
        if is_active()
            && let Some(name) = text(node)
        {
            let wish = Wish::of(hints.as_ref());
            if wish.flags & AI_NUMERICHOST == 0 {
                let outcome = program().resolve(name, wish.v4, wish.v6);
                match log::outcome("getaddrinfo", -1, outcome) {
                    Outcome::Done(addresses) => {
                        return match wish.list(addresses.iter(), service, node) {
                            Ok(list) => {
                                *found = list;
                                0
                            }
                            Err(error) => error,
                        };
                    }
                    Outcome::Fail(errno) => return error_of(errno),
                    Outcome::PassThrough(_) => {}
                }
            }
        }
        libc::getaddrinfo(node, service, hints, found)
    }
}

fn error_of(errno: Errno) -> c_int {
    match errno {
        Errno(ENOENT) => EAI_NONAME,
        Errno(EAGAIN) => EAI_AGAIN,
        _ => EAI_FAIL,
    }
}

/// What a program wants of a name.
struct Wish {
    flags: c_int,
    family: c_int,
    kind: c_int,
    protocol: c_int,
    v4: bool,
    v6: bool,
}

impl Wish {
    fn of(hints: Option<&AddrInfo>) -> Self {
        // As the C library has it without hints.
        let (flags, family, kind, protocol) = hints.map_or((0, 0, 0, 0), |hints| {
            (hints.flags, hints.family, hints.kind, hints.protocol)
        });
        let is_v6 = family == c_int::from(AF_INET6);
        let v4 = !is_v6 || flags & AI_V4MAPPED != 0;
        Self {
            flags,
            family,
            kind,
            protocol,
            v4,
            v6: family != c_int::from(AF_INET),
        }
    }

    /// Joins the C library's answers for each of the addresses.
    ///
    /// # Safety
    /// The program's promise to the C library about its texts.
    unsafe fn list(
        &self,
        addresses: impl Iterator<Item = IpAddr> + Clone,
        service: *const c_char,
        name: *const c_char,
    ) -> Result<*mut AddrInfo, c_int> {
        let is_v6_only = self.family == c_int::from(AF_INET6);
        let has_v6 = addresses.clone().any(|ip| ip.is_ipv6());
        // Mapped addresses stand in for others, unless all are wanted.
        let usable = addresses
            .filter(|ip| ip.is_ipv6() || !is_v6_only || !has_v6 || self.flags & AI_ALL != 0);
        let mut list: *mut AddrInfo = ptr::null_mut();
        let mut end = &raw mut list;
        let mut error = EAI_NONAME;
        for ip in usable {
            let ip = match ip {
                IpAddr::V4(v4) if is_v6_only => v4.to_ipv6_mapped().into(),
                ip => ip,
            };
            let numbers = CText::<64>::of(ip);
            let not_for_numbers =
                AI_CANONNAME | AI_V4MAPPED | AI_ALL | AI_ADDRCONFIG | AI_IDN | AI_CANONIDN;
            let hints = AddrInfo {
                flags: self.flags & !not_for_numbers | AI_NUMERICHOST,
                family: self.family,
                kind: self.kind,
                protocol: self.protocol,
                address_len: 0,
                address: ptr::null_mut(),
                canonical: ptr::null_mut(),
                next: ptr::null_mut(),
            };
            let mut part = ptr::null_mut();
            // SAFETY: texts with an end, and a place for the list, whose nodes are walked to the last one.
            unsafe {
                error =
                    libc::getaddrinfo(numbers.as_ptr(), service, &raw const hints, &raw mut part);
                if error != 0 || part.is_null() {
                    continue;
                }
                if !list.is_null() {
                    (*part).flags |= JOINED;
                }
                *end = part;
                while let Some(node) = (*end).as_mut() {
                    end = &raw mut node.next;
                }
            }
        }
        // SAFETY: a node of the C library, or none.
        match unsafe { list.as_mut() } {
            Some(first) => {
                // Musl gives a name whether it was asked for or not.
                if self.flags & AI_CANONNAME != 0 || !first.canonical.is_null() {
                    // SAFETY: the name is the program's text.
                    first.canonical = unsafe { canonical(name) };
                }
                Ok(list)
            }
            None => Err(error),
        }
    }
}

/// A copy of a name that is freed with its list: by glibc one by one, by others not at all, so that they share a small
/// number of copies.
///
/// # Safety
/// A text with an end.
unsafe fn canonical(name: *const c_char) -> *mut c_char {
    if libc::is_glibc() {
        // SAFETY: the caller's promise.
        return unsafe { libc::strdup(name) };
    }
    // SAFETY: the caller's promise.
    unsafe { text(name) }.map_or(ptr::null_mut(), |name| COPIES.keep(name))
}

/// Copies of names that last as long as the process.
struct Copies {
    busy: AtomicBool,
    bytes: UnsafeCell<[u8; 16 << 10]>,
}

// SAFETY: the bytes are touched by who has set `busy` alone; what was written once never changes.
unsafe impl Sync for Copies {}

static COPIES: Copies = Copies {
    busy: AtomicBool::new(false),
    bytes: UnsafeCell::new([0; 16 << 10]),
};

impl Copies {
    /// The copy of a name; null when there is no more room.
    fn keep(&self, name: &[u8]) -> *mut c_char {
        while self.busy.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        // SAFETY: nobody else is here.
        let bytes = unsafe { &mut *self.bytes.get() };
        let mut at = 0;
        let copy = loop {
            let rest = bytes.get_mut(at..).unwrap_or_default();
            let len = rest.iter().position(|&byte| byte == 0).unwrap_or(0);
            if len == 0 {
                // The end of the copies: one zero behind the new one ends them again.
                break match rest.get_mut(..name.len() + 2) {
                    Some(room) => {
                        room[..name.len()].copy_from_slice(name);
                        room.as_mut_ptr()
                    }
                    None => ptr::null_mut(),
                };
            }
            if rest.get(..len) == Some(name) {
                break rest.as_mut_ptr();
            }
            at += len + 1;
        };
        self.busy.store(false, Ordering::Release);
        copy.cast()
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn freeaddrinfo(list: *mut AddrInfo) {
    // SAFETY: the program's promise: a list of `getaddrinfo`, or what it has left of one.
    unsafe {
        let mut rest = list;
        if is_active() {
            let mut node = list;
            while let Some(this) = node.as_mut() {
                node = this.next;
                if node.as_ref().is_some_and(|next| next.flags & JOINED != 0) {
                    this.next = ptr::null_mut();
                    libc::freeaddrinfo(rest);
                    rest = node;
                }
            }
        }
        libc::freeaddrinfo(rest);
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getnameinfo(
    address: *const u8,
    len: u32,
    host: *mut c_char,
    host_len: u32,
    service: *mut c_char,
    service_len: u32,
    flags: c_int,
) -> c_int {
    let mut flags = flags;
    // SAFETY: the program's promise.
    unsafe {
        if is_active()
            && flags & NI_NUMERICHOST == 0
            && !host.is_null()
            && host_len > 0
            && let Some(ip) = input(address, len).and_then(address_of)
        {
            match log::outcome("getnameinfo", -1, program().name_of(ip)) {
                Outcome::Done(name) => {
                    let name = CText::<256>::of(name.as_str());
                    let bytes = name.with_end();
                    if bytes.len() > host_len as usize {
                        return EAI_OVERFLOW;
                    }
                    ptr::copy_nonoverlapping(bytes.as_ptr(), host.cast(), bytes.len());
                    if service.is_null() || service_len == 0 {
                        return 0;
                    }
                    let none = ptr::null_mut();
                    return libc::getnameinfo(address, len, none, 0, service, service_len, flags);
                }
                Outcome::Fail(_) if flags & NI_NAMEREQD != 0 => return EAI_NONAME,
                Outcome::Fail(_) => flags |= NI_NUMERICHOST,
                Outcome::PassThrough(_) => {}
            }
        }
        libc::getnameinfo(address, len, host, host_len, service, service_len, flags)
    }
}
