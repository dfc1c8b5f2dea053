//! The system calls of this process, and what it remembers.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use zt_intercept::kernel::{EpollEvent, Received, Waiting};
use zt_intercept::{Errno, Fd, Hints, Kernel, LanState, NewSockets, Program, Registrations};
use zt_socket_rpc::linux::{AF_UNIX, EINTR, EINVAL, SOCK_CLOEXEC, SOCK_NONBLOCK};
use zt_socket_rpc::table::{TABLE_LEN, TABLE_WORDS, Table};

use crate::environment;
use crate::raw::{checked, number};
use crate::{message, path};

static LAN: LanState = LanState::new();
static REGISTRATIONS: Registrations = Registrations::new();
static LISTENERS: Hints = Hints::new();
static DATAGRAMS: Hints = Hints::new();
static UNTOUCHED: Hints = Hints::new();
/// Descriptors that have been copied, or are copies, since they were made.
static COPIED: Hints = Hints::new();
static NEW_SOCKETS: NewSockets = NewSockets::new();
/// The mapped state table; never unmapped, only mapped over.
static TABLE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// This process.
pub(crate) struct Process;

/// The operations of this process.
pub(crate) fn program() -> Program<'static, Process> {
    Program {
        kernel: &Process,
        settings: environment::settings(),
        lan: &LAN,
        registrations: &REGISTRATIONS,
        listeners: &LISTENERS,
        datagrams: &DATAGRAMS,
        new_sockets: &NEW_SOCKETS,
    }
}

/// A descriptor was made by `socket`: as a TCP socket, or as something else.
pub(crate) fn made(fd: Fd, is_tcp: bool) {
    REGISTRATIONS.forget(fd);
    COPIED.remove(fd);
    if is_tcp {
        UNTOUCHED.add(fd);
    } else {
        UNTOUCHED.remove(fd);
    }
}

/// Two descriptors are one socket now: what happens to it may happen by either.
pub(crate) fn shared(from: Fd, to: Fd) {
    UNTOUCHED.remove(from);
    UNTOUCHED.remove(to);
    if from != to {
        COPIED.add(from);
        COPIED.add(to);
    }
    DATAGRAMS.pass_on(from, to);
}

const F_DUPFD_CLOEXEC: usize = 1030;
const F_GETFD: usize = 1;
const F_GETFL: usize = 3;
const F_SETFL: usize = 4;
const F_GET_SEALS: usize = 1034;
const F_SEAL_SHRINK: usize = 2;
const FD_CLOEXEC: usize = 1;
const O_NONBLOCK: usize = 0o4000;
pub(crate) const O_CLOEXEC: usize = 0o2_000_000;

fn fcntl(fd: Fd, command: usize, argument: usize) -> Result<usize, Errno> {
    // SAFETY: the commands used here take no pointers.
    unsafe { checked(number::FCNTL, [fd as usize, command, argument]) }
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
            ],
        )
    }?;
    Ok(len as usize)
}

impl Kernel for Process {
    fn copies(&self, fd: Fd, found: &mut [Fd]) -> usize {
        let file = match COPIED.may_have(fd) {
            true => path::file_of(fd),
            false => None,
        };
        let Some(file) = file else { return 0 };
        let copies = COPIED
            .iter()
            .filter(|&other| other != fd && path::file_of(other) == Some(file));
        found
            .iter_mut()
            .zip(copies)
            .map(|(place, copy)| *place = copy)
            .count()
    }

    fn copy_onto(&self, from: Fd, onto: Fd, close_on_exec: bool) -> Result<(), Errno> {
        let flags = if close_on_exec { O_CLOEXEC } else { 0 };
        // SAFETY: no pointers.
        unsafe { checked(number::DUP3, [from as usize, onto as usize, flags]) }.map(|_| ())
    }

