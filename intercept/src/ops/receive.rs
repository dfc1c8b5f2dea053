//! What follows a receive: resets that a Unix socket shows as end of file, and names that are no TCP addresses.
//!
//! The data path itself is the kernel's: the hooks make the call first and come here only when it returned zero, failed
//! with `ECONNRESET`, or was given a buffer for an address.

use zt_socket_rpc::linux::{AF_UNIX, EAGAIN, ECONNRESET, ENOTCONN, EPIPE};
use zt_socket_rpc::{Kind, State};

use crate::Program;
use crate::kernel::{Errno, Fd, Kernel, POLLHUP};
use crate::own::{Mark, begins_as_own};
use crate::sockaddr::family_of;

/// `MSG_ERRQUEUE`.
pub const MSG_ERRQUEUE: i32 = 0x2000;

impl<K: Kernel> Program<'_, K> {
    /// A receive of at least one byte returned zero: `Some` if it has to fail instead.
    pub fn after_end_of_file(&self, fd: Fd) -> Option<Errno> {
        let id = self.own_stream(fd)?;
        let entry = self.entry(id);
        match entry.map(|entry| entry.state) {
            // After the peer's own end a reset is one for writers only.
            Some(State::Reset) if entry.is_some_and(|entry| entry.errno == EPIPE) => None,
            Some(State::Reset) if self.mark(fd, Mark::ErrorTaken) => {
                entry.map(|entry| Errno(entry.errno))
            }
            // `connect` has told of the failure: a socket that was never connected. A failure that was told otherwise
            // leaves one whose peer has ended.
            Some(State::Failed) if self.has_mark(fd, Mark::ErrorTaken) => Some(Errno(ENOTCONN)),
            Some(State::Connected) | None
                if self.is_cut_off(fd) && self.mark(fd, Mark::ErrorTaken) =>
            {
                Some(Errno(ECONNRESET))
            }
            _ => None,
        }
    }

    /// Whether the end of file is a reset that no entry tells of. A hang-up means that the other half was closed. The
    /// service does that without a reset in the entry only when both directions have ended in good order, as long as it
    /// lives; another program does it with a reset when it asked for one before (`SO_LINGER` of no time).
    fn is_cut_off(&self, fd: Fd) -> bool {
        if !matches!(self.kernel.wait(fd, 0, 0), Ok(events) if events & POLLHUP != 0) {
            return false;
        }
        match self.other_end(fd) {
            Some(other) => self
                .entry(other)
                .is_some_and(|other| other.options.linger() == Some(0)),
            None => self.kernel.table().map(|table| table.instance()) != self.answering_instance(),
        }
    }

    /// A receive failed with `ECONNRESET`: the errno to show.
    pub fn after_reset(&self, fd: Fd) -> Errno {
        let entry = self.own_stream(fd).and_then(|id| self.entry(id));
        match entry {
            Some(entry) if entry.state == State::Reset => {
                self.mark(fd, Mark::ErrorTaken);
                Errno(entry.errno)
            }
            Some(entry) if entry.state == State::Failed => Errno(entry.errno),
            _ => Errno(ECONNRESET),
        }
    }

    /// A send failed with `EPIPE`: the errno to show. A Unix socket forgets why its peer is gone.
    pub fn after_broken_pipe(&self, fd: Fd) -> Errno {
        let pending = self
            .own_stream(fd)
            .and_then(|id| self.take_error(fd, id))
            .or_else(|| self.after_end_of_file(fd));
        pending
            .filter(|&errno| errno != Errno(ENOTCONN))
            .unwrap_or(Errno(EPIPE))
    }

    /// Whether a descriptor is a connection of ours.
    pub fn is_stream(&self, fd: Fd) -> bool {
        self.own_stream(fd).is_some()
    }

    /// The address that a receive has written into the program's buffer: true if it was the Unix name of one of our
    /// descriptors, which is wiped. TCP gives no address at all.
    pub fn strip_name(&self, fd: Fd, address: &mut [u8]) -> bool {
        let ours = begins_as_own(address)
            || family_of(address) == Some(AF_UNIX) && self.own_stream(fd).is_some();
        if ours {
            address.fill(0);
        }
        ours
    }

    /// The errno of a receive that must not reach the kernel: from the error queue, for which a Unix socket would return
    /// stream data; or from a listener, where it would eat an accept record.
    #[inline]
    pub fn refuses_receive(&self, fd: Fd, flags: i32) -> Option<Errno> {
        if flags & MSG_ERRQUEUE == 0 && !self.listeners.may_have(fd) {
            return None;
        }
        self.refused_receive(fd, flags)
    }

    #[cold]
    fn refused_receive(&self, fd: Fd, flags: i32) -> Option<Errno> {
        match self.own(fd) {
            Some(_) if flags & MSG_ERRQUEUE != 0 => Some(Errno(EAGAIN)),
            Some(name) if name.kind == Kind::Listener => Some(Errno(ENOTCONN)),
            _ => {
                self.listeners.remove(fd);
                None
            }
        }
    }
}
