//! Calls with datagrams: those that carry an address, or may.
//!
//! A datagram that the program sends goes into the service's channel with its header in front; one that it receives is
//! taken out of its own queue, and the sender's name tells where it came from ([`crate::relay`]).

use std::os::fd::AsRawFd as _;

use zt_intercept::frames::{Arrived, SendControl};
use zt_intercept::{Errno, Fd, Outcome, Reason};
use zt_socket_rpc::linux::{EPIPE, SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD};
use zt_socket_rpc::{Id, MAX_PAYLOAD_V6, Name};

use crate::caller::Caller;
use crate::notify::Call;
use crate::relay::Sender;
use crate::{relay, sys};

/// `struct msghdr` and `struct mmsghdr` of 64-bit Linux.
const MESSAGE: usize = 56;
const BATCHED: u64 = 64;
/// `UIO_MAXIOV`.
const LONGEST: usize = 1024;
const CONTROL_HEADER: usize = 16;
/// Control data that is read at most.
const MOST_CONTROL: usize = 4096;
const LONGEST_NAME: usize = 128;

/// One message of the program, as its call describes it.
#[derive(Debug)]
pub(crate) struct Message {
    name: u64,
    name_len: usize,
    /// Addresses and lengths.
    parts: Vec<(u64, usize)>,
    control: u64,
    control_len: usize,
    /// Where the structure is, if there is one.
    at: Option<u64>,
}

/// How a call on a message ends.
pub(crate) type Ended = Outcome<usize>;

impl Message {
    /// Of `sendto`, `recvfrom`: one part.
    pub(crate) fn of_arguments(call: &Call, name_len: usize) -> Self {
        Self {
            name: call.pointer(4),
            name_len,
            parts: vec![(call.pointer(1), call.pointer(2) as usize)],
            control: 0,
            control_len: 0,
            at: None,
        }
    }

    /// Reads a `struct msghdr`.
    pub(crate) fn read(call: &Call, at: u64) -> Result<Self, Errno> {
        let bytes = call.memory.read(at, MESSAGE).ok_or(Errno(libc::EFAULT))?;
        let word = |at: usize| {
            let bytes = bytes.get(at..at + 8).and_then(|part| part.try_into().ok());
            bytes.map_or(0, u64::from_ne_bytes)
        };
        let count = word(24) as usize;
        if count > LONGEST {
            return Err(Errno(libc::EMSGSIZE));
        }
        let vector = call
            .memory
            .read(word(16), 16 * count)
            .ok_or(Errno(libc::EFAULT))?;
        let number = |part: &[u8]| part.try_into().map_or(0, u64::from_ne_bytes);
        let parts = vector.chunks_exact(16).map(|part| {
            let (base, len) = part.split_at(8);
            (number(base), number(len) as usize)
        });
        let name = word(0);
        Ok(Self {
            name,
            name_len: if name == 0 {
                0
            } else {
                word(8) as u32 as usize
            },
            parts: parts.collect(),
            control: word(32),
            control_len: if word(32) == 0 { 0 } else { word(40) as usize },
            at: Some(at),
        })
    }

    /// The address of a batched message, and where its length is put.
    pub(crate) fn batched(call: &Call, index: u64) -> (u64, u64) {
        let at = call.pointer(1).wrapping_add(index * BATCHED);
        (at, at.wrapping_add(MESSAGE as u64))
    }

    fn len(&self) -> usize {
        let lengths = self.parts.iter().map(|(_, len)| *len);
        lengths.fold(0, usize::saturating_add)
    }

    /// The destination, if there is one.
    fn destination(&self, call: &Call) -> Result<Option<Vec<u8>>, Errno> {
        if self.name == 0 {
            return Ok(None);
        }
        if self.name_len > LONGEST_NAME {
            return Err(Errno(libc::EINVAL));
        }
        let name = call.memory.read(self.name, self.name_len);
        name.map(Some).ok_or(Errno(libc::EFAULT))
    }

