//! What the program knows of its service: settings, the mapped state table, and whether the table is still the one of
//! the running service.
//!
//! A restarted service makes a new control socket: the stamp of the socket's file tells, at the price of one `stat` a
//! decision, that the table must be asked for again. A service that was killed leaves its file behind; then the next
//! request finds nobody listening.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use zt_socket_rpc::table::Table;
use zt_socket_rpc::{Entry, Id, Reply, Request};

use crate::Program;
use crate::kernel::Kernel;

/// The port of name servers.
const DNS: u16 = 53;

/// Longest path of a control socket.
pub const MAX_PATH: usize = 1024;

/// Which connections the LAN takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// LAN destinations; listeners serve both networks.
    Split,
    /// Everything but loopback.
    Isolated,
}

/// The environment of a program: `ZT_NC_NETWORK`, `ZT_NC_MODE`.
pub struct Settings {
    path: [u8; MAX_PATH],
    path_len: usize,
    mode: Mode,
    watches_questions: bool,
}

impl Settings {
    /// Settings for the control socket at `path`. `None` when the path is empty or too long.
    pub fn new(path: &[u8], mode: Mode) -> Option<Self> {
        let mut bytes = [0; MAX_PATH];
        if path.is_empty() || path.len() >= MAX_PATH || path.contains(&0) {
            return None;
        }
        bytes.get_mut(..path.len())?.copy_from_slice(path);
        Some(Self {
            path: bytes,
            path_len: path.len(),
            mode,
            watches_questions: false,
        })
    }

    /// For a program that asks name servers by itself: the service gets to see what it sends them, and answers for the LAN.
    #[must_use]
    pub const fn watching_questions(mut self) -> Self {
        self.watches_questions = true;
        self
    }

    /// Nothing set; for a static before it is known.
    pub const fn empty() -> Self {
        Self {
            path: [0; MAX_PATH],
            path_len: 0,
            mode: Mode::Split,
            watches_questions: false,
        }
    }

    /// The path of the control socket, followed by a zero in memory.
    pub fn path(&self) -> &[u8] {
        self.path.get(..self.path_len).unwrap_or_default()
    }

    /// The mode.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether a datagram to `address` may be a question for a name server that the service has to see.
    pub(crate) const fn watches(&self, address: SocketAddr) -> bool {
        self.watches_questions && address.port() == DNS
    }

    /// The directory of the control socket.
    fn directory(&self) -> &[u8] {
        let path = self.path();
        match path.iter().rposition(|&byte| byte == b'/') {
            Some(0) => b"/",
            Some(slash) => path.get(..slash).unwrap_or_default(),
            None => b".",
        }
    }
}

/// What a process remembers of its service.
pub struct LanState {
    /// Stamp of the control socket whose service gave the mapped table; 0 = none yet.
    stamp: AtomicU64,
    /// The process has waited for a missing service already.
    waited: AtomicBool,
}

impl LanState {
    /// Nothing known yet.
    pub const fn new() -> Self {
        Self {
            stamp: AtomicU64::new(0),
            waited: AtomicBool::new(false),
        }
    }
}

impl Default for LanState {
    fn default() -> Self {
        Self::new()
    }
}

/// A service that starts together with the program may take so long to be there.
const START_WAIT_MS: i32 = 10_000;
const START_POLL_MS: i32 = 50;

/// The service, as far as it can be told without asking it.
pub(crate) enum Lan<'a> {
    /// Its table is mapped and its control socket is there.
    Up(Table<'a>),
    /// It cannot be reached; the table, if there is one, is what it last published.
    Away(Option<Table<'a>>),
}

impl<'a, K: Kernel> Program<'a, K> {
    /// The state table of the running service.
    pub(crate) fn lan(&self) -> Lan<'a> {
        let Some(stamp) = self.kernel.file_stamp(self.settings.path()) else {
            return Lan::Away(self.kernel.table());
        };
        if self.lan.stamp.load(Ordering::Acquire) != stamp {
            if !self.fetch_table() {
                return Lan::Away(self.kernel.table());
            }
            self.lan.stamp.store(stamp, Ordering::Release);
        }
        match self.kernel.table() {
            Some(table) => Lan::Up(table),
            None => Lan::Away(None),
        }
    }

    /// As [`Self::lan`], but a program that has never seen its service waits for it, once and for a bounded time: after
    /// a restart of the container engine both start at the same moment.
    pub(crate) fn lan_at_start(&self) -> Lan<'a> {
        let mut waited = 0;
        loop {
            let lan = self.lan();
            let unseen = matches!(lan, Lan::Away(None));
            // Without the directory there is nothing to come.
            if !unseen
                || waited >= START_WAIT_MS
                || self.lan.waited.load(Ordering::Relaxed)
                || self.kernel.file_stamp(self.settings.directory()).is_none()
            {
                if waited > 0 {
                    self.lan.waited.store(true, Ordering::Relaxed);
                }
                return lan;
            }
            self.kernel.sleep(START_POLL_MS);
            waited += START_POLL_MS;
        }
    }

    /// What is known of a socket of ours: from the table, else from the service itself. `None` when neither knows it.
    pub(crate) fn entry(&self, id: Id) -> Option<Entry> {
        let mapped = self.kernel.table().and_then(|table| table.entry(id.tag()));
        mapped
            .or_else(|| self.lan_entry(id))
            .or_else(|| self.query(id))
    }

    /// What the service itself says: in order with every request sent before, which the table is not.
    pub(crate) fn entry_in_order(&self, id: Id) -> Option<Entry> {
        self.query(id).or_else(|| self.entry(id))
    }

    /// The table of this process may be older than the socket (after `exec`, or a restart of the service).
    fn lan_entry(&self, id: Id) -> Option<Entry> {
        let before = self.lan.stamp.load(Ordering::Relaxed);
        match self.lan() {
            Lan::Up(table) if self.lan.stamp.load(Ordering::Relaxed) != before => {
                table.entry(id.tag())
            }
            _ => None,
        }
    }

    /// What the service says now; `None` when it does not answer, or has never heard of the socket.
    fn query(&self, id: Id) -> Option<Entry> {
        match self.exchange(&Request::Query { id }, &[]) {
            Ok((Reply::State(entry), descriptor)) => {
                self.close_all(&[descriptor]);
                Some(entry)
            }
            Ok((_, descriptor)) => {
                self.close_all(&[descriptor]);
                None
            }
            Err(_) => None,
        }
    }

    /// The start of the service that answers at this moment.
    pub(crate) fn answering_instance(&self) -> Option<u64> {
        let (reply, descriptor) = self.exchange(&Request::Hello, &[]).ok()?;
        self.close_all(&[descriptor]);
        match reply {
            Reply::Hello { instance } => Some(instance),
            _ => None,
        }
    }

    fn fetch_table(&self) -> bool {
        match self.exchange(&Request::Hello, &[]) {
            Ok((Reply::Hello { .. }, Some(file))) => {
                let mapped = self.kernel.map_table(file).is_ok();
                self.kernel.close(file);
                mapped
            }
            Ok((_, descriptor)) => {
                self.close_all(&[descriptor]);
                false
            }
            Err(_) => false,
        }
    }
}

/// The loopback network, and what Linux takes for it: a connection to the wildcard address goes to the host itself.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().is_loopback()
}

/// Addresses for which it pays to wait for a service that is still starting.
pub(crate) fn is_private(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_private() || matches!(ip.octets(), [100, 64..=127, ..]),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}
