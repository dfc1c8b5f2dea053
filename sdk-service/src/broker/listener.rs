//! One listening socket of a program: its accept queue, fed from the LAN and from the program's own
//! network.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use zt_netstack::ListenerId;
use zt_socket_rpc::{Accepted, Entry, Id};

use super::acceptor::Acceptor;
use super::budget::Lease;
use super::{Pending, descriptor};

/// A socket of a program that is bound or listens.
pub(super) struct Listener {
    /// The service's half of the pair that carries the accept records.
    pub(super) fd: Arc<OwnedFd>,
    pub(super) id: Id,
    /// The host's listener; while the socket is only bound, it keeps the port.
    pub(super) host_listener: ListenerId,
    /// The program's own listening socket, if connections of its own network are wanted too.
    pub(super) native: Option<Acceptor>,
    /// What the state table says.
    pub(super) entry: Entry,
    pub(super) backlog: usize,
    pub(super) uid: u32,
    /// Connections that the program has not been told of.
    pub(super) pending: VecDeque<Pending>,
    /// A record that found the queue full, with its descriptor.
    pub(super) held: Option<(Accepted, OwnedFd)>,
    /// The queue is full.
    pub(super) blocked: bool,
    /// The host was told to leave SYNs unanswered.
    pub(super) full: bool,
    pub(super) queued: bool,
    pub(super) _lease: Lease,
}

/// What became of a record.
#[derive(Debug)]
pub(super) enum Push {
    /// The program has it, or there is none.
    Done,
    /// Nobody listens any more: the connection ends.
    Gone(OwnedFd),
    /// The queue is full; the kernel will tell when it is not.
    Full,
    /// Too many descriptors are on their way between processes; nothing will tell when they are not.
    TryLater,
}

impl Listener {
    /// Puts the held record into the queue.
    pub(super) fn push_held(&mut self) -> Push {
        let Some((record, descriptor)) = &self.held else {
            return Push::Done;
        };
        let sent = descriptor::send_message(&self.fd, &record.emit(), Some(descriptor.as_fd()));
        match sent {
            Err(Errno::AGAIN | Errno::NOBUFS) => {
                self.blocked = true;
                return Push::Full;
            }
            Err(Errno::TOOMANYREFS | Errno::NOMEM) => return Push::TryLater,
            _ => {}
        }
        match self.held.take() {
            Some((_, descriptor)) if sent.is_err() => Push::Gone(descriptor),
            _ => Push::Done,
        }
    }

    /// Whether as many connections wait as the program allowed.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= self.backlog
    }
}
