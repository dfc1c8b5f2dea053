//! Accept queues: from the host to the programs.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use zt_netstack::{FlowId, ListenerId};
use zt_socket_rpc::{Accepted, Entry, Id, Kind as SocketKind, Name, Origin, State};

use super::descriptor;
use super::listener::Push;
use super::stream::{self, Stream};
use super::{Broker, Owner, Pending, Socket, Turn};
use crate::engine::reactor::{Interest, Kind, Ready};
use crate::engine::slots::Key;

/// Connections accepted for one listener before the others have their turn.
const ACCEPTS_A_TURN: usize = 128;

/// Why the next connection does not go into the queue.
enum Stop {
    /// There is none.
    Empty,
    /// No descriptor is left; closing one somewhere helps.
    Starved,
}

impl Broker {
    /// A peer connected to a listening port.
    pub(super) fn flow_accepted(
        &mut self,
        turn: &mut Turn<'_>,
        listener: ListenerId,
        flow: FlowId,
    ) {
        let key = self.next_listener(listener);
        let Some((key, listener)) = key.and_then(|key| Some((key, self.listeners.get_mut(key)?)))
        else {
            if let Some(flow) = turn.host.flow(flow) {
                flow.abort();
            }
            return;
        };
        listener.pending.push_back(Pending::Flow(flow));
        self.by_flow.insert(flow, Owner::Pending(key));
        self.enqueue(Socket::Listener(key));
    }

    pub(super) fn listener_ready(&mut self, turn: &mut Turn<'_>, key: Key, ready: Ready) {
        if ready.hung_up {
            return self.close_listener(turn, key);
        }
        let token = self.token(Kind::Listener, key);
        let Some(listener) = self.listeners.get_mut(key) else {
            return;
        };
        if ready.writable && listener.blocked {
            listener.blocked = false;
            turn.poller.change(&listener.fd, token, Interest::Edge);
            self.enqueue(Socket::Listener(key));
        }
    }

    /// Moves connections into the program's queue while it has room.
    pub(super) fn run_listener(&mut self, turn: &mut Turn<'_>, key: Key) {
        let Some(listener) = self.listeners.get_mut(key) else {
            return;
        };
        listener.queued = false;
        if listener.entry.state == State::Listening && !listener.blocked {
            self.fill_queue(turn, key);
        }
        let Some(listener) = self.listeners.get_mut(key) else {
            return;
        };
        let full = listener.entry.state == State::Listening && listener.is_full();
        if full != listener.full {
            listener.full = full;
            let port = listener.host_listener;
            self.tell_room(turn, port);
        }
    }

    /// Whose turn it is to get a connection: of those that listen on a port, one with room before one without.
    pub(super) fn next_listener(&mut self, port: ListenerId) -> Option<Key> {
        let listeners = &self.listeners;
        let listening = |key| {
            let listener = listeners.get(key);
            listener.filter(|listener| listener.entry.state == State::Listening)
        };
        self.ports
            .turn(port, |key| listening(key).is_some_and(|it| !it.is_full()))
            .or_else(|| self.ports.turn(port, |key| listening(key).is_some()))
    }

    /// Tells the host how many connections may wait on a port, and whether there is no room for more.
    pub(super) fn tell_room(&self, turn: &mut Turn<'_>, port: ListenerId) {
        let keys = self.ports.keys(port).iter();
        let (mut backlog, mut full) = (0, true);
        for listener in keys.filter_map(|key| self.listeners.get(*key)) {
            if listener.entry.state == State::Listening {
                backlog += listener.backlog;
                full &= listener.full;
            }
        }
        // A port that is only kept refuses.
        if backlog > 0 {
            turn.host.set_backlog(port, backlog);
            turn.host.set_listener_full(port, full);
        }
    }

    fn fill_queue(&mut self, turn: &mut Turn<'_>, key: Key) {
        for _ in 0..ACCEPTS_A_TURN {
            let token = self.token(Kind::Listener, key);
            let Some(listener) = self.listeners.get_mut(key) else {
                return;
            };
            match listener.push_held() {
                Push::Done => {}
                Push::Gone(descriptor) => self.disposal.dispose(descriptor),
                Push::Full => {
                    return turn
                        .poller
                        .change(&listener.fd, token, Interest::EdgeWithRoom);
                }
                Push::TryLater => return self.retry_soon(turn.now),
            }
            match self.hold_next(turn, key) {
                Ok(()) => {}
                Err(Stop::Empty) => return,
                Err(Stop::Starved) => {
                    // Descriptors come back with any socket that is closed, here or elsewhere.
                    self.starved = true;
                    return self.retry_soon(turn.now);
                }
            }
        }
        self.enqueue(Socket::Listener(key));
    }

