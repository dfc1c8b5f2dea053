//! UDP sockets: recognising ours, and moving one to the LAN at `bind`, `connect` or its first send there.
//!
//! A datagram socket of the LAN carries frames (module `frames`), so every data call on it must be known beforehand:
//! by a bit for its descriptor ([`crate::Hints`]), and then by its peer's name as every descriptor of ours.
//!
//! In split mode the kernel's own socket goes along to the service, whatever it is bound to. So one descriptor still
//! reaches both networks: a server on the wildcard address hears both, and a client may send to either.

use core::net::SocketAddr;

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{ConnectDatagram, Family, Id, Kind, OpenDatagram, Reply, Request};

use crate::Program;
use crate::home::Home;
use crate::kernel::{Errno, Fd, Kernel};
use crate::lan::{Lan, Mode, is_loopback};
use crate::native::Native;
use crate::outcome::{Outcome, Reason, Step};
use crate::own::UNIX_LEN;
use crate::sockaddr::{Given, family_of, parse, wildcard};

/// Half the send buffer that the largest datagram needs; the kernel doubles it.
const SEND_BUFFER: i32 = 106_496;
const AF_UNSPEC: u16 = 0;

impl<K: Kernel> Program<'_, K> {
    /// The id of a descriptor that carries frames. On any other it costs a look at a bit.
    #[inline]
    pub fn datagram(&self, fd: Fd) -> Option<Id> {
        if self.datagrams.may_have(fd) {
            self.own_datagram(fd)
        } else {
            None
        }
    }

    fn own_datagram(&self, fd: Fd) -> Option<Id> {
        match self.own(fd) {
            Some(name) if name.kind == Kind::Datagram => Some(name.id),
            _ => {
                self.datagrams.remove(fd);
                None
            }
        }
    }

    /// Notes a descriptor that this program was started with.
    pub fn adopt(&self, fd: Fd) {
        if self.own(fd).is_some_and(|name| name.kind == Kind::Datagram) {
            self.datagrams.add(fd);
        }
    }

    /// A send on any descriptor, with a destination if the call has one: the id if it has to be framed. A UDP socket
    /// that sends to the LAN for the first time is moved there.
    #[inline]
    pub fn sender(&self, fd: Fd, to: Option<&[u8]>) -> Outcome<Id> {
        match (self.datagram(fd), to) {
            (Some(id), _) => Outcome::Done(id),
            (None, None) => Outcome::PassThrough(Reason::NotOurs),
            (None, Some(to)) => self.first_send(fd, to).into(),
        }
    }

    /// Whether a datagram to this address is for the LAN, as far as it can be told without a system call.
    pub fn is_for_lan(&self, to: &[u8]) -> bool {
        parse(to).is_some_and(|to| match self.settings.mode() {
            Mode::Isolated => !is_loopback(to.address),
            Mode::Split => !self.is_off_lan(to.address),
        })
    }

    fn first_send(&self, fd: Fd, to: &[u8]) -> Step<Id> {
        let to = parse(to).ok_or(Reason::NotInternet)?;
        // A lookup at a resolver of the container's own network must not cost a system call.
        if self.settings.mode() == Mode::Split
            && let Some(table) = self.kernel.table()
            && !table.routes_to(to.address.ip())
            && !table.is_own(to.address.ip())
        {
            return Err(Reason::NotOnTheLan.into());
        }
        let family = self.udp_family(fd)?;
        let lan = self.lan_of_destination(to)?;
        self.move_to_lan(fd, family, to, None, &lan)
    }

    /// `connect` of an undecided UDP socket to the LAN.
    pub(super) fn connect_datagram(
        &self,
        fd: Fd,
        family: Family,
        to: Given,
        lan: &Lan<'_>,
    ) -> Step<i32> {
        self.move_to_lan(fd, family, to, Some(to.address), lan)
            .map(|_| 0)
    }

    fn move_to_lan(
        &self,
        fd: Fd,
        family: Family,
        to: Given,
        remote: Option<SocketAddr>,
        lan: &Lan<'_>,
    ) -> Step<Id> {
        if family == Family::V4 && to.family == Family::V6 {
            return Err(Reason::NotInternet.into());
        }
        let mut native = self.native_datagram(fd, family)?;
        if native.options.v6_only && to.address.is_ipv4() {
            return Err(Reason::NotInternet.into());
        }
        if !native.local.ip().is_unspecified() && self.is_connected(fd) && remote.is_some() {
            // The address may come from an earlier `connect` to the container's own network.
            self.kernel.disconnect(fd)?;
            native.local = self.local_address(fd, family);
        }
        if !native.local.ip().is_unspecified() {
            return Err(Reason::BoundElsewhere.into());
        }
        if matches!(lan, Lan::Away(_)) {
            return Err(Errno(ENETUNREACH).into());
        }
        let kernel = (self.settings.mode() == Mode::Split).then_some(fd);
        Ok(self.open_datagram(fd, &native, native.local, remote, kernel)?)
    }

    fn is_connected(&self, fd: Fd) -> bool {
        self.kernel.peer_name(fd, &mut [0; UNIX_LEN]).is_ok()
    }

    /// `bind` of an undecided UDP socket to anything but loopback.
    pub(super) fn bind_datagram(
        &self,
        fd: Fd,
        family: Family,
        address: &[u8],
        at: Given,
    ) -> Step<i32> {
        let native = self.native_datagram(fd, family)?;
        if native.local.port() != 0 {
            // Bound already: the kernel says `EINVAL`.
            return Err(Reason::NotUdp.into());
        }
        if self.settings.mode() == Mode::Isolated {
            return self.bind_datagram_to_lan(fd, &native, at.address);
        }
        if !at.address.ip().is_unspecified() {
            return match self.lan() {
                Lan::Up(table) if table.is_own(at.address.ip()) => {
                    self.bind_datagram_to_lan(fd, &native, at.address)
                }
                Lan::Up(_) => Err(Reason::NotOnTheLan.into()),
                Lan::Away(_) => Err(Reason::ServiceAway.into()),
            };
        }
        match self.bind_kernel(fd, address) {
            Ok(()) => {}
            // A privileged port and a normal user: the LAN's ports are not the kernel's to refuse.
            Err(Errno(EACCES)) if matches!(self.lan(), Lan::Up(_)) => {
                return self.bind_datagram_to_lan(fd, &native, at.address);
            }
            Err(errno) => return Err(errno.into()),
        }
        if matches!(self.lan_at_start(), Lan::Away(_)) {
            return Ok(0);
        }
        let shared = native.options.reuse_address || native.options.reuse_port;
        let local = wildcard(family, at.address.port());
        match self.open_datagram(fd, &native, local, None, Some(fd)) {
            // The service went away in between; the kernel's socket stands.
            Ok(_) | Err(Errno(ENETUNREACH | ETIMEDOUT)) => Ok(0),
            // The port is shared on this network with sockets that the LAN knows nothing of.
            Err(Errno(EADDRINUSE)) if shared => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    fn bind_datagram_to_lan(&self, fd: Fd, native: &Native, local: SocketAddr) -> Step<i32> {
        match self.open_datagram(fd, native, local, None, None) {
            Ok(_) => Ok(0),
            // What the kernel says of an address that this host does not have.
            Err(Errno(ENETUNREACH | ETIMEDOUT)) => Err(Errno(EADDRNOTAVAIL).into()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Puts a framed descriptor in the place of `fd`, which serves the network of `kernel` too.
    pub(super) fn open_datagram(
        &self,
        fd: Fd,
        native: &Native,
        local: SocketAddr,
        remote: Option<SocketAddr>,
        kernel: Option<Fd>,
    ) -> Result<Id, Errno> {
        let pair = self.new_pair(Kind::Datagram, SOCK_SEQPACKET, native.nonblocking)?;
        self.carry_over(fd, pair.ours);
        // A datagram of the largest size must fit, however small a buffer the program has chosen.
        if !matches!(self.int_option(pair.ours, SOL_SOCKET, SO_SNDBUF), Ok(size) if size >= 2 * SEND_BUFFER)
        {
            let _ = self.kernel.set_option(
                pair.ours,
                SOL_SOCKET,
                SO_SNDBUF,
                &SEND_BUFFER.to_ne_bytes(),
            );
        }
        let request = Request::OpenDatagram(OpenDatagram {
            id: pair.id,
            local,
            remote,
            family: native.family,
            kernel_socket: kernel.is_some(),
            options: native.options,
        });
        let both = [pair.service, kernel.unwrap_or(pair.service)];
        let descriptors = if kernel.is_some() {
            &both[..]
        } else {
            &both[..1]
        };
        let answer = self.exchange_local(&request, descriptors);
        self.kernel.close(pair.service);
        let bound = match answer {
            Ok(bound) => bound,
            Err(errno) => {
                self.kernel.close(pair.ours);
                return Err(errno);
            }
        };
        self.set_home(
            pair.ours,
            pair.id,
            Home {
                local: bound,
                family: native.family,
                backlog: 1,
                kernel: kernel.is_some(),
                v6_only: native.options.v6_only,
                reuse_address: native.options.reuse_address,
                reuse_port: native.options.reuse_port,
                instance: self.kernel.table().map_or(0, |table| table.instance()),
            },
        );
        // Before the swap, so that no call of another thread meets a framed descriptor without its bit; and after it,
        // for such a call may have found the bit stale.
        self.datagrams.add(fd);
        self.swap(pair.ours, fd, native.close_on_exec)?;
        self.datagrams.add(fd);
        Ok(pair.id)
    }

    /// `connect` on a framed descriptor.
    pub(super) fn connect_own_datagram(&self, fd: Fd, id: Id, address: &[u8]) -> Step<i32> {
        let id = if self.is_alive(fd) {
            id
        } else {
            self.send_again(fd, id)?
        };
        let remote = if family_of(address) == Some(AF_UNSPEC) {
            None
        } else {
            let entry = self.entry(id).ok_or(Errno(ENETDOWN))?;
            Some(destination(address, entry.family)?)
        };
        let request = Request::ConnectDatagram(ConnectDatagram { id, remote });
        self.exchange_local(&request, &[])?;
        Ok(0)
    }

    /// A request that is answered with a local address.
    fn exchange_local(&self, request: &Request, descriptors: &[Fd]) -> Result<SocketAddr, Errno> {
        let (reply, extra) = self.exchange(request, descriptors)?;
        self.close_all(&[extra]);
        match reply {
            Reply::Done { local } => Ok(local),
            Reply::Failed { errno } => Err(Errno(errno)),
            _ => Err(Errno(ENETUNREACH)),
        }
    }

    /// Whether a destination can only be reached by the container's own network.
    pub(super) fn is_off_lan(&self, to: SocketAddr) -> bool {
        let ip = to.ip();
        is_loopback(to)
            || self
                .kernel
                .table()
                .is_some_and(|table| !table.routes_to(ip) && !table.is_own(ip))
    }
}

/// The destination that a program gave, for a socket of this family.
pub(super) fn destination(address: &[u8], family: Family) -> Result<SocketAddr, Errno> {
    match (parse(address), family_of(address), family) {
        (Some(given), _, Family::V6) => Ok(given.address),
        (
            Some(Given {
                address,
                family: Family::V4,
            }),
            _,
            Family::V4,
        ) => Ok(address),
        (Some(_), ..) => Err(Errno(EAFNOSUPPORT)),
        (None, Some(AF_INET | AF_INET6) | None, _) => Err(Errno(EINVAL)),
        (None, _, Family::V4) => Err(Errno(EAFNOSUPPORT)),
        (None, _, Family::V6) => Err(Errno(EINVAL)),
    }
}
