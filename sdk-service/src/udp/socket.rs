//! Opening one socket with the options that the protocol needs.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Twice the windows that a few bulk flows keep in flight: a sender on the same machine gets no
/// push-back from the wire, so what does not fit here is lost without a word.
const RECEIVE_BUFFER: usize = 16 << 20;
/// One super-buffer is charged at about twice its size; this holds a few dozen.
const SEND_BUFFER: usize = 4 << 20;

/// How to open the edge.
#[derive(Clone, Debug)]
pub struct UdpConfig {
    /// Primary port; 0 takes any free one.
    pub port: u16,
    /// Secondary port, for NATs that remap the primary badly; `None` opens no second pair.
    pub secondary_port: Option<u16>,
    /// Allow `UDP_SEGMENT` and `UDP_GRO` (both fall back by themselves where they do not work).
    pub offload: bool,
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self {
            port: 9993,
            secondary_port: None,
            offload: true,
        }
    }
}

/// A bound socket and what it turned out to be able to do.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) v6: bool,
    pub(super) port: u16,
    /// The kernel cuts batches for us. Cleared for good at the first device that cannot.
    pub(super) segments: bool,
    /// The kernel may hand over several datagrams as one buffer.
    pub(super) coalesces: bool,
    /// What the kernel granted as receive buffer, in payload bytes.
    pub(super) receive_buffer: usize,
}

impl Socket {
    /// Binds the wildcard address of a family; `port` 0 takes any.
    pub(super) fn bind(v6: bool, port: u16, offload: bool) -> io::Result<Self> {
        let family = if v6 {
            AddressFamily::INET6
        } else {
            AddressFamily::INET
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;

        // VL1 §1: datagrams may be fragmented on the way, so DF is never set.
        if v6 {
            sockopt::set_ipv6_v6only(&fd, true)?;
            sockopt::set_ipv6_mtu_discover(&fd, Ipv6PathMtuDiscovery::DONT)?;
            set_flag(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
        } else {
            sockopt::set_ip_mtu_discover(&fd, Ipv4PathMtuDiscovery::DONT)?;
            set_flag(&fd, libc::IPPROTO_IP, libc::IP_PKTINFO)?;
            // Local broadcasts announce a node to its neighbours.
            sockopt::set_socket_broadcast(&fd, true)?;
        }
        grow_buffers(&fd);
        let coalesces = offload && set_flag(&fd, libc::SOL_UDP, libc::UDP_GRO).is_ok();
        let segments = offload && knows_segmentation(&fd);

        let wildcard: SocketAddr = if v6 {
            (Ipv6Addr::UNSPECIFIED, port).into()
        } else {
            (Ipv4Addr::UNSPECIFIED, port).into()
        };
        rustix::net::bind(&fd, &wildcard)?;
        let bound: SocketAddr = rustix::net::getsockname(&fd)?.try_into().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "socket bound to a foreign family",
            )
        })?;
        // The kernel reports twice what may be used for payload.
        let receive_buffer = sockopt::socket_recv_buffer_size(&fd).map_or(212_992, |size| size) / 2;
        Ok(Self {
            fd,
            v6,
            port: bound.port(),
            segments,
            coalesces,
            receive_buffer,
        })
    }
}

/// Asks for big buffers: by privilege, else as much as the system grants to everybody.
fn grow_buffers(fd: &OwnedFd) {
    if sockopt::set_socket_recv_buffer_size_force(fd, RECEIVE_BUFFER).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(fd, RECEIVE_BUFFER);
    }
    if sockopt::set_socket_send_buffer_size_force(fd, SEND_BUFFER).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(fd, SEND_BUFFER);
    }
}

fn set_flag(fd: &OwnedFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value is a live int of the length given, and setsockopt only reads it.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Kernels before 4.18 do not know the option at all.
fn knows_segmentation(fd: &OwnedFd) -> bool {
    let mut size: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: value and length are live and agree; getsockopt writes at most `length` bytes.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw mut size).cast(),
            &raw mut length,
        )
    };
    result == 0
}
