//! Inward: from a datagram to an authentic packet, and what every such packet tells of its
//! sender (VL1 §2.10, §4.6).

use super::outbox::Target;
use super::reassembly::{Outcome, Part};
use super::whois::Parked;
use super::{DropReason, Inbound, LocalSocket, PathId, Scratch, Vl1, Vl1Event};
use crate::inet;
use crate::packet::{self, Datagram, HEADER_LEN, Header, MAX_BODY, OpenError, fragment};
use crate::verb::{ErrorCode, ErrorReply, Reply};
use crate::{Address, Emit, PacketId, Time, Verb};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A HELLO goes out to an unconfirmed path at most this often; stock waits a second, but a path
/// whose first HELLO was lost is needed at once.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(250);
const ECHO_INTERVAL: Duration = Duration::from_millis(166);
/// A silence of this length makes an upstream's return worth an event.
const NOTABLE_SILENCE: Duration = Duration::from_secs(5);

/// Where a datagram came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) local: LocalSocket,
    pub(super) remote: SocketAddr,
}

impl Vl1 {
    /// Takes one datagram that arrived on `local` from `remote`. What it means for VL1 is done;
    /// what is for the layer above is returned.
    ///
    /// After a batch of datagrams [`poll_parked`](Self::poll_parked) wants to be called: one of
    /// them may have told the key of earlier packets.
    pub fn handle_datagram<'d>(
        &mut self,
        now: Time,
        local: LocalSocket,
        remote: SocketAddr,
        datagram: &'d mut [u8],
        scratch: &'d mut Scratch,
    ) -> Option<Inbound<'d>> {
        self.counters.datagrams_received += 1;
        self.counters.bytes_received += datagram.len() as u64;
        let arrival = Arrival { local, remote };
        let part = match Datagram::classify(datagram) {
            Datagram::Junk => return self.drop(DropReason::Junk),
            Datagram::Packet(header) if header.source == self.address => {
                return self.drop(DropReason::OwnPacket);
            }
            Datagram::Packet(header) if header.destination != self.address => {
                self.relay_packet(now, arrival, &header, datagram);
                return None;
            }
            Datagram::Fragment(header) if header.destination != self.address => {
                self.relay_fragment(now, &header, datagram);
                return None;
            }
            Datagram::Packet(header) if !header.is_fragmented() => {
                return self.open(now, arrival, datagram, &mut scratch.plain);
            }
            Datagram::Packet(header) => Part {
                id: header.id,
                number: 0,
                total: None,
                data: datagram,
            },
            Datagram::Fragment(header) => Part {
                id: header.id,
                number: header.number,
                total: Some(header.total),
                data: &datagram[fragment::HEADER_LEN..],
            },
        };
        match self.reassembly.add(now, part, &mut scratch.joined) {
            Outcome::Complete => self.open(now, arrival, &mut scratch.joined, &mut scratch.plain),
            Outcome::Pending => None,
            Outcome::Duplicate => self.drop(DropReason::DuplicateFragment),
            Outcome::Inconsistent => self.drop(DropReason::InconsistentFragment),
        }
    }

    /// The next packet that had to wait for its sender's identity. To be drained after each
    /// batch of datagrams and after the timers.
    pub fn poll_parked<'d>(&mut self, now: Time, scratch: &'d mut Scratch) -> Option<Inbound<'d>> {
        let Scratch { joined, plain } = scratch;
        // The borrow checker does not see that a `None` ends the loan of the buffers, so what
        // concerns only VL1 is told apart before.
        loop {
            let Parked {
                arrival, packet, ..
            } = self.whois.next_ready()?;
            *joined = packet;
            let Some(opened) = self.open_in(now, arrival, joined, plain) else {
                continue;
            };
            let body = opened.body(joined, plain);
            return Some(opened.inbound(body));
        }
    }

    /// Opens a whole packet for us and deals with what is VL1's own.
    fn open<'d>(
        &mut self,
        now: Time,
        arrival: Arrival,
        packet: &'d mut [u8],
        plain: &'d mut Vec<u8>,
    ) -> Option<Inbound<'d>> {
        let opened = self.open_in(now, arrival, packet, plain)?;
        let body = opened.body(packet, plain);
        Some(opened.inbound(body))
    }

    fn open_in(
        &mut self,
        now: Time,
        arrival: Arrival,
        packet: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> Option<Opened> {
        let Ok(header) = Header::parse(packet) else {
            return self.drop(DropReason::Junk);
        };
        if header.is_clear_hello(packet) {
            self.clear_hello(now, arrival, &header, packet);
            return None;
        }
        let Some(peer) = self.peers.get(&header.source) else {
            self.park(now, arrival, header.source, packet);
            return None;
        };
        let message = match packet::open(&peer.keys, packet) {
            Ok(message) => message,
            Err(error) => return self.drop(reason_of(error)),
        };
        if message.compressed {
            plain.resize(MAX_BODY, 0);
            match packet::decompress(&packet[HEADER_LEN..], plain) {
                Ok(len) => plain.truncate(len),
                Err(_) => return self.drop(DropReason::BadCompression),
            }
        }
        let Some(path) = self.paths.intern(now, arrival.local, arrival.remote) else {
            return self.drop(DropReason::PathTableFull);
        };
        let opened = Opened {
            from: header.source,
            path,
            hops: header.hops(),
            id: header.id,
            verb: message.verb,
            compressed: message.compressed,
        };
        let inbound = opened.inbound(opened.body(packet, plain));
        self.counters.count_received(message.verb);
        self.dispatch(now, arrival, &inbound).then_some(opened)
    }

    /// Deals with an authentic packet; true if it is for the layer above.
    fn dispatch(&mut self, now: Time, arrival: Arrival, inbound: &Inbound<'_>) -> bool {
        match inbound.verb {
            Verb::FRAME
            | Verb::EXT_FRAME
            | Verb::MULTICAST_LIKE
            | Verb::NETWORK_CREDENTIALS
            | Verb::NETWORK_CONFIG_REQUEST
            | Verb::NETWORK_CONFIG
            | Verb::MULTICAST_GATHER
            | Verb::MULTICAST_FRAME => {
                self.received(now, inbound);
                return true;
            }
            Verb::OK => return self.on_ok(now, arrival, inbound),
            Verb::ERROR => {
                self.received(now, inbound);
                return self.on_error(inbound);
            }
            Verb::HELLO => {
                // Sealed in an encrypting suite: authentic already.
                self.accept_hello(now, arrival, inbound);
            }
            Verb::WHOIS => self.on_whois(now, inbound),
            Verb::RENDEZVOUS => self.on_rendezvous(now, arrival, inbound),
            Verb::PUSH_DIRECT_PATHS => self.on_push(now, inbound),
            Verb::ECHO => {
                let gate = self
                    .paths
                    .get_mut(inbound.path)
                    .map(|path| &mut path.echo_gate);
                if !gate.is_some_and(|gate| gate.admit(now, ECHO_INTERVAL, 1)) {
                    self.counters.drop(DropReason::EchoGate);
                    return false;
                }
                self.send_ok(now, inbound, inbound.body);
                self.received(now, inbound);
            }
            Verb::NOP | Verb::USER_MESSAGE | Verb::REMOTE_TRACE => self.received(now, inbound),
            _ => {
                self.counters.drop(DropReason::Ignored);
                self.received(now, inbound);
            }
        }
        false
    }

    /// Answers a packet by OK on the path that it came by.
    pub(super) fn send_ok(&mut self, now: Time, question: &Inbound<'_>, payload: &[u8]) {
        let reply = Reply {
            verb: question.verb,
            id: question.id,
            payload,
        };
        self.send_on(
            now,
            question.path,
            question.from,
            Verb::OK,
            &reply.to_bytes(),
        );
    }

    fn on_ok(&mut self, now: Time, arrival: Arrival, inbound: &Inbound<'_>) -> bool {
        let Ok(Reply { verb, id, payload }) = Reply::parse(inbound.body) else {
            self.counters.drop(DropReason::MalformedMessage);
            return false;
        };
        let Some(asked) = self.replies.verb_of(id, inbound.from) else {
            self.counters.drop(DropReason::UnexpectedReply);
            return false;
        };
        // A configuration that was pushed is acknowledged as if it were an ECHO (VL1 §3.13).
        if verb != asked && (asked, verb) != (Verb::NETWORK_CONFIG, Verb::ECHO) {
            self.counters.drop(DropReason::UnexpectedReply);
            return false;
        }
        match asked {
            Verb::HELLO => self.on_ok_hello(now, arrival, inbound, payload),
            Verb::WHOIS => self.on_ok_whois(now, inbound, payload),
            _ => {}
        }
        self.received(now, inbound);
        !matches!(asked, Verb::HELLO | Verb::WHOIS | Verb::ECHO)
    }

    fn on_error(&mut self, inbound: &Inbound<'_>) -> bool {
        let Ok(error) = ErrorReply::parse(inbound.body) else {
            self.counters.drop(DropReason::MalformedMessage);
            return false;
        };
        if (error.verb, error.code) == (Verb::HELLO, ErrorCode::IDENTITY_COLLISION) {
            if self.is_upstream(inbound.from) {
                self.events.push_back(Vl1Event::IdentityCollision);
            } else {
                self.counters.drop(DropReason::NotUpstream);
            }
            return false;
        }
        true
    }

    /// What every authentic packet tells of its sender (VL1 §4.6).
    pub(super) fn received(&mut self, now: Time, inbound: &Inbound<'_>) {
        let &Inbound {
            from,
            path,
            hops,
            verb,
            ..
        } = inbound;
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let silence = peer
            .unanswered
            .map_or(Duration::ZERO, |since| now.since(since));
        peer.received(now);
        if is_nontrivial(verb) {
            peer.last_nontrivial_receive = now;
        }
        let is_upstream = peer.is_upstream;
        let known = hops > 0 || peer.received_on(now, path);
        if hops == 0
            && let Some(path) = self.paths.get_mut(path)
        {
            path.received(now);
        }
        if !known {
            self.consider(now, from, path, verb);
        }
        if is_upstream {
            if silence >= NOTABLE_SILENCE {
                self.upstream_reachable(now, from);
            }
            self.set_online(true);
        }
    }

    /// A peer spoke from where we did not know it. Only an OK proves that it can be reached
    /// there; anything else makes us ask.
    fn consider(&mut self, now: Time, from: Address, path: PathId, verb: Verb) {
        let Some(peer) = self.peers.get(&from) else {
            return;
        };
        let Some(state) = self.paths.get(path) else {
            return;
        };
        let remote = state.remote;
        if peer.has_twin(now, &self.paths, path) || !self.permits(from, remote.ip()) {
            return;
        }
        if verb == Verb::OK {
            self.learn(now, from, path);
        } else if let Some(state) = self.paths.get_mut(path)
            && state.confirm_gate.admit(now, CONFIRM_INTERVAL, 1)
        {
            let target = Target {
                local: Some(state.local),
                remote,
                ttl: None,
            };
            self.send_hello(now, from, target);
        }
    }

    fn learn(&mut self, now: Time, from: Address, path: PathId) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let is_first = !peer.has_direct_path(now, &self.paths);
        let is_upstream = peer.is_upstream;
        peer.learn(now, &mut self.paths, path);
        // The peer may have moved. What was quiet meanwhile is asked, so that a path that leads
        // nowhere now is noticed within seconds.
        self.probe_quiet_paths(now, from, path);
        if is_first {
            self.events.push_back(Vl1Event::PeerSeen(from));
            if is_upstream {
                self.upstream_reachable(now, from);
            }
        }
        self.flush(now, from);
    }

    fn upstream_reachable(&mut self, now: Time, upstream: Address) {
        self.events.push_back(Vl1Event::UpstreamReachable(upstream));
        self.retry_lookups(now);
    }

    /// Whether packets to `peer` may go to `ip` (VL1 §4.12).
    pub(super) fn permits(&self, peer: Address, ip: IpAddr) -> bool {
        let pinned = self
            .peers
            .get(&peer)
            .map_or(&[][..], |peer| &peer.endpoints);
        inet::may_be_path(ip)
            && (pinned.is_empty() || pinned.iter().any(|endpoint| endpoint.ip() == ip))
            && !self.excluded.iter().any(|subnet| subnet.contains(ip))
    }

    pub(super) fn drop<T>(&mut self, reason: DropReason) -> Option<T> {
        self.counters.drop(reason);
        None
    }
}

