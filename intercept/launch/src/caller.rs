//! The core's system calls, made for a thread that waits in a trapped call.
//!
//! The supervisor works on a copy of the program's descriptor: the same open file, so options, names, flags and queues
//! are the program's. Only four things belong to the program's number and not to the file, and are done over there: the
//! swap itself, close-on-exec, epoll registrations, and the limit of descriptors.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zt_intercept::kernel::{EpollEvent, POLLIN, Received, Waiting};
use zt_intercept::{Errno, Fd, Kernel, Program};
use zt_socket_rpc::linux::{AF_UNIX, SO_RCVTIMEO_OLD, SOCK_NONBLOCK, SOCK_SEQPACKET, SOL_SOCKET};
use zt_socket_rpc::table::Table;

use crate::notify::Call;
use crate::supervisor::Supervisor;
use crate::{epoll, sys, target};

/// What the kernel takes for "run the signal's handler, then make the call again or fail with `EINTR`, as the handler
/// was installed". No program ever sees it.
const ERESTARTSYS: Errno = Errno(512);
/// How often a waiting call is looked at: has its thread been killed or signalled?
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(32);
/// Bytes of `sun_path`.
const SUN_PATH: usize = 108;

/// A thread in a trapped call on one descriptor.
pub(crate) struct Caller<'a> {
    supervisor: &'a Arc<Supervisor>,
    call: &'a Call,
    /// The supervisor's copy.
    socket: OwnedFd,
    /// The program's number.
    number: Fd,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(
        supervisor: &'a Arc<Supervisor>,
        call: &'a Call,
        socket: OwnedFd,
        number: Fd,
    ) -> Self {
        Self {
            supervisor,
            call,
            socket,
            number,
        }
    }

    /// The supervisor's copy of the descriptor.
    pub(crate) fn socket(&self) -> Fd {
        self.socket.as_raw_fd()
    }

    /// The operations.
    pub(crate) fn program(&self) -> Program<'_, Self> {
        Program {
            kernel: self,
            settings: &self.supervisor.settings,
            lan: &self.supervisor.lan,
            registrations: &self.supervisor.registrations,
            listeners: &self.supervisor.listeners,
            datagrams: &self.supervisor.datagrams,
        }
    }

    /// Waits for events as a blocking call of the program does; zero after the time-out.
    fn wait_as_program(&self, fd: Fd, events: i16, limit: Option<Duration>) -> Result<i16, Errno> {
        let end = limit.map(|limit| Instant::now() + limit);
        let mut look = FIRST_LOOK;
        let mut pause = Duration::ZERO;
        loop {
            let ready = sys::poll(fd, events, pause.as_millis() as i32)?;
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if ready != 0 || left == Some(Duration::ZERO) {
                return Ok(ready);
            }
            self.interrupted(limit.is_some())?;
            if pause.is_zero() {
                self.supervisor.before_waiting();
            }
            pause = left.map_or(look, |left| look.min(left.max(FIRST_LOOK)));
            look = (look * 2).min(LAST_LOOK);
        }
    }

    /// Fails when the thread is wanted elsewhere.
    fn interrupted(&self, is_limited: bool) -> Result<(), Errno> {
        if !self.supervisor.listener.is_waiting(self.call) {
            return Err(Errno(libc::EINTR));
        }
        if target::is_signalled(self.call.thread) {
            // As Linux has it: a call with a time-out is never made again.
            return Err(if is_limited {
                Errno(libc::EINTR)
            } else {
                ERESTARTSYS
            });
        }
        Ok(())
    }

    /// Whether the other half is gone and the program's epoll instance will not say so again.
    pub(crate) fn waits_for_an_edge_of_a_dead_pair(&self) -> bool {
        let dead = |events| events & libc::POLLHUP != 0;
        sys::poll(self.socket(), 0, 0).is_ok_and(dead)
            && self
                .registrations()
                .iter()
                .any(|(_, event)| event.events & libc::EPOLLET.cast_unsigned() != 0)
    }

    /// Where the program has registered the descriptor.
    fn registrations(&self) -> Vec<(Fd, EpollEvent)> {
        target::process_of(self.call.thread)
            .map(|process| {
                self.supervisor
                    .instances
                    .registrations(process, self.number)
            })
            .unwrap_or_default()
    }

    /// Moves what belongs to the program's number over to `from`.
    fn replace_over_there(&self, from: Fd, close_on_exec: bool) -> Result<(), Errno> {
        let thread = self.call.thread;
        let found: Vec<(OwnedFd, EpollEvent)> = self
            .registrations()
            .into_iter()
            .filter_map(|(instance, event)| {
                Some((
                    self.supervisor.threads.descriptor(thread, instance).ok()?,
                    event,
                ))
            })
            .collect();
        self.supervisor
            .listener
            .put(self.call, from, self.number, close_on_exec)?;
        for (instance, event) in &found {
            epoll::move_registration(self.socket(), from, self.number, instance, *event);
        }
        Ok(())
    }
}

