//! `epoll_ctl`: the kernel's own call; what it did is remembered for a later swap.

use crate::Program;
use crate::kernel::{EpollEvent, Fd, Kernel};

impl<K: Kernel> Program<'_, K> {
    /// `epoll_ctl` succeeded.
    pub fn after_epoll_control(&self, epoll: Fd, operation: i32, fd: Fd, event: EpollEvent) {
        self.registrations.remember(epoll, operation, fd, event);
    }
}
