//! Requests that bind and listen.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use zt_netstack::{ListenAddr, ListenError, ListenerId};
use zt_socket_rpc::{Bind, Entry, Id, Kind as SocketKind, Listen, State};

use super::acceptor::{self, Acceptor};
use super::listener::Listener;
use super::requests::Answer;
use super::{Broker, Socket, Turn, descriptor};
use crate::engine::reactor::{Interest, Kind};
use crate::engine::slots::Key;

/// A socket to be, with what came along.
struct Wanted {
    uid: u32,
    id: Id,
    entry: Entry,
    local: SocketAddr,
    half: OwnedFd,
    kernel: Option<OwnedFd>,
    backlog: usize,
}

impl Broker {
    pub(super) fn bind(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        bind: &Bind,
        half: OwnedFd,
    ) -> Answer {
        let entry = Entry {
            kind: SocketKind::Listener,
            state: State::Bound,
            family: bind.family,
            errno: 0,
            local: Some(bind.local),
            remote: None,
            options: bind.options,
        };
        let wanted = Wanted {
            uid,
            id: bind.id,
            entry,
            local: bind.local,
            half,
            kernel: None,
            backlog: 0,
        };
        self.add_listener(turn, wanted)
    }

    pub(super) fn listen(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        listen: &Listen,
        half: Option<OwnedFd>,
        kernel: Option<OwnedFd>,
    ) -> Answer {
        let Some(half) = half else {
            return self.listen_again(turn, listen);
        };
        let entry = Entry {
            kind: SocketKind::Listener,
            state: State::Listening,
            family: listen.family,
            errno: 0,
            local: Some(listen.local),
            remote: None,
            options: listen.options,
        };
        let (id, local, backlog) = (listen.id, listen.local, listen.backlog.into());
        self.add_listener(
            turn,
            Wanted {
                uid,
                id,
                entry,
                local,
                half,
                kernel,
                backlog,
            },
        )
    }

    /// A bound socket begins to listen, or a listening one changes its backlog.
    fn listen_again(&mut self, turn: &mut Turn<'_>, listen: &Listen) -> Answer {
        let known = match self.by_id.get(&listen.id) {
            Some(&Socket::Listener(key)) => {
                self.listeners.get_mut(key).map(|listener| (key, listener))
            }
            _ => None,
        };
        let Some((key, listener)) = known else {
            self.counters.wrong_id += 1;
            return Answer::None;
        };
        listener.backlog = listen.backlog.into();
        listener.entry.state = State::Listening;
        self.table.update(listen.id.tag(), &listener.entry);
        let local = listener.entry.local.unwrap_or(listen.local);
        let port = listener.host_listener;
        self.tell_room(turn, port);
        self.enqueue(Socket::Listener(key));
        Answer::Done(local)
    }

    fn add_listener(&mut self, turn: &mut Turn<'_>, wanted: Wanted) -> Answer {
        let Wanted {
            uid,
            id,
            mut entry,
            local,
            half,
            kernel,
            backlog,
        } = wanted;
        if self.by_id.contains_key(&id) || self.table.reader().entry(id.tag()).is_some() {
            self.counters.wrong_id += 1;
            return Answer::None;
        }
        // The half, and a connection that waits for room in the queue.
        let lease = turn.budget.take(uid, 2);
        let native_lease = kernel
            .as_ref()
            .map(|_| turn.budget.take(uid, acceptor::DESCRIPTORS))
            .transpose();
        let (Ok(lease), Ok(native_lease)) = (lease, native_lease) else {
            self.counters.refused += 1;
            return Answer::Failed(Errno::NOBUFS);
        };
        let half = Arc::new(half);
        let (host_listener, bound) = match self.take_port(turn, uid, local, &entry) {
            Ok(taken) => taken,
            Err(ListenError::AddrInUse) => return Answer::Failed(Errno::ADDRINUSE),
            Err(_) => return Answer::Failed(Errno::ADDRNOTAVAIL),
        };
        // The address as the program gave it, with the port that was chosen.
        let local = SocketAddr::new(local.ip(), bound.port());
        entry.local = Some(local);
        let key = self.listeners.next_key();
        let watched = turn
            .poller
            .add(&half, self.token(Kind::Listener, key), Interest::Edge);
        if watched.is_err() || self.table.insert(id.tag(), &entry).is_err() {
            turn.poller.remove(&half);
            if self.ports.keys(host_listener).is_empty() {
                turn.host.unlisten(host_listener);
            }
            return Answer::Failed(Errno::NOBUFS);
        }
        let native = kernel.zip(native_lease).map(|(kernel, lease)| {
            let accepted = self.accepted_native.clone();
            Acceptor::start(kernel, half.clone(), entry.family, accepted, lease)
        });
        let native = native.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "a program's own network is not listened to");
            None
        });
        self.by_id.insert(id, Socket::Listener(key));
        self.ports.add(host_listener, key);
        self.listeners.insert(Listener {
            fd: half,
            id,
            host_listener,
            native,
            entry,
            backlog,
            uid,
            pending: VecDeque::new(),
            held: None,
            blocked: false,
            full: false,
            queued: false,
            _lease: lease,
        });
        self.tell_room(turn, host_listener);
        self.enqueue(Socket::Listener(key));
        Answer::Done(local)
    }

    /// Takes a port of the host: shared with sockets of the same user by `SO_REUSEPORT`, or from a socket
    /// that was closed just now, for a close is not heard before a request that follows it.
    fn take_port(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        local: SocketAddr,
        entry: &Entry,
    ) -> Result<(ListenerId, SocketAddr), ListenError> {
        let v6_only = entry.options.v6_only;
        // For a host, `::` alone is IPv6 only, and no address at all is both families.
        let wanted = match ListenAddr::from(local) {
            both @ ListenAddr { ip: None, .. } if v6_only => ListenAddr {
                ip: Some(local.ip()),
                ..both
            },
            wanted => wanted,
        };
        match turn.host.bind(wanted) {
            Err(ListenError::AddrInUse) => {}
            result => return result,
        }
        if let Some(port) = self.shared_port(uid, local, entry) {
            return Ok((port, local));
        }
        let closed = self.listeners.iter().filter(|(_, listener)| {
            let holds = listener
                .entry
                .local
                .is_some_and(|held| held.port() == local.port());
            holds && descriptor::is_hung_up(&listener.fd)
        });
        let closed: Vec<Key> = closed.map(|(key, _)| key).collect();
        closed
            .into_iter()
            .for_each(|key| self.close_listener(turn, key));
        turn.host.bind(wanted)
    }

    /// The port of the same address, if all that have it let this one share it.
    fn shared_port(&self, uid: u32, local: SocketAddr, entry: &Entry) -> Option<ListenerId> {
        let same = |other: &Listener| {
            other.entry.local == Some(local)
                && other.entry.family == entry.family
                && other.entry.options.v6_only == entry.options.v6_only
        };
        let (_, other) = self.listeners.iter().find(|(_, other)| same(other))?;
        let port = other.host_listener;
        let shares = |key: &Key| {
            let other = self.listeners.get(*key);
            other.is_some_and(|other| other.uid == uid && other.entry.options.reuse_port)
        };
        let all = entry.options.reuse_port && self.ports.keys(port).iter().all(shares);
        all.then_some(port)
    }
}
