//! Moving a datagram through a framed descriptor: header and the program's own vector in one system call.

use core::mem::size_of;
use core::ptr;

use zt_intercept::frames::{Arrived, Control, HEADER_LEN, SendControl};
use zt_intercept::{Errno, Fd, SockAddr};
use zt_socket_rpc::Id;
use zt_socket_rpc::linux::{ECONNRESET, EMSGSIZE, ENOTCONN, EPIPE, SOL_SOCKET};

use crate::message::{IoVec, MessageHeader, SCM_RIGHTS};
use crate::next;
use crate::process::program;

const MSG_PEEK: i32 = 2;
const MSG_CTRUNC: i32 = 8;
const MSG_TRUNC: i32 = 0x20;
const MSG_DONTWAIT: i32 = 0x40;
const MSG_NOSIGNAL: i32 = 0x4000;
const MSG_ERRQUEUE: i32 = 0x2000;
const MSG_MORE: i32 = 0x8000;

/// Vectors up to this length are joined to the header on a small stack.
const SHORT: usize = 8;
/// `UIO_MAXIOV`, the most that the kernel takes.
const LONGEST: usize = 1024;

/// A control message's header; data follows at the next multiple of a word.
#[repr(C)]
struct ControlHeader {
    len: usize,
    level: i32,
    kind: i32,
}

const CONTROL_HEADER: usize = size_of::<ControlHeader>();

const fn align(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// Runs `call` on the header's place and the program's vector.
///
/// # Safety
/// `vector` has `count` readable elements.
unsafe fn joined(
    header: *mut u8,
    vector: *const IoVec,
    count: usize,
    call: impl FnOnce(&mut [IoVec]) -> isize,
) -> isize {
    /// Not inlined, so that only long vectors cost a large stack.
    ///
    /// # Safety
    /// As `joined`; `count` is less than `N`.
    #[inline(never)]
    unsafe fn join<const N: usize>(
        first: IoVec,
        vector: *const IoVec,
        count: usize,
        call: impl FnOnce(&mut [IoVec]) -> isize,
    ) -> isize {
        let mut all = [first; N];
        if let Some(rest) = all.get_mut(1..=count) {
            // SAFETY: the caller's promise, and `count` places.
            unsafe { ptr::copy_nonoverlapping(vector, rest.as_mut_ptr(), count) };
        }
        call(all.get_mut(..=count).unwrap_or_default())
    }
    let first = IoVec {
        base: header,
        len: HEADER_LEN,
    };
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            0..SHORT => join::<SHORT>(first, vector, count, call),
            SHORT..LONGEST => join::<{ LONGEST + 1 }>(first, vector, count, call),
            _ => next::fail(Errno(EMSGSIZE)) as isize,
        }
    }
}

/// `sendmsg` on a framed descriptor.
///
/// # Safety
/// The program's promise to the C library: a `struct msghdr` as `sendmsg` takes it.
pub(crate) unsafe fn send(fd: Fd, id: Id, message: &MessageHeader, flags: i32) -> isize {
    // SAFETY: the caller's promise.
    let sent = unsafe { send_once(fd, id, message, flags) };
    if sent >= 0 || !is_gone(next::errno()) {
        return sent;
    }
    if program().is_alive(fd) {
        return next::fail(Errno(EPIPE)) as isize;
    }
    match program().send_again(fd, id) {
        // SAFETY: the caller's promise.
        Ok(id) => unsafe { send_once(fd, id, message, flags) },
        Err(errno) => next::fail(errno) as isize,
    }
}

/// What a Unix socket says when nobody holds the other half.
const fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno(EPIPE | ECONNRESET | ENOTCONN))
}

/// # Safety
/// As [`send`].
unsafe fn send_once(fd: Fd, id: Id, message: &MessageHeader, flags: i32) -> isize {
    // SAFETY: the caller's promise.
    let len = unsafe { total(message.vector, message.vector_len) };
    // SAFETY: the caller's promise.
    let framed = unsafe {
        let to = if message.name.is_null() {
            None
        } else {
            Some(core::slice::from_raw_parts(
                message.name,
                message.name_len as usize,
            ))
        };
        send_control(message)
            .and_then(|control| program().frame(fd, id, to, &control, len, flags & MSG_MORE != 0))
    };
    let mut heading = match framed {
        Ok(heading) => heading,
        Err(errno) => return next::fail(errno) as isize,
    };
    let header = heading.header.as_mut_ptr();
    let flags = flags & MSG_DONTWAIT | MSG_NOSIGNAL;
    let give = |all: &mut [IoVec]| {
        let framed = MessageHeader::new(all, ptr::null_mut(), 0);
        // SAFETY: the program's vector and the header before it, which live through the call.
        unsafe { next::sendmsg(fd, (&raw const framed).cast(), flags) }
    };
    let Some(segment) = heading.segment else {
        // SAFETY: the caller's promise; the header lives through the call.
        let sent = unsafe { joined(header, message.vector, message.vector_len, give) };
        return if sent >= 0 {
            sent - HEADER_LEN as isize
        } else {
            sent
        };
    };
    let mut begin = 0;
    while begin < len {
        // SAFETY: the caller's promise; the header lives through the call.
        let sent = unsafe {
            let range = begin..len.min(begin + segment);
            cut(header, message.vector, message.vector_len, range, give)
        };
        if sent < 0 {
            // What has left cannot be taken back; the rest is lost as on any network.
            return if begin == 0 { sent } else { begin as isize };
        }
        begin += segment;
    }
    len as isize
}

