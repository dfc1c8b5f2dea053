//! What the controller remembers about members between their requests, in memory only: who they
//! are, what their software understands, and how often they ask (VL2 §5.4, §5.5).

use std::time::Duration;

use zt_protocol::Time;

/// A member is pushed changes this long after its last request.
const ONLINE: Duration = Duration::from_secs(120);
/// Requests beyond the burst are answered at this interval (VL2 §5.4: one a second). The burst
/// serves nodes that repeat a lost request sooner than that.
const INTERVAL: Duration = Duration::from_secs(1);
const BURST: u32 = 5;

/// A member that has asked for a configuration since the controller started.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) last_request: Time,
    /// Rules engine revision of the node; 0 understands neither rules nor capabilities.
    pub(crate) rules_revision: u64,
    tokens: u32,
    refilled: Time,
}

impl Session {
    /// A session that begins now.
    pub(crate) fn new(now: Time) -> Self {
        Self {
            last_request: now,
            rules_revision: 0,
            tokens: BURST,
            refilled: now,
        }
    }

    /// Counts a request; `false` if the member asks too often.
    pub(crate) fn admit(&mut self, now: Time) -> bool {
        let earned = now.since(self.refilled).as_millis() / INTERVAL.as_millis();
        if earned > 0 {
            self.tokens = BURST.min(
                self.tokens
                    .saturating_add(u32::try_from(earned).unwrap_or(BURST)),
            );
            self.refilled = now;
        }
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        self.last_request = now;
        true
    }

    /// Whether the member is there to be pushed to.
    pub(crate) fn is_online(&self, now: Time) -> bool {
        now.since(self.last_request) <= ONLINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_is_thinned_to_one_a_second() {
        let mut session = Session::new(Time(0));
        let passed = (0..10_000)
            .step_by(10)
            .filter(|&ms| session.admit(Time(ms)))
            .count();
        assert_eq!(passed, 5 + 9);
    }

    #[test]
    fn a_silent_member_is_not_online() {
        let session = Session::new(Time(1_000));
        assert!(session.is_online(Time(121_000)));
        assert!(!session.is_online(Time(121_001)));
    }
}
