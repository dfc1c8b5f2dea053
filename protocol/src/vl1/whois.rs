//! Unknown addresses: who is asked for them, and what waits for the answer (VL1 §4.8).
//!
//! Messages to an unknown destination and packets from an unknown source wait for up to five
//! seconds. They go on as soon as the peer becomes known, by whatever way.

use super::gate::Gate;
use super::receive::Arrival;
use super::table::{FastMap, Tables};
use super::{DropReason, Inbound, Vl1, Vl1Event};
use crate::verb::{whois_addresses, whois_identities};
use crate::{Address, Emit, Time, Verb};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// How long anything waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same address is asked for at most this often.
const RETRY: Duration = Duration::from_millis(500);
/// All questions together: a storm of forged sources must not become a storm at the root.
const ASK_INTERVAL: Duration = Duration::from_millis(10);
const ASK_BURST: u32 = 128;
/// Messages that wait to be sent, in all and for one destination. Stock keeps 32 in all, but a
/// broadcast to a large network needs more at once.
const MAX_OUTGOING: usize = 512;
const MAX_OUTGOING_PER_PEER: usize = 32;
/// Received packets that wait to be opened, in all and of one source.
const MAX_INCOMING: usize = 128;
const MAX_INCOMING_PER_PEER: usize = 32;
/// Introductions that wait for an identity.
const MAX_RENDEZVOUS: usize = 32;
/// Addresses looked up at a time.
const MAX_LOOKUPS: usize = 1024;
/// A non-root answers a peer at most this often.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);
/// Addresses answered of one question.
const MAX_ANSWERS: usize = 16;

/// A received packet whose source is unknown: not authenticated yet.
pub(super) struct Parked {
    pub(super) arrival: Arrival,
    pub(super) packet: Vec<u8>,
    from: Address,
    since: Time,
}

/// A message that could not be sent yet.
struct Queued {
    to: Address,
    verb: Verb,
    body: Vec<u8>,
    expect_reply: bool,
    since: Time,
}

/// A RENDEZVOUS with a peer whose identity is unknown.
pub(super) struct Introduced {
    pub(super) with: Address,
    pub(super) arrival: Arrival,
    pub(super) at: SocketAddr,
    since: Time,
}

struct Lookup {
    /// When it was last asked for.
    asked: Time,
    /// When anybody last wanted to know.
    wanted: Time,
    /// The layer above wants to hear of it.
    announce: bool,
}

/// Lookups under way and what waits for them.
pub(super) struct Whois {
    lookups: FastMap<Address, Lookup>,
    outgoing: VecDeque<Queued>,
    incoming: VecDeque<Parked>,
    ready: VecDeque<Parked>,
    rendezvous: VecDeque<Introduced>,
    gate: Gate,
    next_retry: Option<Time>,
}

impl Whois {
    pub(super) fn new(tables: &Tables) -> Self {
        Whois {
            lookups: tables.map(),
            outgoing: VecDeque::new(),
            incoming: VecDeque::new(),
            ready: VecDeque::new(),
            rendezvous: VecDeque::new(),
            gate: Gate::default(),
            next_retry: None,
        }
    }

    /// When [`Vl1::retry_lookups`] wants to be called.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.next_retry
    }

    /// The next parked packet whose source is known by now.
    pub(super) fn next_ready(&mut self) -> Option<Parked> {
        self.ready.pop_front()
    }

    /// The introductions that waited for `peer`.
    fn take_rendezvous(&mut self, peer: Address) -> Vec<Introduced> {
        take_if(&mut self.rendezvous, |introduced| introduced.with == peer)
    }
}

impl Vl1 {
    /// Looks an identity up; [`Vl1Event::IdentityKnown`] follows when it is found.
    pub fn want_identity(&mut self, now: Time, address: Address) {
        if self.identity_of(address).is_some() {
            self.events.push_back(Vl1Event::IdentityKnown(address));
            return;
        }
        self.look_up(now, address);
        if let Some(lookup) = self.whois.lookups.get_mut(&address) {
            lookup.announce = true;
        }
    }

