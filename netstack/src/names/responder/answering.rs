//! Answers to the questions of others (RFC 6762 §6, §7).

use std::net::SocketAddr;
use std::time::Duration;

use super::super::message::{Asked, Data, Message, Record, kind};
use super::super::{Outbox, PORT};
use super::{Pending, Responder, Stage, TTL, answer};
use crate::time::Instant;

/// The same for who asks as in unicast DNS and hears no farewell (RFC 6762 §6.7).
const LEGACY_TTL: u32 = 10;
/// No record is sent to all more often (RFC 6762 §6).
const RATE: Duration = Duration::from_secs(1);
/// How long the rest of a long question is waited for (RFC 6762 §7.2).
const REST_OF_QUESTION: Duration = Duration::from_millis(450);
/// How lately a record was sent to all, so that an answer to one is enough (RFC 6762 §5.4).
const SENT_LATELY: Duration = Duration::from_secs((TTL / 4) as u64);

impl Responder {
    /// Takes a question of others.
    pub(in crate::names) fn handle_query(
        &mut self,
        now: Instant,
        from: SocketAddr,
        message: &Message,
        groups: &[SocketAddr],
        outbox: &mut Outbox,
    ) {
        if let Stage::Probing { .. } = self.stage {
            self.compare_probes(now, message);
        }
        if self.name().is_none() {
            return;
        }
        if message.questions.is_empty() {
            // The rest of a long question: more of what its asker knows.
            if let Some(pending) = &mut self.pending
                && pending.asker == from
            {
                pending
                    .answers
                    .retain(|record| !is_known(record, &message.answers));
            }
            self.pending.take_if(|pending| pending.answers.is_empty());
            return;
        }
        let mut answers = Vec::new();
        for asked in &message.questions {
            for record in self.answers_to(asked) {
                if !answers.contains(&record) && !is_known(&record, &message.answers) {
                    answers.push(record);
                }
            }
        }
        if answers.is_empty() {
            return;
        }
        let is_legacy = from.port() != PORT;
        let is_probe = !message.authorities.is_empty();
        let was_sent_within = |span| self.sent.is_some_and(|sent| now < sent + span);
        let wants_unicast = message.questions.iter().all(|asked| asked.unicast);
        if is_legacy {
            let additionals = self.additionals(&answers);
            outbox.push(from, &legacy_answer(message, answers, additionals));
        } else if wants_unicast && !is_probe && was_sent_within(SENT_LATELY) {
            let additionals = self.additionals(&answers);
            outbox.push(from, &answer(answers, additionals));
        } else {
            // A newcomer may not be among the known members of the group for a minute (VL2 §4.6): it is answered by
            // itself as well.
            if wants_unicast && !is_probe {
                let additionals = self.additionals(&answers);
                outbox.push(from, &answer(answers.clone(), additionals));
            }
            let at = match self.sent {
                _ if message.flags.is_truncated() => now + REST_OF_QUESTION,
                // Whoever is about to take our name must hear it in time.
                Some(sent) if !is_probe => now.max(sent + RATE),
                _ => now,
            };
            match &mut self.pending {
                Some(pending) => {
                    answers.retain(|record| !pending.answers.contains(record));
                    pending.answers.extend(answers);
                    pending.at = pending.at.min(at);
                }
                none => {
                    *none = Some(Pending {
                        at,
                        answers,
                        asker: from,
                    });
                }
            }
            self.handle_timeout(now, groups, outbox);
        }
    }

    fn answers_to(&self, asked: &Asked) -> Vec<Record> {
        let of_name = || {
            self.records
                .iter()
                .filter(|record| record.name == asked.name)
        };
        let mut answers: Vec<Record> = of_name()
            .filter(|record| asked.kind == kind::ANY || asked.kind == record.data.kind())
            .cloned()
            .collect();
        if answers.is_empty() && of_name().next().is_some() {
            answers = self.denials();
        }
        answers
    }

    /// Which types of records the own name has, as a denial of all others (RFC 6762 §6.1).
    pub(super) fn denials(&self) -> Vec<Record> {
        let Some(name) = &self.name else {
            return Vec::new();
        };
        let mut kinds: Vec<u16> = self
            .records
            .iter()
            .filter(|record| record.name == *name)
            .map(|record| record.data.kind())
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        vec![Record {
            name: name.clone(),
            ttl: TTL,
            flush: true,
            data: Data::only(name.clone(), &kinds),
        }]
    }

    /// What goes along with answers: the other addresses, and that there are no more.
    pub(super) fn additionals(&self, answers: &[Record]) -> Vec<Record> {
        let addresses = self
            .records
            .iter()
            .filter(|record| record.data.address().is_some())
            .cloned();
        addresses
            .chain(self.denials())
            .filter(|record| !answers.contains(record))
            .collect()
    }
}

fn is_known(record: &Record, known: &[Record]) -> bool {
    known.iter().any(|other| {
        other.name == record.name && other.data == record.data && other.ttl >= record.ttl / 2
    })
}

/// An answer for who knows nothing of multicast DNS (RFC 6762 §6.7).
fn legacy_answer(question: &Message, answers: Vec<Record>, additionals: Vec<Record>) -> Message {
    let plain = |records: Vec<Record>| {
        let records = records.into_iter();
        records
            .map(|record| Record {
                ttl: record.ttl.min(LEGACY_TTL),
                flush: false,
                ..record
            })
            .collect()
    };
    Message {
        id: question.id,
        questions: question.questions.clone(),
        ..answer(plain(answers), plain(additionals))
    }
}
