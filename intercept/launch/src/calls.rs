//! The trapped calls: registers in, an answer out.
//!
//! A call on anything but the sockets that the supervisor knows is left to the kernel as soon as that is known. The kernel then reads the
//! arguments again, so another thread of the program may show it other ones: the program deceives only itself.

mod datagrams;
mod options;

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::Arc;

use zt_intercept::{Errno, Outcome, Reason, SockAddr};
use zt_socket_rpc::linux::{AF_INET, AF_INET6};

use crate::caller::Caller;
use crate::log::Level;
use crate::notify::{Answer, Call};
use crate::sockets::Socket;
use crate::supervisor::Supervisor;
use crate::{sweep, sys, target};

/// Longest address and option value that are read; the kernel's own limits are about the same.
const LONGEST: i32 = 128;

/// Whether an answer takes longer than it does to have another worker listen.
pub(crate) fn takes_long(call: &Call) -> bool {
    matches!(
        call.number,
        libc::SYS_connect | libc::SYS_bind | libc::SYS_listen
    )
}

/// Answers one call.
pub(crate) fn answer(supervisor: &Arc<Supervisor>, call: &Call) -> Answer {
    match call.number {
        libc::SYS_socket => make_socket(supervisor, call),
        libc::SYS_connect => connect(supervisor, call),
        libc::SYS_bind => with_address(supervisor, call, |caller, address| {
            // A port that the program has given up must be free.
            sweep::sweep(supervisor);
            let outcome = caller.program().bind(caller.socket(), address);
            if matches!(outcome, Outcome::PassThrough(_)) && caller.is_datagram() {
                caller.let_go();
            }
            end(supervisor, call, "bind", outcome, Answer::Value)
        }),
        libc::SYS_listen => with_socket(supervisor, call, |caller| {
            let outcome = caller.program().listen(caller.socket(), call.int(1));
            decided(supervisor, call, "listen", &caller, outcome)
        }),
        libc::SYS_accept => with_own(supervisor, call, |caller| {
            accept(supervisor, call, &caller, 0)
        }),
        libc::SYS_accept4 => with_own(supervisor, call, |caller| {
            accept(supervisor, call, &caller, call.int(3))
        }),
        libc::SYS_getsockname => with_own(supervisor, call, |caller| {
            let outcome = caller.program().local_name_of(caller.socket());
            name(supervisor, call, "getsockname", outcome)
        }),
        libc::SYS_getpeername => with_own(supervisor, call, |caller| {
            let outcome = caller.program().peer_name_of(caller.socket());
            name(supervisor, call, "getpeername", outcome)
        }),
        libc::SYS_getsockopt => with_own(supervisor, call, |caller| {
            options::get(supervisor, call, &caller)
        }),
        libc::SYS_setsockopt => with_socket(supervisor, call, |caller| {
            caller.current().take_untouched();
            if caller.is_undecided() {
                return Answer::Continue;
            }
            options::set(supervisor, call, &caller)
        }),
        libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendmmsg => {
            with_socket(supervisor, call, |caller| datagrams::send(call, &caller))
        }
        libc::SYS_recvfrom | libc::SYS_recvmsg | libc::SYS_recvmmsg => {
            with_own(supervisor, call, |caller| datagrams::receive(call, &caller))
        }
        libc::SYS_epoll_create1 => make_instance(supervisor, call, call.int(0)),
        // `epoll_create`, whose size means nothing but must not be zero.
        _ if call.int(0) > 0 => make_instance(supervisor, call, 0),
        _ => Answer::Continue,
    }
}

/// `IPPROTO_MPTCP`.
const MULTIPATH: i32 = 262;