/// As [`joined`] for a part of the vector's bytes.
///
/// # Safety
/// As [`joined`]; the range ends within the bytes of the vector.
unsafe fn cut(
    header: *mut u8,
    vector: *const IoVec,
    count: usize,
    range: core::ops::Range<usize>,
    call: impl FnOnce(&mut [IoVec]) -> isize,
) -> isize {
    let mut at = 0;
    let (mut first, mut last) = (count, 0);
    for index in 0..count {
        // SAFETY: the caller's promise.
        let len = unsafe { (*vector.add(index)).len };
        if at < range.end && at + len > range.start {
            first = first.min(index);
            last = index + 1;
        }
        at += len;
    }
    // SAFETY: the caller's promise: the elements that the range touches.
    unsafe {
        let before = total(vector, first);
        joined(header, vector.add(first), last - first, |all| {
            let mut skip = range.start - before;
            let mut left = range.len();
            for part in all.iter_mut().skip(1) {
                part.base = part.base.add(skip);
                part.len = (part.len - skip).min(left);
                left -= part.len;
                skip = 0;
            }
            call(all)
        })
    }
}

/// `recvmsg` on a framed descriptor.
///
/// # Safety
/// The program's promise to the C library: a `struct msghdr` as `recvmsg` takes it.
pub(crate) unsafe fn receive(fd: Fd, id: Id, message: &mut MessageHeader, flags: i32) -> isize {
    if flags & MSG_ERRQUEUE != 0 {
        // SAFETY: the caller's promise.
        return unsafe { receive_lost(id, message) };
    }
    let mut id = id;
    loop {
        // SAFETY: the caller's promise.
        if let Some(received) = unsafe { receive_once(fd, id, message, flags) } {
            return received;
        }
        match program().receive_again(fd, id, flags & MSG_DONTWAIT != 0) {
            Ok(renewed) => id = renewed,
            Err(errno) => return next::fail(errno) as isize,
        }
    }
}

