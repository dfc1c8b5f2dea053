//! Multicast: sending to groups whose members must be found first, and helping others to find
//! them (VL2 §4.4–§4.6).

use std::collections::VecDeque;
use std::time::Duration;

use rand_core::Rng;

use super::filter::{self, Fate};
use super::listeners::GroupKey;
use super::network::Network;
use super::{Vl2, rules_frame};
use crate::verb::{
    ErrorReply, GatherResults, MulticastFrame, MulticastGather, MulticastLike, OkMulticastFrame,
    OkMulticastGather, Reply, UnwantedMulticast,
};
use crate::vl1::{Inbound, Vl1};
use crate::wire::Emit;
use crate::{Address, Mac, MulticastGroup, NetworkId, Time, Verb};

/// A frame waits this long for members of its group.
const PENDING_LIFETIME: Duration = Duration::from_secs(5);
/// Frames that wait at most, per group.
const MAX_PENDING: usize = 32;
/// Groups that frames wait for, per network; beyond, the expired ones are dropped.
const MAX_OUTBOXES: usize = 256;
/// Members of a group are asked for at most this often while some are known.
const GATHER_INTERVAL: Duration = Duration::from_secs(60);
/// Nodes asked in one go.
const MAX_ASKED: usize = 16;

/// What waits for members of one group.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pending: VecDeque<Pending>,
    last_gather: Option<Time>,
}

/// A multicast frame on its way.
#[derive(Debug)]
struct Pending {
    since: Time,
    /// The body of the MULTICAST_FRAME.
    body: Vec<u8>,
    /// The payload's length, at the end of the body.
    payload_len: usize,
    source: Mac,
    ethertype: u16,
    group: MulticastGroup,
    sent_to: Vec<Address>,
    limit: usize,
}

impl Outbox {
    fn expire(&mut self, now: Time) {
        self.pending
            .retain(|pending| now.since(pending.since) < PENDING_LIFETIME);
    }
}

impl Pending {
    /// Sends a copy to `peer` unless it has one, the rules refuse, or enough have got one.
    fn send_to(&mut self, now: Time, vl1: &mut Vl1, network: &mut Network, peer: Address) {
        if self.sent_to.len() >= self.limit || self.sent_to.contains(&peer) {
            return;
        }
        let Some(config) = &network.config else {
            return;
        };
        let payload = &self.body[self.body.len() - self.payload_len..];
        let frame = rules_frame(
            network.own,
            false,
            peer,
            self.source,
            self.group.mac,
            self.ethertype,
            payload,
        );
        // Copies for observers were made in the first pass, which had no destination.
        let passage = filter::ask(config, &frame, network.members.get(&peer));
        if !matches!(passage.fate, Fate::Accepted | Fate::SuperAccepted) {
            return;
        }
        self.sent_to.push(peer);
        network.push_if_needed(now, vl1, peer);
        vl1.send(now, peer, Verb::MULTICAST_FRAME, &self.body, true);
    }
}

impl Vl2 {
    /// Sends a frame to everybody in `group` (VL2 §4.5). The rules have accepted it already
    /// without a destination.
    pub(super) fn send_multicast(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        id: NetworkId,
        group: MulticastGroup,
        frame: super::Frame<'_>,
    ) {
        let Self {
            networks,
            listeners,
            rng,
            ..
        } = self;
        let Some(network) = networks.get_mut(&id) else {
            return;
        };
        let Some(config) = &network.config else {
            return;
        };
        let own = network.own;
        let limit = config.parsed.multicast_limit as usize;
        let bridges: Vec<_> = config.active_bridges().filter(|&b| b != own).collect();
        let mut members: Vec<_> = listeners.of(&(id, group)).filter(|&m| m != own).collect();
        let enough = members.len() >= limit;
        let gather_limit = if enough { 1 } else { limit - members.len() + 1 };
        shuffle(rng, &mut members);

        let message = MulticastFrame {
            network: id,
            certificate: None,
            gather_limit: u32::try_from(gather_limit).ok(),
            source: (frame.src != network.mac).then_some(frame.src),
            replicate: false,
            group,
            ethertype: frame.ethertype,
            payload: frame.payload,
        };
        let mut pending = Pending {
            since: now,
            body: message.to_bytes(),
            payload_len: frame.payload.len(),
            source: frame.src,
            ethertype: frame.ethertype,
            group,
            sent_to: Vec::new(),
            limit,
        };
        if !enough {
            network.gather(now, vl1, rng, group, gather_limit, members.is_empty());
        }
        for peer in bridges.into_iter().chain(members) {
            pending.send_to(now, vl1, network, peer);
        }
        if !enough {
            network.keep_pending(now, pending);
        }
    }

