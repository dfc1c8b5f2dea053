//! Several frames of a pair in one system call, both ways.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use zt_socket_rpc::{DatagramHeader, MAX_FRAME};

use super::descriptor;

/// Frames of one call.
pub(super) const MOST: usize = 16;
/// Room for the longest frame, and a byte that tells one that is longer.
const ROOM: usize = MAX_FRAME + 1;
/// What [`descriptor`] makes room for in a message of its own, for each of the frames.
const CONTROL: usize = 4096;

/// Room for the frames of one call; memory is taken only where frames come to lie.
#[derive(Default)]
pub(super) struct Burst {
    bytes: Vec<u8>,
    control: Vec<u64>,
    /// Lengths of the frames that are there; `None` for one that is none.
    lengths: Vec<Option<usize>>,
}

impl Burst {
    /// Takes what waits, without waiting; how many messages. A pair of frames carries no descriptors: a message that has
    /// some is no frame, and they go to `strays`.
    pub(super) fn receive(
        &mut self,
        from: &OwnedFd,
        strays: &mut Vec<OwnedFd>,
    ) -> Result<usize, Errno> {
        // All zero, and so taken from the system untouched.
        if self.bytes.is_empty() {
            self.bytes = vec![0; MOST * ROOM];
            self.control = vec![0; MOST * CONTROL / size_of::<u64>()];
        }
        self.lengths.clear();
        let mut vectors = [libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        }; MOST];
        // SAFETY: all zeros is a valid `mmsghdr`: null pointers with lengths of 0.
        let mut messages: [libc::mmsghdr; MOST] = unsafe { MaybeUninit::zeroed().assume_init() };
        let controls = self.control.chunks_exact_mut(CONTROL / size_of::<u64>());
        for (((message, vector), room), control) in messages
            .iter_mut()
            .zip(&mut vectors)
            .zip(self.bytes.chunks_exact_mut(ROOM))
            .zip(controls)
        {
            vector.iov_base = room.as_mut_ptr().cast();
            vector.iov_len = room.len();
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = CONTROL as _;
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: every header names live buffers with their lengths; the kernel writes within them.
        let count = unsafe {
            libc::recvmmsg(
                from.as_raw_fd(),
                messages.as_mut_ptr(),
                MOST as libc::c_uint,
                flags as _,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| last_error())?;
        for message in messages.iter().take(count) {
            let known = strays.len();
            // SAFETY: the kernel filled the control messages of this header, and every descriptor in them is new.
            unsafe { descriptor::take_descriptors(&message.msg_hdr, strays) };
            let is_cut = message.msg_hdr.msg_flags & libc::MSG_CTRUNC != 0;
            let is_frame = !is_cut && strays.len() == known;
            self.lengths
                .push(is_frame.then_some(message.msg_len as usize));
        }
        Ok(count)
    }

    /// One message of the last call; `None` if it was no frame.
    pub(super) fn message(&self, index: usize) -> Option<&[u8]> {
        let len = (*self.lengths.get(index)?)?;
        let begin = index * ROOM;
        self.bytes.get(begin..begin + len.min(ROOM))
    }
}

/// A frame to be sent: its header, and its payload in two parts.
pub(super) struct Frame<'a> {
    pub(super) header: [u8; DatagramHeader::LEN],
    pub(super) payload: [&'a [u8]; 2],
}

/// Puts frames into a pair without waiting; how many it took.
pub(super) fn send(to: &OwnedFd, frames: &[Frame<'_>]) -> Result<usize, Errno> {
    let vectors: Vec<[libc::iovec; 3]> = frames
        .iter()
        .map(|frame| {
            [&frame.header[..], frame.payload[0], frame.payload[1]].map(|part| libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            })
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = vectors
        .iter()
        .map(|vector| {
            // SAFETY: all zeros is a valid `mmsghdr`: null pointers with lengths of 0.
            let mut message: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            message.msg_hdr.msg_iov = vector.as_ptr().cast_mut();
            message.msg_hdr.msg_iovlen = vector.len() as _;
            message
        })
        .collect();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: every header names a live vector of live bytes, which are only read.
    let count = unsafe {
        libc::sendmmsg(
            to.as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len() as libc::c_uint,
            flags as _,
        )
    };
    usize::try_from(count).map_err(|_| last_error())
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    #[test]
    fn what_was_sent_in_one_call_is_received_in_one() {
        let (left, right) = pair();
        let header = [7; DatagramHeader::LEN];
        let frame = |payload| Frame { header, payload };
        let long = vec![9; 60_000];
        let sent = send(
            &left,
            &[frame([b"a", b"b"]), frame([b"", b""]), frame([&long, b"c"])],
        );
        assert_eq!(sent, Ok(3));
        let (mut burst, mut strays) = (Burst::default(), Vec::new());
        assert_eq!(burst.receive(&right, &mut strays), Ok(3));
        assert_eq!(burst.message(0), Some(&[&header[..], b"ab"].concat()[..]));
        assert_eq!(burst.message(1), Some(&header[..]));
        assert_eq!(
            burst.message(2).map(<[u8]>::len),
            Some(header.len() + 60_001)
        );
        assert_eq!(burst.message(3), None);
        assert_eq!(burst.receive(&right, &mut strays), Err(Errno::AGAIN));
    }

    #[test]
    fn a_full_pair_takes_a_part_and_then_nothing() {
        let (left, _right) = pair();
        let header = [0; DatagramHeader::LEN];
        let payload = vec![0; 30_000];
        let frames: Vec<_> = (0..MOST)
            .map(|_| Frame {
                header,
                payload: [&payload, &[]],
            })
            .collect();
        let taken = send(&left, &frames).unwrap();
        assert!((1..MOST).contains(&taken), "{taken}");
        assert_eq!(send(&left, &frames), Err(Errno::AGAIN));
    }

    #[test]
    fn a_message_with_descriptors_is_no_frame() {
        let (left, right) = pair();
        rustix::net::send(&left, b"frame", SendFlags::empty()).unwrap();
        descriptor::send_message(&left, b"stray", Some(std::os::fd::AsFd::as_fd(&left))).unwrap();
        rustix::net::send(&left, b"frame", SendFlags::empty()).unwrap();
        let (mut burst, mut strays) = (Burst::default(), Vec::new());
        assert_eq!(burst.receive(&right, &mut strays), Ok(3));
        let messages = [0, 1, 2].map(|index| burst.message(index));
        assert_eq!(messages, [Some(&b"frame"[..]), None, Some(b"frame")]);
        assert_eq!(strays.len(), 1);
    }
}
