//! `ioctl`: bytes that wait.
//!
//! What a pair says of its unread and unsent bytes is true of a connection. Listeners, and what only TCP knows, are
//! answered here.

use zt_socket_rpc::Kind;
use zt_socket_rpc::linux::EINVAL;

use crate::Program;
use crate::kernel::{Errno, Fd, Kernel};
use crate::outcome::{Outcome, Reason};

const FIONREAD: u32 = 0x541b;
const SIOCOUTQ: u32 = 0x5411;
const SIOCOUTQNSD: u32 = 0x894b;
const SIOCATMARK: u32 = 0x8905;

impl<K: Kernel> Program<'_, K> {
    /// `ioctl(fd, request, &number)` for requests about queues: the number.
    #[inline]
    pub fn queue(&self, fd: Fd, request: u32) -> Outcome {
        match request {
            FIONREAD if !self.listeners.may_have(fd) => Outcome::PassThrough(Reason::Native),
            FIONREAD | SIOCOUTQ | SIOCOUTQNSD | SIOCATMARK => self.own_queue(fd, request),
            _ => Outcome::PassThrough(Reason::Native),
        }
    }

    #[cold]
    fn own_queue(&self, fd: Fd, request: u32) -> Outcome {
        match (self.own(fd).map(|name| name.kind), request) {
            (Some(Kind::Listener), FIONREAD | SIOCOUTQ | SIOCOUTQNSD) => {
                Outcome::Fail(Errno(EINVAL))
            }
            (Some(Kind::Listener), _) => Outcome::Done(0),
            // The service takes what is sent at once, or cannot; and nothing is urgent.
            (Some(Kind::Stream), SIOCOUTQNSD | SIOCATMARK) => Outcome::Done(0),
            _ => Outcome::PassThrough(Reason::NotOurs),
        }
    }
}
