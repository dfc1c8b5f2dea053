//! Asking the name servers of the network for names in its domain (RFC 1035 §7).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::message::{Asked, Flags, Message, Record};
use super::name::Name;
use super::{AskId, Outbox};
use crate::time::Instant;

/// The port of name servers.
const PORT: u16 = 53;
/// Lookups at the same time.
const MAX_LOOKUPS: usize = 1024;
/// How long a server may take, and how many are asked, the same one again if there are no others.
const PATIENCE: Duration = Duration::from_millis(1500);
const ATTEMPTS: usize = 4;
/// "No such name", among the codes of answers; the other faults are the server's.
pub(super) const NO_SUCH_NAME: u16 = 3;

/// One question of a lookup.
#[derive(Debug)]
struct Part {
    kind: u16,
    id: u16,
    answer: Option<(Message, Vec<u8>)>,
}

/// A name that somebody asks for.
#[derive(Debug)]
struct Lookup {
    ask: AskId,
    name: Name,
    parts: Vec<Part>,
    attempts: usize,
    server: SocketAddr,
    next: Instant,
}

/// How a lookup ended.
#[derive(Debug)]
pub(super) enum Found {
    /// The answers to its questions, parsed and as they came.
    Answers(Vec<(Message, Vec<u8>)>),
    /// No server has answered.
    Nothing,
}

/// The network's name servers, and what they were asked.
#[derive(Debug, Default)]
pub(super) struct Servers {
    domain: Option<Name>,
    addresses: Vec<IpAddr>,
    lookups: Vec<Lookup>,
}

impl Servers {
    /// Other servers. Questions to those of before go on to the new ones.
    pub(super) fn set(&mut self, domain: Option<Name>, addresses: Vec<IpAddr>) {
        self.domain = domain.filter(|_| !addresses.is_empty());
        self.addresses = addresses;
    }

    /// Whether they are to be asked for this name.
    pub(super) fn serve(&self, name: &Name) -> bool {
        let domain = self.domain.as_ref();
        domain.is_some_and(|domain| name.is_within(domain))
    }

    /// Whether there are any.
    pub(super) fn exist(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Begins to ask for records of these types. Says whether there was room for one more.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        ask: AskId,
        name: &Name,
        kinds: impl Iterator<Item = u16>,
        mut random: impl FnMut() -> u16,
    ) -> bool {
        if self.lookups.len() >= MAX_LOOKUPS {
            return false;
        }
        let parts = kinds.map(|kind| Part {
            kind,
            id: random(),
            answer: None,
        });
        self.lookups.push(Lookup {
            ask,
            name: name.clone(),
            parts: parts.collect(),
            attempts: 0,
            server: SocketAddr::from(([0; 4], 0)),
            next: now,
        });
        true
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lookups.iter().map(|lookup| lookup.next).min()
    }

    /// Asks whom it is time to ask; the lookups that have come to nothing.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Vec<(AskId, Name, Found)> {
        let mut ended = Vec::new();
        let mut at = 0;
        while let Some(lookup) = self.lookups.get_mut(at) {
            if lookup.next > now {
                at += 1;
                continue;
            }
            let index = lookup.attempts % self.addresses.len().max(1);
            match self.addresses.get(index) {
                Some(server) if lookup.attempts < ATTEMPTS => {
                    lookup.server = SocketAddr::new(*server, PORT);
                    lookup.attempts += 1;
                    lookup.next = now + PATIENCE;
                    lookup.send(outbox);
                    at += 1;
                }
                _ => {
                    let lookup = self.lookups.swap_remove(at);
                    ended.push((lookup.ask, lookup.name, Found::Nothing));
                }
            }
        }
        ended
    }

    /// Takes an answer; the lookup that it completes.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        message: Message,
    ) -> Option<(AskId, Name, Found)> {
        let [asked] = &message.questions[..] else {
            return None;
        };
        let expects = |lookup: &Lookup, part: &Part| {
            lookup.server == from
                && lookup.name == asked.name
                && part.kind == asked.kind
                && part.id == message.id
                && part.answer.is_none()
        };
        let (at, part) = self.lookups.iter().enumerate().find_map(|(at, lookup)| {
            let part = lookup.parts.iter().position(|part| expects(lookup, part))?;
            Some((at, part))
        })?;
        let lookup = self.lookups.get_mut(at)?;
        if !matches!(message.flags.code(), 0 | NO_SUCH_NAME) {
            // The next server may know better.
            lookup.next = now;
            return None;
        }
        lookup.parts.get_mut(part)?.answer = Some((message, bytes.to_vec()));
        if lookup.parts.iter().any(|part| part.answer.is_none()) {
            return None;
        }
        let Lookup {
            ask, name, parts, ..
        } = self.lookups.swap_remove(at);
        let answers = parts.into_iter().filter_map(|part| part.answer);
        Some((ask, name, Found::Answers(answers.collect())))
    }
}

impl Lookup {
    fn send(&self, outbox: &mut Outbox) {
        for part in self.parts.iter().filter(|part| part.answer.is_none()) {
            let message = Message {
                id: part.id,
                flags: Flags::RECURSIVE,
                questions: vec![Asked {
                    name: self.name.clone(),
                    kind: part.kind,
                    unicast: false,
                }],
                ..Message::default()
            };
            outbox.push_to_server(self.server, &message);
        }
    }
}

/// The records that an answer has for a name, by whatever true names it leads.
pub(super) fn records_of(name: &Name, message: &Message) -> Vec<Record> {
    use super::message::Data;
    let mut names = vec![name.clone()];
    let mut found = Vec::new();
    // In the order of the chain, as servers write it.
    for record in &message.answers {
        if !names.contains(&record.name) {
            continue;
        }
        match &record.data {
            Data::Cname(next) => names.push(next.clone()),
            _ => found.push(Record {
                name: name.clone(),
                ..record.clone()
            }),
        }
    }
    found
}
