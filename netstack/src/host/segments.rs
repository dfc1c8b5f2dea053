//! A TCP segment to its flow, its listener, or the reset that answers it; and what changed, as events.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Host;
use crate::demux::Tuple;
use crate::event::{ConnectFailure, FlowId, HostEvent, ResetReason};
use crate::flow::Origin;
use crate::neighbour::Mac;
use crate::packet::{ACK, BareSegment, IpPacket, RST, SYN, Segment, ends, ethertype_of};
use crate::tcp::{Connection, Phase, Reach, Tcp};
use crate::time_wait::Verdict;

/// The longest round trip for which the rings of a LAN are enough: 1 MiB in 5 ms is 1.6 Gbit/s.
const LAN: Duration = Duration::from_millis(5);
/// Handshakes of all listeners together.
const MAX_HANDSHAKES: usize = 4096;

impl Host {
    pub(super) fn handle_tcp(&mut self, src: Mac, packet: &IpPacket<'_>) {
        let segment = match Segment::parse(packet.payload) {
            Ok(segment) => segment,
            Err(flaw) => return self.count(flaw),
        };
        let (local, remote) = ends(packet, &segment);
        let tuple = Tuple::new(local, remote);
        if let Some(id) = self.demux.get(&tuple) {
            self.flow_segment(*id, src, packet, &segment);
            return;
        }
        let listening = self.listeners.find(local).is_some();
        match self
            .time_wait
            .receive(self.now, &tuple, packet, &segment, listening)
        {
            Verdict::Ignored => return,
            Verdict::Answer(answer) => return self.reply_bare(src, answer),
            Verdict::Unknown | Verdict::Reopened => {}
        }
        if segment.has(RST) {
            return;
        }
        if segment.has(SYN) && !segment.has(ACK) && listening {
            self.handle_syn(src, packet, &segment);
        } else {
            self.counters.port_closed += 1;
            self.reply_bare(src, BareSegment::reset(local, remote, &segment));
        }
    }

    fn reply_bare(&mut self, dst: Mac, segment: BareSegment) {
        self.reply(dst, segment.remote.ip(), segment.len(), |out| {
            segment.write(out)
        });
    }

    /// A SYN for a listener makes a flow.
    fn handle_syn(&mut self, src: Mac, packet: &IpPacket<'_>, segment: &Segment) {
        let (local, remote) = ends(packet, segment);
        let Some((listener, state)) = self.listeners.find(local) else {
            return;
        };
        if !state.has_room() || self.handshakes >= MAX_HANDSHAKES {
            self.counters.backlog_full += 1;
            return;
        }
        let Some(way) = self.routes.way_to(remote.ip()) else {
            self.counters.bad_source += 1;
            return;
        };
        let reach = self.reach_of(way.hop);
        let Ok(tcp) = Connection::accept(&mut self.tcp, self.now, local, reach) else {
            self.counters.no_memory += 1;
            return;
        };
        self.listeners.handshake_begins(listener);
        self.handshakes += 1;
        let id = self.add_flow(tcp, local, remote, way.hop, Origin::Accept(listener));
        self.flow_segment(id, src, packet, segment);
    }

    pub(super) fn reach_of(&self, hop: IpAddr) -> Reach {
        match self.neighbours.round_trip(hop) {
            Some(round_trip) if round_trip > LAN => Reach::Far,
            _ => Reach::Near,
        }
    }

    pub(super) fn flow_between(&self, local: SocketAddr, remote: SocketAddr) -> Option<FlowId> {
        self.demux.get(&Tuple::new(local, remote)).copied()
    }

