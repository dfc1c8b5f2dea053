//! Closing what programs sent, where a slow close hurts nobody.
//!
//! The last close of a descriptor can wait: a TCP socket with `SO_LINGER` for as long as its program
//! said, a file of a network file system for its server. A program can attach such a descriptor to
//! anything it sends, so the data plane closes by itself only what is its own and known to hold nothing
//! unread; all else is closed by a thread that has nothing else to do, and starts when first needed.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, Shutdown};

/// Something to close, and what to do after.
struct Job {
    descriptor: OwnedFd,
    then: Option<Box<dyn FnOnce() + Send>>,
}

/// The way to the closing thread.
#[derive(Default)]
pub(super) struct Disposal {
    // broker ──descriptors──▶ closing thread; few, and dropping them here instead would be the harm.
    jobs_tx: Option<mpsc::Sender<Job>>,
}

impl Disposal {
    /// Closes a descriptor that a program chose.
    pub(super) fn dispose(&mut self, descriptor: OwnedFd) {
        self.send(Job {
            descriptor,
            then: None,
        });
    }

    /// Closes a descriptor, then does something that must come after.
    pub(super) fn dispose_then(
        &mut self,
        descriptor: OwnedFd,
        then: impl FnOnce() + Send + 'static,
    ) {
        self.send(Job {
            descriptor,
            then: Some(Box::new(then)),
        });
    }

    /// Closes a socket of ours that a program could write to: at once if nothing is unread in it.
    pub(super) fn hang_up(&mut self, socket: OwnedFd) {
        // From here on nothing can come in, so that what is seen below stays true.
        let _ = rustix::net::shutdown(&socket, Shutdown::Read);
        if has_unread(&socket) {
            self.dispose(socket);
        }
    }

    /// Waits until everything is closed that was sent.
    #[cfg(test)]
    pub(super) fn finish(&mut self) {
        if self.jobs_tx.is_some() {
            let (done_tx, done_rx) = mpsc::channel::<()>();
            let nothing = std::fs::File::open("/dev/null").unwrap();
            self.dispose_then(nothing.into(), move || drop(done_tx));
            done_rx.recv().unwrap_err();
        }
    }

    fn send(&mut self, job: Job) {
        let jobs_tx = self.jobs_tx.get_or_insert_with(start);
        if let Err(mpsc::SendError(job)) = jobs_tx.send(job) {
            // No thread is to be had: closing here is what is left.
            close(job);
        }
    }
}

fn start() -> mpsc::Sender<Job> {
    let (jobs_tx, jobs_rx) = mpsc::channel::<Job>();
    let closing = thread::Builder::new()
        .name("closing".into())
        .stack_size(64 << 10);
    if let Err(error) = closing.spawn(move || jobs_rx.into_iter().for_each(close)) {
        tracing::warn!(%error, "no thread to close programs' descriptors");
    }
    jobs_tx
}

fn close(job: Job) {
    drop(job.descriptor);
    if let Some(then) = job.then {
        then();
    }
}

/// Whether something can still be read from a socket that takes nothing more in.
fn has_unread(socket: &OwnedFd) -> bool {
    let mut byte = [0];
    let mut no_control = RecvAncillaryBuffer::default();
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let peeked = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut no_control,
        flags,
    );
    // A message without bytes looks like the end, but for the descriptors that it may carry.
    peeked.is_ok_and(|peeked| peeked.bytes > 0 || peeked.flags.contains(ReturnFlags::CTRUNC))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::super::descriptor::send_message;
    use super::*;

    #[test]
    fn only_a_socket_with_something_unread_takes_the_long_way() {
        for unread in [false, true] {
            let mut disposal = Disposal::default();
            let (ours, theirs) = UnixStream::pair().unwrap();
            if unread {
                (&theirs).write_all(b"x").unwrap();
            }
            disposal.hang_up(ours.into());
            assert_eq!(disposal.jobs_tx.is_some(), unread);
        }
    }

    #[test]
    fn an_empty_message_with_a_descriptor_is_something_unread() {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .unwrap();
        assert!(!has_unread(&ours));
        send_message(&theirs, b"", Some(theirs.as_fd())).unwrap();
        assert!(has_unread(&ours));
    }

    #[test]
    fn disposed_descriptors_are_closed_before_what_follows() {
        let mut disposal = Disposal::default();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut said, say) = UnixStream::pair().unwrap();
        disposal.dispose_then(ours.into(), move || drop(say));
        assert_eq!(said.read(&mut [0; 1]).unwrap(), 0);
        theirs.set_nonblocking(true).unwrap();
        assert_eq!((&theirs).read(&mut [0; 1]).unwrap(), 0);
    }
}
