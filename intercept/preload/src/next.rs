//! The C library's own functions, behind our hooks.
//!
//! Blocking calls must be the C library's: they are its cancellation points. Their addresses are looked up once, when
//! the library is loaded, for `dlsym` takes locks that may be held at `fork`. Where there is no `dlsym` (a program on
//! glibc before 2.34 that has not loaded libdl) the bare system calls stand in.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

use zt_intercept::Errno;

use crate::raw::{self, number};

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

/// Sets `errno`.
pub(crate) fn set_errno(errno: Errno) {
    // SAFETY: both C libraries return the address of this thread's `errno`.
    unsafe { *__errno_location() = errno.0 };
}

/// Reads `errno`.
pub(crate) fn errno() -> Errno {
    // SAFETY: as in `set_errno`.
    Errno(unsafe { *__errno_location() })
}

/// Returns -1 with `errno` set.
pub(crate) fn fail(errno: Errno) -> c_int {
    set_errno(errno);
    -1
}

/// A raw result in the C library's form.
fn returned(result: isize) -> isize {
    if (-4095..0).contains(&result) {
        set_errno(Errno(-result as i32));
        return -1;
    }
    result
}

// A strong reference to `dlsym` would end every program on glibc before 2.34 that has not loaded libdl.
core::arch::global_asm!(".weak dlsym");

type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;

fn dlsym() -> Option<Dlsym> {
    let address: *const c_void;
    // SAFETY: reads the address of the weak symbol from the global offset table.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!(
            "mov {}, qword ptr [rip + dlsym@GOTPCREL]",
            out(reg) address,
            options(nostack, pure, readonly, preserves_flags),
        );
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!(
            "adrp {0}, :got:dlsym",
            "ldr {0}, [{0}, :got_lo12:dlsym]",
            out(reg) address,
            options(nostack, pure, readonly, preserves_flags),
        );
    }
    if address.is_null() {
        return None;
    }
    // SAFETY: a symbol of this name in any C library has this type.
    Some(unsafe { core::mem::transmute::<*const c_void, Dlsym>(address) })
}

const RTLD_DEFAULT: *mut c_void = core::ptr::null_mut();
const RTLD_NEXT: *mut c_void = usize::MAX as *mut c_void;

/// A function of a library behind this one; null if there is none, or no `dlsym`.
pub(crate) fn by_name(name: &core::ffi::CStr) -> *mut c_void {
    match dlsym() {
        // SAFETY: a zero-terminated name.
        Some(dlsym) => unsafe { dlsym(RTLD_NEXT, name.as_ptr()) },
        None => core::ptr::null_mut(),
    }
}

/// The `environ` of a musl program; `None` under glibc, which passes the environment to constructors.
pub(crate) fn musl_environ() -> Option<*const *const c_char> {
    let dlsym = dlsym()?;
    // SAFETY: names are zero-terminated; `environ` has this type everywhere.
    unsafe {
        if !dlsym(RTLD_DEFAULT, c"gnu_get_libc_version".as_ptr()).is_null() {
            return None;
        }
        let environ = dlsym(RTLD_DEFAULT, c"environ".as_ptr()).cast::<*const *const c_char>();
        if environ.is_null() {
            None
        } else {
            Some(*environ)
        }
    }
}

