//! Frames from other members (VL2 §4.1, §4.2, §4.6): is the sender a member, do the rules let the
//! frame pass, may it have these MACs — then it is lent to the owner.

use super::filter::{self, Fate, Passage};
use super::network::Network;
use super::send::send_copies;
use super::{Counters, Frame, FrameSink, Vl2, rules_frame};
use crate::verb::{ExtFrame, Frame as FrameMessage, MulticastFrame, Reply};
use crate::vl1::{Inbound, Vl1};
use crate::wire::Emit;
use crate::{Address, Mac, NetworkId, Time, Verb};

/// Longest payload of a multicast frame (VL2 §4.6).
const MAX_MULTICAST_PAYLOAD: usize = 10_000;

/// What the checks of a frame said.
enum Entry {
    /// It may be delivered.
    Open,
    /// It is dealt with: dropped, kept or sent elsewhere.
    Closed,
}

impl Vl2 {
    /// Treats FRAME. This is the hot path: nothing is copied and nothing allocated.
    pub(super) fn handle_frame(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        inbound: &Inbound<'_>,
        frames: FrameSink<'_>,
    ) {
        let Ok(message) = FrameMessage::parse(inbound.body) else {
            self.counters.malformed += 1;
            return;
        };
        let id = message.network;
        let Some(network) = self.networks.get_mut(&id) else {
            self.counters.not_joined += 1;
            return;
        };
        if !network.admits(vl1, inbound.from) {
            return self.refuse(now, vl1, id, inbound);
        }
        admitted(now, vl1, network, inbound);
        if message.payload.is_empty() {
            return;
        }
        let frame = Frame {
            src: Mac::of(inbound.from, id),
            dst: network.mac,
            ethertype: message.ethertype,
            payload: message.payload,
        };
        let passage = judge(network, inbound.from, &frame);
        match enforce(
            now,
            vl1,
            network,
            &mut self.counters,
            inbound.from,
            &frame,
            passage,
        ) {
            Entry::Open => deliver(&mut self.counters, id, frame, frames),
            Entry::Closed => {}
        }
    }

    /// Treats EXT_FRAME.
    pub(super) fn handle_ext_frame(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        inbound: &Inbound<'_>,
        frames: FrameSink<'_>,
    ) {
        let Ok(message) = ExtFrame::parse(inbound.body) else {
            self.counters.malformed += 1;
            return;
        };
        let id = message.network;
        if let Some(certificate) = message.certificate {
            self.accept_inline_certificate(now, vl1, inbound.from, certificate);
        }
        let Some(network) = self.networks.get_mut(&id) else {
            self.counters.not_joined += 1;
            return;
        };
        if !network.admits(vl1, inbound.from) {
            return self.refuse(now, vl1, id, inbound);
        }
        admitted(now, vl1, network, inbound);
        let frame = Frame {
            src: message.source,
            dst: message.destination,
            ethertype: message.ethertype,
            payload: message.payload,
        };
        if frame.src.is_nil() || frame.src == network.mac || frame.payload.is_empty() {
            self.counters.foreign_mac += 1;
            return;
        }
        let passage = judge(network, inbound.from, &frame);
        if passage.fate != Fate::SuperAccepted
            && !(network.may_send_as(inbound.from, frame.src)
                && network.may_receive_as(inbound.from, &frame))
        {
            self.counters.foreign_mac += 1;
            return;
        }
        if let Entry::Open = enforce(
            now,
            vl1,
            network,
            &mut self.counters,
            inbound.from,
            &frame,
            passage,
        ) {
            deliver(&mut self.counters, id, frame, frames);
        }
        if message.flags & ExtFrame::ACKNOWLEDGE != 0 {
            let reply = Reply {
                verb: inbound.verb,
                id: inbound.id,
                payload: id,
            };
            vl1.send_on(now, inbound.path, inbound.from, Verb::OK, &reply.to_bytes());
        }
    }

