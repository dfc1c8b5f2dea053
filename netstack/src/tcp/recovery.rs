//! Helps smoltcp's sender through losses by choosing which acknowledgements it sees.
//!
//! smoltcp knows one retransmission for three duplicates and the timer. What a sender needs besides can be said in
//! acknowledgements that a peer might have sent:
//!
//! - NewReno (RFC 6582): an acknowledgement of a part of what was under way at the loss means that the next hole is lost
//!   too. smoltcp is shown three duplicates of it, and repairs that hole a round trip later instead of a time-out later.
//! - After a time-out everything is sent again, and what the peer had already gives duplicates. They are not new losses
//!   (RFC 6582 §4); smoltcp does not get to see them.
//! - Appropriate byte counting (RFC 3465): smoltcp opens its congestion window by one segment an acknowledgement, but a
//!   peer that joins segments acknowledges dozens at once. While that window is what holds the sender back, such an
//!   acknowledgement is shown in steps.

use crate::packet::{ACK, FIN, RST, SYN, Segment};

/// Steps at most; more would only heat the room.
const MAX_STEPS: u32 = 64;

/// What smoltcp is to be shown of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Showing {
    /// The segment, and first as many of its acknowledgement's steps as there are full segments in it.
    Whole {
        /// How much it newly acknowledges.
        newly: u32,
        /// Three duplicates of its acknowledgement follow.
        provoke: bool,
    },
    /// Nothing.
    Nothing,
}

/// How far a loss is repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Repair {
    #[default]
    None,
    /// After duplicates, until this number is acknowledged.
    Fast(u32),
    /// After a time-out, until this number is acknowledged.
    Timeout(u32),
}

/// The sender's side of a connection as its acknowledgements tell it.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// What the peer has.
    acknowledged: Option<u32>,
    window: u16,
    duplicates: u8,
    repair: Repair,
    /// A retransmission was asked for.
    provoked: bool,
}

/// Whether `a` comes before `b` in sequence space.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Recovery {
    /// Bytes sent and not acknowledged, when `sent` is the next number to send.
    pub(super) fn in_flight(&self, sent: u32) -> u32 {
        self.acknowledged
            .map_or(0, |acknowledged| sent.wrapping_sub(acknowledged))
    }

    /// Notes a segment of the peer when `sent` is the next number to send.
    pub(super) fn received(&mut self, segment: &Segment, sent: u32) -> Showing {
        const AS_IT_IS: Showing = Showing::Whole {
            newly: 0,
            provoke: false,
        };
        let number = segment.acknowledgement;
        if !segment.has(ACK) || segment.has(SYN) || segment.has(RST) || before(sent, number) {
            return AS_IT_IS;
        }
        let acknowledged = *self.acknowledged.get_or_insert(number);
        if before(number, acknowledged) {
            return AS_IT_IS;
        }
        let window = std::mem::replace(&mut self.window, segment.window);
        let newly = number.wrapping_sub(acknowledged);
        if newly == 0 {
            let duplicate = segment.payload_len == 0
                && !segment.has(FIN)
                && window == segment.window
                && number != sent;
            if !duplicate {
                return AS_IT_IS;
            }
            if matches!(self.repair, Repair::Timeout(until) if before(number, until)) {
                return Showing::Nothing;
            }
            self.duplicates = self.duplicates.saturating_add(1);
            if self.duplicates == 3 {
                self.repair = Repair::Fast(sent);
                self.provoked = true;
            }
            return AS_IT_IS;
        }
        self.acknowledged = Some(number);
        self.duplicates = 0;
        let provoke = match self.repair {
            Repair::Fast(until) if before(number, until) => true,
            Repair::Timeout(until) if before(number, until) => false,
            _ => {
                self.repair = Repair::None;
                false
            }
        };
        self.provoked |= provoke;
        Showing::Whole { newly, provoke }
    }

    /// Notes a segment of our own with bytes, when `next` was the next new number.
    pub(super) fn sent(&mut self, sequence: u32, next: u32) {
        if before(sequence, next) && !std::mem::take(&mut self.provoked) {
            self.repair = Repair::Timeout(next);
        }
    }
}

/// Makes a bare acknowledgement of `number`, sent at `sequence`, out of a packet: its IP header and the first of its TCP
/// header, no options, no payload. Checksums are left alone; smoltcp does not look at them.
pub(super) fn bare_acknowledgement<'b>(
    packet: &[u8],
    sequence: u32,
    number: u32,
    buffer: &'b mut [u8; 100],
) -> Option<&'b [u8]> {
    let ip_len = match packet.first()? >> 4 {
        4 => usize::from(packet[0] & 0x0f) * 4,
        _ => 40,
    };
    let len = ip_len + 20;
    let bare = buffer.get_mut(..len)?;
    bare.copy_from_slice(packet.get(..len)?);
    match ip_len {
        40 if packet[0] >> 4 == 6 => bare[4..6].copy_from_slice(&20u16.to_be_bytes()),
        _ => bare[2..4].copy_from_slice(&(len as u16).to_be_bytes()),
    }
    let tcp = &mut bare[ip_len..];
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    tcp[8..12].copy_from_slice(&number.to_be_bytes());
    tcp[12..14].copy_from_slice(&[5 << 4, ACK]);
    Some(bare)
}