/// A `struct timeval` of the kernel's; zero is no limit.
fn limit_of(fd: Fd, option: i32) -> Option<Duration> {
    let mut time = [0; 16];
    sys::option(fd, SOL_SOCKET, option, &mut time).ok()?;
    let (seconds, micros) = time.split_at(8);
    let word = |half: &[u8]| half.try_into().map(u64::from_ne_bytes).unwrap_or(0);
    let limit = Duration::from_secs(word(seconds)) + Duration::from_micros(word(micros));
    (!limit.is_zero()).then_some(limit)
}

impl Kernel for Caller<'_> {
    fn socket_pair(&self, kind: i32, nonblocking: bool) -> Result<(Fd, Fd), Errno> {
        sys::socket_pair(kind | if nonblocking { SOCK_NONBLOCK } else { 0 })
    }

    fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Result<Fd, Errno> {
        sys::socket(domain, kind, protocol)
    }

    fn connect_path(&self, path: &[u8]) -> Result<Fd, Errno> {
        let fd = sys::socket(i32::from(AF_UNIX), SOCK_SEQPACKET | SOCK_NONBLOCK, 0)?;
        let connected = connect_unix(fd, path);
        if let Err(errno) = connected {
            sys::close(fd);
            return Err(errno);
        }
        Ok(fd)
    }

    fn close(&self, fd: Fd) {
        sys::close(fd);
    }

    fn bind(&self, fd: Fd, address: &[u8]) -> Result<(), Errno> {
        sys::bind(fd, address)
    }

    fn disconnect(&self, fd: Fd) -> Result<(), Errno> {
        // `AF_UNSPEC`.
        sys::connect(fd, &[0; 16])
    }

    fn peek(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        sys::peek(fd, buffer)
    }

    fn listen(&self, fd: Fd, backlog: i32) -> Result<(), Errno> {
        sys::listen(fd, backlog)
    }

    fn local_name(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        sys::local_name(fd, buffer)
    }

    fn peer_name(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        sys::peer_name(fd, buffer)
    }

    fn option(&self, fd: Fd, level: i32, name: i32, value: &mut [u8]) -> Result<usize, Errno> {
        sys::option(fd, level, name, value)
    }

    fn set_option(&self, fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        sys::set_option(fd, level, name, value)
    }

    fn shut_sending(&self, fd: Fd) -> Result<(), Errno> {
        sys::shut_sending(fd)
    }

    fn send_zeros(&self, fd: Fd, count: usize) -> Result<usize, Errno> {
        static ZEROS: [u8; 128 << 10] = [0; 128 << 10];
        sys::send(fd, ZEROS.get(..count.min(ZEROS.len())).unwrap_or_default())
    }

    fn send_message(&self, fd: Fd, message: &[u8], descriptors: &[Fd]) -> Result<(), Errno> {
        sys::send_message(fd, message, descriptors)
    }

    /// Always close-on-exec: the program's copy is made with its own flag.
    fn receive_message(
        &self,
        fd: Fd,
        buffer: &mut [u8],
        descriptors: &mut Received,
        _: bool,
        waiting: Waiting,
    ) -> Result<usize, Errno> {
        loop {
            match sys::receive_message(fd, buffer, descriptors, libc::MSG_DONTWAIT) {
                Err(Errno(libc::EAGAIN))
                    if waiting == Waiting::AsDescriptor && !self.is_nonblocking(fd)? => {}
                result => return result,
            }
            if self.wait_as_program(fd, POLLIN, limit_of(fd, SO_RCVTIMEO_OLD))? == 0 {
                return Err(Errno(libc::EAGAIN));
            }
        }
    }

    fn wait(&self, fd: Fd, events: i16, timeout_ms: i32) -> Result<i16, Errno> {
        if fd == self.socket() {
            let limit = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
            return self.wait_as_program(fd, events, limit);
        }
        // The service, which answers soon.
        match sys::poll(fd, events, 0) {
            Ok(0) if timeout_ms != 0 => {
                self.supervisor.before_waiting();
                sys::poll(fd, events, timeout_ms)
            }
            result => result,
        }
    }

    fn sleep(&self, milliseconds: i32) {
        self.supervisor.before_waiting();
        std::thread::sleep(Duration::from_millis(
            milliseconds.max(0).unsigned_abs().into(),
        ));
    }

    fn pause(&self, milliseconds: i32) -> Result<(), Errno> {
        self.interrupted(false)?;
        self.sleep(milliseconds);
        Ok(())
    }

    fn is_nonblocking(&self, fd: Fd) -> Result<bool, Errno> {
        sys::status_flags(fd).map(|flags| flags & libc::O_NONBLOCK != 0)
    }

    fn set_nonblocking(&self, fd: Fd, on: bool) -> Result<(), Errno> {
        let flags = sys::status_flags(fd)?;
        let flags = if on {
            flags | libc::O_NONBLOCK
        } else {
            flags & !libc::O_NONBLOCK
        };
        sys::set_status_flags(fd, flags)
    }

    fn is_close_on_exec(&self, fd: Fd) -> Result<bool, Errno> {
        if fd == self.socket() {
            target::is_close_on_exec(self.call.thread, self.number)
        } else {
            Ok(true)
        }
    }

    fn replace(&self, from: Fd, onto: Fd, close_on_exec: bool) -> Result<(), Errno> {
        if onto != self.socket() {
            return Err(Errno(libc::EBADF));
        }
        self.replace_over_there(from, close_on_exec)?;
        // The copy here follows.
        // SAFETY: no pointers; `onto` stays this caller's own number.
        unsafe { libc::dup3(from, onto, libc::O_CLOEXEC) };
        sys::close(from);
        Ok(())
    }

    fn check_room(&self, _: Fd) -> Result<(), Errno> {
        if target::has_room(self.call.thread) {
            Ok(())
        } else {
            Err(Errno(libc::EMFILE))
        }
    }

    /// Never asked for: see [`Supervisor::registrations`].
    fn epoll_control(&self, _: Fd, _: i32, _: Fd, _: EpollEvent) -> Result<(), Errno> {
        Err(Errno(libc::EBADF))
    }

    /// Never asked for, either.
    fn read_fd_info(&self, _: Fd, _: u64, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno(libc::EBADF))
    }

    fn file_stamp(&self, path: &[u8]) -> Option<u64> {
        let file = std::fs::metadata(Path::new(std::ffi::OsStr::from_bytes(path))).ok()?;
        let change = file
            .ctime_nsec()
            .wrapping_add(file.ctime().wrapping_mul(1_000_000_007));
        let parts = [file.dev(), file.ino(), change.cast_unsigned()];
        let mix = |hash: u64, part: &u64| {
            (hash ^ part)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23)
        };
        Some(parts.iter().fold(0xcbf2_9ce4_8422_2325, mix).max(1))
    }

    fn random(&self, buffer: &mut [u8]) {
        while sys::random(buffer) == Err(Errno(libc::EINTR)) {}
    }

    fn table(&self) -> Option<Table<'_>> {
        self.supervisor.table()
    }

    fn map_table(&self, fd: Fd) -> Result<(), Errno> {
        self.supervisor.map_table(fd)
    }
}

/// Connects to a path; through a descriptor of its directory when it is too long for an address.
fn connect_unix(fd: Fd, path: &[u8]) -> Result<(), Errno> {
    if path.len() < SUN_PATH {
        let mut address = AF_UNIX.to_ne_bytes().to_vec();
        address.extend(path);
        address.push(0);
        return sys::connect(fd, &address);
    }
    let slash = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .ok_or(Errno(libc::EINVAL))?;
    let (directory, name) = path.split_at(slash + 1);
    let directory = std::fs::File::open(Path::new(std::ffi::OsStr::from_bytes(directory)))
        .map_err(|_| Errno(libc::ENOENT))?;
    let mut short = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    short.extend(name);
    if short.len() < SUN_PATH {
        connect_unix(fd, &short)
    } else {
        Err(Errno(libc::EINVAL))
    }
}