/// `None` when the service is gone.
///
/// # Safety
/// As [`receive`].
unsafe fn receive_once(fd: Fd, id: Id, message: &mut MessageHeader, flags: i32) -> Option<isize> {
    let mut header = [0; HEADER_LEN];
    let mut taken = MessageHeader::new(&mut [], message.control, message.control_len);
    // SAFETY: the caller's promise; the header lives through the call. Time stamps and their like are the pair's own, so
    // the program's buffer for control messages goes along.
    let received = unsafe {
        joined(
            header.as_mut_ptr(),
            message.vector,
            message.vector_len,
            |all| {
                taken.vector = all.as_mut_ptr();
                taken.vector_len = all.len();
                let flags = flags & (MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
                next::recvmsg(fd, (&raw mut taken).cast(), flags)
            },
        )
    };
    let len = match usize::try_from(received) {
        // A frame is never empty.
        Ok(0) if program().is_alive(fd) => return Some(0),
        Ok(0) => return None,
        Ok(len) => len,
        Err(_) if is_gone(next::errno()) => return None,
        Err(_) => return Some(received),
    };
    let head = header.get(..len.min(HEADER_LEN)).unwrap_or_default();
    let arrived = match program().arrived(fd, head, flags & MSG_PEEK != 0) {
        Ok(arrived) => arrived,
        Err(errno) => return Some(next::fail(errno) as isize),
    };
    message.flags = taken.flags & (MSG_TRUNC | MSG_CTRUNC);
    // SAFETY: the caller's promise.
    unsafe {
        put_name(message, &arrived.peer);
        put_control(id, message, &arrived, taken.control_len);
    }
    Some((len - HEADER_LEN) as isize)
}

/// An entry of the error queue.
///
/// # Safety
/// As [`receive`].
unsafe fn receive_lost(id: Id, message: &mut MessageHeader) -> isize {
    let lost = match program().take_lost(id) {
        Ok(lost) => lost,
        Err(errno) => return next::fail(errno) as isize,
    };
    let payload = lost.payload();
    let mut copied = 0;
    message.flags = MSG_ERRQUEUE;
    // SAFETY: the caller's promise: writable buffers of these lengths.
    unsafe {
        for index in 0..message.vector_len {
            let part = *message.vector.add(index);
            let rest = payload.get(copied..).unwrap_or_default();
            let count = rest.len().min(part.len);
            ptr::copy_nonoverlapping(rest.as_ptr(), part.base, count);
            copied += count;
        }
        put_name(message, &lost.peer);
        let end = put_one(message, 0, &lost.control);
        message.control_len = end.min(message.control_len);
    }
    if copied < payload.len() {
        message.flags |= MSG_TRUNC;
    }
    copied as isize
}

/// # Safety
/// As [`receive`].
unsafe fn put_name(message: &mut MessageHeader, name: &SockAddr) {
    if message.name.is_null() {
        return;
    }
    let name = name.as_bytes();
    let count = name.len().min(message.name_len as usize);
    // SAFETY: the caller's promise.
    unsafe { ptr::copy_nonoverlapping(name.as_ptr(), message.name, count) };
    message.name_len = name.len() as u32;
}

/// Writes the control messages that were asked for behind the `used` bytes that the kernel wrote.
///
/// # Safety
/// As [`receive`].
unsafe fn put_control(id: Id, message: &mut MessageHeader, arrived: &Arrived, used: usize) {
    if message.control.is_null() || message.control_len == 0 {
        message.control_len = 0;
        return;
    }
    let mut at = align(used);
    for control in program().control_of(id, arrived).iter().flatten() {
        // SAFETY: the caller's promise.
        at = unsafe { put_one(message, at, control) };
    }
    message.control_len = at.min(message.control_len);
}

/// Writes one control message at `at`, cut to the room as the kernel does; where the next one may begin.
///
/// # Safety
/// As [`receive`].
unsafe fn put_one(message: &mut MessageHeader, at: usize, control: &Control) -> usize {
    let room = message.control_len.saturating_sub(at);
    let whole = CONTROL_HEADER + control.as_bytes().len();
    if room < whole {
        message.flags |= MSG_CTRUNC;
    }
    if room < CONTROL_HEADER {
        return at;
    }
    let header = ControlHeader {
        len: whole.min(room),
        level: control.level,
        kind: control.kind,
    };
    let end = at + align(header.len);
    let data = control.as_bytes();
    let data = data.get(..header.len - CONTROL_HEADER).unwrap_or_default();
    // SAFETY: inside the program's buffer.
    unsafe {
        let place = message.control.add(at);
        ptr::write_unaligned(place.cast(), header);
        ptr::copy_nonoverlapping(data.as_ptr(), place.add(CONTROL_HEADER), data.len());
    }
    end
}

/// Reads the control messages of a send.
///
/// # Safety
/// As [`send`].
unsafe fn send_control(message: &MessageHeader) -> Result<SendControl, Errno> {
    let mut control = SendControl::default();
    if message.control.is_null() {
        return Ok(control);
    }
    let mut at = 0;
    while at + CONTROL_HEADER <= message.control_len {
        // SAFETY: inside the program's buffer.
        unsafe {
            let place = message.control.add(at);
            let header: ControlHeader = ptr::read_unaligned(place.cast());
            if header.len < CONTROL_HEADER || header.len > message.control_len - at {
                return Err(Errno(zt_socket_rpc::linux::EINVAL));
            }
            let data =
                core::slice::from_raw_parts(place.add(CONTROL_HEADER), header.len - CONTROL_HEADER);
            control.take(header.level, header.kind, data)?;
            at += align(header.len);
        }
    }
    Ok(control)
}

/// Notes datagram sockets of ours among the descriptors that another process has passed.
///
/// # Safety
/// A `struct msghdr` as `recvmsg` has left it.
pub(crate) unsafe fn adopt_passed(message: &MessageHeader) {
    if message.control.is_null() || message.control_len < CONTROL_HEADER {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let header: ControlHeader = ptr::read_unaligned(message.control.cast());
        if (header.level, header.kind) != (SOL_SOCKET, SCM_RIGHTS) {
            return;
        }
        let len = header.len.min(message.control_len);
        let count = len.saturating_sub(CONTROL_HEADER) / size_of::<Fd>();
        let passed = message.control.add(CONTROL_HEADER).cast::<Fd>();
        for index in 0..count {
            program().adopt(ptr::read_unaligned(passed.add(index)));
        }
    }
}

/// The bytes of a vector.
///
/// # Safety
/// `vector` has `count` readable elements.
unsafe fn total(vector: *const IoVec, count: usize) -> usize {
    (0..count).fold(0, |sum: usize, index| {
        // SAFETY: the caller's promise.
        sum.saturating_add(unsafe { (*vector.add(index)).len })
    })
}
