//! What the supervisor keeps, and its workers.
//!
//! A worker takes the next trapped call from the kernel and answers it. A call that has to wait (an `accept`,
//! a blocking `connect`, a service that starts) keeps its worker; so whoever is about to wait first makes sure that
//! another worker listens ([`Crew`]).

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use libc::c_void;
use zt_intercept::{Errno, Fd, Hints, LanState, NewSockets, Registrations, Settings};
use zt_socket_rpc::table::{TABLE_LEN, TABLE_WORDS, Table};
use zt_socket_rpc::{Kind, Name};

use crate::crew::Crew;
use crate::epoll::Instances;
use crate::later::Later;
use crate::log::Log;
use crate::notify::Listener;
use crate::sockets::{Socket, Sockets};
use crate::sweep::{self, Bell};
use crate::target::Threads;
use crate::{calls, sys, target};

/// One launched program, with all its processes.
pub(crate) struct Supervisor {
    pub(crate) listener: Listener,
    pub(crate) settings: Settings,
    pub(crate) log: Log,
    pub(crate) lan: LanState,
    /// Empty: the supervisor moves registrations itself ([`Instances`]).
    pub(crate) registrations: Box<Registrations>,
    /// For the program's descriptors, whose numbers the supervisor's are not: only written.
    pub(crate) listeners: Box<Hints>,
    pub(crate) datagrams: Box<Hints>,
    pub(crate) new_sockets: NewSockets,
    pub(crate) threads: Threads,
    pub(crate) sockets: Sockets,
    pub(crate) instances: Instances,
    pub(crate) bell: Bell,
    pub(crate) later: Later,
    /// A number of the supervisor's own that stands for the program's descriptor in the operations. They meet it beside
    /// numbers that are the supervisor's, so it must be none of those.
    pub(crate) handle: OwnedFd,
    /// The mapped state table; never unmapped, only mapped over.
    table: AtomicPtr<c_void>,
    mapping: Mutex<()>,
    crew: Crew,
    /// Processes that cannot be helped, once each.
    told: Mutex<Vec<i32>>,
}

impl Supervisor {
    pub(crate) fn new(
        listener: Listener,
        settings: Settings,
        log: Log,
    ) -> Result<Arc<Self>, Errno> {
        Ok(Arc::new(Self {
            listener,
            settings,
            log,
            lan: LanState::new(),
            registrations: Box::default(),
            listeners: Box::default(),
            datagrams: Box::default(),
            new_sockets: NewSockets::new(),
            threads: Threads::default(),
            sockets: Sockets::default(),
            instances: Instances::default(),
            bell: Bell::new()?,
            later: Later::default(),
            handle: sys::event()?,
            table: AtomicPtr::default(),
            mapping: Mutex::default(),
            crew: Crew::default(),
            told: Mutex::default(),
        }))
    }

    /// Starts the first worker, and the sweeper.
    pub(crate) fn start(self: &Arc<Self>) {
        self.start_worker();
        let supervisor = Arc::clone(self);
        let sweeper = thread::Builder::new().stack_size(256 << 10);
        if let Err(error) = sweeper.spawn(move || sweep::run(&supervisor)) {
            self.log
                .always(format_args!("cannot start a thread: {error}"));
        }
    }

    /// Starts another worker.
    fn start_worker(self: &Arc<Self>) {
        let supervisor = Arc::clone(self);
        let worker = thread::Builder::new().stack_size(256 << 10);
        if let Err(error) = worker.spawn(move || supervisor.work()) {
            self.log
                .always(format_args!("cannot start a thread: {error}"));
        }
    }

    /// The calling worker is about to wait, or busy for long: somebody else must listen.
    pub(crate) fn before_waiting(self: &Arc<Self>) {
        if !self.crew.pass_on() {
            self.start_worker();
        }
    }