/// An authentic packet without the place of its bytes.
struct Opened {
    from: Address,
    path: PathId,
    hops: u8,
    id: PacketId,
    verb: Verb,
    compressed: bool,
}

impl Opened {
    fn body<'d>(&self, packet: &'d [u8], plain: &'d [u8]) -> &'d [u8] {
        if self.compressed {
            plain
        } else {
            packet.get(HEADER_LEN..).unwrap_or_default()
        }
    }

    fn inbound<'d>(&self, body: &'d [u8]) -> Inbound<'d> {
        let &Opened {
            from,
            path,
            hops,
            id,
            verb,
            ..
        } = self;
        Inbound {
            from,
            path,
            hops,
            id,
            verb,
            body,
        }
    }
}

fn reason_of(error: OpenError) -> DropReason {
    match error {
        OpenError::TooShort => DropReason::Junk,
        OpenError::UnsupportedSuite => DropReason::UnsupportedSuite,
        OpenError::ClearText => DropReason::ClearText,
        _ => DropReason::NotAuthentic,
    }
}

/// Verbs that show that the peer takes part in a network with us (VL1 §4.1).
fn is_nontrivial(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::FRAME
            | Verb::EXT_FRAME
            | Verb::NETWORK_CONFIG_REQUEST
            | Verb::NETWORK_CONFIG
            | Verb::MULTICAST_FRAME
    )
}
