//! Where a listener or a datagram socket belongs, kept on its descriptor: so that it can be given to another instance
//! of the service.
//!
//! When the service ends, all that is left of a listener is the program's half of a dead pair. What must be known to
//! listen again is in the abstract name that the half itself is bound to; like the peer's name it goes along with
//! `fork`, `exec` and `dup`, and needs no table.

use core::net::SocketAddr;

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{
    ADDRESS_LEN, Family, Id, Kind, Listen, Name, Options, decode_address, encode_address,
};

use crate::Program;
use crate::kernel::{Errno, Fd, Kernel};
use crate::lan::Lan;
use crate::own::UNIX_LEN;

/// What `listen` was called on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) local: SocketAddr,
    pub(crate) family: Family,
    pub(crate) backlog: u16,
    /// On the container's own network too.
    pub(crate) kernel: bool,
    pub(crate) kind: Kind,
    pub(crate) v6_only: bool,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    /// The start of the service that has it.
    pub(crate) instance: u64,
}

/// The kind byte of a home, which no [`Name`] has.
const KIND: u8 = b'h';
const PREFIX: usize = Name::PREFIX.len();
const FLAGS: usize = PREFIX + 1 + Id::LEN;
const LEN: usize = FLAGS + 3 + size_of::<u64>() + ADDRESS_LEN;

/// Between two looks for the service.
pub(crate) const PAUSE_MS: i32 = 100;

impl Home {
    /// The `struct sockaddr_un` of a half. The id makes it one of a kind.
    fn to_address(self, id: Id) -> [u8; 2 + LEN] {
        let flags = u8::from(self.family == Family::V6)
            | u8::from(self.kernel) << 1
            | u8::from(self.v6_only) << 2
            | u8::from(self.reuse_address) << 3
            | u8::from(self.reuse_port) << 4
            | u8::from(self.kind == Kind::Echo) << 5
            | u8::from(self.kind == Kind::RawEcho) << 6
            | u8::from(self.kind == Kind::Listener) << 7;
        let mut address = [0; 2 + LEN];
        let parts = [
            &AF_UNIX.to_ne_bytes()[..],
            &Name::PREFIX,
            &[KIND],
            &id.to_bytes(),
            &[flags],
            &self.backlog.to_le_bytes(),
            &self.instance.to_le_bytes(),
            &encode_address(Some(self.local)),
        ];
        for (to, from) in address.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        address
    }

    /// Reads a half's own `struct sockaddr_un`.
    pub(crate) fn from_address(address: &[u8]) -> Option<Self> {
        let path: &[u8; LEN] = address
            .strip_prefix(&AF_UNIX.to_ne_bytes())?
            .try_into()
            .ok()?;
        let rest = path.strip_prefix(&Name::PREFIX)?.strip_prefix(&[KIND])?;
        let (&flags, rest) = rest.get(Id::LEN..)?.split_first()?;
        let (backlog, rest) = rest.split_first_chunk()?;
        let (instance, local) = rest.split_first_chunk()?;
        Some(Self {
            local: decode_address(local.try_into().ok()?).ok()??,
            family: if flags & 1 == 0 {
                Family::V4
            } else {
                Family::V6
            },
            backlog: u16::from_le_bytes(*backlog).max(1),
            kernel: flags & 2 != 0,
            kind: match flags >> 5 {
                0 => Kind::Datagram,
                1 => Kind::Echo,
                2 => Kind::RawEcho,
                4 => Kind::Listener,
                _ => return None,
            },
            v6_only: flags & 4 != 0,
            reuse_address: flags & 8 != 0,
            reuse_port: flags & 16 != 0,
            instance: u64::from_le_bytes(*instance),
        })
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            v6_only: self.v6_only,
            reuse_address: self.reuse_address,
            reuse_port: self.reuse_port,
            ..Options::default()
        }
    }
}

impl<K: Kernel> Program<'_, K> {
    /// Writes the home onto the program's half. Without it the listener works until its service ends.
    pub(crate) fn set_home(&self, ours: Fd, id: Id, home: Home) {
        let _ = self.kernel.bind(ours, &home.to_address(id));
    }

    pub(crate) fn home(&self, fd: Fd) -> Option<Home> {
        let mut buffer = [0; UNIX_LEN];
        let len = self.kernel.local_name(fd, &mut buffer).ok()?;
        Home::from_address(buffer.get(..len)?)
    }

    /// Gives a listener whose service has ended to the service that is there now. A blocking one waits for it; another
    /// says that nothing is to be accepted, after a pause, for a dead pair is always ready.
    pub(crate) fn listen_again(&self, fd: Fd) -> Result<(), Errno> {
        let home = self.home(fd).ok_or(Errno(ENETDOWN))?;
        let nonblocking = self.kernel.is_nonblocking(fd)?;
        let close_on_exec = self.kernel.is_close_on_exec(fd)?;
        loop {
            match self.lan() {
                // The same service, and it answers: so it was the program that shut the listener down.
                Lan::Up(table) if table.instance() == home.instance => {
                    if self.answering_instance() == Some(home.instance) {
                        return Err(Errno(EINVAL));
                    }
                }
                Lan::Up(table) => {
                    let home = Home {
                        instance: table.instance(),
                        ..home
                    };
                    if self.renew(fd, &home, nonblocking, close_on_exec).is_ok() {
                        return Ok(());
                    }
                }
                Lan::Away(_) => {}
            }
            self.kernel.pause(PAUSE_MS)?;
            if nonblocking {
                return Err(Errno(EAGAIN));
            }
        }
    }

    /// A listener pair in the place of one that has ended.
    pub(crate) fn renew(
        &self,
        fd: Fd,
        home: &Home,
        nonblocking: bool,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        let kernel = if home.kernel {
            Some(self.native_of_home(home)?)
        } else {
            None
        };
        let renewed = self.renew_pair(fd, home, kernel, nonblocking, close_on_exec);
        self.close_all(&[kernel]);
        renewed
    }

    fn renew_pair(
        &self,
        fd: Fd,
        home: &Home,
        kernel: Option<Fd>,
        nonblocking: bool,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        let (id, ours) = self.offer_listener(fd, nonblocking, kernel, |id| Listen {
            id,
            local: home.local,
            family: home.family,
            backlog: home.backlog,
            kernel_listener: kernel.is_some(),
            options: home.options(),
        })?;
        self.set_home(ours, id, *home);
        self.swap(ours, fd, close_on_exec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_survives_the_round_trip_and_is_no_name_of_a_service() {
        let home = Home {
            local: "[::]:443".parse().unwrap(),
            family: Family::V6,
            backlog: 511,
            kernel: true,
            kind: Kind::Listener,
            v6_only: false,
            reuse_address: true,
            reuse_port: false,
            instance: 0x1234_5678_9abc_def0,
        };
        let address = home.to_address(Id::from_bytes([7; Id::LEN]));
        assert_eq!(Home::from_address(&address), Some(home));
        assert_eq!(crate::own::own_name(&address), None);
        for cut in 0..address.len() {
            assert_eq!(Home::from_address(&address[..cut]), None);
        }
    }
}
