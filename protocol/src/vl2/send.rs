//! Frames of the owner (VL2 §1.5): whom they are for, whether the rules let them pass, and how
//! they travel.

use rand_core::Rng;

use super::filter::{self, Fate, Passage};
use super::frame::{ETHERTYPE_ARP, ETHERTYPE_IPV6, Frame};
use super::ndp;
use super::network::Network;
use super::{FrameSink, Vl2, rules_frame};
use crate::verb::{ExtFrame, Frame as FrameMessage};
use crate::vl1::Vl1;
use crate::wire::Emit;
use crate::{Address, Mac, MulticastGroup, NetworkConfig, NetworkId, Time, Verb};

/// Answers to the owner's own frames that wait to be taken.
const MAX_LOOPED: usize = 64;
/// A frame for a device behind an unknown bridge goes to at most this many (VL2 §4.7).
const MAX_BRIDGES_TRIED: usize = 32;

/// A frame for the owner that no other node sent.
#[derive(Debug)]
pub(super) struct Looped {
    network: NetworkId,
    src: Mac,
    dst: Mac,
    ethertype: u16,
    payload: Vec<u8>,
}

impl Vl2 {
    /// Lends the frames that wait for somebody to take them.
    pub(super) fn deliver_looped(&mut self, frames: FrameSink<'_>) {
        while let Some(Looped {
            network,
            src,
            dst,
            ethertype,
            payload,
        }) = self.looped.pop_front()
        {
            self.counters.frames_in += 1;
            frames(
                network,
                Frame {
                    src,
                    dst,
                    ethertype,
                    payload: &payload,
                },
            );
        }
    }

