//! UDP sockets of programs: opened, connected, woken, closed.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use zt_netstack::{
    ListenAddr, Sharing, UdpBindError, UdpConnectError, UdpEvent, UdpFailure, UdpId,
};
use zt_socket_rpc::{ConnectDatagram, Entry, Kind as SocketKind, OpenDatagram, Options, State};

use super::datagram::{Datagram, Means, SCRATCH, Side, Verdict, for_kernel, unmapped};
use super::requests::Answer;
use super::{Broker, Socket, Turn, descriptor, native};
use crate::engine::reactor::{Interest, Kind, Ready};
use crate::engine::slots::Key;

impl Broker {
    pub(super) fn open_datagram(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        open: &OpenDatagram,
        half: OwnedFd,
        kernel: Option<OwnedFd>,
    ) -> Answer {
        if self.by_id.contains_key(&open.id) || self.table.reader().entry(open.id.tag()).is_some() {
            self.counters.wrong_id += 1;
            return Answer::None;
        }
        let Ok(lease) = turn.budget.take(uid, 1 + usize::from(kernel.is_some())) else {
            self.counters.refused += 1;
            return Answer::Failed(Errno::NOBUFS);
        };
        let taken = self.take_udp_port(turn, open, kernel.as_ref());
        let (host, port) = match taken {
            Ok((host, at)) => (host, at.port()),
            Err(UdpBindError::AddrInUse) => return Answer::Failed(Errno::ADDRINUSE),
            Err(_) => return Answer::Failed(Errno::ADDRNOTAVAIL),
        };
        // The address as the program gave it, with the port that was chosen.
        let bound = SocketAddr::new(open.local.ip(), port);
        if let Some(kernel) = &kernel
            && bound_port(kernel) == 0
        {
            // So that both networks see one port, if this one is free there; else the kernel chooses.
            let _ = rustix::net::bind(kernel, &for_kernel(bound, open.family));
        }
        if let Some(kernel) = &kernel {
            native::prepare(kernel, open.family);
        }
        let entry = Entry {
            kind: SocketKind::Datagram,
            state: State::Bound,
            family: open.family,
            errno: 0,
            local: Some(bound),
            remote: None,
            options: open.options,
        };
        let key = self.datagrams.next_key();
        let mut watched = turn
            .poller
            .add(&half, self.token(Kind::Datagram, key), Interest::Edge);
        if let (Ok(()), Some(kernel)) = (&watched, &kernel) {
            watched = turn.poller.add(
                kernel,
                self.token(Kind::KernelDatagram, key),
                Interest::Edge,
            );
        }
        if watched.is_err() || self.table.insert(open.id.tag(), &entry).is_err() {
            turn.poller.remove(&half);
            if let Some(kernel) = &kernel {
                turn.poller.remove(kernel);
            }
            turn.host.udp_close(host);
            return Answer::Failed(Errno::NOBUFS);
        }
        self.by_id.insert(open.id, Socket::Datagram(key));
        self.by_udp.insert(host, key);
        self.datagrams.insert(Datagram {
            fd: half,
            id: open.id,
            host,
            kernel_ready: kernel.is_some(),
            kernel,
            entry,
            bound,
            side: None,
            readable: false,
            ending: false,
            host_ready: true,
            blocked: false,
            host_full: false,
            hung_up: false,
            queued: false,
            unsent: None,
            undelivered: None,
            _lease: lease,
        });
        self.counters.datagram_sockets += 1;
        if let Some(remote) = open.remote
            && let Err(errno) = self.connect_udp(turn, key, Some(remote))
        {
            self.close_datagram(turn, key);
            return Answer::Failed(errno);
        }
        self.enqueue(Socket::Datagram(key));
        Answer::Done(bound)
    }

