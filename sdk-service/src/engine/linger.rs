//! How long to look for input before sleeping.
//!
//! Waking a sleeping processor takes longer than everything else that a request needs, most of all in
//! a virtual machine. So where input has been coming in quick succession the loop looks a little longer
//! before it sleeps, and offers the processor to others between two looks. It costs no
//! more than the window a wait, and nothing where input comes slowly: one long wait closes the window.

use std::time::Duration;

/// A wait shorter than this might have been bridged.
const NEAR: Duration = Duration::from_micros(200);
/// The first window, and the longest: about a request's way to the other node and back.
const SHORTEST: Duration = Duration::from_micros(10);
const LONGEST: Duration = Duration::from_micros(50);

/// The time to look before sleeping, learnt from the waits that were not bridged.
#[derive(Debug, Default)]
pub(super) struct Linger {
    window: Duration,
}

impl Linger {
    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// Input came after `wait`, longer than the window.
    pub(super) fn learn(&mut self, wait: Duration) {
        self.window = if wait < NEAR {
            (self.window * 2).clamp(SHORTEST, LONGEST)
        } else {
            Duration::ZERO
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_succession_opens_the_window_step_by_step() {
        let mut linger = Linger::default();
        let mut windows = Vec::new();
        for _ in 0..4 {
            linger.learn(Duration::from_micros(60));
            windows.push(linger.window().as_micros());
        }
        assert_eq!(windows, [10, 20, 40, 50]);
    }

    #[test]
    fn one_long_wait_closes_it() {
        let mut linger = Linger::default();
        linger.learn(Duration::from_micros(60));
        linger.learn(Duration::from_millis(5));
        assert_eq!(linger.window(), Duration::ZERO);
    }
}
