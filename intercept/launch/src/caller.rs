//! The core's system calls, made for a thread that waits in a trapped call.
//!
//! The operations work on one number, [`Supervisor::handle`], which stands for the program's descriptor. Behind it is
//! the supervisor's copy of the socket: the same open file, so options, names, flags and queues are the program's. Of a
//! connection there is no copy ([`crate::sockets`]); what the operations ask of it is known without. Only four things
//! belong to the program's number and not to the file, and are done over there: the swap itself, close-on-exec, epoll
//! registrations, and the limit of descriptors.

mod kernel;

pub(crate) use kernel::connect_to;

use std::cell::RefCell;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use zt_intercept::{Errno, Fd, Kernel as _, Program};
use zt_socket_rpc::linux::{SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD, SOL_SOCKET};
use zt_socket_rpc::table::{Entry, State};
use zt_socket_rpc::{Id, Kind, Name};

use crate::notify::Call;
use crate::relay::{self, Relay};
use crate::sockets::Socket;
use crate::supervisor::Supervisor;
use crate::target::Thread;
use crate::{sys, target};

/// What the kernel takes for "run the signal's handler, then make the call again or fail with `EINTR`, as the handler
/// was installed". No program ever sees it.
const ERESTARTSYS: Errno = Errno(512);
/// How often a waiting call is looked at: has its thread been killed or signalled?
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(32);

/// A thread in a trapped call on one descriptor.
pub(crate) struct Caller<'a> {
    supervisor: &'a Arc<Supervisor>,
    call: &'a Call,
    thread: Arc<Thread>,
    /// The program's number.
    number: Fd,
    place: RefCell<Place>,
}

/// What is at the program's number.
struct Place {
    inode: u64,
    socket: Arc<Socket>,
    /// The new half of a connection, for the rest of the call that has put it there.
    fresh: Option<OwnedFd>,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(
        supervisor: &'a Arc<Supervisor>,
        call: &'a Call,
        thread: Arc<Thread>,
        (inode, socket): (u64, Arc<Socket>),
    ) -> Self {
        let number = call.int(0);
        socket.is_at(thread.process, number);
        let place = RefCell::new(Place {
            inode,
            socket,
            fresh: None,
        });
        Self {
            supervisor,
            call,
            thread,
            number,
            place,
        }
    }

    /// The number that stands for the program's descriptor.
    pub(crate) fn socket(&self) -> Fd {
        self.supervisor.handle.as_raw_fd()
    }

    /// Whether it is a socket of the kernel's as yet.
    pub(crate) fn is_undecided(&self) -> bool {
        self.place.borrow().socket.name.is_none()
    }

    /// The name of a connection.
    pub(crate) fn connection(&self) -> Option<Name> {
        let name = self.place.borrow().socket.name;
        name.filter(|name| name.kind == Kind::Stream)
    }

