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
    /// `None` while the port is only taken.
    backlog: Option<usize>,
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
        self.backlog.is_some_and(|backlog| {
            !self.full
                && self.unreported <= backlog
                && self.handshakes < backlog.max(MIN_HANDSHAKES)
        })
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
        self.on_port(local.port)
            .any(|(_, other)| other.local.overlaps(&local))
    }

    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.ports.contains_key(&port)
    }

    /// Takes the port; nobody is answered before [`set_backlog`](Listeners::set_backlog).
    pub(crate) fn insert(&mut self, local: ListenAddr) -> ListenerId {
        let id = ListenerId(self.next);
        self.next += 1;
        self.listeners.insert(
            id,
            Listener {
                local,
                backlog: None,
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
            .filter(|(_, listener)| listener.backlog.is_some() && listener.local.covers(local.ip()))
            .max_by_key(|(_, listener)| listener.local.ip.is_some_and(|ip| !ip.is_unspecified()))
    }

    fn on_port(&self, port: u16) -> impl Iterator<Item = (ListenerId, &Listener)> {
        let ids = self.ports.get(&port).map_or(&[][..], Vec::as_slice);
        ids.iter()
            .filter_map(|id| Some((*id, self.listeners.get(id)?)))
    }

    pub(crate) fn set_backlog(&mut self, id: ListenerId, backlog: usize) {
        self.update(id, |listener| listener.backlog = Some(backlog));
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

    fn listen(listeners: &mut Listeners, local: ListenAddr, backlog: usize) -> ListenerId {
        let id = listeners.insert(local);
        listeners.set_backlog(id, backlog);
        id
    }

    #[test]
    fn families_share_a_port() {
        let mut listeners = Listeners::default();
        let of = |ip: &str| ListenAddr {
            ip: Some(ip.parse().expect("an address")),
            port: 80,
        };
        let v4 = listen(&mut listeners, of("0.0.0.0"), 1);
        assert!(!listeners.is_taken(of("::")));
        assert!(listeners.is_taken(of("10.0.0.1")));
        assert!(listeners.is_taken(at(None, 80)));
        let v6 = listen(&mut listeners, of("::"), 1);
        let found = |ip: &str| {
            listeners
                .find(SocketAddr::new(ip.parse().expect("an address"), 80))
                .map(|(id, _)| id)
        };
        assert_eq!((found("10.0.0.1"), found("fd00::1")), (Some(v4), Some(v6)));
    }

    #[test]
    fn a_port_that_is_only_taken_calls_nobody() {
        let mut listeners = Listeners::default();
        let id = listeners.insert(at(None, 80));
        assert!(listeners.is_taken(at(None, 80)));
        assert!(
            listeners
                .find(SocketAddr::from(([10, 0, 0, 1], 80)))
                .is_none()
        );
        listeners.set_backlog(id, 5);
        assert!(
            listeners
                .find(SocketAddr::from(([10, 0, 0, 1], 80)))
                .is_some()
        );
    }

    #[test]
    fn the_closer_listener_is_called() {
        let mut listeners = Listeners::default();
        let one = listen(&mut listeners, at(Some([10, 0, 0, 1]), 80), 1);
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
        let id = listen(&mut listeners, at(None, 80), 1);
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
        let id = listen(&mut listeners, at(None, 80), 5);
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
