//! VL1, the peer-to-peer layer (VL1 §4): who the other nodes are, which paths lead to them, and
//! what a root does for everyone.
//!
//! [`Vl1`] is a state machine without input or output. Datagrams and the time go in; what comes
//! out are authenticated packets for the layer above ([`Inbound`]), datagrams to send
//! ([`Transmit`]) and events. Verbs that concern only VL1 (HELLO, WHOIS, RENDEZVOUS …) are dealt
//! with inside; networks and frames are not known here.
//!
//! The time that callers pass in must never go backwards: the wall clock, read once, plus a
//! monotonic clock.
//!
//! | module | subject |
//! |---|---|
//! | `receive` | from a datagram to an authentic packet, and what every packet tells of its sender |
//! | `send` | the choice of path and suite, sealing in place |
//! | `hello` | introductions, and the only place where identities are validated |
//! | `whois` | unknown addresses, and what waits for them |
//! | `relay` | what a root does for others |
//! | `direct` | ways around the relay |
//! | `surface` | our own address as others see it |
//! | `keepalive` | timers |
//! | `roots` | the planet and its roots |
//! | `peer`, `path` | one peer, one path |
//! | `reassembly`, `outbox`, `replies`, `gate`, `counters`, `table` | tools |

mod counters;
mod direct;
mod gate;
mod hello;
mod info;
mod keepalive;
mod outbox;
mod path;
mod peer;
mod reassembly;
mod receive;
mod relay;
mod replies;
mod roots;
mod send;
mod surface;
mod table;
mod whois;

#[cfg(test)]
mod tests;

pub use counters::{Counters, DropReason};
pub use info::{PathInfo, PeerInfo};
pub use outbox::Transmit;
pub use path::PathId;

use crate::inet::IpPrefix;
use crate::verb::Version;
use crate::{Address, Identity, PacketId, SecretIdentity, Time, Verb, World};
use direct::Introductions;
use gate::IdentityGate;
use outbox::Outbox;
use path::Paths;
use peer::Peer;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use reassembly::Reassembly;
use replies::Replies;
use roots::Roots;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use surface::Surface;
use table::{FastMap, Tables};
use whois::Whois;

/// A UDP socket of the service, by a number that the service gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalSocket(pub u32);

/// An authentic packet for the layer above, decrypted and decompressed.
///
/// It borrows from the datagram or from the [`Scratch`], never from [`Vl1`].
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'d> {
    /// Who sealed it.
    pub from: Address,
    /// Where it came in; answers go out there.
    pub path: PathId,
    /// How often it was relayed; 0 if it came directly.
    pub hops: u8,
    /// The id by which an answer quotes it.
    pub id: PacketId,
    /// What the body means.
    pub verb: Verb,
    /// Everything after the verb byte. For OK and ERROR it begins with the verb and the id that
    /// they answer.
    pub body: &'d [u8],
}

/// Buffers for packets that cannot be read where they arrived: joined fragments and decompressed
/// bodies. One for each [`Vl1`], kept by its owner.
#[derive(Debug, Default)]
pub struct Scratch {
    joined: Vec<u8>,
    plain: Vec<u8>,
}

/// What the owner should know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Vl1Event {
    /// An upstream answers.
    Online,
    /// No upstream answers any more.
    Offline,
    /// An upstream got its first path, or is back after a silence.
    UpstreamReachable(Address),
    /// The identity that [`Vl1::want_identity`] asked for is known now.
    IdentityKnown(Address),
    /// A peer got its first direct path; its record is worth keeping.
    PeerSeen(Address),
    /// A newer planet is in force and should be kept.
    PlanetUpdated(World),
    /// An upstream says that our address belongs to another identity (VL1 §6.6).
    IdentityCollision,
}

