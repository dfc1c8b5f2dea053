//! System calls on the supervisor's own descriptors: numbers and slices in, errno out.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, socklen_t};
use zt_intercept::{Errno, Fd};

/// The errno of the call that has just failed.
pub(crate) fn errno() -> Errno {
    Errno(
        io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO),
    )
}

fn checked(result: c_int) -> Result<c_int, Errno> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

fn counted(result: isize) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| errno())
}

/// Takes a descriptor that the kernel has just made.
pub(crate) fn owned(fd: c_int) -> Result<OwnedFd, Errno> {
    let fd = checked(fd)?;
    // SAFETY: a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn close(fd: Fd) {
    // SAFETY: no pointers; callers close only what they have opened.
    unsafe { libc::close(fd) };
}

pub(crate) fn duplicate(fd: Fd) -> Result<OwnedFd, Errno> {
    // SAFETY: no pointers.
    owned(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })
}

/// Puts a copy of `fd` in the place of `onto`, which is not close-on-exec.
pub(crate) fn replace(fd: Fd, onto: Fd) {
    // SAFETY: no pointers.
    unsafe { libc::dup2(fd, onto) };
}

pub(crate) fn socket(domain: i32, kind: i32, protocol: i32) -> Result<Fd, Errno> {
    // SAFETY: no pointers.
    checked(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })
}

pub(crate) fn socket_pair(kind: i32) -> Result<(Fd, Fd), Errno> {
    let mut pair = [-1; 2];
    // SAFETY: room for two descriptors.
    checked(unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            kind | libc::SOCK_CLOEXEC,
            0,
            pair.as_mut_ptr(),
        )
    })?;
    Ok((pair[0], pair[1]))
}

pub(crate) fn bind(fd: Fd, address: &[u8]) -> Result<(), Errno> {
    // SAFETY: a readable address of the length given.
    checked(unsafe { libc::bind(fd, address.as_ptr().cast(), address.len() as socklen_t) })
        .map(drop)
}

pub(crate) fn connect(fd: Fd, address: &[u8]) -> Result<(), Errno> {
    // SAFETY: a readable address of the length given.
    checked(unsafe { libc::connect(fd, address.as_ptr().cast(), address.len() as socklen_t) })
        .map(drop)
}

pub(crate) fn listen(fd: Fd, backlog: i32) -> Result<(), Errno> {
    // SAFETY: no pointers.
    checked(unsafe { libc::listen(fd, backlog) }).map(drop)
}

pub(crate) fn local_name(fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut len = buffer.len() as socklen_t;
    // SAFETY: a writable buffer of the length given.
    checked(unsafe { libc::getsockname(fd, buffer.as_mut_ptr().cast(), &raw mut len) })?;
    Ok(len as usize)
}

pub(crate) fn peer_name(fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut len = buffer.len() as socklen_t;
    // SAFETY: a writable buffer of the length given.
    checked(unsafe { libc::getpeername(fd, buffer.as_mut_ptr().cast(), &raw mut len) })?;
    Ok(len as usize)
}

pub(crate) fn option(fd: Fd, level: i32, name: i32, value: &mut [u8]) -> Result<usize, Errno> {
    let mut len = value.len() as socklen_t;
    // SAFETY: a writable buffer of the length given.
    checked(unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut len) })?;
    Ok(len as usize)
}

pub(crate) fn set_option(fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
    let (bytes, len) = (value.as_ptr().cast(), value.len() as socklen_t);
    // SAFETY: a readable buffer of the length given.
    checked(unsafe { libc::setsockopt(fd, level, name, bytes, len) }).map(drop)
}

pub(crate) fn shut_sending(fd: Fd) -> Result<(), Errno> {
    // SAFETY: no pointers.
    checked(unsafe { libc::shutdown(fd, libc::SHUT_WR) }).map(drop)
}

