//! Wall-clock time as the protocol counts it. The core never reads a clock: every entry point
//! is told the time.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// Before everything: "never happened".
    pub const NEVER: Time = Time(0);

    /// Milliseconds since the Unix epoch, as timestamps travel on the wire.
    pub fn as_millis(self) -> u64 {
        self.0.max(0) as u64
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// Whether at least `interval` has passed since `earlier`.
    pub fn is_due(self, earlier: Time, interval: Duration) -> bool {
        self.since(earlier) >= interval
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, duration: Duration) -> Time {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Time(self.0.saturating_add(millis))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, duration: Duration) -> Time {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Time(self.0.saturating_sub(millis))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_future_is_zero_time_ago() {
        assert_eq!(Time(10).since(Time(25)), Duration::ZERO);
        assert_eq!(Time(25).since(Time(10)), Duration::from_millis(15));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Time(1) + Duration::MAX, Time(i64::MAX));
        assert_eq!(Time(-5) - Duration::MAX, Time(i64::MIN));
    }
}
