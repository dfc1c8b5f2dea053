//! `SO_BINDTODEVICE` with the name of the LAN's interface, before it is decided where a socket belongs.
//!
//! The kernel has no such device. A datagram socket goes to the LAN at once, and to the LAN alone. A TCP socket becomes
//! one of ours only when it is bound, listens or connects; until then the wish is remembered where `fork`, `exec` and
//! `dup` keep it: on the socket, as a limit of its rate that no program asks for.

use zt_socket_rpc::linux::{ENETUNREACH, SOL_SOCKET};

use crate::Program;
use crate::kernel::{Errno, Fd, Kernel};
use crate::outcome::{End, Reason, Step};

const SO_MAX_PACING_RATE: i32 = 47;
/// Bytes a second; four gigabytes and more, so that it limits nothing.
const MARK: u32 = 0xfedc_a987;
/// What the kernel has where nothing was set.
const NO_LIMIT: u32 = u32::MAX;

impl<K: Kernel> Program<'_, K> {
    /// `setsockopt(SO_BINDTODEVICE)` on a socket that is still the kernel's own.
    pub(super) fn set_device(&self, fd: Fd, value: &[u8]) -> Step<i32> {
        let name = value.split(|&byte| byte == 0).next().unwrap_or_default();
        let is_lan = !name.is_empty() && self.interface().is_some_and(|lan| lan.is_named(name));
        if self.tcp_family(fd).is_ok() {
            if is_lan {
                self.limit_rate(fd, MARK)?;
                return Ok(0);
            }
            if self.is_bound_to_lan(fd) {
                self.limit_rate(fd, NO_LIMIT)?;
            }
        } else if is_lan {
            let (family, kind) = self.datagram_socket(fd)?;
            self.move_unbound(fd, family, kind, None)?;
            return Ok(0);
        }
        Err(Reason::NotOnTheLan.into())
    }

    /// Whether an undecided TCP socket is for the LAN alone.
    pub(super) fn is_bound_to_lan(&self, fd: Fd) -> bool {
        self.int_option(fd, SOL_SOCKET, SO_MAX_PACING_RATE) == Ok(MARK as i32)
    }

    /// `end`, but for a socket of the LAN alone that would go elsewhere.
    pub(super) fn unless_bound_to_lan(&self, fd: Fd, end: Step<i32>) -> Step<i32> {
        match end {
            Err(End::PassThrough(Reason::NotOnTheLan | Reason::Loopback))
                if self.is_bound_to_lan(fd) =>
            {
                Err(Errno(ENETUNREACH).into())
            }
            end => end,
        }
    }

    fn limit_rate(&self, fd: Fd, rate: u32) -> Result<(), Errno> {
        self.kernel
            .set_option(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate.to_ne_bytes())
    }
}
