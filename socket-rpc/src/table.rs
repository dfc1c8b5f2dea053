//! The state table: what every program may know about its sockets without asking.
//!
//! One memory file per network, written by the service alone and mapped read-only by the programs
//! ([`Request::Hello`](crate::Request::Hello)). It has one size for ever, so a program may map the table of a restarted
//! service over the old one. It begins with a header page (the prefixes for the split decision, and the LAN's
//! interface), then come [`ENTRIES`] entries of 128 bytes in sets of [`WAYS`], indexed by [`Id::tag`](crate::Id::tag).
//!
//! Every part that changes is guarded by a sequence number (odd while it is being written), and all memory is accessed
//! as relaxed atomic words: a reader never blocks the writer, and a torn read is noticed and repeated. A reader that
//! does not find its tag (a full set, or a one-way request that is still on its way) sends a
//! [`Request::Query`](crate::Request::Query).
//!
//! The table carries no secret: a tag gives no power over a socket.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use crate::address::{Prefix, decode_address, encode_address};
use crate::id::Kind;
use crate::options::Options;
use crate::wire::{Malformed, Reader, Writer as WireWriter};

mod lan;
#[cfg(feature = "service")]
mod shared;
pub use lan::Interface;
#[cfg(feature = "service")]
pub use shared::StateTable;

/// How many sockets the table has room for.
pub const ENTRIES: usize = 65_536;
/// Entries per set.
pub const WAYS: usize = 8;
/// Bytes of the whole table.
pub const TABLE_LEN: usize = HEADER_LEN + ENTRIES * ENTRY_LEN;
/// Own addresses that the header has room for.
pub const MAX_ADDRESSES: usize = 32;
/// Prefixes that the header has room for: the routes, and behind them those that are near.
pub const MAX_ROUTES: usize = 128;

const HEADER_LEN: usize = 4096;
const ENTRY_LEN: usize = 128;
const WORD: usize = size_of::<u64>();
/// Words of the whole table.
pub const TABLE_WORDS: usize = TABLE_LEN / WORD;
const ENTRY_WORDS: usize = ENTRY_LEN / WORD;
/// `"ztncsta"` and the version.
const MAGIC: u64 = u64::from_le_bytes([b'z', b't', b'n', b'c', b's', b't', b'a', crate::VERSION]);

// Words of the header.
const H_MAGIC: usize = 0;
const H_INSTANCE: usize = 1;
const H_SEQUENCE: usize = 2;
const H_COUNTS: usize = 3;
const H_NEAR: usize = 4;
const H_PREFIXES: usize = 8;
const PREFIX_WORDS: usize = Prefix::LEN / WORD;
const H_INTERFACE: usize = H_PREFIXES + (MAX_ADDRESSES + MAX_ROUTES) * PREFIX_WORDS;
const _: () = assert!(H_INTERFACE * WORD + Interface::LEN <= HEADER_LEN);

// Words of an entry.
const E_SEQUENCE: usize = 0;
const E_TAG: usize = 1;
const E_RETIRED: usize = 2;
const E_BODY: usize = 3;
const BODY_WORDS: usize = ENTRY_WORDS - E_BODY;
const _: () = assert!(Entry::LEN == BODY_WORDS * WORD);

/// A reader gives up after so many torn reads: the writer died in the middle of one.
const PATIENCE: usize = 4096;

/// Address family of a program's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`.
    V6,
}

impl Family {
    pub(crate) const fn to_wire(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    pub(crate) const fn from_wire(byte: u8) -> Result<Self, Malformed> {
        match byte {
            4 => Ok(Self::V4),
            6 => Ok(Self::V6),
            _ => Err(Malformed::because("unknown address family")),
        }
    }
}

/// Where a socket is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Bound to a LAN address, neither connecting nor listening.
    Bound,
    /// Accepting connections.
    Listening,
    /// SYN sent, no outcome yet.
    Connecting,
    /// Both directions or one of them open.
    Connected,
    /// The attempt to connect failed; `errno` says how.
    Failed,
    /// The peer reset the connection, or the service gave it up; `errno` says which.
    Reset,
}

