//! How an operation ends.

use crate::kernel::Errno;

/// The end of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T = i32> {
    /// Done here; the value is what the call returns.
    Done(T),
    /// The kernel's own call is to be made with the program's own arguments.
    PassThrough(Reason),
    /// Done here, with this errno.
    Fail(Errno),
}

/// Why the kernel's own call was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The descriptor is not one of ours.
    NotOurs,
    /// The address is not a complete IPv4 or IPv6 address, or does not fit the socket.
    NotInternet,
    /// The descriptor is not an undecided TCP socket.
    NotTcp,
    /// The descriptor is not an undecided UDP socket.
    NotUdp,
    /// The address is on the loopback network, or the socket is bound there.
    Loopback,
    /// No route of the LAN leads there.
    NotOnTheLan,
    /// The socket is bound to an address of the container's own network.
    BoundElsewhere,
    /// The name is none that the service knows.
    NotAName,
    /// The service does not answer.
    ServiceAway,
    /// A Unix socket does this as TCP does.
    Native,
}

impl Reason {
    /// For the log.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotOurs => "not one of ours",
            Self::NotInternet => "not an internet address of this socket",
            Self::NotTcp => "not an undecided TCP socket",
            Self::NotUdp => "not an undecided UDP socket",
            Self::Loopback => "loopback",
            Self::NotOnTheLan => "not on the LAN",
            Self::BoundElsewhere => "bound to another network",
            Self::NotAName => "not a name on the LAN",
            Self::ServiceAway => "the service is away",
            Self::Native => "native on the pair",
        }
    }
}

impl<T> From<Result<T, Errno>> for Outcome<T> {
    fn from(result: Result<T, Errno>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(errno) => Self::Fail(errno),
        }
    }
}

/// Lets `?` end an operation early: `let x = first_step()?` inside a function that returns [`Step`].
pub(crate) type Step<T> = Result<T, End>;

/// An operation's early end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    PassThrough(Reason),
    Fail(Errno),
}

impl From<Errno> for End {
    fn from(errno: Errno) -> Self {
        Self::Fail(errno)
    }
}

impl From<Reason> for End {
    fn from(reason: Reason) -> Self {
        Self::PassThrough(reason)
    }
}

impl<T> From<Step<T>> for Outcome<T> {
    fn from(step: Step<T>) -> Self {
        match step {
            Ok(value) => Self::Done(value),
            Err(End::PassThrough(reason)) => Self::PassThrough(reason),
            Err(End::Fail(errno)) => Self::Fail(errno),
        }
    }
}
