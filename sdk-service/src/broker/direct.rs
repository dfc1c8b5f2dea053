//! Connections between two programs of this service: each gets one end of the same pair, and the service steps aside.
//!
//! A program that connects to one of the network's own addresses attaches its own half as well. When a listener of the
//! same user (or of anybody, for root) takes the connection, the half that would have been the service's becomes the
//! accepted descriptor. What the service keeps is what the programs may ask for: addresses and options.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use zt_socket_rpc::{
    Accepted, Connect, Entry, Id, Kind as SocketKind, Name, Origin, SetOption, State,
};

use super::budget::Lease;
use super::{Broker, Socket, Turn, descriptor, stream};
use crate::engine::slots::Key;

/// A connection that waits for its listener's program.
pub(super) struct Arrival {
    pub(super) record: Accepted,
    pub(super) descriptor: OwnedFd,
    _lease: Lease,
    /// The program that connected.
    client: Id,
}

/// What a connecting program sent.
pub(super) struct Offer<'a> {
    pub(super) connect: &'a Connect,
    pub(super) uid: u32,
    /// The half that was meant for the service.
    pub(super) half: OwnedFd,
    /// The program's own half.
    pub(super) own: OwnedFd,
}

impl Broker {
    /// Connects two programs of this service, if that is what is asked for: the local address, and the program's own half,
    /// which is to be closed. Gives the service's half back if not.
    pub(super) fn connect_direct(
        &mut self,
        turn: &mut Turn<'_>,
        offer: Offer<'_>,
    ) -> Result<(SocketAddr, OwnedFd), OwnedFd> {
        let Offer {
            connect,
            uid,
            half,
            own,
        } = offer;
        let Some((key, local, lease)) = self.direct_way(turn, uid, connect) else {
            self.disposal.dispose(own);
            return Err(half);
        };
        let server = Name {
            kind: SocketKind::Stream,
            id: self.fresh_id(),
        };
        // The accepted descriptor is known by the name of its other end, as every descriptor of ours.
        if let Err(error) = descriptor::prepare_direct(&half, &own, server) {
            tracing::debug!(%error, "two programs cannot be connected directly");
            self.disposal.dispose(own);
            return Err(half);
        }
        let Some(listener) = self.listeners.get(key) else {
            return Err(half);
        };
        let client_entry = Entry {
            kind: SocketKind::Stream,
            state: State::Connected,
            family: connect.family,
            errno: 0,
            local: Some(local),
            remote: Some(connect.remote),
            options: connect.options,
        };
        let server_entry = Entry {
            family: listener.entry.family,
            local: Some(connect.remote),
            remote: Some(local),
            options: listener.entry.options,
            ..client_entry
        };
        self.keep_direct(connect.id, client_entry, &own);
        self.keep_direct(server.id, server_entry, &half);
        let mut strays = Vec::new();
        stream::drain(&half, connect.plug, &mut strays);
        self.dispose_strays(strays);
        let arrival = Arrival {
            record: Accepted {
                origin: Origin::Lan,
                peer: local,
                local: connect.remote,
                family: server_entry.family,
            },
            descriptor: half,
            _lease: lease,
            client: connect.id,
        };
        if let Some(listener) = self.listeners.get_mut(key) {
            listener.pending.push_back(super::Pending::Direct(arrival));
        }
        self.counters.direct += 1;
        // As on a kernel's loopback, the connection is in the queue before its program hears of it.
        self.run_listener(turn, key);
        Ok((local, own))
    }

    /// The listener that takes the connection at once, the local address, and what it costs until it is accepted.
    fn direct_way(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        connect: &Connect,
    ) -> Option<(Key, SocketAddr, Lease)> {
        let listener = turn.host.listener_at(connect.remote)?;
        let key = self.next_listener(listener)?;
        let listener = self.listeners.get(key)?;
        // The two will share the flags of one open file: that is for programs that trust each other.
        let trusted = uid == listener.uid || uid == 0;
        if !trusted
            || listener.is_full()
            || !turn.host.addresses().any(|own| own == connect.remote.ip())
        {
            return None;
        }
        let local = turn
            .host
            .local_for(turn.now, connect.remote, connect.local)
            .ok()?;
        Some((key, local, turn.budget.take(uid, 1).ok()?))
    }

    fn keep_direct(&mut self, id: Id, entry: Entry, end: &OwnedFd) {
        if self.direct.is_due() {
            self.sweep_direct();
        }
        // The tag was looked up before; a full set means that programs ask instead.
        let _ = self.table.insert(id.tag(), &entry);
        self.by_id.insert(id, Socket::Direct);
        self.direct.add(id, entry, end.as_fd());
    }

    /// Forgets the ends that were closed.
    pub(super) fn sweep_direct(&mut self) {
        for id in self.direct.sweep() {
            self.by_id.remove(&id);
            self.table.remove(id.tag());
        }
    }

    /// The state of one end.
    pub(super) fn direct_entry(&self, id: Id) -> Option<Entry> {
        self.direct.entry(id)
    }

    /// Keeps an option for whoever asks; nothing acts on it.
    pub(super) fn set_direct_option(&mut self, option: &SetOption) {
        let changed = self.direct.change(option.id, |entry| {
            // What is not understood was refused by the library already.
            let _ = entry
                .options
                .set(option.level, option.name, option.value.as_bytes());
        });
        if let Some(entry) = changed {
            self.table.update(option.id.tag(), &entry);
        }
    }

    /// The listener was closed before its program took the connection.
    pub(super) fn refuse_direct(&mut self, arrival: Arrival) {
        let reset = self.direct.change(arrival.client, |entry| {
            entry.state = State::Reset;
            entry.errno = Errno::CONNRESET.raw_os_error();
        });
        if let Some(entry) = reset {
            self.table.update(arrival.client.tag(), &entry);
        }
        self.disposal.hang_up(arrival.descriptor);
    }
}
