//! The system calls that the operations are made of.
//!
//! Every method is one call (or a fixed sequence of them) with checked arguments. Nothing here may allocate, lock or
//! touch the C library's state: the operations run in signal handlers and after `fork`.

use zt_socket_rpc::linux::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
use zt_socket_rpc::table::Table;

/// A file descriptor of the program.
pub type Fd = i32;

/// A positive Linux errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// The process or the system has no more of what a descriptor needs.
    pub(crate) const fn is_scarcity(self) -> bool {
        matches!(self.0, EMFILE | ENFILE | ENOBUFS | ENOMEM)
    }
}

/// Descriptors that arrived with a message.
pub type Received = [Option<Fd>; zt_socket_rpc::MAX_DESCRIPTORS];

/// How a receive waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Not at all: `EAGAIN`.
    No,
    /// As the descriptor's own flags and time-outs say; a cancellation point, restarted after signals as `SA_RESTART`
    /// asks.
    AsDescriptor,
}

/// One event as `epoll_ctl` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpollEvent {
    /// `EPOLL…` bits.
    pub events: u32,
    /// The program's own value.
    pub data: u64,
}

/// `poll` events.
pub const POLLIN: i16 = 1;
/// `poll` events.
pub const POLLOUT: i16 = 4;

/// `poll` events; reported unasked.
pub const POLLHUP: i16 = 16;

/// `EPOLL_CTL_ADD`.
pub const EPOLL_CTL_ADD: i32 = 1;
/// `EPOLL_CTL_DEL`.
pub const EPOLL_CTL_DEL: i32 = 2;
/// `EPOLL_CTL_MOD`.
pub const EPOLL_CTL_MOD: i32 = 3;

