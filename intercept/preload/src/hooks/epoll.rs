//! `epoll_ctl`.

use core::ffi::c_int;

use zt_intercept::kernel::EpollEvent;

use crate::environment::is_active;
use crate::next;
use crate::process::{RawEpollEvent, program};

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut u8,
) -> c_int {
    // SAFETY: the program's arguments.
    let result = unsafe { next::epoll_ctl(epoll, operation, fd, event) };
    if result == 0 && is_active() {
        let event = if event.is_null() {
            // Deleting needs no event.
            EpollEvent { events: 0, data: 0 }
        } else {
            // SAFETY: the kernel has read the same event, which need not be aligned.
            let raw = unsafe { core::ptr::read_unaligned(event.cast::<RawEpollEvent>()) };
            EpollEvent {
                events: raw.events,
                data: raw.data,
            }
        };
        program().after_epoll_control(epoll, operation, fd, event);
    }
    result
}
