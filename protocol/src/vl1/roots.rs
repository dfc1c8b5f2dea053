//! The planet and its roots, our upstreams (VL1 §4.9, §5).

use super::{Peer, Vl1, Vl1Event};
use crate::world::UpdateRefused;
use crate::{Address, PeerKeys, Time, World};
use std::time::Duration;

/// An upstream that was silent for so long counts as lost. Stock waits for 500 s; our roots are
/// asked every 25 s.
const ONLINE: Duration = Duration::from_secs(90);
/// What the latency of an unmeasured path counts (VL1 §4.9).
const UNKNOWN_LATENCY: u64 = 65_535;

/// The planet in force and what follows from it.
pub(super) struct Roots {
    planet: Option<World>,
    /// The other roots, by ascending address.
    pub(super) upstreams: Vec<Address>,
    is_root: bool,
}

impl Roots {
    pub(super) fn new() -> Self {
        Roots {
            planet: None,
            upstreams: Vec::new(),
            is_root: false,
        }
    }

    pub(super) fn planet(&self) -> Option<&World> {
        self.planet.as_ref()
    }
}

impl Vl1 {
    /// The planet in force.
    pub fn planet(&self) -> Option<&World> {
        self.roots.planet()
    }

    /// Whether we are a root of our planet.
    pub fn is_root(&self) -> bool {
        self.roots.is_root
    }

    /// The other roots.
    pub fn upstreams(&self) -> impl Iterator<Item = Address> + '_ {
        self.roots.upstreams.iter().copied()
    }

    /// Whether `address` is an upstream of ours.
    pub fn is_upstream(&self, address: Address) -> bool {
        self.roots.upstreams.contains(&address)
    }

    /// Whether an upstream answers, or we are a root ourselves.
    pub fn is_online(&self) -> bool {
        self.online
    }

    /// The upstream to ask and to relay by (VL1 §4.9), if any has a path.
    pub fn best_upstream(&self, now: Time) -> Option<Address> {
        self.best_upstream_except(now, None)
    }

    /// Offers a planet from outside the network by the update rule (VL1 §5.2).
    pub fn update_planet(&mut self, now: Time, planet: World) -> Result<(), UpdateRefused> {
        if let Some(current) = self.roots.planet() {
            current.check_update(&planet)?;
        }
        self.adopt_planet(planet);
        self.next_ping_check = now;
        Ok(())
    }

    /// Offers a planet that came from an upstream.
    pub(super) fn offer_planet(&mut self, now: Time, planet: World) {
        if self.update_planet(now, planet.clone()).is_ok() {
            self.events.push_back(Vl1Event::PlanetUpdated(planet));
        }
    }

    /// Puts a planet in force, unchecked.
    pub(super) fn adopt_planet(&mut self, planet: World) {
        self.roots.is_root = false;
        self.roots.upstreams.clear();
        for peer in self.peers.values_mut() {
            peer.is_upstream = false;
            peer.endpoints.clear();
        }
        for root in planet.roots() {
            let address = root.identity.address();
            if root.identity == *self.identity.public() {
                self.roots.is_root = true;
                continue;
            }
            // The planet is signed: its identities need no validation. An identity that we
            // learned otherwise gives way.
            if self
                .peers
                .get(&address)
                .is_none_or(|peer| peer.identity != root.identity)
            {
                let Some(secret) = self.identity.agree(&root.identity) else {
                    continue;
                };
                let peer = Peer::new(root.identity, PeerKeys::new(&secret));
                if let Some(mut old) = self.peers.insert(address, Box::new(peer)) {
                    old.retain_paths(&mut self.paths, |_| false);
                }
            }
            let Some(peer) = self.peers.get_mut(&address) else {
                continue;
            };
            peer.is_upstream = true;
            peer.endpoints.clone_from(&root.endpoints);
            // A root whose address changed is to be greeted at once.
            peer.last_hello_sent = Time::NEVER;
            peer.hellos_in_vain = 0;
            peer.hellos_without_path = 0;
            let (endpoints, paths) = (&root.endpoints, &mut self.paths);
            let moved: Vec<_> = peer
                .paths()
                .iter()
                .map(|entry| entry.id)
                .filter(|&id| {
                    let ip = paths.get(id).map(|path| path.remote.ip());
                    !endpoints.is_empty() && !endpoints.iter().any(|e| Some(e.ip()) == ip)
                })
                .collect();
            peer.retain_paths(paths, |entry| !moved.contains(&entry.id));
            self.roots.upstreams.push(address);
        }
        self.roots.upstreams.sort_unstable();
        self.roots.planet = Some(planet);
        if self.roots.is_root {
            self.set_online(true);
        }
    }

    pub(super) fn best_upstream_except(&self, now: Time, not: Option<Address>) -> Option<Address> {
        let candidates = self
            .roots
            .upstreams
            .iter()
            .rev()
            .filter(|&&a| Some(a) != not);
        candidates
            .filter_map(|&address| {
                let peer = self.peers.get(&address)?;
                let path = self
                    .paths
                    .get(peer.best_path(now, &self.paths, |_| true)?)?;
                let since = now.since(peer.last_receive).as_millis() as u64;
                let latency = path.latency().map_or(UNKNOWN_LATENCY, u64::from).max(1);
                Some((
                    address,
                    (
                        path.is_silent(now) || peer.is_silent(now),
                        latency * (since / 61_000 + 1),
                    ),
                ))
            })
            .min_by_key(|&(_, quality)| quality)
            .map(|(address, _)| address)
    }

    /// Says that we are offline when the last upstream has been silent for too long.
    pub(super) fn check_online(&mut self, now: Time) {
        let heard = |address| {
            let peer: Option<&Box<Peer>> = self.peers.get(address);
            peer.is_some_and(|peer| now.since(peer.last_receive) < ONLINE)
        };
        let online = self.roots.is_root || self.roots.upstreams.iter().any(heard);
        self.set_online(online);
    }

    pub(super) fn set_online(&mut self, online: bool) {
        if self.online != online {
            self.online = online;
            self.events.push_back(if online {
                Vl1Event::Online
            } else {
                Vl1Event::Offline
            });
        }
    }
}