/// Ends both directions.
pub(crate) fn shut(fd: Fd) {
    // SAFETY: no pointers.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Takes the error that waits on a socket.
pub(crate) fn take_error(fd: Fd) {
    let _ = option(fd, libc::SOL_SOCKET, libc::SO_ERROR, &mut [0; 4]);
}

/// Receives what is there.
pub(crate) fn receive(fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: a writable buffer of the length given.
    counted(unsafe {
        libc::recv(
            fd,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
        )
    })
}

/// Receives what is there, and its sender's address.
pub(crate) fn receive_from(
    fd: Fd,
    buffer: &mut [u8],
    flags: c_int,
    address: &mut Vec<u8>,
) -> Result<usize, Errno> {
    address.resize(110, 0);
    let mut len = address.len() as socklen_t;
    // SAFETY: writable buffers of the lengths given.
    let received = counted(unsafe {
        libc::recvfrom(
            fd,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags | libc::MSG_DONTWAIT,
            address.as_mut_ptr().cast(),
            &raw mut len,
        )
    })?;
    address.truncate(len as usize);
    Ok(received)
}

/// Whether nothing is left to be received.
pub(crate) fn is_drained(fd: Fd) -> bool {
    !matches!(peek(fd, &mut [0]), Ok(1..) | Err(Errno(libc::EAGAIN)))
}

pub(crate) fn send(fd: Fd, bytes: &[u8]) -> Result<usize, Errno> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: a readable buffer of the length given.
    counted(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// The beginning of the next message, which stays; the message's full length.
pub(crate) fn peek(fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_PEEK | libc::MSG_TRUNC;
    // SAFETY: a writable buffer of the length given.
    counted(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags) })
}

/// `O_…` flags of the open file.
pub(crate) fn status_flags(fd: Fd) -> Result<c_int, Errno> {
    // SAFETY: no pointers.
    checked(unsafe { libc::fcntl(fd, libc::F_GETFL) })
}

pub(crate) fn set_status_flags(fd: Fd, flags: c_int) -> Result<(), Errno> {
    // SAFETY: no pointers.
    checked(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) }).map(drop)
}

/// `poll` of one descriptor.
pub(crate) fn poll(fd: Fd, events: i16, timeout_ms: i32) -> Result<i16, Errno> {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one descriptor.
    checked(unsafe { libc::poll(&raw mut poll, 1, timeout_ms) })?;
    Ok(poll.revents)
}

/// One entry for [`poll_all`]; none for a negative number.
pub(crate) fn entry(fd: Fd, events: i16) -> libc::pollfd {
    libc::pollfd {
        fd,
        events,
        revents: 0,
    }
}

/// `poll` of several descriptors.
pub(crate) fn poll_all(entries: &mut [libc::pollfd], timeout_ms: i32) -> Result<(), Errno> {
    let count = entries.len() as libc::nfds_t;
    // SAFETY: as many entries as are said.
    checked(unsafe { libc::poll(entries.as_mut_ptr(), count, timeout_ms) }).map(drop)
}

/// `struct cmsghdr` with `SCM_RIGHTS` and room for the descriptors of one message.
#[repr(C, align(8))]
struct Rights {
    header: libc::cmsghdr,
    descriptors: [Fd; ROOM],
}

const ROOM: usize = zt_socket_rpc::MAX_DESCRIPTORS;

impl Rights {
    fn new(descriptors: &[Fd]) -> Option<Self> {
        // SAFETY: plain numbers, for which zero is a value.
        let mut rights: Self = unsafe { std::mem::zeroed() };
        rights.header.cmsg_len = size_of::<libc::cmsghdr>() + size_of_val(descriptors);
        rights.header.cmsg_level = libc::SOL_SOCKET;
        rights.header.cmsg_type = libc::SCM_RIGHTS;
        rights
            .descriptors
            .get_mut(..descriptors.len())?
            .copy_from_slice(descriptors);
        Some(rights)
    }
}