/// Makes an internet socket for the program: what the supervisor has made, it knows again.
fn make_socket(supervisor: &Arc<Supervisor>, call: &Call) -> Answer {
    let (domain, kind, protocol) = (call.int(0), call.int(1), call.int(2));
    match protocol {
        0 | libc::IPPROTO_TCP | libc::IPPROTO_UDP => {}
        // Programs have to do without where the kernel does.
        MULTIPATH => return Answer::Error(Errno(libc::EPROTONOSUPPORT)),
        _ => return Answer::Continue,
    }
    let thread = match supervisor.threads.get(call.thread) {
        Ok(thread) => thread,
        Err(errno) => return unreachable(supervisor, call, errno),
    };
    let made = match sys::socket(domain, kind, protocol) {
        Err(Errno(libc::EMFILE | libc::ENFILE)) => {
            sweep::sweep(supervisor);
            sys::socket(domain, kind, protocol)
        }
        made => made,
    };
    let put = made.and_then(|fd| {
        // SAFETY: it has just been made.
        let socket = Arc::new(Socket::untouched(unsafe { OwnedFd::from_raw_fd(fd) }));
        let inode = sys::inode(fd)?;
        supervisor.know(inode, &socket);
        let close_on_exec = kind & libc::SOCK_CLOEXEC != 0;
        match supervisor.listener.answer_with(call, fd, close_on_exec) {
            Ok(number) => {
                socket.is_at(thread.process, number);
                Ok(())
            }
            Err(errno) => {
                supervisor.sockets.forget(inode);
                Err(errno)
            }
        }
    });
    given(put)
}

/// Makes an epoll instance for the program: a socket that is registered in it may be swapped later.
fn make_instance(supervisor: &Arc<Supervisor>, call: &Call, flags: i32) -> Answer {
    if flags & !libc::EPOLL_CLOEXEC != 0 {
        return Answer::Continue;
    }
    let thread = match supervisor.threads.get(call.thread) {
        Ok(thread) => thread,
        Err(errno) => return unreachable(supervisor, call, errno),
    };
    given(sys::epoll_instance().and_then(|instance| {
        let close_on_exec = flags & libc::EPOLL_CLOEXEC != 0;
        let fd = instance.as_raw_fd();
        // Before the program has it: its next call may come while this worker still waits for a processor.
        let kept = supervisor.instances.add(thread.process, instance);
        let put = supervisor.listener.answer_with(call, fd, close_on_exec);
        if put.is_err() {
            supervisor.instances.forget(&kept);
        }
        put.map(drop)
    }))
}

/// The end of a call that was answered with a descriptor.
fn given(put: Result<(), Errno>) -> Answer {
    match put {
        // Or its thread has been killed.
        Ok(()) | Err(Errno(libc::ENOENT)) => Answer::Done,
        Err(errno) => Answer::Error(errno),
    }
}