    fn send_control(&self, call: &Call) -> Result<SendControl, Errno> {
        let mut control = SendControl::default();
        let bytes = call
            .memory
            .read(self.control, self.control_len.min(MOST_CONTROL))
            .ok_or(Errno(libc::EFAULT))?;
        let mut rest = bytes.as_slice();
        while let Some((header, _)) = rest.split_at_checked(CONTROL_HEADER) {
            let (len, kind) = header.split_at(8);
            let len = len.try_into().map_or(0, u64::from_ne_bytes) as usize;
            let data = rest.get(CONTROL_HEADER..len).ok_or(Errno(libc::EINVAL))?;
            let (level, kind) = kind.split_at(4);
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, i32::from_ne_bytes);
            control.take(number(level), number(kind), data)?;
            rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
        }
        Ok(control)
    }

    fn gather(&self, call: &Call, into: &mut Vec<u8>) -> Result<(), Errno> {
        for (base, len) in &self.parts {
            let bytes = call.memory.read(*base, *len).ok_or(Errno(libc::EFAULT))?;
            into.extend(bytes);
        }
        Ok(())
    }

    fn scatter(&self, call: &Call, mut payload: &[u8]) -> Result<(), Errno> {
        for (base, len) in &self.parts {
            let (part, rest) = payload.split_at(payload.len().min(*len));
            call.memory.write(*base, part)?;
            payload = rest;
        }
        Ok(())
    }
}

/// Sends one message on a datagram socket.
pub(crate) fn send(call: &Call, caller: &Caller<'_>, message: &Message, flags: i32) -> Ended {
    let to = match message.destination(call) {
        Ok(to) => to,
        Err(errno) => return Outcome::Fail(errno),
    };
    if caller.is_undecided() {
        let Some(to) = &to else {
            return Outcome::PassThrough(Reason::NotOurs);
        };
        match caller.program().sender(caller.socket(), Some(to)) {
            Outcome::Done(_) => {}
            Outcome::Fail(errno) => return Outcome::Fail(errno),
            Outcome::PassThrough(reason) => return Outcome::PassThrough(reason),
        }
    }
    let sent = try_send(call, caller, message, to.as_deref(), flags);
    let sent = match sent {
        Err(errno) if is_gone(errno) => {
            renew(caller, None).and_then(|()| try_send(call, caller, message, to.as_deref(), flags))
        }
        sent => sent,
    };
    sent.into()
}

