//! Epoll registrations of a descriptor that is swapped.
//!
//! The kernel keeps a registration by open file and *number*, and only a process that has the new file at the program's
//! number can make it anew. So a short-lived child of the supervisor, which has a descriptor table of its own, puts the
//! file at that number and registers it in the supervisor's copy of the program's epoll instance. There is one of each, for
//! the supervisor makes them.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zt_intercept::Fd;
use zt_intercept::kernel::EpollEvent;
use zt_intercept::registrations::parse_registration;

use crate::target;

/// Instances of one process that are kept: of a program that makes one after the other, the latest.
const KEPT: usize = 64;
/// Ancestors that a process may have instances from.
const GENERATIONS: usize = 3;

/// Stack of a child that makes a few system calls.
const STACK: usize = 32 << 10;

/// The epoll instances of the program, each with the process that asked for it.
#[derive(Debug, Default)]
pub(crate) struct Instances(Mutex<Vec<(i32, Arc<Instance>)>>);

/// One instance.
#[derive(Debug)]
pub(crate) struct Instance(OwnedFd);

impl Instances {
    /// A process gets an instance.
    pub(crate) fn add(&self, process: i32, instance: OwnedFd) -> Arc<Instance> {
        let mut kept = self.lock();
        if kept.iter().filter(|(owner, _)| *owner == process).count() >= KEPT
            && let Some(oldest) = kept.iter().position(|(owner, _)| *owner == process)
        {
            kept.remove(oldest);
        }
        let instance = Arc::new(Instance(instance));
        kept.push((process, Arc::clone(&instance)));
        instance
    }

    /// The process did not get it.
    pub(crate) fn forget(&self, instance: &Arc<Instance>) {
        self.lock().retain(|(_, kept)| !Arc::ptr_eq(kept, instance));
    }

    /// Drops the instances of processes that have ended.
    pub(crate) fn forget_ended(&self) {
        self.lock().retain(|(owner, _)| target::is_there(*owner));
    }

    /// Where a socket is registered, and at which number: in instances that the process has made or inherited.
    pub(crate) fn registrations(
        &self,
        process: i32,
        inode: u64,
    ) -> Vec<(Arc<Instance>, Fd, EpollEvent)> {
        let kept: Vec<(i32, Arc<Instance>)> = self.lock().clone();
        let mut found = Vec::new();
        if kept.is_empty() {
            return found;
        }
        let find = |process: i32| {
            let instances = kept.iter().filter(move |(owner, _)| *owner == process);
            instances.filter_map(|(_, instance)| {
                let (number, event) = instance.find(inode)?;
                Some((Arc::clone(instance), number, event))
            })
        };
        found.extend(find(process));
        if kept.iter().all(|(owner, _)| *owner == process) {
            return found;
        }
        let own = std::process::id().cast_signed();
        let ancestors = std::iter::successors(Some(process), |&child| {
            target::parent_of(child).filter(|&parent| parent != own)
        });
        for ancestor in ancestors.skip(1).take(GENERATIONS) {
            found.extend(find(ancestor));
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(i32, Arc<Instance>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instance {
    /// The registration of the socket with this inode.
    fn find(&self, inode: u64) -> Option<(Fd, EpollEvent)> {
        let path = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        let mut file = File::open(path).ok()?;
        let mut text = vec![0; 16 << 10];
        let mut kept = 0;
        loop {
            let read = file.read(text.get_mut(kept..)?).ok()?;
            let filled = kept + read;
            let whole = text
                .get(..filled)?
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |end| end + 1);
            let found = text
                .get(..whole)?
                .split(|&byte| byte == b'\n')
                .filter(|line| inode_of(line) == Some(inode))
                .find_map(parse_registration);
            if found.is_some() {
                return found;
            }
            if read == 0 || (whole == 0 && filled == text.len()) {
                return None;
            }
            text.copy_within(whole..filled, 0);
            kept = filled - whole;
        }
    }

    /// Registers `new` in the place of `old`, both at the number `fd`.
    pub(crate) fn move_registration(&self, old: Option<Fd>, new: Fd, fd: Fd, event: EpollEvent) {
        let mut event = libc::epoll_event {
            events: event.events,
            u64: event.data,
        };
        in_child(&mut || {
            // Any of the three may be at the number that is needed.
            let instance = above(self.0.as_raw_fd(), fd);
            let (old, new) = (old.map(|old| above(old, fd)), above(new, fd));
            // SAFETY: numbers of the child's own, and an event that outlives the calls.
            unsafe {
                // The old file may live on in the service, and would still report what happens to it.
                if let Some(old) = old {
                    libc::dup2(old, fd);
                    libc::epoll_ctl(instance, libc::EPOLL_CTL_DEL, fd, &raw mut event);
                }
                libc::dup2(new, fd);
                libc::epoll_ctl(instance, libc::EPOLL_CTL_ADD, fd, &raw mut event);
            }
        });
    }
}

/// A copy of a descriptor above a number.
fn above(taken: Fd, number: Fd) -> Fd {
    // SAFETY: numbers only.
    unsafe { libc::fcntl(taken, libc::F_DUPFD, number + 1) }
}

/// Has a child do some system calls on descriptors of its own.
fn in_child(mut work: &mut dyn FnMut()) {
    extern "C" fn enter(work: *mut c_void) -> c_int {
        // SAFETY: the caller's, which sleeps.
        let work = unsafe { &mut *work.cast::<&mut dyn FnMut()>() };
        work();
        0
    }
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    // SAFETY: this thread sleeps until the child has ended, which has this memory, a stack of its own and a copy of the
    // descriptors, and makes system calls only. Without a signal at its end nobody waits for it but this function.
    unsafe {
        let child = libc::clone(
            enter,
            stack.as_mut_ptr_range().end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK,
            (&raw mut work).cast(),
        );
        if child > 0 {
            libc::waitpid(child, std::ptr::null_mut(), libc::__WALL);
        }
    }
}

/// The inode in a line of an instance's `fdinfo`.
fn inode_of(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    let (_, rest) = line.split_once("ino:")?;
    u64::from_str_radix(rest.split_ascii_whitespace().next()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    #[test]
    fn a_registration_is_found_by_its_inode() {
        let line = b"tfd:        5 events:       19 data: ffff000012345678  pos:0 ino:1f4e sdev:a";
        assert_eq!(inode_of(line), Some(0x1f4e));
        assert_eq!(inode_of(b"pos:\t0"), None);
    }

    #[test]
    fn a_registration_moves_to_the_new_file() {
        let instance = Instance(sys::epoll_instance().expect("epoll"));
        let (old, other) = sys::socket_pair(libc::SOCK_STREAM).expect("pair");
        let (new, peer) = sys::socket_pair(libc::SOCK_STREAM).expect("pair");
        let event = EpollEvent {
            events: libc::EPOLLIN.cast_unsigned(),
            data: 77,
        };
        let inode = |fd| sys::inode(fd).expect("inode");
        assert_eq!(instance.find(inode(old)), None);
        instance.move_registration(None, old, old, event);
        let (number, found) = instance.find(inode(old)).expect("registered");
        assert_eq!((number, found.data), (old, 77));
        instance.move_registration(Some(old), new, number, found);
        assert_eq!(instance.find(inode(old)), None);
        assert_eq!(
            instance.find(inode(new)).map(|(number, _)| number),
            Some(old)
        );
        for fd in [old, other, new, peer] {
            sys::close(fd);
        }
    }
}