/// System calls on behalf of one program.
pub trait Kernel {
    /// A Unix pair of this type, both ends close-on-exec; both non-blocking if asked.
    ///
    /// # Errors
    /// As `socketpair`.
    fn socket_pair(&self, kind: i32, nonblocking: bool) -> Result<(Fd, Fd), Errno>;
    /// A socket, close-on-exec.
    ///
    /// # Errors
    /// As `socket`.
    fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Result<Fd, Errno>;
    /// A non-blocking `SEQPACKET` socket connected to this path.
    ///
    /// # Errors
    /// As `socket` and `connect`.
    fn connect_path(&self, path: &[u8]) -> Result<Fd, Errno>;
    /// Connects a Unix socket to this path.
    ///
    /// # Errors
    /// As `connect`.
    fn connect_to(&self, fd: Fd, path: &[u8]) -> Result<(), Errno>;
    /// Closes a descriptor that the library made.
    fn close(&self, fd: Fd);
    /// Whether a descriptor can still be worked on in later calls of the program.
    fn keeps_descriptors(&self) -> bool {
        true
    }
    /// Whether this is a TCP socket of which nothing has changed since it was made; from now on it counts as changed.
    fn take_untouched(&self, fd: Fd) -> bool {
        let _ = fd;
        false
    }
    /// Other descriptors of this process that are the same open file, as far as is known, up to the room for them: how
    /// many.
    fn copies(&self, fd: Fd, found: &mut [Fd]) -> usize {
        let _ = (fd, found);
        0
    }
    /// `dup3`.
    ///
    /// # Errors
    /// The call's.
    fn copy_onto(&self, from: Fd, onto: Fd, close_on_exec: bool) -> Result<(), Errno> {
        let _ = (from, onto, close_on_exec);
        Err(Errno(zt_socket_rpc::linux::EBADF))
    }
    /// `bind`.
    ///
    /// # Errors
    /// As `bind`.
    fn bind(&self, fd: Fd, address: &[u8]) -> Result<(), Errno>;
    /// Dissolves the connection of a kernel UDP socket.
    ///
    /// # Errors
    /// As `connect`.
    fn disconnect(&self, fd: Fd) -> Result<(), Errno>;
    /// The beginning of the next message, which stays, without waiting; the message's full length.
    ///
    /// # Errors
    /// As `recv`.
    fn peek(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno>;
    /// `listen`.
    ///
    /// # Errors
    /// As `listen`.
    fn listen(&self, fd: Fd, backlog: i32) -> Result<(), Errno>;
    /// `getsockname`; the full length, which may be more than the buffer's.
    ///
    /// # Errors
    /// As `getsockname`.
    fn local_name(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno>;
    /// `getpeername`; the full length.
    ///
    /// # Errors
    /// As `getpeername`.
    fn peer_name(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno>;
    /// `getsockopt`; the length that was written.
    ///
    /// # Errors
    /// As `getsockopt`.
    fn option(&self, fd: Fd, level: i32, name: i32, value: &mut [u8]) -> Result<usize, Errno>;
    /// `setsockopt`.
    ///
    /// # Errors
    /// As `setsockopt`.
    fn set_option(&self, fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno>;
    /// `shutdown(SHUT_WR)`.
    ///
    /// # Errors
    /// As `shutdown`.
    fn shut_sending(&self, fd: Fd) -> Result<(), Errno>;
    /// Sends this many zero bytes without waiting; how many were taken.
    ///
    /// # Errors
    /// As `sendmsg`.
    fn send_zeros(&self, fd: Fd, count: usize) -> Result<usize, Errno>;
    /// Sends one message with descriptors attached, without waiting and without a signal.
    ///
    /// # Errors
    /// As `sendmsg`.
    fn send_message(&self, fd: Fd, message: &[u8], descriptors: &[Fd]) -> Result<(), Errno>;
    /// Receives one message; descriptors that do not fit are closed, the others are close-on-exec if asked.
    ///
    /// # Errors
    /// As `recvmsg`; `EMFILE` when descriptors were lost because the process may have no more.
    fn receive_message(
        &self,
        fd: Fd,
        buffer: &mut [u8],
        descriptors: &mut Received,
        close_on_exec: bool,
        waiting: Waiting,
    ) -> Result<usize, Errno>;
    /// Waits for events on one descriptor (a cancellation point); zero after the time-out. Negative waits for ever.
    ///
    /// # Errors
    /// As `poll`.
    fn wait(&self, fd: Fd, events: i16, timeout_ms: i32) -> Result<i16, Errno>;
    /// Sleeps.
    fn sleep(&self, milliseconds: i32);
    /// Sleeps in a wait that has no end of its own.
    ///
    /// # Errors
    /// When the program no longer waits: only one that is served from outside can have gone away.
    fn pause(&self, milliseconds: i32) -> Result<(), Errno> {
        self.sleep(milliseconds);
        Ok(())
    }
    /// Whether `O_NONBLOCK` is set.
    ///
    /// # Errors
    /// As `fcntl`.
    fn is_nonblocking(&self, fd: Fd) -> Result<bool, Errno>;
    /// Sets or clears `O_NONBLOCK`.
    ///
    /// # Errors
    /// As `fcntl`.
    fn set_nonblocking(&self, fd: Fd, on: bool) -> Result<(), Errno>;
    /// Whether the descriptor is close-on-exec.
    ///
    /// # Errors
    /// As `fcntl`.
    fn is_close_on_exec(&self, fd: Fd) -> Result<bool, Errno>;
    /// `dup3(from, onto)`, then closes `from`.
    ///
    /// # Errors
    /// As `dup3`; `from` is left open.
    fn replace(&self, from: Fd, onto: Fd, close_on_exec: bool) -> Result<(), Errno>;
    /// Fails with `EMFILE` or `ENFILE` when no descriptor can be opened.
    ///
    /// # Errors
    /// As `dup`.
    fn check_room(&self, fd: Fd) -> Result<(), Errno>;
    /// `epoll_ctl`.
    ///
    /// # Errors
    /// As `epoll_ctl`.
    fn epoll_control(
        &self,
        epoll: Fd,
        operation: i32,
        fd: Fd,
        event: EpollEvent,
    ) -> Result<(), Errno>;
    /// Reads a part of `/proc/self/fdinfo/<fd>`; the length read.
    ///
    /// # Errors
    /// As `open` and `read`.
    fn read_fd_info(&self, fd: Fd, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno>;
    /// A number that changes when another file takes the path's place; `None` when there is no file.
    fn file_stamp(&self, path: &[u8]) -> Option<u64>;
    /// Fills the buffer with random bytes.
    fn random(&self, buffer: &mut [u8]);
    /// The mapped state table.
    fn table(&self) -> Option<Table<'_>>;
    /// Maps another table in the place of the present one. The descriptor stays open.
    ///
    /// # Errors
    /// As `mmap`.
    fn map_table(&self, fd: Fd) -> Result<(), Errno>;
}
