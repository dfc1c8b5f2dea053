//! Connections of a program's own network, accepted on the listener that the program handed over.
//!
//! `accept` has no "do not wait" of its own, and a program that kept a copy of the listener shares its
//! flags: whatever the data plane did, such a program could make it wait. So each of these listeners
//! has a thread, which puts what it accepts into the program's queue by itself. A program that plays
//! with its listener stops that thread and nobody else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use zt_socket_rpc::{Accepted, Family, Origin};

use super::budget::Lease;
use super::descriptor;

/// Descriptors that a listener of this kind holds: itself, the one to stop it, a connection in hand.
pub(super) const DESCRIPTORS: usize = 3;
/// Until a shortage of descriptors is looked at again.
const PAUSE: Duration = Duration::from_millis(20);
const STACK: usize = 64 << 10;

/// A listener's thread, told to end when this is dropped. What it holds is closed by itself.
pub(super) struct Acceptor {
    stop: Arc<OwnedFd>,
}

impl Acceptor {
    /// Starts to move connections from `listener` to `queue`.
    pub(super) fn start(
        listener: OwnedFd,
        queue: Arc<OwnedFd>,
        family: Family,
        accepted: Arc<AtomicU64>,
        lease: Lease,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let accepting = Accepting {
            listener,
            queue,
            stop: stop.clone(),
            family,
            accepted,
            _lease: lease,
        };
        thread::Builder::new()
            .name("accepting".into())
            .stack_size(STACK)
            .spawn(move || accepting.run())?;
        Ok(Self { stop })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // The counter is 0: there is room for this.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }
}

/// What the thread owns.
struct Accepting {
    listener: OwnedFd,
    queue: Arc<OwnedFd>,
    stop: Arc<OwnedFd>,
    family: Family,
    accepted: Arc<AtomicU64>,
    _lease: Lease,
}

impl Accepting {
    fn run(self) {
        while self.wait(Some((&self.listener, PollFlags::IN)), None) {
            let goes_on = match descriptor::accept_kernel(&self.listener) {
                Ok((connection, peer, local)) => {
                    let record = Accepted {
                        origin: Origin::Kernel,
                        peer,
                        local,
                        family: self.family,
                    };
                    self.push(&record, &connection)
                }
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                        self.wait(None, Some(PAUSE))
                    }
                    // There is none any more, or it was gone before it could be taken.
                    Some(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => true,
                    // It does not listen any more.
                    _ => false,
                },
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Puts a connection into the program's queue. Says whether there will be more.
    fn push(&self, record: &Accepted, connection: &OwnedFd) -> bool {
        loop {
            let sent =
                descriptor::send_message(&self.queue, &record.emit(), Some(connection.as_fd()));
            let goes_on = match sent {
                Ok(()) => {
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    return true;
                }
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    self.wait(Some((&self.queue, PollFlags::OUT)), None)
                }
                Err(Errno::TOOMANYREFS | Errno::NOMEM) => self.wait(None, Some(PAUSE)),
                Err(Errno::INTR) => true,
                // Nobody listens any more.
                Err(_) => false,
            };
            if !goes_on {
                return false;
            }
        }
    }

    /// Waits for a descriptor, or for some time. Says whether to go on.
    fn wait(&self, what: Option<(&OwnedFd, PollFlags)>, time: Option<Duration>) -> bool {
        let stop = PollFd::new(&self.stop, PollFlags::IN);
        let mut fds: Vec<PollFd<'_>> = [stop]
            .into_iter()
            .chain(what.map(|(fd, flags)| PollFd::new(fd, flags)))
            .collect();
        let time = time.map(|time| Timespec {
            tv_sec: 0,
            tv_nsec: time.subsec_nanos().into(),
        });
        let waited = poll(&mut fds, time.as_ref());
        let stopped = fds.first().is_none_or(|stop| !stop.revents().is_empty());
        matches!(waited, Ok(_) | Err(Errno::INTR)) && !stopped
    }
}
