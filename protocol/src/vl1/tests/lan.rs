//! A simulated network: hosts, NATs, loss, delay and a clock that only we turn.
//!
//! Runs are repeatable: the same seed gives the same packets.

use crate::vl1::{LocalSocket, Scratch, Vl1, Vl1Event};
use crate::world::Root;
use crate::{Address, SecretIdentity, Time, Verb, World};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

/// When every simulation begins.
pub(super) const START: Time = Time(1_700_000_000_000);
const SOCKET: LocalSocket = LocalSocket(0);
const PLANET_ID: u64 = 0x1122_3344_5566_7788;

/// The `n`th of a few identities that are the same in every run.
pub(super) fn identity(n: usize) -> SecretIdentity {
    static IDENTITIES: OnceLock<Vec<SecretIdentity>> = OnceLock::new();
    let make = |n| SecretIdentity::generate(&mut ChaCha12Rng::from_seed([n; 32]));
    IDENTITIES.get_or_init(|| (1..=6).map(make).collect())[n].clone()
}

/// A planet with the first identity as its root, at `endpoints`.
pub(super) fn planet(timestamp: u64, endpoints: &[&str]) -> World {
    planet_of(timestamp, &[(0, endpoints)])
}

/// A planet with these identities as its roots.
pub(super) fn planet_of(timestamp: u64, roots: &[(usize, &[&str])]) -> World {
    let key = crate::identity::SecretKey::from_bytes([7; 64]);
    let root = |&(n, endpoints): &(usize, &[&str])| Root {
        identity: *identity(n).public(),
        endpoints: endpoints.iter().map(|text| text.parse().unwrap()).collect(),
    };
    World::make_planet(&key, PLANET_ID, timestamp, roots.iter().map(root).collect())
}

/// What a host got for its upper layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Delivered {
    pub(super) from: Address,
    pub(super) verb: Verb,
    pub(super) hops: u8,
    pub(super) body: Vec<u8>,
    pub(super) at: Time,
}

/// A host with one socket.
pub(super) struct Host {
    pub(super) node: Vl1,
    scratch: Scratch,
    /// Where the network sees it.
    pub(super) outside: SocketAddr,
    /// Lets in only answers to what went out, if set.
    pub(super) behind_nat: bool,
    opened: HashSet<SocketAddr>,
    pub(super) up: bool,
    pub(super) delivered: Vec<Delivered>,
    pub(super) events: Vec<Vl1Event>,
    /// Stands for VL2: every FRAME proves a common network.
    pub(super) trusts_frames: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Time,
    sequence: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// The network.
pub(super) struct Lan {
    pub(super) now: Time,
    pub(super) hosts: Vec<Host>,
    flights: BinaryHeap<Reverse<Flight>>,
    rng: ChaCha12Rng,
    sequence: u64,
    pub(super) delay: u64,
    pub(super) jitter: u64,
    /// Lost datagrams in a thousand.
    pub(super) loss: u32,
    /// Datagrams ever sent.
    pub(super) datagrams: u64,
    /// Bytes of the longest of them.
    pub(super) largest: usize,
}

impl Lan {
    pub(super) fn new(seed: u8) -> Lan {
        Lan {
            now: START,
            hosts: Vec::new(),
            flights: BinaryHeap::new(),
            rng: ChaCha12Rng::from_seed([seed; 32]),
            sequence: 0,
            delay: 2,
            jitter: 0,
            loss: 0,
            datagrams: 0,
            largest: 0,
        }
    }

    /// A root at 10.0.0.1 and `leaves` leaves at 10.0.0.2 and on.
    pub(super) fn with_root(seed: u8, leaves: usize) -> Lan {
        let mut lan = Lan::new(seed);
        for n in 0..=leaves {
            let outside = format!("10.0.0.{}:9993", n + 1);
            lan.add(n, &outside, planet(1, &["10.0.0.1:9993"]));
        }
        lan
    }

    /// Adds a host with the `n`th identity.
    pub(super) fn add(&mut self, n: usize, outside: &str, planet: World) -> usize {
        let seed = std::array::from_fn(|i| (self.hosts.len() + i) as u8);
        let outside: SocketAddr = outside.parse().unwrap();
        let mut node = Vl1::new(self.now, identity(n), planet, seed);
        node.set_local_addresses(&[outside]);
        self.hosts.push(Host {
            node,
            scratch: Scratch::default(),
            outside,
            behind_nat: false,
            opened: HashSet::new(),
            up: true,
            delivered: Vec::new(),
            events: Vec::new(),
            trusts_frames: true,
        });
        self.hosts.len() - 1
    }

    pub(super) fn address(&self, host: usize) -> Address {
        self.hosts[host].node.address()
    }

    /// Sends a FRAME of `len` bytes.
    pub(super) fn frame(&mut self, from: usize, to: usize, len: usize) {
        let to = self.address(to);
        let now = self.now;
        let fill = |body: &mut [u8]| {
            body.iter_mut()
                .enumerate()
                .for_each(|(i, b)| *b = (i * 7) as u8)
        };
        assert!(
            self.hosts[from]
                .node
                .send_with(now, to, Verb::FRAME, len, fill)
        );
        self.settle(from);
    }

