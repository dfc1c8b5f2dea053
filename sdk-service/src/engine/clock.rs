//! The two time lines of the data plane, read together once a batch.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use zt_protocol::Time;

/// A moment on both time lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Milliseconds since the Unix epoch: what the protocol's records carry.
    pub(super) time: Time,
    /// Microseconds of a clock that never jumps: what TCP measures with.
    pub(super) instant: zt_netstack::Instant,
}

/// Reads the clocks.
pub(super) struct Clock {
    start: Instant,
    /// Unix time at `start`, in milliseconds.
    epoch: i64,
}

/// How far the wall clock may run ahead of us before we follow it.
const STEP: i64 = 1000;

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            epoch: unix_millis(),
        }
    }

    /// The time now. The protocol's time follows the wall clock forward (a machine that slept, a clock
    /// that was set) but never back: timers that wait for it would wait as long again.
    pub(super) fn now(&mut self) -> Now {
        let elapsed = self.start.elapsed();
        let elapsed_millis = elapsed.as_millis() as i64;
        let wall = unix_millis();
        if wall - (self.epoch + elapsed_millis) > STEP {
            self.epoch = wall - elapsed_millis;
        }
        Now {
            time: Time(self.epoch + elapsed_millis),
            instant: zt_netstack::Instant(elapsed.as_micros() as i64),
        }
    }
}

fn unix_millis() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_a_forward_step_and_ignores_a_backward_one() {
        let mut clock = Clock::new();
        clock.epoch -= 3_600_000;
        assert!((clock.now().time.0 - unix_millis()).abs() < 100);
        clock.epoch += 3_600_000;
        assert!(clock.now().time.0 > unix_millis() + 3_000_000);
    }
}
