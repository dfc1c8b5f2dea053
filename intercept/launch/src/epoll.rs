//! Epoll registrations of a descriptor that is swapped.
//!
//! The kernel keeps a registration by open file and *number*, and only a process that has the new file at the program's
//! number can make it anew. So a short-lived child of the supervisor, which has a descriptor table of its own, puts the
//! file at that number and registers it in a copy of the program's epoll instance.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use zt_intercept::Fd;
use zt_intercept::kernel::EpollEvent;
use zt_intercept::registrations::parse_registration;

use crate::target;

/// So long after it was trapped, the creation of an instance is certainly over.
const CREATION: Duration = Duration::from_secs(1);
/// Processes whose instances are kept.
const KEPT: usize = 512;

/// The epoll instances of each process.
#[derive(Debug, Default)]
pub(crate) struct Instances(Mutex<HashMap<i32, Known>>);

#[derive(Debug, Default)]
struct Known {
    /// When an instance was last made.
    made: Option<Instant>,
    looked: Option<Instant>,
    instances: Vec<Fd>,
}

impl Instances {
    /// A process is making an instance.
    pub(crate) fn made_by(&self, process: i32) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.clear();
        }
        known.entry(process).or_default().made = Some(Instant::now());
    }

    /// The instances of a process: looked for when it may have new ones.
    fn of(&self, process: i32) -> Vec<Fd> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(process).or_default();
        let is_fresh = match (known.looked, known.made) {
            (Some(looked), Some(made)) => looked > made + CREATION,
            (looked, None) => looked.is_some(),
            (None, Some(_)) => false,
        };
        if !is_fresh {
            known.looked = Some(Instant::now());
            known.instances = target::epoll_instances(process);
        }
        known.instances.clone()
    }

    /// Where `fd` of a process is registered.
    pub(crate) fn registrations(&self, process: i32, fd: Fd) -> Vec<(Fd, EpollEvent)> {
        let find = |instance: Fd| Some((instance, find(process, instance, fd)?));
        self.of(process).into_iter().filter_map(find).collect()
    }
}

fn find(process: i32, instance: Fd, fd: Fd) -> Option<EpollEvent> {
    let mut text = vec![0; 16 << 10];
    let (mut offset, mut kept) = (0, 0);
    loop {
        let read = target::read_fd_info(process, instance, offset, text.get_mut(kept..)?)?;
        let filled = kept + read;
        let whole = text
            .get(..filled)?
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        let found = text
            .get(..whole)?
            .split(|&byte| byte == b'\n')
            .filter_map(parse_registration)
            .find(|(registered, _)| *registered == fd);
        if let Some((_, event)) = found {
            return Some(event);
        }
        if read == 0 || (whole == 0 && filled == text.len()) {
            return None;
        }
        offset += read as u64;
        text.copy_within(whole..filled, 0);
        kept = filled - whole;
    }
}

/// Registers `new` in the place of `old`, both at the number `fd`, in a copy of one of the program's instances.
pub(crate) fn move_registration(old: Fd, new: Fd, fd: Fd, instance: &OwnedFd, event: EpollEvent) {
    let mut event = libc::epoll_event {
        events: event.events,
        u64: event.data,
    };
    // SAFETY: the child makes only system calls, on numbers of its own and on its copy of this frame, then ends. Without
    // a signal at its end nobody waits for it but this function.
    unsafe {
        let child = libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) as i32;
        if child == 0 {
            // Any of the three may be at the number that is needed.
            let above = |taken| libc::fcntl(taken, libc::F_DUPFD, fd + 1);
            let (instance, old, new) = (above(instance.as_raw_fd()), above(old), above(new));
            // The old file may live on in the service, and would still report what happens to it.
            libc::dup2(old, fd);
            libc::epoll_ctl(instance, libc::EPOLL_CTL_DEL, fd, &raw mut event);
            libc::dup2(new, fd);
            libc::epoll_ctl(instance, libc::EPOLL_CTL_ADD, fd, &raw mut event);
            libc::_exit(0);
        }
        if child > 0 {
            libc::waitpid(child, std::ptr::null_mut(), libc::__WALL);
        }
    }
}
