//! `sendmsg` and `recvmsg`, with descriptors.

use core::mem::{size_of, size_of_val};
use core::ptr;

use zt_intercept::kernel::{Received, Waiting};
use zt_intercept::{Errno, Fd, Kernel};
use zt_socket_rpc::linux::{EINVAL, EMFILE, SOL_SOCKET};

use crate::next;
use crate::process::Process;
use crate::raw::{checked, number};

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct IoVec {
    pub(crate) base: *mut u8,
    pub(crate) len: usize,
}

/// `struct msghdr` of 64-bit Linux.
#[repr(C)]
pub(crate) struct MessageHeader {
    pub(crate) name: *mut u8,
    pub(crate) name_len: u32,
    pub(crate) vector: *mut IoVec,
    pub(crate) vector_len: usize,
    pub(crate) control: *mut u8,
    pub(crate) control_len: usize,
    pub(crate) flags: i32,
}

/// `struct mmsghdr`.
#[repr(C)]
pub(crate) struct BatchMessage {
    pub(crate) header: MessageHeader,
    pub(crate) len: u32,
}

/// More messages in one call are cut to this number (`UIO_MAXIOV`).
pub(crate) const MOST_MESSAGES: u32 = 1024;

/// `struct cmsghdr` with `SCM_RIGHTS` and room for the descriptors of one message.
#[repr(C, align(8))]
struct Rights {
    len: usize,
    level: i32,
    kind: i32,
    descriptors: [Fd; zt_socket_rpc::MAX_DESCRIPTORS],
}

const CONTROL_HEADER: usize = 16;
pub(crate) const SCM_RIGHTS: i32 = 1;
const MSG_CTRUNC: i32 = 8;
const MSG_DONTWAIT: usize = 0x40;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: i32 = 0x4000_0000;

/// What a plug is made of.
static ZEROS: [u8; ZERO_PIECE] = [0; ZERO_PIECE];
const ZERO_PIECE: usize = 4096;
const ZERO_PIECES: usize = 32;

impl MessageHeader {
    pub(crate) fn new(vector: &mut [IoVec], control: *mut u8, control_len: usize) -> Self {
        Self {
            name: ptr::null_mut(),
            name_len: 0,
            vector: vector.as_mut_ptr(),
            vector_len: vector.len(),
            control,
            control_len,
            flags: 0,
        }
    }
}

/// Sends this many zeros, as far as they fit.
pub(crate) fn send_zeros(fd: Fd, count: usize) -> Result<usize, Errno> {
    let mut vector = [IoVec {
        base: ZEROS.as_ptr().cast_mut(),
        len: ZERO_PIECE,
    }; ZERO_PIECES];
    let pieces = count.div_ceil(ZERO_PIECE).min(ZERO_PIECES);
    if let Some(last) = vector[..pieces].last_mut() {
        last.len = (count - (pieces - 1) * ZERO_PIECE).min(ZERO_PIECE);
    }
    let header = MessageHeader::new(&mut vector[..pieces], ptr::null_mut(), 0);
    let arguments = [
        fd as usize,
        &raw const header as usize,
        MSG_DONTWAIT | MSG_NOSIGNAL,
    ];
    // SAFETY: every piece is the static zeros, which are only read.
    unsafe { checked(number::SENDMSG, arguments) }
}

/// Sends one message.
pub(crate) fn send(fd: Fd, message: &[u8], descriptors: &[Fd]) -> Result<(), Errno> {
    let mut rights = Rights {
        len: CONTROL_HEADER + size_of_val(descriptors),
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        descriptors: [-1; zt_socket_rpc::MAX_DESCRIPTORS],
    };
    rights
        .descriptors
        .get_mut(..descriptors.len())
        .ok_or(Errno(EINVAL))?
        .copy_from_slice(descriptors);
    let mut vector = [IoVec {
        base: message.as_ptr().cast_mut(),
        len: message.len(),
    }];
    let mut header = MessageHeader::new(&mut vector, ptr::null_mut(), 0);
    if !descriptors.is_empty() {
        header.control = (&raw mut rights).cast();
        header.control_len = rights.len;
    }
    let arguments = [
        fd as usize,
        &raw const header as usize,
        MSG_DONTWAIT | MSG_NOSIGNAL,
    ];
    // SAFETY: message and control data live through the call and are only read.
    unsafe { checked(number::SENDMSG, arguments) }.map(|_| ())
}

/// Receives one message.
pub(crate) fn receive(
    fd: Fd,
    buffer: &mut [u8],
    descriptors: &mut Received,
    close_on_exec: bool,
    waiting: Waiting,
) -> Result<usize, Errno> {
    let mut rights = Rights {
        len: 0,
        level: 0,
        kind: 0,
        descriptors: [-1; zt_socket_rpc::MAX_DESCRIPTORS],
    };
    let mut vector = [IoVec {
        base: buffer.as_mut_ptr(),
        len: buffer.len(),
    }];
    let mut header = MessageHeader::new(&mut vector, (&raw mut rights).cast(), size_of::<Rights>());
    let flags = if close_on_exec { MSG_CMSG_CLOEXEC } else { 0 };
    let len = match waiting {
        Waiting::No => {
            let arguments = [
                fd as usize,
                &raw mut header as usize,
                flags as usize | MSG_DONTWAIT,
            ];
            // SAFETY: writable buffers of the lengths given.
            unsafe { checked(number::RECVMSG, arguments) }?
        }
        Waiting::AsDescriptor => {
            // SAFETY: as above; the C library's own call, for it is a cancellation point.
            let len = unsafe { next::recvmsg(fd, (&raw mut header).cast(), flags) };
            usize::try_from(len).map_err(|_| next::errno())?
        }
    };
    // `control_len` counts the padding too.
    let count = rights.len.saturating_sub(CONTROL_HEADER) / size_of::<Fd>();
    if rights.level == SOL_SOCKET && rights.kind == SCM_RIGHTS {
        for (to, from) in descriptors.iter_mut().zip(&rights.descriptors).take(count) {
            *to = Some(*from);
        }
    }
    if header.flags & MSG_CTRUNC != 0 {
        for fd in descriptors.iter_mut().filter_map(Option::take) {
            Process.close(fd);
        }
        return Err(Errno(EMFILE));
    }
    Ok(len)
}
