//! The operations' system calls.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use zt_intercept::kernel::{EpollEvent, POLLIN, Received, Waiting};
use zt_intercept::{Errno, Fd, Kernel};
use zt_socket_rpc::Kind;
use zt_socket_rpc::linux::{
    AF_UNIX, SO_ERROR, SO_PRIORITY, SO_RCVTIMEO_OLD, SOCK_NONBLOCK, SOCK_SEQPACKET, SOL_SOCKET,
};
use zt_socket_rpc::table::Table;

use super::{Caller, Place};
use crate::sys;

/// Bytes of `sun_path`.
const SUN_PATH: usize = 108;

/// A `struct timeval` of the kernel's; zero is no limit.
pub(super) fn limit_of(fd: Fd, option: i32) -> Option<Duration> {
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
        connect_to(path)
    }

    fn connect_to(&self, _: Fd, _: &[u8]) -> Result<(), Errno> {
        // For what is kept, which nothing is here.
        Err(Errno(libc::EOPNOTSUPP))
    }

    fn close(&self, fd: Fd) {
        sys::close(fd);
    }

    /// There is none of a connection later.
    fn keeps_descriptors(&self) -> bool {
        false
    }

    fn take_untouched(&self, fd: Fd) -> bool {
        self.known(fd).is_some_and(|socket| socket.take_untouched())
    }

    fn bind(&self, fd: Fd, address: &[u8]) -> Result<(), Errno> {
        sys::bind(self.open(fd)?, address)
    }

    fn disconnect(&self, fd: Fd) -> Result<(), Errno> {
        // `AF_UNSPEC`.
        sys::connect(self.open(fd)?, &[0; 16])
    }

    fn peek(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        sys::peek(self.open(fd)?, buffer)
    }

    fn listen(&self, fd: Fd, backlog: i32) -> Result<(), Errno> {
        sys::listen(self.open(fd)?, backlog)
    }

    fn local_name(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self.real(fd) {
            Some(fd) => sys::local_name(fd, buffer),
            // A half of a connection has no name.
            None => Ok(put(buffer, &[&AF_UNIX.to_ne_bytes()])),
        }
    }

    fn peer_name(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self.known(fd).and_then(|socket| socket.name) {
            Some(name) => Ok(put(buffer, &[&AF_UNIX.to_ne_bytes(), &name.to_path()])),
            None => sys::peer_name(self.open(fd)?, buffer),
        }
    }

    fn option(&self, fd: Fd, level: i32, name: i32, value: &mut [u8]) -> Result<usize, Errno> {
        if (level, name) == (SOL_SOCKET, SO_RCVTIMEO_OLD)
            && let Some(end) = self.end(fd)
        {
            return sys::option(end, level, name, value);
        }
        if let Some(socket) = self.known(fd)
            && socket.copy.is_none()
        {
            match (level, name) {
                (SOL_SOCKET, SO_PRIORITY) => {
                    return Ok(put(value, &[&i32::from(socket.marks()).to_ne_bytes()]));
                }
                (SOL_SOCKET, SO_ERROR) => {
                    let errno = self.pending_error(&socket);
                    match self.real(fd) {
                        Some(fresh) => {
                            sys::option(fresh, level, name, value)?;
                        }
                        // If that fails, it is told once more.
                        None if errno != 0 => drop(self.tell_no_more(&socket)),
                        None => {}
                    }
                    return Ok(put(value, &[&errno.to_ne_bytes()]));
                }
                _ => {}
            }
        }
        sys::option(self.open(fd)?, level, name, value)
    }

    fn set_option(&self, fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if let Some(socket) = self.known(fd)
            && socket.copy.is_none()
            && (level, name) == (SOL_SOCKET, SO_PRIORITY)
            && let Some(&marks) = value.first()
        {
            socket.marks.store(marks, Ordering::Relaxed);
            return Ok(());
        }
        sys::set_option(self.open(fd)?, level, name, value)
    }

    fn shut_sending(&self, fd: Fd) -> Result<(), Errno> {
        sys::shut_sending(self.open(fd)?)
    }

    fn send_zeros(&self, fd: Fd, count: usize) -> Result<usize, Errno> {
        static ZEROS: [u8; 128 << 10] = [0; 128 << 10];
        let fd = self.open(fd)?;
        sys::send(fd, ZEROS.get(..count.min(ZEROS.len())).unwrap_or_default())
    }

    fn send_message(&self, fd: Fd, message: &[u8], descriptors: &[Fd]) -> Result<(), Errno> {
        let mut real = [-1; zt_socket_rpc::MAX_DESCRIPTORS];
        let real = real
            .get_mut(..descriptors.len())
            .ok_or(Errno(libc::EINVAL))?;
        for (real, fd) in real.iter_mut().zip(descriptors) {
            *real = self.open(*fd)?;
        }
        sys::send_message(self.open(fd)?, message, real)
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
        let fd = self.open(fd)?;
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
        if let Some(socket) = self.known(fd) {
            let limit = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
            return match self.real(fd) {
                Some(fd) => self.wait_as_program(fd, events, limit),
                None if limit.is_none() => self.wait_for_the_end_of_an_attempt(&socket),
                None => Ok(0),
            };
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
        let flags = match self.end(fd) {
            Some(fd) => sys::status_flags(fd),
            None => self.thread.flags_of(self.number),
        };
        flags.map(|flags| flags & libc::O_NONBLOCK != 0)
    }

    fn set_nonblocking(&self, fd: Fd, on: bool) -> Result<(), Errno> {
        let fd = self.open(fd)?;
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
            let flags = self.thread.flags_of(self.number)?;
            Ok(flags & libc::O_CLOEXEC != 0)
        } else {
            Ok(true)
        }
    }

    fn replace(&self, from: Fd, onto: Fd, close_on_exec: bool) -> Result<(), Errno> {
        if onto != self.socket() {
            return Err(Errno(libc::EBADF));
        }
        let (inode, socket) = match self.supervisor.own_socket(from) {
            // The program has dissolved a connection.
            Err(Errno(libc::ENOTCONN)) => self.supervisor.native_socket(from)?,
            known => known?,
        };
        if let Some(name) = socket.name.filter(|name| name.kind == Kind::Datagram) {
            return self.replace_by_relay(name, from, close_on_exec);
        }
        // When this fails, the operations close it themselves.
        self.put_in_place((inode, &socket), from, close_on_exec)?;
        // SAFETY: the operations have made it and give it away here.
        let from = unsafe { OwnedFd::from_raw_fd(from) };
        let before = self.place.replace(Place {
            inode,
            socket,
            fresh: Some(from),
        });
        self.supervisor.sockets.forget(before.inode);
        Ok(())
    }

    fn check_room(&self, _: Fd) -> Result<(), Errno> {
        if self.thread.has_room() {
            Ok(())
        } else {
            Err(Errno(libc::EMFILE))
        }
    }

    /// Never asked for: see [`crate::supervisor::Supervisor::registrations`].
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

/// Writes parts one after the other, as far as there is room; their length.
fn put(buffer: &mut [u8], parts: &[&[u8]]) -> usize {
    let bytes = parts.iter().copied().flatten();
    for (to, from) in buffer.iter_mut().zip(bytes.clone()) {
        *to = *from;
    }
    bytes.count()
}

/// A non-blocking `SEQPACKET` socket connected to a path.
pub(crate) fn connect_to(path: &[u8]) -> Result<Fd, Errno> {
    let fd = sys::socket(i32::from(AF_UNIX), SOCK_SEQPACKET | SOCK_NONBLOCK, 0)?;
    let connected = connect_unix(fd, path);
    if let Err(errno) = connected {
        sys::close(fd);
        return Err(errno);
    }
    Ok(fd)
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
