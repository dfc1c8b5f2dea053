//! The clock that smoltcp is shown.
//!
//! smoltcp retransmits after no less than a second, measures round trips in whole milliseconds, and neither can be set.
//! Made for radio links, both are a thousand times too coarse for a LAN. But the clock is ours: while a connection is
//! open it runs [`FAST`] times as fast, so that a second of smoltcp's is 62 ms. That is above the 40 ms for which Linux
//! delays an acknowledgement. The handshake runs at true speed, so SYNs repeat after 1, 3, 7, 15 … seconds.

use std::time::Duration;

use crate::time::Instant;

type SmolInstant = smoltcp::time::Instant;
type SmolDuration = smoltcp::time::Duration;

/// Speed of an open connection.
const FAST: i64 = 16;
/// Speed of an open connection whose handshake took longer than [`LONG_PATH`].
const MODERATE: i64 = 4;
/// A round trip beyond a LAN: other traffic shares the path, and is owed patience.
const LONG_PATH: Duration = Duration::from_millis(20);
/// smoltcp uses time zero as a mark.
const EPOCH: i64 = 1_000_000;

/// Translates between our time line and that of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    real: i64,
    shown: i64,
    rate: i64,
}

impl Clock {
    /// A clock that waits for [`start`](Clock::start).
    pub(super) fn new() -> Clock {
        Clock {
            real: 0,
            shown: EPOCH,
            rate: 1,
        }
    }

    /// Begins at true speed.
    pub(super) fn start(&mut self, now: Instant) {
        *self = Clock {
            real: now.0,
            shown: EPOCH,
            rate: 1,
        };
    }

    /// Speeds up after a handshake that took `round_trip`, if that is known.
    pub(super) fn open(&mut self, now: Instant, round_trip: Option<Duration>) {
        let shown = self.at(now).total_micros();
        *self = Clock {
            real: now.0,
            shown,
            rate: if round_trip.is_none_or(|time| time > LONG_PATH) {
                MODERATE
            } else {
                FAST
            },
        };
    }

    /// What the clock shows at `now`.
    pub(super) fn at(&self, now: Instant) -> SmolInstant {
        let passed = now.0.saturating_sub(self.real).max(0);
        SmolInstant::from_micros(self.shown.saturating_add(passed.saturating_mul(self.rate)))
    }

    /// When the clock will show `shown`.
    pub(super) fn real(&self, shown: SmolInstant) -> Instant {
        let ahead = shown.total_micros().saturating_sub(self.shown).max(0);
        Instant(
            self.real
                .saturating_add(ahead.saturating_add(self.rate - 1) / self.rate),
        )
    }

    /// A span of ours as the clock counts it.
    pub(super) fn span(&self, span: Duration) -> SmolDuration {
        SmolDuration::from_micros(
            u64::try_from(span.as_micros())
                .unwrap_or(u64::MAX / 64)
                .saturating_mul(self.rate as u64),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back_when_it_speeds_up() {
        let mut clock = Clock::new();
        clock.start(Instant(5_000_000));
        let before = clock.at(Instant(5_300_000));
        clock.open(Instant(5_300_000), Some(Duration::from_millis(1)));
        assert_eq!(clock.at(Instant(5_300_000)), before);
        assert_eq!(
            clock.at(Instant(5_300_010)).total_micros(),
            before.total_micros() + 160
        );
    }

    #[test]
    fn a_deadline_is_never_early() {
        let mut clock = Clock::new();
        clock.start(Instant(0));
        clock.open(Instant(7), Some(Duration::ZERO));
        for shown in 1_000_000..1_000_200 {
            let shown = SmolInstant::from_micros(shown);
            assert!(clock.at(clock.real(shown)) >= shown);
        }
    }
}
