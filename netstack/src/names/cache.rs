//! What others have said about names, for as long as they said that it may be believed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::message::{Data, Record, kind};
use super::name::Name;
use crate::time::Instant;

/// Names that are remembered, and records of each: more than a LAN needs, and no more than a few hundred kilobytes.
const MAX_NAMES: usize = 1024;
const MAX_RECORDS: usize = 16;
/// Nothing is believed for longer: the usual life of a record that says what does not change (RFC 6762 §10).
const LONGEST: u32 = 4500;
/// How long a farewell, or a record that others have replaced, goes on (RFC 6762 §10.1, §10.2).
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
struct Cached {
    data: Data,
    /// The whole life of the record.
    ttl: Duration,
    since: Instant,
    until: Instant,
}

/// Records by name.
#[derive(Debug, Default)]
pub(super) struct Cache {
    names: BTreeMap<Name, Vec<Cached>>,
}

/// Which types of records are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds {
    pub(super) a: bool,
    pub(super) aaaa: bool,
    pub(super) ptr: bool,
}

impl Kinds {
    pub(super) fn iter(self) -> impl Iterator<Item = u16> {
        [
            (self.a, kind::A),
            (self.aaaa, kind::AAAA),
            (self.ptr, kind::PTR),
        ]
        .into_iter()
        .filter_map(|(asked, kind)| asked.then_some(kind))
    }
}

/// What is known about a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) names: Vec<Name>,
    /// Nothing is left to be asked: there are records of every type, or it was said that there are none.
    pub(super) is_complete: bool,
}

impl Known {
    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.names.is_empty()
    }
}

impl Cache {
    /// Takes in what was said.
    pub(super) fn insert(&mut self, now: Instant, record: Record) {
        let Record {
            name,
            ttl,
            flush,
            data,
        } = record;
        if ttl == 0 {
            return self.part(now, &name, &data);
        }
        if !self.names.contains_key(&name) && self.names.len() >= MAX_NAMES {
            self.make_room();
        }
        let records = self.names.entry(name).or_default();
        records.retain(|cached| now < cached.until);
        let kind = data.kind();
        if flush {
            // Those that came a moment ago belong to the same answer.
            for cached in records
                .iter_mut()
                .filter(|cached| cached.data.kind() == kind && cached.since + FAREWELL < now)
            {
                cached.until = cached.until.min(now + FAREWELL);
            }
        }
        // What is said about the absence of records ends with the first of them.
        records.retain(|cached| {
            cached.data != data && !cached.data.denies(kind) && !data.denies(cached.data.kind())
        });
        if records.len() >= MAX_RECORDS {
            return;
        }
        let ttl = Duration::from_secs(ttl.min(LONGEST).into());
        records.push(Cached {
            data,
            ttl,
            since: now,
            until: now + ttl,
        });
    }

    /// Somebody takes a record back.
    fn part(&mut self, now: Instant, name: &Name, data: &Data) {
        let records = self.names.get_mut(name).into_iter().flatten();
        for cached in records.filter(|cached| cached.data == *data) {
            cached.until = cached.until.min(now + FAREWELL);
        }
    }

    /// Forgets the name that ends first.
    fn make_room(&mut self) {
        let last = |records: &[Cached]| records.iter().map(|cached| cached.until).max();
        let first = self.names.iter().min_by_key(|(_, records)| last(records));
        if let Some(name) = first.map(|(name, _)| name.clone()) {
            self.names.remove(&name);
        }
    }

    /// What is known about a name now.
    pub(super) fn look_up(&self, now: Instant, name: &Name, kinds: Kinds) -> Known {
        let mut known = Known {
            is_complete: true,
            ..Known::default()
        };
        for kind in kinds.iter() {
            let mut any = false;
            for cached in self.living(now, name) {
                match &cached.data {
                    Data::Ptr(name) if kind == kind::PTR => known.names.push(name.clone()),
                    data if data.kind() == kind => known.addresses.extend(data.address()),
                    data if data.denies(kind) => {}
                    _ => continue,
                }
                any = true;
            }
            known.is_complete &= any;
        }
        known
    }

