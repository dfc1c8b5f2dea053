//! Sends and receives that carry an address, or may: on datagram sockets, and on streams for what little there is.

use zt_intercept::send::MSG_FASTOPEN;
use zt_intercept::{Errno, Outcome};

use super::{LONGEST, is_internet, of, put_address, read_address};
use crate::caller::Caller;
use crate::messages::{self, Ended, Message};
use crate::notify::{Answer, Call};

/// What goes out with a connect at most.
const FIRST_PIECE: usize = 16 << 10;
/// `UIO_MAXIOV`.
const LONGEST_BATCH: u32 = 1024;

/// `sendto`, `sendmsg`, `sendmmsg`.
pub(super) fn send(call: &Call, caller: &Caller<'_>) -> Answer {
    if !caller.is_datagram() {
        let opens = call.number == libc::SYS_sendto && call.int(3) & MSG_FASTOPEN != 0;
        return if opens {
            fast_open(call, caller)
        } else {
            Answer::Continue
        };
    }
    match call.number {
        libc::SYS_sendto => {
            let name_len = call.int(5).clamp(0, LONGEST).unsigned_abs() as usize;
            let message = Message::of_arguments(call, name_len);
            end(messages::send(call, caller, &message, call.int(3)))
        }
        libc::SYS_sendmsg => end(send_one(call, caller, call.pointer(1), call.int(2))),
        _ => send_batch(call, caller),
    }
}

fn send_one(call: &Call, caller: &Caller<'_>, at: u64, flags: i32) -> Ended {
    match Message::read(call, at) {
        Ok(message) => messages::send(call, caller, &message, flags),
        Err(errno) => Outcome::Fail(errno),
    }
}

fn send_batch(call: &Call, caller: &Caller<'_>) -> Answer {
    let count = call.int(2).cast_unsigned().min(LONGEST_BATCH);
    for index in 0..count {
        let (at, len_at) = Message::batched(call, index.into());
        match send_one(call, caller, at, call.int(3)) {
            Outcome::Done(len) => {
                if let Err(errno) = call.memory.write(len_at, &(len as u32).to_ne_bytes()) {
                    return Answer::Error(errno);
                }
            }
            // What was sent counts. When the first is the kernel's, it sends all.
            _ if index > 0 => return Answer::Value(index.cast_signed()),
            sent => return end(sent),
        }
    }
    Answer::Value(count.cast_signed())
}

/// `recvfrom`, `recvmsg`, `recvmmsg`.
pub(super) fn receive(call: &Call, caller: &Caller<'_>) -> Answer {
    if !caller.is_datagram() {
        let flags = match call.number {
            libc::SYS_recvmsg => call.int(2),
            _ => call.int(3),
        };
        return match caller.program().refuses_receive(caller.socket(), flags) {
            Some(errno) => Answer::Error(errno),
            None => Answer::Continue,
        };
    }
    match call.number {
        libc::SYS_recvfrom => {
            let message = Message::of_arguments(call, 0);
            let received = messages::receive(call, caller, &message, call.int(3));
            of(received.and_then(|(len, arrived)| {
                put_address(call, &arrived.peer, (4, 5)).map(|()| len as i32)
            }))
        }
        libc::SYS_recvmsg => {
            let received = Message::read(call, call.pointer(1))
                .and_then(|message| messages::receive(call, caller, &message, call.int(2)));
            of(received.map(|(len, _)| len as i32))
        }
        _ => receive_batch(call, caller),
    }
}

fn receive_batch(call: &Call, caller: &Caller<'_>) -> Answer {
    let count = call.int(2).cast_unsigned().min(LONGEST_BATCH);
    let mut flags = call.int(3);
    for index in 0..count {
        let (at, len_at) = Message::batched(call, index.into());
        let received = Message::read(call, at)
            .and_then(|message| messages::receive(call, caller, &message, flags))
            .and_then(|(len, _)| call.memory.write(len_at, &(len as u32).to_ne_bytes()));
        match received {
            Ok(()) => {}
            Err(_) if index > 0 => return Answer::Value(index.cast_signed()),
            Err(errno) => return Answer::Error(errno),
        }
        // A program that gives a limit of time does not want to wait for all of them, either.
        if flags & libc::MSG_WAITFORONE != 0 || call.pointer(4) != 0 {
            flags |= libc::MSG_DONTWAIT;
        }
    }
    Answer::Value(count.cast_signed())
}

fn end(sent: Ended) -> Answer {
    match sent {
        Outcome::Done(len) => Answer::Value(len as i32),
        Outcome::Fail(errno) => Answer::Error(errno),
        Outcome::PassThrough(_) => Answer::Continue,
    }
}

/// `sendto` with `MSG_FASTOPEN`: connects, then sends what fits. Without waiting: a program has to expect a part.
fn fast_open(call: &Call, caller: &Caller<'_>) -> Answer {
    let Some(address) = read_address(call, 4, 5).filter(|address| is_internet(address)) else {
        return Answer::Continue;
    };
    match caller.program().connect(caller.socket(), &address) {
        Outcome::Done(_) => {
            let len = usize::try_from(call.pointer(2)).unwrap_or(usize::MAX);
            of(call
                .memory
                .read(call.pointer(1), len.min(FIRST_PIECE))
                .ok_or(Errno(libc::EFAULT))
                .and_then(|bytes| caller.send(&bytes))
                .map(|sent| sent as i32))
        }
        Outcome::Fail(errno) => Answer::Error(errno),
        Outcome::PassThrough(_) => {
            caller.let_go();
            Answer::Continue
        }
    }
}