    /// Makes the record and the descriptor of the next connection.
    fn hold_next(&mut self, turn: &mut Turn<'_>, key: Key) -> Result<(), Stop> {
        loop {
            let listener = self.listeners.get_mut(key).ok_or(Stop::Empty)?;
            let held = match listener.pending.front().ok_or(Stop::Empty)? {
                Pending::Flow(flow) => {
                    let flow = *flow;
                    self.adopt(turn, key, flow)?
                }
                Pending::Direct(_) => None,
            };
            let listener = self.listeners.get_mut(key).ok_or(Stop::Empty)?;
            let held = match listener.pending.pop_front() {
                Some(Pending::Direct(arrival)) => Some((arrival.record, arrival.descriptor)),
                _ => held,
            };
            // A connection may have ended meanwhile: then the next one is taken.
            if let (Some(held), Some(listener)) = (held, self.listeners.get_mut(key)) {
                listener.held = Some(held);
                return Ok(());
            }
        }
    }

    /// Gives an accepted flow its pair.
    fn adopt(
        &mut self,
        turn: &mut Turn<'_>,
        key: Key,
        id: FlowId,
    ) -> Result<Option<(Accepted, OwnedFd)>, Stop> {
        let listener = self.listeners.get(key).ok_or(Stop::Empty)?;
        let (uid, family, options) = (listener.uid, listener.entry.family, listener.entry.options);
        let Some(mut flow) = turn.host.flow(id) else {
            self.by_flow.remove(&id);
            return Ok(None);
        };
        let lease = turn.budget.take(uid, 1).map_err(|_| Stop::Starved)?;
        let name = Name {
            kind: SocketKind::Stream,
            id: self.fresh_id(),
        };
        let (ours, theirs) = descriptor::stream_pair(name).map_err(|error| {
            tracing::debug!(%error, "no descriptor pair for a connection");
            Stop::Starved
        })?;
        stream::apply(&options, &mut flow);
        let (local, remote) = (flow.local(), flow.remote());
        let entry = Entry {
            kind: SocketKind::Stream,
            state: State::Connected,
            family,
            errno: 0,
            local: Some(local),
            remote: Some(remote),
            options,
        };
        // The tag is fresh: the only other outcome, a full set, means that programs ask instead.
        let _ = self.table.insert(name.id.tag(), &entry);
        self.by_flow.remove(&id);
        self.add_stream(turn, Stream::new(ours, name.id, id, entry, None, lease));
        self.counters.accepted += 1;
        Ok(Some((
            Accepted {
                origin: Origin::Lan,
                peer: remote,
                local,
                family,
            },
            theirs,
        )))
    }

    /// A random id whose place in the table is near those of its neighbours, so that few pages of the
    /// table are touched.
    pub(super) fn fresh_id(&self) -> Id {
        loop {
            let mut bytes = [0; Id::LEN];
            if getrandom::fill(&mut bytes).is_err() {
                tracing::error!("the system gives no randomness");
            }
            let set = (self.streams.next_key().index / WAYS) as u16 % SETS;
            if let Some(low) = bytes.first_chunk_mut::<2>() {
                let high = u16::from_le_bytes(*low) & !(SETS - 1);
                *low = (high | set).to_le_bytes();
            }
            let id = Id::from_bytes(bytes);
            if id.tag() != 0
                && !self.by_id.contains_key(&id)
                && self.table.reader().entry(id.tag()).is_none()
            {
                return id;
            }
        }
    }

    /// The program closed its listening socket.
    pub(super) fn close_listener(&mut self, turn: &mut Turn<'_>, key: Key) {
        let Some(listener) = self.listeners.remove(key) else {
            return;
        };
        turn.poller.remove(&listener.fd);
        drop(listener.native);
        // Where a thread still has it, it is closed there.
        if let Some(half) = Arc::into_inner(listener.fd) {
            self.disposal.hang_up(half);
        }
        if let Some((_, descriptor)) = listener.held {
            self.disposal.dispose(descriptor);
        }
        self.by_id.remove(&listener.id);
        if self.ports.remove(listener.host_listener, key) {
            turn.host.unlisten(listener.host_listener);
        } else {
            self.tell_room(turn, listener.host_listener);
        }
        self.table.remove(listener.id.tag());
        for pending in listener.pending {
            match pending {
                Pending::Flow(flow) => {
                    self.by_flow.remove(&flow);
                    if let Some(flow) = turn.host.flow(flow) {
                        flow.abort();
                    }
                }
                Pending::Direct(arrival) => self.refuse_direct(arrival),
            }
        }
    }
}

/// Entries per set, and sets, of the state table.
const WAYS: u32 = zt_socket_rpc::table::WAYS as u32;
const SETS: u16 = (zt_socket_rpc::table::ENTRIES / zt_socket_rpc::table::WAYS) as u16;
const _: () = assert!(SETS.is_power_of_two());
