//! Sending with a destination on a TCP socket.

use zt_socket_rpc::linux::EISCONN;

use crate::Program;
use crate::kernel::{Errno, Fd, Kernel};

/// `MSG_FASTOPEN`.
pub const MSG_FASTOPEN: i32 = 0x2000_0000;

impl<K: Kernel> Program<'_, K> {
    /// A send with a destination failed: whether it is to be made again without one. TCP ignores the address on
    /// a connected socket, a Unix stream refuses it.
    pub fn ignores_destination(&self, fd: Fd, errno: Errno) -> bool {
        errno == Errno(EISCONN) && self.own_stream(fd).is_some()
    }
}
