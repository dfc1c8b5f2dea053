//! The system calls of this process, and what it remembers.

use core::ffi::c_void;
use core::mem::size_of;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use zt_intercept::kernel::{EpollEvent, Received, Waiting};
use zt_intercept::{Errno, Fd, Kernel, LanState, Program, Registrations};
use zt_socket_rpc::linux::{
    AF_UNIX, EINTR, EINVAL, EMFILE, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_SEQPACKET, SOL_SOCKET,
};
use zt_socket_rpc::table::{TABLE_LEN, TABLE_WORDS, Table};

use crate::environment;
use crate::next;
use crate::raw::{checked, number};

static LAN: LanState = LanState::new();
static REGISTRATIONS: Registrations = Registrations::new();
/// The mapped state table; never unmapped, only mapped over.
static TABLE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
/// What a plug is made of.
static ZEROS: [u8; ZERO_PIECE] = [0; ZERO_PIECE];
const ZERO_PIECE: usize = 4096;
const ZERO_PIECES: usize = 32;

/// This process.
pub(crate) struct Process;

/// The operations of this process.
pub(crate) fn program() -> Program<'static, Process> {
    Program {
        kernel: &Process,
        settings: environment::settings(),
        lan: &LAN,
        registrations: &REGISTRATIONS,
    }
}

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct IoVec {
    pub(crate) base: *mut u8,
    pub(crate) len: usize,
}

/// `struct msghdr` of 64-bit Linux.
#[repr(C)]
pub(crate) struct MessageHeader {
    pub(crate) name: *mut u8,
    pub(crate) name_len: u32,
    pub(crate) vector: *mut IoVec,
    pub(crate) vector_len: usize,
    pub(crate) control: *mut u8,
    pub(crate) control_len: usize,
    pub(crate) flags: i32,
}

/// `struct cmsghdr` with `SCM_RIGHTS` and room for the descriptors of one message.
#[repr(C, align(8))]
struct Rights {
    len: usize,
    level: i32,
    kind: i32,
    descriptors: [Fd; zt_socket_rpc::MAX_DESCRIPTORS],
}

const CONTROL_HEADER: usize = 16;
const SCM_RIGHTS: i32 = 1;
const MSG_CTRUNC: i32 = 8;
const MSG_DONTWAIT: usize = 0x40;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: i32 = 0x4000_0000;

const F_DUPFD_CLOEXEC: usize = 1030;
const F_GETFD: usize = 1;
const F_GETFL: usize = 3;
const F_SETFL: usize = 4;
const F_GET_SEALS: usize = 1034;
const F_SEAL_SHRINK: usize = 2;
const FD_CLOEXEC: usize = 1;
const O_NONBLOCK: usize = 0o4000;
const O_CLOEXEC: usize = 0o2_000_000;
const O_PATH: usize = 0o10_000_000;
const O_DIRECTORY: usize = if cfg!(target_arch = "aarch64") {
    0o40000
} else {
    0o200_000
};
const AT_FDCWD: usize = -100_isize as usize;

impl MessageHeader {
    fn new(vector: &mut [IoVec], control: *mut u8, control_len: usize) -> Self {
        Self {
            name: ptr::null_mut(),
            name_len: 0,
            vector: vector.as_mut_ptr(),
            vector_len: vector.len(),
            control,
            control_len,
            flags: 0,
        }
    }
}

fn fcntl(fd: Fd, command: usize, argument: usize) -> Result<usize, Errno> {
    // SAFETY: the commands used here take no pointers.
    unsafe { checked(number::FCNTL, [fd as usize, command, argument, 0, 0, 0]) }
}

/// `getsockname` or `getpeername`.
fn name(call: usize, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut len = buffer.len() as u32;
    // SAFETY: a writable buffer of the length given.
    unsafe {
        checked(
            call,
            [
                fd as usize,
                buffer.as_mut_ptr() as usize,
                &raw mut len as usize,
                0,
                0,
                0,
            ],
        )
    }?;
    Ok(len as usize)
}

/// Writes `text` and a terminating zero.
fn terminated<const N: usize>(parts: &[&[u8]]) -> Result<[u8; N], Errno> {
    let mut path = [0; N];
    for (at, &byte) in parts.iter().copied().flatten().enumerate() {
        // The last byte stays zero.
        if at + 1 >= N {
            return Err(Errno(EINVAL));
        }
        path[at] = byte;
    }
    Ok(path)
}

