//! A datagram socket whose service has ended, given to the service that is there now.
//!
//! What must be known for it is on the program's half ([`Home`]) and, as long as no newer table was mapped, in the table
//! of the service that ended: the options and the peer.

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{Entry, Id, State};

use crate::Program;
use crate::home::{Home, PAUSE_MS};
use crate::kernel::{Errno, Fd, Kernel, POLLHUP};
use crate::lan::Lan;
use crate::native::{Native, is_zero};

impl<K: Kernel> Program<'_, K> {
    /// Whether the service still holds its half. If so, an end of file is the program's own doing, by `shutdown`.
    pub fn is_alive(&self, fd: Fd) -> bool {
        matches!(self.kernel.wait(fd, 0, 0), Ok(events) if events & POLLHUP == 0)
    }

    /// A receive found the service gone. A blocking one waits for the next; another says that nothing is there, after
    /// a pause, for a dead pair is always ready.
    ///
    /// # Errors
    /// `EAGAIN`; `ENETDOWN` when there is nothing to wait for.
    pub fn receive_again(&self, fd: Fd, id: Id, dont_wait: bool) -> Result<Id, Errno> {
        let patient = !dont_wait
            && !self.kernel.is_nonblocking(fd)?
            && is_zero(&self.timeout(fd, SO_RCVTIMEO_OLD));
        loop {
            if let Some(id) = self.datagram_again(fd, id)? {
                return Ok(id);
            }
            self.kernel.sleep(PAUSE_MS);
            if !patient {
                return Err(Errno(EAGAIN));
            }
        }
    }

    /// A send found the service gone.
    ///
    /// # Errors
    /// `ENETUNREACH` while there is no service.
    pub fn send_again(&self, fd: Fd, id: Id) -> Result<Id, Errno> {
        self.datagram_again(fd, id)?.ok_or(Errno(ENETUNREACH))
    }

    /// The socket's new id, if there is a service to have it.
    fn datagram_again(&self, fd: Fd, id: Id) -> Result<Option<Id>, Errno> {
        let before = self.kernel.table().and_then(|table| table.entry(id.tag()));
        let home = self
            .home(fd)
            .or_else(|| before.as_ref().map(|entry| self.home_of_datagram(entry)))
            .ok_or(Errno(ENETDOWN))?;
        match self.lan() {
            // The same service, and it answers: it has left the network.
            Lan::Up(table) if table.instance() == home.instance => {
                if self.answering_instance() == Some(home.instance) {
                    return Err(Errno(ENETDOWN));
                }
                Ok(None)
            }
            // A port that is still taken becomes free, or the program waits for it as for the service.
            Lan::Up(_) => Ok(self.renew_datagram(fd, &home, before).ok()),
            Lan::Away(_) => Ok(None),
        }
    }

    fn renew_datagram(&self, fd: Fd, home: &Home, before: Option<Entry>) -> Result<Id, Errno> {
        let native = Native {
            kind: home.kind,
            family: home.family,
            local: home.local,
            nonblocking: self.kernel.is_nonblocking(fd)?,
            close_on_exec: self.kernel.is_close_on_exec(fd)?,
            options: before.map_or(home.options(), |entry| entry.options),
        };
        let remote = before
            .filter(|entry| entry.state == State::Connected)
            .and_then(|entry| entry.remote);
        let kernel = if home.kernel {
            Some(self.native_of_home(home)?)
        } else {
            None
        };
        let opened = self.open_datagram(fd, &native, home.local, remote, kernel);
        self.close_all(&[kernel]);
        opened
    }
}