    /// Notes that `listener` wants a group, and sends it what waits for the group.
    fn add_listener(&mut self, now: Time, vl1: &mut Vl1, key: GroupKey, listener: Address) {
        if listener == vl1.address() || listener.is_reserved() {
            return;
        }
        if !self.listeners.add(now, key, listener) {
            self.counters.over_limit += 1;
            return;
        }
        let (id, group) = key;
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(mut outbox) = network.multicasts.remove(&group) else {
            return;
        };
        outbox.expire(now);
        for pending in &mut outbox.pending {
            pending.send_to(now, vl1, network, listener);
        }
        network.multicasts.insert(group, outbox);
    }

    /// Treats MULTICAST_LIKE (VL2 §4.4).
    pub(super) fn handle_likes(&mut self, now: Time, vl1: &mut Vl1, inbound: &Inbound<'_>) {
        for MulticastLike { network, group } in MulticastLike::parse_all(inbound.body) {
            if self.may_ask(now, vl1, network, inbound.from) {
                self.add_listener(now, vl1, (network, group), inbound.from);
            } else {
                self.counters.unauthorized += 1;
            }
        }
    }

    /// Treats MULTICAST_GATHER (VL2 §4.6).
    pub(super) fn handle_gather(&mut self, now: Time, vl1: &mut Vl1, inbound: &Inbound<'_>) {
        let Ok(gather) = MulticastGather::parse(inbound.body) else {
            self.counters.malformed += 1;
            return;
        };
        let (network, group) = (gather.network, gather.group);
        if let Some(certificate) = gather.certificate {
            self.accept_inline_certificate(now, vl1, inbound.from, certificate);
        }
        if !self.may_ask(now, vl1, network, inbound.from) {
            self.counters.unauthorized += 1;
            return;
        }
        if self
            .networks
            .get_mut(&network)
            .is_some_and(|network| network.admits(vl1, inbound.from))
        {
            vl1.trusted(now, inbound.from, inbound.path);
        }
        if let Some(results) = self.gather_results((network, group), inbound.from, gather.limit) {
            let payload = OkMulticastGather {
                network,
                group,
                results,
            };
            let reply = Reply {
                verb: inbound.verb,
                id: inbound.id,
                payload,
            };
            vl1.send_on(now, inbound.path, inbound.from, Verb::OK, &reply.to_bytes());
        }
    }

    /// Answers the gather limit of a MULTICAST_FRAME that was accepted.
    pub(super) fn answer_implicit_gather(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        inbound: &Inbound<'_>,
        key: GroupKey,
        limit: u32,
    ) {
        let results = self.gather_results(key, inbound.from, limit);
        if results.is_some() {
            let (network, group) = key;
            let payload = OkMulticastFrame {
                network,
                group,
                certificate: None,
                results,
            };
            let reply = Reply {
                verb: inbound.verb,
                id: inbound.id,
                payload,
            };
            vl1.send_on(now, inbound.path, inbound.from, Verb::OK, &reply.to_bytes());
        }
    }

