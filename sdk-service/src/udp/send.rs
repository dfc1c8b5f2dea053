//! Sending: one batch of equal datagrams to one destination a call, or the same batch one by one.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::ptr;

use super::SocketId;
use super::address::Name;
use super::control::Control;
use super::socket::Socket;

/// What the kernel accepts in one segmented send (`UDP_MAX_SEGMENTS` of the older kernels).
const MAX_SEGMENTS: usize = 64;
/// Datagrams a `sendmmsg` when the kernel does not segment.
const PLAIN_BATCH: usize = 64;

/// Datagrams of equal size (the last may be smaller) for one destination.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Where to leave from; `None` = once from every socket of the destination's family.
    pub local: Option<SocketId>,
    /// Where to.
    pub remote: SocketAddr,
    /// Bytes of each datagram but the last.
    pub segment_size: usize,
    /// The datagrams, one after the other.
    pub payload: &'a [u8],
    /// A short life on the way, for opening a NAT without reaching the other side.
    pub ttl: Option<u8>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is the kernel's now, or nobody's: an unreachable destination counts as loss on the way.
    Done,
    /// The socket is full; offer the *same* batch again when the socket is writable.
    WouldBlock,
}

/// How one attempt on one socket ended.
pub(super) enum Attempt {
    Done,
    WouldBlock,
    /// Refused by the kernel: the datagrams are lost, as on any network.
    Lost(io::Error),
}

/// Sends `batch` from one socket, beginning at datagram `*sent`, which is advanced so that a batch
/// interrupted by a full socket goes on where it stopped.
pub(super) fn send(
    socket: &mut Socket,
    source: Option<IpAddr>,
    batch: &Outgoing<'_>,
    sent: &mut usize,
) -> Attempt {
    let count = batch.payload.len().div_ceil(batch.segment_size.max(1));
    if socket.segments && count > 1 && count <= MAX_SEGMENTS && *sent == 0 {
        let outcome = send_segmented(socket, source, batch);
        match &outcome {
            Attempt::Lost(error) => match error.raw_os_error() {
                // The route's device cannot checksum segments; it will not learn to.
                Some(libc::EIO) => socket.segments = false,
                // This route's MTU is below our datagram, which only plain sends may fragment.
                Some(libc::EINVAL | libc::EMSGSIZE) => {}
                _ => return outcome,
            },
            _ => return outcome,
        }
    }
    send_plain(socket, source, batch, count, sent)
}

fn control_of(batch: &Outgoing<'_>, source: Option<IpAddr>) -> Control {
    let mut control = Control::empty();
    if let Some(source) = source {
        control.push_source(source);
    }
    if let Some(hops) = batch.ttl {
        control.push_hops(hops, batch.remote.is_ipv6());
    }
    control
}

fn send_segmented(socket: &Socket, source: Option<IpAddr>, batch: &Outgoing<'_>) -> Attempt {
    let mut control = control_of(batch, source);
    let Ok(segment) = u16::try_from(batch.segment_size) else {
        return Attempt::Lost(io::Error::from_raw_os_error(libc::EMSGSIZE));
    };
    control.push_segment(segment);
    let (mut name, name_length) = Name::of(batch.remote);
    let mut vector = vector_of(batch.payload);
    let message = message(&mut name, name_length, &mut vector, &mut control);
    // SAFETY: name, vector, payload and control live until the call returns; sendmsg only reads them.
    let result = unsafe {
        libc::sendmsg(
            socket.fd.as_raw_fd(),
            &raw const message,
            libc::MSG_DONTWAIT,
        )
    };
    if result >= 0 {
        Attempt::Done
    } else {
        failed(io::Error::last_os_error())
    }
}

fn send_plain(
    socket: &Socket,
    source: Option<IpAddr>,
    batch: &Outgoing<'_>,
    count: usize,
    sent: &mut usize,
) -> Attempt {
    let mut control = control_of(batch, source);
    let (mut name, name_length) = Name::of(batch.remote);
    while *sent < count {
        // SAFETY: all-zero bytes are a valid value of these plain C structures.
        let (mut headers, mut vectors): ([libc::mmsghdr; PLAIN_BATCH], [libc::iovec; PLAIN_BATCH]) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let datagrams = batch.payload.chunks(batch.segment_size.max(1)).skip(*sent);
        let mut filled = 0;
        for (datagram, (header, vector)) in datagrams.zip(headers.iter_mut().zip(&mut vectors)) {
            *vector = vector_of(datagram);
            header.msg_hdr = message(&mut name, name_length, vector, &mut control);
            filled += 1;
        }
        // SAFETY: the first `filled` headers point at `name`, `control` and vectors over the caller's
        // payload, all alive until the call returns; sendmmsg only reads what they point at.
        let result = unsafe {
            libc::sendmmsg(
                socket.fd.as_raw_fd(),
                headers.as_mut_ptr(),
                filled as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        match usize::try_from(result) {
            Ok(accepted) if accepted > 0 => *sent += accepted,
            Ok(_) => return Attempt::Done,
            Err(_) => match failed(io::Error::last_os_error()) {
                // One datagram of many was refused: the others may still go.
                Attempt::Lost(_) if *sent + 1 < count => *sent += 1,
                outcome => return outcome,
            },
        }
    }
    Attempt::Done
}

fn failed(error: io::Error) -> Attempt {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Attempt::WouldBlock,
        _ => Attempt::Lost(error),
    }
}

fn vector_of(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

fn message(
    name: &mut Name,
    name_length: libc::socklen_t,
    vector: &mut libc::iovec,
    control: &mut Control,
) -> libc::msghdr {
    // SAFETY: all-zero bytes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = ptr::from_mut(name).cast();
    message.msg_namelen = name_length;
    message.msg_iov = vector;
    message.msg_iovlen = 1;
    let (data, length) = control.filled();
    message.msg_control = data;
    message.msg_controllen = length as _;
    message
}