    /// Makes a message wait for its destination.
    pub(super) fn enqueue(
        &mut self,
        now: Time,
        to: Address,
        verb: Verb,
        body: Vec<u8>,
        expect_reply: bool,
    ) {
        if to == self.address || to.is_reserved() {
            self.counters.drop(DropReason::UnknownDestination);
            return;
        }
        let queue = &mut self.whois.outgoing;
        if queue.iter().filter(|queued| queued.to == to).count() >= MAX_OUTGOING_PER_PEER {
            self.counters.drop(DropReason::QueueFull);
            return;
        }
        if queue.len() >= MAX_OUTGOING {
            queue.pop_front();
            self.counters.drop(DropReason::QueueFull);
        }
        queue.push_back(Queued {
            to,
            verb,
            body,
            expect_reply,
            since: now,
        });
        self.whois.next_retry.get_or_insert(now + RETRY);
        if !self.peers.contains_key(&to) {
            self.look_up(now, to);
        }
    }

    /// Makes a received packet wait for its source.
    pub(super) fn park(&mut self, now: Time, arrival: Arrival, from: Address, packet: &[u8]) {
        let queue = &mut self.whois.incoming;
        if from.is_reserved()
            || queue.iter().filter(|parked| parked.from == from).count() >= MAX_INCOMING_PER_PEER
        {
            self.counters.drop(DropReason::UnknownSource);
            return;
        }
        if queue.len() >= MAX_INCOMING {
            queue.pop_front();
            self.counters.drop(DropReason::UnknownSource);
        }
        queue.push_back(Parked {
            arrival,
            packet: packet.to_vec(),
            from,
            since: now,
        });
        self.whois.next_retry.get_or_insert(now + RETRY);
        self.look_up(now, from);
    }

    /// Makes an introduction wait for the peer's identity. Stock ignores it, though on first
    /// contact it comes before the answer to WHOIS.
    pub(super) fn hold_rendezvous(
        &mut self,
        now: Time,
        with: Address,
        arrival: Arrival,
        at: SocketAddr,
    ) {
        let queue = &mut self.whois.rendezvous;
        if queue.len() >= MAX_RENDEZVOUS {
            queue.pop_front();
            self.counters.drop(DropReason::QueueFull);
        }
        queue.push_back(Introduced {
            with,
            arrival,
            at,
            since: now,
        });
        self.whois.next_retry.get_or_insert(now + RETRY);
        self.look_up(now, with);
    }

    /// Asks for an identity, unless that was done a moment ago.
    fn look_up(&mut self, now: Time, address: Address) {
        if address.is_reserved() || address == self.address {
            return;
        }
        let lookups = &mut self.whois.lookups;
        if lookups.len() >= MAX_LOOKUPS && !lookups.contains_key(&address) {
            return;
        }
        let fresh = Lookup {
            asked: Time::NEVER,
            wanted: now,
            announce: false,
        };
        let lookup = lookups.entry(address).or_insert(fresh);
        lookup.wanted = now;
        self.whois.next_retry.get_or_insert(now + RETRY);
        self.ask(now, address);
    }

    fn ask(&mut self, now: Time, address: Address) {
        let Some(upstream) = self.best_upstream(now) else {
            return;
        };
        let Some(lookup) = self.whois.lookups.get_mut(&address) else {
            return;
        };
        if now.is_due(lookup.asked, RETRY) && self.whois.gate.admit(now, ASK_INTERVAL, ASK_BURST) {
            lookup.asked = now;
            // One address a question: stock reads only the first identity of an answer.
            self.send(
                now,
                upstream,
                Verb::WHOIS,
                &Address::to_bytes(address),
                true,
            );
        }
    }

