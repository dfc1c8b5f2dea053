//! Timers: keeping paths and NAT mappings alive, noticing what died, and forgetting it
//! (VL1 §4.4, §4.15).
//!
//! Kinder to roots than stock: a root that answers gets an ECHO every 25 s and a HELLO a minute,
//! where stock asks one of them something every 5 s; a root that does not answer is asked less
//! and less often.

use super::outbox::Target;
use super::path::Path;
use super::{DropReason, PathId, Peer, Vl1};
use crate::{Address, Time};
use rand_core::Rng;
use std::net::SocketAddr;
use std::time::Duration;

/// How often it is decided who needs a sign of life.
pub(super) const PING_CHECK: Duration = Duration::from_secs(5);
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(30);
/// A path in use is refreshed when nothing was sent on it for so long.
const HEARTBEAT: Duration = Duration::from_secs(14);
/// A root's path is refreshed when nothing came from it for so long: with the ping check's
/// rhythm, at least every 25 s.
const ROOT_HEARTBEAT: Duration = Duration::from_secs(20);
/// A full HELLO at least this often.
const PING_PERIOD: Duration = Duration::from_secs(60);
/// A path on which we send but hear nothing for so long is asked.
const QUIET: Duration = Duration::from_secs(5);
/// A root that is lost is greeted soon again a few times, because the greeting or its answer may
/// be lost, and a program waits for its address …
const FIRST_GREETINGS: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// … then at this interval …
const GREETING: Duration = Duration::from_secs(5);
/// … and, after so many greetings in vain …
const GREETINGS_BEFORE_BACKOFF: u32 = 24;
/// … at this one.
const SLOW_GREETING: Duration = Duration::from_secs(30);