/// Sends one message with descriptors attached; neither waits nor raises a signal.
pub(crate) fn send_message(fd: Fd, message: &[u8], descriptors: &[Fd]) -> Result<(), Errno> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    send_message_with(fd, message, descriptors, flags)
}

/// The same, with flags.
pub(crate) fn send_message_with(
    fd: Fd,
    message: &[u8],
    descriptors: &[Fd],
    flags: c_int,
) -> Result<(), Errno> {
    let mut rights = Rights::new(descriptors).ok_or(Errno(libc::EINVAL))?;
    let mut part = libc::iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    // SAFETY: plain numbers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if !descriptors.is_empty() {
        header.msg_control = (&raw mut rights).cast();
        header.msg_controllen = rights.header.cmsg_len as _;
    }
    // SAFETY: message and control data live through the call and are only read.
    counted(unsafe { libc::sendmsg(fd, &raw const header, flags) }).map(drop)
}

/// Receives one message and its descriptors, close-on-exec.
pub(crate) fn receive_message(
    fd: Fd,
    buffer: &mut [u8],
    descriptors: &mut [Option<Fd>; ROOM],
    flags: c_int,
) -> Result<usize, Errno> {
    let mut rights = Rights::new(&[]).ok_or(Errno(libc::EINVAL))?;
    rights.header.cmsg_type = 0;
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: plain numbers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut rights).cast();
    header.msg_controllen = size_of::<Rights>() as _;
    // SAFETY: writable buffers of the lengths given.
    let len =
        counted(unsafe { libc::recvmsg(fd, &raw mut header, flags | libc::MSG_CMSG_CLOEXEC) })?;
    if rights.header.cmsg_type == libc::SCM_RIGHTS {
        let count = rights
            .header
            .cmsg_len
            .saturating_sub(size_of::<libc::cmsghdr>())
            / size_of::<Fd>();
        for (to, from) in descriptors.iter_mut().zip(&rights.descriptors).take(count) {
            *to = Some(*from);
        }
    }
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        for fd in descriptors.iter_mut().filter_map(Option::take) {
            close(fd);
        }
        return Err(Errno(libc::EMFILE));
    }
    Ok(len)
}

pub(crate) fn random(buffer: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: a writable buffer of the length given.
    counted(unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), buffer.len(), 0) }).map(drop)
}

/// Maps the beginning of a file for reading, at `at` if it is not null.
///
/// # Safety
/// `at` is null, or an earlier mapping of the same length that may be replaced.
pub(crate) unsafe fn map(fd: Fd, len: usize, at: *mut c_void) -> Result<*mut c_void, Errno> {
    let flags = if at.is_null() {
        libc::MAP_SHARED
    } else {
        libc::MAP_SHARED | libc::MAP_FIXED
    };
    // SAFETY: the caller's promise.
    let memory = unsafe { libc::mmap(at, len, libc::PROT_READ, flags, fd, 0) };
    if memory == libc::MAP_FAILED {
        Err(errno())
    } else {
        Ok(memory)
    }
}

/// Whether a file can never shrink under a mapping of this length.
pub(crate) fn is_sealed(fd: Fd, len: usize) -> bool {
    // SAFETY: no pointers.
    let (size, seals) = unsafe {
        (
            libc::lseek(fd, 0, libc::SEEK_END),
            libc::fcntl(fd, libc::F_GET_SEALS),
        )
    };
    usize::try_from(size).is_ok_and(|size| size >= len)
        && seals >= 0
        && seals & libc::F_SEAL_SHRINK != 0
}

/// A folder, to look into again and again.
pub(crate) fn open_directory(path: &str) -> Result<OwnedFd, Errno> {
    let path = CString::new(path).map_err(|_| Errno(libc::EINVAL))?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a string that ends.
    owned(unsafe { libc::open(path.as_ptr(), flags) })
}

/// What the kernel gives as the size of a folder.
pub(crate) fn size_of_directory(directory: &OwnedFd) -> Option<u64> {
    u64::try_from(status(directory.as_raw_fd()).ok()?.st_size).ok()
}

