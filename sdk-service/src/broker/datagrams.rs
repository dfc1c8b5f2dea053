//! UDP sockets of programs: opened, connected, woken, closed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use zt_netstack::{Host, UdpBindError, UdpConnectError, UdpEvent, UdpFailure, UdpId};
use zt_socket_rpc::{ConnectDatagram, Entry, OpenDatagram, Options, Reach, SetOption, State};

use super::binding::Place;
use super::datagram::{Datagram, Means, SCRATCH, Verdict, for_kernel, unmapped};
use super::lost::errno_of;
use super::requests::Answer;
use super::{Broker, Socket, Turn, native};
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
        let place = Place {
            kind: open.kind,
            local: open.local,
            options: open.options,
        };
        let taken = self.take_udp_port(turn, &place, kernel.as_ref());
        let (host, port) = match taken {
            Ok((host, at)) => (host, at.port()),
            Err(UdpBindError::AddrInUse) => return Answer::Failed(Errno::ADDRINUSE),
            Err(_) => return Answer::Failed(Errno::ADDRNOTAVAIL),
        };
        // The address as the program gave it, with the port that was chosen.
        let bound = SocketAddr::new(open.local.ip(), port);
        if let Some(kernel) = &kernel
            && !open.unbound
            && bound_port(kernel) == 0
        {
            // So that both networks see one port, if this one is free there; else the kernel chooses.
            let _ = rustix::net::bind(kernel, &for_kernel(bound, open.family));
        }
        if let Some(kernel) = &kernel {
            native::prepare(kernel, open.family);
        }
        let entry = Entry {
            kind: open.kind,
            state: State::Bound,
            family: open.family,
            errno: 0,
            local: Some(if open.unbound { open.local } else { bound }),
            remote: None,
            options: open.options,
        };
        apply(turn.host, host, &open.options);
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
            has_server: false,
            asked: None,
            is_unbound: open.unbound,
            is_isolated: open.isolated,
            groups: Vec::new(),
            identifier: 0,
            is_changed: false,
            readable: false,
            ending: false,
            host_ready: true,
            blocked: false,
            hung_up: false,
            queued: false,
            corked: None,
            unsent: VecDeque::new(),
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
        socket.settle();
        socket.asked = None;
        let is_server = remote.is_some_and(|remote| socket.may_be_name_server(remote, table));
        let side = remote.map(|remote| match socket.reach(table, remote, 0) {
            // Nothing is ever sent to it.
            _ if is_server && socket.is_isolated => Reach::Own,
            reach => reach,
        });
        let by_lan = remote
            .filter(|_| matches!(side, Some(Reach::Lan | Reach::Both)))
            .map(|remote| {
                let connected = turn.host.udp_connect(socket.host, Some(remote));
                connected.map_err(connect_errno)
            });
        let kernel = socket.kernel.as_ref();
        let by_kernel = remote
            .zip(kernel)
            .filter(|_| matches!(side, Some(Reach::Own | Reach::Both)))
            .filter(|_| !(is_server && socket.is_isolated))
            .map(|(remote, kernel)| {
                rustix::net::connect(kernel, &for_kernel(remote, socket.entry.family))?;
                Ok(local_of(kernel).unwrap_or(socket.bound))
            });
        let (side, local) = match (by_lan, by_kernel) {
            (None, None) => (side, socket.bound),
            (Some(Ok(local)), Some(Ok(_))) => (Some(Reach::Both), local),
            (Some(Ok(local)), _) => (Some(Reach::Lan), local),
            (_, Some(Ok(local))) => (Some(Reach::Own), local),
            (_, Some(Err(errno))) | (Some(Err(errno)), None) => return Err(errno),
        };
        if is_server || !matches!(side, Some(Reach::Lan | Reach::Both)) {
            // It was not connected, or it is still there: nothing else can go wrong.
            let _ = turn.host.udp_connect(socket.host, None);
        }
        if !matches!(side, Some(Reach::Own | Reach::Both))
            && matches!(socket.side, Some(Reach::Own | Reach::Both))
            && let Some(kernel) = kernel
        {
            rustix::net::connect_unspec(kernel)?;
        }
        socket.side = side;
        socket.has_server = is_server;
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

    /// Changes an option. What was sent before leaves as it was asked for then.
    pub(super) fn set_datagram_option(
        &mut self,
        turn: &mut Turn<'_>,
        key: Key,
        option: &SetOption,
    ) {
        if let Some(socket) = self.datagrams.get_mut(key) {
            socket.readable = true;
        }
        self.run_datagram(turn, key);
        let Some(socket) = self.datagrams.get_mut(key) else {
            return;
        };
        if let Some(kernel) = &socket.kernel {
            native::forward(kernel, option);
        }
        let options = &mut socket.entry.options;
        let value = option.value.as_bytes();
        if options.set(option.level, option.name, value).is_err() {
            return;
        }
        apply(turn.host, socket.host, options);
        let is_corked = options.cork;
        self.table.update(option.id.tag(), &socket.entry);
        if !is_corked {
            self.with_datagram(turn, key, |socket, means| {
                socket.uncork(means);
                Verdict::Idle
            });
        }
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
                self.with_datagram(turn, key, |socket, _| {
                    let is_peer = socket.entry.remote.is_none_or(|remote| {
                        remote.ip() == peer.ip()
                            && (remote.port() == peer.port() || peer.port() == 0)
                    });
                    let is_told = failure != UdpFailure::Expired || socket.keeps_losses();
                    if is_peer && is_told {
                        socket.report(errno_of(failure));
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
        let mut strays = Vec::new();
        self.scratch.resize(SCRATCH, 0);
        let mut means = Means {
            host: &mut *turn.host,
            table: self.table.reader(),
            names: &self.naming.names,
            counters: &mut self.counters,
            strays: &mut strays,
            scratch: &mut self.scratch,
            burst: &mut self.burst,
            now: turn.now,
        };
        let verdict = act(socket, &mut means);
        if socket.blocked && !was_blocked {
            turn.poller
                .change(&socket.fd, token, Interest::EdgeWithRoom);
        }
        if std::mem::take(&mut socket.is_changed) {
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

/// Sets what a socket of the host must know of its options.
pub(super) fn apply(host: &mut Host, id: UdpId, options: &Options) {
    host.udp_set_multicast_all(id, options.multicast_all);
    host.udp_keep_losses(id, options.receive_errors);
}

fn local_of(kernel: &OwnedFd) -> Option<SocketAddr> {
    let name = rustix::net::getsockname(kernel).ok()?;
    SocketAddr::try_from(name).ok().map(unmapped)
}

pub(super) fn bound_port(kernel: &OwnedFd) -> u16 {
    local_of(kernel).map_or(0, |local| local.port())
}

fn connect_errno(error: UdpConnectError) -> Errno {
    match error {
        UdpConnectError::NoRoute => Errno::NETUNREACH,
        _ => Errno::INVAL,
    }
}