    pub(crate) fn send_frame(&mut self, now: Time, vl1: &mut Vl1, id: NetworkId, frame: Frame<'_>) {
        let Some(network) = self.networks.get_mut(&id) else {
            self.counters.not_joined += 1;
            return;
        };
        let Some(config) = &network.config else {
            self.counters.no_destination += 1;
            return;
        };
        if frame.src != network.mac && !config.is_active_bridge(network.own) {
            self.counters.foreign_mac += 1;
            return;
        }
        if frame.dst.is_multicast() {
            return self.send_to_group(now, vl1, id, frame);
        }
        match frame.dst.address_on(id) {
            Some(peer) if peer == network.own => self.counters.no_destination += 1,
            Some(peer) => self.send_to_member(now, vl1, id, peer, frame),
            None => self.send_behind_bridge(now, vl1, id, frame),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a frame header, spelled out")]
    pub(crate) fn send_burst(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        id: NetworkId,
        dst: Mac,
        ethertype: u16,
        count: usize,
        len: impl Fn(usize) -> usize,
        mut fill: impl FnMut(usize, &mut [u8]),
    ) {
        let Some(network) = self.networks.get_mut(&id) else {
            self.counters.not_joined += count as u64;
            return;
        };
        let src = network.mac;
        let peer = dst
            .address_on(id)
            .filter(|&peer| peer != network.own && !dst.is_multicast());
        let Some((config, peer)) = network.config.as_ref().zip(peer) else {
            return self.send_one_by_one(now, vl1, id, dst, ethertype, count, len, fill);
        };
        if config.asks_every_frame {
            return self.send_one_by_one(now, vl1, id, dst, ethertype, count, len, fill);
        }
        if count > 0 && !config.accepts_all {
            self.scratch.resize(len(0), 0);
            fill(0, &mut self.scratch);
            let frame = rules_frame(network.own, false, peer, src, dst, ethertype, &self.scratch);
            match filter::ask(config, &frame, network.members.get(&peer)) {
                Passage {
                    fate: Fate::Accepted | Fate::SuperAccepted,
                    copies: [None, None],
                } => {}
                Passage {
                    fate: Fate::Denied, ..
                } => {
                    self.counters.rules_out += count as u64;
                    return;
                }
                _ => return self.send_one_by_one(now, vl1, id, dst, ethertype, count, len, fill),
            }
        }
        network.push_if_needed(now, vl1, peer);
        for index in 0..count {
            let len = FrameMessage::HEADER_LEN + len(index);
            vl1.send_with(now, peer, Verb::FRAME, len, |out| {
                let (header, payload) = out.split_at_mut(FrameMessage::HEADER_LEN);
                FrameMessage {
                    network: id,
                    ethertype,
                    payload: &[],
                }
                .emit(header);
                fill(index, payload);
            });
        }
        self.counters.frames_out += count as u64;
    }

    #[expect(clippy::too_many_arguments, reason = "a frame header, spelled out")]
    fn send_one_by_one(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        id: NetworkId,
        dst: Mac,
        ethertype: u16,
        count: usize,
        len: impl Fn(usize) -> usize,
        mut fill: impl FnMut(usize, &mut [u8]),
    ) {
        let src = Mac::of(self.own, id);
        let mut payload = std::mem::take(&mut self.scratch);
        for index in 0..count {
            payload.resize(len(index), 0);
            fill(index, &mut payload);
            self.send_frame(
                now,
                vl1,
                id,
                Frame {
                    src,
                    dst,
                    ethertype,
                    payload: &payload,
                },
            );
        }
        self.scratch = payload;
    }

    fn send_to_member(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        id: NetworkId,
        peer: Address,
        frame: Frame<'_>,
    ) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let passage = network.judge(peer, &frame);
        if passage.fate == Fate::Denied {
            self.counters.rules_out += 1;
            return;
        }
        self.counters.frames_out += 1;
        if send_copies(now, vl1, network, peer, &frame, &passage, false) {
            return;
        }
        network.push_if_needed(now, vl1, peer);
        if frame.src == network.mac {
            let message = FrameMessage {
                network: id,
                ethertype: frame.ethertype,
                payload: frame.payload,
            };
            vl1.send_with(now, peer, Verb::FRAME, message.wire_len(), |out| {
                message.emit(out);
            });
        } else {
            send_ext_frame(now, vl1, id, peer, &frame, 0, false);
        }
    }

    fn send_to_group(&mut self, now: Time, vl1: &mut Vl1, id: NetworkId, frame: Frame<'_>) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(config) = &network.config else {
            return;
        };
        if let Some((src, payload)) = ndp::answer(config, id, &frame) {
            let looped = Looped {
                network: id,
                src,
                dst: frame.src,
                ethertype: ETHERTYPE_IPV6,
                payload,
            };
            if self.looped.len() < MAX_LOOPED {
                self.looped.push_back(looped);
            }
            return;
        }
        let group = match arp_target(&frame) {
            Some(target) => MulticastGroup {
                mac: frame.dst,
                adi: target,
            },
            None => MulticastGroup {
                mac: frame.dst,
                adi: 0,
            },
        };
        let broadcast = group == MulticastGroup::BROADCAST;
        let carried = config.parsed.multicast_limit > 0
            && (!broadcast || config.parsed.has(NetworkConfig::ENABLE_BROADCAST));
        if !carried {
            self.counters.multicast_off += 1;
            return;
        }
        let passage = network.judge(Address::NIL, &frame);
        if passage.fate == Fate::Denied {
            self.counters.rules_out += 1;
            return;
        }
        self.counters.frames_out += 1;
        if !send_copies(now, vl1, network, Address::NIL, &frame, &passage, false) {
            self.send_multicast(now, vl1, id, group, frame);
        }
    }

