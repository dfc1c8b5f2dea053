//! What becomes of flows: connected, refused, reset.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use zt_netstack::{ConnectFailure, FlowId, ResetReason};
use zt_socket_rpc::{Reply, State};

use super::requests::reply;
use super::{Broker, Ending, Owner, Pending, Socket, Turn};

impl Broker {
    /// A program's connection is up.
    pub(super) fn flow_connected(&mut self, turn: &mut Turn<'_>, flow: FlowId) {
        let Some(&Owner::Stream(key)) = self.by_flow.get(&flow) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let Some(connecting) = stream.connecting.take() else {
            return;
        };
        if let Some(flow) = turn.host.flow(flow) {
            stream.entry.local = Some(flow.local());
            stream.entry.remote = Some(flow.remote());
        }
        stream.entry.state = State::Connected;
        // The entry first: whoever is woken by the room in the pair looks into it.
        self.table.update(stream.id.tag(), &stream.entry);
        let mut strays = Vec::new();
        stream.unplug(connecting.plug, &mut strays);
        if let (Some(connection), Some(local)) = (connecting.answer, stream.entry.local) {
            reply(&connection, &Reply::Done { local }, None);
        }
        self.dispose_strays(strays);
        self.counters.connected += 1;
        self.enqueue(Socket::Stream(key));
    }

    /// A program's connection will not come to be.
    pub(super) fn flow_failed(
        &mut self,
        turn: &mut Turn<'_>,
        flow: FlowId,
        failure: ConnectFailure,
    ) {
        let Some(&Owner::Stream(key)) = self.by_flow.get(&flow) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let errno = match failure {
            ConnectFailure::Refused => Errno::CONNREFUSED,
            ConnectFailure::Unreachable => Errno::HOSTUNREACH,
            ConnectFailure::TimedOut => Errno::TIMEDOUT,
        };
        stream.entry.state = State::Failed;
        stream.entry.errno = errno.raw_os_error();
        self.table.update(stream.id.tag(), &stream.entry);
        let answer = stream
            .connecting
            .take()
            .and_then(|connecting| connecting.answer);
        self.counters.failed += 1;
        if let Some(stream) = self.release_stream(turn, key, Ending::Over) {
            self.fail(stream.fd, answer, errno);
        }
    }

    /// Closes the pair of a connection that did not come to be, with the plug unread, and then tells
    /// who waits.
    pub(super) fn fail(&mut self, half: OwnedFd, answer: Option<OwnedFd>, errno: Errno) {
        self.disposal.dispose_then(half, move || {
            if let Some(connection) = answer {
                let errno = errno.raw_os_error();
                reply(&connection, &Reply::Failed { errno }, None);
            }
        });
    }

    /// A connection was lost.
    pub(super) fn flow_reset(&mut self, turn: &mut Turn<'_>, flow: FlowId, reason: ResetReason) {
        match self.by_flow.get(&flow) {
            Some(&Owner::Stream(key)) => {
                let Some(stream) = self.streams.get_mut(key) else {
                    return;
                };
                // After its own end the peer can only have refused what was sent to it.
                let had_ended =
                    stream.is_shut() || turn.host.flow(flow).is_some_and(|flow| flow.at_end());
                let errno = match reason {
                    ResetReason::Peer if had_ended => Errno::PIPE,
                    ResetReason::Peer => Errno::CONNRESET,
                    ResetReason::TimedOut => Errno::TIMEDOUT,
                    ResetReason::AddressGone => Errno::CONNABORTED,
                };
                stream.flow_ended = true;
                stream.entry.state = State::Reset;
                stream.entry.errno = errno.raw_os_error();
                self.table.update(stream.id.tag(), &stream.entry);
                self.enqueue(Socket::Stream(key));
            }
            Some(&Owner::Pending(key)) => {
                // Nobody was told of it, nobody will miss it.
                self.by_flow.remove(&flow);
                if let Some(listener) = self.listeners.get_mut(key) {
                    listener.pending.retain(
                        |pending| !matches!(pending, Pending::Flow(other) if *other == flow),
                    );
                }
                if let Some(flow) = turn.host.flow(flow) {
                    flow.close();
                }
                self.enqueue(Socket::Listener(key));
            }
            None => {}
        }
    }
}
