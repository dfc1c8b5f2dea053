//! What flows and sockets send, whose turn it is, and the timers of flows.
//!
//! A flow gets a turn when something happened to it: a segment, bytes from its owner, a timer. A turn sends at most one
//! packet or super-segment, so that flows share the sink. At its end the flow's next deadline goes into the timer queue;
//! nothing ever looks at flows to which nothing happened.

use std::net::IpAddr;
use std::time::Duration;

use super::Host;
use crate::burst::Burst;
use crate::demux::Tuple;
use crate::event::{ConnectFailure, FlowId, HostEvent, ResetReason};
use crate::flow::{Flow, Origin, Owner};
use crate::neighbour::Lookup;
use crate::packet::{IpPacket, ethertype_of};
use crate::sink::FrameSink;
use crate::tcp::{Due, Phase, Tcp};
use crate::time::Instant;
use crate::udp::UdpId;

/// Silence after which an owed acknowledgement will not come any more (tcp_retries2 of Linux, about 15 minutes).
const PATIENCE: Duration = Duration::from_secs(924);
/// The same when no program waits for it.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(100);
/// How long the peer of a program that is gone may keep its half open (tcp_fin_timeout).
const HALF_OPEN: Duration = Duration::from_secs(60);
/// Quiet time after which rings give their pages back.
const QUIET: Duration = Duration::from_secs(5);
/// Pause before an open flow looks for a next hop again that did not answer.
const HOP_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a TCP that was due had nothing to send.
const IDLE_PAUSE: Duration = Duration::from_millis(10);
/// The longest header: IPv6, and TCP with all options.
const MAX_HEADERS: usize = 100;

/// Who wants to send, or waits for a link address to do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    Flow(FlowId),
    Udp(UdpId),
    /// The datagrams for this hop.
    Held(IpAddr),
}

/// How a turn ended.
pub(super) enum Turn {
    Done,
    /// There is more to send.
    Again,
    /// The sink was not ready.
    Blocked,
}

impl Host {
    /// Hands frames to `sink` until there are no more, or the sink is no longer ready. Returns whether there are no more.
    pub fn poll_transmit(&mut self, now: Instant, sink: &mut impl FrameSink) -> bool {
        self.now = now;
        loop {
            if !self.replies.drain(sink) {
                return false;
            }
            while let Some(speaker) = self.turns.pop_front() {
                let turn = match speaker {
                    Speaker::Flow(id) => self.turn(id, sink),
                    Speaker::Udp(id) => self.udp_turn(id, sink),
                    Speaker::Held(_) => Turn::Done,
                };
                match turn {
                    Turn::Done => {}
                    Turn::Again => {
                        self.turns.push_back(speaker);
                        self.set_queued(speaker);
                    }
                    Turn::Blocked => {
                        self.turns.push_front(speaker);
                        self.set_queued(speaker);
                        return false;
                    }
                }
                // What goes to ourselves is taken in before more is made, so that it does not pile up.
                self.drain_looped();
            }
            while let Some(ask) = self.neighbours.poll_ask() {
                self.send_ask(ask);
            }
            if self.replies.is_empty() && self.turns.is_empty() {
                return true;
            }
        }
    }

    /// Gives a flow a turn in the next [`poll_transmit`](Host::poll_transmit).
    pub(crate) fn queue_turn(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(id)
            && !std::mem::replace(&mut flow.marks.queued, true)
        {
            self.turns.push_back(Speaker::Flow(id));
        }
    }

    fn set_queued(&mut self, speaker: Speaker) {
        match speaker {
            Speaker::Flow(id) => {
                if let Some(flow) = self.flows.get_mut(id) {
                    flow.marks.queued = true;
                }
            }
            Speaker::Udp(id) => {
                if let Some(socket) = self.udp.any_mut(id) {
                    socket.marks.queued = true;
                }
            }
            Speaker::Held(_) => {}
        }
    }