/// Each function: a pointer to the C library's, at first to a stand-in made of the bare system call.
macro_rules! next {
    ($( $name:ident ( $($argument:ident : $type:ty),* ) -> $result:ty = $number:expr; )*) => {
        $(
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "the C library's own signature")]
            pub(crate) unsafe fn $name($($argument: $type),*) -> $result {
                // SAFETY: the pointer is the stand-in or the C library's function of this name and type; the arguments
                // are the program's.
                unsafe {
                    let function = core::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> $result>(
                        pointer::$name.load(Ordering::Relaxed),
                    );
                    function($($argument),*)
                }
            }
        )*

        #[allow(non_upper_case_globals, reason = "named as the functions")]
        pub(crate) mod pointer {
            use super::*;
            $( pub(crate) static $name: AtomicPtr<c_void> = AtomicPtr::new(stand_in::$name as *mut c_void); )*
        }

        mod stand_in {
            use super::*;
            $(
                #[allow(clippy::too_many_arguments, reason = "the C library's own signature")]
                pub(super) unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                    let call: (usize, [usize; 6]) = $number;
                    // SAFETY: the program's own arguments.
                    returned(unsafe { raw::call(call.0, call.1) }) as $result
                }
            )*
        }

        /// Looks the functions up.
        pub(crate) fn resolve() {
            let Some(dlsym) = dlsym() else { return };
            $(
                // SAFETY: a zero-terminated name.
                let found = unsafe { dlsym(RTLD_NEXT, concat!(stringify!($name), "\0").as_ptr().cast()) };
                if !found.is_null() {
                    pointer::$name.store(found, Ordering::Relaxed);
                }
            )*
        }
    };
}

type Address = *mut u8;
type Length = *mut u32;

