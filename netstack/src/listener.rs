//! Listening ports and their backlogs.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::config::ListenAddr;
use crate::event::ListenerId;

/// Handshakes a listener may have under way whatever its backlog: they cost little, and a burst of clients must not wait
/// a second for its SYNs to be repeated.
const MIN_HANDSHAKES: usize = 128;

/// One listening port.
#[derive(Debug)]
pub(crate) struct Listener {
    local: ListenAddr,
    backlog: usize,
    /// Handshakes under way.
    handshakes: usize,
    /// Connections that the owner has not been told of.
    unreported: usize,
    /// The owner has no room for more.
    full: bool,
}

impl Listener {
    /// Whether a SYN is answered.
    pub(crate) fn has_room(&self) -> bool {
        // Linux takes one more than `backlog`, so that 0 still accepts.
        !self.full
            && self.unreported <= self.backlog
            && self.handshakes < self.backlog.max(MIN_HANDSHAKES)
    }
}

/// All listening ports of a host.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    listeners: HashMap<ListenerId, Listener>,
    ports: HashMap<u16, Vec<ListenerId>>,
    next: u64,
}

impl Listeners {
    /// Whether a listener there would collide with another.
    pub(crate) fn is_taken(&self, local: ListenAddr) -> bool {
        self.on_port(local.port).any(|(_, other)| {
            other.local.ip == local.ip || other.local.ip.is_none() || local.ip.is_none()
        })
    }

    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.ports.contains_key(&port)
    }

    pub(crate) fn insert(&mut self, local: ListenAddr, backlog: usize) -> ListenerId {
        let id = ListenerId(self.next);
        self.next += 1;
        self.listeners.insert(
            id,
            Listener {
                local,
                backlog,
                handshakes: 0,
                unreported: 0,
                full: false,
            },
        );
        self.ports.entry(local.port).or_default().push(id);
        id
    }

    pub(crate) fn remove(&mut self, id: ListenerId) -> bool {
        let Some(listener) = self.listeners.remove(&id) else {
            return false;
        };
        if let Some(ids) = self.ports.get_mut(&listener.local.port) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.ports.remove(&listener.local.port);
            }
        }
        true
    }

    /// The listener that a SYN to this address calls: that of the very address before that of all addresses.
    pub(crate) fn find(&self, local: SocketAddr) -> Option<(ListenerId, &Listener)> {
        self.on_port(local.port())
            .filter(|(_, listener)| listener.local.ip.is_none_or(|ip| ip == local.ip()))
            .max_by_key(|(_, listener)| listener.local.ip.is_some())
    }

    fn on_port(&self, port: u16) -> impl Iterator<Item = (ListenerId, &Listener)> {
        let ids = self.ports.get(&port).map_or(&[][..], Vec::as_slice);
        ids.iter()
            .filter_map(|id| Some((*id, self.listeners.get(id)?)))
    }

    pub(crate) fn set_full(&mut self, id: ListenerId, full: bool) {
        self.update(id, |listener| listener.full = full);
    }

    pub(crate) fn handshake_begins(&mut self, id: ListenerId) {
        self.update(id, |listener| listener.handshakes += 1);
    }

    pub(crate) fn handshake_fails(&mut self, id: ListenerId) {
        self.update(id, |listener| {
            listener.handshakes = listener.handshakes.saturating_sub(1)
        });
    }

    pub(crate) fn handshake_succeeds(&mut self, id: ListenerId) {
        self.handshake_fails(id);
        self.update(id, |listener| listener.unreported += 1);
    }

    pub(crate) fn reported(&mut self, id: ListenerId) {
        self.update(id, |listener| {
            listener.unreported = listener.unreported.saturating_sub(1)
        });
    }

    fn update(&mut self, id: ListenerId, change: impl FnOnce(&mut Listener)) {
        if let Some(listener) = self.listeners.get_mut(&id) {
            change(listener);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn at(ip: Option<[u8; 4]>, port: u16) -> ListenAddr {
        ListenAddr {
            ip: ip.map(IpAddr::from),
            port,
        }
    }

    #[test]
    fn the_closer_listener_is_called() {
        let mut listeners = Listeners::default();
        let one = listeners.insert(at(Some([10, 0, 0, 1]), 80), 1);
        let found = |listeners: &Listeners, ip: [u8; 4]| {
            listeners.find(SocketAddr::from((ip, 80))).map(|(id, _)| id)
        };
        assert_eq!(found(&listeners, [10, 0, 0, 1]), Some(one));
        assert_eq!(found(&listeners, [10, 0, 0, 2]), None);
        assert!(listeners.is_taken(at(None, 80)));
        assert!(listeners.is_taken(at(Some([10, 0, 0, 1]), 80)));
        assert!(!listeners.is_taken(at(Some([10, 0, 0, 2]), 80)));
        assert!(!listeners.is_taken(at(None, 81)));
        assert!(listeners.remove(one));
        assert!(!listeners.has_port(80));
    }

    #[test]
    fn the_backlog_counts_what_the_owner_has_not_taken() {
        let mut listeners = Listeners::default();
        let id = listeners.insert(at(None, 80), 1);
        let room = |listeners: &Listeners| {
            listeners
                .find(([10, 0, 0, 1], 80).into())
                .is_some_and(|(_, l)| l.has_room())
        };
        for _ in 0..2 {
            assert!(room(&listeners));
            listeners.handshake_begins(id);
            listeners.handshake_succeeds(id);
        }
        assert!(!room(&listeners));
        listeners.reported(id);
        assert!(room(&listeners));
        listeners.set_full(id, true);
        assert!(!room(&listeners));
    }

    #[test]
    fn handshakes_are_bounded() {
        let mut listeners = Listeners::default();
        let id = listeners.insert(at(None, 80), 5);
        let begun = (0..1000)
            .take_while(|_| {
                let room = listeners
                    .find(([10, 0, 0, 1], 80).into())
                    .is_some_and(|(_, l)| l.has_room());
                listeners.handshake_begins(id);
                room
            })
            .count();
        assert_eq!(begun, MIN_HANDSHAKES);
    }
}