/// Decimal digits of a descriptor.
fn digits(fd: Fd, buffer: &mut [u8; 10]) -> &[u8] {
    let mut value = fd.unsigned_abs();
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 || at == 0 {
            return &buffer[at..];
        }
    }
}

fn open(path: &[u8], flags: usize) -> Result<Fd, Errno> {
    // SAFETY: callers pass zero-terminated paths.
    let fd = unsafe {
        checked(
            number::OPENAT,
            [AT_FDCWD, path.as_ptr() as usize, flags | O_CLOEXEC, 0, 0, 0],
        )
    }?;
    Ok(fd as Fd)
}

impl Process {
    /// Connects to a path that fits into a `struct sockaddr_un`.
    fn connect_unix(fd: Fd, path: &[u8]) -> Result<(), Errno> {
        const SUN_PATH: usize = 108;
        let mut address = [0; 2 + SUN_PATH];
        address[..2].copy_from_slice(&AF_UNIX.to_ne_bytes());
        address
            .get_mut(2..2 + path.len())
            .ok_or(Errno(EINVAL))?
            .copy_from_slice(path);
        let arguments = [
            fd as usize,
            address.as_ptr() as usize,
            2 + path.len() + 1,
            0,
            0,
            0,
        ];
        if path.len() >= SUN_PATH {
            return Err(Errno(EINVAL));
        }
        // SAFETY: a readable address of the length given.
        unsafe { checked(number::CONNECT, arguments) }.map(|_| ())
    }

    /// The same through a descriptor of the directory, for a longer path.
    fn connect_unix_beside(fd: Fd, path: &[u8]) -> Result<(), Errno> {
        let slash = path
            .iter()
            .rposition(|&byte| byte == b'/')
            .ok_or(Errno(EINVAL))?;
        let directory: [u8; zt_intercept::lan::MAX_PATH + 1] = terminated(&[&path[..=slash]])?;
        let directory = open(&directory, O_PATH | O_DIRECTORY)?;
        let mut buffer = [0; 10];
        let short: Result<[u8; 108], Errno> = terminated(&[
            b"/proc/self/fd/",
            digits(directory, &mut buffer),
            b"/",
            &path[slash + 1..],
        ]);
        let result = short.and_then(|short| {
            let len = short.iter().position(|&byte| byte == 0).unwrap_or(0);
            Self::connect_unix(fd, &short[..len])
        });
        Self.close(directory);
        result
    }
}

impl Kernel for Process {
    fn socket_pair(&self, kind: i32, nonblocking: bool) -> Result<(Fd, Fd), Errno> {
        let mut pair: [Fd; 2] = [-1; 2];
        let kind = kind | SOCK_CLOEXEC | if nonblocking { SOCK_NONBLOCK } else { 0 };
        // SAFETY: room for two descriptors.
        unsafe {
            checked(
                number::SOCKETPAIR,
                [
                    usize::from(AF_UNIX),
                    kind as usize,
                    0,
                    pair.as_mut_ptr() as usize,
                    0,
                    0,
                ],
            )
        }?;
        Ok((pair[0], pair[1]))
    }

    fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Result<Fd, Errno> {
        let kind = kind | SOCK_CLOEXEC;
        // SAFETY: no pointers.
        let fd = unsafe {
            checked(
                number::SOCKET,
                [domain as usize, kind as usize, protocol as usize, 0, 0, 0],
            )
        }?;
        Ok(fd as Fd)
    }

    fn connect_path(&self, path: &[u8]) -> Result<Fd, Errno> {
        let fd = self.socket(i32::from(AF_UNIX), SOCK_SEQPACKET | SOCK_NONBLOCK, 0)?;
        let connected = if path.len() < 108 {
            Self::connect_unix(fd, path)
        } else {
            Self::connect_unix_beside(fd, path)
        };
        if let Err(errno) = connected {
            self.close(fd);
            return Err(errno);
        }
        Ok(fd)
    }

    fn close(&self, fd: Fd) {
        // SAFETY: closes a descriptor that the library has made; the result says nothing that could be acted upon.
        let _ = unsafe { checked(number::CLOSE, [fd as usize, 0, 0, 0, 0, 0]) };
    }

    fn bind(&self, fd: Fd, address: &[u8]) -> Result<(), Errno> {
        let arguments = [
            fd as usize,
            address.as_ptr() as usize,
            address.len(),
            0,
            0,
            0,
        ];
        // SAFETY: a readable address of the length given.
        unsafe { checked(number::BIND, arguments) }.map(|_| ())
    }

