//! `getsockopt`, `setsockopt`.

use std::sync::Arc;

use zt_intercept::{Errno, OptionAnswer};
use zt_socket_rpc::{OptionValue, Options, SetOption, State};

use super::{LONGEST, end, of};
use crate::caller::Caller;
use crate::later;
use crate::notify::{Answer, Call};
use crate::supervisor::Supervisor;

/// `getsockopt`.
pub(super) fn get(supervisor: &Arc<Supervisor>, call: &Call, caller: &Caller<'_>) -> Answer {
    let (level, option) = (call.int(1), call.int(2));
    if (level, option) == (libc::SOL_SOCKET, libc::SO_ERROR)
        && let Some(errno) = caller.take_error()
    {
        let error = OptionAnswer::int(errno.0);
        let put = put_option(call, &error);
        return of(put.map(|()| 0));
    }
    if later::may_wait(level, option)
        && let Some(name) = caller.current().name
    {
        supervisor.later.tell_of(supervisor, name.id);
    }
    let outcome = caller.program().get_option(caller.socket(), level, option);
    end(supervisor, call, "getsockopt", outcome, |value| {
        of(put_option(call, &value).map(|()| 0))
    })
}

fn put_option(call: &Call, answer: &OptionAnswer) -> Result<(), Errno> {
    let room = call
        .memory
        .read_int(call.pointer(4))
        .ok_or(Errno(libc::EFAULT))?;
    let room = usize::try_from(room).map_err(|_| Errno(libc::EINVAL))?;
    let bytes = answer.cut_to(call.int(1), room);
    let len = (bytes.len() as u32).to_ne_bytes();
    call.memory
        .write_both((call.pointer(3), bytes), (call.pointer(4), &len))
}

/// `setsockopt`.
pub(super) fn set(supervisor: &Arc<Supervisor>, call: &Call, caller: &Caller<'_>) -> Answer {
    let len = call.int(4);
    if len < 0 {
        return Answer::Continue;
    }
    let len = len.min(LONGEST).unsigned_abs() as usize;
    let value = call.memory.read(call.pointer(3), len);
    if let Some(value) = &value
        && set_later(supervisor, call, caller, value)
    {
        return Answer::Value(0);
    }
    let outcome =
        caller
            .program()
            .set_option(caller.socket(), call.int(1), call.int(2), value.as_deref());
    end(supervisor, call, "setsockopt", outcome, Answer::Value)
}

/// Keeps an option of a connection for later, if it may wait and is right.
fn set_later(supervisor: &Supervisor, call: &Call, caller: &Caller<'_>, value: &[u8]) -> bool {
    let (level, option) = (call.int(1), call.int(2));
    let Some(name) = caller.connection() else {
        return false;
    };
    if !later::may_wait(level, option)
        || Options::default().set(level, option, value).is_err()
        || caller
            .entry_of(name.id)
            .is_none_or(|entry| entry.state != State::Connected)
    {
        return false;
    }
    let is_first = supervisor.later.keep(SetOption {
        id: name.id,
        level,
        name: option,
        value: OptionValue::new(value),
    });
    if is_first {
        supervisor.bell.ring();
    }
    true
}