    /// The records that need not be said again: those with more than half of their life before them (RFC 6762 §7.1).
    pub(super) fn fresh(&self, now: Instant, name: &Name, kinds: Kinds) -> Vec<Record> {
        let fresh = self.living(now, name).filter(|cached| {
            kinds.iter().any(|kind| kind == cached.data.kind())
                && cached.until.saturating_since(now) > cached.ttl / 2
        });
        fresh
            .map(|cached| Record {
                name: name.clone(),
                ttl: cached.until.saturating_since(now).as_secs() as u32,
                flush: false,
                data: cached.data.clone(),
            })
            .collect()
    }

    /// Forgets everything: the network is another one.
    pub(super) fn clear(&mut self) {
        self.names.clear();
    }

    fn living(&self, now: Instant, name: &Name) -> impl Iterator<Item = &Cached> {
        let records = self.names.get(name).into_iter().flatten();
        records.filter(move |cached| now < cached.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Kinds = Kinds {
        a: true,
        aaaa: true,
        ptr: false,
    };

    fn at(seconds: i64) -> Instant {
        Instant(seconds * 1_000_000)
    }

    fn record(name: &str, last: u8, ttl: u32, flush: bool) -> Record {
        Record {
            name: name.parse().unwrap(),
            ttl,
            flush,
            data: Data::A([10, 0, 0, last].into()),
        }
    }

    fn addresses(cache: &Cache, seconds: i64) -> Vec<IpAddr> {
        cache
            .look_up(at(seconds), &"web.local".parse().unwrap(), BOTH)
            .addresses
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_record_is_believed_for_its_life_and_not_for_more() {
        let mut cache = Cache::default();
        cache.insert(at(0), record("web.local", 1, 120, true));
        assert_eq!(addresses(&cache, 119), [ip(1)]);
        assert!(addresses(&cache, 120).is_empty());
        cache.insert(at(200), record("web.local", 1, u32::MAX, true));
        assert_eq!(addresses(&cache, 200 + 4499), [ip(1)]);
        assert!(addresses(&cache, 200 + 4500).is_empty());
    }

    #[test]
    fn a_new_record_replaces_older_ones_and_not_its_neighbours() {
        let mut cache = Cache::default();
        cache.insert(at(0), record("web.local", 1, 120, true));
        cache.insert(at(10), record("web.local", 2, 120, true));
        cache.insert(at(10), record("web.local", 3, 120, true));
        assert_eq!(addresses(&cache, 12), [ip(2), ip(3)]);
        cache.insert(at(20), record("web.local", 4, 120, false));
        assert_eq!(addresses(&cache, 22), [ip(2), ip(3), ip(4)]);
    }

    #[test]
    fn a_farewell_ends_a_record_a_second_later() {
        let mut cache = Cache::default();
        cache.insert(at(0), record("web.local", 1, 120, true));
        cache.insert(at(5), record("web.local", 1, 0, true));
        assert_eq!(addresses(&cache, 5), [ip(1)]);
        assert!(addresses(&cache, 6).is_empty());
    }

    #[test]
    fn what_is_denied_is_known_until_it_is_there() {
        let mut cache = Cache::default();
        let name: Name = "web.local".parse().unwrap();
        let denied = Record {
            data: Data::only(name.clone(), &[kind::A]),
            ..record("web.local", 0, 120, true)
        };
        cache.insert(at(0), record("web.local", 1, 120, true));
        assert!(!cache.look_up(at(0), &name, BOTH).is_complete);
        cache.insert(at(0), denied);
        assert!(cache.look_up(at(0), &name, BOTH).is_complete);
        let v6 = Record {
            data: Data::of_address("fd00::1".parse().unwrap()),
            ..record("web.local", 0, 120, true)
        };
        cache.insert(at(1), v6);
        assert_eq!(addresses(&cache, 1), [ip(1), "fd00::1".parse().unwrap()]);
    }

    #[test]
    fn a_flood_of_names_and_records_is_bounded() {
        let mut cache = Cache::default();
        cache.insert(at(0), record("web.local", 1, 4500, true));
        for n in 0..5000 {
            cache.insert(at(0), record(&format!("x{n}.local"), 1, 10, true));
            cache.insert(at(0), record("web.local", n as u8, 4500, false));
        }
        assert_eq!(cache.names.len(), MAX_NAMES);
        assert_eq!(addresses(&cache, 0).len(), MAX_RECORDS);
    }
}
