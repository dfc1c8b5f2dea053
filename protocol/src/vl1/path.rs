//! Physical paths: a socket of ours and an address on the other side, how well they do, and the
//! table of all of them (VL1 §4.1, §4.7).
//!
//! Only authentic packets make entries here. Whether a peer may *use* a path is the peer's
//! matter.

use super::LocalSocket;
use super::gate::Gate;
use super::table::{FastMap, Tables};
use crate::Time;
use crate::inet::Scope;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Something came within this time: the path is alive.
pub(super) const ALIVE: Duration = Duration::from_secs(19);
/// A question unanswered for so long makes every other path better.
pub(super) const SILENT: Duration = Duration::from_millis(2_500);
/// A question unanswered for so long makes even a relay better.
const DEAD: Duration = Duration::from_secs(10);
/// The latency of a path that nobody measured.
const UNKNOWN_LATENCY: u32 = 65_535;
/// An unused path is forgotten after this time.
const IDLE: Duration = Duration::from_secs(30);
/// Paths remembered at most.
const MAX_PATHS: usize = 65_536;

/// Names a path; stays harmless when the path is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathId {
    index: u32,
    generation: u32,
}

/// One path and its state.
pub(super) struct Path {
    pub(super) local: LocalSocket,
    pub(super) remote: SocketAddr,
    pub(super) scope: Scope,
    /// Last authentic datagram.
    pub(super) last_in: Time,
    pub(super) last_out: Time,
    latency: Option<u32>,
    /// Since when a question of ours goes without any sign of life.
    unanswered: Option<Time>,
    /// Peers that have this path in their lists.
    pub(super) users: u32,
    pub(super) echo_gate: Gate,
    pub(super) hello_gate: Gate,
    /// For our HELLOs to a path that is not confirmed.
    pub(super) confirm_gate: Gate,
}

impl Path {
    fn new(now: Time, local: LocalSocket, remote: SocketAddr) -> Path {
        Path {
            local,
            remote,
            scope: Scope::of(remote.ip()),
            last_in: now,
            last_out: Time::NEVER,
            latency: None,
            unanswered: None,
            users: 0,
            echo_gate: Gate::default(),
            hello_gate: Gate::default(),
            confirm_gate: Gate::default(),
        }
    }

    /// Something authentic came.
    pub(super) fn received(&mut self, now: Time) {
        self.last_in = now;
        self.unanswered = None;
    }

    /// A question was sent that everybody answers.
    pub(super) fn asked(&mut self, now: Time) {
        self.last_out = now;
        self.unanswered.get_or_insert(now);
    }

    /// Round trip in milliseconds, if it was measured.
    pub(super) fn latency(&self) -> Option<u32> {
        self.latency
    }

    /// Takes in a measured round trip.
    pub(super) fn measured(&mut self, latency: u32) {
        self.latency = Some(self.latency.map_or(latency, |old| (old + latency) / 2));
    }

    /// Whether something came lately.
    pub(super) fn is_alive(&self, now: Time) -> bool {
        now.since(self.last_in) < ALIVE
    }

    fn unanswered_for(&self, now: Time) -> Duration {
        self.unanswered
            .map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Whether it gave no answer for a moment.
    pub(super) fn is_silent(&self, now: Time) -> bool {
        self.unanswered_for(now) >= SILENT
    }

    /// Whether it gave no answer for so long that others should be tried. Unlike stock, which
    /// sends into the void until the path expires after four minutes.
    pub(super) fn is_dead(&self, now: Time) -> bool {
        self.unanswered_for(now) >= DEAD
    }

    /// VL1 §4.7: lower is better; private addresses come first.
    pub(super) fn quality(&self, now: Time) -> u64 {
        const MAX_AGE: Duration = Duration::from_secs(140);
        let latency = u64::from(self.latency.unwrap_or(UNKNOWN_LATENCY));
        let cost = if self.is_alive(now) && !self.is_silent(now) {
            latency
        } else {
            let age = now.since(self.last_in).min(MAX_AGE);
            latency + u64::from(UNKNOWN_LATENCY) + age.as_millis() as u64
        };
        // One more than the latency, so that distance counts even on the fastest of links.
        (cost + 1) * (8 - self.scope as u64)
    }
}

struct Slot {
    generation: u32,
    path: Option<Path>,
}

/// All paths, by id and by address.
pub(super) struct Paths {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_address: FastMap<(LocalSocket, SocketAddr), u32>,
    /// The one found last: datagrams come in trains.
    recent: u32,
}

impl Paths {
    pub(super) fn new(tables: &Tables) -> Self {
        Paths {
            slots: Vec::new(),
            free: Vec::new(),
            by_address: tables.map(),
            recent: 0,
        }
    }

    pub(super) fn get(&self, id: PathId) -> Option<&Path> {
        let slot = self.slots.get(id.index as usize)?;
        slot.path
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: PathId) -> Option<&mut Path> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.path
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    /// The path between `local` and `remote`, if it is known.
    pub(super) fn find(&self, local: LocalSocket, remote: SocketAddr) -> Option<PathId> {
        let &index = self.by_address.get(&(local, canonical(remote)))?;
        Some(PathId {
            index,
            generation: self.slots.get(index as usize)?.generation,
        })
    }

