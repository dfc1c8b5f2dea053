//! Frames that came before the certificate that admits them (VL2 §3.7).
//!
//! A peer's first frame often overtakes its certificate. It is kept while the peer is asked for
//! the certificate, and delivered as soon as that is accepted; so the first packet of a
//! connection is not lost.

use std::collections::VecDeque;
use std::time::Duration;

use crate::vl1::{Inbound, PathId};
use crate::{Address, NetworkId, PacketId, Time, Verb};

const LIFETIME: Duration = Duration::from_secs(5);
/// Frames kept in all, and of one peer.
const MAX_FRAMES: usize = 64;
const MAX_FRAMES_OF_PEER: usize = 8;

/// Refused frames, oldest first.
#[derive(Debug, Default)]
pub(super) struct KeptFrames {
    frames: VecDeque<KeptFrame>,
}

/// A refused frame with what is needed to treat it as if it had just come.
#[derive(Debug)]
pub(super) struct KeptFrame {
    network: NetworkId,
    since: Time,
    from: Address,
    path: PathId,
    hops: u8,
    id: PacketId,
    verb: Verb,
    body: Vec<u8>,
}

impl KeptFrames {
    /// Keeps a refused frame; the oldest give way.
    pub(super) fn keep(&mut self, now: Time, network: NetworkId, inbound: &Inbound<'_>) {
        self.expire(now);
        let of_peer = self
            .frames
            .iter()
            .filter(|kept| kept.from == inbound.from)
            .count();
        if of_peer >= MAX_FRAMES_OF_PEER {
            return;
        }
        if self.frames.len() >= MAX_FRAMES {
            self.frames.pop_front();
        }
        self.frames.push_back(KeptFrame {
            network,
            since: now,
            from: inbound.from,
            path: inbound.path,
            hops: inbound.hops,
            id: inbound.id,
            verb: inbound.verb,
            body: inbound.body.to_vec(),
        });
    }

    /// Takes the frames that `from` sent to `network`, in order.
    pub(super) fn take(&mut self, now: Time, network: NetworkId, from: Address) -> Vec<KeptFrame> {
        self.take_matching(now, |kept| kept.network == network && kept.from == from)
    }

    /// Takes all frames for `network`, in order.
    pub(super) fn take_all(&mut self, now: Time, network: NetworkId) -> Vec<KeptFrame> {
        self.take_matching(now, |kept| kept.network == network)
    }

    fn take_matching(&mut self, now: Time, wanted: impl Fn(&KeptFrame) -> bool) -> Vec<KeptFrame> {
        if self.frames.is_empty() {
            return Vec::new();
        }
        self.expire(now);
        let (taken, left) = self.frames.drain(..).partition(wanted);
        self.frames = left;
        Vec::from(taken)
    }

    fn expire(&mut self, now: Time) {
        self.frames.retain(|kept| now.since(kept.since) < LIFETIME);
    }
}

impl KeptFrame {
    /// The frame as it came.
    pub(super) fn as_inbound(&self) -> Inbound<'_> {
        Inbound {
            from: self.from,
            path: self.path,
            hops: self.hops,
            id: self.id,
            verb: self.verb,
            body: &self.body,
        }
    }
}
