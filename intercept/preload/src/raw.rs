//! System calls without the C library.

use core::arch::asm;

use zt_intercept::Errno;

/// Numbers of the calls that are made here.
#[cfg(target_arch = "x86_64")]
pub(crate) mod number {
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const LSEEK: usize = 8;
    pub(crate) const MMAP: usize = 9;
    pub(crate) const MUNMAP: usize = 11;
    pub(crate) const READV: usize = 19;
    pub(crate) const GETPID: usize = 39;
    pub(crate) const SOCKET: usize = 41;
    pub(crate) const CONNECT: usize = 42;
    pub(crate) const ACCEPT: usize = 43;
    pub(crate) const SENDTO: usize = 44;
    pub(crate) const RECVFROM: usize = 45;
    pub(crate) const SENDMSG: usize = 46;
    pub(crate) const RECVMSG: usize = 47;
    pub(crate) const SHUTDOWN: usize = 48;
    pub(crate) const BIND: usize = 49;
    pub(crate) const LISTEN: usize = 50;
    pub(crate) const GETSOCKNAME: usize = 51;
    pub(crate) const GETPEERNAME: usize = 52;
    pub(crate) const SOCKETPAIR: usize = 53;
    pub(crate) const SETSOCKOPT: usize = 54;
    pub(crate) const GETSOCKOPT: usize = 55;
    pub(crate) const KILL: usize = 62;
    pub(crate) const FCNTL: usize = 72;
    pub(crate) const GETUID: usize = 102;
    pub(crate) const GETGID: usize = 104;
    pub(crate) const GETEUID: usize = 107;
    pub(crate) const GETEGID: usize = 108;
    pub(crate) const EPOLL_CTL: usize = 233;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const NEWFSTATAT: usize = 262;
    pub(crate) const PPOLL: usize = 271;
    pub(crate) const ACCEPT4: usize = 288;
    pub(crate) const DUP3: usize = 292;
    pub(crate) const GETRANDOM: usize = 318;
    pub(crate) const WRITEV: usize = 20;
    pub(crate) const DUP: usize = 32;
    pub(crate) const DUP2: usize = 33;
    pub(crate) const IOCTL: usize = 16;
    pub(crate) const RECVMMSG: usize = 299;
    pub(crate) const SENDMMSG: usize = 307;
    pub(crate) const PREADV2: usize = 327;
    pub(crate) const PWRITEV2: usize = 328;
    pub(crate) const IO_URING_SETUP: usize = 425;
}

/// Numbers of the calls that are made here.
#[cfg(target_arch = "aarch64")]
pub(crate) mod number {
    pub(crate) const READ: usize = 63;
    pub(crate) const WRITE: usize = 64;
    pub(crate) const CLOSE: usize = 57;
    pub(crate) const LSEEK: usize = 62;
    pub(crate) const MMAP: usize = 222;
    pub(crate) const MUNMAP: usize = 215;
    pub(crate) const READV: usize = 65;
    pub(crate) const GETPID: usize = 172;
    pub(crate) const SOCKET: usize = 198;
    pub(crate) const CONNECT: usize = 203;
    pub(crate) const ACCEPT: usize = 202;
    pub(crate) const SENDTO: usize = 206;
    pub(crate) const RECVFROM: usize = 207;
    pub(crate) const SENDMSG: usize = 211;
    pub(crate) const RECVMSG: usize = 212;
    pub(crate) const SHUTDOWN: usize = 210;
    pub(crate) const BIND: usize = 200;
    pub(crate) const LISTEN: usize = 201;
    pub(crate) const GETSOCKNAME: usize = 204;
    pub(crate) const GETPEERNAME: usize = 205;
    pub(crate) const SOCKETPAIR: usize = 199;
    pub(crate) const SETSOCKOPT: usize = 208;
    pub(crate) const GETSOCKOPT: usize = 209;
    pub(crate) const KILL: usize = 129;
    pub(crate) const FCNTL: usize = 25;
    pub(crate) const GETUID: usize = 174;
    pub(crate) const GETGID: usize = 176;
    pub(crate) const GETEUID: usize = 175;
    pub(crate) const GETEGID: usize = 177;
    pub(crate) const EPOLL_CTL: usize = 21;
    pub(crate) const OPENAT: usize = 56;
    pub(crate) const NEWFSTATAT: usize = 79;
    pub(crate) const PPOLL: usize = 73;
    pub(crate) const ACCEPT4: usize = 242;
    pub(crate) const DUP3: usize = 24;
    pub(crate) const GETRANDOM: usize = 278;
    pub(crate) const WRITEV: usize = 66;
    pub(crate) const DUP: usize = 23;
    /// There is only `dup3`; it takes the same arguments and refuses equal ones.
    pub(crate) const DUP2: usize = 24;
    pub(crate) const IOCTL: usize = 29;
    pub(crate) const RECVMMSG: usize = 243;
    pub(crate) const SENDMMSG: usize = 269;
    pub(crate) const PREADV2: usize = 286;
    pub(crate) const PWRITEV2: usize = 287;
    pub(crate) const IO_URING_SETUP: usize = 425;
}

/// Makes a system call; the kernel's answer as it is.
///
/// # Safety
/// As for the call: pointers among the arguments must be valid for it.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the system call convention; what the call does with its pointers is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes a system call; the kernel's answer as it is.
///
/// # Safety
/// As for the call: pointers among the arguments must be valid for it.
#[cfg(target_arch = "aarch64")]
#[inline]
pub(crate) unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the system call convention; what the call does with its pointers is the caller's promise.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result
}

/// Makes a system call of up to six arguments and splits value and errno.
///
/// # Safety
/// As [`call`].
pub(crate) unsafe fn checked<const N: usize>(
    number: usize,
    arguments: [usize; N],
) -> Result<usize, Errno> {
    let mut six = [0; 6];
    for (to, from) in six.iter_mut().zip(arguments) {
        *to = from;
    }
    // SAFETY: the caller's promise.
    let result = unsafe { call(number, six) };
    match result {
        -4095..=-1 => Err(Errno(-result as i32)),
        value => Ok(value as usize),
    }
}

/// Ends the process by `SIGABRT`.
pub(crate) fn abort() -> ! {
    const SIGABRT: usize = 6;
    loop {
        // SAFETY: no pointers.
        unsafe {
            let pid = call(number::GETPID, [0; 6]);
            call(number::KILL, [pid as usize, SIGABRT, 0, 0, 0, 0]);
        }
    }
}
