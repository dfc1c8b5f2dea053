//! Requests of programs, one by one.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use zt_netstack::{ConnectError, ListenAddr, ListenError, ListenerId};
use zt_socket_rpc::{
    Bind, Connect, Entry, Id, Kind as SocketKind, Listen, MAX_MESSAGE, Name, Reply, Request,
    SetOption, State,
};

use super::control::Call;
use super::descriptor;
use super::listener::Listener;
use super::stream::{self, Connecting, Stream};
use super::{Broker, Socket, Turn};
use crate::engine::reactor::{Interest, Kind};
use crate::engine::slots::Key;

impl Broker {
    /// Reads one message and does what it asks.
    pub(super) fn serve(&mut self, turn: &mut Turn<'_>, call: Call) {
        let Call {
            connection,
            uid,
            message,
        } = call;
        let request = match Request::parse(message.bytes()) {
            Ok(request) if !message.truncated => request,
            Ok(_) => return self.counters.wrong_descriptors += 1,
            // A connection that was closed without a message is nothing to count.
            Err(_) if message.length == 0 => return,
            Err(malformed) => {
                tracing::debug!(uid, %malformed, "request not understood");
                return self.counters.malformed += 1;
            }
        };
        let mut descriptors = message.descriptors.into_iter();
        let attached = (descriptors.next(), descriptors.next(), descriptors.next());
        match (request, attached) {
            (Request::Hello, (None, None, None)) => self.hello(&connection),
            (Request::Connect(connect), (Some(half), None, None)) => {
                self.connect(turn, uid, connect, half, connection);
            }
            (Request::Bind(bind), (Some(half), None, None)) => {
                let result = self.bind(turn, uid, &bind, half);
                self.answer(&connection, result);
            }
            (Request::Listen(listen), (half, kernel, None))
                if kernel.is_some() == listen.kernel_listener
                    && (half.is_some() || kernel.is_none()) =>
            {
                let result = self.listen(turn, uid, &listen, half, kernel);
                self.answer(&connection, result);
            }
            (Request::SetOption(option), (None, None, None)) => self.set_option(turn, &option),
            (Request::Query { id }, (None, None, None)) => self.query(&connection, id),
            _ => return self.counters.wrong_descriptors += 1,
        }
        self.counters.requests += 1;
    }

    fn hello(&self, connection: &OwnedFd) {
        reply(
            connection,
            &Reply::Hello {
                instance: self.instance.get(),
            },
            Some(&self.table),
        );
    }

    fn connect(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        connect: Connect,
        half: OwnedFd,
        connection: OwnedFd,
    ) {
        let name = Name {
            kind: SocketKind::Stream,
            id: connect.id,
        };
        if !descriptor::is_named(&half, name) {
            return self.counters.wrong_descriptors += 1;
        }
        let mut entry = Entry {
            kind: SocketKind::Stream,
            state: State::Connecting,
            family: connect.family,
            errno: 0,
            local: connect.local,
            remote: Some(connect.remote),
            options: connect.options,
        };
        if self.by_id.contains_key(&connect.id)
            || self.table.insert(connect.id.tag(), &entry).is_err()
        {
            return self.counters.wrong_id += 1;
        }
        let answer = connect.wait.then_some(connection);
        let begun = match turn.budget.take(uid, 1 + usize::from(connect.wait)) {
            Ok(lease) => match turn.host.connect(turn.now, connect.remote, connect.local) {
                Ok(flow) => Ok((lease, flow)),
                Err(error) => Err(connect_errno(error)),
            },
            Err(_) => {
                self.counters.refused += 1;
                Err(Errno::NOBUFS)
            }
        };
        let (lease, flow) = match begun {
            Ok(begun) => begun,
            Err(errno) => {
                entry.state = State::Failed;
                entry.errno = errno.raw_os_error();
                self.table.update(connect.id.tag(), &entry);
                self.table.retire(connect.id.tag());
                self.counters.failed += 1;
                // With the plug unread, so that the program's half reports an error.
                drop(half);
                if let Some(connection) = answer {
                    reply(&connection, &Reply::Failed { errno: entry.errno }, None);
                }
                return;
            }
        };
        if let Some(mut flow) = turn.host.flow(flow) {
            stream::apply(&entry.options, &mut flow);
            entry.local = Some(flow.local());
            self.table.update(connect.id.tag(), &entry);
        }
        let connecting = Connecting {
            plug: connect.plug,
            answer,
        };
        self.add_stream(
            turn,
            Stream::new(half, connect.id, flow, entry, Some(connecting), lease),
        );
    }

