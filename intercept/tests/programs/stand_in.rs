//! A stand-in for the service: the broker's side of socket-rpc over a LAN that exists only in memory.
//!
//! It does what the contract says and no more: one thread takes requests in order, one thread a listener, two threads a
//! connection. Addresses with a meaning of their own:
//! - [`ABSENT`] never answers; after [`ABSENT_DELAY`] the attempt fails with `EHOSTUNREACH`;
//! - [`SLOW`] takes [`SLOW_DELAY`] to accept, and then echoes.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use zt_socket_rpc::table::{Interface, StateTable};
use zt_socket_rpc::{
    Accepted, Bind, Connect, Entry, Family, Id, Kind, Listen, MAX_MESSAGE, Name, Options, Origin,
    Prefix, Reply, Request, State,
};

use crate::unix;

/// The service's own addresses.
pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const ABSENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);
pub(crate) const SLOW: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 98);
const ABSENT_DELAY: Duration = Duration::from_millis(300);
const SLOW_DELAY: Duration = Duration::from_millis(300);

/// A running stand-in; it stops when it is dropped.
pub(crate) struct StandIn {
    path: PathBuf,
    service: Arc<Service>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Service {
    table: Mutex<StateTable>,
    sockets: Mutex<HashMap<Id, Arc<Socket>>>,
    ends: Mutex<Vec<Weak<End>>>,
    next_port: AtomicU16,
    stop: AtomicBool,
    /// Set when nobody is served any more: only then listeners may end, as with a process that is killed.
    gone: AtomicBool,
}

/// A bound or listening socket of a program.
struct Socket {
    id: Id,
    half: OwnedFd,
    kernel_listener: Option<OwnedFd>,
    local: SocketAddr,
    family: Family,
    options: Options,
    listening: AtomicBool,
    queue: Mutex<VecDeque<(Accepted, OwnedFd)>>,
}

/// The service's side of one end of a connection.
struct End {
    id: Id,
    half: OwnedFd,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StandIn {
    /// Starts at `nc_test` in this directory.
    pub(crate) fn start(directory: &Path) -> io::Result<Self> {
        static INSTANCE: AtomicU64 = AtomicU64::new(1);
        let path = directory.join("nc_test");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let instance = NonZeroU64::new(INSTANCE.fetch_add(1, Ordering::Relaxed)).unwrap();
        let mut table = StateTable::create(instance)?;
        let lan = [
            Prefix {
                address: OWN.into(),
                length: 24,
            },
            Prefix {
                address: OWN_V6.into(),
                length: 64,
            },
        ];
        table.set_lan(&lan, &lan, &[]);
        table.set_interface(&Interface {
            name: *b"zttest\0\0\0\0\0\0\0\0\0\0",
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 2800,
            domain: None,
        });
        let service = Arc::new(Service {
            table: Mutex::new(table),
            sockets: Mutex::default(),
            ends: Mutex::default(),
            next_port: AtomicU16::new(40_000),
            stop: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        });
        let control = unix::listen_at(&path)?;
        let thread = thread::spawn({
            let service = Arc::clone(&service);
            move || {
                while !service.stop.load(Ordering::Acquire) {
                    let mut ready = [(control.as_raw_fd(), libc::POLLIN, 0)];
                    if matches!(unix::poll(&mut ready, 20), Ok(1)) {
                        // A program that sends nonsense is disconnected, no more.
                        let _ = service.serve(&control);
                    }
                }
            }
        });
        Ok(Self {
            path,
            service,
            thread: Some(thread),
        })
    }

    /// The value of `ZT_NC_NETWORK`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends as if killed: the control socket stays behind as a file, every pair is closed.
    pub(crate) fn kill(mut self) {
        self.stop();
    }

    /// Bound and listening sockets that the service holds now.
    pub(crate) fn sockets(&self) -> usize {
        lock(&self.service.sockets).len()
    }
}

impl StandIn {
    fn stop(&mut self) {
        self.service.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.service.gone.store(true, Ordering::Release);
        lock(&self.service.sockets).clear();
        for end in lock(&self.service.ends)
            .drain(..)
            .filter_map(|end| end.upgrade())
        {
            unix::shutdown(&end.half, libc::SHUT_RDWR);
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Service {
    fn serve(self: &Arc<Self>, control: &OwnedFd) -> io::Result<()> {
        let channel = unix::accept(control, 0)?;
        let mut ready = [(channel.as_raw_fd(), libc::POLLIN, 0)];
        unix::poll(&mut ready, 1000)?;
        let mut message = [0; MAX_MESSAGE + 1];
        let (len, mut descriptors) = unix::receive(&channel, &mut message)?;
        let request = Request::parse(&message[..len]).map_err(io::Error::other)?;
        match request {
            Request::Hello => {
                let table = lock(&self.table);
                let instance = table.reader().instance();
                send_reply(
                    &channel,
                    &Reply::Hello { instance },
                    &[table.file().as_raw_fd()],
                )?;
            }
            Request::Connect(connect) if matches!(descriptors.len(), 1 | 2) => {
                let end = Arc::new(End {
                    id: connect.id,
                    half: descriptors.remove(0),
                });
                self.connect(connect, end, channel)?;
            }
            Request::Bind(bind) if descriptors.len() == 1 => {
                let reply = self.bind(&bind, descriptors.remove(0));
                send_reply(&channel, &reply, &[])?;
            }
            Request::Listen(listen)
                if descriptors.len() == 1 + usize::from(listen.kernel_listener) =>
            {
                let half = descriptors.remove(0);
                let reply = self.listen_new(&listen, half, descriptors.pop());
                send_reply(&channel, &reply, &[])?;
            }
            Request::Listen(listen) if descriptors.is_empty() => {
                let reply = self.listen_bound(&listen);
                send_reply(&channel, &reply, &[])?;
            }
            Request::SetOption(set) => {
                let mut table = lock(&self.table);
                if let Some(mut entry) = table.reader().entry(set.id.tag()) {
                    let _ = entry.options.set(set.level, set.name, set.value.as_bytes());
                    table.update(set.id.tag(), &entry);
                }
            }
            Request::Query { id } => {
                let reply = match lock(&self.table).reader().entry(id.tag()) {
                    Some(entry) => Reply::State(entry),
                    None => Reply::Failed {
                        errno: libc::ENOENT,
                    },
                };
                send_reply(&channel, &reply, &[])?;
            }
            // There is no TCP here.
            Request::Measure { .. } => {
                let errno = libc::ENOENT;
                send_reply(&channel, &Reply::Failed { errno }, &[])?;
            }
            _ => return Err(io::Error::other("wrong number of descriptors")),
        }
        Ok(())
    }

    fn connect(
        self: &Arc<Self>,
        connect: Connect,
        end: Arc<End>,
        channel: OwnedFd,
    ) -> io::Result<()> {
        let entry = Entry {
            kind: Kind::Stream,
            state: State::Connecting,
            family: connect.family,
            errno: 0,
            local: Some(self.source(&connect)),
            remote: Some(connect.remote),
            options: connect.options,
        };
        self.insert(connect.id, &entry)?;
        unix::set_blocking(&end.half)?;
        let (delay, absent) = match connect.remote.ip() {
            IpAddr::V4(ABSENT) => (ABSENT_DELAY, true),
            IpAddr::V4(SLOW) => (SLOW_DELAY, false),
            _ => {
                self.decide(&connect, entry, end, channel);
                return Ok(());
            }
        };
        let service = Arc::clone(self);
        thread::spawn(move || {
            thread::sleep(delay);
            if absent {
                service.fail(&connect, entry, end, &channel, libc::EHOSTUNREACH);
            } else if let Ok((echo, ours)) = unix::pair() {
                service.establish(&connect, entry, &end, &channel);
                let far = Arc::new(End {
                    id: Id::from_bytes([0; 16]),
                    half: ours,
                });
                service.join(end, far);
                let mut buffer = [0; 4096];
                while let Ok(len @ 1..) = unix::read(&echo, &mut buffer) {
                    if unix::write_all(&echo, &buffer[..len]).is_err() {
                        break;
                    }
                }
            }
        });
        Ok(())
    }

    /// Finds the listener and makes the other end.
    fn decide(self: &Arc<Self>, connect: &Connect, entry: Entry, end: Arc<End>, channel: OwnedFd) {
        let Some(listener) = self.listener(connect.remote) else {
            self.fail(connect, entry, end, &channel, libc::ECONNREFUSED);
            return;
        };
        let (peer, local) = (entry.local.unwrap(), connect.remote);
        let Ok((ours, theirs)) = unix::pair() else {
            return;
        };
        let mut bytes = [0x5a; Id::LEN];
        static NEXT: AtomicU64 = AtomicU64::new(1);
        bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        bytes[8..12].copy_from_slice(&std::process::id().to_ne_bytes());
        let id = Id::from_bytes(bytes);
        unix::bind_name(
            &ours,
            &Name {
                kind: Kind::Stream,
                id,
            }
            .to_path(),
        )
        .unwrap();
        let accepted = Entry {
            state: State::Connected,
            family: listener.family,
            local: Some(local),
            remote: Some(peer),
            options: listener.options,
            ..entry
        };
        self.insert(id, &accepted).unwrap();
        let record = Accepted {
            origin: Origin::Lan,
            family: listener.family,
            peer,
            local,
        };
        lock(&listener.queue).push_back((record, theirs));
        listener.push();
        self.establish(connect, entry, &end, &channel);
        self.join(end, Arc::new(End { id, half: ours }));
    }

    fn establish(&self, connect: &Connect, entry: Entry, end: &End, channel: &OwnedFd) {
        lock(&self.table).update(
            connect.id.tag(),
            &Entry {
                state: State::Connected,
                ..entry
            },
        );
        let mut left = connect.plug as usize;
        let mut buffer = [0; 65_536];
        while left > 0 {
            match unix::read(&end.half, &mut buffer[..left.min(65_536)]) {
                Ok(len @ 1..) => left -= len,
                _ => break,
            }
        }
        if connect.wait {
            let _ = send_reply(
                channel,
                &Reply::Done {
                    local: entry.local.unwrap(),
                },
                &[],
            );
        }
    }

    fn fail(&self, connect: &Connect, entry: Entry, end: Arc<End>, channel: &OwnedFd, errno: i32) {
        let mut table = lock(&self.table);
        table.update(
            connect.id.tag(),
            &Entry {
                state: State::Failed,
                errno,
                ..entry
            },
        );
        table.retire(connect.id.tag());
        drop(end);
        if connect.wait {
            let _ = send_reply(channel, &Reply::Failed { errno }, &[]);
        }
    }

    /// Moves the bytes of a connection both ways until both directions have ended.
    fn join(self: &Arc<Self>, one: Arc<End>, other: Arc<End>) {
        lock(&self.ends).extend([&one, &other].map(Arc::downgrade));
        for (from, to) in [(Arc::clone(&one), Arc::clone(&other)), (other, one)] {
            let service = Arc::clone(self);
            thread::spawn(move || service.pump(&from, &to));
        }
    }

    fn pump(&self, from: &End, to: &End) {
        let mut buffer = [0; 65_536];
        loop {
            match unix::read(&from.half, &mut buffer) {
                Ok(0) => break,
                Ok(len) => {
                    if unix::write_all(&to.half, &buffer[..len]).is_err() && is_closed(to) {
                        // Data for a socket that is gone: what TCP answers with a reset.
                        self.reset(from);
                        return;
                    }
                }
                Err(_) => {
                    self.reset(to);
                    return;
                }
            }
        }
        let mut table = lock(&self.table);
        let entry = table.reader().entry(from.id.tag());
        match entry.filter(|entry| entry.state == State::Connected) {
            Some(entry) if is_closed(from) => {
                table.remove(from.id.tag());
                drop(table);
                if entry.options.linger() == Some(0) {
                    self.reset(to);
                }
            }
            // A connection that was reset keeps its entry: the program may still ask.
            _ => drop(table),
        }
        unix::shutdown(&to.half, libc::SHUT_WR);
    }

    fn reset(&self, end: &End) {
        let mut table = lock(&self.table);
        if let Some(entry) = table.reader().entry(end.id.tag()) {
            let reset = Entry {
                state: State::Reset,
                errno: libc::ECONNRESET,
                ..entry
            };
            table.update(end.id.tag(), &reset);
            table.retire(end.id.tag());
        }
        unix::shutdown(&end.half, libc::SHUT_RDWR);
    }

    fn bind(self: &Arc<Self>, bind: &Bind, half: OwnedFd) -> Reply {
        let socket = Socket {
            id: bind.id,
            half,
            kernel_listener: None,
            local: bind.local,
            family: bind.family,
            options: bind.options,
            listening: AtomicBool::new(false),
            queue: Mutex::default(),
        };
        self.add(socket)
    }

    fn listen_new(
        self: &Arc<Self>,
        listen: &Listen,
        half: OwnedFd,
        kernel_listener: Option<OwnedFd>,
    ) -> Reply {
        if let Some(listener) = &kernel_listener
            && unix::set_nonblocking(listener).is_err()
        {
            return Reply::Failed {
                errno: libc::EINVAL,
            };
        }
        let socket = Socket {
            id: listen.id,
            half,
            kernel_listener,
            local: listen.local,
            family: listen.family,
            options: listen.options,
            listening: AtomicBool::new(true),
            queue: Mutex::default(),
        };
        self.add(socket)
    }

    fn listen_bound(&self, listen: &Listen) -> Reply {
        let sockets = lock(&self.sockets);
        let Some(socket) = sockets.get(&listen.id) else {
            return Reply::Failed {
                errno: libc::ENOENT,
            };
        };
        socket.listening.store(true, Ordering::Release);
        lock(&self.table).update(socket.id.tag(), &socket.entry());
        Reply::Done {
            local: socket.local,
        }
    }

    fn add(self: &Arc<Self>, mut socket: Socket) -> Reply {
        let mut sockets = lock(&self.sockets);
        if socket.local.port() == 0 {
            socket
                .local
                .set_port(self.next_port.fetch_add(1, Ordering::Relaxed));
        }
        let local = socket.local;
        let (family, only) = (socket.family, socket.options.v6_only);
        let overlaps = |other: &Socket| {
            let (a, b) = (other.local, local);
            // `0.0.0.0` and a v6-only `::` share a port; a `::` that takes IPv4 too does not.
            let apart = other.family != family
                && ((other.family == Family::V6 && other.options.v6_only)
                    || (family == Family::V6 && only));
            a.port() == b.port()
                && !apart
                && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
        };
        // A holder that its program has closed meanwhile is not in the way, whether its end was seen already or not.
        let table = &self.table;
        sockets.retain(|id, other| {
            let gone = overlaps(other) && has_hung_up(&other.half);
            if gone {
                lock(table).remove(id.tag());
            }
            !gone
        });
        if sockets.values().any(|other| overlaps(other)) {
            return Reply::Failed {
                errno: libc::EADDRINUSE,
            };
        }
        let socket = Arc::new(socket);
        if self.insert(socket.id, &socket.entry()).is_err() {
            return Reply::Failed {
                errno: libc::EINVAL,
            };
        }
        sockets.insert(socket.id, Arc::clone(&socket));
        let service = Arc::clone(self);
        thread::spawn(move || service.tend(&socket));
        Reply::Done { local }
    }

    /// Pushes accepted connections until the program closes its half.
    fn tend(&self, socket: &Socket) {
        while !self.gone.load(Ordering::Acquire) {
            let kernel = socket
                .kernel_listener
                .as_ref()
                .map_or(-1, AsRawFd::as_raw_fd);
            let mut ready = [(socket.half.as_raw_fd(), 0, 0), (kernel, libc::POLLIN, 0)];
            let _ = unix::poll(&mut ready, 2);
            if ready[0].2 & libc::POLLHUP != 0 {
                break;
            }
            if let (true, Some(listener)) =
                (ready[1].2 & libc::POLLIN != 0, &socket.kernel_listener)
                && let Ok(connection) = unix::accept(listener, 0)
            {
                let stream = std::net::TcpStream::from(connection);
                if let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) {
                    let [peer, local] =
                        [peer, local].map(|a| SocketAddr::new(a.ip().to_canonical(), a.port()));
                    let record = Accepted {
                        origin: Origin::Kernel,
                        family: socket.family,
                        peer,
                        local,
                    };
                    lock(&socket.queue).push_back((record, stream.into()));
                }
            }
            socket.push();
        }
        lock(&self.sockets).remove(&socket.id);
        lock(&self.table).remove(socket.id.tag());
    }

    fn listener(&self, remote: SocketAddr) -> Option<Arc<Socket>> {
        let serves = |socket: &Socket| {
            let (ours, theirs) = (socket.local.ip(), remote.ip());
            let family = ours.is_ipv4() == theirs.is_ipv4()
                || (socket.family == Family::V6
                    && !socket.options.v6_only
                    && ours.is_unspecified());
            let own = theirs == IpAddr::V4(OWN) || theirs == IpAddr::V6(OWN_V6);
            socket.listening.load(Ordering::Acquire)
                && socket.local.port() == remote.port()
                && own
                && (ours == theirs || (family && ours.is_unspecified()))
        };
        lock(&self.sockets)
            .values()
            .find(|socket| serves(socket))
            .cloned()
    }

    fn source(&self, connect: &Connect) -> SocketAddr {
        let port = match connect.local {
            Some(local) if local.port() != 0 => local.port(),
            _ => self.next_port.fetch_add(1, Ordering::Relaxed),
        };
        let own = if connect.remote.is_ipv4() {
            IpAddr::V4(OWN)
        } else {
            IpAddr::V6(OWN_V6)
        };
        SocketAddr::new(own, port)
    }

    fn insert(&self, id: Id, entry: &Entry) -> io::Result<()> {
        lock(&self.table)
            .insert(id.tag(), entry)
            .map_err(|_| io::Error::other("tag taken"))
    }
}

impl Socket {
    /// Puts as many connections as fit into the program's accept queue.
    fn push(&self) {
        let mut queue = lock(&self.queue);
        while let Some((record, connection)) = queue.pop_front() {
            let sent = unix::send(
                &self.half,
                &record.emit(),
                &[connection.as_raw_fd()],
                libc::MSG_DONTWAIT,
            );
            if sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                queue.push_front((record, connection));
                break;
            }
        }
    }

    fn entry(&self) -> Entry {
        let listening = self.listening.load(Ordering::Acquire);
        Entry {
            kind: Kind::Listener,
            state: if listening {
                State::Listening
            } else {
                State::Bound
            },
            family: self.family,
            errno: 0,
            local: Some(self.local),
            remote: None,
            options: self.options,
        }
    }
}

/// Whether the program has closed its half, not only shut a direction down.
fn is_closed(end: &End) -> bool {
    has_hung_up(&end.half)
}

fn has_hung_up(half: &OwnedFd) -> bool {
    let mut ready = [(half.as_raw_fd(), 0, 0)];
    matches!(unix::poll(&mut ready, 0), Ok(1)) && ready[0].2 & libc::POLLHUP != 0
}

fn send_reply(channel: &OwnedFd, reply: &Reply, descriptors: &[i32]) -> io::Result<()> {
    let mut message = [0; MAX_MESSAGE];
    let len = reply.emit(&mut message);
    unix::send(channel, &message[..len], descriptors, libc::MSG_DONTWAIT)
}
