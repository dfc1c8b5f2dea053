//! Putting one end of a pair in the place of a program's descriptor.

use zt_socket_rpc::linux::{AF_UNIX, EADDRINUSE, EAGAIN, EBADF, ENOENT, SO_SNDBUF, SOL_SOCKET};
use zt_socket_rpc::{Id, Kind, Name};

use crate::Program;
use crate::hints::Hints;
use crate::kernel::{EPOLL_CTL_ADD, EPOLL_CTL_MOD, EpollEvent, Errno, Fd, Kernel};
use crate::native::{SMALLEST_BUFFER, SNDBUF_LOCK};
use crate::registrations::{INSTANCES, Known, parse_registration};

/// A new pair: the program's half, and the service's half with its name bound.
pub(crate) struct Pair {
    pub(crate) id: Id,
    pub(crate) ours: Fd,
    pub(crate) service: Fd,
}

/// Send buffer of a connection: what Linux gives to a Unix socket by default.
pub(crate) const SEND_BUFFER: i32 = 212_992;
const PLUG_PIECE: usize = 128 << 10;
const NARROW_PIECE: usize = 8 << 10;
const LISTENER_PLUG: usize = 2000;

/// Copies of one socket that are looked after.
const MOST_COPIES: usize = 8;
/// Epoll instances with what a descriptor is registered for.
type Registered = (
    Option<(Fd, EpollEvent)>,
    [Option<(Fd, EpollEvent)>; INSTANCES],
);

/// Names are random; a second collision in a row means that something else is wrong.
const NAME_ATTEMPTS: u32 = 4;

