//! Asking everybody on the link (RFC 6762 §5): one question at a time for each name, however many want to know.

use std::net::SocketAddr;
use std::time::Duration;

use super::cache::{Cache, Kinds, Known};
use super::message::{Asked, Data, Flags, Message, Record};
use super::name::Name;
use super::{AskId, Outbox};
use crate::time::Instant;

/// Names that are asked for at the same time, and who waits for all of them.
const MAX_QUERIES: usize = 256;
const MAX_WAITERS: usize = 4096;
/// When a question is asked, after the first time, and given up (RFC 6762 §5.2: a second between the first two).
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
const GIVE_UP: Duration = Duration::from_millis(4500);
/// The names of an address are a kindness: they are not waited for that long.
const GIVE_UP_ADDRESS: Duration = Duration::from_millis(2500);
/// How long the other half of an answer is waited for.
const OTHER_HALF: Duration = Duration::from_millis(250);
/// Seconds for which silence is an answer.
const SILENCE: u32 = 5;

/// A question on its way.
#[derive(Debug)]
struct Query {
    name: Name,
    kinds: Kinds,
    since: Instant,
    sent: usize,
    next: Option<Instant>,
    give_up: Instant,
    waiters: Vec<AskId>,
}

/// All questions on their way.
#[derive(Debug, Default)]
pub(super) struct Querier {
    queries: Vec<Query>,
}

impl Querier {
    /// Begins to ask. Says whether there was room for one more.
    pub(super) fn ask(&mut self, now: Instant, id: AskId, name: &Name, kinds: Kinds) -> bool {
        let waiting: usize = self.queries.iter().map(|query| query.waiters.len()).sum();
        if waiting >= MAX_WAITERS {
            return false;
        }
        let same = |query: &&mut Query| query.name == *name && query.kinds == kinds;
        if let Some(query) = self.queries.iter_mut().find(same) {
            query.waiters.push(id);
            return true;
        }
        if self.queries.len() >= MAX_QUERIES {
            return false;
        }
        let patience = if kinds.ptr { GIVE_UP_ADDRESS } else { GIVE_UP };
        self.queries.push(Query {
            name: name.clone(),
            kinds,
            since: now,
            sent: 0,
            next: Some(now),
            give_up: now + patience,
            waiters: vec![id],
        });
        true
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let times = |query: &Query| query.next.into_iter().chain([query.give_up]).min();
        self.queries.iter().filter_map(times).min()
    }

    /// Sends what is due, and ends what has been waited for long enough.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        cache: &mut Cache,
        groups: &[SocketAddr],
        outbox: &mut Outbox,
    ) -> Vec<(AskId, Known)> {
        for query in &mut self.queries {
            if query.next.is_some_and(|next| next <= now) {
                let message = query.message(now, cache);
                groups.iter().for_each(|to| outbox.push(*to, &message));
                query.next = AGAIN.get(query.sent).map(|after| query.since + *after);
                query.sent += 1;
            }
        }
        self.end(now, cache, |query, _| query.give_up <= now)
    }

    /// Ends the questions to which the cache has the answer now.
    pub(super) fn answered(&mut self, now: Instant, cache: &mut Cache) -> Vec<(AskId, Known)> {
        for query in &mut self.queries {
            let known = cache.look_up(now, &query.name, query.kinds);
            if !known.is_empty() {
                query.give_up = query.give_up.min(now + OTHER_HALF);
            }
        }
        self.end(now, cache, |_, known| known.is_complete)
    }

    fn end(
        &mut self,
        now: Instant,
        cache: &mut Cache,
        is_over: impl Fn(&Query, &Known) -> bool,
    ) -> Vec<(AskId, Known)> {
        let mut ended = Vec::new();
        let mut at = 0;
        while let Some(query) = self.queries.get(at) {
            let known = cache.look_up(now, &query.name, query.kinds);
            if !is_over(query, &known) {
                at += 1;
                continue;
            }
            let query = self.queries.swap_remove(at);
            if known.is_empty() && !known.is_complete {
                let data = Data::only(query.name.clone(), &[]);
                let silence = Record {
                    name: query.name,
                    ttl: SILENCE,
                    flush: false,
                    data,
                };
                cache.insert(now, silence);
            }
            for id in query.waiters {
                let known = Known {
                    addresses: known.addresses.clone(),
                    names: known.names.clone(),
                    ..known
                };
                ended.push((id, known));
            }
        }
        ended
    }
}

impl Query {
    fn message(&self, now: Instant, cache: &Cache) -> Message {
        let asked = |kind| Asked {
            name: self.name.clone(),
            kind,
            // Whoever answers may not have heard yet that we listen to the group (RFC 6762 §5.4), and not so for a
            // minute (VL2 §4.6): that nothing was heard is why the question is repeated.
            unicast: true,
        };
        Message {
            flags: Flags::default(),
            questions: self.kinds.iter().map(asked).collect(),
            answers: cache.fresh(now, &self.name, self.kinds),
            ..Message::default()
        }
    }
}
