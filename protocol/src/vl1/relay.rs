//! What a root does for others: pass on their packets unread, and introduce them to each other
//! so that they need no root any more (VL1 §4.9, §5.7).

use super::outbox::Target;
use super::receive::Arrival;
use super::{DropReason, PathId, Vl1};
use crate::inet::Scope;
use crate::packet::{self, Header, Relay, fragment};
use crate::verb::Rendezvous;
use crate::{Address, Emit, Time, Verb};
use rand_core::Rng;
use std::net::SocketAddr;

/// Stock's receive buffer: what is longer arrives cut off (VL1, addendum 1).
const MAX_RELAYED: usize = 1500;

impl Vl1 {
    /// Passes on a packet or the head of one.
    pub(super) fn relay_packet(
        &mut self,
        now: Time,
        arrival: Arrival,
        header: &Header,
        datagram: &mut [u8],
    ) {
        let (source, destination) = (header.source, header.destination);
        let Some(relayed) = self.relay(now, destination, Some(source), datagram, Relay::Packet)
        else {
            return;
        };
        // An address that is merely claimed must not make us talk to its owner: the packet has
        // to come from where the source is known to be.
        let at_home = self
            .paths
            .find(arrival.local, arrival.remote)
            .is_some_and(|path| {
                let peer = self.peers.get(&source);
                peer.is_some_and(|peer| peer.paths().iter().any(|entry| entry.id == path))
            });
        if at_home && self.introductions.admit(now, source, relayed) {
            self.introduce(now, source, relayed);
        }
    }

    /// Passes on a later part of a packet.
    pub(super) fn relay_fragment(
        &mut self,
        now: Time,
        header: &fragment::Header,
        datagram: &mut [u8],
    ) {
        self.relay(now, header.destination, None, datagram, Relay::Fragment);
    }

    /// Passes a datagram on and tells to whom: its destination, or another root.
    fn relay(
        &mut self,
        now: Time,
        to: Address,
        from: Option<Address>,
        datagram: &mut [u8],
        kind: Relay,
    ) -> Option<Address> {
        // A leaf relays nothing.
        if !self.is_root() {
            return self.drop(DropReason::NotForUs);
        }
        if datagram.len() > MAX_RELAYED {
            return self.drop(DropReason::TooLongToRelay);
        }
        if packet::add_hop(datagram, kind).is_none() {
            return self.drop(DropReason::TooManyHops);
        }
        let direct = self
            .peers
            .get_mut(&to)
            .and_then(|peer| peer.route(now, &self.paths));
        let (next, path) = match direct {
            Some(path) => (to, path),
            None => match self.other_root(now, from) {
                Some(next) => next,
                None => return self.drop(DropReason::NoRelayPath),
            },
        };
        let path = self.paths.get_mut(path)?;
        path.last_out = now;
        let target = Target {
            local: Some(path.local),
            remote: path.remote,
            ttl: None,
        };
        if !self.outbox.datagram(target, datagram) {
            return self.drop(DropReason::OutboxFull);
        }
        self.counters.relayed += 1;
        Some(next)
    }

    fn other_root(&mut self, now: Time, not: Option<Address>) -> Option<(Address, PathId)> {
        let root = self.best_upstream_except(now, not)?;
        let path = self.peers.get_mut(&root)?.route(now, &self.paths)?;
        Some((root, path))
    }

    /// Tells two peers where the other one is, in the best scope and family that both have
    /// (VL1 §4.9).
    fn introduce(&mut self, now: Time, one: Address, other: Address) {
        for scope in Scope::BEST_FIRST {
            for is_v6 in [true, false] {
                let at = |peer| self.best_in(now, peer, scope, is_v6);
                let (Some(a), Some(b)) = (at(one), at(other)) else {
                    continue;
                };
                let mut letters = [(one, a.0, other, b.1), (other, b.0, one, a.1)];
                if self.rng.next_u32() & 1 == 1 {
                    letters.swap(0, 1);
                }
                for (to, path, with, address) in letters {
                    let letter = Rendezvous {
                        flags: 0,
                        peer: with,
                        address,
                    };
                    self.send_on(now, path, to, Verb::RENDEZVOUS, &letter.to_bytes());
                }
                return;
            }
        }
    }

    fn best_in(
        &self,
        now: Time,
        peer: Address,
        scope: Scope,
        is_v6: bool,
    ) -> Option<(PathId, SocketAddr)> {
        let id = self.peers.get(&peer)?.best_path(now, &self.paths, |path| {
            path.scope == scope && path.remote.is_ipv6() == is_v6 && !path.is_dead(now)
        })?;
        Some((id, self.paths.get(id)?.remote))
    }
}
