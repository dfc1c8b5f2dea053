//! Another node: its keys, what is known of it, and the paths that lead to it (VL1 §4.1, §4.6,
//! §4.7).

use super::gate::Gate;
use super::path::{PathId, Paths, SILENT};
use crate::verb::Version;
use crate::{CipherSuite, Identity, PeerKeys, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// A path whose last packet is older is not used and forgotten.
pub(super) const PATH_EXPIRATION: Duration = Duration::from_millis(243_000);
/// A peer heard of within this time is active.
pub(super) const ACTIVITY: Duration = Duration::from_secs(500);
/// Paths of one peer at most.
const MAX_PATHS: usize = 64;
/// How long the choice of a path stands unless something happens.
const ROUTE_LIFETIME: Duration = Duration::from_millis(250);

/// A confirmed path of a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerPath {
    pub(super) id: PathId,
    /// Last authentic packet that came directly.
    pub(super) last_receive: Time,
}

/// One peer.
pub(super) struct Peer {
    pub(super) identity: Identity,
    pub(super) keys: PeerKeys,
    pub(super) version: Option<Version>,
    paths: Vec<PeerPath>,
    route: Option<PathId>,
    route_until: Time,
    /// Where a root must be, if it is an upstream of ours that says so (VL1 §4.12, rule 2).
    pub(super) endpoints: Vec<SocketAddr>,
    pub(super) is_upstream: bool,
    pub(super) last_receive: Time,
    pub(super) last_nontrivial_receive: Time,
    pub(super) last_hello_sent: Time,
    /// HELLOs sent in vain since it was last heard of.
    pub(super) hellos_in_vain: u32,
    /// Greetings since a packet last came on a confirmed path: what answers otherwise does not
    /// make us greet faster.
    pub(super) hellos_without_path: u32,
    pub(super) last_push_sent: Time,
    pub(super) last_push_received: Time,
    pub(super) pushes_in_burst: u32,
    pub(super) whois_gate: Gate,
    /// Since when a question of ours goes without any sign of life, by whatever path.
    pub(super) unanswered: Option<Time>,
}

impl Peer {
    pub(super) fn new(identity: Identity, keys: PeerKeys) -> Peer {
        Peer {
            identity,
            keys,
            version: None,
            paths: Vec::new(),
            route: None,
            route_until: Time::NEVER,
            endpoints: Vec::new(),
            is_upstream: false,
            last_receive: Time::NEVER,
            last_nontrivial_receive: Time::NEVER,
            last_hello_sent: Time::NEVER,
            hellos_in_vain: 0,
            hellos_without_path: 0,
            last_push_sent: Time::NEVER,
            last_push_received: Time::NEVER,
            pushes_in_burst: 0,
            whois_gate: Gate::default(),
            unanswered: None,
        }
    }

    /// The suite for packets to it (VL1 §2.6).
    pub(super) fn suite(&self) -> CipherSuite {
        match self.version {
            Some(version) if version.protocol >= Version::AES_PROTOCOL => CipherSuite::AesGmacSiv,
            _ => CipherSuite::Salsa2012Poly1305,
        }
    }

    /// Whether an ECHO may probe its paths.
    pub(super) fn answers_echo(&self) -> bool {
        self.version
            .is_some_and(|version| version.protocol >= Version::ECHO_PROTOCOL)
    }

    /// Whether anything was heard of it within [`ACTIVITY`].
    pub(super) fn is_alive(&self, now: Time) -> bool {
        now.since(self.last_receive) < ACTIVITY
    }

    /// Whether there was traffic of a virtual network within [`ACTIVITY`].
    pub(super) fn is_active(&self, now: Time) -> bool {
        now.since(self.last_nontrivial_receive) < ACTIVITY
    }

    /// Whether a question of ours has gone without any sign of life for a moment.
    pub(super) fn is_silent(&self, now: Time) -> bool {
        self.unanswered
            .is_some_and(|since| now.is_due(since, SILENT))
    }

    /// Notes a sign of life.
    pub(super) fn received(&mut self, now: Time) {
        self.last_receive = now;
        self.unanswered = None;
        self.hellos_in_vain = 0;
    }

    /// Notes a packet that came directly; false if the path is not in the list.
    pub(super) fn received_on(&mut self, now: Time, path: PathId) -> bool {
        match self.paths.iter_mut().find(|entry| entry.id == path) {
            Some(entry) => {
                entry.last_receive = now;
                self.hellos_without_path = 0;
                true
            }
            None => false,
        }
    }