    /// Treats OK(MULTICAST_GATHER), whose sender we asked.
    pub(super) fn handle_gathered(&mut self, now: Time, vl1: &mut Vl1, payload: &[u8]) {
        match OkMulticastGather::parse(payload) {
            Ok(ok) => self.add_results(now, vl1, (ok.network, ok.group), ok.results),
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// Treats OK(MULTICAST_FRAME), whose sender we asked.
    pub(super) fn handle_multicast_ok(&mut self, now: Time, vl1: &mut Vl1, payload: &[u8]) {
        match OkMulticastFrame::parse(payload) {
            Ok(ok) => {
                if let Some(results) = ok.results {
                    self.add_results(now, vl1, (ok.network, ok.group), results);
                }
            }
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// Treats ERROR(UNWANTED_MULTICAST) (VL2 §4.3).
    pub(super) fn handle_unwanted(&mut self, vl1: &Vl1, from: Address, error: &ErrorReply<&[u8]>) {
        let Ok(unwanted) = UnwantedMulticast::parse(error.payload) else {
            self.counters.malformed += 1;
            return;
        };
        let network = self.networks.get_mut(&unwanted.network);
        if network.is_some_and(|network| network.admits(vl1, from)) {
            self.listeners
                .remove((unwanted.network, unwanted.group), from);
        }
    }

    /// Whether `peer` may announce and gather groups of `network` here: it is a fellow member,
    /// or this node is a root, or its controller and gave it a configuration lately.
    fn may_ask(&mut self, now: Time, vl1: &Vl1, network: NetworkId, peer: Address) -> bool {
        vl1.is_root()
            || self.issued.is_recent(now, network, peer)
            || self
                .networks
                .get_mut(&network)
                .is_some_and(|network| network.admits(vl1, peer))
    }

    /// Members of a group for somebody who is not to be listed; `None` if there are none.
    fn gather_results(
        &mut self,
        key: GroupKey,
        asker: Address,
        limit: u32,
    ) -> Option<GatherResults> {
        let limit = (limit as usize).min(OkMulticastGather::MAX_MEMBERS);
        if limit == 0 {
            return None;
        }
        let own = self
            .networks
            .get(&key.0)
            .filter(|network| network.groups.contains(&key.1));
        let own = own.map(|network| network.own);
        // The total counts the asker, the list omits it (VL2 addendum 3).
        let total = self.listeners.count(&key) + usize::from(own.is_some());
        let mut others: Vec<_> = self.listeners.of(&key).filter(|&m| m != asker).collect();
        shuffle(&mut self.rng, &mut others);
        let members: Vec<_> = own.into_iter().chain(others).take(limit).collect();
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        (!members.is_empty()).then_some(GatherResults { total, members })
    }

    fn add_results(&mut self, now: Time, vl1: &mut Vl1, key: GroupKey, results: GatherResults) {
        // Nobody is asked for more, and we keep lists for joined networks only.
        if !self.networks.contains_key(&key.0) {
            return;
        }
        for member in results
            .members
            .into_iter()
            .take(OkMulticastGather::MAX_MEMBERS)
        {
            self.add_listener(now, vl1, key, member);
        }
    }
}

impl Network {
    /// Asks for members of `group` those who may know some, unless that was done lately.
    fn gather(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        rng: &mut impl Rng,
        group: MulticastGroup,
        limit: usize,
        nobody_known: bool,
    ) {
        let Some(config) = &self.config else { return };
        if self.multicasts.len() >= MAX_OUTBOXES && !self.multicasts.contains_key(&group) {
            self.multicasts.retain(|_, outbox| {
                outbox.expire(now);
                !outbox.pending.is_empty()
            });
        }
        let outbox = self.multicasts.entry(group).or_default();
        if !nobody_known
            && outbox
                .last_gather
                .is_some_and(|last| !now.is_due(last, GATHER_INTERVAL))
        {
            return;
        }
        outbox.last_gather = Some(now);
        let message = MulticastGather {
            network: self.id,
            group,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            certificate: config.parsed.membership.clone(),
        };
        let body = message.to_bytes();
        let mut specialists: Vec<_> = config.always_contact().collect();
        shuffle(rng, &mut specialists);
        let mut asked = Vec::new();
        let first = vl1
            .best_upstream(now)
            .into_iter()
            .chain([self.id.controller()]);
        for peer in first.chain(specialists) {
            if peer != self.own && !asked.contains(&peer) && asked.len() < MAX_ASKED {
                asked.push(peer);
                vl1.send(now, peer, Verb::MULTICAST_GATHER, &body, true);
            }
        }
    }

    fn keep_pending(&mut self, now: Time, pending: Pending) {
        let outbox = self.multicasts.entry(pending.group).or_default();
        outbox.expire(now);
        if outbox.pending.len() >= MAX_PENDING {
            outbox.pending.pop_front();
        }
        outbox.pending.push_back(pending);
    }
}

/// Fisher and Yates.
fn shuffle<T>(rng: &mut impl Rng, list: &mut [T]) {
    for unplaced in (1..list.len()).rev() {
        let choice = rng.next_u64() % (unplaced as u64 + 1);
        list.swap(unplaced, choice as usize);
    }
}
