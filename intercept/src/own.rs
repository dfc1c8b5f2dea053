//! Recognising our own descriptors, and one bit of memory on them.
//!
//! A descriptor is ours when its peer's name is one of the contract's ([`Name`]), or when its peer is a service's streams
//! socket and its own name is one. The names stay readable after the service has closed its half.
//!
//! What must be remembered per socket, across threads, `fork` and `dup`, is kept on the socket itself: `SO_PRIORITY` of
//! a Unix socket has no meaning to the kernel and takes 0 to 6 from anyone. (The program's own `SO_PRIORITY` is kept by
//! the service.)

use zt_socket_rpc::linux::{AF_UNIX, SO_PRIORITY, SOL_SOCKET};
use zt_socket_rpc::{Id, Kind, Name, STREAMS_SUFFIX};

use crate::Program;
use crate::kernel::{Fd, Kernel};
use crate::sockaddr::family_of;

/// `sizeof(struct sockaddr_un)`.
pub(crate) const UNIX_LEN: usize = 110;

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The pending error was reported.
    ErrorTaken,
    /// The next `connect` reports the success of a non-blocking attempt.
    SuccessUntold,
}

impl Mark {
    const fn bit(self) -> u8 {
        match self {
            Self::ErrorTaken => 1,
            Self::SuccessUntold => 2,
        }
    }
}

impl<K: Kernel> Program<'_, K> {
    /// The name of one of our own descriptors: one `getpeername`, and on a straight connection one `getsockname`.
    pub fn own(&self, fd: Fd) -> Option<Name> {
        let mut buffer = [0; UNIX_LEN];
        let len = self.kernel.peer_name(fd, &mut buffer).ok()?;
        let peer = buffer.get(..len.min(UNIX_LEN))?;
        if is_streams_socket(peer) {
            self.local_own_name(fd)
        } else {
            own_name(peer)
        }
    }

    /// The name of the contract that a descriptor itself is bound to.
    fn local_own_name(&self, fd: Fd) -> Option<Name> {
        let mut buffer = [0; UNIX_LEN];
        let len = self.kernel.local_name(fd, &mut buffer).ok()?;
        own_name(buffer.get(..len.min(UNIX_LEN))?)
    }

    /// The id of a connection of ours.
    pub(crate) fn own_stream(&self, fd: Fd) -> Option<Id> {
        self.own(fd)
            .filter(|name| name.kind == Kind::Stream)
            .map(|name| name.id)
    }

    /// The id of the other end of a connection that another program of the service holds: each end has the name by which
    /// the other one is known. The service's own half has one too, but the program's half beside it has none, or its own.
    pub(crate) fn other_end(&self, fd: Fd) -> Option<Id> {
        let name = self.local_own_name(fd)?;
        (self.own(fd) != Some(name)).then_some(name.id)
    }

    /// Sets a mark; true when it was not set before.
    pub(crate) fn mark(&self, fd: Fd, mark: Mark) -> bool {
        let before = self.marks(fd);
        before & mark.bit() == 0 && self.set_marks(fd, before | mark.bit())
    }

    /// Sets the first mark of a new pair.
    pub(crate) fn mark_first(&self, fd: Fd, mark: Mark) {
        self.set_marks(fd, mark.bit());
    }

    /// Removes a mark; true when it was set before.
    pub(crate) fn unmark(&self, fd: Fd, mark: Mark) -> bool {
        let before = self.marks(fd);
        before & mark.bit() != 0 && self.set_marks(fd, before & !mark.bit())
    }

    /// Whether a mark is set.
    pub(crate) fn has_mark(&self, fd: Fd, mark: Mark) -> bool {
        self.marks(fd) & mark.bit() != 0
    }

    fn marks(&self, fd: Fd) -> u8 {
        let mut value = [0; 4];
        match self.kernel.option(fd, SOL_SOCKET, SO_PRIORITY, &mut value) {
            Ok(_) => value[0],
            Err(_) => 0,
        }
    }

    fn set_marks(&self, fd: Fd, marks: u8) -> bool {
        self.kernel
            .set_option(fd, SOL_SOCKET, SO_PRIORITY, &i32::from(marks).to_ne_bytes())
            .is_ok()
    }
}

/// Reads a peer's `struct sockaddr_un`.
pub(crate) fn own_name(address: &[u8]) -> Option<Name> {
    if family_of(address)? == AF_UNIX {
        Name::from_path(address.get(2..)?)
    } else {
        None
    }
}

/// Whether a `struct sockaddr_un` is that of a service's streams socket.
fn is_streams_socket(address: &[u8]) -> bool {
    let path = address.strip_suffix(&[0]).unwrap_or(address);
    family_of(address) == Some(AF_UNIX) && path.ends_with(STREAMS_SUFFIX)
}

/// Whether a buffer holds (the beginning of) one of our names, which must not be shown to a program.
pub(crate) fn begins_as_own(address: &[u8]) -> bool {
    family_of(address) == Some(AF_UNIX)
        && address
            .get(2..)
            .is_some_and(|path| path.starts_with(&Name::PREFIX))
}
