//! `accept`, `accept4`: one record from the service, with the connection attached.

use zt_socket_rpc::linux::{ECONNABORTED, ECONNRESET, EINVAL, SOCK_CLOEXEC, SOCK_NONBLOCK};
use zt_socket_rpc::{Accepted, Kind, State};

use crate::Program;
use crate::kernel::{Errno, Fd, Kernel, Received, Waiting};
use crate::outcome::{Outcome, Reason, Step};
use crate::sockaddr::{SockAddr, encode};

/// An accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its descriptor.
    pub fd: Fd,
    /// The address of the peer, as the listener's family shows it.
    pub peer: SockAddr,
}

impl<K: Kernel> Program<'_, K> {
    /// `accept4(fd, flags)`; `accept` is the same with no flags.
    pub fn accept(&self, fd: Fd, flags: i32) -> Outcome<Connection> {
        match self.own(fd) {
            None => Outcome::PassThrough(Reason::NotOurs),
            Some(name) if name.kind != Kind::Listener => Outcome::Fail(Errno(EINVAL)),
            Some(_) if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 => Outcome::Fail(Errno(EINVAL)),
            Some(name) => {
                // Without this look an accept on a socket that is only bound would wait for ever.
                let bound = self
                    .kernel
                    .table()
                    .and_then(|table| table.entry(name.id.tag()));
                if bound.is_some_and(|entry| entry.state == State::Bound) {
                    return Outcome::Fail(Errno(EINVAL));
                }
                self.listeners.add(fd);
                self.take_connection(fd, flags).into()
            }
        }
    }

    fn take_connection(&self, fd: Fd, flags: i32) -> Step<Connection> {
        // As Linux does, before anything is taken out of the queue.
        self.kernel.check_room(fd)?;
        let mut record = [0; Accepted::LEN + 1];
        let mut descriptors = Received::default();
        let close_on_exec = flags & SOCK_CLOEXEC != 0;
        let len = loop {
            let waiting = Waiting::AsDescriptor;
            match self.kernel.receive_message(
                fd,
                &mut record,
                &mut descriptors,
                close_on_exec,
                waiting,
            ) {
                // The service has ended, or the program has shut the listener down.
                Ok(0) | Err(Errno(ECONNRESET)) => self.listen_again(fd)?,
                received => break received?,
            }
        };
        let (Some(Ok(accepted)), [Some(connection), None]) =
            (record.get(..len).map(Accepted::parse), descriptors)
        else {
            self.close_all(&descriptors);
            return Err(Errno(ECONNABORTED).into());
        };
        if flags & SOCK_NONBLOCK != 0
            && let Err(errno) = self.kernel.set_nonblocking(connection, true)
        {
            self.kernel.close(connection);
            return Err(errno.into());
        }
        self.carry_buffers_over(fd, connection);
        self.registrations.forget(connection);
        Ok(Connection {
            fd: connection,
            peer: encode(accepted.peer, accepted.family),
        })
    }
}
