//! Functions of the C library for which no system call can stand in: names, interfaces, memory that it will free.
//!
//! They are looked up when they are first called: a program that never asks for a name pays nothing, and a library that
//! brings one of them may be loaded late.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use zt_intercept::Errno;
use zt_socket_rpc::linux::ENOSYS;

use crate::{elf, next};

/// A function that is looked up once.
struct Lazy {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Lazy {
    const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            address: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Null if no library has it.
    fn get(&self) -> *mut c_void {
        let known = self.address.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        // By the symbol tables first: that works with every glibc alike, and needs no locks of `dlsym`.
        let mut found = elf::find(self.name);
        if found.is_null() {
            found = next::by_name(self.name);
        }
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

/// Each function; what it returns where no library has it stands behind.
macro_rules! libc {
    ($( $name:ident ( $($argument:ident : $type:ty),* ) -> $result:ty = $missing:expr; )*) => {
        $(
            #[allow(clippy::too_many_arguments, clippy::unused_unit, reason = "the C library's own signature")]
            pub(crate) unsafe fn $name($($argument: $type),*) -> $result {
                const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => c"",
                };
                static FUNCTION: Lazy = Lazy::new(NAME);
                let function = FUNCTION.get();
                if function.is_null() {
                    return $missing;
                }
                // SAFETY: the C library's function of this name and type; the arguments are the program's.
                unsafe {
                    core::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> $result>(function)(
                        $($argument),*
                    )
                }
            }
        )*
    };
}

/// `EAI_FAIL`.
pub(crate) const EAI_FAIL: c_int = -4;
/// `NO_RECOVERY`.
pub(crate) const NO_RECOVERY: c_int = 3;

type Text = *const c_char;
type Any = *mut c_void;

libc! {
    getaddrinfo(node: Text, service: Text, hints: *const AddrInfo, found: *mut *mut AddrInfo) -> c_int = EAI_FAIL;
    freeaddrinfo(list: *mut AddrInfo) -> () = ();
    getnameinfo(address: *const u8, len: u32, host: *mut c_char, host_len: u32, service: *mut c_char,
        service_len: u32, flags: c_int) -> c_int = EAI_FAIL;
    gethostbyname(name: Text) -> *mut HostEnt = ptr::null_mut();
    gethostbyname2(name: Text, family: c_int) -> *mut HostEnt = ptr::null_mut();
    gethostbyname_r(name: Text, entry: *mut HostEnt, buffer: *mut c_char, len: usize, found: *mut *mut HostEnt,
        error: *mut c_int) -> c_int = NO_RECOVERY;
    gethostbyname2_r(name: Text, family: c_int, entry: *mut HostEnt, buffer: *mut c_char, len: usize,
        found: *mut *mut HostEnt, error: *mut c_int) -> c_int = NO_RECOVERY;
    gethostbyaddr(address: *const u8, len: u32, family: c_int) -> *mut HostEnt = ptr::null_mut();
    gethostbyaddr_r(address: *const u8, len: u32, family: c_int, entry: *mut HostEnt, buffer: *mut c_char,
        buffer_len: usize, found: *mut *mut HostEnt, error: *mut c_int) -> c_int = NO_RECOVERY;
    __h_errno_location() -> *mut c_int = ptr::null_mut();
    res_query(name: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int = -1;
    res_search(name: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int = -1;
    res_nquery(state: Any, name: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int = -1;
    res_nsearch(state: Any, name: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int = -1;
    __res_query(name: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int = -1;
    __res_search(name: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int = -1;
    __res_nquery(state: Any, name: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int = -1;
    __res_nsearch(state: Any, name: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int = -1;
    res_querydomain(name: Text, domain: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int = -1;
    res_nquerydomain(state: Any, name: Text, domain: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int)
        -> c_int = -1;
    __res_querydomain(name: Text, domain: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int = -1;
    __res_nquerydomain(state: Any, name: Text, domain: Text, class: c_int, kind: c_int, answer: *mut u8, len: c_int)
        -> c_int = -1;
    bindresvport(fd: c_int, address: *mut u8) -> c_int = next::fail(Errno(ENOSYS));
    getifaddrs(list: *mut *mut IfAddrs) -> c_int = -1;
    freeifaddrs(list: *mut IfAddrs) -> () = ();
    if_nametoindex(name: Text) -> u32 = 0;
    if_indextoname(index: u32, name: *mut c_char) -> *mut c_char = ptr::null_mut();
    if_nameindex() -> *mut IfNameIndex = ptr::null_mut();
    if_freenameindex(list: *mut IfNameIndex) -> () = ();
    gnu_get_libc_version() -> Text = ptr::null();
    strdup(text: Text) -> *mut c_char = ptr::null_mut();
}

/// Whether the C library is glibc, whose lists may be taken apart.
pub(crate) fn is_glibc() -> bool {
    // SAFETY: no arguments.
    unsafe { !gnu_get_libc_version().is_null() }
}

/// Sets `h_errno`.
pub(crate) fn set_host_error(error: c_int) {
    // SAFETY: both C libraries return the address of this thread's `h_errno`.
    unsafe {
        let place = __h_errno_location();
        if !place.is_null() {
            *place = error;
        }
    }
}

/// `struct addrinfo`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct AddrInfo {
    pub(crate) flags: c_int,
    pub(crate) family: c_int,
    pub(crate) kind: c_int,
    pub(crate) protocol: c_int,
    pub(crate) address_len: u32,
    pub(crate) address: *mut u8,
    pub(crate) canonical: *mut c_char,
    pub(crate) next: *mut AddrInfo,
}

/// `struct hostent`.
#[repr(C)]
pub(crate) struct HostEnt {
    pub(crate) name: *mut c_char,
    pub(crate) aliases: *mut *mut c_char,
    pub(crate) family: c_int,
    pub(crate) len: c_int,
    pub(crate) addresses: *mut *mut c_char,
}

/// `struct ifaddrs`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct IfAddrs {
    pub(crate) next: *mut IfAddrs,
    pub(crate) name: *mut c_char,
    pub(crate) flags: u32,
    pub(crate) address: *mut u8,
    pub(crate) netmask: *mut u8,
    pub(crate) broadcast: *mut u8,
    pub(crate) data: *mut c_void,
}

/// `struct if_nameindex`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct IfNameIndex {
    pub(crate) index: u32,
    pub(crate) name: *mut c_char,
}
