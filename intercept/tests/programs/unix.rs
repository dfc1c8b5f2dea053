//! The few system calls of the stand-in service that `std` does not have.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use libc::c_int;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn check_len(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn own(fd: c_int) -> io::Result<OwnedFd> {
    // SAFETY: a descriptor that a call has just returned.
    check(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A listening `SEQPACKET` socket at a path.
pub(crate) fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: plain calls with a correctly sized address.
    unsafe {
        let socket = own(libc::socket(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
        ))?;
        let mut address: libc::sockaddr_un = zeroed();
        address.sun_family = libc::AF_UNIX as u16;
        for (to, from) in address.sun_path.iter_mut().zip(path.as_os_str().as_bytes()) {
            *to = *from as libc::c_char;
        }
        let len = size_of::<libc::sockaddr_un>() as u32;
        check(libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            len,
        ))?;
        check(libc::listen(socket.as_raw_fd(), 4096))?;
        Ok(socket)
    }
}

pub(crate) fn accept(listener: &OwnedFd, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: no address is asked for.
    own(unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            flags | libc::SOCK_CLOEXEC,
        )
    })
}

pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors, which are then owned once.
    unsafe {
        check(libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
            0,
            ends.as_mut_ptr(),
        ))?;
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Binds an abstract name.
pub(crate) fn bind_name(fd: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let mut address = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    address.extend_from_slice(name);
    // SAFETY: an address of the length given.
    check(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            address.as_ptr().cast(),
            address.len() as u32,
        )
    })?;
    Ok(())
}

pub(crate) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(
            fd.as_raw_fd(),
            libc::F_SETFL,
            flags | libc::O_NONBLOCK,
        ))?;
    }
    Ok(())
}

/// Makes blocking reads of a pair's half possible, whatever its maker has set.
pub(crate) fn set_blocking(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(
            fd.as_raw_fd(),
            libc::F_SETFL,
            flags & !libc::O_NONBLOCK,
        ))?;
    }
    Ok(())
}

pub(crate) fn poll(descriptors: &mut [(RawFd, i16, i16)], timeout_ms: i32) -> io::Result<usize> {
    let mut raw: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|&(fd, events, _)| libc::pollfd {
            fd,
            events,
            revents: 0,
        })
        .collect();
    // SAFETY: a list of the length given.
    let ready =
        check(unsafe { libc::poll(raw.as_mut_ptr(), raw.len() as libc::nfds_t, timeout_ms) })?;
    for (descriptor, polled) in descriptors.iter_mut().zip(raw) {
        descriptor.2 = polled.revents;
    }
    Ok(ready as usize)
}

pub(crate) fn read(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: a writable buffer of the length given.
    check_len(unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

pub(crate) fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: a readable buffer of the length given.
        let sent = check_len(unsafe {
            libc::send(
                fd.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                libc::MSG_NOSIGNAL,
            )
        })?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

pub(crate) fn shutdown(fd: &OwnedFd, how: c_int) {
    // SAFETY: no pointers. A half that is gone already needs no shutdown.
    unsafe { libc::shutdown(fd.as_raw_fd(), how) };
}

#[repr(C, align(8))]
struct Control([u8; 64]);

/// Sends one message with descriptors attached.
pub(crate) fn send(
    fd: &OwnedFd,
    message: &[u8],
    descriptors: &[RawFd],
    flags: c_int,
) -> io::Result<()> {
    let mut control = Control([0; 64]);
    let mut vector = libc::iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    // SAFETY: header, vector and control data live through the call; the control buffer is large enough.
    unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        if !descriptors.is_empty() {
            let len = size_of_val(descriptors) as u32;
            header.msg_control = (&raw mut control).cast();
            header.msg_controllen = libc::CMSG_SPACE(len) as usize;
            let rights = libc::CMSG_FIRSTHDR(&raw const header);
            (*rights).cmsg_level = libc::SOL_SOCKET;
            (*rights).cmsg_type = libc::SCM_RIGHTS;
            (*rights).cmsg_len = libc::CMSG_LEN(len) as usize;
            std::ptr::copy_nonoverlapping(
                descriptors.as_ptr().cast(),
                libc::CMSG_DATA(rights),
                size_of_val(descriptors),
            );
        }
        check_len(libc::sendmsg(
            fd.as_raw_fd(),
            &raw const header,
            flags | libc::MSG_NOSIGNAL,
        ))?;
    }
    Ok(())
}

/// Receives one message and its descriptors.
pub(crate) fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = Control([0; 64]);
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut descriptors = Vec::new();
    // SAFETY: header, vector and control data live through the call; each received descriptor is owned once.
    unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = size_of::<Control>();
        let len = check_len(libc::recvmsg(
            fd.as_raw_fd(),
            &raw mut header,
            libc::MSG_CMSG_CLOEXEC,
        ))?;
        let rights = libc::CMSG_FIRSTHDR(&raw const header);
        if !rights.is_null() && (*rights).cmsg_type == libc::SCM_RIGHTS {
            let count = ((*rights).cmsg_len - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
            for index in 0..count {
                let raw = libc::CMSG_DATA(rights)
                    .cast::<RawFd>()
                    .add(index)
                    .read_unaligned();
                descriptors.push(OwnedFd::from_raw_fd(raw));
            }
        }
        Ok((len, descriptors))
    }
}
