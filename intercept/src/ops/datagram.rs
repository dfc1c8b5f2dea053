//! UDP sockets: recognising ours, and moving one to the LAN at `bind`, `connect` or its first send there.
//!
//! A datagram socket of the LAN carries frames (module `frames`), so every data call on it must be known beforehand:
//! by a bit for its descriptor ([`crate::Hints`]), and then by its peer's name as every descriptor of ours.
//!
//! In split mode the kernel's own socket goes along to the service, whatever it is bound to. So one descriptor still
//! reaches both networks: a server on the wildcard address hears both, and a client may send to either.

use core::net::SocketAddr;

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{
    BindDatagram, ConnectDatagram, Entry, Family, Id, Kind, LAN_INTERFACE, Name, OpenDatagram,
    Options, Reach, Reply, Request, State, is_for_many,
};

use crate::Program;
use crate::home::Home;
use crate::kernel::{Errno, Fd, Kernel};
use crate::lan::{Lan, Mode, is_loopback};
use crate::native::Native;
use crate::outcome::{Outcome, Reason, Step};
use crate::own::UNIX_LEN;
use crate::sockaddr::{Given, family_of, parse, scope_of, wildcard};

/// Half the send buffer that the largest datagram needs; the kernel doubles it.
const SEND_BUFFER: i32 = 106_496;
const LOOPBACK_DEVICE: &[u8] = b"lo\0";

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
            Some(name) if name.kind.is_framed() => return Some(name.id),
            Some(Name {
                kind: Kind::Stream,
                id,
            }) => self.widen_if_up(fd, id),
            _ => {
                self.datagrams.remove(fd);
            }
        }
        None
    }

    /// Notes a descriptor that this program was started with.
    pub fn adopt(&self, fd: Fd) {
        // What another process has passed may have any past.
        self.kernel.take_untouched(fd);
        let needs_a_look = match self.own(fd).map(|name| name.kind) {
            Some(Kind::Stream) => self.has_buffer_of_attempt(fd),
            Some(kind) => kind.is_framed(),
            None => false,
        };
        if needs_a_look {
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
        let is_watched = self.settings.watches(to.address);
        if self.settings.mode() == Mode::Split
            && !is_watched
            && let Some(table) = self.kernel.table()
            && table.reach(to.address.ip(), scope_of(to.address)) == Reach::Own
        {
            return Err(Reason::NotOnTheLan.into());
        }
        let (family, kind) = self.datagram_socket(fd)?;
        let lan = match self.lan_of_destination(to) {
            Err(own) if is_watched => self.lan_of_question(own)?,
            lan => lan?,
        };
        self.move_to_lan(fd, (family, kind), to, None, &lan)
    }

    /// `connect` of an undecided UDP socket to the LAN.
    pub(super) fn connect_datagram(
        &self,
        fd: Fd,
        family: Family,
        kind: Kind,
        to: Given,
        lan: &Lan<'_>,
    ) -> Step<i32> {
        self.move_to_lan(fd, (family, kind), to, Some(to.address), lan)
            .map(|_| 0)
    }

    fn move_to_lan(
        &self,
        fd: Fd,
        (family, kind): (Family, Kind),
        to: Given,
        remote: Option<SocketAddr>,
        lan: &Lan<'_>,
    ) -> Step<Id> {
        if family == Family::V4 && to.family == Family::V6 {
            return Err(Reason::NotInternet.into());
        }
        let mut native = self.native_datagram(fd, family, kind)?;
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
            // What is for everybody is for the container's own network too.
            return Err(match is_for_many(to.address.ip()) {
                true if self.settings.mode() == Mode::Split => Reason::ServiceAway.into(),
                _ => Errno(ENETUNREACH).into(),
            });
        }
        if let Some(remote) = remote {
            self.may_connect(remote, &native.options)?;
        }
        let kernel = self.own_network(fd);
        Ok(self.open_datagram(fd, &native, native.local, remote, kernel)?)
    }

    /// Moves a socket that the program has not sent from, which serves the network of `kernel` too.
    pub(super) fn move_unbound(
        &self,
        fd: Fd,
        family: Family,
        kind: Kind,
        kernel: Option<Fd>,
    ) -> Step<Id> {
        let native = self.native_datagram(fd, family, kind)?;
        if !native.local.ip().is_unspecified() {
            return Err(Reason::BoundElsewhere.into());
        }
        Ok(self.open_datagram_as(
            fd,
            &native,
            native.local,
            None,
            kernel,
            native.local.port() == 0,
        )?)
    }

    /// The socket that serves the container's own network: all of it, or in isolated mode only what is not for the LAN.
    pub(super) fn own_network(&self, fd: Fd) -> Option<Fd> {
        match self.settings.mode() {
            Mode::Split => Some(fd),
            Mode::Isolated => self
                .kernel
                .set_option(fd, SOL_SOCKET, SO_BINDTODEVICE, LOOPBACK_DEVICE)
                .ok()
                .map(|()| fd),
        }
    }

    /// An ICMP socket that the kernel has refused to this user, for the LAN alone, in the place of `fd`.
    ///
    /// # Errors
    /// The service is away or has refused it.
    pub fn open_echo(&self, fd: Fd) -> Result<(), Errno> {
        let family = match self.int_option(fd, SOL_SOCKET, SO_DOMAIN) {
            Ok(domain) if domain == i32::from(AF_INET6) => Family::V6,
            _ => Family::V4,
        };
        if matches!(self.lan_at_start(), Lan::Away(_)) {
            return Err(Errno(EACCES));
        }
        let native = Native {
            kind: Kind::Echo,
            family,
            local: wildcard(family, 0),
            nonblocking: self.kernel.is_nonblocking(fd)?,
            close_on_exec: self.kernel.is_close_on_exec(fd)?,
            options: Options::default(),
        };
        self.open_datagram_as(fd, &native, native.local, None, None, true)
            .map(drop)
    }

    fn is_connected(&self, fd: Fd) -> bool {
        self.kernel.peer_name(fd, &mut [0; UNIX_LEN]).is_ok()
    }

    /// `bind` of an undecided UDP socket to anything but loopback.
    pub(super) fn bind_datagram(
        &self,
        fd: Fd,
        family: Family,
        kind: Kind,
        address: &[u8],
        at: Given,
    ) -> Step<i32> {
        let native = self.native_datagram(fd, family, kind)?;
        if native.local.port() != 0 {
            // Bound already: the kernel says `EINVAL`.
            return Err(Reason::NotUdp.into());
        }
        let ip = at.address.ip();
        let isolated = self.settings.mode() == Mode::Isolated;
        if isolated && matches!(self.lan_at_start(), Lan::Away(_)) {
            // What the kernel says of an address that this host does not have.
            return Err(Errno(EADDRNOTAVAIL).into());
        }
        // Of the addresses of many, that of a group on the LAN alone and its broadcast address are only the LAN's.
        let is_both = ip.is_unspecified()
            || !isolated && is_for_many(ip) && scope_of(at.address) != LAN_INTERFACE;
        if !is_both {
            return match self.lan() {
                _ if isolated => self.bind_datagram_to_lan(fd, &native, at.address),
                Lan::Up(table)
                    if table.is_own(ip)
                        || table.is_broadcast(ip)
                        || scope_of(at.address) == LAN_INTERFACE =>
                {
                    self.bind_datagram_to_lan(fd, &native, at.address)
                }
                Lan::Up(_) => Err(Reason::NotOnTheLan.into()),
                Lan::Away(_) => Err(Reason::ServiceAway.into()),
            };
        }
        let kernel = self.own_network(fd);
        if kernel.is_none() {
            return self.bind_datagram_to_lan(fd, &native, at.address);
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
        let local = if ip.is_unspecified() {
            wildcard(family, at.address.port())
        } else {
            at.address
        };
        match self.open_datagram(fd, &native, local, None, kernel) {
            Ok(_) => Ok(0),
            // The service went away in between; the kernel's socket stands.
            Err(Errno(ENETUNREACH | ETIMEDOUT)) if !isolated => Ok(0),
            // The port is shared on this network with sockets that the LAN knows nothing of.
            Err(Errno(EADDRINUSE)) if shared && !isolated => Ok(0),
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

    /// `bind` on a descriptor of ours: of a datagram socket that was not bound yet.
    pub(super) fn bind_own_datagram(&self, fd: Fd, own: Name, at: Given) -> Step<i32> {
        let entry = self.entry(own.id).filter(|_| own.kind.is_framed());
        let is_unbound = entry.is_some_and(|entry| {
            entry.state == State::Bound && entry.local.is_none_or(|local| local.port() == 0)
        });
        if !is_unbound {
            // Bound or connected already.
            return Err(Errno(EINVAL).into());
        }
        let request = Request::BindDatagram(BindDatagram {
            id: own.id,
            local: at.address,
        });
        let bound = self.exchange_local(&request, &[])?;
        if let Some(entry) = entry {
            let local = Some(bound);
            let home = self.home_of_datagram(&Entry { local, ..entry });
            self.set_home(fd, own.id, home);
        }
        Ok(0)
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
        self.open_datagram_as(fd, native, local, remote, kernel, false)
    }

    fn open_datagram_as(
        &self,
        fd: Fd,
        native: &Native,
        local: SocketAddr,
        remote: Option<SocketAddr>,
        kernel: Option<Fd>,
        unbound: bool,
    ) -> Result<Id, Errno> {
        let pair = self.new_pair(native.kind, SOCK_SEQPACKET, native.nonblocking)?;
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
            kind: native.kind,
            local,
            remote,
            family: native.family,
            kernel_socket: kernel.is_some(),
            unbound,
            isolated: self.settings.mode() == Mode::Isolated,
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
        // It can be set once only, and where it will be is not known yet.
        if !unbound {
            let home = self.home_of_datagram(&Entry {
                kind: native.kind,
                state: State::Bound,
                family: native.family,
                errno: 0,
                local: Some(bound),
                remote: None,
                options: native.options,
            });
            let kernel = kernel.is_some();
            self.set_home(pair.ours, pair.id, Home { kernel, ..home });
        }
        // Before the swap, so that no call of another thread meets a framed descriptor without its bit; and after it,
        // for such a call may have found the bit stale.
        self.datagrams.add(fd);
        self.swap(pair.ours, fd, native.close_on_exec)?;
        self.note(self.datagrams, fd);
        Ok(pair.id)
    }

    /// The home of a socket with this entry.
    pub(super) fn home_of_datagram(&self, entry: &Entry) -> Home {
        let local = entry.local.unwrap_or(wildcard(entry.family, 0));
        let ip = local.ip();
        Home {
            local,
            family: entry.family,
            backlog: 1,
            kernel: ip.is_unspecified() || ip.is_multicast(),
            kind: entry.kind,
            v6_only: entry.options.v6_only,
            reuse_address: entry.options.reuse_address,
            reuse_port: entry.options.reuse_port,
            instance: self.kernel.table().map_or(0, |table| table.instance()),
        }
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
            let remote = destination(address, entry.family)?;
            self.may_connect(remote, &entry.options)?;
            Some(remote)
        };
        let request = Request::ConnectDatagram(ConnectDatagram { id, remote });
        self.exchange_local(&request, &[])?;
        Ok(0)
    }

    fn may_connect(&self, remote: SocketAddr, options: &Options) -> Result<(), Errno> {
        if self.is_broadcast(remote.ip()) && !options.broadcast {
            Err(Errno(EACCES))
        } else {
            Ok(())
        }
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
        is_loopback(to)
            || self
                .kernel
                .table()
                .is_some_and(|table| table.reach(to.ip(), scope_of(to)) == Reach::Own)
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
