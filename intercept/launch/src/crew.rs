//! Who listens for calls.
//!
//! The kernel wakes everybody who waits for a call, for each call. So one worker has the *turn*, and it alone waits there; the
//! others are parked. It keeps the turn while it answers a call, for most answers are given sooner than another thread is
//! awake. It passes the turn on when it has to wait itself, or is about to work for long and there is another call already.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Workers that stay when they have nothing to do.
const PARKED: usize = 16;

thread_local! {
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// The workers of one supervisor.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    state: Mutex<State>,
    free: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_taken: bool,
    parked: usize,
}

impl Crew {
    /// Waits until the calling worker has the turn. False when there are workers enough without it.
    pub(crate) fn take_turn(&self) -> bool {
        if HAS_TURN.get() {
            return true;
        }
        let mut state = self.lock();
        if state.is_taken && state.parked >= PARKED {
            return false;
        }
        state.parked += 1;
        let mut state = self
            .free
            .wait_while(state, |state| state.is_taken)
            .unwrap_or_else(PoisonError::into_inner);
        state.parked -= 1;
        state.is_taken = true;
        HAS_TURN.set(true);
        true
    }

    /// Gives the turn away, if the calling worker has it. False when nobody is there to take it.
    pub(crate) fn pass_on(&self) -> bool {
        if !HAS_TURN.replace(false) {
            return true;
        }
        let mut state = self.lock();
        state.is_taken = false;
        let is_somebody_there = state.parked > 0;
        drop(state);
        self.free.notify_one();
        is_somebody_there
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn one_at_a_time_has_the_turn() {
        let (crew, at_once, turns) = (Crew::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        assert!(crew.take_turn());
                        assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                        turns.fetch_add(1, Ordering::SeqCst);
                        at_once.fetch_sub(1, Ordering::SeqCst);
                        crew.pass_on();
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 800);
    }

    #[test]
    fn the_turn_is_kept_until_it_is_passed_on() {
        let crew = Crew::default();
        assert!(crew.take_turn() && crew.take_turn());
        assert!(!crew.pass_on(), "nobody is parked");
        assert!(crew.pass_on(), "there is nothing to pass on");
        assert!(crew.take_turn());
        crew.pass_on();
    }
}
