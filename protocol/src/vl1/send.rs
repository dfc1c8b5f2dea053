//! Outward: which path, which suite, and sealing in the place that the datagram is sent from
//! (VL1 §2.6, §4.8).

use super::outbox::{Outbox, Target};
use super::{DropReason, PathId, Peer, Vl1};
use crate::packet::{self, HEADER_LEN, MAX_PACKET, PHYSICAL_MTU};
use crate::verb::Hello;
use crate::{Address, CipherSuite, PacketId, Time, Verb};
use rand_core::Rng;

impl Vl1 {
    /// Sends a message by the best way there is. If the destination is unknown or out of reach
    /// it waits for up to five seconds.
    ///
    /// `expect_reply` must be set for a message that is answered by OK; other OKs are dropped.
    pub fn send(&mut self, now: Time, to: Address, verb: Verb, body: &[u8], expect_reply: bool) {
        let Some(path) = self.way_to(now, to) else {
            self.enqueue(now, to, verb, body.to_vec(), expect_reply);
            return;
        };
        if let Some(id) = self.send_body(now, path, to, verb, body)
            && expect_reply
        {
            self.replies.expect(now, id, to, verb);
            self.asked(now, to);
        }
    }

    /// Sends an answer on the path that the question came by; should that be gone, by the best.
    pub fn send_on(&mut self, now: Time, path: PathId, to: Address, verb: Verb, body: &[u8]) {
        if self.paths.get(path).is_none() {
            return self.send(now, to, verb, body, false);
        }
        self.send_body(now, path, to, verb, body);
    }

    /// Sends a message of `len` bytes that `fill` writes straight into the datagram. For frames:
    /// no allocation, no copy, no compression, no answer.
    ///
    /// False if the message was dropped for lack of room; `fill` was not called then.
    pub fn send_with(
        &mut self,
        now: Time,
        to: Address,
        verb: Verb,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        let Some(path) = self.way_to(now, to) else {
            let mut body = vec![0; len];
            fill(&mut body);
            self.enqueue(now, to, verb, body, false);
            return true;
        };
        self.seal_on(now, path, to, Message::plain(verb, len), fill)
            .is_some()
    }

    /// The path that a packet to `to` takes now, directly or by an upstream (VL1 §4.8).
    pub(super) fn way_to(&mut self, now: Time, to: Address) -> Option<PathId> {
        let direct = self.peers.get_mut(&to)?.route(now, &self.paths);
        direct.or_else(|| self.relay_to(now, to)).or_else(|| {
            // Nobody relays: what does not answer may still hear.
            self.peers.get(&to)?.best_path(now, &self.paths, |_| true)
        })
    }

    /// The path to the upstream that relays to `to`.
    fn relay_to(&mut self, now: Time, to: Address) -> Option<PathId> {
        let upstream = self.best_upstream_except(now, Some(to))?;
        self.peers.get_mut(&upstream)?.route(now, &self.paths)
    }

    /// Seals and queues a message on a path, compressed if that pays.
    pub(super) fn send_body(
        &mut self,
        now: Time,
        path: PathId,
        to: Address,
        verb: Verb,
        body: &[u8],
    ) -> Option<PacketId> {
        let compressed = if may_compress(verb) {
            packet::compress(body)
        } else {
            None
        };
        let bytes = compressed.as_deref().unwrap_or(body);
        let message = Message {
            verb,
            compressed: compressed.is_some(),
            len: bytes.len(),
        };
        self.seal_on(now, path, to, message, |room| room.copy_from_slice(bytes))
    }

    fn seal_on(
        &mut self,
        now: Time,
        path: PathId,
        to: Address,
        message: Message,
        fill: impl FnOnce(&mut [u8]),
    ) -> Option<PacketId> {
        let path = self.paths.get_mut(path)?;
        path.last_out = now;
        let target = Target {
            local: Some(path.local),
            remote: path.remote,
            ttl: None,
        };
        self.seal_to(to, target, message, fill)
    }

    /// Seals and queues a message to an address where the peer may or may not be.
    pub(super) fn seal_to(
        &mut self,
        to: Address,
        target: Target,
        message: Message,
        fill: impl FnOnce(&mut [u8]),
    ) -> Option<PacketId> {
        let peer = self.peers.get(&to)?;
        let sealed = message.seal(
            self.address,
            peer,
            &mut self.outbox,
            &mut self.rng,
            target,
            fill,
        );
        match sealed {
            Some(_) => self.counters.count_sent(message.verb),
            None => self.counters.drop(DropReason::OutboxFull),
        }
        sealed
    }

    /// Notes that `to` owes us a sign of life.
    pub(super) fn asked(&mut self, now: Time, to: Address) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.unanswered.get_or_insert(now);
        }
    }
}

/// What is worth the try: text and lists (VL1 §2.8). Frames are not, since 1.4.8.
fn may_compress(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::MULTICAST_LIKE
            | Verb::MULTICAST_FRAME
            | Verb::NETWORK_CONFIG_REQUEST
            | Verb::NETWORK_CONFIG
            | Verb::NETWORK_CREDENTIALS
            | Verb::PUSH_DIRECT_PATHS
            | Verb::OK
    )
}

/// A message about to be sealed.
#[derive(Clone, Copy)]
pub(super) struct Message {
    verb: Verb,
    compressed: bool,
    len: usize,
}

impl Message {
    /// A message that is not compressed, with a body of `len` bytes.
    pub(super) fn plain(verb: Verb, len: usize) -> Message {
        Message {
            verb,
            compressed: false,
            len,
        }
    }

    /// Seals a message in the outbox; `None` if there is no room, or it is too long.
    pub(super) fn seal(
        self,
        source: Address,
        peer: &Peer,
        outbox: &mut Outbox,
        rng: &mut impl Rng,
        target: Target,
        fill: impl FnOnce(&mut [u8]),
    ) -> Option<PacketId> {
        let suite = match self.verb {
            Verb::HELLO => CipherSuite::Poly1305,
            _ => peer.suite(),
        };
        let len = HEADER_LEN + self.len;
        if len > MAX_PACKET {
            return None;
        }
        let packet = outbox.reserve(len)?;
        packet::write_header(
            packet,
            rng,
            peer.identity.address(),
            source,
            len > PHYSICAL_MTU,
            self.verb,
            self.compressed,
        );
        fill(&mut packet[HEADER_LEN..]);
        if self.verb == Verb::HELLO {
            peer.keys
                .mask_hello_tail(packet, len - Hello::NO_MOONS.len());
        }
        let id = packet::seal(&peer.keys, suite, packet);
        outbox.commit(target, len);
        Some(id)
    }
}