    /// Takes a port of the host: the one asked for, else the one that the program's own socket has, else any. A socket
    /// that was closed just now may still hold it, for a close is not heard before a request that follows it.
    fn take_udp_port(
        &mut self,
        turn: &mut Turn<'_>,
        open: &OpenDatagram,
        kernel: Option<&OwnedFd>,
    ) -> Result<(UdpId, SocketAddr), UdpBindError> {
        let sharing = sharing(&open.options);
        let wanted = |port| {
            let local = SocketAddr::new(open.local.ip(), port);
            // For a host, `::` alone is IPv6 only, and no address at all is both families.
            match ListenAddr::from(local) {
                both @ ListenAddr { ip: None, .. } if open.options.v6_only => ListenAddr {
                    ip: Some(local.ip()),
                    ..both
                },
                wanted => wanted,
            }
        };
        let asked = open.local.port();
        let preferred = match (asked, kernel) {
            (0, Some(kernel)) => bound_port(kernel),
            _ => asked,
        };
        match turn.host.udp_bind(wanted(preferred), sharing) {
            Err(UdpBindError::AddrInUse) => {}
            result => return result,
        }
        let closed: Vec<Key> = self
            .datagrams
            .iter()
            .filter(|(_, socket)| {
                socket.bound.port() == preferred && descriptor::is_hung_up(&socket.fd)
            })
            .map(|(key, _)| key)
            .collect();
        closed
            .into_iter()
            .for_each(|key| self.close_datagram(turn, key));
        match turn.host.udp_bind(wanted(preferred), sharing) {
            Err(UdpBindError::AddrInUse) if asked == 0 => turn.host.udp_bind(wanted(0), sharing),
            result => result,
        }
    }

    pub(super) fn connect_datagram(
        &mut self,
        turn: &mut Turn<'_>,
        connect: &ConnectDatagram,
    ) -> Answer {
        let Some(&Socket::Datagram(key)) = self.by_id.get(&connect.id) else {
            self.counters.wrong_id += 1;
            return Answer::None;
        };
        // What was sent before goes where it was sent to.
        if let Some(socket) = self.datagrams.get_mut(key) {
            socket.readable = true;
        }
        self.run_datagram(turn, key);
        match self.connect_udp(turn, key, connect.remote) {
            Ok(local) => Answer::Done(local),
            Err(errno) => Answer::Failed(errno),
        }
    }

    fn connect_udp(
        &mut self,
        turn: &mut Turn<'_>,
        key: Key,
        remote: Option<SocketAddr>,
    ) -> Result<SocketAddr, Errno> {
        let socket = self.datagrams.get_mut(key).ok_or(Errno::BADF)?;
        let table = self.table.reader();
        let side = remote.map(|remote| socket.side_of(table, remote));
        let local = match (side, remote, &socket.kernel) {
            (Some(Side::Lan), Some(remote), _) => turn
                .host
                .udp_connect(socket.host, Some(remote))
                .map_err(connect_errno)?,
            (Some(Side::Kernel), Some(remote), Some(kernel)) => {
                rustix::net::connect(kernel, &for_kernel(remote, socket.entry.family))?;
                local_of(kernel).unwrap_or(socket.bound)
            }
            _ => socket.bound,
        };
        if side != Some(Side::Lan) {
            // It was not connected, or it is still there: nothing else can go wrong.
            let _ = turn.host.udp_connect(socket.host, None);
        }
        if side != Some(Side::Kernel)
            && socket.side == Some(Side::Kernel)
            && let Some(kernel) = &socket.kernel
        {
            rustix::net::connect_unspec(kernel)?;
        }
        socket.side = side;
        socket.entry.state = if remote.is_some() {
            State::Connected
        } else {
            State::Bound
        };
        socket.entry.remote = remote;
        socket.entry.local = Some(local);
        socket.entry.errno = 0;
        self.table.update(socket.id.tag(), &socket.entry);
        Ok(local)
    }

    pub(super) fn datagram_ready(&mut self, turn: &mut Turn<'_>, key: Key, ready: Ready) {
        let token = self.token(Kind::Datagram, key);
        let Some(socket) = self.datagrams.get_mut(key) else {
            return;
        };
        socket.readable |= ready.readable;
        socket.ending |= ready.ending;
        socket.hung_up |= ready.hung_up;
        if ready.writable && socket.blocked {
            socket.blocked = false;
            turn.poller.change(&socket.fd, token, Interest::Edge);
        }
        self.enqueue(Socket::Datagram(key));
    }

