//! How long sockets live that the service holds no descriptor of.
//!
//! An epoll set keeps a member as long as anybody has the file open, without being a reason for it to stay open, and the
//! kernel lists the members of a set. So the closed ones are found without a descriptor and without an event: the set is
//! looked through when it may have doubled since the last time, which costs little for each connection.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use zt_socket_rpc::{Entry, Id};

/// So many may be kept before the set is looked through for the first time.
const LEAST: usize = 512;

/// Sockets with the state that their programs may ask for.
pub(super) struct Lifetimes {
    entries: HashMap<Id, Entry>,
    /// Made with the first socket.
    epoll: Option<OwnedFd>,
    sweep_at: usize,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            epoll: None,
            sweep_at: LEAST,
        }
    }
}

impl Lifetimes {
    /// Keeps an entry while `end` is open anywhere.
    pub(super) fn add(&mut self, id: Id, entry: Entry, end: BorrowedFd<'_>) {
        if let Err(error) = self.watch(id, end) {
            // Forgotten at the next sweep: programs then miss their addresses, nothing else.
            tracing::debug!(%error, "the life of a socket is not followed");
        }
        self.entries.insert(id, entry);
    }

    fn watch(&mut self, id: Id, end: BorrowedFd<'_>) -> io::Result<()> {
        let epoll = match &self.epoll {
            Some(epoll) => epoll,
            None => self.epoll.insert(epoll::create(CreateFlags::CLOEXEC)?),
        };
        Ok(epoll::add(
            epoll,
            end,
            EventData::new_u64(id.tag()),
            EventFlags::ET,
        )?)
    }

    pub(super) fn entry(&self, id: Id) -> Option<Entry> {
        self.entries.get(&id).copied()
    }

    /// Changes an entry, if it is there.
    pub(super) fn change(&mut self, id: Id, change: impl FnOnce(&mut Entry)) -> Option<Entry> {
        let entry = self.entries.get_mut(&id)?;
        change(entry);
        Some(*entry)
    }

    /// Whether there may be enough closed ones to look for them.
    pub(super) fn is_due(&self) -> bool {
        self.entries.len() >= self.sweep_at
    }

    /// Forgets the closed ones and says which they were.
    pub(super) fn sweep(&mut self) -> Vec<Id> {
        let open = match self.epoll.as_ref().map(members) {
            Some(Ok(open)) => open,
            Some(Err(error)) => {
                tracing::warn!(%error, "closed sockets are not known; all are forgotten");
                HashSet::new()
            }
            None => HashSet::new(),
        };
        let mut closed = Vec::new();
        self.entries.retain(|id, _| {
            let is_open = open.contains(&id.tag());
            if !is_open {
                closed.push(*id);
            }
            is_open
        });
        self.sweep_at = (2 * self.entries.len()).max(LEAST);
        closed
    }
}

/// What the members of a set were registered with: `tfd: 7 events: 80000000 data: 1122334455667788 …`, a line each
/// (proc_pid_fdinfo(5)).
fn members(epoll: &OwnedFd) -> io::Result<HashSet<u64>> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", epoll.as_raw_fd()))?;
    let data = |line: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "data:");
        u64::from_str_radix(words.nth(1)?, 16).ok()
    };
    Ok(text.lines().filter_map(data).collect())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use zt_socket_rpc::{Kind, Options, State, table::Family};

    use super::*;

    fn entry() -> Entry {
        Entry {
            kind: Kind::Stream,
            state: State::Connected,
            family: Family::V4,
            errno: 0,
            local: None,
            remote: None,
            options: Options::default(),
        }
    }

    #[test]
    fn an_entry_lives_as_long_as_its_socket_is_open_anywhere() {
        let mut lifetimes = Lifetimes::default();
        let ids = [1, 2].map(|byte| Id::from_bytes([byte; Id::LEN]));
        let (one, other) = UnixStream::pair().unwrap();
        lifetimes.add(ids[0], entry(), one.as_fd());
        lifetimes.add(ids[1], entry(), other.as_fd());
        // Only copies are left, under other numbers.
        let copies = (one.try_clone().unwrap(), other.try_clone().unwrap());
        drop((one, other));
        assert_eq!(lifetimes.sweep(), []);
        drop(copies.0);
        assert_eq!(lifetimes.sweep(), [ids[0]]);
        assert!(lifetimes.entry(ids[1]).is_some());
        drop(copies.1);
        assert_eq!(lifetimes.sweep(), [ids[1]]);
    }

    #[test]
    fn sweeps_get_rarer_with_the_number_of_the_living() {
        let mut lifetimes = Lifetimes::default();
        let mut held = Vec::new();
        for number in 0_u16..600 {
            let pair = UnixStream::pair().unwrap();
            let mut id = [7; Id::LEN];
            id[..2].copy_from_slice(&number.to_le_bytes());
            lifetimes.add(Id::from_bytes(id), entry(), pair.0.as_fd());
            held.push(pair);
        }
        assert!(lifetimes.is_due());
        assert_eq!(lifetimes.sweep(), []);
        assert!(!lifetimes.is_due());
    }
}
