//! Who may hold how many descriptors: the service never runs dry, and no user takes everything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for the service itself: UDP, control API, files, and control connections. Where
/// the system grants few, half of them.
const RESERVE: usize = 256;
/// A share in this many parts stays free for the others, whoever asks.
const SHARE: usize = 8;
/// Users remembered without a descriptor, before they are forgotten.
const IDLE_USERS: usize = 256;

/// Counts the descriptors that are held for programs.
pub(crate) struct Budget {
    limit: usize,
    total: Arc<AtomicUsize>,
    users: HashMap<u32, Arc<AtomicUsize>>,
}

/// Some descriptors of one user, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    count: usize,
    total: Arc<AtomicUsize>,
    user: Arc<AtomicUsize>,
}

/// The budget does not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Budget {
    /// Raises the limit of open descriptors as far as the system allows and plans with it.
    pub(crate) fn of_process() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
        .is_ok();
        let limit = if raised { maximum } else { current };
        // Unlimited still ends at the kernel's table size; a million is beyond any use here.
        let limit = limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(1 << 20);
        let limit = limit.min(1 << 20);
        Self::new(limit - RESERVE.min(limit / 2))
    }

    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            total: Arc::default(),
            users: HashMap::new(),
        }
    }

    /// Takes `count` descriptors on the account of a user.
    pub(crate) fn take(&mut self, uid: u32, count: usize) -> Result<Lease, Exhausted> {
        if self.users.len() > IDLE_USERS {
            self.users
                .retain(|_, held| held.load(Ordering::Relaxed) > 0);
        }
        let user = self.users.entry(uid).or_default();
        let total_after = self.total.load(Ordering::Relaxed) + count;
        let user_after = user.load(Ordering::Relaxed) + count;
        if total_after > self.limit || user_after > self.limit - self.limit / SHARE {
            return Err(Exhausted);
        }
        self.total.store(total_after, Ordering::Relaxed);
        user.store(user_after, Ordering::Relaxed);
        Ok(Lease {
            count,
            total: self.total.clone(),
            user: user.clone(),
        })
    }

    /// Descriptors held now.
    pub(crate) fn held(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.total.fetch_sub(self.count, Ordering::Relaxed);
        self.user.fetch_sub(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let mut budget = Budget::new(8);
        let leases: Vec<Lease> = (0..7).map(|_| budget.take(1, 1).unwrap()).collect();
        assert_eq!(budget.take(1, 1).unwrap_err(), Exhausted);
        drop(leases);
        assert_eq!(budget.held(), 0);
        assert!(budget.take(1, 7).is_ok());
    }

    #[test]
    fn one_user_leaves_something_for_others() {
        let mut budget = Budget::new(800);
        let greedy: Vec<Lease> = std::iter::from_fn(|| budget.take(1, 1).ok()).collect();
        assert_eq!(greedy.len(), 700);
        assert!(budget.take(2, 100).is_ok());
    }
}