    fn turn(&mut self, id: FlowId, sink: &mut impl FrameSink) -> Turn {
        let Some(flow) = self.flows.get_mut(id) else {
            return Turn::Done;
        };
        flow.marks.queued = false;
        if flow.marks.muted || flow.marks.waiting {
            self.settle(id, Due::Never);
            return Turn::Done;
        }
        let now = self.now;
        if std::mem::take(&mut flow.marks.begun) {
            flow.lively = now;
            if !flow.is_owned() {
                flow.owner = Owner::Gone(now);
            }
        }
        let mut due = flow.tcp.due(&mut self.tcp, now);
        if due == Due::Now {
            let to_self = self.routes.is_own(flow.hop);
            if !to_self && !sink.ready() {
                return Turn::Blocked;
            }
            let mac = match self.neighbours_or_self(id, to_self) {
                Lookup::Found(mac) => mac,
                Lookup::Pending => {
                    self.settle(id, Due::Never);
                    return Turn::Done;
                }
            };
            let Some(flow) = self.flows.get_mut(id) else {
                return Turn::Done;
            };
            let ethertype = ethertype_of(flow.remote.ip());
            let (looped, counters) = (&mut self.looped, &mut self.counters);
            let sent = flow.tcp.transmit(&mut self.tcp, now, |burst| {
                counters.packets_out += burst.count() as u64;
                if to_self {
                    burst.write_all(looped);
                } else {
                    send(sink, mac, ethertype, burst);
                }
            });
            due = flow.tcp.due(&mut self.tcp, now);
            match (due, sent) {
                (Due::Now, true) => return Turn::Again,
                (Due::Now, false) => due = Due::At(now + IDLE_PAUSE),
                _ => {}
            }
        }
        self.settle(id, due);
        Turn::Done
    }

    fn neighbours_or_self(&mut self, id: FlowId, to_self: bool) -> Lookup {
        if to_self {
            return Lookup::Found(self.mac);
        }
        let Some(flow) = self.flows.get_mut(id) else {
            return Lookup::Pending;
        };
        let found = self
            .neighbours
            .lookup(self.now, flow.hop, Speaker::Flow(id));
        flow.marks.waiting = found == Lookup::Pending;
        found
    }

    fn drain_looped(&mut self) {
        while let Some(bytes) = self.looped.pop_front() {
            self.handle_ip(self.mac, self.mac, IpPacket::parse(&bytes));
        }
    }

    /// After a turn: lets a flow without an owner go when its time has come, and arms its timer.
    fn settle(&mut self, id: FlowId, due: Due) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if !flow.is_owned() && !flow.marks.waiting {
            match flow.tcp.phase() {
                Phase::Closed => return self.forget(id),
                Phase::TimeWait if due == Due::Never => {
                    let tuple = Tuple::new(flow.local, flow.remote);
                    let numbers = flow.tcp.numbers();
                    self.forget(id);
                    self.time_wait.insert(self.now, tuple, numbers);
                    return;
                }
                _ => {}
            }
        }
        if let Some(at) = next_deadline(flow, due, self.now)
            && flow.armed.is_none_or(|armed| at < armed)
        {
            flow.armed = Some(at);
            self.timers.arm(at, id);
            self.sweep_timers();
        }
    }

    /// Far deadlines of flows that are gone would stay for minutes: with many short connections they would be most of
    /// the queue. A sweep when they outnumber the flows costs each of them a constant.
    fn sweep_timers(&mut self) {
        if self.timers.len() > 4 * self.flows.len() + 1024 {
            let flows = &self.flows;
            self.timers
                .retain(|at, id| flows.get(id).is_some_and(|flow| flow.armed == Some(at)));
        }
    }

    pub(super) fn timer_fired(&mut self, id: FlowId, at: Instant) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if flow.armed != Some(at) {
            return;
        }
        flow.armed = None;
        if flow.marks.ended {
            trim(flow, now);
            return;
        }
        if !flow.marks.established {
            if now >= flow.handshake_until {
                flow.marks.muted = true;
                self.end(
                    id,
                    Some(HostEvent::ConnectFailed(id, ConnectFailure::TimedOut)),
                );
                return;
            }
        } else if is_dead(flow, now) {
            flow.tcp.abort();
            self.end(id, Some(HostEvent::Reset(id, ResetReason::TimedOut)));
            self.queue_turn(id);
            return;
        }
        if let Some(keepalive) = flow.keepalive
            && !flow.probing
            && now >= flow.heard + keepalive.idle
        {
            flow.probing = true;
            flow.tcp.set_keepalive(Some(keepalive.interval));
        }
        trim(flow, now);
        self.queue_turn(id);
    }

    /// The neighbour that somebody waited for is known, or must be asked for anew.
    pub(super) fn wake(&mut self, speaker: Speaker) {
        let id = match speaker {
            Speaker::Flow(id) => id,
            Speaker::Held(hop) => return self.release_held(hop),
            Speaker::Udp(_) => return,
        };
        if let Some(flow) = self.flows.get_mut(id) {
            flow.marks.waiting = false;
            self.queue_turn(id);
        }
    }

    /// The neighbour that somebody waited for does not answer.
    pub(super) fn hop_is_gone(&mut self, speaker: Speaker) {
        let id = match speaker {
            Speaker::Flow(id) => id,
            Speaker::Held(hop) => return self.lose_held(hop),
            Speaker::Udp(_) => return,
        };
        let now = self.now;
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.marks.waiting = false;
        if !flow.marks.established && flow.origin == Origin::Connect {
            flow.marks.muted = true;
            self.end(
                id,
                Some(HostEvent::ConnectFailed(id, ConnectFailure::Unreachable)),
            );
        } else {
            self.settle(id, Due::At(now + HOP_PAUSE));
        }
    }
}