    /// Keeps a stream and watches its pair.
    pub(super) fn add_stream(&mut self, turn: &mut Turn<'_>, stream: Stream) {
        let key = self.streams.next_key();
        if let Err(error) =
            turn.poller
                .add(&stream.fd, self.token(Kind::Stream, key), Interest::Edge)
        {
            tracing::warn!(%error, "a connection cannot be watched");
            self.table.remove(stream.id.tag());
            if let Some(flow) = turn.host.flow(stream.flow) {
                flow.abort();
            }
            return;
        }
        self.by_id.insert(stream.id, Socket::Stream(key));
        self.by_flow.insert(stream.flow, super::Owner::Stream(key));
        self.streams.insert(stream);
        self.enqueue(Socket::Stream(key));
    }

    fn bind(&mut self, turn: &mut Turn<'_>, uid: u32, bind: &Bind, half: OwnedFd) -> Answer {
        let name = Name {
            kind: SocketKind::Listener,
            id: bind.id,
        };
        if !descriptor::is_named(&half, name) {
            self.counters.wrong_descriptors += 1;
            return Answer::None;
        }
        let entry = Entry {
            kind: SocketKind::Listener,
            state: State::Bound,
            family: bind.family,
            errno: 0,
            local: Some(bind.local),
            remote: None,
            options: bind.options,
        };
        self.add_listener(turn, uid, bind.id, entry, half, None, 0)
    }

    fn listen(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        listen: &Listen,
        half: Option<OwnedFd>,
        kernel: Option<OwnedFd>,
    ) -> Answer {
        let Some(half) = half else {
            return self.listen_bound(turn, listen);
        };
        let name = Name {
            kind: SocketKind::Listener,
            id: listen.id,
        };
        if !descriptor::is_named(&half, name)
            || !kernel.as_ref().is_none_or(descriptor::is_kernel_listener)
        {
            self.counters.wrong_descriptors += 1;
            return Answer::None;
        }
        let entry = Entry {
            kind: SocketKind::Listener,
            state: State::Listening,
            family: listen.family,
            errno: 0,
            local: Some(listen.local),
            remote: None,
            options: listen.options,
        };
        self.add_listener(
            turn,
            uid,
            listen.id,
            entry,
            half,
            kernel,
            listen.backlog.into(),
        )
    }