    /// Sends one frame each way and a moment later tells whether both came directly.
    pub(super) fn talk(&mut self, a: usize, b: usize) -> bool {
        let before = [self.hosts[a].delivered.len(), self.hosts[b].delivered.len()];
        self.frame(a, b, 100);
        self.frame(b, a, 100);
        self.run(Duration::from_millis(20));
        let directly = |host: usize, before: usize| {
            self.hosts[host].delivered[before..]
                .iter()
                .any(|packet| packet.hops == 0)
        };
        directly(a, before[0]) && directly(b, before[1])
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.flights.peek().map(|Reverse(flight)| flight.at);
            let up = self.hosts.iter().filter(|host| host.up);
            let timer = up.filter_map(|host| host.node.deadline()).min();
            let next = [arrival, timer].into_iter().flatten().min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
            while self
                .flights
                .peek()
                .is_some_and(|Reverse(flight)| flight.at <= self.now)
            {
                let Some(Reverse(flight)) = self.flights.pop() else {
                    break;
                };
                self.arrive(flight);
            }
            for host in 0..self.hosts.len() {
                let Host { node, up, .. } = &mut self.hosts[host];
                if *up && node.deadline().is_some_and(|at| at <= self.now) {
                    node.handle_timeout(self.now);
                    self.settle(host);
                }
            }
        }
        self.now = end;
    }

    /// Hands `bytes` to a host as if they came from `from`.
    pub(super) fn inject(&mut self, host: usize, from: SocketAddr, bytes: &[u8]) {
        let Host { node, scratch, .. } = &mut self.hosts[host];
        let mut bytes = bytes.to_vec();
        let inbound = node.handle_datagram(self.now, SOCKET, from, &mut bytes, scratch);
        let delivered = inbound.map(|inbound| Delivered {
            from: inbound.from,
            verb: inbound.verb,
            hops: inbound.hops,
            body: inbound.body.to_vec(),
            at: self.now,
        });
        let trusted = inbound.filter(|inbound| inbound.verb == Verb::FRAME);
        let trusted = trusted.map(|inbound| (inbound.from, inbound.path));
        self.deliver(host, delivered, trusted);
        self.settle(host);
    }

    fn deliver(
        &mut self,
        host: usize,
        packet: Option<Delivered>,
        trusted: Option<(Address, crate::vl1::PathId)>,
    ) {
        let host = &mut self.hosts[host];
        host.delivered.extend(packet);
        if let Some((from, path)) = trusted
            && host.trusts_frames
        {
            host.node.trusted(self.now, from, path);
        }
    }

    fn arrive(&mut self, flight: Flight) {
        let Some(host) = self
            .hosts
            .iter()
            .position(|host| host.up && host.outside == flight.to)
        else {
            return;
        };
        if !self.hosts[host].behind_nat || self.hosts[host].opened.contains(&flight.from) {
            self.inject(host, flight.from, &flight.bytes);
        }
    }

    /// Takes out of a host what it has for others.
    fn settle(&mut self, host: usize) {
        loop {
            let Host { node, scratch, .. } = &mut self.hosts[host];
            let Some(inbound) = node.poll_parked(self.now, scratch) else {
                break;
            };
            let packet = Delivered {
                from: inbound.from,
                verb: inbound.verb,
                hops: inbound.hops,
                body: inbound.body.to_vec(),
                at: self.now,
            };
            let trusted = (inbound.verb == Verb::FRAME).then_some((inbound.from, inbound.path));
            self.deliver(host, Some(packet), trusted);
        }
        while let Some(event) = self.hosts[host].node.poll_event() {
            self.hosts[host].events.push(event);
        }
        let Host {
            node,
            outside,
            opened,
            ..
        } = &mut self.hosts[host];
        while let Some(transmit) = node.poll_transmit() {
            opened.insert(transmit.remote);
            for bytes in transmit.datagrams() {
                self.datagrams += 1;
                self.largest = self.largest.max(bytes.len());
                if self.rng.next_u32() % 1000 < self.loss || transmit.ttl.is_some() {
                    continue;
                }
                let jitter = self.rng.next_u64() % (self.jitter + 1);
                self.sequence += 1;
                self.flights.push(Reverse(Flight {
                    at: self.now + Duration::from_millis(self.delay + jitter),
                    sequence: self.sequence,
                    from: *outside,
                    to: transmit.remote,
                    bytes: bytes.to_vec(),
                }));
            }
            node.transmit_done();
        }
    }

    /// How many packets of each verb a host sent, as text for a snapshot.
    pub(super) fn sent(&self, host: usize) -> String {
        let counters = self.hosts[host].node.counters();
        let verbs = (0..32)
            .map(Verb::from_byte)
            .filter(|&verb| counters.sent(verb) > 0);
        let counts: Vec<_> = verbs
            .map(|verb| format!("{verb} {}", counters.sent(verb)))
            .collect();
        counts.join(", ")
    }
}