    pub(super) fn kernel_datagram_ready(&mut self, key: Key) {
        if let Some(socket) = self.datagrams.get_mut(key) {
            socket.kernel_ready = true;
            self.enqueue(Socket::Datagram(key));
        }
    }

    /// Something happened to a socket of the host.
    pub(super) fn udp_event(&mut self, turn: &mut Turn<'_>, id: UdpId, event: UdpEvent) {
        let Some(&key) = self.by_udp.get(&id) else {
            return;
        };
        match event {
            UdpEvent::Readable => {
                if let Some(socket) = self.datagrams.get_mut(key) {
                    socket.host_ready = true;
                }
            }
            UdpEvent::Writable => {}
            UdpEvent::Failed { peer, failure } => {
                let errno = match failure {
                    UdpFailure::Refused => Errno::CONNREFUSED,
                    UdpFailure::Unreachable => Errno::HOSTUNREACH,
                };
                self.with_datagram(turn, key, |socket, _| {
                    if socket.side.is_none() || socket.entry.remote == Some(peer) {
                        socket.report(errno);
                    }
                    Verdict::Idle
                });
            }
        }
        self.enqueue(Socket::Datagram(key));
    }

    pub(super) fn run_datagram(&mut self, turn: &mut Turn<'_>, key: Key) {
        if let Some(socket) = self.datagrams.get_mut(key) {
            socket.queued = false;
        }
        match self.with_datagram(turn, key, Datagram::run) {
            Verdict::Idle => {}
            Verdict::Again => self.enqueue(Socket::Datagram(key)),
            Verdict::Close => self.close_datagram(turn, key),
        }
    }

    /// Lets a socket do something, and does what follows from it.
    fn with_datagram(
        &mut self,
        turn: &mut Turn<'_>,
        key: Key,
        act: impl FnOnce(&mut Datagram, &mut Means<'_>) -> Verdict,
    ) -> Verdict {
        let token = self.token(Kind::Datagram, key);
        let Some(socket) = self.datagrams.get_mut(key) else {
            return Verdict::Idle;
        };
        let was_blocked = socket.blocked;
        let was_errno = socket.entry.errno;
        let mut strays = Vec::new();
        self.scratch.resize(SCRATCH, 0);
        let mut means = Means {
            host: &mut *turn.host,
            table: self.table.reader(),
            counters: &mut self.counters,
            strays: &mut strays,
            scratch: &mut self.scratch,
            now: turn.now,
        };
        let verdict = act(socket, &mut means);
        if socket.blocked && !was_blocked {
            turn.poller
                .change(&socket.fd, token, Interest::EdgeWithRoom);
        }
        if socket.entry.errno != was_errno {
            self.table.update(socket.id.tag(), &socket.entry);
        }
        self.dispose_strays(strays);
        verdict
    }

    pub(super) fn close_datagram(&mut self, turn: &mut Turn<'_>, key: Key) {
        let Some(socket) = self.datagrams.remove(key) else {
            return;
        };
        turn.poller.remove(&socket.fd);
        if let Some(kernel) = &socket.kernel {
            // The program may hold copies of it: it would stay in the set.
            turn.poller.remove(kernel);
        }
        turn.host.udp_close(socket.host);
        self.by_id.remove(&socket.id);
        self.by_udp.remove(&socket.host);
        self.table.remove(socket.id.tag());
        self.disposal.hang_up(socket.fd);
    }
}

const fn sharing(options: &Options) -> Sharing {
    Sharing {
        reuse_address: options.reuse_address,
        reuse_port: options.reuse_port,
    }
}

fn local_of(kernel: &OwnedFd) -> Option<SocketAddr> {
    let name = rustix::net::getsockname(kernel).ok()?;
    SocketAddr::try_from(name).ok().map(unmapped)
}

fn bound_port(kernel: &OwnedFd) -> u16 {
    local_of(kernel).map_or(0, |local| local.port())
}

fn connect_errno(error: UdpConnectError) -> Errno {
    match error {
        UdpConnectError::NoRoute => Errno::NETUNREACH,
        _ => Errno::INVAL,
    }
}