    fn flow_segment(&mut self, id: FlowId, src: Mac, packet: &IpPacket<'_>, segment: &Segment) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if flow.marks.established && segment.has(SYN) && !segment.has(ACK) && !segment.has(RST) {
            return self.challenge(id, src);
        }
        let now = self.now;
        flow.heard = now;
        flow.lively = now;
        if flow.probing {
            flow.probing = false;
            flow.tcp.set_keepalive(None);
        }
        // A passive flow that has not seen its SYN is LISTEN, which looks closed.
        let before = if flow.marks.established {
            flow.tcp.phase()
        } else {
            Phase::Handshake
        };
        let received = flow.tcp.recv_queue();
        let room = flow.tcp.send_room();
        let opens = before == Phase::Handshake;
        let (replies, looped, counters) = (&mut self.replies, &mut self.looped, &mut self.counters);
        let to_self = src == self.mac;
        flow.tcp
            .receive(&mut self.tcp, now, packet, segment, |burst| {
                if to_self {
                    burst.write_all(looped);
                } else if !replies.push_burst(src, ethertype_of(packet.src), burst) {
                    counters.replies_dropped += 1;
                    return;
                }
                counters.packets_out += burst.count() as u64;
            });
        let phase = flow.tcp.phase();
        let arrived = flow.tcp.recv_queue() > received;
        let gained =
            !opens && room < flow.writable_at() && flow.tcp.send_room() >= flow.writable_at();
        if opens {
            self.phase_changed(id, before, phase, segment.has(RST));
            self.tell(id, arrived, gained);
        } else {
            self.tell(id, arrived, gained);
            self.phase_changed(id, before, phase, segment.has(RST));
        }
        self.queue_turn(id);
    }

    /// A SYN for an open connection: its peer began anew and knows nothing of it, or somebody else says so. What the
    /// connection expects is all the answer (RFC 5961 §4); a peer that began anew resets it and repeats its SYN.
    fn challenge(&mut self, id: FlowId, src: Mac) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let numbers = flow.tcp.numbers();
        let answer = BareSegment {
            local: flow.local,
            remote: flow.remote,
            sequence: numbers.send,
            acknowledgement: numbers.receive,
            flags: ACK,
            window: numbers.window,
        };
        self.reply_bare(src, answer);
    }

    /// Turns a step of the state machine into events, and into the end of the flow where it is one.
    fn phase_changed(&mut self, id: FlowId, before: Phase, phase: Phase, reset: bool) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if phase == before {
            return;
        }
        if before == Phase::Handshake && phase != Phase::Closed {
            flow.marks.established = true;
            if let Some(round_trip) = flow.tcp.round_trip() {
                self.neighbours.set_round_trip(flow.hop, round_trip);
            }
        }
        match (before, phase, flow.origin) {
            (Phase::Handshake, Phase::Closed, Origin::Connect) => {
                self.end(
                    id,
                    Some(HostEvent::ConnectFailed(id, ConnectFailure::Refused)),
                );
            }
            (Phase::Handshake, Phase::Closed, Origin::Accept(_)) => self.forget(id),
            (Phase::Handshake, _, Origin::Connect) => {
                self.counters.connected += 1;
                self.events.push_back(HostEvent::Connected(id));
            }
            (Phase::Handshake, _, Origin::Accept(listener)) => {
                self.counters.accepted += 1;
                self.handshakes -= 1;
                self.listeners.handshake_succeeds(listener);
                self.events
                    .push_back(HostEvent::Accepted { listener, flow: id });
            }
            (Phase::Closing | Phase::TimeWait, Phase::Closed, _) if !reset => {
                self.remote_finished(id);
                self.end(id, Some(HostEvent::Closed(id)));
            }
            (Phase::TimeWait, Phase::Closed, _) => self.end(id, None),
            (_, Phase::Closed, _) => {
                self.counters.reset_by_peer += 1;
                self.end(id, Some(HostEvent::Reset(id, ResetReason::Peer)));
            }
            _ => {}
        }
        match phase {
            Phase::RemoteFinished | Phase::Closing => self.remote_finished(id),
            Phase::TimeWait => {
                self.remote_finished(id);
                self.push_owned(id, HostEvent::Closed(id));
            }
            _ => {}
        }
    }

    fn remote_finished(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if !std::mem::replace(&mut flow.marks.remote_finished, true) {
            self.push_owned(id, HostEvent::RemoteFinished(id));
        }
    }

    /// Tells of bytes and room, once until the owner took the event.
    fn tell(&mut self, id: FlowId, arrived: bool, gained: bool) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if !flow.is_owned() {
            // RFC 9293 §3.6: bytes for a program that is gone are answered with a reset.
            if arrived && !flow.marks.ended {
                flow.tcp.abort();
            }
            return;
        }
        if arrived && !std::mem::replace(&mut flow.marks.readable, true) {
            self.events.push_back(HostEvent::Readable(id));
        }
        if gained && !std::mem::replace(&mut flow.marks.writable, true) {
            self.events.push_back(HostEvent::Writable(id));
        }
    }

    pub(super) fn push_owned(&mut self, id: FlowId, event: HostEvent) {
        if self.flows.get(id).is_some_and(|flow| flow.is_owned()) {
            self.events.push_back(event);
        }
    }
}