    /// Sends a frame to the bridge that leads to its destination, or to all (VL2 §4.7).
    fn send_behind_bridge(&mut self, now: Time, vl1: &mut Vl1, id: NetworkId, frame: Frame<'_>) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let passage = network.judge(Address::NIL, &frame);
        if passage.fate == Fate::Denied {
            self.counters.rules_out += 1;
            return;
        }
        if send_copies(now, vl1, network, Address::NIL, &frame, &passage, false) {
            return;
        }
        let Some(config) = &network.config else {
            return;
        };
        let mut bridges: Vec<_> = config
            .active_bridges()
            .filter(|&bridge| bridge != network.own)
            .collect();
        match network
            .bridges
            .to(frame.dst)
            .filter(|known| bridges.contains(known))
        {
            Some(known) => bridges = vec![known],
            None => {
                let spare = bridges.len().saturating_sub(MAX_BRIDGES_TRIED);
                for _ in 0..spare {
                    let unlucky = self.rng.next_u64() % bridges.len() as u64;
                    bridges.swap_remove(unlucky as usize);
                }
            }
        }
        let mut sent = false;
        for bridge in bridges {
            let passage = network.judge(bridge, &frame);
            if matches!(passage.fate, Fate::Accepted | Fate::SuperAccepted) {
                send_ext_frame(now, vl1, id, bridge, &frame, 0, false);
                sent = true;
            }
        }
        *(if sent {
            &mut self.counters.frames_out
        } else {
            &mut self.counters.no_destination
        }) += 1;
    }
}

impl Network {
    /// What the rules say about a frame of the owner to `peer`.
    fn judge(&self, peer: Address, frame: &Frame<'_>) -> Passage {
        let Some(config) = &self.config else {
            return Passage::DENIED;
        };
        let rules = rules_frame(
            self.own,
            false,
            peer,
            frame.src,
            frame.dst,
            frame.ethertype,
            frame.payload,
        );
        filter::ask(config, &rules, self.members.get(&peer))
    }
}

/// Sends what observers get of a frame. Whether the frame itself was sent elsewhere, too, and must
/// not go on.
pub(super) fn send_copies(
    now: Time,
    vl1: &mut Vl1,
    network: &mut Network,
    peer: Address,
    frame: &Frame<'_>,
    passage: &Passage,
    inbound: bool,
) -> bool {
    let (tee, redirect) = if inbound {
        (ExtFrame::INBOUND_TEE, ExtFrame::INBOUND_TEE | ExtFrame::TEE)
    } else {
        (ExtFrame::TEE, ExtFrame::REDIRECT)
    };
    for copy in passage.copies.iter().flatten() {
        let flags = match copy.is_watch {
            false => tee,
            true => tee | ExtFrame::REDIRECT | ExtFrame::ACKNOWLEDGE,
        };
        let payload = &frame.payload[..copy.length.min(frame.payload.len())];
        let copied = Frame { payload, ..*frame };
        network.push_if_needed(now, vl1, copy.to);
        send_ext_frame(now, vl1, network.id, copy.to, &copied, flags, copy.is_watch);
    }
    match passage.fate {
        Fate::Redirected(to) if to != peer && !to.is_nil() => {
            network.push_if_needed(now, vl1, to);
            send_ext_frame(now, vl1, network.id, to, frame, redirect, false);
            true
        }
        _ => false,
    }
}

fn send_ext_frame(
    now: Time,
    vl1: &mut Vl1,
    network: NetworkId,
    to: Address,
    frame: &Frame<'_>,
    flags: u8,
    expect_reply: bool,
) {
    let message = ExtFrame {
        network,
        flags,
        certificate: None,
        destination: frame.dst,
        source: frame.src,
        ethertype: frame.ethertype,
        payload: frame.payload,
    };
    if expect_reply {
        vl1.send(now, to, Verb::EXT_FRAME, &message.to_bytes(), true);
    } else {
        vl1.send_with(now, to, Verb::EXT_FRAME, message.wire_len(), |out| {
            message.emit(out);
        });
    }
}

/// The IPv4 address that an ARP request asks for (VL2 §1.5): it goes to the group of that address
/// instead of everybody.
fn arp_target(frame: &Frame<'_>) -> Option<u32> {
    const IPV4_REQUEST: [u8; 4] = [0x08, 0x00, 6, 4];
    const REQUEST: u8 = 1;
    let arp = frame.payload;
    let request = frame.ethertype == ETHERTYPE_ARP
        && frame.dst.is_broadcast()
        && arp.len() >= 28
        && arp[2..6] == IPV4_REQUEST
        && arp[7] == REQUEST;
    request.then(|| u32::from_be_bytes([arp[24], arp[25], arp[26], arp[27]]))
}