impl State {
    const fn to_wire(self) -> u8 {
        match self {
            Self::Bound => 1,
            Self::Listening => 2,
            Self::Connecting => 3,
            Self::Connected => 4,
            Self::Failed => 5,
            Self::Reset => 6,
        }
    }

    const fn from_wire(byte: u8) -> Result<Self, Malformed> {
        Ok(match byte {
            1 => Self::Bound,
            2 => Self::Listening,
            3 => Self::Connecting,
            4 => Self::Connected,
            5 => Self::Failed,
            6 => Self::Reset,
            _ => return Err(Malformed::because("unknown socket state")),
        })
    }
}

/// What the table says of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Stream or listener.
    pub kind: Kind,
    /// Where it is in its life.
    pub state: State,
    /// The family of the program's socket: a `V6` socket shows IPv4 addresses v4-mapped.
    pub family: Family,
    /// The pending error of [`State::Failed`] and [`State::Reset`], else 0.
    pub errno: i32,
    /// The local address, once there is one.
    pub local: Option<SocketAddr>,
    /// The peer, for a stream or a connected datagram socket.
    pub remote: Option<SocketAddr>,
    /// Options as set.
    pub options: Options,
}

impl Entry {
    /// Bytes of the encoded form.
    pub(crate) const LEN: usize = 104;

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut out = WireWriter::new(&mut bytes);
        out.u8(self.kind.to_wire());
        out.u8(self.state.to_wire());
        out.u8(self.family.to_wire());
        out.u8(0);
        out.i32(self.errno);
        out.bytes(&encode_address(self.local));
        out.bytes(&encode_address(self.remote));
        out.bytes(&self.options.encode());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        let kind = Kind::from_wire(input.u8()?).ok_or(Malformed::because("unknown socket kind"))?;
        let state = State::from_wire(input.u8()?)?;
        let family = Family::from_wire(input.u8()?)?;
        input.u8()?;
        let errno = input.i32()?;
        let local = decode_address(&input.array()?)?;
        let remote = decode_address(&input.array()?)?;
        Ok(Self {
            kind,
            state,
            family,
            errno,
            local,
            remote,
            options: Options::decode(&input.array()?)?,
        })
    }
}

/// A reader's view of a mapped table.
#[derive(Clone, Copy)]
pub struct Table<'a>(&'a [AtomicU64; TABLE_WORDS]);

impl<'a> Table<'a> {
    /// Checks magic and version.
    ///
    /// # Errors
    /// It is the table of another version, or no table at all.
    pub fn open(words: &'a [AtomicU64; TABLE_WORDS]) -> Result<Self, Malformed> {
        if words[H_MAGIC].load(Ordering::Acquire) == MAGIC {
            Ok(Self(words))
        } else {
            Err(Malformed::because("not a state table of this version"))
        }
    }

    /// The service's start that wrote this table.
    pub fn instance(&self) -> u64 {
        self.0[H_INSTANCE].load(Ordering::Relaxed)
    }

    /// The entry of the socket with this tag.
    pub fn entry(&self, tag: u64) -> Option<Entry> {
        let words = set(self.0, tag)
            .find(|entry| tag != 0 && entry[E_TAG].load(Ordering::Acquire) == tag)?;
        let bytes = consistent(&words[E_SEQUENCE], || {
            let mut bytes = [0; Entry::LEN];
            load(&words[E_BODY..], &mut bytes);
            (words[E_TAG].load(Ordering::Relaxed) == tag).then_some(bytes)
        })??;
        Entry::decode(&bytes).ok()
    }
}

/// The tag of a new entry is zero or in the table already: the request that carried it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagTaken;

/// The writer's view: exactly one exists for a table.
pub struct TableWriter<'a> {
    words: &'a [AtomicU64; TABLE_WORDS],
    retired: u64,
}

impl<'a> TableWriter<'a> {
    /// Starts a table in zeroed memory.
    pub fn new(words: &'a [AtomicU64; TABLE_WORDS], instance: u64) -> Self {
        words[H_INSTANCE].store(instance, Ordering::Relaxed);
        words[H_MAGIC].store(MAGIC, Ordering::Release);
        Self { words, retired: 0 }
    }

