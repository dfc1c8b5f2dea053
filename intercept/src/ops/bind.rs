//! `bind`: an address of the LAN, or a port that only the LAN may have.

use core::net::SocketAddr;

use zt_socket_rpc::linux::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, SO_BINDTODEVICE, SOCK_SEQPACKET, SOL_SOCKET,
};
use zt_socket_rpc::{Bind, Kind, Reply, Request};

use crate::Program;
use crate::kernel::{Errno, Fd, Kernel};
use crate::lan::{Lan, Mode, is_loopback};
use crate::outcome::{Outcome, Reason, Step};
use crate::sockaddr::{Given, parse};

/// How long a port that is in use may take to become free.
const RELEASE_PAUSES_MS: [i32; 40] = {
    let mut pauses = [1; 40];
    let mut late = 20;
    // A busy machine.
    while late < pauses.len() {
        pauses[late] = 10;
        late += 1;
    }
    pauses
};

impl<K: Kernel> Program<'_, K> {
    /// `bind(fd, address)`.
    pub fn bind(&self, fd: Fd, address: &[u8]) -> Outcome {
        self.kernel.take_untouched(fd);
        let Some(at) = parse(address) else {
            return Outcome::PassThrough(Reason::NotInternet);
        };
        self.bind_internet(fd, address, at).into()
    }

    fn bind_internet(&self, fd: Fd, address: &[u8], at: Given) -> Step<i32> {
        if let Some(own) = self.own(fd) {
            return self.bind_own_datagram(fd, own, at);
        }
        if is_loopback(at.address) {
            return Err(Reason::Loopback.into());
        }
        if let Ok((family, kind)) = self.datagram_socket(fd) {
            return self.bind_datagram(fd, family, kind, address, at);
        }
        let wildcard = at.address.ip().is_unspecified();
        if wildcard && self.is_bound_to_lan(fd) {
            return self.bind_lan(fd, at.address);
        }
        if self.settings.mode() == Mode::Isolated && !(wildcard && self.confine(fd)) {
            return self.bind_lan(fd, at.address);
        }
        if !wildcard {
            return match self.lan() {
                Lan::Up(table) if table.is_own(at.address.ip()) => self.bind_lan(fd, at.address),
                Lan::Up(_) => Err(Reason::NotOnTheLan.into()),
                Lan::Away(_) => Err(Reason::ServiceAway.into()),
            };
        }
        match self.bind_kernel(fd, address) {
            Ok(()) => Ok(0),
            // A privileged port and a normal user: the LAN's ports are not the kernel's to refuse.
            Err(Errno(EACCES)) => match self.lan() {
                Lan::Up(_) => self.bind_lan(fd, at.address),
                Lan::Away(_) => Err(Errno(EACCES).into()),
            },
            Err(errno) => Err(errno.into()),
        }
    }

    /// In isolated mode: keeps what a kernel socket hears of the container's own network to its loopback. False where
    /// the kernel has that as a privilege (before Linux 5.7); such a socket is on the LAN only.
    pub(crate) fn confine(&self, fd: Fd) -> bool {
        self.kernel
            .set_option(fd, SOL_SOCKET, SO_BINDTODEVICE, b"lo\0")
            .is_ok()
    }

    /// Binds on the kernel's network. A listener that was handed over lives until the service has heard of its end; so
    /// a port that its program has just closed gets a moment to become free.
    pub(crate) fn bind_kernel(&self, fd: Fd, address: &[u8]) -> Result<(), Errno> {
        let mut bound = self.kernel.bind(fd, address);
        for pause in RELEASE_PAUSES_MS {
            if bound != Err(Errno(EADDRINUSE)) || !matches!(self.lan(), Lan::Up(_)) {
                break;
            }
            self.kernel.sleep(pause);
            bound = self.kernel.bind(fd, address);
        }
        bound
    }

    /// Binds on the LAN only: the descriptor becomes the program's half of a listener pair.
    fn bind_lan(&self, fd: Fd, local: SocketAddr) -> Step<i32> {
        let family = self.tcp_family(fd)?;
        let native = self.native(fd, family)?;
        if native.local.port() != 0 {
            // Bound already: the kernel says `EINVAL`.
            return Err(Reason::NotTcp.into());
        }
        let pair = self.new_pair(Kind::Listener, SOCK_SEQPACKET, native.nonblocking)?;
        self.carry_over(fd, pair.ours);
        let plugged = self.plug_listener(pair.ours);
        let request = Request::Bind(Bind {
            id: pair.id,
            local,
            family,
            options: native.options,
        });
        let reply = plugged.and_then(|()| self.exchange(&request, &[pair.service]));
        self.kernel.close(pair.service);
        let errno = match reply {
            Ok((Reply::Done { .. }, extra)) => {
                self.close_all(&[extra]);
                self.swap(pair.ours, fd, native.close_on_exec)?;
                self.note(self.listeners, fd);
                return Ok(0);
            }
            Ok((Reply::Failed { errno }, extra)) => {
                self.close_all(&[extra]);
                Errno(errno)
            }
            // What the kernel says of an address that this host does not have.
            _ => Errno(EADDRNOTAVAIL),
        };
        self.kernel.close(pair.ours);
        Err(errno.into())
    }
}