    /// Asks again, tries to send again, and gives up what has waited too long.
    pub(super) fn retry_lookups(&mut self, now: Time) {
        let is_late = |since: Time| now.is_due(since, PATIENCE);
        let whois = &mut self.whois;
        let late = take_if(&mut whois.incoming, |parked| is_late(parked.since)).len();
        self.counters
            .drop_many(DropReason::UnknownSource, late as u64);
        let late = take_if(&mut whois.outgoing, |queued| is_late(queued.since)).len();
        self.counters
            .drop_many(DropReason::UnknownDestination, late as u64);
        whois
            .rendezvous
            .retain(|introduced| !is_late(introduced.since));
        whois.lookups.retain(|_, lookup| !is_late(lookup.wanted));
        let mut waiting: Vec<_> = whois.lookups.keys().copied().collect();
        // In a fixed order: behaviour must not depend on the hash.
        waiting.sort_unstable();
        for address in waiting {
            self.ask(now, address);
        }
        let mut queued: Vec<_> = self.whois.outgoing.iter().map(|queued| queued.to).collect();
        queued.sort_unstable();
        queued.dedup();
        for to in queued {
            if self.way_to(now, to).is_some() {
                self.flush_outgoing(now, to);
            }
        }
        let whois = &mut self.whois;
        let waiting = !whois.lookups.is_empty()
            || !whois.outgoing.is_empty()
            || !whois.incoming.is_empty()
            || !whois.rendezvous.is_empty();
        whois.next_retry = waiting.then_some(now + RETRY);
    }

    /// Lets go on what waited for `peer`, which is known now.
    pub(super) fn flush(&mut self, now: Time, peer: Address) {
        if let Some(lookup) = self.whois.lookups.remove(&peer)
            && lookup.announce
        {
            self.events.push_back(Vl1Event::IdentityKnown(peer));
        }
        let opened = take_if(&mut self.whois.incoming, |parked| parked.from == peer);
        self.whois.ready.extend(opened);
        if self.way_to(now, peer).is_some() {
            self.flush_outgoing(now, peer);
        }
        for introduced in self.whois.take_rendezvous(peer) {
            self.meet(now, introduced.with, introduced.arrival, introduced.at);
        }
    }

    fn flush_outgoing(&mut self, now: Time, to: Address) {
        for queued in take_if(&mut self.whois.outgoing, |queued| queued.to == to) {
            self.send(now, to, queued.verb, &queued.body, queued.expect_reply);
        }
    }

    pub(super) fn on_ok_whois(&mut self, now: Time, inbound: &Inbound<'_>, payload: &[u8]) {
        if !self.is_upstream(inbound.from) {
            self.counters.drop(DropReason::NotUpstream);
            return;
        }
        for identity in whois_identities(payload).take(MAX_ANSWERS) {
            // Only what we asked for: validation is not for free.
            if self.whois.lookups.contains_key(&identity.address()) {
                self.meet_identity(now, identity);
            }
        }
    }

    /// Answers a question for identities (VL1 §3.5).
    pub(super) fn on_whois(&mut self, now: Time, inbound: &Inbound<'_>) {
        let is_root = self.is_root();
        if let Some(peer) = self.peers.get_mut(&inbound.from)
            && !is_root
            && !peer.whois_gate.admit(now, ANSWER_INTERVAL, 1)
        {
            self.counters.drop(DropReason::WhoisGate);
            return;
        }
        let mut identities = Vec::new();
        for address in whois_addresses(inbound.body).take(MAX_ANSWERS) {
            match self.identity_of(address) {
                Some(identity) => identity.write(&mut identities),
                None => self.look_up(now, address),
            }
        }
        if !identities.is_empty() {
            self.send_ok(now, inbound, &identities);
        }
        self.received(now, inbound);
    }
}

fn take_if<T>(queue: &mut VecDeque<T>, mut condition: impl FnMut(&T) -> bool) -> Vec<T> {
    if !queue.iter().any(&mut condition) {
        return Vec::new();
    }
    let (taken, rest): (Vec<T>, Vec<T>) = queue.drain(..).partition(condition);
    queue.extend(rest);
    taken
}
