//! Counts what peers cost us, so that one of them cannot keep the others waiting.

use std::collections::HashMap;
use std::time::Duration;

use crate::{Address, Time};

/// Peers remembered at most; a flood of new ones resets the counts instead of growing the table.
const MAX_PEERS: usize = 8_192;

/// Allows each peer a number of actions in each interval.
#[derive(Debug)]
pub(super) struct Limiter {
    interval: Duration,
    allowance: u32,
    windows: HashMap<Address, (Time, u32)>,
}

impl Limiter {
    pub(super) fn new(allowance: u32, interval: Duration) -> Self {
        Self {
            interval,
            allowance,
            windows: HashMap::new(),
        }
    }

    /// Counts an action of `peer`; `false` if it has used up its allowance.
    pub(super) fn admit(&mut self, now: Time, peer: Address) -> bool {
        if self.windows.len() >= MAX_PEERS && !self.windows.contains_key(&peer) {
            self.windows.clear();
        }
        let (since, used) = self.windows.entry(peer).or_insert((now, 0));
        if now.is_due(*since, self.interval) {
            (*since, *used) = (now, 0);
        }
        *used += 1;
        *used <= self.allowance
    }

    /// Forgets peers whose interval is over.
    pub(super) fn expire(&mut self, now: Time) {
        self.windows
            .retain(|_, (since, _)| !now.is_due(*since, self.interval));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_its_own_allowance_per_interval() {
        let mut limiter = Limiter::new(2, Duration::from_secs(1));
        let (a, b) = (Address::new(1), Address::new(2));
        let admitted: Vec<_> = [a, a, a, b]
            .map(|peer| limiter.admit(Time(10), peer))
            .into();
        assert_eq!(admitted, [true, true, false, true]);
        assert!(limiter.admit(Time(1_010), a));
        limiter.expire(Time(5_000));
        assert!(limiter.windows.is_empty());
    }
}