    /// Answers calls until there are workers enough without this one.
    fn work(self: &Arc<Self>) {
        while self.crew.take_turn() {
            match self.listener.receive() {
                Ok(call) => {
                    if calls::takes_long(&call) && self.listener.has_another() {
                        self.before_waiting();
                    }
                    let answer = calls::answer(self, &call);
                    self.listener.answer(&call, answer);
                }
                Err(Errno(libc::EINTR)) => {}
                // The caller was killed, or all are gone.
                Err(Errno(libc::ENOENT)) => {
                    if self.has_ended() {
                        break;
                    }
                }
                Err(Errno(errno)) => {
                    self.log
                        .always(format_args!("cannot receive calls: errno {errno}"));
                    break;
                }
            }
        }
        self.crew.pass_on();
    }

    /// Whether no process of the program is left.
    pub(crate) fn has_ended(&self) -> bool {
        sys::poll(self.listener.as_raw_fd(), 0, 0).is_ok_and(|events| events & libc::POLLHUP != 0)
    }

    /// A process whose descriptors cannot be reached keeps the kernel's network; it is told.
    pub(crate) fn tell_unreachable(&self, thread: i32, errno: Errno) {
        let process = target::process_of(thread).unwrap_or(thread);
        // What cannot be recognised any more must not be kept open, either.
        self.sockets.forget_undecided(process);
        let mut told = self
            .told
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.contains(&process) {
            return;
        }
        told.push(process);
        let why = match errno {
            Errno(libc::EPERM | libc::EACCES) => {
                "it has changed its user or protected itself; a dynamically linked program can do that under \
                 libztintercept.so"
            }
            _ => "its descriptors cannot be reached",
        };
        self.log.always(format_args!(
            "process {process} ({}) cannot be put on the LAN: {why} (errno {})",
            target::name_of(thread),
            errno.0
        ));
    }

    /// Looks at a descriptor of the supervisor's own that the program is to get: its inode, and what is to be known of
    /// it. The descriptor stays the caller's.
    pub(crate) fn own_socket(&self, fd: Fd) -> Result<(u64, Arc<Socket>), Errno> {
        let mut address = [0; 2 + Name::LEN];
        let len = sys::peer_name(fd, &mut address)?;
        let name = address
            .get(2..len)
            .and_then(Name::from_path)
            .ok_or(Errno(libc::ENOTSOCK))?;
        let socket = match name.kind {
            Kind::Stream => {
                let mut marks = [0; 4];
                sys::option(fd, libc::SOL_SOCKET, libc::SO_PRIORITY, &mut marks)?;
                Socket::connection(name, marks[0])
            }
            _ => Socket::kept(name, sys::duplicate(fd)?),
        };
        Ok((sys::inode(fd)?, Arc::new(socket)))
    }

    /// The same for a socket of the kernel that is undecided again.
    pub(crate) fn native_socket(&self, fd: Fd) -> Result<(u64, Arc<Socket>), Errno> {
        let socket = Socket::native(sys::duplicate(fd)?);
        Ok((sys::inode(fd)?, Arc::new(socket)))
    }

    /// Knows a socket from now on.
    pub(crate) fn know(&self, inode: u64, socket: &Arc<Socket>) {
        self.sockets.add(inode, Arc::clone(socket), self.table());
        if socket.copy.is_some() {
            self.bell.note();
        }
    }

    pub(crate) fn table(&self) -> Option<Table<'_>> {
        let memory = self
            .table
            .load(Ordering::Acquire)
            .cast::<[AtomicU64; TABLE_WORDS]>();
        // SAFETY: null, or a readable mapping of this length that is never taken away (a sealed file cannot shrink);
        // other processes change it through atomics only.
        let words = unsafe { memory.as_ref() }?;
        Table::open(words).ok()
    }

    pub(crate) fn map_table(&self, fd: Fd) -> Result<(), Errno> {
        if !sys::is_sealed(fd, TABLE_LEN) {
            return Err(Errno(libc::EINVAL));
        }
        let _one = self
            .mapping
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let present = self.table.load(Ordering::Acquire);
        // SAFETY: null, or the mapping of the old table, which readers reach through atomics and sequence numbers and
        // which therefore may change under them.
        let memory = unsafe { sys::map(fd, TABLE_LEN, present) }?;
        self.table.store(memory, Ordering::Release);
        Ok(())
    }
}