/// Finds the socket that a call is about. All others are the kernel's.
fn with_socket(
    supervisor: &Arc<Supervisor>,
    call: &Call,
    operation: impl FnOnce(Caller<'_>) -> Answer,
) -> Answer {
    let (thread, inode) = match supervisor.threads.socket(call.thread, call.int(0)) {
        Ok((thread, Some(inode))) => (thread, inode),
        Ok((_, None)) => return Answer::Continue,
        Err(errno) => return unreachable(supervisor, call, errno),
    };
    match supervisor.sockets.get(inode) {
        None => Answer::Continue,
        // What was reached by the thread's number is that thread's only if it still waits.
        Some(_) if !supervisor.listener.is_waiting(call) => Answer::Done,
        Some(socket) => operation(Caller::new(supervisor, call, thread, (inode, socket))),
    }
}

/// The same, for calls that are the kernel's own on an undecided socket.
fn with_own(
    supervisor: &Arc<Supervisor>,
    call: &Call,
    operation: impl FnOnce(Caller<'_>) -> Answer,
) -> Answer {
    with_socket(supervisor, call, |caller| {
        if caller.is_undecided() {
            Answer::Continue
        } else {
            operation(caller)
        }
    })
}

/// A thread that must not be looked at keeps the kernel's network, and is told.
fn unreachable(supervisor: &Supervisor, call: &Call, errno: Errno) -> Answer {
    // Killed, rather.
    let has_ended =
        matches!(errno, Errno(libc::ENOENT | libc::ESRCH)) || !target::is_there(call.thread);
    if !has_ended {
        supervisor.tell_unreachable(call.thread, errno);
    }
    Answer::Continue
}

fn connect(supervisor: &Arc<Supervisor>, call: &Call) -> Answer {
    let Some(address) = read_address(call, 1, 2) else {
        return Answer::Continue;
    };
    with_socket(supervisor, call, |caller| {
        let connection = caller.connection();
        if caller.current().relay.is_some() {
            caller.program().adopt(caller.socket());
        } else if !is_internet(&address) {
            // Only of a connection: it may be dissolved, and its options are kept.
            let Some(name) = connection else {
                return Answer::Continue;
            };
            supervisor.later.tell_of(supervisor, name.id);
        }
        let outcome = caller.program().connect(caller.socket(), &address);
        if matches!(outcome, Outcome::Done(_)) {
            caller.follow_peer();
        }
        if connection.is_some() && caller.is_undecided() {
            // Dissolved: everything may become of it again.
            return end(supervisor, call, "connect", outcome, Answer::Value);
        }
        decided(supervisor, call, "connect", &caller, outcome)
    })
}

/// `bind`.
fn with_address(
    supervisor: &Arc<Supervisor>,
    call: &Call,
    operation: impl FnOnce(Caller<'_>, &[u8]) -> Answer,
) -> Answer {
    match read_address(call, 1, 2) {
        Some(address) if is_internet(&address) => {
            with_socket(supervisor, call, |caller| operation(caller, &address))
        }
        // Some of the others mean something to the kernel.
        _ => with_socket(supervisor, call, |caller| {
            caller.current().take_untouched();
            Answer::Continue
        }),
    }
}

/// The end of a call that decides about a socket: unless it failed, what is not on the LAN now is the kernel's. A socket
/// that the kernel is going to refuse an address of another kind stays undecided.
fn decided(
    supervisor: &Arc<Supervisor>,
    call: &Call,
    name: &'static str,
    caller: &Caller<'_>,
    outcome: Outcome,
) -> Answer {
    if !matches!(
        outcome,
        Outcome::Fail(_) | Outcome::PassThrough(Reason::NotInternet)
    ) {
        caller.let_go();
    }
    end(supervisor, call, name, outcome, Answer::Value)
}

/// The address that two arguments tell of.
fn read_address(call: &Call, at: usize, len: usize) -> Option<Vec<u8>> {
    let len = call.int(len);
    if !(0..=LONGEST).contains(&len) {
        return None;
    }
    call.memory
        .read(call.pointer(at), len.unsigned_abs() as usize)
}

fn is_internet(address: &[u8]) -> bool {
    let family = address
        .first_chunk()
        .map(|family| u16::from_ne_bytes(*family));
    matches!(family, Some(AF_INET | AF_INET6))
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
        // A connection of the container's own network is not one of ours.
        let known = supervisor.own_socket(connection.fd).ok();
        if let Some((inode, socket)) = &known {
            supervisor.know(*inode, socket);
        }
        let put = put_address(call, &connection.peer, (1, 2)).and_then(|()| {
            let close_on_exec = flags & libc::SOCK_CLOEXEC != 0;
            supervisor
                .listener
                .answer_with(call, connection.fd, close_on_exec)
        });
        sys::close(connection.fd);
        if let (Err(_), Some((inode, _))) = (put, known) {
            supervisor.sockets.forget(inode);
        }
        given(put.map(drop))
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
        of(put_address(call, &address, (1, 2)).map(|()| 0))
    })
}

/// Writes an address and its full length to two arguments, as the kernel does: cut to the buffer.
fn put_address(
    call: &Call,
    address: &SockAddr,
    (buffer, len_at): (usize, usize),
) -> Result<(), Errno> {
    let (buffer, len_at) = (call.pointer(buffer), call.pointer(len_at));
    if buffer == 0 {
        return Ok(());
    }
    let room = call.memory.read_int(len_at).ok_or(Errno(libc::EFAULT))?;
    let room = usize::try_from(room).map_err(|_| Errno(libc::EINVAL))?;
    let bytes = address.as_bytes();
    let cut = bytes.get(..room).unwrap_or(bytes);
    call.memory
        .write_both((buffer, cut), (len_at, &(bytes.len() as u32).to_ne_bytes()))
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