    fn take_untouched(&self, fd: Fd) -> bool {
        UNTOUCHED.remove(fd)
    }

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
                [domain as usize, kind as usize, protocol as usize],
            )
        }?;
        Ok(fd as Fd)
    }

    fn connect_path(&self, path: &[u8]) -> Result<Fd, Errno> {
        path::connect(path)
    }

    fn connect_to(&self, fd: Fd, path: &[u8]) -> Result<(), Errno> {
        path::connect_to(fd, path)
    }

    fn close(&self, fd: Fd) {
        // SAFETY: closes a descriptor that the library has made; the result says nothing that could be acted upon.
        let _ = unsafe { checked(number::CLOSE, [fd as usize]) };
    }

    fn bind(&self, fd: Fd, address: &[u8]) -> Result<(), Errno> {
        let arguments = [fd as usize, address.as_ptr() as usize, address.len()];
        // SAFETY: a readable address of the length given.
        unsafe { checked(number::BIND, arguments) }.map(|_| ())
    }

    fn disconnect(&self, fd: Fd) -> Result<(), Errno> {
        // `AF_UNSPEC`.
        let nowhere = [0_u8; 16];
        let arguments = [fd as usize, nowhere.as_ptr() as usize, nowhere.len()];
        // SAFETY: a readable address of the length given.
        unsafe { checked(number::CONNECT, arguments) }.map(|_| ())
    }

    fn peek(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        const MSG_PEEK: usize = 2;
        const MSG_TRUNC: usize = 0x20;
        const MSG_DONTWAIT: usize = 0x40;
        let arguments = [
            fd as usize,
            buffer.as_mut_ptr() as usize,
            buffer.len(),
            MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT,
            0,
            0,
        ];
        // SAFETY: a writable buffer of the length given, no address.
        unsafe { checked(number::RECVFROM, arguments) }
    }

    fn listen(&self, fd: Fd, backlog: i32) -> Result<(), Errno> {
        // SAFETY: no pointers.
        unsafe { checked(number::LISTEN, [fd as usize, backlog as usize]) }.map(|_| ())
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
        ];
        // SAFETY: a readable buffer of the length given.
        unsafe { checked(number::SETSOCKOPT, arguments) }.map(|_| ())
    }

    fn shut_sending(&self, fd: Fd) -> Result<(), Errno> {
        const SHUT_WR: usize = 1;
        // SAFETY: no pointers.
        unsafe { checked(number::SHUTDOWN, [fd as usize, SHUT_WR]) }.map(|_| ())
    }

    fn send_zeros(&self, fd: Fd, count: usize) -> Result<usize, Errno> {
        message::send_zeros(fd, count)
    }

    fn send_message(&self, fd: Fd, message: &[u8], descriptors: &[Fd]) -> Result<(), Errno> {
        message::send(fd, message, descriptors)
    }

    fn receive_message(
        &self,
        fd: Fd,
        buffer: &mut [u8],
        descriptors: &mut Received,
        close_on_exec: bool,
        waiting: Waiting,
    ) -> Result<usize, Errno> {
        message::receive(fd, buffer, descriptors, close_on_exec, waiting)
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
                [&raw mut poll as usize, 1, timeout as usize, 0, 8],
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
        let _ = unsafe { checked(number::PPOLL, [0, 0, &raw const time as usize, 0, 8]) };
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
        self.copy_onto(from, onto, close_on_exec)?;
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
        ];
        // SAFETY: a readable event.
        unsafe { checked(number::EPOLL_CTL, arguments) }.map(|_| ())
    }

    fn read_fd_info(&self, fd: Fd, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        path::read_fd_info(fd, offset, buffer)
    }

    fn file_stamp(&self, path: &[u8]) -> Option<u64> {
        path::file_stamp(path)
    }

    fn random(&self, buffer: &mut [u8]) {
        /// Times that this process had to do without the kernel's generator.
        static FALLBACK: AtomicU64 = AtomicU64::new(0);
        let arguments = [buffer.as_mut_ptr() as usize, buffer.len()];
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
        let len = unsafe { checked(number::LSEEK, [fd as usize, 0, SEEK_END]) }?;
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
                [present as usize, TABLE_LEN, PROT_READ, flags, fd as usize],
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
            let _ = unsafe { checked(number::MUNMAP, [mapped as usize, TABLE_LEN]) };
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