impl<K: Kernel> Program<'_, K> {
    /// Makes a pair.
    pub(crate) fn new_pair(
        &self,
        kind: Kind,
        socket_type: i32,
        nonblocking: bool,
    ) -> Result<Pair, Errno> {
        let (ours, service) = self.kernel.socket_pair(socket_type, nonblocking)?;
        match self.give_name(service, kind) {
            Ok(id) => Ok(Pair { id, ours, service }),
            Err(errno) => {
                self.kernel.close(ours);
                self.kernel.close(service);
                Err(errno)
            }
        }
    }

    /// Binds a socket to a new name.
    pub(crate) fn give_name(&self, fd: Fd, kind: Kind) -> Result<Id, Errno> {
        let mut attempts = 0;
        loop {
            let mut bytes = [0; Id::LEN];
            self.kernel.random(&mut bytes);
            let id = Id::from_bytes(bytes);
            let mut address = [0; 2 + Name::LEN];
            let (family, path) = address.split_at_mut(2);
            family.copy_from_slice(&AF_UNIX.to_ne_bytes());
            path.copy_from_slice(&Name { kind, id }.to_path());
            attempts += 1;
            match self.kernel.bind(fd, &address) {
                Ok(()) if id.tag() != 0 => return Ok(id),
                Err(Errno(EADDRINUSE)) if attempts < NAME_ATTEMPTS => {}
                result => return Err(result.err().unwrap_or(Errno(EADDRINUSE))),
            }
        }
    }

    /// Fills the program's half of a stream: how many bytes. It polls and sends as a connecting socket does until the
    /// service has taken them out. A narrow one has the smallest buffer there is, so that this costs little.
    pub(crate) fn plug_stream(&self, ours: Fd, narrow: bool) -> Result<u32, Errno> {
        if narrow {
            self.narrow(ours)?;
        }
        let piece = if narrow { NARROW_PIECE } else { PLUG_PIECE };
        let mut filled = 0;
        loop {
            match self.kernel.send_zeros(ours, piece) {
                // Less than was given is all that there was room for.
                Ok(count) if count > 0 && count < piece => return Ok(filled + count as u32),
                Ok(count @ 1..) => filled += count as u32,
                Ok(0) | Err(Errno(EAGAIN)) => return Ok(filled),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Makes a send buffer as small as the kernel allows.
    pub(crate) fn narrow(&self, fd: Fd) -> Result<(), Errno> {
        self.kernel
            .set_option(fd, SOL_SOCKET, SO_SNDBUF, &0_i32.to_ne_bytes())
    }

    /// Whether a connection has the send buffer of its attempt still.
    pub(crate) fn has_buffer_of_attempt(&self, fd: Fd) -> bool {
        let size = self.int_option(fd, SOL_SOCKET, SO_SNDBUF);
        size.is_ok_and(|size| size < SMALLEST_BUFFER)
    }

    /// Gives a connection that is up its full send buffer, if it still has that of its attempt.
    pub(crate) fn widen(&self, fd: Fd) {
        if self.has_buffer_of_attempt(fd) {
            let half = (SEND_BUFFER / 2).to_ne_bytes();
            let _ = self.kernel.set_option(fd, SOL_SOCKET, SO_SNDBUF, &half);
        }
        self.datagrams.remove(fd);
    }

    /// Closes the sending direction of the program's half of a listener: it never polls as writable, and a send fails.
    pub(crate) fn plug_listener(&self, ours: Fd) -> Result<(), Errno> {
        // One message takes more than the quarter of the buffer below which it counts as writable.
        let plug = match self.int_option(ours, SOL_SOCKET, SO_SNDBUF) {
            // The program has chosen a size, which its connections inherit.
            Ok(size @ SMALLEST_BUFFER..) if self.buffer_locks(ours) & SNDBUF_LOCK != 0 => {
                (size / 4 + 1) as usize
            }
            // As small as the kernel allows.
            _ => {
                self.kernel
                    .set_option(ours, SOL_SOCKET, SO_SNDBUF, &0_i32.to_ne_bytes())?;
                LISTENER_PLUG
            }
        };
        let mut sent = 0;
        while sent < plug {
            sent += self.kernel.send_zeros(ours, plug - sent)?;
        }
        self.kernel.shut_sending(ours)
    }

    /// Replaces `fd` and its copies by `ours` (which is closed) and restores their epoll registrations.
    pub(crate) fn swap(&self, ours: Fd, fd: Fd, close_on_exec: bool) -> Result<(), Errno> {
        let (copies, count) = self.copies(fd);
        let registered = self.registered(fd);
        if let Err(errno) = self.kernel.replace(ours, fd, close_on_exec) {
            self.kernel.close(ours);
            return Err(errno);
        }
        self.register_again(fd, registered);
        for &copy in copies.iter().take(count) {
            let registered = self.registered(copy);
            // One that cannot be replaced stays what it was, as those of other processes do.
            if let Ok(close_on_exec) = self.kernel.is_close_on_exec(copy)
                && self.kernel.copy_onto(fd, copy, close_on_exec).is_ok()
            {
                self.register_again(copy, registered);
            }
        }
        Ok(())
    }

    /// Leaves a bit for a descriptor and its copies.
    pub(crate) fn note(&self, hints: &Hints, fd: Fd) {
        hints.add(fd);
        let (copies, count) = self.copies(fd);
        copies.iter().take(count).for_each(|&copy| hints.add(copy));
    }

    fn copies(&self, fd: Fd) -> ([Fd; MOST_COPIES], usize) {
        let mut copies = [-1; MOST_COPIES];
        let count = self.kernel.copies(fd, &mut copies);
        (copies, count)
    }

    /// Where a descriptor is registered.
    fn registered(&self, fd: Fd) -> Registered {
        let known = self.registrations.known(fd);
        let once = match known {
            // Asking the kernel for what it has tells a living record from a stale one.
            Known::Once(epoll, event) => {
                match self.kernel.epoll_control(epoll, EPOLL_CTL_MOD, fd, event) {
                    Err(Errno(ENOENT | EBADF)) => None,
                    _ => Some((epoll, event)),
                }
            }
            _ => None,
        };
        let mut searched = [const { None }; INSTANCES];
        if let Known::Search(instances) = &known {
            for (found, &epoll) in searched.iter_mut().zip(instances) {
                *found = self
                    .find_registration(epoll, fd)
                    .map(|event| (epoll, event));
            }
        }
        (once, searched)
    }

    fn register_again(&self, fd: Fd, (once, searched): Registered) {
        for (epoll, event) in once.into_iter().chain(searched.into_iter().flatten()) {
            // An instance that refuses has lost its room (`ENOSPC`): the program then misses events, and nothing
            // better can be said here.
            let _ = self.kernel.epoll_control(epoll, EPOLL_CTL_ADD, fd, event);
        }
    }

    /// Finds the registration of `fd` in one epoll instance.
    fn find_registration(&self, epoll: Fd, fd: Fd) -> Option<EpollEvent> {
        let mut buffer = [0; 1024];
        let (mut offset, mut kept) = (0, 0);
        if epoll < 0 {
            return None;
        }
        loop {
            let room = buffer.get_mut(kept..).unwrap_or_default();
            let read = self.kernel.read_fd_info(epoll, offset, room).ok()?;
            let filled = buffer.get(..kept + read)?;
            let whole = filled
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |newline| newline + 1);
            let lines = filled.get(..whole)?.split(|&byte| byte == b'\n');
            if let Some((_, event)) = lines
                .filter_map(parse_registration)
                .find(|(found, _)| *found == fd)
            {
                return Some(event);
            }
            if read == 0 || (whole == 0 && kept + read == buffer.len()) {
                return None;
            }
            offset += read as u64;
            buffer.copy_within(whole..kept + read, 0);
            kept = kept + read - whole;
        }
    }
}