/// The VL1 state machine of one node.
pub struct Vl1 {
    identity: SecretIdentity,
    address: Address,
    /// What we announce; only tests change it.
    version: Version,
    rng: ChaCha12Rng,
    tables: Tables,
    peers: FastMap<Address, Box<Peer>>,
    paths: Paths,
    roots: Roots,
    replies: Replies,
    whois: Whois,
    surface: Surface,
    introductions: Introductions,
    identity_gate: IdentityGate,
    reassembly: Reassembly,
    outbox: Outbox,
    /// Our own sockets, as other hosts on our links reach them.
    local_addresses: Vec<SocketAddr>,
    /// Subnets of our own virtual networks: no path leads through them.
    excluded: Vec<IpPrefix>,
    events: VecDeque<Vl1Event>,
    counters: Counters,
    online: bool,
    next_ping_check: Time,
    /// Before the next ping check, while a root is lost.
    next_greeting: Option<Time>,
    next_housekeeping: Time,
}

impl Vl1 {
    /// A node that knows nobody but the roots of its planet. `seed` must be random and secret:
    /// packet ids come from it.
    pub fn new(now: Time, identity: SecretIdentity, planet: World, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let tables = Tables::new(std::array::from_fn(|_| rng.next_u64()));
        let mut node = Vl1 {
            address: identity.address(),
            identity,
            version: Version::OURS,
            peers: tables.map(),
            paths: Paths::new(&tables),
            roots: Roots::new(),
            replies: Replies::new(&tables),
            whois: Whois::new(&tables),
            surface: Surface::default(),
            introductions: Introductions::new(&tables),
            identity_gate: IdentityGate::new(),
            reassembly: Reassembly::new(&tables),
            outbox: Outbox::new(),
            local_addresses: Vec::new(),
            excluded: Vec::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            online: false,
            next_ping_check: now,
            next_greeting: None,
            next_housekeeping: now + keepalive::HOUSEKEEPING,
            rng,
            tables,
        };
        node.adopt_planet(planet);
        node
    }

    /// Our own identity.
    pub fn identity(&self) -> &SecretIdentity {
        &self.identity
    }

    /// Our own address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The identity of a peer, if it is known; our own, too.
    pub fn identity_of(&self, address: Address) -> Option<&Identity> {
        if address == self.address {
            return Some(self.identity.public());
        }
        self.peers.get(&address).map(|peer| &peer.identity)
    }

    /// Whether packets to `address` need no relay.
    pub fn has_direct_path(&self, now: Time, address: Address) -> bool {
        self.peers
            .get(&address)
            .is_some_and(|peer| peer.has_direct_path(now, &self.paths))
    }

    /// Tells how our own sockets are reached on the links that this host is on; such addresses
    /// are pushed to trusted peers.
    pub fn set_local_addresses(&mut self, addresses: &[SocketAddr]) {
        let gained = addresses
            .iter()
            .any(|address| !self.local_addresses.contains(address));
        self.local_addresses.clear();
        self.local_addresses.extend_from_slice(addresses);
        if gained {
            // Plugged in, perhaps: roots that were out of reach may be in reach now.
            self.greet_lost_roots();
        }
    }

    /// Tells the subnets of our own virtual networks; no path leads through them (VL1 §4.12).
    pub fn set_excluded(&mut self, subnets: &[(IpAddr, u8)]) {
        self.excluded.clear();
        let subnets = subnets.iter();
        self.excluded
            .extend(subnets.filter_map(|&(network, bits)| IpPrefix::new(network, bits)));
    }

    /// The next datagrams to send; they stay queued until
    /// [`transmit_done`](Self::transmit_done).
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.outbox.front()
    }

    /// Forgets what [`poll_transmit`](Self::poll_transmit) showed: it was sent, or cannot be.
    pub fn transmit_done(&mut self) {
        self.outbox.pop();
    }

    /// Whether so much waits to be sent that the owner should stop producing.
    pub fn congested(&self) -> bool {
        self.outbox.congested()
    }

    /// Datagrams and bytes queued for sending so far.
    pub fn sent(&self) -> (u64, u64) {
        self.outbox.totals()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Vl1Event> {
        self.events.pop_front()
    }

    /// What was received, sent and dropped.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