impl Vl1 {
    /// Runs every timer that is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if now >= self.next_ping_check {
            self.ping_check(now);
            self.check_online(now);
            self.next_ping_check = now + PING_CHECK;
            self.next_greeting = self.greeting_due(now);
        } else if self.next_greeting.is_some_and(|due| now >= due) {
            for address in self.roots.upstreams.clone() {
                self.keep_root(now, address);
            }
            self.next_greeting = self.greeting_due(now);
        }
        if self
            .whois
            .deadline()
            .is_some_and(|deadline| now >= deadline)
        {
            self.retry_lookups(now);
        }
        self.reassembly.expire(now);
        let incomplete = self.reassembly.take_evicted();
        self.counters
            .drop_many(DropReason::IncompletePacket, incomplete);
        if now >= self.next_housekeeping {
            self.clean_up(now);
            self.next_housekeeping = now + HOUSEKEEPING;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn deadline(&self) -> Option<Time> {
        let others = [
            self.whois.deadline(),
            self.reassembly.deadline(),
            Some(self.next_housekeeping),
            self.next_greeting,
        ];
        others
            .into_iter()
            .flatten()
            .chain([self.next_ping_check])
            .min()
    }

    fn ping_check(&mut self, now: Time) {
        let mut addresses: Vec<Address> = self.peers.keys().copied().collect();
        // In a fixed order: behaviour must not depend on the hash.
        addresses.sort_unstable();
        for address in addresses {
            let Some(peer) = self.peers.get_mut(&address) else {
                continue;
            };
            peer.expire_paths(now, &mut self.paths);
            if peer.is_upstream {
                self.keep_root(now, address);
            } else if peer.is_active(now) {
                self.keep_peer(now, address);
            }
        }
    }

    /// Keeps the paths of a peer with which we share a network alive.
    fn keep_peer(&mut self, now: Time, address: Address) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        let full = now.is_due(peer.last_hello_sent, PING_PERIOD);
        if full {
            peer.last_hello_sent = now;
        }
        for (_, target) in self.targets(address, |path| {
            full || now.is_due(path.last_out, HEARTBEAT)
                || path.last_out > path.last_in && now.is_due(path.last_in, QUIET)
        }) {
            if full {
                self.send_hello(now, address, target);
            } else {
                self.probe(now, address, target);
            }
        }
    }

    /// Keeps in touch with an upstream.
    fn keep_root(&mut self, now: Time, address: Address) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        // Silent: it may have forgotten us.
        let lost = peer.is_silent(now) || !peer.has_direct_path(now, &self.paths);
        let interval = if lost {
            greeting_interval(peer)
        } else {
            PING_PERIOD
        };
        if now.is_due(peer.last_hello_sent, interval) {
            peer.last_hello_sent = now;
            peer.hellos_in_vain = peer.hellos_in_vain.saturating_add(1);
            peer.hellos_without_path = peer.hellos_without_path.saturating_add(1);
            self.greet_root(now, address, lost);
        } else if !lost {
            let quiet = self.targets(address, |path| now.is_due(path.last_in, ROOT_HEARTBEAT));
            let best = self
                .peers
                .get(&address)
                .and_then(|p| p.best_path(now, &self.paths, |_| true));
            if let Some((_, target)) = quiet.into_iter().find(|&(path, _)| Some(path) == best) {
                self.probe(now, address, target);
            }
        }
    }

    /// When a lost root must be greeted before the next ping check.
    fn greeting_due(&self, now: Time) -> Option<Time> {
        let upstreams = self
            .roots
            .upstreams
            .iter()
            .filter_map(|root| self.peers.get(root));
        let lost =
            upstreams.filter(|peer| peer.is_silent(now) || !peer.has_direct_path(now, &self.paths));
        let due = lost.map(|peer| peer.last_hello_sent + greeting_interval(peer));
        due.filter(|&due| due < self.next_ping_check).min()
    }

    /// Makes the next timer greet the upstreams that have no path.
    pub(super) fn greet_lost_roots(&mut self) {
        for address in &self.roots.upstreams {
            if let Some(peer) = self.peers.get_mut(address)
                && peer.paths().is_empty()
            {
                peer.last_hello_sent = Time::NEVER;
                peer.hellos_in_vain = 0;
                peer.hellos_without_path = 0;
                self.next_ping_check = Time::NEVER;
            }
        }
    }

    /// Sends a HELLO on every path, and to one endpoint of each family that has none or does not
    /// answer.
    fn greet_root(&mut self, now: Time, address: Address, lost: bool) {
        let mut greeted: Vec<SocketAddr> = Vec::new();
        for (_, target) in self.targets(address, |_| true) {
            self.send_hello(now, address, target);
            greeted.push(target.remote);
        }
        let Some(peer) = self.peers.get(&address) else {
            return;
        };
        let endpoints = peer.endpoints.clone();
        for is_v6 in [false, true] {
            if greeted.iter().any(|remote| remote.is_ipv6() == is_v6) && !lost {
                continue;
            }
            let family: Vec<_> = endpoints
                .iter()
                .copied()
                .filter(|e| e.is_ipv6() == is_v6 && !greeted.contains(e))
                .collect();
            if family.is_empty() {
                continue;
            }
            let choice = self.rng.next_u32() as usize % family.len();
            let target = Target {
                local: None,
                remote: family[choice],
                ttl: None,
            };
            self.send_hello(now, address, target);
            greeted.push(target.remote);
        }
        // Nowhere to send it to directly: another root may relay it.
        if greeted.is_empty()
            && let Some(path) = self.way_to(now, address)
            && let Some(path) = self.paths.get(path)
        {
            let target = Target {
                local: Some(path.local),
                remote: path.remote,
                ttl: None,
            };
            self.send_hello(now, address, target);
        }
    }

    /// Asks the paths of a peer that were quiet for a moment, all but `except`.
    pub(super) fn probe_quiet_paths(&mut self, now: Time, address: Address, except: PathId) {
        const MOMENT: Duration = Duration::from_secs(1);
        for (id, target) in self.targets(address, |path| now.is_due(path.last_in, MOMENT)) {
            if id != except {
                self.probe(now, address, target);
            }
        }
    }

    /// Sends the cheapest question that proves a path (VL1 §4.4).
    pub(super) fn probe(&mut self, now: Time, to: Address, target: Target) {
        match self.peers.get(&to) {
            Some(peer) if peer.answers_echo() => self.send_echo(now, to, target),
            Some(_) => self.send_hello(now, to, target),
            None => {}
        }
    }

    /// The paths of a peer that `condition` holds for.
    fn targets(
        &self,
        address: Address,
        condition: impl Fn(&Path) -> bool,
    ) -> Vec<(PathId, Target)> {
        let paths = self
            .peers
            .get(&address)
            .map_or(&[][..], |peer| peer.paths());
        let paths = paths
            .iter()
            .filter_map(|entry| Some((entry.id, self.paths.get(entry.id)?)));
        let chosen = paths.filter(|(_, path)| condition(path));
        chosen
            .map(|(id, path)| {
                (
                    id,
                    Target {
                        local: Some(path.local),
                        remote: path.remote,
                        ttl: None,
                    },
                )
            })
            .collect()
    }

    /// Forgets what has not been heard of for long.
    fn clean_up(&mut self, now: Time) {
        let paths = &mut self.paths;
        self.peers.retain(|_, peer| {
            let keep = peer.is_upstream || peer.is_alive(now);
            if !keep {
                peer.retain_paths(paths, |_| false);
            }
            keep
        });
        self.paths.collect(now);
        self.introductions.collect(now);
        self.surface.expire(now);
        self.outbox.trim();
    }
}

/// How long after the last greeting a lost root is greeted again.
fn greeting_interval(peer: &Peer) -> Duration {
    let first = FIRST_GREETINGS.get((peer.hellos_without_path as usize).saturating_sub(1));
    match (first, peer.hellos_in_vain) {
        (Some(&first), _) => first,
        (None, ..GREETINGS_BEFORE_BACKOFF) => GREETING,
        (None, _) => SLOW_GREETING,
    }
}