next! {
    socket(domain: c_int, of_type: c_int, protocol: c_int) -> c_int
        = (number::SOCKET, [domain as usize, of_type as usize, protocol as usize, 0, 0, 0]);
    connect(fd: c_int, address: *const u8, len: u32) -> c_int
        = (number::CONNECT, [fd as usize, address as usize, len as usize, 0, 0, 0]);
    bind(fd: c_int, address: *const u8, len: u32) -> c_int
        = (number::BIND, [fd as usize, address as usize, len as usize, 0, 0, 0]);
    listen(fd: c_int, backlog: c_int) -> c_int
        = (number::LISTEN, [fd as usize, backlog as usize, 0, 0, 0, 0]);
    accept(fd: c_int, address: Address, len: Length) -> c_int
        = (number::ACCEPT, [fd as usize, address as usize, len as usize, 0, 0, 0]);
    accept4(fd: c_int, address: Address, len: Length, flags: c_int) -> c_int
        = (number::ACCEPT4, [fd as usize, address as usize, len as usize, flags as usize, 0, 0]);
    getsockname(fd: c_int, address: Address, len: Length) -> c_int
        = (number::GETSOCKNAME, [fd as usize, address as usize, len as usize, 0, 0, 0]);
    getpeername(fd: c_int, address: Address, len: Length) -> c_int
        = (number::GETPEERNAME, [fd as usize, address as usize, len as usize, 0, 0, 0]);
    getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut u8, len: Length) -> c_int
        = (number::GETSOCKOPT, [fd as usize, level as usize, name as usize, value as usize, len as usize, 0]);
    setsockopt(fd: c_int, level: c_int, name: c_int, value: *const u8, len: u32) -> c_int
        = (number::SETSOCKOPT, [fd as usize, level as usize, name as usize, value as usize, len as usize, 0]);
    epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut u8) -> c_int
        = (number::EPOLL_CTL, [epoll as usize, operation as usize, fd as usize, event as usize, 0, 0]);
    read(fd: c_int, buffer: *mut u8, count: usize) -> isize
        = (number::READ, [fd as usize, buffer as usize, count, 0, 0, 0]);
    readv(fd: c_int, vector: *const u8, count: c_int) -> isize
        = (number::READV, [fd as usize, vector as usize, count as usize, 0, 0, 0]);
    recv(fd: c_int, buffer: *mut u8, count: usize, flags: c_int) -> isize
        = (number::RECVFROM, [fd as usize, buffer as usize, count, flags as usize, 0, 0]);
    recvfrom(fd: c_int, buffer: *mut u8, count: usize, flags: c_int, address: Address, len: Length) -> isize
        = (number::RECVFROM, [fd as usize, buffer as usize, count, flags as usize, address as usize, len as usize]);
    recvmsg(fd: c_int, message: *mut u8, flags: c_int) -> isize
        = (number::RECVMSG, [fd as usize, message as usize, flags as usize, 0, 0, 0]);
    recvmmsg(fd: c_int, messages: *mut u8, count: u32, flags: c_int, timeout: *mut u8) -> c_int
        = (number::RECVMMSG, [fd as usize, messages as usize, count as usize, flags as usize, timeout as usize, 0]);
    write(fd: c_int, buffer: *const u8, count: usize) -> isize
        = (number::WRITE, [fd as usize, buffer as usize, count, 0, 0, 0]);
    writev(fd: c_int, vector: *const u8, count: c_int) -> isize
        = (number::WRITEV, [fd as usize, vector as usize, count as usize, 0, 0, 0]);
    send(fd: c_int, buffer: *const u8, count: usize, flags: c_int) -> isize
        = (number::SENDTO, [fd as usize, buffer as usize, count, flags as usize, 0, 0]);
    sendto(fd: c_int, buffer: *const u8, count: usize, flags: c_int, address: *const u8, len: u32) -> isize
        = (number::SENDTO, [fd as usize, buffer as usize, count, flags as usize, address as usize, len as usize]);
    sendmsg(fd: c_int, message: *const u8, flags: c_int) -> isize
        = (number::SENDMSG, [fd as usize, message as usize, flags as usize, 0, 0, 0]);
    sendmmsg(fd: c_int, messages: *mut u8, count: u32, flags: c_int) -> c_int
        = (number::SENDMMSG, [fd as usize, messages as usize, count as usize, flags as usize, 0, 0]);
    dup(fd: c_int) -> c_int
        = (number::DUP, [fd as usize, 0, 0, 0, 0, 0]);
    dup2(fd: c_int, onto: c_int) -> c_int
        = (number::DUP2, [fd as usize, onto as usize, 0, 0, 0, 0]);
    dup3(fd: c_int, onto: c_int, flags: c_int) -> c_int
        = (number::DUP3, [fd as usize, onto as usize, flags as usize, 0, 0, 0]);
    fcntl(fd: c_int, command: c_int, argument: usize) -> c_int
        = (number::FCNTL, [fd as usize, command as usize, argument, 0, 0, 0]);
    fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int
        = (number::FCNTL, [fd as usize, command as usize, argument, 0, 0, 0]);
    ioctl(fd: c_int, request: usize, argument: usize) -> c_int
        = (number::IOCTL, [fd as usize, request, argument, 0, 0, 0]);
    preadv2(fd: c_int, vector: *const u8, count: c_int, offset: i64, flags: c_int) -> isize
        = (number::PREADV2, [fd as usize, vector as usize, count as usize, offset as usize, 0, flags as usize]);
    pwritev2(fd: c_int, vector: *const u8, count: c_int, offset: i64, flags: c_int) -> isize
        = (number::PWRITEV2, [fd as usize, vector as usize, count as usize, offset as usize, 0, flags as usize]);
    preadv64v2(fd: c_int, vector: *const u8, count: c_int, offset: i64, flags: c_int) -> isize
        = (number::PREADV2, [fd as usize, vector as usize, count as usize, offset as usize, 0, flags as usize]);
    pwritev64v2(fd: c_int, vector: *const u8, count: c_int, offset: i64, flags: c_int) -> isize
        = (number::PWRITEV2, [fd as usize, vector as usize, count as usize, offset as usize, 0, flags as usize]);
    syscall(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize
        = (number, [a, b, c, d, e, f]);
    // The fortified twins: the hooks have checked the length before a stand-in can be reached.
    __read_chk(fd: c_int, buffer: *mut u8, count: usize, size: usize) -> isize
        = (number::READ, [fd as usize, buffer as usize, count.min(size), 0, 0, 0]);
    __recv_chk(fd: c_int, buffer: *mut u8, count: usize, size: usize, flags: c_int) -> isize
        = (number::RECVFROM, [fd as usize, buffer as usize, count.min(size), flags as usize, 0, 0]);
    __recvfrom_chk(fd: c_int, buffer: *mut u8, count: usize, size: usize, flags: c_int, address: Address, len: Length)
        -> isize
        = (
            number::RECVFROM,
            [fd as usize, buffer as usize, count.min(size), flags as usize, address as usize, len as usize]
        );
}
