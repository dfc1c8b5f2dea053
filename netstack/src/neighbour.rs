//! Who has which address on the link: the table behind ARP (RFC 826) and neighbour discovery (RFC 4861).
//!
//! The table decides when to ask; [`link`](crate::link) makes and reads the packets. Timing follows Linux: a request a
//! second, three of them, then whoever waits is told that the host is unreachable.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::demux::SecretHash;
use crate::time::Instant;
use crate::timer::TimerQueue;

/// Time between requests.
const RETRY: Duration = Duration::from_secs(1);
/// Requests before giving up.
const TRIES: u8 = 3;
/// Age at which an entry in use is asked for again.
const FRESH: Duration = Duration::from_secs(60);
/// Entries at most; the least recently confirmed goes first.
const CAPACITY: usize = 4096;

/// An address of a link.
pub(crate) type Mac = [u8; 6];

/// A question to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) ip: IpAddr,
    /// The neighbour itself, to confirm what is known; otherwise everybody.
    pub(crate) to: Option<Mac>,
}

/// Answer of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Found(Mac),
    /// A question is out. The key comes back from [`Neighbours::heard`] or [`Neighbours::handle_timeout`].
    Pending,
}

/// The neighbour table. `K` names whoever waits.
pub(crate) struct Neighbours<K> {
    entries: HashMap<IpAddr, Entry<K>, SecretHash>,
    timers: TimerQueue<IpAddr>,
    asks: VecDeque<Ask>,
}

struct Entry<K> {
    mac: Option<Mac>,
    confirmed: Instant,
    /// Questions sent since the last answer, and when the next is due.
    asked: u8,
    next: Instant,
    waiting: Vec<K>,
    /// Of the last handshake.
    round_trip: Option<Duration>,
}

impl<K: Copy> Neighbours<K> {
    pub(crate) fn new(hash: SecretHash) -> Self {
        Neighbours {
            entries: HashMap::with_hasher(hash),
            timers: TimerQueue::new(),
            asks: VecDeque::new(),
        }
    }

    /// Finds the link address of a neighbour, or asks for it and remembers that `key` waits.
    pub(crate) fn lookup(&mut self, now: Instant, ip: IpAddr, key: K) -> Lookup {
        if let Some(entry) = self.entries.get_mut(&ip) {
            let Some(mac) = entry.mac else {
                entry.waiting.push(key);
                return Lookup::Pending;
            };
            if entry.asked == 0 && now.saturating_since(entry.confirmed) > FRESH {
                ask(entry, now, ip, &mut self.timers, &mut self.asks);
            }
            return Lookup::Found(mac);
        }
        self.make_room();
        let mut entry = Entry {
            mac: None,
            confirmed: now,
            asked: 0,
            next: now,
            waiting: vec![key],
            round_trip: None,
        };
        ask(&mut entry, now, ip, &mut self.timers, &mut self.asks);
        self.entries.insert(ip, entry);
        Lookup::Pending
    }

    /// Notes that a neighbour spoke. `learn` adds one that nobody asked for. Returns who waited for it.
    pub(crate) fn heard(&mut self, now: Instant, ip: IpAddr, mac: Mac, learn: bool) -> Vec<K> {
        if let Some(entry) = self.entries.get_mut(&ip) {
            entry.mac = Some(mac);
            entry.confirmed = now;
            entry.asked = 0;
            return std::mem::take(&mut entry.waiting);
        }
        if learn {
            self.make_room();
            let entry = Entry {
                mac: Some(mac),
                confirmed: now,
                asked: 0,
                next: now,
                waiting: Vec::new(),
                round_trip: None,
            };
            self.entries.insert(ip, entry);
        }
        Vec::new()
    }

    /// Notes that a packet came from a neighbour by this link address. Another one than is known counts no longer: everybody
    /// is asked, for an address in a packet is no proof.
    pub(crate) fn heard_from(&mut self, now: Instant, ip: IpAddr, mac: Mac) {
        if let Some(entry) = self.entries.get_mut(&ip)
            && entry.mac.is_some_and(|known| known != mac)
        {
            entry.mac = None;
            entry.asked = 0;
            ask(entry, now, ip, &mut self.timers, &mut self.asks);
        }
    }

    /// Remembers how long a packet takes to a neighbour and back.
    pub(crate) fn set_round_trip(&mut self, ip: IpAddr, round_trip: Duration) {
        if let Some(entry) = self.entries.get_mut(&ip) {
            entry.round_trip = Some(round_trip);
        }
    }

    /// How long a packet takes to a neighbour and back, if that was ever measured.
    pub(crate) fn round_trip(&self, ip: IpAddr) -> Option<Duration> {
        self.entries.get(&ip)?.round_trip
    }

    /// Repeats questions that are due; returns the neighbours that were given up, with who waited for them.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<(IpAddr, Vec<K>)> {
        let mut failed = Vec::new();
        while let Some((at, ip)) = self.timers.pop_due(now) {
            let Some(entry) = self.entries.get_mut(&ip) else {
                continue;
            };
            if entry.asked == 0 || entry.next != at {
                continue;
            }
            if entry.asked < TRIES {
                ask(entry, now, ip, &mut self.timers, &mut self.asks);
            } else if entry.mac.take().is_some() {
                // The neighbour itself was silent: its address may have moved to another link address.
                entry.asked = 0;
                ask(entry, now, ip, &mut self.timers, &mut self.asks);
            } else if let Some(entry) = self.entries.remove(&ip) {
                failed.push((ip, entry.waiting));
            }
        }
        failed
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next question to send.
    pub(crate) fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// Forgets everybody; returns who waited.
    pub(crate) fn clear(&mut self) -> Vec<K> {
        self.timers = TimerQueue::new();
        self.asks.clear();
        self.entries
            .drain()
            .flat_map(|(_, entry)| entry.waiting)
            .collect()
    }

