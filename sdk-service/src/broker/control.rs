//! The control socket of a network: connections that bring one request each. And its streams socket: connections that
//! begin with one.
//!
//! A connection is read at once when it is accepted. One that has not sent its request by then waits,
//! bounded in number and time, and is looked at again before a later connection of the same user is
//! served: requests of one thread are handled in their order.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use zt_netstack::Instant;
use zt_socket_rpc::{CONNECT_LEN, MAX_MESSAGE};

use super::descriptor::{Message, peer_uid};
use crate::engine::reactor::{Interest, Kind, Poller, Token};
use crate::engine::slots::{Key, Slots};

/// Connections that may wait for their request, of all users and of one.
const MAX_WAITING: usize = 256;
const MAX_WAITING_OF_USER: usize = 32;
/// How long a connection may take to send its one message.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to leave the socket alone when no descriptor is to be had.
const PAUSE: Duration = Duration::from_millis(100);
/// Pending connections of the kernel, beyond which `connect` blocks.
pub(super) const BACKLOG: i32 = 1024;

/// A connection with its message.
pub(super) struct Call {
    pub(super) connection: OwnedFd,
    pub(super) uid: u32,
    pub(super) message: Message,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrying {
    /// One message with descriptors.
    Requests,
    /// One request of a known length, then what is no concern of this module.
    Streams,
}

impl Carrying {
    const fn socket_type(self) -> SocketType {
        match self {
            Self::Requests => SocketType::SEQPACKET,
            Self::Streams => SocketType::STREAM,
        }
    }

    /// How descriptors of the socket, and of connections that wait, are announced.
    const fn kinds(self) -> (Kind, Kind) {
        match self {
            Self::Requests => (Kind::Control, Kind::Request),
            Self::Streams => (Kind::Streams, Kind::StreamRequest),
        }
    }

    /// The most that is read.
    const fn limit(self) -> usize {
        match self {
            Self::Requests => MAX_MESSAGE + 1,
            Self::Streams => CONNECT_LEN,
        }
    }
}

/// A listening socket for programs, and the connections without a request.
pub(super) struct ControlSocket {
    listener: OwnedFd,
    carrying: Carrying,
    token: Token,
    path: PathBuf,
    waiting: Slots<Waiting>,
    /// Oldest first; may name connections that are gone.
    deadlines: VecDeque<(Instant, Key)>,
    paused_until: Option<Instant>,
}

struct Waiting {
    connection: OwnedFd,
    uid: u32,
}

/// What a look at the control socket brought.
pub(super) enum Accepted {
    /// A message.
    Call(Box<Call>),
    /// A connection that brought nothing of use, or has to wait.
    Nothing,
    /// No more connections for now.
    Empty,
}

impl ControlSocket {
    /// Makes the socket, in place of one that an earlier run left behind.
    pub(super) fn open(
        path: PathBuf,
        carrying: Carrying,
        network: u16,
        poller: &Poller,
    ) -> io::Result<Self> {
        let is_socket =
            std::fs::symlink_metadata(&path).is_ok_and(|file| file.file_type().is_socket());
        if is_socket {
            std::fs::remove_file(&path)?;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, carrying.socket_type(), flags, None)?;
        rustix::net::bind(&listener, &SocketAddrUnix::new(&path)?)?;
        // Who may use the service is decided by its directory: programs run as any user.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        rustix::net::listen(&listener, BACKLOG)?;
        let token = Token {
            network,
            ..Token::of(carrying.kinds().0, 0)
        };
        poller.add(&listener, token, Interest::Level)?;
        let waiting = Slots::new();
        Ok(Self {
            listener,
            carrying,
            token,
            path,
            waiting,
            deadlines: VecDeque::new(),
            paused_until: None,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the next connection.
    pub(super) fn accept(&mut self, poller: &Poller, now: Instant) -> Accepted {
        let connection = match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(connection) => connection,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                tracing::warn!(socket = %self.path.display(), "no descriptor left for a program's request");
                poller.change(&self.listener, self.token, Interest::HangUp);
                self.paused_until = Some(now + PAUSE);
                return Accepted::Empty;
            }
            Err(Errno::AGAIN) => return Accepted::Empty,
            Err(_) => return Accepted::Nothing,
        };
        let Ok(uid) = peer_uid(&connection) else {
            return Accepted::Nothing;
        };
        match Message::receive(&connection, self.carrying.limit()) {
            Ok(message) => Accepted::Call(Box::new(Call {
                connection,
                uid,
                message,
            })),
            Err(Errno::AGAIN) => {
                self.wait(poller, now, connection, uid);
                Accepted::Nothing
            }
            Err(_) => Accepted::Nothing,
        }
    }

    fn wait(&mut self, poller: &Poller, now: Instant, connection: OwnedFd, uid: u32) {
        let of_user = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.uid == uid)
            .count();
        if self.waiting.len() >= MAX_WAITING || of_user >= MAX_WAITING_OF_USER {
            // The newest goes: whoever fills the room does not push out those who came in time.
            return;
        }
        let key = self.waiting.next_key();
        let token = Token {
            kind: self.carrying.kinds().1,
            key,
            ..self.token
        };
        if poller.add(&connection, token, Interest::Level).is_ok() {
            self.waiting.insert(Waiting { connection, uid });
            self.deadlines.push_back((now + PATIENCE, key));
        }
    }

    /// The message of a connection that was waiting, if it is there now.
    pub(super) fn receive(&mut self, poller: &Poller, key: Key) -> Option<Call> {
        let limit = self.carrying.limit();
        let result = Message::receive(&self.waiting.get(key)?.connection, limit);
        if matches!(result, Err(Errno::AGAIN)) {
            return None;
        }
        let Waiting { connection, uid } = self.waiting.remove(key)?;
        poller.remove(connection.as_fd());
        Some(Call {
            connection,
            uid,
            message: result.ok()?,
        })
    }

    /// The waiting connections of a user, oldest first.
    pub(super) fn waiting_of(&self, uid: u32) -> Vec<Key> {
        if self.waiting.len() == 0 {
            return Vec::new();
        }
        let is_of_user = |key: &Key| {
            self.waiting
                .get(*key)
                .is_some_and(|waiting| waiting.uid == uid)
        };
        self.deadlines
            .iter()
            .map(|&(_, key)| key)
            .filter(is_of_user)
            .collect()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.deadlines.front().map(|&(deadline, _)| deadline);
        waiting.into_iter().chain(self.paused_until).min()
    }

    /// Drops the connections whose time is over and ends a pause. Returns how many were dropped.
    pub(super) fn handle_timeout(&mut self, poller: &Poller, now: Instant) -> u64 {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            poller.change(&self.listener, self.token, Interest::Level);
        }
        let mut dropped = 0;
        while let Some(&(deadline, key)) = self.deadlines.front() {
            if deadline > now && self.waiting.get(key).is_some() {
                break;
            }
            self.deadlines.pop_front();
            if let Some(waiting) = self.waiting.remove(key) {
                poller.remove(&waiting.connection);
                dropped += 1;
            }
        }
        dropped
    }

    /// Takes the socket away from programs.
    pub(super) fn close(&self, poller: &Poller) {
        for (_, waiting) in self.waiting.iter() {
            poller.remove(&waiting.connection);
        }
        poller.remove(&self.listener);
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(socket = %self.path.display(), %error, "control socket not removed");
        }
    }
}