    /// Sends what fits.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        sys::send(self.open(self.socket())?, bytes)
    }

    /// The kernel's own from now on: its end is the program's `close`.
    pub(crate) fn let_go(&self) {
        let place = self.place.borrow();
        if place.socket.name.is_none() {
            self.supervisor.sockets.forget(place.inode);
        }
    }

    /// What a number of the operations stands for here; none for a connection.
    fn real(&self, fd: Fd) -> Option<Fd> {
        if fd != self.socket() {
            return Some(fd);
        }
        let place = self.place.borrow();
        match &place.fresh {
            Some(fresh) => Some(fresh.as_raw_fd()),
            None => place.socket.fd(),
        }
    }

    /// The same, for what cannot be done without.
    fn open(&self, fd: Fd) -> Result<Fd, Errno> {
        self.real(fd).ok_or(Errno(libc::EBADF))
    }

    /// The program's socket, if a number stands for it.
    fn known(&self, fd: Fd) -> Option<Arc<Socket>> {
        (fd == self.socket()).then(|| Arc::clone(&self.place.borrow().socket))
    }

    /// The operations.
    pub(crate) fn program(&self) -> Program<'_, Self> {
        Program {
            kernel: self,
            settings: &self.supervisor.settings,
            lan: &self.supervisor.lan,
            registrations: &self.supervisor.registrations,
            listeners: &self.supervisor.listeners,
            datagrams: &self.supervisor.datagrams,
            new_sockets: &self.supervisor.new_sockets,
        }
    }

    /// What the pair of a connection would say: its service has let it fail. A later error waits for the calls that carry
    /// data.
    fn pending_error(&self, socket: &Socket) -> i32 {
        let has_failed = self
            .entry(socket)
            .is_some_and(|entry| entry.state == State::Failed);
        if has_failed && !socket.is_told.swap(true, Ordering::Relaxed) {
            libc::ECONNRESET
        } else {
            0
        }
    }

    fn entry(&self, socket: &Socket) -> Option<Entry> {
        self.entry_of(socket.name?.id)
    }

    /// What the service's table says.
    pub(crate) fn entry_of(&self, id: Id) -> Option<Entry> {
        self.supervisor.table()?.entry(id.tag())
    }

    /// Waits for events as a blocking call of the program does; zero after the time-out.
    fn wait_as_program(&self, fd: Fd, events: i16, limit: Option<Duration>) -> Result<i16, Errno> {
        let end = limit.map(|limit| Instant::now() + limit);
        let ready = sys::poll(fd, events, 0)?;
        if ready != 0 || limit == Some(Duration::ZERO) {
            return Ok(ready);
        }
        self.supervisor.before_waiting();
        let mut look = FIRST_LOOK;
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let pause = left.map_or(look, |left| look.min(left.max(FIRST_LOOK)));
            let ready = sys::poll(fd, events, pause.as_millis() as i32)?;
            if ready != 0 || left == Some(Duration::ZERO) {
                return Ok(ready);
            }
            self.interrupted(limit.is_some())?;
            look = (look * 2).min(LAST_LOOK);
        }
    }

    /// Fails when the thread is wanted elsewhere.
    fn interrupted(&self, is_limited: bool) -> Result<(), Errno> {
        if !self.supervisor.listener.is_waiting(self.call) {
            return Err(Errno(libc::EINTR));
        }
        if target::is_signalled(self.call.thread) {
            // As Linux has it: a call with a time-out is never made again.
            return Err(if is_limited {
                Errno(libc::EINTR)
            } else {
                ERESTARTSYS
            });
        }
        Ok(())
    }

    /// As [`Self::wait_as_program`], on a connection of which there is no copy: until it is made, or has failed.
    fn wait_for_the_end_of_an_attempt(&self, socket: &Socket) -> Result<i16, Errno> {
        let mut look = FIRST_LOOK;
        loop {
            let entry = self.entry(socket);
            if entry.is_none_or(|entry| entry.state != State::Connecting) {
                return Ok(libc::POLLOUT);
            }
            self.interrupted(false)?;
            self.supervisor.before_waiting();
            std::thread::sleep(look);
            look = (look * 2).min(LAST_LOOK);
        }
    }

    /// Whether the other half is gone and the program's epoll instance will not say so again.
    pub(crate) fn waits_for_an_edge_of_a_dead_pair(&self) -> bool {
        let dead = |events| events & libc::POLLHUP != 0;
        self.real(self.socket())
            .is_some_and(|fd| sys::poll(fd, 0, 0).is_ok_and(dead))
            && self
                .supervisor
                .instances
                .registrations(self.thread.process, self.place.borrow().inode)
                .iter()
                .any(|(_, _, event)| event.events & libc::EPOLLET.cast_unsigned() != 0)
    }

    /// Puts `from` at the program's number, known as `socket` before the program can ask about it.
    fn put_in_place(
        &self,
        (inode, socket): (u64, &Arc<Socket>),
        from: Fd,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        socket.is_at(self.thread.process, self.number);
        self.supervisor.know(inode, socket);
        let put = self.replace_over_there(from, close_on_exec);
        if put.is_err() {
            self.supervisor.sockets.forget(inode);
        }
        put
    }

    /// Puts a half without an error at the program's number. The failure of the connection has been told; the half that
    /// failed would tell it again, to a call that carries data.
    fn tell_no_more(&self, failed: &Socket) -> Result<(), Errno> {
        let Some(name) = failed.name else {
            return Ok(());
        };
        let flags = self.thread.flags_of(self.number)?;
        let (ours, theirs) = sys::socket_pair(libc::SOCK_STREAM | flags & libc::SOCK_NONBLOCK)?;
        // Reads as an end of file and writes as `EPIPE` from now on.
        sys::close(theirs);
        let ours = sys::owned(ours)?;
        let socket = Arc::new(Socket::connection(name, failed.marks()));
        socket.is_told.store(true, Ordering::Relaxed);
        let inode = sys::inode(ours.as_raw_fd())?;
        let close_on_exec = flags & libc::O_CLOEXEC != 0;
        self.put_in_place((inode, &socket), ours.as_raw_fd(), close_on_exec)?;
        // The other one stays known, for its copies.
        self.place.replace(Place {
            inode,
            socket,
            fresh: None,
        });
        Ok(())
    }

    /// Puts `from` at the program's number.
    fn replace_over_there(&self, from: Fd, close_on_exec: bool) -> Result<(), Errno> {
        let before = self.place.borrow();
        let found = self
            .supervisor
            .instances
            .registrations(self.thread.process, before.inode);
        self.supervisor
            .listener
            .put(self.call, from, self.number, close_on_exec)?;
        let old = before.fresh.as_ref().map(|fresh| fresh.as_raw_fd());
        let old = old.or_else(|| before.socket.fd());
        for (instance, number, event) in &found {
            instance.move_registration(old, from, *number, *event);
        }
        Ok(())
    }

    /// Puts a datagram socket at the program's number, with a relay to the service's `channel`; or gives the one that is
    /// there another relay, to another service.
    fn replace_by_relay(&self, name: Name, channel: Fd, close_on_exec: bool) -> Result<(), Errno> {
        let present = {
            let place = self.place.borrow();
            let is_relayed = place.socket.relay.is_some();
            let copy = place.socket.copy.as_ref().filter(|_| is_relayed);
            copy.map(|outlet| sys::duplicate(outlet.as_raw_fd()))
                .transpose()?
        };
        let is_new = present.is_none();
        let outlet = match present {
            Some(outlet) => outlet,
            None => {
                let outlet = relay::outlet(self.is_nonblocking(channel)?)?;
                for option in [SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD] {
                    let mut time = [0; 16];
                    sys::option(channel, SOL_SOCKET, option, &mut time)?;
                    sys::set_option(outlet.as_raw_fd(), SOL_SOCKET, option, &time)?;
                }
                outlet
            }
        };
        let inode = sys::inode(outlet.as_raw_fd())?;
        let relay = Relay::start(self.supervisor, sys::duplicate(channel)?, name.id, &outlet)?;
        let socket = Arc::new(Socket::datagram(name, outlet, relay));
        match socket.copy.as_ref().filter(|_| is_new) {
            Some(outlet) => {
                self.put_in_place((inode, &socket), outlet.as_raw_fd(), close_on_exec)?;
            }
            None => {
                socket.is_at(self.thread.process, self.number);
                self.supervisor.know(inode, &socket);
            }
        }
        sys::close(channel);
        let before = self.place.replace(Place {
            inode,
            socket,
            fresh: None,
        });
        if is_new {
            self.supervisor.sockets.forget(before.inode);
        }
        self.follow_peer();
        Ok(())
    }

    /// Connects the program's end of a datagram socket if the service says that it has a peer, or frees it.
    pub(crate) fn follow_peer(&self) {
        let socket = self.current();
        if let Some(relay) = &socket.relay {
            let peer = self.entry(&socket).and_then(|entry| entry.remote);
            // Without it, a plain write fails.
            let _ = relay.connect(peer.is_some());
        }
    }

    /// What is at the program's number now.
    pub(crate) fn current(&self) -> Arc<Socket> {
        Arc::clone(&self.place.borrow().socket)
    }

    /// An error that waits on a datagram socket.
    pub(crate) fn take_error(&self) -> Option<Errno> {
        let socket = self.current();
        socket.relay.as_ref()?.take_error()
    }

    /// Whether it is a datagram socket, of ours or undecided.
    pub(crate) fn is_datagram(&self) -> bool {
        let socket = self.current();
        let mut kind = [0; 4];
        socket.relay.is_some()
            || (socket.name.is_none()
                && socket.fd().is_some_and(|fd| {
                    sys::option(fd, SOL_SOCKET, libc::SO_TYPE, &mut kind).is_ok()
                        && i32::from_ne_bytes(kind) == libc::SOCK_DGRAM
                }))
    }

    /// The program's end of what a number stands for: another file than [`Self::real`] for a datagram socket.
    fn end(&self, fd: Fd) -> Option<Fd> {
        match self.known(fd) {
            Some(socket) if socket.relay.is_some() => {
                socket.copy.as_ref().map(|copy| copy.as_raw_fd())
            }
            _ => self.real(fd),
        }
    }

    /// Waits until a descriptor of the supervisor's is ready, as a blocking call of the program on its datagram socket.
    pub(crate) fn wait_for_datagrams(
        &self,
        fd: Fd,
        events: i16,
        flags: i32,
        limit: i32,
    ) -> Result<(), Errno> {
        let own = self.socket();
        if flags & libc::MSG_DONTWAIT != 0 || self.is_nonblocking(own)? {
            return Err(Errno(libc::EAGAIN));
        }
        let limit = self.end(own).and_then(|end| kernel::limit_of(end, limit));
        match self.wait_as_program(fd, events, limit)? {
            0 => Err(Errno(libc::EAGAIN)),
            _ => Ok(()),
        }
    }
}
