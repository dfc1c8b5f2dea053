//! Rate gates (VL1 §4.13): how often the world may make us do something costly.

use super::path::prefix_of;
use super::table::Tables;
use crate::Time;
use std::net::IpAddr;
use std::time::Duration;

/// Admits one event per `interval` on average and `burst` at once, in eight bytes (the "virtual
/// scheduling" form of a leaky bucket).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gate {
    /// When the events admitted so far will have been worked off.
    busy_until: Time,
}

impl Gate {
    /// Whether one more event may happen now; if so, it is counted.
    pub(super) fn admit(&mut self, now: Time, interval: Duration, burst: u32) -> bool {
        let start = self.busy_until.max(now);
        if start.since(now) > interval * burst.saturating_sub(1) {
            return false;
        }
        self.busy_until = start + interval;
        true
    }
}

/// Guards the validation of unknown identities, by far the most expensive thing that a stranger
/// can ask for.
pub(super) struct IdentityGate {
    by_prefix: Box<[Gate; IdentityGate::SLOTS]>,
    all: Gate,
}

impl IdentityGate {
    const SLOTS: usize = 1024;
    /// As stock has it, for sources out in the world.
    const INTERVAL: Duration = Duration::from_secs(2);
    /// On a private network many containers may start at once behind one prefix.
    const PRIVATE_INTERVAL: Duration = Duration::from_millis(250);
    const PRIVATE_BURST: u32 = 32;
    /// Whatever the sources, no more than about a quarter of one processor.
    const TOTAL_INTERVAL: Duration = Duration::from_millis(50);
    const TOTAL_BURST: u32 = 64;

    pub(super) fn new() -> Self {
        IdentityGate {
            by_prefix: Box::new([Gate::default(); Self::SLOTS]),
            all: Gate::default(),
        }
    }

    /// Whether an unknown identity from `source` may be validated now.
    pub(super) fn admit(
        &mut self,
        now: Time,
        source: IpAddr,
        private: bool,
        tables: &Tables,
    ) -> bool {
        let slot = tables.hash(prefix_of(source)) as usize % Self::SLOTS;
        let (interval, burst) = match private {
            true => (Self::PRIVATE_INTERVAL, Self::PRIVATE_BURST),
            false => (Self::INTERVAL, 1),
        };
        self.by_prefix[slot].admit(now, interval, burst)
            && self.all.admit(now, Self::TOTAL_INTERVAL, Self::TOTAL_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_of_one_is_a_minimum_interval() {
        let mut gate = Gate::default();
        let times = [1000, 1500, 1999, 2000, 2500, 10_000, 10_001];
        let admitted = times.map(|ms| gate.admit(Time(ms), SECOND, 1));
        assert_eq!(admitted, [true, false, false, true, false, true, false]);
    }

    #[test]
    fn a_burst_is_refilled_at_the_rate() {
        let mut gate = Gate::default();
        let mut admit = |ms| (0..10).filter(|_| gate.admit(Time(ms), SECOND, 5)).count();
        assert_eq!(admit(100_000), 5);
        assert_eq!(admit(100_500), 0);
        assert_eq!(admit(102_000), 2);
        assert_eq!(admit(200_000), 5);
    }

    #[test]
    fn strangers_are_counted_by_prefix() {
        let tables = Tables::new([1, 2, 3, 4]);
        let mut gate = IdentityGate::new();
        let mut admit = |ip: &str| gate.admit(Time(1), ip.parse().unwrap(), false, &tables);
        assert!(admit("1.2.3.4"));
        assert!(!admit("1.2.3.5"));
        assert!(admit("1.2.4.4"));
        assert!(admit("2001:db8::1"));
        assert!(!admit("2001:db8::2"));
    }
}
