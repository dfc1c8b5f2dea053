//! Introductions (VL1 §3.2): HELLO and its answer, and how a stranger becomes a peer.
//!
//! The validation of an identity takes tens of milliseconds. It happens in
//! [`Vl1::meet_identity`] only, behind the gate and after the MAC.

use super::outbox::Target;
use super::receive::Arrival;
use super::send::Message;
use super::{DropReason, Inbound, Peer, Vl1};
use crate::inet::{InetAddress, Scope};
use crate::packet::{self, HEADER_LEN, Header};
use crate::verb::{ErrorCode, ErrorReply, Hello, OkHello, Version, WorldRevision};
use crate::wire::Reader;
use crate::world::WorldKind;
use crate::{Address, Emit, Identity, PacketId, PeerKeys, Time, Verb, World};
use std::net::SocketAddr;
use std::time::Duration;

/// HELLOs of a known peer on one path; stock has no limit.
const HELLO_INTERVAL: Duration = Duration::from_secs(1);
const HELLO_BURST: u32 = 5;

impl Vl1 {
    /// Introduces ourselves to `to`, where it may or may not be.
    pub(super) fn send_hello(&mut self, now: Time, to: Address, target: Target) {
        let hello = Hello {
            version: self.version,
            timestamp: now.as_millis(),
            identity: *self.identity.public(),
            sent_to: InetAddress::from(target.remote),
            planet: self.planet_revision(),
            masked_moons: Hello::NO_MOONS,
        };
        let body = hello.to_bytes();
        let message = Message::plain(Verb::HELLO, body.len());
        let id = self.seal_to(to, target, message, |room| room.copy_from_slice(&body));
        self.expect_proof(now, to, target, id, Verb::HELLO);
    }

    /// Asks `to` for a sign of life.
    pub(super) fn send_echo(&mut self, now: Time, to: Address, target: Target) {
        let id = self.seal_to(to, target, Message::plain(Verb::ECHO, 0), |_| {});
        self.expect_proof(now, to, target, id, Verb::ECHO);
    }

    fn expect_proof(
        &mut self,
        now: Time,
        to: Address,
        target: Target,
        id: Option<PacketId>,
        verb: Verb,
    ) {
        let Some(id) = id else { return };
        self.replies.expect(now, id, to, verb);
        self.asked(now, to);
        if let Some(local) = target.local
            && let Some(path) = self.paths.find(local, target.remote)
            && let Some(path) = self.paths.get_mut(path)
        {
            path.asked(now);
        }
    }

    fn planet_revision(&self) -> Option<WorldRevision> {
        let planet = self.planet()?;
        Some(WorldRevision {
            id: planet.id(),
            timestamp: planet.timestamp(),
        })
    }

    /// Takes a HELLO in clear text, whose sender may be a stranger.
    pub(super) fn clear_hello(
        &mut self,
        now: Time,
        arrival: Arrival,
        header: &Header,
        packet: &mut [u8],
    ) {
        let Ok(Hello {
            version, identity, ..
        }) = Hello::parse(&packet[HEADER_LEN..])
        else {
            self.counters.drop(DropReason::MalformedMessage);
            return;
        };
        if version.protocol < Version::MIN_PROTOCOL {
            self.counters.drop(DropReason::OldProtocol);
            return;
        }
        if identity.address() != header.source {
            self.counters.drop(DropReason::WrongIdentity);
            return;
        }
        let admitted = match self.peers.get(&header.source) {
            Some(peer) if peer.identity == identity => packet::open(&peer.keys, packet).is_ok(),
            known => {
                let collides = known.is_some();
                let Some(keys) = self.open_strange(now, arrival, &identity, packet) else {
                    return;
                };
                if collides {
                    return self.report_collision(arrival, header, identity, keys);
                }
                if !self.meet_identity(now, identity) {
                    return;
                }
                true
            }
        };
        if !admitted {
            self.counters.drop(DropReason::NotAuthentic);
            return;
        }
        let Some(path) = self.paths.intern(now, arrival.local, arrival.remote) else {
            self.counters.drop(DropReason::PathTableFull);
            return;
        };
        let inbound = Inbound {
            from: header.source,
            path,
            hops: header.hops(),
            id: header.id,
            verb: Verb::HELLO,
            body: &packet[HEADER_LEN..],
        };
        self.counters.count_received(Verb::HELLO);
        self.accept_hello(now, arrival, &inbound);
    }

    /// Checks the MAC of a HELLO by an identity that we do not know, if its source may cost us
    /// that much.
    fn open_strange(
        &mut self,
        now: Time,
        arrival: Arrival,
        identity: &Identity,
        packet: &mut [u8],
    ) -> Option<PeerKeys> {
        let ip = arrival.remote.ip();
        let private = Scope::of(ip) == Scope::Private;
        if !self.identity_gate.admit(now, ip, private, &self.tables) {
            return self.drop(DropReason::IdentityGate);
        }
        let Some(secret) = self.identity.agree(identity) else {
            return self.drop(DropReason::InvalidIdentity);
        };
        let keys = PeerKeys::new(&secret);
        if packet::open(&keys, packet).is_err() {
            return self.drop(DropReason::NotAuthentic);
        }
        Some(keys)
    }