/// The name of a descriptor in a folder of `/proc`: a string that ends, for a number has at most eleven characters.
fn name_in_directory(fd: Fd) -> [u8; 12] {
    use std::io::Write as _;
    let mut name = [0; 12];
    let _ = write!(&mut name[..], "{fd}");
    name
}

/// The inode of a descriptor that is listed in a folder of `/proc`, if it is a socket.
pub(crate) fn socket_inode(directory: &OwnedFd, fd: Fd) -> Result<Option<u64>, Errno> {
    let name = name_in_directory(fd);
    // SAFETY: plain numbers, for which zero is a value.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a string that ends; room for a status.
    checked(unsafe {
        libc::fstatat(
            directory.as_raw_fd(),
            name.as_ptr().cast(),
            &raw mut status,
            0,
        )
    })?;
    Ok((status.st_mode & libc::S_IFMT == libc::S_IFSOCK).then_some(status.st_ino))
}

/// Reads the beginning of what a folder of `/proc` says of a descriptor.
pub(crate) fn read_in_directory(
    directory: &OwnedFd,
    fd: Fd,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    let name = name_in_directory(fd);
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a string that ends.
    let file = owned(unsafe { libc::openat(directory.as_raw_fd(), name.as_ptr().cast(), flags) })?;
    // SAFETY: a writable buffer of the length given.
    counted(unsafe { libc::read(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// The inode of a descriptor of the supervisor's own.
pub(crate) fn inode(fd: Fd) -> Result<u64, Errno> {
    status(fd).map(|status| status.st_ino)
}

fn status(fd: Fd) -> Result<libc::stat, Errno> {
    // SAFETY: plain numbers, for which zero is a value.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: room for a status.
    checked(unsafe { libc::fstat(fd, &raw mut status) })?;
    Ok(status)
}

/// An event that one thread waits for and others signal.
pub(crate) fn event() -> Result<OwnedFd, Errno> {
    // SAFETY: numbers only.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

pub(crate) fn signal_event(fd: Fd) {
    let one = 1_u64;
    // SAFETY: a readable number. It fails only when it is signalled already.
    unsafe { libc::write(fd, (&raw const one).cast(), size_of::<u64>()) };
}

pub(crate) fn clear_event(fd: Fd) {
    let mut count = 0_u64;
    // SAFETY: room for a number. It fails only when there is nothing to clear.
    unsafe { libc::read(fd, (&raw mut count).cast(), size_of::<u64>()) };
}

/// An epoll instance, close-on-exec.
pub(crate) fn epoll_instance() -> Result<OwnedFd, Errno> {
    // SAFETY: numbers only.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

/// Reads memory of another process; how much could be read.
pub(crate) fn read_memory(pid: i32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut c_void,
        iov_len: buffer.len(),
    };
    // SAFETY: a writable buffer of the length given; the address is the other process's.
    counted(unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) })
}

/// Writes pieces of memory of another process; how much could be written.
pub(crate) fn write_memory(pid: i32, pieces: [(u64, &[u8]); 2]) -> Result<usize, Errno> {
    let local = pieces.map(|(_, bytes)| libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    });
    let remote = pieces.map(|(address, bytes)| libc::iovec {
        iov_base: address as *mut c_void,
        iov_len: bytes.len(),
    });
    // SAFETY: readable buffers of the lengths given; the addresses are the other process's.
    counted(unsafe { libc::process_vm_writev(pid, local.as_ptr(), 2, remote.as_ptr(), 2, 0) })
}

/// How many descriptors another process may have.
pub(crate) fn descriptor_limit(pid: i32) -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: no new limit; room for the old one.
    let result =
        unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) };
    (result == 0).then_some(limit.rlim_cur)
}

/// Raises this process's own limit of descriptors as far as it may.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: room for a limit, then a readable one.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