    /// Makes room for one more entry. Only a scan of the whole LAN fills the table, so the search may be slow.
    fn make_room(&mut self) {
        if self.entries.len() < CAPACITY {
            return;
        }
        let idle = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.waiting.is_empty());
        if let Some(ip) = idle
            .min_by_key(|(_, entry)| entry.confirmed)
            .map(|(ip, _)| *ip)
        {
            self.entries.remove(&ip);
        }
    }
}

fn ask<K>(
    entry: &mut Entry<K>,
    now: Instant,
    ip: IpAddr,
    timers: &mut TimerQueue<IpAddr>,
    asks: &mut VecDeque<Ask>,
) {
    entry.asked += 1;
    entry.next = now + RETRY;
    timers.arm(entry.next, ip);
    asks.push_back(Ask { ip, to: entry.mac });
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 9];

    fn ip() -> IpAddr {
        IpAddr::from([10, 0, 0, 9])
    }

    fn table() -> Neighbours<u32> {
        Neighbours::new(SecretHash::new(1))
    }

    fn seconds(s: i64) -> Instant {
        Instant(s * 1_000_000)
    }

    fn asks(table: &mut Neighbours<u32>) -> Vec<Ask> {
        std::iter::from_fn(|| table.poll_ask()).collect()
    }

    #[test]
    fn three_questions_a_second_apart_then_unreachable() {
        let mut table = table();
        assert_eq!(table.lookup(seconds(0), ip(), 7), Lookup::Pending);
        assert_eq!(table.lookup(seconds(0), ip(), 8), Lookup::Pending);
        assert_eq!(asks(&mut table), [Ask { ip: ip(), to: None }]);
        for second in 1..3 {
            assert_eq!(table.deadline(), Some(seconds(second)));
            assert!(table.handle_timeout(seconds(second)).is_empty());
            assert_eq!(asks(&mut table).len(), 1);
        }
        assert_eq!(table.handle_timeout(seconds(3)), [(ip(), vec![7, 8])]);
        assert_eq!(asks(&mut table), []);
        assert_eq!(table.deadline(), None);
    }

    #[test]
    fn an_answer_wakes_those_who_wait_and_stops_the_questions() {
        let mut table = table();
        table.lookup(seconds(0), ip(), 7);
        assert_eq!(table.heard(seconds(0), ip(), MAC, false), [7]);
        assert_eq!(table.lookup(seconds(0), ip(), 7), Lookup::Found(MAC));
        asks(&mut table);
        assert!(table.handle_timeout(seconds(1)).is_empty());
        assert_eq!(asks(&mut table), []);
    }

    #[test]
    fn what_nobody_asked_for_is_learned_only_on_purpose() {
        let mut table = table();
        table.heard(seconds(0), ip(), MAC, false);
        assert_eq!(table.lookup(seconds(0), ip(), 7), Lookup::Pending);
        let mut table = self::table();
        table.heard(seconds(0), ip(), MAC, true);
        assert_eq!(table.lookup(seconds(0), ip(), 7), Lookup::Found(MAC));
    }

    #[test]
    fn an_old_entry_is_confirmed_while_it_is_used() {
        let mut table = table();
        table.heard(seconds(0), ip(), MAC, true);
        assert_eq!(table.lookup(seconds(61), ip(), 7), Lookup::Found(MAC));
        assert_eq!(
            asks(&mut table),
            [Ask {
                ip: ip(),
                to: Some(MAC)
            }]
        );
        // Silence: two more to the neighbour, then everybody is asked, then it is gone.
        let mut failed = Vec::new();
        for second in 62..68 {
            failed.extend(table.handle_timeout(seconds(second)));
        }
        let asked: Vec<_> = asks(&mut table).iter().map(|ask| ask.to).collect();
        assert_eq!(asked, [Some(MAC), Some(MAC), None, None, None]);
        assert_eq!(failed, [(ip(), vec![])]);
    }

    #[test]
    fn who_speaks_by_another_link_address_is_asked_for_and_not_believed() {
        const OTHER: Mac = [2, 0, 0, 0, 0, 10];
        let mut table = table();
        table.heard_from(seconds(0), ip(), MAC);
        table.heard(seconds(0), ip(), MAC, true);
        table.heard_from(seconds(1), ip(), MAC);
        assert_eq!(asks(&mut table), []);
        table.heard_from(seconds(1), ip(), OTHER);
        table.heard_from(seconds(1), ip(), OTHER);
        assert_eq!(table.lookup(seconds(1), ip(), 7), Lookup::Pending);
        assert_eq!(asks(&mut table), [Ask { ip: ip(), to: None }]);
        assert_eq!(table.heard(seconds(1), ip(), MAC, false), [7]);
        assert_eq!(table.lookup(seconds(1), ip(), 7), Lookup::Found(MAC));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = table();
        for n in 0..10_000u32 {
            table.heard(
                Instant(n.into()),
                IpAddr::V4((0x0a00_0000 + n).into()),
                MAC,
                true,
            );
        }
        assert_eq!(table.entries.len(), CAPACITY);
        assert_eq!(
            table.lookup(Instant(9_999), IpAddr::V4((0x0a00_0000 + 9_999).into()), 1),
            Lookup::Found(MAC)
        );
    }
}