    fn listen(&self, fd: Fd, backlog: i32) -> Result<(), Errno> {
        // SAFETY: no pointers.
        unsafe { checked(number::LISTEN, [fd as usize, backlog as usize, 0, 0, 0, 0]) }.map(|_| ())
    }

    fn local_name(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        name(number::GETSOCKNAME, fd, buffer)
    }

    fn peer_name(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        name(number::GETPEERNAME, fd, buffer)
    }

    fn option(&self, fd: Fd, level: i32, name: i32, value: &mut [u8]) -> Result<usize, Errno> {
        let mut len = value.len() as u32;
        let arguments = [
            fd as usize,
            level as usize,
            name as usize,
            value.as_mut_ptr() as usize,
            &raw mut len as usize,
            0,
        ];
        // SAFETY: a writable buffer of the length given.
        unsafe { checked(number::GETSOCKOPT, arguments) }?;
        Ok(len as usize)
    }

    fn set_option(&self, fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let arguments = [
            fd as usize,
            level as usize,
            name as usize,
            value.as_ptr() as usize,
            value.len(),
            0,
        ];
        // SAFETY: a readable buffer of the length given.
        unsafe { checked(number::SETSOCKOPT, arguments) }.map(|_| ())
    }

    fn send_zeros(&self, fd: Fd, count: usize) -> Result<usize, Errno> {
        let mut vector = [IoVec {
            base: ZEROS.as_ptr().cast_mut(),
            len: ZERO_PIECE,
        }; ZERO_PIECES];
        let pieces = count.div_ceil(ZERO_PIECE).min(ZERO_PIECES);
        if let Some(last) = vector[..pieces].last_mut() {
            last.len = (count - (pieces - 1) * ZERO_PIECE).min(ZERO_PIECE);
        }
        let header = MessageHeader::new(&mut vector[..pieces], ptr::null_mut(), 0);
        let arguments = [
            fd as usize,
            &raw const header as usize,
            MSG_DONTWAIT | MSG_NOSIGNAL,
            0,
            0,
            0,
        ];
        // SAFETY: every piece is the static zeros, which are only read.
        unsafe { checked(number::SENDMSG, arguments) }
    }

    fn send_message(&self, fd: Fd, message: &[u8], descriptors: &[Fd]) -> Result<(), Errno> {
        let mut rights = Rights {
            len: CONTROL_HEADER + size_of_val(descriptors),
            level: SOL_SOCKET,
            kind: SCM_RIGHTS,
            descriptors: [-1; zt_socket_rpc::MAX_DESCRIPTORS],
        };
        rights
            .descriptors
            .get_mut(..descriptors.len())
            .ok_or(Errno(EINVAL))?
            .copy_from_slice(descriptors);
        let mut vector = [IoVec {
            base: message.as_ptr().cast_mut(),
            len: message.len(),
        }];
        let mut header = MessageHeader::new(&mut vector, ptr::null_mut(), 0);
        if !descriptors.is_empty() {
            header.control = (&raw mut rights).cast();
            header.control_len = rights.len;
        }
        let arguments = [
            fd as usize,
            &raw const header as usize,
            MSG_DONTWAIT | MSG_NOSIGNAL,
            0,
            0,
            0,
        ];
        // SAFETY: message and control data live through the call and are only read.
        unsafe { checked(number::SENDMSG, arguments) }.map(|_| ())
    }

    fn receive_message(
        &self,
        fd: Fd,
        buffer: &mut [u8],
        descriptors: &mut Received,
        close_on_exec: bool,
        waiting: Waiting,
    ) -> Result<usize, Errno> {
        let mut rights = Rights {
            len: 0,
            level: 0,
            kind: 0,
            descriptors: [-1; zt_socket_rpc::MAX_DESCRIPTORS],
        };
        let mut vector = [IoVec {
            base: buffer.as_mut_ptr(),
            len: buffer.len(),
        }];
        let mut header =
            MessageHeader::new(&mut vector, (&raw mut rights).cast(), size_of::<Rights>());
        let flags = if close_on_exec { MSG_CMSG_CLOEXEC } else { 0 };
        let len = match waiting {
            Waiting::No => {
                let arguments = [
                    fd as usize,
                    &raw mut header as usize,
                    flags as usize | MSG_DONTWAIT,
                    0,
                    0,
                    0,
                ];
                // SAFETY: writable buffers of the lengths given.
                unsafe { checked(number::RECVMSG, arguments) }?
            }
            Waiting::AsDescriptor => {
                // SAFETY: as above; the C library's own call, for it is a cancellation point.
                let len = unsafe { next::recvmsg(fd, (&raw mut header).cast(), flags) };
                usize::try_from(len).map_err(|_| next::errno())?
            }
        };
        // `control_len` counts the padding too.
        let count = rights.len.saturating_sub(CONTROL_HEADER) / size_of::<Fd>();
        if rights.level == SOL_SOCKET && rights.kind == SCM_RIGHTS {
            for (to, from) in descriptors.iter_mut().zip(&rights.descriptors).take(count) {
                *to = Some(*from);
            }
        }
        if header.flags & MSG_CTRUNC != 0 {
            for fd in descriptors.iter_mut().filter_map(Option::take) {
                self.close(fd);
            }
            return Err(Errno(EMFILE));
        }
        Ok(len)
    }