fn send(sink: &mut impl FrameSink, mac: [u8; 6], ethertype: u16, burst: &Burst<'_>) {
    if burst.has_payload() {
        sink.burst(mac, ethertype, burst);
        return;
    }
    let mut packet = [0; MAX_HEADERS];
    let packet = &mut packet[..burst.len(0)];
    burst.write(0, packet);
    sink.frame(mac, ethertype, packet);
}

/// Whether the peer of an open flow has been silent for too long.
fn is_dead(flow: &Flow, now: Instant) -> bool {
    patience_ends(flow).is_some_and(|end| now >= end)
        || flow.keepalive.is_some_and(|keepalive| {
            flow.probing
                && now >= flow.heard + keepalive.idle + keepalive.interval * keepalive.count
        })
}

/// When an open flow is given up if nothing more is heard.
fn patience_ends(flow: &Flow) -> Option<Instant> {
    match (flow.owner, flow.tcp.phase()) {
        (Owner::Gone(since), Phase::LocalFinished) => Some(since.max(flow.heard) + HALF_OPEN),
        (Owner::Gone(_), _) => Some(flow.lively + ORPHAN_PATIENCE),
        (Owner::Present, _) if flow.is_owed() => Some(flow.lively + PATIENCE),
        _ => None,
    }
}

fn trim(flow: &mut Flow, now: Instant) {
    if flow.trim_at.is_some_and(|at| now >= at) {
        flow.trim_at = None;
        flow.tcp.trim();
    }
}

/// The next moment at which a flow must be looked at.
fn next_deadline(flow: &mut Flow, due: Due, now: Instant) -> Option<Instant> {
    if flow.tcp.is_used() && flow.trim_at.is_none_or(|at| at < now + QUIET) {
        flow.trim_at = Some(now + QUIET);
    }
    if flow.marks.ended {
        return flow.trim_at;
    }
    let due = match due {
        Due::Now => Some(now),
        Due::At(at) => Some(at),
        Due::Never => None,
    };
    let patience = if flow.marks.established {
        patience_ends(flow)
    } else {
        Some(flow.handshake_until)
    };
    let keepalive = flow
        .keepalive
        .filter(|_| flow.marks.established)
        .map(|keepalive| {
            let probes = if flow.probing {
                keepalive.interval * keepalive.count
            } else {
                Duration::ZERO
            };
            flow.heard + keepalive.idle + probes
        });
    [due, patience, keepalive, flow.trim_at]
        .into_iter()
        .flatten()
        .min()
}
