//! Receiving: a few super-buffers a call, each split into the datagrams it was coalesced from.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::ptr;

use super::address::Name;
use super::control::Control;
use super::socket::Socket;

/// The largest buffer the kernel coalesces datagrams into.
const SLOT: usize = 64 << 10;
/// Buffers a call when the kernel coalesces: a megabyte, about what the caches hold.
const COALESCED_SLOTS: usize = 16;
/// Buffers a call when every datagram needs its own.
const PLAIN_SLOTS: usize = 64;

/// The buffers of one `recvmmsg`. The memory is reserved at once but touched, hence spent, only as
/// far as traffic ever filled it: a quiet node uses the first page of the first slot.
pub(super) struct ReceiveBuffers {
    bytes: Vec<u8>,
    names: Vec<Name>,
    controls: Vec<Control>,
}

/// One buffer off the wire.
pub(super) struct Arrival<'a> {
    pub(super) remote: SocketAddr,
    /// The local address that it was sent to.
    pub(super) destination: Option<IpAddr>,
    /// Size of every datagram in `bytes` but the last.
    pub(super) segment: usize,
    pub(super) bytes: &'a mut [u8],
}

impl ReceiveBuffers {
    pub(super) fn new() -> Self {
        Self {
            // Zeroed pages straight from the system: nothing is touched yet.
            bytes: vec![0; PLAIN_SLOTS * SLOT],
            names: vec![Name::empty(); PLAIN_SLOTS],
            controls: vec![Control::empty(); PLAIN_SLOTS],
        }
    }

    /// Receives one batch without blocking and lends each buffer to `each`. Says whether every slot
    /// was filled, that is, whether more may be waiting.
    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        mut each: impl FnMut(Arrival<'_>),
    ) -> io::Result<bool> {
        let slots = if socket.coalesces {
            COALESCED_SLOTS
        } else {
            PLAIN_SLOTS
        };
        // SAFETY: all-zero bytes are a valid value of these plain C structures.
        let (mut headers, mut vectors): ([libc::mmsghdr; PLAIN_SLOTS], [libc::iovec; PLAIN_SLOTS]) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let parts = self
            .bytes
            .chunks_exact_mut(SLOT)
            .zip(&mut self.names)
            .zip(&mut self.controls);
        for (((slot, name), control), (header, vector)) in
            parts.zip(headers.iter_mut().zip(&mut vectors)).take(slots)
        {
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = SLOT;
            let message = &mut header.msg_hdr;
            message.msg_name = (&raw mut *name).cast();
            message.msg_namelen = size_of::<Name>() as libc::socklen_t;
            message.msg_iov = vector;
            message.msg_iovlen = 1;
            let (room, length) = control.room();
            message.msg_control = room;
            message.msg_controllen = length as _;
        }
        // SAFETY: the first `slots` headers point at live, disjoint buffers of the lengths given,
        // none of which moves before the call returns.
        let count = unsafe {
            libc::recvmmsg(
                socket.fd.as_raw_fd(),
                headers.as_mut_ptr(),
                slots as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            return Err(io::Error::last_os_error());
        };
        let parts = self
            .bytes
            .chunks_exact_mut(SLOT)
            .zip(&self.names)
            .zip(&mut self.controls);
        for (((slot, name), control), header) in parts.zip(&headers).take(count) {
            let message = &header.msg_hdr;
            let length = (header.msg_len as usize).min(SLOT);
            let Some(remote) = name.to_address(message.msg_namelen) else {
                continue;
            };
            if length == 0 || message.msg_flags & libc::MSG_TRUNC != 0 {
                continue;
            }
            let ancillary = control.parse(message.msg_controllen);
            let Some(bytes) = slot.get_mut(..length) else {
                continue;
            };
            each(Arrival {
                remote,
                destination: ancillary.destination,
                segment: ancillary.segment.unwrap_or(length),
                bytes,
            });
        }
        Ok(count == slots)
    }
}