    fn wait(&self, fd: Fd, events: i16, timeout_ms: i32) -> Result<i16, Errno> {
        #[repr(C)]
        struct PollFd {
            fd: Fd,
            events: i16,
            returned: i16,
        }
        let mut poll = PollFd {
            fd,
            events,
            returned: 0,
        };
        let time = [
            i64::from(timeout_ms / 1000),
            i64::from(timeout_ms % 1000) * 1_000_000,
        ];
        let timeout = if timeout_ms < 0 {
            ptr::null()
        } else {
            &raw const time
        };
        // SAFETY: one descriptor, a readable time-out or none, no signal mask.
        unsafe {
            checked(
                number::PPOLL,
                [&raw mut poll as usize, 1, timeout as usize, 0, 8, 0],
            )
        }?;
        Ok(poll.returned)
    }

    fn sleep(&self, milliseconds: i32) {
        let time = [
            i64::from(milliseconds / 1000),
            i64::from(milliseconds % 1000) * 1_000_000,
        ];
        // SAFETY: no descriptors, a readable time-out. A signal only makes the sleep shorter.
        let _ = unsafe { checked(number::PPOLL, [0, 0, &raw const time as usize, 0, 8, 0]) };
    }

    fn is_nonblocking(&self, fd: Fd) -> Result<bool, Errno> {
        fcntl(fd, F_GETFL, 0).map(|flags| flags & O_NONBLOCK != 0)
    }

    fn set_nonblocking(&self, fd: Fd, on: bool) -> Result<(), Errno> {
        let flags = fcntl(fd, F_GETFL, 0)?;
        fcntl(
            fd,
            F_SETFL,
            if on {
                flags | O_NONBLOCK
            } else {
                flags & !O_NONBLOCK
            },
        )
        .map(|_| ())
    }

    fn is_close_on_exec(&self, fd: Fd) -> Result<bool, Errno> {
        fcntl(fd, F_GETFD, 0).map(|flags| flags & FD_CLOEXEC != 0)
    }

    fn replace(&self, from: Fd, onto: Fd, close_on_exec: bool) -> Result<(), Errno> {
        let flags = if close_on_exec { O_CLOEXEC } else { 0 };
        // SAFETY: no pointers.
        unsafe { checked(number::DUP3, [from as usize, onto as usize, flags, 0, 0, 0]) }?;
        self.close(from);
        Ok(())
    }

