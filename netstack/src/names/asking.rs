//! What the owner asks: who is asked for it, and what is made of the answer.

use std::net::IpAddr;

use super::cache::{Kinds, Known};
use super::message::{Asked, Data, Flags, Message, Record, kind};
use super::servers::{self, Found, NO_SUCH_NAME};
use super::{Answer, AskId, Name, Names, Question};
use crate::time::Instant;

/// Seconds that an answer in a message of ours may be believed.
const ANSWER_TTL: u32 = 10;

impl Names {
    pub(super) fn ask_addresses(
        &mut self,
        now: Instant,
        id: AskId,
        name: &Name,
        v4: bool,
        v6: bool,
    ) {
        if self.published() == Some(name) {
            let own = self.links.iter().map(|(ip, _)| *ip);
            let addresses = own
                .filter(|ip| if ip.is_ipv4() { v4 } else { v6 })
                .collect();
            return self.finish_known(id, addresses, Vec::new());
        }
        let kinds = Kinds {
            a: v4,
            aaaa: v6,
            ptr: false,
        };
        let known = self.cache.look_up(now, name, kinds);
        if !known.is_empty() || known.is_complete {
            self.finish_known(id, known.addresses, known.names);
        } else if name.is_local() {
            // What we could not reach anyway is not asked for.
            let has = |v4| self.links.iter().any(|(ip, _)| ip.is_ipv4() == v4);
            let kinds = Kinds {
                a: v4 && has(true),
                aaaa: v6 && has(false),
                ptr: false,
            };
            self.ask_link(now, id, name, kinds);
        } else if self.servers.serve(name) {
            self.ask_servers(now, id, name, kinds.iter());
        } else {
            self.finish(id, Answer::NotFound);
        }
    }

    pub(super) fn ask_name(&mut self, now: Instant, id: AskId, ip: IpAddr) {
        let is_own = self.links.iter().any(|(own, _)| *own == ip);
        let kinds = Kinds {
            a: false,
            aaaa: false,
            ptr: true,
        };
        let name = Name::of_address(ip);
        let known = self.cache.look_up(now, &name, kinds);
        if is_own {
            let names = self.published().cloned().into_iter().collect();
            self.finish_known(id, Vec::new(), names);
        } else if !known.is_empty() {
            self.finish_known(id, Vec::new(), known.names);
        } else if self.is_on_link(ip) && !known.is_complete {
            self.ask_link(now, id, &name, kinds);
        } else if self.servers.exist() {
            self.ask_servers(now, id, &name, kinds.iter());
        } else {
            self.finish(id, Answer::NotFound);
        }
    }

    pub(super) fn ask_records(&mut self, now: Instant, id: AskId, name: &Name, kind: u16) {
        let any = kind == kind::ANY;
        match name.to_address() {
            Some(ip) if self.is_on_link(ip) && (any || kind == kind::PTR) => {
                self.ask_name(now, id, ip);
            }
            _ if name.is_local() => {
                let (v4, v6) = (any || kind == kind::A, any || kind == kind::AAAA);
                self.ask_addresses(now, id, name, v4, v6);
            }
            _ if self.servers.serve(name) => self.ask_servers(now, id, name, [kind].into_iter()),
            _ => self.finish(id, Answer::NotFound),
        }
    }

    fn ask_link(&mut self, now: Instant, id: AskId, name: &Name, kinds: Kinds) {
        if kinds.iter().next().is_none() {
            self.finish(id, Answer::NotFound);
        } else if !self.querier.ask(now, id, name, kinds) {
            self.finish(id, Answer::Failed);
        }
    }

    fn ask_servers(
        &mut self,
        now: Instant,
        id: AskId,
        name: &Name,
        kinds: impl Iterator<Item = u16>,
    ) {
        let random = &mut self.random;
        let draw = || random.draw() as u16;
        if !self.servers.ask(now, id, name, kinds, draw) {
            self.finish(id, Answer::Failed);
        }
    }

    pub(super) fn finish_all(&mut self, now: Instant, ended: Vec<(AskId, Known)>) {
        for (id, known) in ended {
            match self.asks.get(&id) {
                // Servers may know an address that nobody on the link speaks for.
                Some(Question::NameOf(ip)) if known.is_empty() && self.servers.exist() => {
                    let name = Name::of_address(*ip);
                    self.ask_servers(now, id, &name, [kind::PTR].into_iter());
                }
                _ => self.finish_known(id, known.addresses, known.names),
            }
        }
    }

    /// Servers have answered, or have not.
    pub(super) fn served(&mut self, now: Instant, id: AskId, name: &Name, found: Found) {
        let Found::Answers(answers) = found else {
            return self.finish(id, Answer::Failed);
        };
        let is_for_message = match self.asks.get(&id) {
            Some(Question::Records { name, .. }) => name.to_address().is_none(),
            _ => false,
        };
        if is_for_message {
            let answer = answers.into_iter().next();
            return self.finish(
                id,
                answer.map_or(Answer::Failed, |(_, mut bytes)| {
                    bytes.iter_mut().take(2).for_each(|byte| *byte = 0);
                    Answer::Message(bytes)
                }),
            );
        }
        let (mut addresses, mut names) = (Vec::new(), Vec::new());
        for record in answers
            .iter()
            .flat_map(|(message, _)| servers::records_of(name, message))
        {
            addresses.extend(record.data.address());
            if let Data::Ptr(name) = &record.data {
                names.push(name.clone());
            }
            self.cache.insert(now, record);
        }
        self.finish_known(id, addresses, names);
    }

    fn finish_known(&mut self, id: AskId, addresses: Vec<IpAddr>, names: Vec<Name>) {
        let answer = match (addresses.is_empty(), names.into_iter().next()) {
            (false, _) => Answer::Addresses(addresses),
            (true, Some(name)) => Answer::NameOf(name),
            (true, None) => Answer::NotFound,
        };
        self.finish(id, answer);
    }

    fn finish(&mut self, id: AskId, answer: Answer) {
        let answer = match self.asks.remove(&id) {
            Some(Question::Records { name, kind }) => as_message(name, kind, answer),
            _ => answer,
        };
        self.answers.push_back((id, answer));
    }
}

/// An answer as a DNS message, as a server would give it.
fn as_message(name: Name, kind: u16, answer: Answer) -> Answer {
    let data: Vec<Data> = match answer {
        Answer::Addresses(addresses) => addresses.into_iter().map(Data::of_address).collect(),
        Answer::NameOf(other) => vec![Data::Ptr(other)],
        Answer::NotFound => Vec::new(),
        Answer::Message(_) | Answer::Failed => return answer,
    };
    // A name may lack one type and have another: that it does not exist at all is for others to conclude.
    let code = match kind {
        kind::PTR if data.is_empty() => NO_SUCH_NAME,
        _ => 0,
    };
    let record = |data| Record {
        name: name.clone(),
        ttl: ANSWER_TTL,
        flush: false,
        data,
    };
    let answers = data.into_iter().map(record).collect();
    let message = Message {
        flags: Flags::LOOKED_UP.with_code(code),
        questions: vec![Asked {
            name: name.clone(),
            kind,
            unicast: false,
        }],
        answers,
        ..Message::default()
    };
    Answer::Message(message.to_bytes())
}
