//! `syscall`: the calls of this library by their numbers.
//!
//! Runtimes use it for what has no name in the C library, and some of that must find registers, stack and thread-local
//! storage as they are: `clone`, `futex`, `vfork`. So the function itself is a few instructions of assembly that jump to
//! the C library's own unless the process is active and the number has a hook. A hooked call may then be a cancellation
//! point, as it is by its name.

use core::ffi::c_int;
use core::ptr::with_exposed_provenance_mut as pointer;

use zt_intercept::Errno;
use zt_socket_rpc::linux::ENOSYS;

use super::{addresses, batch, descriptors, epoll, options, receive, send, setup, vectors};
use crate::environment::ACTIVE;
use crate::next::{self, fail};
use crate::raw::number;

/// Numbers from here on have no hook.
const LIMIT: usize = 448;

/// Each number with what is done in place of it. The arguments are words, as the kernel takes them.
macro_rules! routes {
    ($( $(#[$only:meta])? $number:ident ( $($argument:pat),* ) => $call:expr, )*) => {
        /// A bit for each number: whether it has a route.
        static ROUTED: [u8; LIMIT / 8] = {
            let mut bits = [0; LIMIT / 8];
            $(
                $(#[$only])?
                {
                    bits[number::$number / 8] |= 1 << (number::$number % 8);
                }
            )*
            bits
        };

        /// # Safety
        /// As the call of that number.
        unsafe extern "C" fn route(
            number: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize,
        ) -> isize {
            // SAFETY: the program's arguments, which the call of the same name takes in the same order.
            unsafe {
                match number {
                    $( $(#[$only])? number::$number => {
                        let [$($argument,)* ..] = [a, b, c, d, e, f];
                        $call as isize
                    } )*
                    _ => next::syscall(number, a, b, c, d, e, f),
                }
            }
        }
    };
}

/// A word that the kernel takes as an `int`.
const fn int(word: usize) -> c_int {
    word as c_int
}

routes! {
    SOCKET(domain, kind, protocol) => setup::socket(int(domain), int(kind), int(protocol)),
    CONNECT(fd, address, len) => setup::connect(int(fd), pointer(address), len as u32),
    BIND(fd, address, len) => setup::bind(int(fd), pointer(address), len as u32),
    LISTEN(fd, backlog) => setup::listen(int(fd), int(backlog)),
    ACCEPT(fd, address, len) => setup::accept(int(fd), pointer(address), pointer(len)),
    ACCEPT4(fd, address, len, flags) => setup::accept4(int(fd), pointer(address), pointer(len), int(flags)),
    GETSOCKNAME(fd, address, len) => addresses::getsockname(int(fd), pointer(address), pointer(len)),
    GETPEERNAME(fd, address, len) => addresses::getpeername(int(fd), pointer(address), pointer(len)),
    GETSOCKOPT(fd, level, name, value, len) =>
        options::getsockopt(int(fd), int(level), int(name), pointer(value), pointer(len)),
    SETSOCKOPT(fd, level, name, value, len) =>
        options::setsockopt(int(fd), int(level), int(name), pointer(value), len as u32),
    READ(fd, buffer, count) => receive::read(int(fd), pointer(buffer), count),
    READV(fd, vector, count) => vectors::readv(int(fd), pointer(vector), int(count)),
    PREADV2(fd, vector, count, offset, _, flags) =>
        vectors::preadv2(int(fd), pointer(vector), int(count), offset as i64, int(flags)),
    RECVFROM(fd, buffer, count, flags, address, len) =>
        receive::recvfrom(int(fd), pointer(buffer), count, int(flags), pointer(address), pointer(len)),
    RECVMSG(fd, message, flags) => receive::recvmsg(int(fd), pointer(message), int(flags)),
    RECVMMSG(fd, messages, count, flags, timeout) =>
        batch::recvmmsg(int(fd), pointer(messages), count as u32, int(flags), pointer(timeout)),
    WRITE(fd, buffer, count) => send::write(int(fd), pointer(buffer), count),
    WRITEV(fd, vector, count) => vectors::writev(int(fd), pointer(vector), int(count)),
    PWRITEV2(fd, vector, count, offset, _, flags) =>
        vectors::pwritev2(int(fd), pointer(vector), int(count), offset as i64, int(flags)),
    SENDTO(fd, buffer, count, flags, address, len) =>
        send::sendto(int(fd), pointer(buffer), count, int(flags), pointer(address), len as u32),
    SENDMSG(fd, message, flags) => send::sendmsg(int(fd), pointer(message), int(flags)),
    SENDMMSG(fd, messages, count, flags) =>
        batch::sendmmsg(int(fd), pointer(messages), count as u32, int(flags)),
    DUP(fd) => descriptors::copied(int(fd), next::syscall(number::DUP, fd, 0, 0, 0, 0, 0) as c_int),
    #[cfg(target_arch = "x86_64")]
    DUP2(fd, onto) =>
        descriptors::copied(int(fd), next::syscall(number::DUP2, fd, onto, 0, 0, 0, 0) as c_int),
    DUP3(fd, onto, flags) =>
        descriptors::copied(int(fd), next::syscall(number::DUP3, fd, onto, flags, 0, 0, 0) as c_int),
    // The C library's own function has other commands for some of these.
    FCNTL(fd, command, argument) => descriptors::controlled(
        int(fd), int(command), next::syscall(number::FCNTL, fd, command, argument, 0, 0, 0) as c_int,
    ),
    IOCTL(fd, request, argument) => descriptors::ioctl(int(fd), request, argument),
    EPOLL_CTL(epoll, operation, fd, event) =>
        epoll::epoll_ctl(int(epoll), int(operation), int(fd), pointer(event)),
    // Its rings would go round every hook; programs that use them know kernels without.
    IO_URING_SETUP() => fail(Errno(ENOSYS)),
}

/// Variadic in C: the number and the arguments are where they are for a function of seven words, and are not touched.
///
/// # Safety
/// As the C library's.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn syscall() {
    core::arch::naked_asm!(
        "cmp byte ptr [rip + {active}], 0",
        "jne 3f",
        "2:",
        "jmp qword ptr [rip + {next}]",
        "3:",
        "cmp rdi, {limit}",
        "jae 2b",
        "lea rax, [rip + {routed}]",
        "bt dword ptr [rax], edi",
        "jnc 2b",
        "jmp {route}",
        active = sym ACTIVE,
        next = sym next::pointer::syscall,
        limit = const LIMIT,
        routed = sym ROUTED,
        route = sym route,
    )
}

/// Variadic in C: the number and the arguments are where they are for a function of seven words, and are not touched.
///
/// # Safety
/// As the C library's.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn syscall() {
    core::arch::naked_asm!(
        "adrp x9, {active}",
        "ldrb w9, [x9, :lo12:{active}]",
        "cbnz w9, 3f",
        "2:",
        "adrp x9, {next}",
        "ldr x9, [x9, :lo12:{next}]",
        "br x9",
        "3:",
        "cmp x0, {limit}",
        "b.hs 2b",
        "adrp x9, {routed}",
        "add x9, x9, :lo12:{routed}",
        "lsr x10, x0, #3",
        "ldrb w9, [x9, x10]",
        "and w10, w0, #7",
        "lsr w9, w9, w10",
        "tbz w9, #0, 2b",
        "b {route}",
        active = sym ACTIVE,
        next = sym next::pointer::syscall,
        limit = const LIMIT,
        routed = sym ROUTED,
        route = sym route,
    )
}
