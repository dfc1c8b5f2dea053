//! The program's sockets that the supervisor knows, by their inode: the one thing that every copy of a descriptor has in
//! common, whoever has it and at whatever number.
//!
//! No descriptor is ever taken out of the program: a usual container's seccomp profile refuses `pidfd_getfd`. Instead the
//! supervisor makes every internet socket itself and puts it into the program. Of what it makes it keeps a copy only
//! as long as it needs one, for a copy keeps the file open: of a socket that is undecided, of a listener's half (to take
//! connections out of it), of a datagram socket's half. Of a connection it keeps the name alone: its end must be the
//! program's `close`. When a copy is the last one, [`crate::sweep`] finds out.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zt_intercept::Fd;
use zt_socket_rpc::Name;
use zt_socket_rpc::table::Table;

use crate::relay::Owner;

/// A new connection may not be in the service's table yet.
const NEW: Duration = Duration::from_secs(60);
/// Entries below which nobody looks for dead ones.
const FEW: usize = 1024;

/// One socket of the program.
#[derive(Debug)]
pub(crate) struct Socket {
    /// On the LAN; `None` for a socket of the kernel that is undecided.
    pub(crate) name: Option<Name>,
    /// The supervisor's copy. None of connections.
    pub(crate) copy: Option<OwnedFd>,
    /// What stands between a datagram socket and its service.
    pub(crate) relay: Option<Owner>,
    /// What the operations remember of a connection.
    pub(crate) marks: AtomicU8,
    /// The failure of a connection has been told.
    pub(crate) is_told: AtomicBool,
    /// The supervisor has made it, and the program has changed nothing about it that the service must know.
    is_untouched: AtomicBool,
    /// Where it was last seen: a process, and its number there.
    seen: AtomicU64,
    made: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Those with copies, which somebody looks at often.
    kept: HashMap<u64, Arc<Socket>>,
    /// The others, of which there may be many, some of them dead.
    connections: HashMap<u64, Arc<Socket>>,
    /// How many connections there may be before the dead ones are looked for.
    limit: usize,
}

impl Socket {
    /// An undecided socket of the kernel.
    pub(crate) fn native(copy: OwnedFd) -> Self {
        Self::new(None, Some(copy), 0)
    }

    /// A datagram socket: the program's end.
    pub(crate) fn datagram(name: Name, outlet: OwnedFd, relay: Owner) -> Self {
        Self {
            relay: Some(relay),
            ..Self::new(Some(name), Some(outlet), 0)
        }
    }

    /// A connection, of which there is no copy.
    pub(crate) fn connection(name: Name, marks: u8) -> Self {
        Self::new(Some(name), None, marks)
    }

    /// A half of a pair that is worked on later.
    pub(crate) fn kept(name: Name, copy: OwnedFd) -> Self {
        Self::new(Some(name), Some(copy), 0)
    }

    fn new(name: Option<Name>, copy: Option<OwnedFd>, marks: u8) -> Self {
        Self {
            name,
            copy,
            relay: None,
            marks: AtomicU8::new(marks),
            is_told: AtomicBool::new(false),
            is_untouched: AtomicBool::new(false),
            seen: AtomicU64::new(0),
            made: Instant::now(),
        }
    }

    /// The number that the operations work on: of the supervisor's copy, or of the service's framed half.
    pub(crate) fn fd(&self) -> Option<Fd> {
        let channel = self.relay.as_ref().map(|relay| relay.channel.as_raw_fd());
        channel.or_else(|| self.copy.as_ref().map(OwnedFd::as_raw_fd))
    }

    /// A socket of the kernel that the program is about to get.
    pub(crate) fn untouched(copy: OwnedFd) -> Self {
        Self {
            is_untouched: AtomicBool::new(true),
            ..Self::native(copy)
        }
    }

    /// Whether it is as the kernel has made it; never again from now on.
    pub(crate) fn take_untouched(&self) -> bool {
        self.is_untouched.swap(false, Ordering::Relaxed)
    }

    /// What the operations remember.
    pub(crate) fn marks(&self) -> u8 {
        self.marks.load(Ordering::Relaxed)
    }

    /// Notes where it is.
    pub(crate) fn is_at(&self, process: i32, number: Fd) {
        let place = u64::from(process.cast_unsigned()) << 32 | u64::from(number.cast_unsigned());
        self.seen.store(place, Ordering::Relaxed);
    }

    /// Where it was last: a process, and its number there.
    pub(crate) fn place(&self) -> (i32, Fd) {
        let place = self.seen.load(Ordering::Relaxed);
        ((place >> 32) as i32, place as Fd)
    }
}

impl Sockets {
    pub(crate) fn get(&self, inode: u64) -> Option<Arc<Socket>> {
        let known = self.lock();
        let kept = known.kept.get(&inode);
        kept.or_else(|| known.connections.get(&inode)).cloned()
    }

    /// Adds a socket; `table` tells which connections still live.
    pub(crate) fn add(&self, inode: u64, socket: Arc<Socket>, table: Option<Table<'_>>) {
        let mut known = self.lock();
        if socket.copy.is_some() {
            known.connections.remove(&inode);
            known.kept.insert(inode, socket);
            return;
        }
        if known.connections.len() >= known.limit.max(FEW)
            && let Some(table) = table
        {
            known
                .connections
                .retain(|_, socket| socket.may_live(&table));
            known.limit = 2 * known.connections.len();
        }
        known.connections.insert(inode, socket);
    }

    /// Forgets a socket, and closes its copy with the last use of it.
    pub(crate) fn forget(&self, inode: u64) {
        let forgotten = {
            let mut known = self.lock();
            (known.kept.remove(&inode), known.connections.remove(&inode))
        };
        drop(forgotten);
    }

    /// Forgets the undecided sockets that were last seen in a process.
    pub(crate) fn forget_undecided(&self, process: i32) {
        self.lock()
            .kept
            .retain(|_, socket| socket.name.is_some() || socket.place().0 != process);
    }

    /// Those whose copies are kept.
    pub(crate) fn kept(&self) -> Vec<(u64, Arc<Socket>)> {
        let known = self.lock();
        let kept = known.kept.iter();
        kept.map(|(&inode, socket)| (inode, Arc::clone(socket)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Socket {
    fn may_live(&self, table: &Table<'_>) -> bool {
        let is_listed = |name: Name| table.entry(name.id.tag()).is_some();
        self.made.elapsed() < NEW || self.name.is_some_and(is_listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use zt_socket_rpc::{Id, Kind};

    fn half() -> OwnedFd {
        UnixStream::pair().expect("pair").0.into()
    }

    #[test]
    fn a_connection_is_the_programs_to_close() {
        let name = Name {
            kind: Kind::Stream,
            id: Id::from_bytes([7; Id::LEN]),
        };
        let sockets = Sockets::default();
        sockets.add(5, Arc::new(Socket::connection(name, 0)), None);
        assert!(sockets.get(5).is_some_and(|socket| socket.fd().is_none()));
        assert!(sockets.kept().is_empty());
    }

    #[test]
    fn a_socket_is_where_it_was_last_seen() {
        let sockets = Sockets::default();
        sockets.add(5, Arc::new(Socket::native(half())), None);
        sockets.get(5).expect("added").is_at(1 << 21, 1 << 20);
        assert_eq!(sockets.get(5).expect("added").place(), (1 << 21, 1 << 20));
        assert_eq!(sockets.kept().len(), 1);
        sockets.forget(5);
        assert!(sockets.get(5).is_none());
    }
}
