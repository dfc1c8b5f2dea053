//! The trapped calls: registers in, an answer out.
//!
//! A call on anything but internet sockets is left to the kernel as soon as that is known. The kernel then reads the
//! arguments again, so another thread of the program may show it other ones: the program deceives only itself.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use zt_intercept::{Errno, Fd, Outcome, Program, Reason, SockAddr};
use zt_socket_rpc::linux::{AF_INET, AF_INET6};

use crate::caller::Caller;
use crate::log::Level;
use crate::notify::{Answer, Call};
use crate::supervisor::Supervisor;
use crate::{sys, target};

/// Longest address and option value that are read; the kernel's own limits are about the same.
const LONGEST: i32 = 128;
/// What goes out with a connect at most.
const FIRST_PIECE: usize = 16 << 10;

/// Answers one call.
pub(crate) fn answer(supervisor: &Arc<Supervisor>, call: &Call) -> Answer {
    match call.number {
        libc::SYS_connect => with_address(supervisor, call, "connect", |program, fd, to| {
            program.connect(fd, to)
        }),
        libc::SYS_bind => with_address(supervisor, call, "bind", |program, fd, at| {
            program.bind(fd, at)
        }),
        libc::SYS_listen => with_socket(supervisor, call, |caller| {
            let outcome = caller.program().listen(caller.socket(), call.int(1));
            end(supervisor, call, "listen", outcome, Answer::Value)
        }),
        libc::SYS_accept => with_socket(supervisor, call, |caller| {
            accept(supervisor, call, &caller, 0)
        }),
        libc::SYS_accept4 => with_socket(supervisor, call, |caller| {
            accept(supervisor, call, &caller, call.int(3))
        }),
        libc::SYS_getsockname => with_socket(supervisor, call, |caller| {
            let outcome = caller.program().local_name_of(caller.socket());
            name(supervisor, call, "getsockname", outcome)
        }),
        libc::SYS_getpeername => with_socket(supervisor, call, |caller| {
            let outcome = caller.program().peer_name_of(caller.socket());
            name(supervisor, call, "getpeername", outcome)
        }),
        libc::SYS_getsockopt => with_socket(supervisor, call, |caller| {
            get_option(supervisor, call, &caller)
        }),
        libc::SYS_setsockopt => with_socket(supervisor, call, |caller| {
            set_option(supervisor, call, &caller)
        }),
        libc::SYS_sendto => fast_open(supervisor, call),
        libc::SYS_recvfrom => {
            with_socket(supervisor, call, |caller| refuse_receive(call, &caller, 3))
        }
        libc::SYS_recvmsg => {
            with_socket(supervisor, call, |caller| refuse_receive(call, &caller, 2))
        }
        // The instance is not there yet; where it will be is looked for when it matters.
        _ => {
            if let Some(process) = target::process_of(call.thread) {
                supervisor.instances.made_by(process);
            }
            Answer::Continue
        }
    }
}

