//! `connect` to no address (`AF_UNSPEC`): a TCP connection ends by a reset, and its socket is as before.

use zt_socket_rpc::linux::{AF_UNSPEC, ENETUNREACH, SO_LINGER, SOL_SOCKET};
use zt_socket_rpc::{Kind, Name};

use crate::Program;
use crate::kernel::{Errno, Fd, Kernel};
use crate::outcome::{Reason, Step};
use crate::sockaddr::family_of;

/// `struct linger`: a close is a reset.
const AT_ONCE: [u8; 8] = {
    let mut linger = [0; 8];
    linger[0] = 1_i32.to_ne_bytes()[0];
    linger[3] = 1_i32.to_ne_bytes()[3];
    linger
};

impl<K: Kernel> Program<'_, K> {
    /// `connect(fd, address)` to what is no internet address.
    pub(super) fn dissolve(&self, fd: Fd, address: &[u8]) -> Step<i32> {
        if family_of(address) != Some(AF_UNSPEC) {
            return Err(Reason::NotInternet.into());
        }
        let own = match self.own(fd) {
            Some(own) if own.kind == Kind::Stream => own,
            _ => return Err(Reason::NotOurs.into()),
        };
        self.dissolve_own(fd, own)
    }

    fn dissolve_own(&self, fd: Fd, own: Name) -> Step<i32> {
        // In order with the one-way requests that set options.
        let entry = self.entry_in_order(own.id).ok_or(Errno(ENETUNREACH))?;
        let nonblocking = self.kernel.is_nonblocking(fd)?;
        let fresh = self.native_with_options(entry.family, &entry.options, nonblocking)?;
        self.carry_over(fd, fresh);
        self.send_option(own, SOL_SOCKET, SO_LINGER, &AT_ONCE)?;
        let close_on_exec = self.kernel.is_close_on_exec(fd)?;
        self.swap(fresh, fd, close_on_exec)?;
        Ok(0)
    }
}
