//! When to ask a controller for a configuration (VL2 §2.5).
//!
//! Stock nodes ask every five seconds until they are answered and once a minute afterwards. A
//! container should have its address within two seconds of its start, so we begin with short
//! intervals: a lost first packet costs a quarter of a second, not five.

use std::time::Duration;

use crate::Time;

const REFRESH: Duration = Duration::from_secs(60);
const RETRIES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// A request is taken to be on its way for so long.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// A controller that refused us answers again, so nothing is lost in asking it less often; stock
/// controllers ignore what comes within a second of the last request (VL2 §5.4).
const AFTER_REFUSAL: usize = 3;

/// The request timer of one network.
#[derive(Debug)]
pub(super) struct RequestTimer {
    due: Time,
    attempts: usize,
    last_sent: Option<Time>,
}

impl RequestTimer {
    /// A timer that is due now.
    pub(super) fn new(now: Time) -> Self {
        Self {
            due: now,
            attempts: 0,
            last_sent: None,
        }
    }

    pub(super) fn due(&self) -> Time {
        self.due
    }

    /// It was tried to ask, which a missing path may have prevented.
    pub(super) fn tried(&mut self, now: Time) {
        let last = RETRIES.len() - 1;
        self.due = now + RETRIES[self.attempts.min(last)];
        self.attempts = (self.attempts + 1).min(last);
    }

    /// A request was sent indeed.
    pub(super) fn sent(&mut self, now: Time) {
        self.last_sent = Some(now);
    }

    /// The controller said no.
    pub(super) fn refused(&mut self, now: Time) {
        self.attempts = self.attempts.max(AFTER_REFUSAL);
        self.due = self.due.max(now + RETRIES[AFTER_REFUSAL]);
    }

    /// A configuration arrived.
    pub(super) fn answered(&mut self, now: Time) {
        self.due = now + REFRESH;
        self.attempts = 0;
    }

    /// The request itself changed: it is due now.
    pub(super) fn restart(&mut self, now: Time) {
        self.due = now;
        self.attempts = 0;
    }

    /// Something changed that makes an answer likely: the timer is due now, unless a request is
    /// on its way.
    pub(super) fn hurry(&mut self, now: Time) {
        if self
            .last_sent
            .is_none_or(|last| now.is_due(last, ROUND_TRIP))
        {
            self.restart(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(timer: &mut RequestTimer, until: i64) -> Vec<i64> {
        let mut sent = Vec::new();
        while timer.due() <= Time(until) {
            let now = timer.due();
            sent.push(now.0);
            timer.tried(now);
        }
        sent
    }

    #[test]
    fn an_unanswered_request_is_repeated_soon_and_then_every_five_seconds() {
        let mut timer = RequestTimer::new(Time(0));
        assert_eq!(
            requests(&mut timer, 14_000),
            [0, 250, 750, 1_750, 3_750, 8_750, 13_750]
        );
    }

    #[test]
    fn an_answer_gives_a_minute_of_rest() {
        let mut timer = RequestTimer::new(Time(0));
        timer.tried(Time(0));
        timer.answered(Time(10));
        assert_eq!(timer.due(), Time(60_010));
    }

    #[test]
    fn a_refusal_slows_down_but_not_below_five_seconds() {
        let mut timer = RequestTimer::new(Time(0));
        timer.tried(Time(0));
        timer.refused(Time(20));
        let sent = requests(&mut timer, 13_000);
        assert_eq!(sent, [2_020, 4_020, 9_020]);
    }
}