fn try_send(
    call: &Call,
    caller: &Caller<'_>,
    message: &Message,
    to: Option<&[u8]>,
    flags: i32,
) -> Result<usize, Errno> {
    let socket = caller.current();
    let Some(relay) = &socket.relay else {
        return Err(Errno(libc::EBADF));
    };
    if let Some(errno) = relay.take_error() {
        return Err(errno);
    }
    let len = message.len();
    let control = message.send_control(call)?;
    let more = flags & libc::MSG_MORE != 0;
    let heading = caller
        .program()
        .frame(caller.socket(), relay.id, to, &control, len, more)?;
    let mut payload = Vec::with_capacity(len.min(MAX_PAYLOAD_V6));
    message.gather(call, &mut payload)?;
    let channel = relay.channel.as_raw_fd();
    let Some(segment) = heading.segment else {
        let frame = [&heading.header[..], &payload].concat();
        return send_frame(caller, channel, &frame, flags).map(|()| len);
    };
    // `UDP_SEGMENT`: one send, several datagrams. What has left has left.
    let mut sent = 0;
    for part in payload.chunks(segment) {
        let frame = [&heading.header[..], part].concat();
        match send_frame(caller, channel, &frame, flags) {
            Ok(()) => sent += part.len(),
            Err(errno) if sent == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(sent)
}

fn send_frame(caller: &Caller<'_>, channel: Fd, frame: &[u8], flags: i32) -> Result<(), Errno> {
    loop {
        match sys::send(channel, frame) {
            Ok(_) => return Ok(()),
            Err(Errno(libc::EAGAIN)) => {
                caller.wait_for_datagrams(channel, libc::POLLOUT, flags, SO_SNDTIMEO_OLD)?;
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// What a Unix socket says when nobody holds the other half; and what the operations say of a socket that no service
/// knows.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno(EPIPE | libc::ECONNRESET | libc::ENOTCONN))
}

/// Gives the socket to the service that is there now; a receive waits for one.
fn renew(caller: &Caller<'_>, receive_flags: Option<i32>) -> Result<(), Errno> {
    let Some(Name { id, .. }) = caller.current().name else {
        return Err(Errno(libc::EBADF));
    };
    let (program, fd) = (caller.program(), caller.socket());
    match receive_flags {
        Some(flags) => program.receive_again(fd, id, flags & libc::MSG_DONTWAIT != 0),
        None => program.send_again(fd, id),
    }
    .map(drop)
}

/// Receives one message on a datagram socket of ours; its length, and the address of its sender.
pub(crate) fn receive(
    call: &Call,
    caller: &Caller<'_>,
    message: &Message,
    flags: i32,
) -> Result<(usize, Arrived), Errno> {
    if flags & libc::MSG_ERRQUEUE != 0 {
        return Err(Errno(libc::EAGAIN));
    }
    let mut payload = vec![0; MAX_PAYLOAD_V6 + 1];
    let (len, id, arrived) = loop {
        let socket = caller.current();
        let (Some(relay), Some(outlet)) = (&socket.relay, &socket.copy) else {
            return Err(Errno(libc::EBADF));
        };
        if let Some(errno) = relay.take_error() {
            return Err(errno);
        }
        let end = outlet.as_raw_fd();
        let mut from = Vec::new();
        let len = match sys::receive_from(end, &mut payload, flags & libc::MSG_PEEK, &mut from) {
            Ok(len) => len,
            Err(Errno(libc::EAGAIN)) => {
                caller.wait_for_datagrams(end, libc::POLLIN, flags, SO_RCVTIMEO_OLD)?;
                continue;
            }
            Err(errno) => return Err(errno),
        };
        let header = match relay.sender(&from) {
            Sender::Header(header) => header,
            Sender::Peer => {
                let entry = caller.entry_of(relay.id).ok_or(Errno(libc::EAGAIN))?;
                relay::header_of_peer(&entry)
            }
            sender => {
                if flags & libc::MSG_PEEK != 0 {
                    let _ = sys::receive(end, &mut payload);
                }
                if matches!(sender, Sender::Gone) {
                    renew(caller, Some(flags))?;
                }
                continue;
            }
        };
        let arrived = caller.program().arrived(caller.socket(), &header, false)?;
        break (len, relay.id, arrived);
    };
    let room = message.len();
    message.scatter(call, payload.get(..len).unwrap_or_default())?;
    if let Some(at) = message.at {
        let is_cut = if len > room { libc::MSG_TRUNC } else { 0 };
        put_message(call, caller, message, at, id, &arrived, is_cut)?;
    }
    let told = if flags & libc::MSG_TRUNC != 0 {
        len
    } else {
        len.min(room)
    };
    Ok((told, arrived))
}

/// Fills in what a receive brings besides the payload.
fn put_message(
    call: &Call,
    caller: &Caller<'_>,
    message: &Message,
    at: u64,
    id: Id,
    arrived: &Arrived,
    mut flags: i32,
) -> Result<(), Errno> {
    let mut name_len = 0;
    if message.name != 0 {
        let name = arrived.peer.as_bytes();
        let cut = name.get(..message.name_len).unwrap_or(name);
        call.memory.write(message.name, cut)?;
        name_len = name.len() as u32;
    }
    let mut control = Vec::new();
    for part in caller.program().control_of(id, arrived).iter().flatten() {
        let data = part.as_bytes();
        let room = message.control_len.saturating_sub(control.len());
        let whole = CONTROL_HEADER + data.len();
        if room < whole {
            flags |= libc::MSG_CTRUNC;
        }
        if room < CONTROL_HEADER {
            continue;
        }
        let len = whole.min(room);
        control.extend((len as u64).to_ne_bytes());
        control.extend(part.level.to_ne_bytes());
        control.extend(part.kind.to_ne_bytes());
        control.extend(data.get(..len - CONTROL_HEADER).unwrap_or_default());
        control.resize(
            control.len().next_multiple_of(8).min(message.control_len),
            0,
        );
    }
    call.memory.write(message.control, &control)?;
    call.memory.write(at + 8, &name_len.to_ne_bytes())?;
    call.memory
        .write(at + 40, &(control.len() as u64).to_ne_bytes())?;
    call.memory.write(at + 48, &flags.to_ne_bytes())
}