    fn check_room(&self, fd: Fd) -> Result<(), Errno> {
        let copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)?;
        self.close(copy as Fd);
        Ok(())
    }

    fn epoll_control(
        &self,
        epoll: Fd,
        operation: i32,
        fd: Fd,
        event: EpollEvent,
    ) -> Result<(), Errno> {
        let event = RawEpollEvent {
            events: event.events,
            data: event.data,
        };
        let arguments = [
            epoll as usize,
            operation as usize,
            fd as usize,
            &raw const event as usize,
            0,
            0,
        ];
        // SAFETY: a readable event.
        unsafe { checked(number::EPOLL_CTL, arguments) }.map(|_| ())
    }

    fn read_fd_info(&self, fd: Fd, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mut number_buffer = [0; 10];
        let path: [u8; 32] = terminated(&[b"/proc/self/fdinfo/", digits(fd, &mut number_buffer)])?;
        let file = open(&path, 0)?;
        // SAFETY: no pointers.
        let sought =
            unsafe { checked(number::LSEEK, [file as usize, offset as usize, 0, 0, 0, 0]) };
        let arguments = [
            file as usize,
            buffer.as_mut_ptr() as usize,
            buffer.len(),
            0,
            0,
            0,
        ];
        // SAFETY: a writable buffer of the length given.
        let read = sought.and_then(|_| unsafe { checked(number::READ, arguments) });
        self.close(file);
        read
    }

    fn file_stamp(&self, path: &[u8]) -> Option<u64> {
        // `struct stat` of either architecture: device and inode first, then the times at the same place.
        const WORDS: usize = 18;
        const CHANGE_TIME: usize = 13;
        let path: [u8; zt_intercept::lan::MAX_PATH + 1] = terminated(&[path]).ok()?;
        let mut stat = [0_u64; WORDS];
        let arguments = [
            AT_FDCWD,
            path.as_ptr() as usize,
            stat.as_mut_ptr() as usize,
            0,
            0,
            0,
        ];
        // SAFETY: a zero-terminated path, and room for a `struct stat` (144 bytes on x86_64, 128 on aarch64).
        unsafe { checked(number::NEWFSTATAT, arguments) }.ok()?;
        let [device, inode] = [stat[0], stat[1]];
        let change = stat[CHANGE_TIME]
            .wrapping_mul(1_000_000_007)
            .wrapping_add(stat[CHANGE_TIME + 1]);
        let stamp = [device, inode, change]
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, part| {
                (hash ^ part)
                    .wrapping_mul(0x0000_0100_0000_01b3)
                    .rotate_left(23)
            });
        Some(stamp.max(1))
    }

    fn random(&self, buffer: &mut [u8]) {
        /// Times that this process had to do without the kernel's generator.
        static FALLBACK: AtomicU64 = AtomicU64::new(0);
        let arguments = [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0];
        loop {
            // SAFETY: a writable buffer of the length given.
            match unsafe { checked(number::GETRANDOM, arguments) } {
                Ok(_) => return,
                Err(Errno(EINTR)) => {}
                Err(_) => break,
            }
        }
        // A sandbox without `getrandom`: names must differ, though they can then be guessed. Only processes of the same
        // network namespace see each other's names anyway.
        let count = FALLBACK.fetch_add(1, Ordering::Relaxed);
        // SAFETY: no pointers.
        let pid = unsafe { crate::raw::call(number::GETPID, [0; 6]) } as u64;
        for (at, byte) in buffer.iter_mut().enumerate() {
            let seed = pid << 32 ^ count << 8 ^ at as u64;
            *byte = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        }
    }

    fn table(&self) -> Option<Table<'_>> {
        let memory = TABLE
            .load(Ordering::Acquire)
            .cast::<[AtomicU64; TABLE_WORDS]>();
        // SAFETY: null, or a readable mapping of this length that is never taken away (a sealed file cannot shrink);
        // other processes change it through atomics only.
        let words = unsafe { memory.as_ref() }?;
        Table::open(words).ok()
    }

    fn map_table(&self, fd: Fd) -> Result<(), Errno> {
        const PROT_READ: usize = 1;
        const MAP_SHARED: usize = 1;
        const MAP_FIXED: usize = 0x10;
        const SEEK_END: usize = 2;
        // SAFETY: no pointers.
        let len = unsafe { checked(number::LSEEK, [fd as usize, 0, SEEK_END, 0, 0, 0]) }?;
        if len < TABLE_LEN || fcntl(fd, F_GET_SEALS, 0)? & F_SEAL_SHRINK == 0 {
            return Err(Errno(EINVAL));
        }
        let present = TABLE.load(Ordering::Acquire);
        let flags = if present.is_null() {
            MAP_SHARED
        } else {
            MAP_SHARED | MAP_FIXED
        };
        // SAFETY: a new mapping, or one in the exact place of the old table, which readers reach through atomics and
        // sequence numbers and which therefore may change under them.
        let mapped = unsafe {
            checked(
                number::MMAP,
                [
                    present as usize,
                    TABLE_LEN,
                    PROT_READ,
                    flags,
                    fd as usize,
                    0,
                ],
            )
        }?;
        let mapped = ptr::with_exposed_provenance_mut::<c_void>(mapped);
        if present.is_null()
            && TABLE
                .compare_exchange(ptr::null_mut(), mapped, Ordering::AcqRel, Ordering::Acquire)
                .is_err()
        {
            // Another thread was first with the same table.
            // SAFETY: the mapping just made, seen by nobody.
            let _ = unsafe { checked(number::MUNMAP, [mapped as usize, TABLE_LEN, 0, 0, 0, 0]) };
        }
        Ok(())
    }
}

/// `struct epoll_event`, packed on `x86_64` only.
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
pub(crate) struct RawEpollEvent {
    pub(crate) events: u32,
    pub(crate) data: u64,
}