    /// Treats MULTICAST_FRAME.
    pub(super) fn handle_multicast_frame(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        inbound: &Inbound<'_>,
        frames: FrameSink<'_>,
    ) {
        let Ok(message) = MulticastFrame::parse(inbound.body) else {
            self.counters.malformed += 1;
            return;
        };
        let id = message.network;
        if let Some(certificate) = message.certificate {
            self.accept_inline_certificate(now, vl1, inbound.from, certificate);
        }
        let Some(network) = self.networks.get_mut(&id) else {
            self.counters.not_joined += 1;
            return;
        };
        if !network.admits(vl1, inbound.from) {
            return self.refuse(now, vl1, id, inbound);
        }
        admitted(now, vl1, network, inbound);
        if network
            .config
            .as_ref()
            .is_none_or(|config| config.parsed.multicast_limit == 0)
        {
            self.counters.multicast_off += 1;
            return;
        }
        let frame = Frame {
            src: message.source.unwrap_or_else(|| Mac::of(inbound.from, id)),
            dst: message.group.mac,
            ethertype: message.ethertype,
            payload: message.payload,
        };
        if !(1..=MAX_MULTICAST_PAYLOAD).contains(&frame.payload.len()) {
            self.counters.malformed += 1;
            return;
        }
        let strange = frame.src.is_nil() || frame.src.is_multicast() || frame.src == network.mac;
        if strange || !frame.dst.is_multicast() || !network.may_send_as(inbound.from, frame.src) {
            self.counters.foreign_mac += 1;
            return;
        }
        let passage = judge(network, inbound.from, &frame);
        if let Entry::Open = enforce(
            now,
            vl1,
            network,
            &mut self.counters,
            inbound.from,
            &frame,
            passage,
        ) {
            deliver(&mut self.counters, id, frame, frames);
        }
        if let Some(limit) = message.gather_limit {
            self.answer_implicit_gather(now, vl1, inbound, (id, message.group), limit);
        }
    }
}

impl Network {
    /// Whether `peer` may send frames from `source`; the route to a device behind a bridge is
    /// learned.
    fn may_send_as(&mut self, peer: Address, source: Mac) -> bool {
        if source == Mac::of(peer, self.id) {
            return true;
        }
        let bridge = self
            .config
            .as_ref()
            .is_some_and(|config| config.is_active_bridge(peer));
        if bridge {
            self.bridges.learn(source, peer);
        }
        bridge
    }

    /// Whether a frame that is not for our MAC may come to us: to a group, or because we are a
    /// bridge. What a bridge sends is not checked here (VL2 §4.2).
    fn may_receive_as(&self, peer: Address, frame: &Frame<'_>) -> bool {
        if frame.dst == self.mac || frame.src != Mac::of(peer, self.id) {
            return true;
        }
        let Some(config) = &self.config else {
            return false;
        };
        if frame.dst.is_multicast() {
            config.parsed.multicast_limit > 0
        } else {
            config.is_active_bridge(self.own)
        }
    }
}

/// A packet passed the gate: VL1 may trust its sender, and its sender should know our groups.
fn admitted(now: Time, vl1: &mut Vl1, network: &mut Network, inbound: &Inbound<'_>) {
    vl1.trusted(now, inbound.from, inbound.path);
    network.announce_to(now, vl1, inbound.from);
}

/// What the rules say about a frame of `peer`.
fn judge(network: &Network, peer: Address, frame: &Frame<'_>) -> Passage {
    let Some(config) = &network.config else {
        return Passage::DENIED;
    };
    let rules = rules_frame(
        network.own,
        true,
        peer,
        frame.src,
        frame.dst,
        frame.ethertype,
        frame.payload,
    );
    filter::ask(config, &rules, network.members.get(&peer))
}

/// Does what the rules said: copies for observers, sending elsewhere, dropping.
fn enforce(
    now: Time,
    vl1: &mut Vl1,
    network: &mut Network,
    counters: &mut Counters,
    peer: Address,
    frame: &Frame<'_>,
    passage: Passage,
) -> Entry {
    match passage.fate {
        Fate::Denied => {
            counters.rules_in += 1;
            return Entry::Closed;
        }
        Fate::Accepted | Fate::SuperAccepted if passage.copies == [None; 2] => return Entry::Open,
        _ => {}
    }
    send_copies(now, vl1, network, peer, frame, &passage, true);
    match passage.fate {
        Fate::Redirected(_) => Entry::Closed,
        _ => Entry::Open,
    }
}

fn deliver(counters: &mut Counters, network: NetworkId, frame: Frame<'_>, frames: FrameSink<'_>) {
    counters.frames_in += 1;
    frames(network, frame);
}
