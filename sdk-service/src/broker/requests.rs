//! Requests of programs, one by one.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt;
use zt_netstack::ConnectError;
use zt_socket_rpc::{
    Connect, Entry, Id, Kind as SocketKind, MAX_MESSAGE, Name, Reply, Request, SetOption, State,
};

use super::control::Call;
use super::descriptor;
use super::direct::Offer;
use super::stream::{self, Connecting, Stream};
use super::{Broker, Socket, Turn};
use crate::engine::reactor::{Interest, Kind};

impl Broker {
    /// Reads one message and does what it asks.
    pub(super) fn serve(&mut self, turn: &mut Turn<'_>, call: Call) {
        let Call {
            connection,
            uid,
            message,
        } = call;
        let request = Request::parse(message.bytes());
        let is_honest = match &request {
            Ok(request) => !message.truncated && has_its_descriptors(request, &message.descriptors),
            Err(_) => false,
        };
        let (Ok(request), true) = (request, is_honest) else {
            match request {
                Ok(_) => self.counters.wrong_descriptors += 1,
                // A connection that was closed without a message is nothing to count.
                Err(_) if message.length == 0 && message.descriptors.is_empty() => {}
                Err(malformed) => {
                    tracing::debug!(uid, %malformed, "request not understood");
                    self.counters.malformed += 1;
                }
            }
            message
                .descriptors
                .into_iter()
                .for_each(|stray| self.disposal.dispose(stray));
            return self.disposal.hang_up(connection);
        };
        self.counters.requests += 1;
        let mut descriptors = message.descriptors.into_iter();
        let (half, second) = (descriptors.next(), descriptors.next());
        match (request, half) {
            (Request::Connect(connect), Some(half)) => {
                return self.begin_connect(turn, uid, connect, half, second, connection);
            }
            (Request::Bind(bind), Some(half)) => {
                let result = self.bind(turn, uid, &bind, half);
                self.answer(&connection, result);
            }
            (Request::Listen(listen), half) => {
                let result = self.listen(turn, uid, &listen, half, second);
                self.answer(&connection, result);
            }
            (Request::OpenDatagram(open), Some(half)) => {
                let result = self.open_datagram(turn, uid, &open, half, second);
                self.answer(&connection, result);
            }
            (Request::ConnectDatagram(connect), _) => {
                let result = self.connect_datagram(turn, &connect);
                self.answer(&connection, result);
            }
            (Request::BindDatagram(bind), _) => {
                let result = self.bind_datagram(turn, &bind);
                self.answer(&connection, result);
            }
            (Request::Membership(membership), _) => {
                let result = self.change_membership(turn, &membership);
                self.answer(&connection, result);
            }
            (Request::TakeLost { id }, _) => {
                reply(&connection, &self.take_lost(turn, id), None);
            }
            (Request::SetOption(option), _) => self.set_option(turn, &option),
            (Request::Query { id }, _) => self.query(&connection, id),
            (Request::Measure { id }, _) => {
                reply(&connection, &self.measure(turn, id), None);
            }
            (
                request @ (Request::Resolve { .. }
                | Request::NameOf { .. }
                | Request::Records { .. }),
                _,
            ) => return self.look_up(turn, uid, &request, connection),
            _ => self.hello(&connection),
        }
        self.disposal.hang_up(connection);
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

    /// Directly, if the other program is one of this service; over the LAN's host if not.
    fn begin_connect(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        connect: Connect,
        half: OwnedFd,
        own: Option<OwnedFd>,
        connection: OwnedFd,
    ) {
        let half = match own {
            Some(own) if !self.is_known(connect.id) => {
                let offer = Offer {
                    connect: &connect,
                    uid,
                    half,
                    own,
                };
                match self.connect_direct(turn, offer) {
                    // Answered when nobody but its program holds its end: so that the program's close is the last one.
                    Ok((local, own)) if connect.wait => {
                        return self.disposal.dispose_then(own, move || {
                            reply(&connection, &Reply::Done { local }, None);
                        });
                    }
                    Ok((_, own)) => {
                        self.disposal.dispose(own);
                        return self.disposal.hang_up(connection);
                    }
                    Err(half) => half,
                }
            }
            own => {
                own.into_iter().for_each(|own| self.disposal.dispose(own));
                half
            }
        };
        let answer = if connect.wait {
            Some(connection)
        } else {
            self.disposal.hang_up(connection);
            None
        };
        let plug = connect.plug;
        let connecting = Connecting {
            plug,
            answer,
            lease: None,
        };
        self.connect(turn, uid, connect, half, connecting);
    }

    /// A connection to the streams socket: it is the service's half itself.
    pub(super) fn serve_straight(&mut self, turn: &mut Turn<'_>, call: Call) {
        let Call {
            connection,
            uid,
            message,
        } = call;
        let request = Request::parse(message.bytes());
        let attached = !message.descriptors.is_empty() || message.truncated;
        self.dispose_strays(message.descriptors);
        match request {
            Ok(Request::Connect(connect)) if !attached && !connect.wait => {
                let name = Name {
                    kind: SocketKind::Stream,
                    id: connect.id,
                };
                if descriptor::is_from(&connection, name) {
                    self.counters.requests += 1;
                    let connecting = Connecting {
                        plug: connect.plug,
                        answer: None,
                        lease: None,
                    };
                    return self.connect(turn, uid, connect, connection, connecting);
                }
                self.counters.wrong_id += 1;
            }
            Ok(_) => self.counters.wrong_descriptors += 1,
            Err(_) if message.length == 0 && !attached => {}
            Err(malformed) => {
                tracing::debug!(uid, %malformed, "request not understood");
                self.counters.malformed += 1;
            }
        }
        self.disposal.hang_up(connection);
    }

    fn is_known(&self, id: Id) -> bool {
        id.tag() == 0
            || self.by_id.contains_key(&id)
            || self.table.reader().entry(id.tag()).is_some()
    }

    fn connect(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        connect: Connect,
        half: OwnedFd,
        mut connecting: Connecting,
    ) {
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
            self.counters.wrong_id += 1;
            self.disposal.hang_up(half);
            let answer = connecting.answer;
            return answer.into_iter().for_each(|it| self.disposal.hang_up(it));
        }
        let leased = turn.budget.take(uid, 1).and_then(|lease| {
            if connect.wait {
                connecting.lease = Some(turn.budget.take(uid, 1)?);
            }
            Ok(lease)
        });
        let begun = match leased {
            // Linux asks the peer, which refuses.
            Ok(_) if connect.remote.port() == 0 => Err(Errno::CONNREFUSED),
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
                self.fail(half, connecting.answer, errno);
                return;
            }
        };
        if let Some(mut flow) = turn.host.flow(flow) {
            stream::apply(&entry.options, &mut flow);
            entry.local = Some(flow.local());
            self.table.update(connect.id.tag(), &entry);
        }
        self.add_stream(
            turn,
            Stream::new(half, connect.id, flow, entry, Some(connecting), lease),
        );
    }

    /// Keeps a stream and watches its pair.
    pub(super) fn add_stream(&mut self, turn: &mut Turn<'_>, stream: Stream) {
        let key = self.streams.next_key();
        // Urgent bytes are bytes like others on the LAN; unless inline, a Unix socket would lose them.
        let _ = sockopt::set_socket_oobinline(&stream.fd, true);
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
            Some(Socket::Direct) => return self.set_direct_option(option),
            Some(&Socket::Datagram(key)) => return self.set_datagram_option(turn, key, option),
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
            Some(&Socket::Datagram(key)) => self.datagrams.get(key).map(|socket| socket.entry),
            Some(Socket::Direct) => self.direct_entry(id),
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

/// Whether the descriptors are those that the request must have, by number, kind and name.
fn has_its_descriptors(request: &Request, descriptors: &[OwnedFd]) -> bool {
    let is_half = |half: &OwnedFd, kind, id| descriptor::is_named(half, Name { kind, id });
    match (request, descriptors) {
        (Request::Connect(connect), [half]) => is_half(half, SocketKind::Stream, connect.id),
        (Request::Connect(connect), [half, own]) => {
            let name = Name {
                kind: SocketKind::Stream,
                id: connect.id,
            };
            is_half(half, name.kind, name.id) && descriptor::is_other_half(own, name)
        }
        (Request::Bind(bind), [half]) => is_half(half, SocketKind::Listener, bind.id),
        (Request::Listen(listen), []) => !listen.kernel_listener,
        (Request::Listen(listen), [half]) => {
            !listen.kernel_listener && is_half(half, SocketKind::Listener, listen.id)
        }
        (Request::Listen(listen), [half, kernel]) => {
            listen.kernel_listener
                && is_half(half, SocketKind::Listener, listen.id)
                && descriptor::is_kernel_listener(kernel)
        }
        (Request::OpenDatagram(open), [half]) => {
            !open.kernel_socket && is_half(half, open.kind, open.id)
        }
        (Request::OpenDatagram(open), [half, kernel]) => {
            open.kernel_socket
                && is_half(half, open.kind, open.id)
                && descriptor::is_kernel_datagram(kernel, open.kind)
        }
        (
            Request::Hello
            | Request::SetOption(_)
            | Request::ConnectDatagram(_)
            | Request::BindDatagram(_)
            | Request::Membership(_)
            | Request::TakeLost { .. }
            | Request::Query { .. }
            | Request::Measure { .. }
            | Request::Resolve { .. }
            | Request::NameOf { .. }
            | Request::Records { .. },
            [],
        ) => true,
        _ => false,
    }
}

/// What to say to a request that waits.
pub(super) enum Answer {
    /// Nothing: the request was no honest one.
    None,
    /// It is done; the local address.
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