    /// The confirmed paths, expired ones included.
    pub(super) fn paths(&self) -> &[PeerPath] {
        &self.paths
    }

    /// Makes the next packet choose its path anew.
    pub(super) fn reroute(&mut self) {
        self.route_until = Time::NEVER;
    }

    /// The path for packets to it, chosen a moment ago or now.
    pub(super) fn route(&mut self, now: Time, paths: &Paths) -> Option<PathId> {
        if self.route_until <= now {
            self.route = self.best_path(now, paths, |path| !path.is_dead(now));
            self.route_until = now + ROUTE_LIFETIME;
        }
        self.route
    }

    /// The best path that is not expired and that `usable` admits.
    pub(super) fn best_path(
        &self,
        now: Time,
        paths: &Paths,
        usable: impl Fn(&super::path::Path) -> bool,
    ) -> Option<PathId> {
        let candidates = self.paths.iter().rev().filter(|entry| is_fresh(entry, now));
        candidates
            .filter_map(|entry| Some((entry.id, paths.get(entry.id)?)))
            .filter(|(_, path)| usable(path))
            .min_by_key(|(_, path)| path.quality(now))
            .map(|(id, _)| id)
    }

    /// Whether packets can go to it without a relay.
    pub(super) fn has_direct_path(&self, now: Time, paths: &Paths) -> bool {
        self.best_path(now, paths, |path| !path.is_dead(now))
            .is_some()
    }

    /// Whether a living path between the same hosts makes this one unnecessary (VL1 §4.6): a NAT
    /// may show one host under several ports.
    pub(super) fn has_twin(&self, now: Time, paths: &Paths, path: PathId) -> bool {
        let Some(new) = paths.get(path) else {
            return true;
        };
        self.paths
            .iter()
            .filter_map(|entry| paths.get(entry.id))
            .any(|old| {
                old.local == new.local
                    && old.remote.ip() == new.remote.ip()
                    && old.is_alive(now)
                    && !old.is_silent(now)
            })
    }

    /// Adds a path that an OK has confirmed, in the place of a dead one between the same hosts
    /// or of the oldest, if need be.
    pub(super) fn learn(&mut self, now: Time, paths: &mut Paths, path: PathId) {
        let Some(new) = paths.get(path) else { return };
        let (local, ip) = (new.local, new.remote.ip());
        let mut obsolete = self.paths.iter().position(|entry| {
            paths.get(entry.id).is_none_or(|old| {
                old.local == local
                    && old.remote.ip() == ip
                    && (!old.is_alive(now) || old.is_silent(now))
            })
        });
        if obsolete.is_none() && self.paths.len() >= MAX_PATHS {
            let last_in = |entry: &PeerPath| paths.get(entry.id).map(|path| path.last_in);
            obsolete = (0..self.paths.len()).min_by_key(|&i| last_in(&self.paths[i]));
        }
        if let Some(index) = obsolete {
            let removed = self.paths.remove(index);
            release(paths, removed.id);
        }
        self.paths.push(PeerPath {
            id: path,
            last_receive: now,
        });
        if let Some(path) = paths.get_mut(path) {
            path.users += 1;
        }
        self.reroute();
    }

    /// Forgets the paths that `keep` does not want.
    pub(super) fn retain_paths(
        &mut self,
        paths: &mut Paths,
        mut keep: impl FnMut(&PeerPath) -> bool,
    ) {
        self.paths.retain(|entry| {
            let keep = keep(entry);
            if !keep {
                release(paths, entry.id);
            }
            keep
        });
        self.reroute();
    }

    /// Forgets the paths that expired.
    pub(super) fn expire_paths(&mut self, now: Time, paths: &mut Paths) {
        self.retain_paths(paths, |entry| is_fresh(entry, now));
    }

    /// Makes a path unusable until the peer speaks again (VL1 §4.11).
    pub(super) fn suspend(&mut self, path: PathId) {
        for entry in self.paths.iter_mut().filter(|entry| entry.id == path) {
            entry.last_receive = Time::NEVER;
        }
        self.reroute();
    }
}

fn is_fresh(entry: &PeerPath, now: Time) -> bool {
    now.since(entry.last_receive) < PATH_EXPIRATION
}

fn release(paths: &mut Paths, path: PathId) {
    if let Some(path) = paths.get_mut(path) {
        path.users = path.users.saturating_sub(1);
    }
}