    /// A bound socket begins to listen, or a listening one changes its backlog.
    fn listen_bound(&mut self, turn: &mut Turn<'_>, listen: &Listen) -> Answer {
        let Some(&Socket::Listener(key)) = self.by_id.get(&listen.id) else {
            self.counters.wrong_id += 1;
            return Answer::None;
        };
        let Some(listener) = self.listeners.get_mut(key) else {
            return Answer::None;
        };
        let Some(local) = listener.entry.local else {
            return Answer::None;
        };
        let backlog = usize::from(listen.backlog);
        if listener.entry.state == State::Bound {
            // The host has no listener that answers nobody: the port is given up and taken again.
            turn.host.unlisten(listener.host_listener);
            self.by_listener.remove(&listener.host_listener);
            match turn.host.listen(ListenAddr::from(local), backlog) {
                Ok((host_listener, _)) => {
                    listener.host_listener = host_listener;
                    self.by_listener.insert(host_listener, key);
                }
                Err(error) => return Answer::Failed(listen_errno(error)),
            }
            listener.entry.state = State::Listening;
            listener.full = false;
            self.table.update(listen.id.tag(), &listener.entry);
        }
        listener.backlog = backlog;
        self.enqueue(Socket::Listener(key));
        Answer::Done(local)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a request, each used once"
    )]
    fn add_listener(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        id: Id,
        mut entry: Entry,
        half: OwnedFd,
        kernel: Option<OwnedFd>,
        backlog: usize,
    ) -> Answer {
        if self.by_id.contains_key(&id) || self.table.reader().entry(id.tag()).is_some() {
            self.counters.wrong_id += 1;
            return Answer::None;
        }
        let Ok(lease) = turn.budget.take(uid, 1 + usize::from(kernel.is_some())) else {
            self.counters.refused += 1;
            return Answer::Failed(Errno::NOBUFS);
        };
        let wanted = entry
            .local
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        let (host_listener, bound) = match self.take_port(turn, wanted, backlog.max(1)) {
            Ok(taken) => taken,
            Err(error) => return Answer::Failed(listen_errno(error)),
        };
        // The address as the program gave it, with the port that was chosen.
        let local = SocketAddr::new(wanted.ip(), bound.port());
        entry.local = Some(local);
        let key = self.listeners.next_key();
        let watched = turn
            .poller
            .add(&half, self.token(Kind::Listener, key), Interest::Edge)
            .and_then(|()| {
                kernel.as_ref().map_or(Ok(()), |kernel| {
                    turn.poller.add(
                        kernel,
                        self.token(Kind::KernelListener, key),
                        Interest::Edge,
                    )
                })
            });
        if watched.is_err() || self.table.insert(id.tag(), &entry).is_err() {
            turn.poller.remove(&half);
            if let Some(kernel) = &kernel {
                turn.poller.remove(kernel);
            }
            turn.host.unlisten(host_listener);
            return Answer::Failed(Errno::NOBUFS);
        }
        // A socket that is only bound answers nobody.
        let bound_only = entry.state == State::Bound;
        turn.host.set_listener_full(host_listener, bound_only);
        self.by_id.insert(id, Socket::Listener(key));
        self.by_listener.insert(host_listener, key);
        self.listeners.insert(Listener {
            fd: half,
            id,
            host_listener,
            kernel_ready: kernel.is_some(),
            kernel,
            entry,
            backlog,
            uid,
            pending: std::collections::VecDeque::new(),
            held: None,
            blocked: false,
            full: bound_only,
            queued: false,
            _lease: lease,
        });
        self.enqueue(Socket::Listener(key));
        Answer::Done(local)
    }

    /// Takes a port of the host, from a socket that was closed just now if need be: a close is not
    /// heard before a request that follows it.
    fn take_port(
        &mut self,
        turn: &mut Turn<'_>,
        wanted: SocketAddr,
        backlog: usize,
    ) -> Result<(ListenerId, SocketAddr), ListenError> {
        let local = ListenAddr::from(wanted);
        match turn.host.listen(local, backlog) {
            Err(ListenError::AddrInUse) => {}
            result => return result,
        }
        let closed = self.listeners.iter().filter(|(_, listener)| {
            let holds = listener
                .entry
                .local
                .is_some_and(|held| held.port() == wanted.port());
            holds && descriptor::is_hung_up(&listener.fd)
        });
        let closed: Vec<Key> = closed.map(|(key, _)| key).collect();
        closed
            .into_iter()
            .for_each(|key| self.close_listener(turn, key));
        turn.host.listen(local, backlog)
    }

    fn set_option(&mut self, turn: &mut Turn<'_>, option: &SetOption) {
        let entry = match self.by_id.get(&option.id) {
            Some(&Socket::Stream(key)) => self
                .streams
                .get_mut(key)
                .map(|stream| (&mut stream.entry, Some(stream.flow))),
            Some(&Socket::Listener(key)) => self
                .listeners
                .get_mut(key)
                .map(|listener| (&mut listener.entry, None)),
            None => None,
        };
        let Some((entry, flow)) = entry else {
            return self.counters.wrong_id += 1;
        };
        if entry
            .options
            .set(option.level, option.name, option.value.as_bytes())
            .is_err()
        {
            return;
        }
        if let Some(mut flow) = flow.and_then(|flow| turn.host.flow(flow)) {
            stream::apply(&entry.options, &mut flow);
        }
        self.table.update(option.id.tag(), entry);
    }

    fn query(&self, connection: &OwnedFd, id: Id) {
        let entry = match self.by_id.get(&id) {
            Some(&Socket::Stream(key)) => self.streams.get(key).map(|stream| stream.entry),
            Some(&Socket::Listener(key)) => self.listeners.get(key).map(|listener| listener.entry),
            // It may have failed or been reset already.
            None => self.table.reader().entry(id.tag()),
        };
        let answer = entry.map_or(
            Reply::Failed {
                errno: Errno::NOENT.raw_os_error(),
            },
            Reply::State,
        );
        reply(connection, &answer, None);
    }

    fn answer(&self, connection: &OwnedFd, answer: Answer) {
        match answer {
            Answer::None => {}
            Answer::Done(local) => reply(connection, &Reply::Done { local }, None),
            Answer::Failed(errno) => reply(
                connection,
                &Reply::Failed {
                    errno: errno.raw_os_error(),
                },
                None,
            ),
        }
    }
}

/// What to say to a request that waits.
enum Answer {
    /// Nothing: the request was no honest one.
    None,
    Done(SocketAddr),
    Failed(Errno),
}

/// Sends a reply; a program that does not wait for it any more is no concern of ours.
pub(super) fn reply(
    connection: &OwnedFd,
    reply: &Reply,
    table: Option<&zt_socket_rpc::table::StateTable>,
) {
    let mut bytes = [0; MAX_MESSAGE];
    let length = reply.emit(&mut bytes);
    let descriptor = table.map(|table| table.file());
    let message = bytes.get(..length).unwrap_or_default();
    if let Err(error) = descriptor::send_message(connection.as_fd(), message, descriptor) {
        tracing::trace!(%error, "reply not taken");
    }
}

fn connect_errno(error: ConnectError) -> Errno {
    match error {
        ConnectError::NoRoute => Errno::NETUNREACH,
        ConnectError::AddrInUse => Errno::ADDRNOTAVAIL,
        ConnectError::AddrNotAvailable => Errno::ADDRNOTAVAIL,
        _ => Errno::INVAL,
    }
}

fn listen_errno(error: ListenError) -> Errno {
    match error {
        ListenError::AddrInUse => Errno::ADDRINUSE,
        _ => Errno::ADDRNOTAVAIL,
    }
}