    /// Makes a peer of an identity, if its proof of work holds. This is the only place where
    /// identities are validated.
    pub(super) fn meet_identity(&mut self, now: Time, identity: Identity) -> bool {
        let address = identity.address();
        if address == self.address || self.peers.contains_key(&address) {
            return false;
        }
        let secret = self
            .identity
            .agree(&identity)
            .filter(|_| identity.validate());
        let Some(secret) = secret else {
            self.counters.drop(DropReason::InvalidIdentity);
            return false;
        };
        let mut peer = Peer::new(identity, PeerKeys::new(&secret));
        // A grace period: it has not been heard of when an upstream told its identity.
        peer.last_receive = now;
        self.peers.insert(address, Box::new(peer));
        self.flush(now, address);
        true
    }

    /// Remembers a peer of an earlier run and greets it where it was then. Its identity is
    /// trusted: it comes from our own disk.
    pub fn remember(
        &mut self,
        now: Time,
        identity: Identity,
        version: Option<Version>,
        addresses: &[SocketAddr],
    ) {
        let address = identity.address();
        if address == self.address {
            return;
        }
        if !self.peers.contains_key(&address) {
            let Some(secret) = self.identity.agree(&identity) else {
                return;
            };
            let mut peer = Peer::new(identity, PeerKeys::new(&secret));
            peer.version = version;
            peer.last_receive = now;
            self.peers.insert(address, Box::new(peer));
        }
        for &remote in addresses {
            if self.permits(address, remote.ip()) {
                let target = Target {
                    local: None,
                    remote,
                    ttl: None,
                };
                self.send_hello(now, address, target);
            }
        }
    }

    /// Somebody else has the address already: the first one wins (VL1 §3.2).
    fn report_collision(
        &mut self,
        arrival: Arrival,
        header: &Header,
        identity: Identity,
        keys: PeerKeys,
    ) {
        self.counters.drop(DropReason::IdentityCollision);
        let error = ErrorReply {
            verb: Verb::HELLO,
            id: header.id,
            code: ErrorCode::IDENTITY_COLLISION,
            payload: [].as_slice(),
        };
        let body = error.to_bytes();
        let target = Target {
            local: Some(arrival.local),
            remote: arrival.remote,
            ttl: None,
        };
        let stranger = Peer::new(identity, keys);
        let message = Message::plain(Verb::ERROR, body.len());
        let (outbox, rng) = (&mut self.outbox, &mut self.rng);
        let fill = |room: &mut [u8]| room.copy_from_slice(&body);
        let sealed = message.seal(self.address, &stranger, outbox, rng, target, fill);
        if sealed.is_some() {
            self.counters.count_sent(Verb::ERROR);
        }
    }

    /// Answers a HELLO whose MAC is right.
    pub(super) fn accept_hello(&mut self, now: Time, arrival: Arrival, inbound: &Inbound<'_>) {
        let Ok(hello) = Hello::parse(inbound.body) else {
            self.counters.drop(DropReason::MalformedMessage);
            return;
        };
        let Some(peer) = self.peers.get_mut(&inbound.from) else {
            return;
        };
        if hello.identity != peer.identity {
            self.counters.drop(DropReason::WrongIdentity);
            return;
        }
        let gate = self
            .paths
            .get_mut(inbound.path)
            .map(|path| &mut path.hello_gate);
        if !gate.is_some_and(|gate| gate.admit(now, HELLO_INTERVAL, HELLO_BURST)) {
            self.counters.drop(DropReason::HelloGate);
            return;
        }
        // Known before the answer is sealed, so that the answer comes in suite 3 already
        // (VL1, addendum 8).
        peer.version = Some(hello.version);
        if let Some(surface) = hello.sent_to.0
            && inbound.hops == 0
        {
            self.on_surface_report(now, inbound.from, arrival, surface);
        }
        let planet = self.planet().filter(|ours| {
            hello.planet.is_some_and(|theirs| {
                ours.id() != 0 && theirs.id == ours.id() && theirs.timestamp < ours.timestamp()
            })
        });
        let worlds = planet.map(Emit::to_bytes).unwrap_or_default();
        let answer = OkHello {
            timestamp: hello.timestamp,
            version: self.version,
            surface: InetAddress::from(arrival.remote),
            worlds: &worlds,
        };
        self.send_ok(now, inbound, &answer.to_bytes());
        self.received(now, inbound);
    }

    pub(super) fn on_ok_hello(
        &mut self,
        now: Time,
        arrival: Arrival,
        inbound: &Inbound<'_>,
        payload: &[u8],
    ) {
        let Ok(answer) = OkHello::parse(payload) else {
            self.counters.drop(DropReason::MalformedMessage);
            return;
        };
        if answer.version.protocol < Version::MIN_PROTOCOL {
            self.counters.drop(DropReason::OldProtocol);
            return;
        }
        if let Some(peer) = self.peers.get_mut(&inbound.from) {
            peer.version = Some(answer.version);
        }
        if inbound.hops == 0 {
            if let Some(path) = self.paths.get_mut(inbound.path) {
                let elapsed = now.as_millis().saturating_sub(answer.timestamp);
                path.measured(elapsed.min(u64::from(u16::MAX)) as u32);
            }
            if let Some(surface) = answer.surface.0 {
                self.on_surface_report(now, inbound.from, arrival, surface);
            }
        }
        if self.is_upstream(inbound.from) {
            let mut reader = Reader::new(answer.worlds, "worlds");
            while !reader.is_empty() {
                let Ok(world) = World::read(&mut reader) else {
                    self.counters.drop(DropReason::MalformedMessage);
                    return;
                };
                if world.kind() == WorldKind::Planet {
                    self.offer_planet(now, world);
                }
            }
        }
    }
}