    /// The path between `local` and `remote`, new if need be; `None` if there are too many.
    pub(super) fn intern(
        &mut self,
        now: Time,
        local: LocalSocket,
        remote: SocketAddr,
    ) -> Option<PathId> {
        let remote = canonical(remote);
        if let Some(Slot {
            generation,
            path: Some(path),
        }) = self.slots.get(self.recent as usize)
            && path.local == local
            && path.remote == remote
        {
            return Some(PathId {
                index: self.recent,
                generation: *generation,
            });
        }
        let index = match self.by_address.get(&(local, remote)) {
            Some(&index) => index,
            None => self.insert(Path::new(now, local, remote))?,
        };
        self.recent = index;
        Some(PathId {
            index,
            generation: self.slots[index as usize].generation,
        })
    }

    /// Forgets paths that no peer has in its list and that nothing came over lately.
    pub(super) fn collect(&mut self, now: Time) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let idle = |path: &mut Path| path.users == 0 && now.is_due(path.last_in, IDLE);
            if let Some(path) = slot.path.take_if(idle) {
                slot.generation = slot.generation.wrapping_add(1);
                self.by_address.remove(&(path.local, path.remote));
                self.free.push(index as u32);
            }
        }
    }

    fn insert(&mut self, path: Path) -> Option<u32> {
        if self.by_address.len() >= MAX_PATHS {
            return None;
        }
        let address = (path.local, path.remote);
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize].path = Some(path);
                index
            }
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    path: Some(path),
                });
                (self.slots.len() - 1) as u32
            }
        };
        self.by_address.insert(address, index);
        Some(index)
    }
}

/// Without the parts of an IPv6 socket address that do not name the other side.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) if v6.flowinfo() != 0 => {
            v6.set_flowinfo(0);
            SocketAddr::V6(v6)
        }
        _ => address,
    }
}

/// The network that an address is counted with: /24 or /48.
pub(super) fn prefix_of(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8) | 4 << 56,
        IpAddr::V6(ip) => (ip.to_bits() >> 80) as u64 | 6 << 56,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: LocalSocket = LocalSocket(0);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn paths() -> Paths {
        Paths::new(&Tables::new([1, 2, 3, 4]))
    }

    #[test]
    fn an_address_has_one_path_a_socket() {
        let mut paths = paths();
        let mut intern = |socket, text| paths.intern(Time(1), LocalSocket(socket), address(text));
        let first = intern(0, "10.0.0.1:9993");
        let second = intern(0, "10.0.0.1:9994");
        let third = intern(1, "10.0.0.1:9993");
        assert_eq!(intern(0, "10.0.0.1:9993"), first);
        assert!(first != second && first != third && second != third);
    }

    #[test]
    fn ids_of_forgotten_paths_find_nothing() {
        let mut paths = paths();
        let id = paths
            .intern(Time(0), SOCKET, address("10.0.0.1:1"))
            .unwrap();
        paths.get_mut(id).unwrap().users = 1;
        paths.collect(Time(60_000));
        paths.get_mut(id).unwrap().users = 0;
        paths.collect(Time(60_000));
        assert!(paths.get(id).is_none());
        let other = paths
            .intern(Time(0), SOCKET, address("10.0.0.2:1"))
            .unwrap();
        assert_eq!((other.index, id.index), (0, 0), "the slot is used again");
        assert!(paths.get(id).is_none() && paths.get(other).is_some());
    }

    #[test]
    fn private_beats_global_and_alive_beats_dead() {
        let path = |text, latency| {
            let mut path = Path::new(Time(0), SOCKET, address(text));
            path.measured(latency);
            path
        };
        let (private, global) = (path("10.0.0.1:1", 10), path("8.8.8.8:1", 10));
        assert!(private.quality(Time(0)) < global.quality(Time(0)));
        assert!(path("10.0.0.1:1", 90).quality(Time(0)) > global.quality(Time(0)));
        let mut recent = path("8.8.8.8:1", 500);
        recent.received(Time(19_000));
        assert!(recent.quality(Time(19_000)) < private.quality(Time(19_000)));
    }

    #[test]
    fn an_unanswered_question_makes_a_path_silent_then_dead() {
        let mut path = Path::new(Time(0), SOCKET, address("10.0.0.1:1"));
        path.asked(Time(1_000));
        path.asked(Time(9_000));
        assert!(!path.is_silent(Time(3_499)) && path.is_silent(Time(3_500)));
        assert!(!path.is_dead(Time(10_999)) && path.is_dead(Time(11_000)));
        path.received(Time(11_000));
        assert!(!path.is_silent(Time(100_000)));
    }

    #[test]
    fn latency_is_averaged() {
        let mut path = Path::new(Time(0), SOCKET, address("10.0.0.1:1"));
        assert_eq!(path.latency(), None);
        path.measured(10);
        path.measured(20);
        assert_eq!(path.latency(), Some(15));
    }
}
