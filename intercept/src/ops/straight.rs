//! A connection attempt as one connection to the service's streams socket.
//!
//! A descriptor that travels costs the kernel two more sockets, a control connection, and a look for cycles at every
//! close meanwhile. An attempt that nobody waits for needs none of them: the program's socket itself connects to the
//! service, and sends the request and the plug. It is known by its own name, for its peer is the service's socket as such
//! ([`crate::own`]).

use zt_socket_rpc::linux::{AF_UNIX, EMSGSIZE, SO_SNDBUF, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET};
use zt_socket_rpc::{CONNECT_LEN, Connect, Kind, MAX_MESSAGE, Request, STREAMS_SUFFIX};

use super::connect::Attempt;
use crate::Program;
use crate::kernel::{Errno, Fd, Kernel};
use crate::lan::MAX_PATH;
use crate::native::SMALLEST_BUFFER;

/// Request and plug, which go out as one piece: the service may have connected before a second one was there. As long as
/// they wait, the smallest send buffer is full.
const PIECE: usize = SMALLEST_BUFFER as usize;
const PLUG: usize = PIECE - CONNECT_LEN;
/// The send buffer that takes them as one piece.
const ENOUGH: i32 = 4 * SMALLEST_BUFFER;

impl<K: Kernel> Program<'_, K> {
    /// Begins an attempt: the program's half, narrow. `None` when this is not the way for it, or not now.
    pub(super) fn begin_straight(&self, fd: Fd, attempt: &Attempt) -> Result<Option<Fd>, Errno> {
        // The two ends of one pair are for programs of one service; that is the other way.
        if !attempt.nonblocking
            || !self.kernel.keeps_descriptors()
            || self.is_own(attempt.remote.ip())
        {
            return Ok(None);
        }
        let kind = SOCK_STREAM | SOCK_NONBLOCK;
        let ours = self.kernel.socket(i32::from(AF_UNIX), kind, 0)?;
        if !self.prepare(ours, fd, attempt) {
            self.kernel.close(ours);
            return Ok(None);
        }
        if self.send_straight(ours, attempt).is_err() {
            // A service that is away, or older, or busy: the other way waits, or has the right errno.
            self.kernel.close(ours);
            return Ok(None);
        }
        Ok(Some(ours))
    }

    fn send_straight(&self, ours: Fd, attempt: &Attempt) -> Result<(), Errno> {
        if self.int_option(ours, SOL_SOCKET, SO_SNDBUF)? < ENOUGH {
            return Err(Errno(EMSGSIZE));
        }
        let id = self.give_name(ours, Kind::Stream)?;
        let mut path = [0; MAX_PATH + STREAMS_SUFFIX.len()];
        let parts = [self.settings.path(), STREAMS_SUFFIX];
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        for (to, from) in path.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        self.kernel
            .connect_to(ours, path.get(..len).unwrap_or_default())?;
        let request = Request::Connect(Connect {
            id,
            remote: attempt.remote,
            local: attempt.local,
            family: attempt.family,
            wait: false,
            plug: PLUG as u32,
            options: attempt.options,
        });
        let mut message = [0; MAX_MESSAGE];
        request.emit(&mut message);
        let mut piece = [0; PIECE];
        for (to, from) in piece.iter_mut().zip(message.iter().take(CONNECT_LEN)) {
            *to = *from;
        }
        self.kernel.send_message(ours, &piece, &[])?;
        self.narrow(ours)
    }
}
