//! Ways around the relay: introductions by a root, and the addresses that peers push to each
//! other (VL1 §4.10). Both only lead to probes; an answer makes a path (VL1 §4.6).

use super::outbox::Target;
use super::receive::Arrival;
use super::table::{FastMap, Tables};
use super::{DropReason, Inbound, PathId, Vl1};
use crate::inet::Scope;
use crate::verb::{PushDirectPaths, PushedPath, Rendezvous};
use crate::{Address, Emit, Time, Verb};
use rand_core::Rng;
use std::net::SocketAddr;
use std::time::Duration;

/// How often a peer pair is introduced.
const UNITE_INTERVAL: Duration = Duration::from_secs(30);
/// Peer pairs remembered at most.
const MAX_PAIRS: usize = 65_536;
/// How often addresses are pushed to a trusted peer without and with a direct path.
const PUSH_NO_PATH: Duration = Duration::from_secs(15);
const PUSH_HAVE_PATH: Duration = Duration::from_secs(120);
/// Pushes that follow each other within this time are a burst …
const PUSH_CUTOFF: Duration = Duration::from_secs(30);
/// … of which only so many count.
const PUSH_LIMIT: u32 = 8;
/// Addresses tried of one push in each scope and family.
const PUSH_MAX_PER_SCOPE: usize = 8;
/// Addresses told in one push.
const PUSH_MAX: usize = 32;
/// Long enough to open our NAT, too short to arrive.
const JUNK_TTL: u8 = 2;
const JUNK_LEN: usize = 4;

/// When which peers were introduced to each other.
pub(super) struct Introductions {
    last: FastMap<(Address, Address), Time>,
}

impl Introductions {
    pub(super) fn new(tables: &Tables) -> Self {
        Introductions { last: tables.map() }
    }

    /// Whether it is time to introduce the two; if so, it is noted.
    pub(super) fn admit(&mut self, now: Time, one: Address, other: Address) -> bool {
        let pair = (one.min(other), one.max(other));
        if self.last.len() >= MAX_PAIRS && !self.last.contains_key(&pair) {
            return false;
        }
        let last = self.last.entry(pair).or_insert(Time::NEVER);
        let due = now.is_due(*last, UNITE_INTERVAL);
        if due {
            *last = now;
        }
        due
    }

    /// Forgets pairs that may be introduced again anyway.
    pub(super) fn collect(&mut self, now: Time) {
        self.last
            .retain(|_, last| !now.is_due(*last, UNITE_INTERVAL));
    }
}

impl Vl1 {
    /// The layer above accepted something of `from` that proves a common network: the peer may
    /// know our addresses (VL1 §4.6). Cheap enough for every frame.
    pub fn trusted(&mut self, now: Time, from: Address, path: PathId) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        // Cheap tests first: this is the hot path.
        if !now.is_due(peer.last_push_sent, PUSH_NO_PATH) {
            return;
        }
        let direct = peer.has_direct_path(now, &self.paths);
        if direct && !now.is_due(peer.last_push_sent, PUSH_HAVE_PATH) {
            return;
        }
        peer.last_push_sent = now;
        self.push_addresses(now, from, path);
    }

    /// Tells a peer all addresses under which we may be reached.
    fn push_addresses(&mut self, now: Time, to: Address, path: PathId) {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let ours = self
            .local_addresses
            .iter()
            .copied()
            .chain(self.surface.addresses());
        for address in ours {
            let is_own_network = !self.permits(self.address, address.ip());
            if !is_own_network && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses.truncate(PUSH_MAX);
        if !addresses.is_empty() {
            let paths = addresses
                .into_iter()
                .map(|address| PushedPath { flags: 0, address });
            let push = PushDirectPaths {
                paths: paths.collect(),
            };
            self.send_on(now, path, to, Verb::PUSH_DIRECT_PATHS, &push.to_bytes());
        }
    }

    pub(super) fn on_push(&mut self, now: Time, inbound: &Inbound<'_>) {
        let Ok(push) = PushDirectPaths::parse(inbound.body) else {
            self.counters.drop(DropReason::MalformedMessage);
            return;
        };
        let Some(peer) = self.peers.get_mut(&inbound.from) else {
            return;
        };
        let is_burst = !now.is_due(peer.last_push_received, PUSH_CUTOFF);
        peer.pushes_in_burst = if is_burst {
            peer.pushes_in_burst.saturating_add(1)
        } else {
            0
        };
        peer.last_push_received = now;
        let admitted = peer.pushes_in_burst < PUSH_LIMIT;
        self.received(now, inbound);
        if !admitted {
            self.counters.drop(DropReason::PushGate);
            return;
        }
        let mut tried: Vec<SocketAddr> = Vec::new();
        for PushedPath { address, .. } in push.paths.into_iter().filter(|path| !path.is_forgotten())
        {
            let kind = |address: &SocketAddr| (Scope::of(address.ip()), address.is_ipv6());
            let of_kind = tried
                .iter()
                .filter(|other| kind(other) == kind(&address))
                .count();
            // Stock lists every address twice.
            if of_kind < PUSH_MAX_PER_SCOPE
                && !tried.contains(&address)
                && address.port() != 0
                && self.permits(inbound.from, address.ip())
                && !self.has_path_to(now, inbound.from, address)
            {
                tried.push(address);
                self.probe(
                    now,
                    inbound.from,
                    Target {
                        local: None,
                        remote: address,
                        ttl: None,
                    },
                );
            }
        }
    }

    /// A root tells where a peer is (VL1 §4.10).
    pub(super) fn on_rendezvous(&mut self, now: Time, arrival: Arrival, inbound: &Inbound<'_>) {
        if !self.is_upstream(inbound.from) {
            self.counters.drop(DropReason::NotUpstream);
            return;
        }
        let Ok(Rendezvous {
            peer: with,
            address,
            ..
        }) = Rendezvous::parse(inbound.body)
        else {
            self.counters.drop(DropReason::MalformedMessage);
            return;
        };
        if self.peers.contains_key(&with) {
            self.meet(now, with, arrival, address);
        } else {
            self.hold_rendezvous(now, with, arrival, address);
        }
        self.received(now, inbound);
    }

    /// Opens our NAT towards `at` and probes it, while the peer does the same.
    pub(super) fn meet(&mut self, now: Time, with: Address, arrival: Arrival, at: SocketAddr) {
        if at.port() == 0 || !self.permits(with, at.ip()) || self.has_path_to(now, with, at) {
            return;
        }
        let target = Target {
            local: Some(arrival.local),
            remote: at,
            ttl: None,
        };
        // On a private network there is no NAT in between.
        if at.is_ipv4() && Scope::of(at.ip()) != Scope::Private {
            let mut junk = [0; JUNK_LEN];
            self.rng.fill_bytes(&mut junk);
            self.outbox.datagram(
                Target {
                    ttl: Some(JUNK_TTL),
                    ..target
                },
                &junk,
            );
        }
        self.probe(now, with, target);
    }

    /// Whether a path to exactly that address is in use.
    fn has_path_to(&self, now: Time, peer: Address, address: SocketAddr) -> bool {
        self.peers.get(&peer).is_some_and(|peer| {
            peer.best_path(now, &self.paths, |path| {
                path.remote == address && !path.is_dead(now)
            })
            .is_some()
        })
    }
}