    /// Adds the entry of a new socket. When its set is full of living sockets the entry is left out, which is not an
    /// error: readers then ask by [`Request::Query`](crate::Request::Query).
    ///
    /// # Errors
    /// The tag is taken.
    pub fn insert(&mut self, tag: u64, entry: &Entry) -> Result<(), TagTaken> {
        let mut room: Option<&[AtomicU64]> = None;
        for words in set(self.words, tag) {
            let taken = words[E_TAG].load(Ordering::Relaxed);
            if tag == 0 || taken == tag {
                return Err(TagTaken);
            }
            // Free entries first, then the one retired longest ago.
            let age = |words: &[AtomicU64]| {
                let retired = words[E_RETIRED].load(Ordering::Relaxed);
                if words[E_TAG].load(Ordering::Relaxed) == 0 {
                    0
                } else {
                    retired
                }
            };
            if (taken == 0 || age(words) != 0) && room.is_none_or(|best| age(words) < age(best)) {
                room = Some(words);
            }
        }
        if let Some(words) = room {
            change(&words[E_SEQUENCE], || {
                words[E_RETIRED].store(0, Ordering::Relaxed);
                store(&words[E_BODY..], &entry.encode());
                words[E_TAG].store(tag, Ordering::Release);
            });
        }
        Ok(())
    }

    /// Rewrites the entry of a socket; does nothing when it was left out.
    pub fn update(&mut self, tag: u64, entry: &Entry) {
        if let Some(words) = self.find(tag) {
            change(&words[E_SEQUENCE], || {
                store(&words[E_BODY..], &entry.encode())
            });
        }
    }

    /// Keeps the entry for as long as its place is not needed: for a socket whose service half is closed while the
    /// program may still hold its own and ask for errno and addresses.
    pub fn retire(&mut self, tag: u64) {
        if let Some(words) = self.find(tag) {
            self.retired += 1;
            words[E_RETIRED].store(self.retired, Ordering::Relaxed);
        }
    }

    /// Removes the entry of a socket that the program has closed.
    pub fn remove(&mut self, tag: u64) {
        if let Some(words) = self.find(tag) {
            change(&words[E_SEQUENCE], || {
                words[E_TAG].store(0, Ordering::Release)
            });
        }
    }

    /// The readers' view of this table.
    pub const fn reader(&self) -> Table<'a> {
        Table(self.words)
    }

    fn find(&self, tag: u64) -> Option<&'a [AtomicU64]> {
        set(self.words, tag).find(|words| tag != 0 && words[E_TAG].load(Ordering::Relaxed) == tag)
    }
}

/// The set of entries that may hold `tag`.
fn set(table: &[AtomicU64; TABLE_WORDS], tag: u64) -> impl Iterator<Item = &[AtomicU64]> {
    let first = (tag as usize % (ENTRIES / WAYS)) * WAYS * ENTRY_WORDS + HEADER_LEN / WORD;
    table
        .get(first..first + WAYS * ENTRY_WORDS)
        .unwrap_or_default()
        .chunks_exact(ENTRY_WORDS)
}

/// Runs `write` while `sequence` is odd.
fn change(sequence: &AtomicU64, write: impl FnOnce()) {
    let before = sequence.load(Ordering::Relaxed);
    sequence.store(before.wrapping_add(1), Ordering::Relaxed);
    // The odd number is visible before any word of the change, the even one after all of them.
    fence(Ordering::Release);
    write();
    sequence.store(before.wrapping_add(2), Ordering::Release);
}

/// Runs `read` until nothing was written meanwhile. `None` when the writer never finishes.
fn consistent<T>(sequence: &AtomicU64, read: impl Fn() -> T) -> Option<T> {
    for _ in 0..PATIENCE {
        let before = sequence.load(Ordering::Acquire);
        if before & 1 == 0 {
            let value = read();
            fence(Ordering::Acquire);
            if sequence.load(Ordering::Relaxed) == before {
                return Some(value);
            }
        }
        core::hint::spin_loop();
    }
    None
}

fn load(words: &[AtomicU64], bytes: &mut [u8]) {
    for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(WORD)) {
        bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
}

fn store(words: &[AtomicU64], bytes: &[u8]) {
    for (word, bytes) in words.iter().zip(bytes.as_chunks::<WORD>().0) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
