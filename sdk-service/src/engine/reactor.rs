//! Waiting for readiness: one epoll set for everything that the data plane touches.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::slots::Key;

/// What became ready, in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Index of the network in the engine, for the kinds that belong to one.
    pub(crate) network: u16,
    /// Which one of its kind.
    pub(crate) key: Key,
}

/// The kinds of descriptors in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Another thread left a command.
    Wake = 0,
    /// This host's addresses changed.
    Addresses = 1,
    /// A UDP socket.
    Udp = 2,
    /// A network's control socket: somebody connects.
    Control = 3,
    /// A control connection that has not sent its request yet.
    Request = 4,
    /// The service's half of a stream pair.
    Stream = 5,
    /// The service's half of a listener pair.
    Listener = 6,
    /// The service's half of a datagram pair.
    Datagram = 7,
    /// A program's own UDP socket.
    KernelDatagram = 8,
    /// A network's streams socket: somebody connects.
    Streams = 9,
    /// A connection to it that has not sent its request yet.
    StreamRequest = 10,
}

impl Token {
    /// A token of something that exists once or a few times.
    pub(crate) const fn of(kind: Kind, index: u32) -> Self {
        Self {
            kind,
            network: 0,
            key: Key {
                index,
                generation: 0,
            },
        }
    }

    /// Kind in 4 bits, network in 12, generation in 16, index in 32.
    fn pack(self) -> u64 {
        (self.kind as u64) << 60
            | u64::from(self.network & 0xfff) << 48
            | u64::from(self.key.generation) << 32
            | u64::from(self.key.index)
    }

    fn unpack(packed: u64) -> Option<Self> {
        let kind = match packed >> 60 {
            0 => Kind::Wake,
            1 => Kind::Addresses,
            2 => Kind::Udp,
            3 => Kind::Control,
            4 => Kind::Request,
            5 => Kind::Stream,
            6 => Kind::Listener,
            7 => Kind::Datagram,
            8 => Kind::KernelDatagram,
            9 => Kind::Streams,
            10 => Kind::StreamRequest,
            _ => return None,
        };
        let key = Key {
            index: packed as u32,
            generation: (packed >> 32) as u16,
        };
        Some(Self {
            kind,
            network: (packed >> 48) as u16 & 0xfff,
            key,
        })
    }
}

/// What a readiness event said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Bytes, a connection, or an end of file wait.
    pub(crate) readable: bool,
    /// The other end sends no more after what waits.
    pub(crate) ending: bool,
    /// There is room again.
    pub(crate) writable: bool,
    /// Both directions are over: nobody holds the other end.
    pub(crate) hung_up: bool,
}

/// What to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Input, as long as there is any.
    Level,
    /// New input only.
    Edge,
    /// New input, and room that was not there.
    EdgeWithRoom,
    /// Only the other end's going away.
    HangUp,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Level => EventFlags::IN,
            Self::Edge => EventFlags::IN | EventFlags::RDHUP | EventFlags::ET,
            Self::EdgeWithRoom => {
                EventFlags::IN | EventFlags::RDHUP | EventFlags::OUT | EventFlags::ET
            }
            Self::HangUp => EventFlags::ET,
        }
    }
}

/// The epoll set.
pub(crate) struct Poller {
    epoll: OwnedFd,
}

/// Where [`Poller::wait`] puts what it found.
pub(crate) struct Events {
    list: Vec<Event>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
        })
    }

    /// Adds a descriptor. It leaves the set by itself when its last copy is closed.
    pub(crate) fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            EventData::new_u64(token.pack()),
            interest.flags(),
        )?)
    }

    /// Changes what a descriptor is watched for, and looks at it anew.
    pub(crate) fn change(&self, fd: impl AsFd, token: Token, interest: Interest) {
        if let Err(error) = epoll::modify(
            &self.epoll,
            fd,
            EventData::new_u64(token.pack()),
            interest.flags(),
        ) {
            tracing::debug!(?token, %error, "readiness not changed");
        }
    }

    /// Takes a descriptor out while a copy of it may live on elsewhere.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        // Not there is what was wanted.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Sleeps until something is ready or `timeout` is over; `None` = for ever.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.list.clear();
        let timeout = timeout.map(to_timespec);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events.list),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Events {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            list: Vec::with_capacity(capacity),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, Ready)> + '_ {
        self.list.iter().filter_map(|event| {
            let (data, flags) = (event.data, event.flags);
            let error = flags.contains(EventFlags::ERR);
            let hung_up = flags.contains(EventFlags::HUP);
            let ending = error || hung_up || flags.contains(EventFlags::RDHUP);
            let ready = Ready {
                readable: ending || flags.contains(EventFlags::IN),
                ending,
                writable: error || hung_up || flags.contains(EventFlags::OUT),
                hung_up,
            };
            Some((Token::unpack(data.u64())?, ready))
        })
    }
}

/// Rounded up to a millisecond, the unit of the call that every sandbox allows: waking early would
/// only spin until the deadline.
fn to_timespec(timeout: Duration) -> Timespec {
    let millis = timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i64;
    Timespec {
        tv_sec: millis / 1000,
        tv_nsec: (millis % 1000) * 1_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_round_trip() {
        for kind in [Kind::Wake, Kind::Udp, Kind::Stream, Kind::KernelDatagram] {
            let key = Key {
                index: u32::MAX - 1,
                generation: 0xabcd,
            };
            let token = Token {
                kind,
                network: 0xfff,
                key,
            };
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
    }

    #[test]
    fn a_deadline_is_never_undershot() {
        assert_eq!(to_timespec(Duration::from_micros(1)).tv_nsec, 1_000_000);
        assert_eq!(to_timespec(Duration::ZERO).tv_nsec, 0);
        assert_eq!(to_timespec(Duration::from_millis(2500)).tv_sec, 2);
    }

    #[test]
    fn an_edge_is_reported_once_and_again_for_new_input() {
        let poller = Poller::new().unwrap();
        let mut events = Events::with_capacity(8);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let token = Token::of(Kind::Stream, 5);
        poller.add(&ours, token, Interest::Edge).unwrap();
        for _ in 0..2 {
            std::io::Write::write_all(&mut &theirs, b"x").unwrap();
            poller
                .wait(&mut events, Some(Duration::from_secs(5)))
                .unwrap();
            let ready = Ready {
                readable: true,
                ..Ready::default()
            };
            assert_eq!(events.iter().collect::<Vec<_>>(), [(token, ready)]);
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert_eq!(events.iter().count(), 0);
        }
        drop(theirs);
        poller
            .wait(&mut events, Some(Duration::from_secs(5)))
            .unwrap();
        assert!(
            events
                .iter()
                .all(|(_, ready)| ready.hung_up && ready.readable)
        );
    }
}
