//! The own name: finding out that nobody has it, telling everybody, and answering (RFC 6762 §6, §8–§10).

mod answering;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Outbox;
use super::message::{Asked, Data, Flags, Message, Record, kind};
use super::name::Name;
use crate::time::Instant;

/// Seconds that a host's address may be believed (RFC 6762 §10).
const TTL: u32 = 120;
/// Probes, and the time between them; the first comes within that time (RFC 6762 §8.1).
const PROBES: u8 = 3;
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// Announcements, and the time between them (RFC 6762 §8.3).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// After a probe at the same time that had the better records (RFC 6762 §8.2).
const STEP_BACK: Duration = Duration::from_secs(1);
/// So many conflicts in that time make each further attempt wait (RFC 6762 §8.1).
const MANY_CONFLICTS: usize = 15;
const CONFLICT_SPAN: Duration = Duration::from_secs(10);
const CONFLICT_PAUSE: Duration = Duration::from_secs(5);

/// Where the own name is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is no name, or no address for it.
    Silent,
    Probing {
        sent: u8,
        next: Instant,
    },
    Announcing {
        sent: u8,
        next: Instant,
    },
    Settled,
}

/// An answer to all that waits for its time.
#[derive(Debug)]
struct Pending {
    at: Instant,
    answers: Vec<Record>,
    asker: SocketAddr,
}

/// The own name and its records.
#[derive(Debug)]
pub(super) struct Responder {
    label: Option<String>,
    /// The n of `label-n`; 1 is the label alone.
    attempt: u32,
    name: Option<Name>,
    addresses: Vec<IpAddr>,
    /// Addresses, and the names of the addresses.
    records: Vec<Record>,
    stage: Stage,
    conflicts: VecDeque<Instant>,
    /// When the records were last sent to all.
    sent: Option<Instant>,
    pending: Option<Pending>,
}

impl Responder {
    pub(super) fn new() -> Responder {
        Responder {
            label: None,
            attempt: 1,
            name: None,
            addresses: Vec::new(),
            records: Vec::new(),
            stage: Stage::Silent,
            conflicts: VecDeque::new(),
            sent: None,
            pending: None,
        }
    }

    /// The own name, once it is known to be ours alone.
    pub(super) fn name(&self) -> Option<&Name> {
        let is_ours = matches!(self.stage, Stage::Announcing { .. } | Stage::Settled);
        self.name.as_ref().filter(|_| is_ours)
    }

