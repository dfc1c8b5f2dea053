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
        turn.host
            .set_backlog(listener.host_listener, listener.backlog);
        self.table.update(listen.id.tag(), &listener.entry);
        let local = listener.entry.local.unwrap_or(listen.local);
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
        let (host_listener, bound) = match self.take_port(turn, local, entry.options.v6_only) {
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
            turn.host.unlisten(host_listener);
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
        if entry.state == State::Listening {
            turn.host.set_backlog(host_listener, backlog);
        }
        self.by_id.insert(id, Socket::Listener(key));
        self.by_listener.insert(host_listener, key);
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
        self.enqueue(Socket::Listener(key));
        Answer::Done(local)
    }

    /// Takes a port of the host, from a socket that was closed just now if need be: a close is not
    /// heard before a request that follows it.
    fn take_port(
        &mut self,
        turn: &mut Turn<'_>,
        local: SocketAddr,
        v6_only: bool,
    ) -> Result<(ListenerId, SocketAddr), ListenError> {
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
}
