//! `getsockname`, `getpeername`: true addresses instead of Unix names.

use zt_socket_rpc::State;
use zt_socket_rpc::linux::{AF_UNIX, ENOTCONN};

use crate::Program;
use crate::home::Home;
use crate::kernel::{Errno, Fd, Kernel};
use crate::outcome::{Outcome, Reason, Step};
use crate::own::{UNIX_LEN, own_name};
use crate::sockaddr::{SockAddr, encode, family_of, wildcard};

impl<K: Kernel> Program<'_, K> {
    /// `getsockname(fd)`.
    pub fn local_name_of(&self, fd: Fd) -> Outcome<SockAddr> {
        self.local_name_step(fd).into()
    }

    /// `getpeername(fd)`.
    pub fn peer_name_of(&self, fd: Fd) -> Outcome<SockAddr> {
        self.peer_name_step(fd).into()
    }

    fn local_name_step(&self, fd: Fd) -> Step<SockAddr> {
        // The peer's name first: on a foreign descriptor that one call is all it costs.
        let name = self.own(fd).ok_or(Reason::NotOurs)?;
        // The program's half of a pair has no name, or a home, or that of the other program's half: whatever has
        // another one is not ours.
        let mut buffer = [0; UNIX_LEN];
        let len = self.kernel.local_name(fd, &mut buffer)?;
        let unnamed = len == 2 && family_of(&buffer) == Some(AF_UNIX);
        let address = buffer.get(..len.min(UNIX_LEN)).unwrap_or_default();
        if !unnamed && Home::from_address(address).is_none() && own_name(address).is_none() {
            return Err(Reason::NotOurs.into());
        }
        let entry = self.entry(name.id).ok_or(Errno(ENOTCONN))?;
        Ok(encode(
            entry.local.unwrap_or(wildcard(entry.family, 0)),
            entry.family,
        ))
    }

    fn peer_name_step(&self, fd: Fd) -> Step<SockAddr> {
        let name = self.own(fd).ok_or(Reason::NotOurs)?;
        let entry = self.entry(name.id).ok_or(Errno(ENOTCONN))?;
        match (entry.state, entry.remote) {
            // A peer without a port is none to Linux: that of an echo socket.
            (State::Connected, Some(remote)) if remote.port() != 0 => {
                Ok(encode(remote, entry.family))
            }
            _ => Err(Errno(ENOTCONN).into()),
        }
    }
}
