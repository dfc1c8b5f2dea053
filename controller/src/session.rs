//! What the controller remembers about members between their requests, in memory only: who they
//! are, what their software understands, and how often they ask (VL2 §5.4, §5.5).

use std::collections::HashMap;
use std::time::Duration;

use zt_protocol::{Address, NetworkId, Time};

/// A member is pushed changes this long after its last request.
const ONLINE: Duration = Duration::from_secs(120);
/// Requests beyond the burst are answered at this interval (VL2 §5.4: one a second). The burst
/// serves nodes that repeat a lost request sooner than that.
const INTERVAL: Duration = Duration::from_secs(1);
const BURST: u32 = 5;

/// The members that have asked for a configuration lately. Whoever is silent for longer than
/// [`ONLINE`] is forgotten: nothing is pushed to it, and its allowance would be full again.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_member: HashMap<(NetworkId, Address), Session>,
    swept: Time,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self {
            by_member: HashMap::new(),
            swept: Time::NEVER,
        }
    }

    /// Counts a request; `None` if the member asks too often.
    pub(crate) fn admit(
        &mut self,
        now: Time,
        network: NetworkId,
        member: Address,
    ) -> Option<&mut Session> {
        if now.since(self.swept) > ONLINE {
            self.by_member.retain(|_, session| session.is_online(now));
            self.swept = now;
        }
        let session = self.by_member.entry((network, member));
        let session = session.or_insert_with(|| Session::new(now));
        session.admit(now).then_some(session)
    }

    /// The session of a member that is there to be pushed to.
    pub(crate) fn online(
        &self,
        now: Time,
        network: NetworkId,
        member: Address,
    ) -> Option<&Session> {
        let session = self.by_member.get(&(network, member));
        session.filter(|session| session.is_online(now))
    }

    pub(crate) fn remove(&mut self, network: NetworkId, member: Address) {
        self.by_member.remove(&(network, member));
    }
}

/// A member that has asked for a configuration.
#[derive(Debug)]
pub(crate) struct Session {
    last_request: Time,
    /// Rules engine revision of the node; 0 understands neither rules nor capabilities.
    pub(crate) rules_revision: u64,
    tokens: u32,
    refilled: Time,
}

impl Session {
    /// A session that begins now.
    fn new(now: Time) -> Self {
        Self {
            last_request: now,
            rules_revision: 0,
            tokens: BURST,
            refilled: now,
        }
    }

    /// Counts a request; `false` if the member asks too often.
    fn admit(&mut self, now: Time) -> bool {
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
    fn is_online(&self, now: Time) -> bool {
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

    #[test]
    fn members_that_fell_silent_are_forgotten() {
        let mut sessions = Sessions::new();
        let network = NetworkId(0xf032_a881_1c00_abcd);
        let stranger = |number: i64| Address::new(0x10_0000_0000 + number as u64);
        for second in 0..10_000 {
            let now = Time(second * 1_000);
            assert!(sessions.admit(now, network, stranger(second)).is_some());
            assert!(sessions.admit(now, network, stranger(0)).is_some());
            assert!(sessions.by_member.len() <= 2 * 121 + 1);
        }
        let now = Time(10_000_000);
        assert!(sessions.online(now, network, stranger(0)).is_some());
        assert!(sessions.online(now, network, stranger(9_990)).is_some());
        assert!(sessions.online(now, network, stranger(9_000)).is_none());
    }
}
