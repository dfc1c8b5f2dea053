//! Options that may be told to the service later: how a connection that is silent for long is probed.
//!
//! Go sets three of them on every connection, and most connections are over before they matter. A request costs as much as
//! all the rest of an `accept`; so these wait a moment, and those of connections that are gone by then are dropped.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zt_intercept::Errno;
use zt_socket_rpc::linux::{
    SO_KEEPALIVE, SOL_SOCKET, SOL_TCP, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL,
};
use zt_socket_rpc::{Id, MAX_MESSAGE, Request, SetOption, State};

use crate::supervisor::Supervisor;
use crate::{caller, sys};

/// No probe is sent within a second of silence.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a full accept queue of the service is tried, a millisecond apart.
const ATTEMPTS: u32 = 200;

/// The options that wait, in the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Later(Mutex<Vec<(Instant, SetOption)>>);

/// Whether an option may wait.
pub(crate) fn may_wait(level: i32, name: i32) -> bool {
    match level {
        SOL_SOCKET => name == SO_KEEPALIVE,
        SOL_TCP => matches!(name, TCP_KEEPIDLE | TCP_KEEPINTVL | TCP_KEEPCNT),
        _ => false,
    }
}

impl Later {
    /// Keeps an option; true if it is the first one.
    pub(crate) fn keep(&self, option: SetOption) -> bool {
        let mut kept = self.lock();
        kept.push((Instant::now() + PATIENCE, option));
        kept.len() == 1
    }

    /// When the next one is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.lock().first().map(|(due, _)| *due)
    }

    /// Tells the service what is due.
    pub(crate) fn tell_due(&self, supervisor: &Supervisor) {
        let now = Instant::now();
        let due: Vec<_> = {
            let mut kept = self.lock();
            let count = kept.partition_point(|(due, _)| *due <= now);
            kept.drain(..count).collect()
        };
        for (_, option) in due {
            tell(supervisor, option);
        }
    }

    /// Tells the service what was set on one connection: somebody asks.
    pub(crate) fn tell_of(&self, supervisor: &Supervisor, id: Id) {
        let its: Vec<_> = self
            .lock()
            .extract_if(.., |(_, option)| option.id == id)
            .collect();
        for (_, option) in its {
            tell(supervisor, option);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, SetOption)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends one request, if its connection is still there.
fn tell(supervisor: &Supervisor, option: SetOption) {
    let entry = supervisor
        .table()
        .and_then(|table| table.entry(option.id.tag()));
    if entry.is_none_or(|entry| entry.state != State::Connected) {
        return;
    }
    let mut message = [0; MAX_MESSAGE];
    let len = Request::SetOption(option).emit(&mut message);
    let message = message.get(..len).unwrap_or_default();
    for _ in 0..ATTEMPTS {
        match caller::connect_to(supervisor.settings.path()) {
            Ok(channel) => {
                // A service that has gone has reset the connection.
                let _ = sys::send_message(channel, message, &[]);
                sys::close(channel);
                return;
            }
            Err(Errno(libc::EAGAIN)) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zt_socket_rpc::OptionValue;

    #[test]
    fn the_oldest_is_due_first() {
        let option = |id| SetOption {
            id: Id::from_bytes([id; Id::LEN]),
            level: SOL_SOCKET,
            name: SO_KEEPALIVE,
            value: OptionValue::new(&1_i32.to_ne_bytes()),
        };
        let later = Later::default();
        assert_eq!(later.due(), None);
        assert!(later.keep(option(1)));
        let first = later.due();
        assert!(!later.keep(option(2)));
        assert_eq!(later.due(), first);
    }

    #[test]
    fn only_probes_may_wait() {
        assert!(may_wait(SOL_SOCKET, SO_KEEPALIVE));
        assert!(may_wait(SOL_TCP, TCP_KEEPIDLE));
        assert!(!may_wait(SOL_TCP, zt_socket_rpc::linux::TCP_NODELAY));
        assert!(!may_wait(SOL_SOCKET, zt_socket_rpc::linux::SO_LINGER));
    }
}
