//! Descriptors that the supervisor was started with, and the program with it.
//!
//! Sockets among them are known from now on: a connection of the LAN that a parent has handed down, a socket of the kernel
//! that is undecided. Then the supervisor gives its own copies up: an end of file, or the end of a connection, must not wait
//! for it. Standard error stays, for messages.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use zt_intercept::Fd;

use crate::sockets::Socket;
use crate::supervisor::Supervisor;
use crate::sys;

/// What is open at the beginning.
pub(crate) struct Inherited(Vec<Fd>);

impl Inherited {
    /// To be called before anything is opened.
    pub(crate) fn look() -> Self {
        let Ok(directory) = fs::read_dir("/proc/self/fd") else {
            return Self(Vec::new());
        };
        let listed: Vec<Fd> = directory
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        // The folder itself was among them.
        let is_open = |fd: &Fd| sys::status_flags(*fd).is_ok();
        Self(listed.into_iter().filter(is_open).collect())
    }

    /// Knows the sockets, and closes the supervisor's copies. The program has its own by now.
    pub(crate) fn hand_over(self, supervisor: &Supervisor, process: i32) {
        let nothing = File::options().read(true).write(true).open("/dev/null");
        for fd in self.0 {
            if let Some((inode, socket)) = socket_at(supervisor, fd) {
                socket.is_at(process, fd);
                supervisor.know(inode, &socket);
            }
            match (fd, &nothing) {
                (libc::STDERR_FILENO, _) => {}
                // Standard input and output stay taken.
                (libc::STDIN_FILENO | libc::STDOUT_FILENO, Ok(nothing)) => {
                    sys::replace(nothing.as_raw_fd(), fd);
                }
                (libc::STDIN_FILENO | libc::STDOUT_FILENO, Err(_)) => {}
                _ => sys::close(fd),
            }
        }
    }
}

fn socket_at(supervisor: &Supervisor, fd: Fd) -> Option<(u64, Arc<Socket>)> {
    if let Ok(own) = supervisor.own_socket(fd) {
        return Some(own);
    }
    let option = |name| {
        let mut value = [0; 4];
        sys::option(fd, libc::SOL_SOCKET, name, &mut value).ok()?;
        Some(i32::from_ne_bytes(value))
    };
    let is_internet = matches!(option(libc::SO_DOMAIN)?, libc::AF_INET | libc::AF_INET6);
    // Connected or listening, it is the kernel's.
    let mut address = [0; 28];
    let is_undecided = option(libc::SO_TYPE)? == libc::SOCK_STREAM
        && option(libc::SO_ACCEPTCONN)? == 0
        && sys::peer_name(fd, &mut address).is_err();
    if !is_internet || !is_undecided {
        return None;
    }
    let copy = sys::duplicate(fd).ok()?;
    Some((sys::inode(fd).ok()?, Arc::new(Socket::native(copy))))
}