    /// Another wish for a name. `delay` is random, below a quarter of a second.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        label: Option<String>,
        delay: Duration,
        groups: &[SocketAddr],
        outbox: &mut Outbox,
    ) {
        if label == self.label {
            return;
        }
        self.say_farewell(groups, outbox, |_| true);
        self.label = label;
        self.attempt = 1;
        self.begin(now + delay);
    }

    /// Other addresses.
    pub(super) fn set_addresses(
        &mut self,
        now: Instant,
        addresses: Vec<IpAddr>,
        delay: Duration,
        groups: &[SocketAddr],
        outbox: &mut Outbox,
    ) {
        if addresses == self.addresses {
            return;
        }
        let stay = |ip: &IpAddr| addresses.contains(ip);
        self.say_farewell(groups, outbox, |record| {
            let ip = record.data.address().or_else(|| record.name.to_address());
            !ip.as_ref().is_some_and(stay)
        });
        self.addresses = addresses;
        if self.name().is_some() && !self.addresses.is_empty() {
            self.records = self.own_records();
            self.stage = Stage::Announcing { sent: 0, next: now };
        } else {
            self.begin(now + delay);
        }
    }

    /// Takes back the records that `leaves` names, if anybody has heard of them.
    pub(super) fn say_farewell(
        &mut self,
        groups: &[SocketAddr],
        outbox: &mut Outbox,
        leaves: impl Fn(&Record) -> bool,
    ) {
        if self.sent.is_none() || self.name().is_none() {
            return;
        }
        let answers: Vec<Record> = self
            .records
            .iter()
            .filter(|record| leaves(record))
            .map(|record| Record {
                ttl: 0,
                ..record.clone()
            })
            .collect();
        if !answers.is_empty() {
            send_to_all(groups, outbox, answers, Vec::new());
        }
    }

    fn begin(&mut self, at: Instant) {
        self.name = self.label.as_ref().and_then(|label| {
            let label = match self.attempt {
                1 => label.clone(),
                n => format!("{:.50}-{n}", label),
            };
            format!("{label}.local").parse().ok()
        });
        self.records = self.own_records();
        self.sent = None;
        self.pending = None;
        self.stage = if self.records.is_empty() {
            Stage::Silent
        } else {
            Stage::Probing { sent: 0, next: at }
        };
    }

    fn own_records(&self) -> Vec<Record> {
        let Some(name) = &self.name else {
            return Vec::new();
        };
        let record = |name: Name, data| Record {
            name,
            ttl: TTL,
            flush: true,
            data,
        };
        let addresses = self
            .addresses
            .iter()
            .map(|ip| record(name.clone(), Data::of_address(*ip)));
        let names = self
            .addresses
            .iter()
            .map(|ip| record(Name::of_address(*ip), Data::Ptr(name.clone())));
        addresses.chain(names).collect()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let stage = match self.stage {
            Stage::Silent | Stage::Settled => None,
            Stage::Probing { next, .. } | Stage::Announcing { next, .. } => Some(next),
        };
        let pending = self.pending.as_ref().map(|pending| pending.at);
        stage.into_iter().chain(pending).min()
    }

    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        groups: &[SocketAddr],
        outbox: &mut Outbox,
    ) {
        match self.stage {
            Stage::Probing { sent, next } if next <= now => {
                self.stage = if sent < PROBES {
                    let probe = self.probe(sent == 0);
                    groups.iter().for_each(|to| outbox.push(*to, &probe));
                    Stage::Probing {
                        sent: sent + 1,
                        next: now + PROBE_EVERY,
                    }
                } else {
                    Stage::Announcing { sent: 0, next: now }
                };
                // The time of the last probe is the time of the first announcement.
                self.handle_timeout(now, groups, outbox);
            }
            Stage::Announcing { sent, next } if next <= now => {
                let records = self.records.clone();
                send_to_all(groups, outbox, records, self.denials());
                self.sent = Some(now);
                self.stage = if sent + 1 < ANNOUNCEMENTS {
                    Stage::Announcing {
                        sent: sent + 1,
                        next: now + ANNOUNCE_EVERY,
                    }
                } else {
                    Stage::Settled
                };
            }
            _ => {}
        }
        if let Some(pending) = self.pending.take_if(|pending| pending.at <= now) {
            let additionals = self.additionals(&pending.answers);
            send_to_all(groups, outbox, pending.answers, additionals);
            self.sent = Some(now);
        }
    }

    /// Asks whether somebody has the name, and says what it would be used for. An answer to the first probe alone is
    /// enough: whoever has the name hears the others too.
    fn probe(&self, unicast: bool) -> Message {
        let Some(name) = self.name.clone() else {
            return Message::default();
        };
        let of_name = |record: &&Record| record.name == name;
        Message {
            authorities: self
                .records
                .iter()
                .filter(of_name)
                .map(|record| Record {
                    flush: false,
                    ..record.clone()
                })
                .collect(),
            questions: vec![Asked {
                name: name.clone(),
                kind: kind::ANY,
                unicast,
            }],
            ..Message::default()
        }
    }

    /// Somebody asks for our name at the same time, to take it: the better records win (RFC 6762 §8.2).
    fn compare_probes(&mut self, now: Instant, message: &Message) {
        let Some(name) = &self.name else { return };
        let sorted = |records: &[Record]| {
            let mut data: Vec<(u16, Vec<u8>)> = records
                .iter()
                .filter(|record| record.name == *name)
                .map(|record| (record.data.kind(), record.data.to_bytes()))
                .collect();
            data.sort_unstable();
            data
        };
        let (theirs, ours) = (sorted(&message.authorities), sorted(&self.records));
        if !theirs.is_empty() && theirs > ours {
            self.stage = Stage::Probing {
                sent: 0,
                next: now + STEP_BACK,
            };
        }
    }

    /// Takes an answer of others: somebody may have our name.
    pub(super) fn handle_response(&mut self, now: Instant, records: &[Record], delay: Duration) {
        let Some(name) = &self.name else { return };
        let conflicts = records.iter().any(|record| {
            record.name == *name
                && record.ttl > 0
                && record.data.address().is_some()
                && !self.records.iter().any(|own| own.data == record.data)
        });
        if !conflicts || self.stage == Stage::Silent {
            return;
        }
        if self.name().is_some() {
            // Both ask anew; who has the better right keeps the name (RFC 6762 §9).
            self.stage = Stage::Probing {
                sent: 0,
                next: now + delay,
            };
            self.pending = None;
            return;
        }
        self.attempt += 1;
        self.conflicts
            .retain(|conflict| now < *conflict + CONFLICT_SPAN);
        self.conflicts.push_back(now);
        let pause = if self.conflicts.len() >= MANY_CONFLICTS {
            self.conflicts.pop_front();
            CONFLICT_PAUSE
        } else {
            delay
        };
        self.begin(now + pause);
    }
}

fn answer(answers: Vec<Record>, additionals: Vec<Record>) -> Message {
    Message {
        flags: Flags::ANSWER,
        answers,
        additionals,
        ..Message::default()
    }
}

fn send_to_all(
    groups: &[SocketAddr],
    outbox: &mut Outbox,
    answers: Vec<Record>,
    additionals: Vec<Record>,
) {
    let message = answer(answers, additionals);
    groups.iter().for_each(|to| outbox.push(*to, &message));
}