/// Takes a copy of the descriptor that a call is about.
fn with_socket(
    supervisor: &Arc<Supervisor>,
    call: &Call,
    operation: impl FnOnce(Caller<'_>) -> Answer,
) -> Answer {
    let number = call.int(0);
    match supervisor.threads.descriptor(call.thread, number) {
        // What was reached by the thread's number is that thread's only if it still waits.
        Ok(_) if !supervisor.listener.is_waiting(call) => Answer::Done,
        // Data calls pass by, and a datagram of the LAN is not what the kernel would make of it.
        Ok(socket) if is_internet_datagram(socket.as_raw_fd()) => Answer::Continue,
        Ok(socket) => operation(Caller::new(supervisor, call, socket, number)),
        // No descriptor, which the kernel says itself; or killed.
        Err(Errno(libc::EBADF | libc::ESRCH)) => Answer::Continue,
        Err(errno) => {
            supervisor.tell_unreachable(call.thread, errno);
            Answer::Continue
        }
    }
}

fn is_internet_datagram(fd: Fd) -> bool {
    let option = |name| {
        let mut value = [0; 4];
        let len = sys::option(fd, libc::SOL_SOCKET, name, &mut value);
        len.is_ok().then(|| i32::from_ne_bytes(value))
    };
    option(libc::SO_TYPE) == Some(libc::SOCK_DGRAM)
        && matches!(
            option(libc::SO_DOMAIN),
            Some(libc::AF_INET | libc::AF_INET6)
        )
}

/// `connect`, `bind`.
fn with_address(
    supervisor: &Arc<Supervisor>,
    call: &Call,
    name: &'static str,
    operation: for<'a> fn(&Program<'a, Caller<'a>>, Fd, &[u8]) -> Outcome,
) -> Answer {
    let Some(address) = read_address(call, 1, 2) else {
        return Answer::Continue;
    };
    with_socket(supervisor, call, |caller| {
        let outcome = operation(&caller.program(), caller.socket(), &address);
        end(supervisor, call, name, outcome, Answer::Value)
    })
}

/// The internet address that two arguments tell of.
fn read_address(call: &Call, at: usize, len: usize) -> Option<Vec<u8>> {
    let len = call.int(len);
    if !(0..=LONGEST).contains(&len) {
        return None;
    }
    let address = target::read(call.thread, call.pointer(at), len.unsigned_abs() as usize)?;
    let family = u16::from_ne_bytes(*address.first_chunk()?);
    matches!(family, AF_INET | AF_INET6).then_some(address)
}

/// `sendto` with `MSG_FASTOPEN`: connects, then sends what fits. Without waiting: a program has to expect a part.
fn fast_open(supervisor: &Arc<Supervisor>, call: &Call) -> Answer {
    let Some(address) = read_address(call, 4, 5) else {
        return Answer::Continue;
    };
    with_socket(supervisor, call, |caller| {
        let outcome = caller.program().connect(caller.socket(), &address);
        end(supervisor, call, "sendto", outcome, |_| {
            let len = usize::try_from(call.pointer(2)).unwrap_or(usize::MAX);
            of(
                target::read(call.thread, call.pointer(1), len.min(FIRST_PIECE))
                    .ok_or(Errno(libc::EFAULT))
                    .and_then(|bytes| sys::send(caller.socket(), &bytes))
                    .map(|sent| sent as i32),
            )
        })
    })
}

fn accept(supervisor: &Arc<Supervisor>, call: &Call, caller: &Caller<'_>, flags: i32) -> Answer {
    let outcome = caller.program().accept(caller.socket(), flags);
    let outcome = match outcome {
        // Its service is away. A dead pair is always ready, but only once to a program that waits for edges, like Go's:
        // it must not wait now but try again.
        Outcome::Fail(Errno(libc::EAGAIN)) if caller.waits_for_an_edge_of_a_dead_pair() => {
            Outcome::Fail(Errno(libc::ECONNABORTED))
        }
        outcome => outcome,
    };
    end(supervisor, call, "accept", outcome, |connection| {
        let answered = put_address(call, &connection.peer).and_then(|()| {
            let close_on_exec = flags & libc::SOCK_CLOEXEC != 0;
            supervisor
                .listener
                .answer_with(call, connection.fd, close_on_exec)
        });
        sys::close(connection.fd);
        match answered {
            Ok(()) | Err(Errno(libc::ENOENT)) => Answer::Done,
            Err(errno) => Answer::Error(errno),
        }
    })
}

fn name(
    supervisor: &Arc<Supervisor>,
    call: &Call,
    what: &'static str,
    outcome: Outcome<SockAddr>,
) -> Answer {
    end(supervisor, call, what, outcome, |address| {
        if call.pointer(1) == 0 || call.pointer(2) == 0 {
            return Answer::Error(Errno(libc::EFAULT));
        }
        of(put_address(call, &address).map(|()| 0))
    })
}

/// Writes an address and its full length to the second and third argument, as the kernel does: cut to the buffer.
fn put_address(call: &Call, address: &SockAddr) -> Result<(), Errno> {
    let (buffer, len_at) = (call.pointer(1), call.pointer(2));
    if buffer == 0 {
        return Ok(());
    }
    let room = target::read_int(call.thread, len_at).ok_or(Errno(libc::EFAULT))?;
    let room = usize::try_from(room).map_err(|_| Errno(libc::EINVAL))?;
    let bytes = address.as_bytes();
    target::write(call.thread, buffer, bytes.get(..room).unwrap_or(bytes))?;
    target::write(call.thread, len_at, &(bytes.len() as u32).to_ne_bytes())
}

fn get_option(supervisor: &Arc<Supervisor>, call: &Call, caller: &Caller<'_>) -> Answer {
    let outcome = caller
        .program()
        .get_option(caller.socket(), call.int(1), call.int(2));
    end(supervisor, call, "getsockopt", outcome, |value| {
        let put = || {
            let room = target::read_int(call.thread, call.pointer(4)).ok_or(Errno(libc::EFAULT))?;
            let room = usize::try_from(room).map_err(|_| Errno(libc::EINVAL))?;
            let bytes = value.cut_to(call.int(1), room);
            target::write(call.thread, call.pointer(3), bytes)?;
            target::write(
                call.thread,
                call.pointer(4),
                &(bytes.len() as u32).to_ne_bytes(),
            )
        };
        of(put().map(|()| 0))
    })
}

fn set_option(supervisor: &Arc<Supervisor>, call: &Call, caller: &Caller<'_>) -> Answer {
    let len = call.int(4);
    if len < 0 {
        return Answer::Continue;
    }
    let len = len.min(LONGEST).unsigned_abs() as usize;
    let value = target::read(call.thread, call.pointer(3), len);
    let outcome =
        caller
            .program()
            .set_option(caller.socket(), call.int(1), call.int(2), value.as_deref());
    end(supervisor, call, "setsockopt", outcome, Answer::Value)
}

fn refuse_receive(call: &Call, caller: &Caller<'_>, flags: usize) -> Answer {
    match caller
        .program()
        .refuses_receive(caller.socket(), call.int(flags))
    {
        Some(errno) => Answer::Error(errno),
        None => Answer::Continue,
    }
}

fn of(result: Result<i32, Errno>) -> Answer {
    match result {
        Ok(value) => Answer::Value(value),
        Err(errno) => Answer::Error(errno),
    }
}

/// Logs an outcome and makes an answer of it.
fn end<T>(
    supervisor: &Arc<Supervisor>,
    call: &Call,
    name: &str,
    outcome: Outcome<T>,
    done: impl FnOnce(T) -> Answer,
) -> Answer {
    let (log, thread, fd) = (&supervisor.log, call.thread, call.int(0));
    match outcome {
        Outcome::Done(value) => {
            log.at(
                Level::Lan,
                format_args!("[{thread}] {name}({fd}) on the LAN"),
            );
            done(value)
        }
        Outcome::Fail(errno) => {
            log.at(
                Level::Lan,
                format_args!("[{thread}] {name}({fd}) failed with errno {}", errno.0),
            );
            Answer::Error(errno)
        }
        Outcome::PassThrough(reason) => {
            let level = if reason == Reason::ServiceAway {
                Level::Lan
            } else {
                Level::All
            };
            log.at(
                level,
                format_args!(
                    "[{thread}] {name}({fd}) left to the kernel: {}",
                    reason.text()
                ),
            );
            Answer::Continue
        }
    }
}
