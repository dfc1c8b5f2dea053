//! Connections in TIME-WAIT (RFC 9293 §3.6): a few numbers each, no rings.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::demux::{SecretHash, Tuple};
use crate::packet::IpPacket;
use crate::packet::{ACK, BareSegment, RST, SYN, Segment, ends};
use crate::tcp::Numbers;
use crate::time::Instant;

/// How long a pair of ports rests, as in Linux.
const REST: Duration = Duration::from_secs(60);
/// How long it rests at least, before this side may open another connection between the same ports: the peer, having
/// closed last, keeps nothing of the old one but for a lost acknowledgement, which a second is enough to repeat.
const SHORT_REST: Duration = Duration::from_secs(1);
/// Entries at most; the oldest goes first, as it is the least likely to be spoken of again.
const CAPACITY: usize = 32_768;

/// What becomes of a segment for a connection that is over.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// No such connection.
    Unknown,
    /// Nothing to do.
    Ignored,
    /// The peer missed the end; say it again.
    Answer(BareSegment),
    /// A new connection on the same ports, beyond doubt; the old one is forgotten.
    Reopened,
}

/// The table of TIME-WAIT.
#[derive(Debug)]
pub(crate) struct TimeWait {
    entries: HashMap<Tuple, Entry, SecretHash>,
    /// In order of their end; an entry that was removed earlier leaves its mark here.
    ends: VecDeque<(Instant, Tuple)>,
}

#[derive(Debug)]
struct Entry {
    numbers: Numbers,
    until: Instant,
}

impl TimeWait {
    pub(crate) fn new(hash: SecretHash) -> TimeWait {
        TimeWait {
            entries: HashMap::with_hasher(hash),
            ends: VecDeque::new(),
        }
    }

    pub(crate) fn insert(&mut self, now: Instant, tuple: Tuple, numbers: Numbers) {
        self.expire(now);
        while self.ends.len() >= CAPACITY {
            self.drop_oldest();
        }
        let until = now + REST;
        self.entries.insert(tuple, Entry { numbers, until });
        self.ends.push_back((until, tuple));
    }

    fn drop_oldest(&mut self) {
        if let Some((until, tuple)) = self.ends.pop_front()
            && self
                .entries
                .get(&tuple)
                .is_some_and(|entry| entry.until == until)
        {
            self.entries.remove(&tuple);
        }
    }

    /// Forgets what rested long enough.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(until, _)| *until <= now) {
            self.drop_oldest();
        }
    }

    /// Whether this side may not yet open a connection between these ports.
    pub(crate) fn forbids(&self, now: Instant, tuple: &Tuple) -> bool {
        let entry = self.entries.get(tuple);
        entry.is_some_and(|entry| entry.until > now + (REST - SHORT_REST))
    }

    /// Forgets a connection, because this side opens another between the same ports.
    pub(crate) fn forget(&mut self, tuple: &Tuple) {
        self.entries.remove(tuple);
    }

    /// Takes a segment for a connection that no flow has. `listening`: a SYN would find a listener.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        packet: &IpPacket<'_>,
        segment: &Segment,
        listening: bool,
    ) -> Verdict {
        let Some(entry) = self.entries.get_mut(tuple) else {
            return Verdict::Unknown;
        };
        if entry.until <= now {
            self.entries.remove(tuple);
            return Verdict::Unknown;
        }
        // RFC 1337: a reset must not end TIME-WAIT.
        if segment.has(RST) {
            return Verdict::Ignored;
        }
        // RFC 9293 §3.6.1 reopens only for a SYN newer than all that was said before. Peers that
        // choose their initial sequence numbers at random, as ours do, would fail that test half of
        // the time and wait a second for the repetition; and should it be an old duplicate, the
        // peer resets what it did not ask for.
        if segment.has(SYN) && !segment.has(ACK) && listening {
            self.entries.remove(tuple);
            return Verdict::Reopened;
        }
        if segment.sequence_len() == 0 {
            return Verdict::Ignored;
        }
        let (local, remote) = ends(packet, segment);
        Verdict::Answer(BareSegment {
            local,
            remote,
            sequence: entry.numbers.send,
            acknowledgement: entry.numbers.receive,
            flags: ACK,
            window: entry.numbers.window,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{FIN, protocol};
    use std::net::SocketAddr;

    fn tuple(port: u16) -> Tuple {
        Tuple::new(
            SocketAddr::from(([10, 0, 0, 1], 80)),
            SocketAddr::from(([10, 0, 0, 2], port)),
        )
    }

    fn receive(table: &mut TimeWait, now: Instant, flags: u8, sequence: u32) -> Verdict {
        let packet = IpPacket {
            bytes: &[],
            src: [10, 0, 0, 2].into(),
            dst: [10, 0, 0, 1].into(),
            protocol: protocol::TCP,
            payload: &[],
        };
        let segment = Segment {
            src_port: 7,
            dst_port: 80,
            sequence,
            acknowledgement: 100,
            flags,
            window: 0,
            payload_len: 0,
            max_segment: None,
            window_scale: None,
        };
        table.receive(now, &tuple(7), &packet, &segment, true)
    }

    fn table() -> TimeWait {
        let mut table = TimeWait::new(SecretHash::new(1));
        table.insert(
            Instant(0),
            tuple(7),
            Numbers {
                send: 100,
                receive: 500,
                window: 9,
            },
        );
        table
    }

    #[test]
    fn a_repeated_fin_is_acknowledged_again() {
        let Verdict::Answer(answer) = receive(&mut table(), Instant(1), FIN | ACK, 499) else {
            panic!("an answer")
        };
        assert_eq!(
            (answer.sequence, answer.acknowledgement, answer.flags),
            (100, 500, ACK)
        );
    }

    #[test]
    fn a_syn_opens_the_ports_again() {
        let mut table = table();
        assert!(matches!(
            receive(&mut table, Instant(1), SYN, 5000),
            Verdict::Reopened
        ));
        assert!(matches!(
            receive(&mut table, Instant(1), FIN | ACK, 499),
            Verdict::Unknown
        ));
    }

    #[test]
    fn a_reset_and_a_bare_ack_change_nothing() {
        let mut table = table();
        assert!(matches!(
            receive(&mut table, Instant(1), RST, 500),
            Verdict::Ignored
        ));
        assert!(matches!(
            receive(&mut table, Instant(1), ACK, 500),
            Verdict::Ignored
        ));
        assert!(table.forbids(Instant(1), &tuple(7)));
    }

    #[test]
    fn this_side_may_open_another_connection_after_a_second() {
        let mut table = table();
        assert!(table.forbids(Instant(999_999), &tuple(7)));
        assert!(!table.forbids(Instant(1_000_000), &tuple(7)));
        table.forget(&tuple(7));
        assert!(table.entries.is_empty());
    }

    #[test]
    fn entries_end_after_a_minute_and_are_bounded() {
        let mut table = table();
        assert!(matches!(
            receive(&mut table, Instant(60_000_000), FIN | ACK, 499),
            Verdict::Unknown
        ));
        for port in 0..u16::MAX {
            table.insert(Instant(60_000_000), tuple(port), Numbers::default());
        }
        assert_eq!(table.entries.len(), CAPACITY);
        table.expire(Instant(120_000_000));
        assert!(table.entries.is_empty() && table.ends.is_empty());
    }
}