/// The numbers of the steps in which an acknowledgement of `number` is shown, without the last.
pub(super) fn steps(number: u32, newly: u32, segment: u32) -> impl Iterator<Item = u32> {
    let count = newly.div_ceil(segment.max(1)).clamp(1, MAX_STEPS);
    let step = newly.div_ceil(count);
    (1..count).map(move |i| number.wrapping_sub(newly).wrapping_add(i * step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(number: u32) -> Segment {
        Segment {
            src_port: 1,
            dst_port: 2,
            sequence: 0,
            acknowledgement: number,
            flags: ACK,
            window: 100,
            payload_len: 0,
            max_segment: None,
            window_scale: None,
        }
    }

    fn whole(newly: u32, provoke: bool) -> Showing {
        Showing::Whole { newly, provoke }
    }

    /// Ten segments of 100 from number 1000 are under way.
    fn under_way() -> Recovery {
        let mut recovery = Recovery::default();
        assert_eq!(recovery.received(&ack(1000), 1000), whole(0, false));
        recovery.sent(1000, 1000);
        recovery
    }

    #[test]
    fn a_partial_acknowledgement_provokes_the_next_repair() {
        let mut recovery = under_way();
        for _ in 0..3 {
            assert_eq!(recovery.received(&ack(1000), 2000), whole(0, false));
        }
        recovery.sent(1000, 2000);
        assert_eq!(recovery.received(&ack(1400), 2000), whole(400, true));
        recovery.sent(1400, 2000);
        assert_eq!(recovery.received(&ack(2000), 2000), whole(600, false));
        assert_eq!(recovery.repair, Repair::None);
    }

    #[test]
    fn duplicates_after_a_time_out_are_not_shown() {
        let mut recovery = under_way();
        recovery.sent(1000, 2000);
        assert_eq!(recovery.repair, Repair::Timeout(2000));
        assert_eq!(recovery.received(&ack(1500), 2000), whole(500, false));
        for _ in 0..5 {
            assert_eq!(recovery.received(&ack(1500), 2000), Showing::Nothing);
        }
        assert_eq!(recovery.received(&ack(2000), 2500), whole(500, false));
        assert_eq!(recovery.received(&ack(2000), 2500), whole(0, false));
    }

    #[test]
    fn a_window_update_is_no_duplicate() {
        let mut recovery = under_way();
        for window in 1..20 {
            let update = Segment {
                window,
                ..ack(1000)
            };
            assert_eq!(recovery.received(&update, 2000), whole(0, false));
        }
        assert_eq!(recovery.repair, Repair::None);
    }

    #[test]
    fn numbers_that_were_never_sent_change_nothing() {
        let mut recovery = under_way();
        assert_eq!(recovery.received(&ack(5000), 2000), whole(0, false));
        assert_eq!(recovery.in_flight(2000), 1000);
    }

    #[test]
    fn steps_are_full_segments() {
        assert_eq!(
            steps(1350, 350, 100).collect::<Vec<_>>(),
            [1088, 1176, 1264]
        );
        assert_eq!(steps(1100, 100, 100).count(), 0);
        assert_eq!(steps(5, 10, 4).collect::<Vec<_>>(), [u32::MAX, 3]);
        assert_eq!(steps(1_000_000, 1_000_000, 100).count(), 63);
    }

    #[test]
    fn a_bare_acknowledgement_is_a_packet() {
        let mut packet = vec![
            0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        packet.extend([
            0,
            1,
            0,
            2,
            0,
            0,
            0,
            7,
            0,
            0,
            0,
            9,
            8 << 4,
            0x18,
            1,
            0,
            0,
            0,
            0,
            0,
        ]);
        packet.extend([1; 12 + 500]);
        let mut buffer = [0; 100];
        let bare = bare_acknowledgement(&packet, 5, 77, &mut buffer).expect("a packet");
        assert_eq!(bare.len(), 40);
        assert_eq!(bare[2..4], [0, 40]);
        let segment = Segment::parse(&bare[20..]).expect("a segment");
        assert_eq!(
            (segment.acknowledgement, segment.flags, segment.payload_len),
            (77, ACK, 0)
        );
        assert_eq!(segment.sequence, 5);
        assert_eq!(segment.window, 0x0100);
        assert!(bare_acknowledgement(&packet[..30], 5, 77, &mut buffer).is_none());
    }
}
