//! Datagrams that leave: where to, through which queue, and in how many pieces.
//!
//! A packet waits whole in the queue of its socket and is cut when it leaves. Before the link address of its next hop is
//! known it waits with the others for that hop, so that it does not stand in the way of those for other hops.

use std::net::{IpAddr, SocketAddr};

use super::Host;
use super::datagrams::plain;
use super::turns::{Speaker, Turn};
use crate::event::HostEvent;
use crate::fragment::Cut;
use crate::held::Waiting;
use crate::icmp;
use crate::names::RESOLVER;
use crate::neighbour::{Lookup, Mac};
use crate::packet::{IpPacket, ethertype_of};
use crate::route::Reach;
use crate::sink::FrameSink;
use crate::udp::{
    Cast, Held, Outgoing, Queued, SendOptions, Service, UdpEvent, UdpFailure, UdpId, UdpSendError,
};

/// Hop limit of what is for one (net.ipv4.ip_default_ttl of Linux).
const TTL: u8 = 64;
/// Hop limit of what is for a group.
const GROUP_TTL: u8 = 1;
/// Bytes of a turn: as much as a TCP flow sends in one.
const TURN: usize = 64 << 10;

impl Host {
    /// Sends a datagram, or an echo request. `from` may name the own address to speak from. When it returns, the datagram is in the queue of
    /// its socket or, if it is for this host, in those of its receivers.
    ///
    /// # Errors
    /// [`UdpSendError`], and nothing is sent.
    pub fn udp_send(
        &mut self,
        now: crate::Instant,
        id: UdpId,
        from: Option<IpAddr>,
        to: SocketAddr,
        payload: &[u8],
        options: SendOptions,
    ) -> Result<(), UdpSendError> {
        self.now = now;
        let to = plain(to);
        let socket = self.udp.get(id).ok_or(UdpSendError::Unknown)?;
        let sound = match socket.service {
            Service::Udp => to.port() != 0,
            Service::Echo => icmp::is_echo_request(payload, to.is_ipv4()),
        };
        if !sound || to.ip().is_unspecified() || !socket.has_family(to.ip()) {
            return Err(UdpSendError::Invalid);
        }
        let (reach, near) = self
            .routes
            .way_of_datagram(to.ip())
            .ok_or(UdpSendError::NoRoute)?;
        let bound = socket
            .ip()
            .filter(|ip| !ip.is_multicast() && !self.is_broadcast(*ip));
        let source = from
            .filter(|ip| !ip.is_unspecified())
            .or(bound)
            .unwrap_or(near);
        if source.is_ipv4() != to.is_ipv4() {
            return Err(UdpSendError::Invalid);
        }
        if source != RESOLVER && !self.routes.is_own(source) {
            return Err(UdpSendError::AddrNotAvailable);
        }
        let usual = if to.ip().is_multicast() {
            GROUP_TTL
        } else {
            TTL
        };
        let outgoing = Outgoing {
            service: socket.service,
            from: SocketAddr::new(source, socket.local.port),
            to,
            ttl: options.ttl.unwrap_or(usual),
            tos: options.tos,
        };
        if payload.len() > outgoing.max_payload() {
            return Err(UdpSendError::TooLong);
        }
        match reach {
            Reach::Own => self.send_to_self(id, &outgoing, payload),
            Reach::Hop(hop) => self.send_to_hop(id, hop, &outgoing, payload)?,
            Reach::Many(mac) => self.send_to_many(id, mac, &outgoing, payload, options.loopback)?,
        }
        self.counters.datagrams_out += 1;
        Ok(())
    }

    fn send_to_self(&mut self, id: UdpId, outgoing: &Outgoing, payload: &[u8]) {
        if outgoing.service == Service::Echo {
            let mut answer = payload.to_vec();
            let (asked, asker) = (outgoing.to.ip(), outgoing.from);
            icmp::answer_echo(&mut answer, asker.port(), asked, asker.ip());
            let held = Held {
                from: SocketAddr::new(asked, 0),
                to: asker,
                ..looped(outgoing, Cast::Unicast)
            };
            self.deliver(held, &answer);
            return;
        }
        if !self.deliver(looped(outgoing, Cast::Unicast), payload) {
            self.counters.port_closed += 1;
            let own = outgoing.to.ip();
            let message = icmp::port_unreachable(own.is_ipv4());
            self.datagram_lost(id, outgoing.to, UdpFailure::Refused, message, own, payload);
        }
    }

    fn send_to_hop(
        &mut self,
        id: UdpId,
        hop: IpAddr,
        outgoing: &Outgoing,
        payload: &[u8],
    ) -> Result<(), UdpSendError> {
        if !self.held.has(hop) {
            let found = self.neighbours.lookup(self.now, hop, Speaker::Held(hop));
            if let Lookup::Found(mac) = found {
                return self.queue_packet(id, mac, outgoing, payload);
            }
        }
        let mut packet = vec![0; outgoing.len(payload.len())];
        outgoing.write(payload, &mut packet);
        let waiting = Waiting {
            socket: id,
            to: outgoing.to,
            packet,
        };
        self.counters.hop_lost += self.held.push(hop, waiting);
        Ok(())
    }

    fn send_to_many(
        &mut self,
        id: UdpId,
        mac: Mac,
        outgoing: &Outgoing,
        payload: &[u8],
        loopback: bool,
    ) -> Result<(), UdpSendError> {
        let is_group = outgoing.to.ip().is_multicast();
        if !is_group || outgoing.ttl > 0 {
            self.queue_packet(id, mac, outgoing, payload)?;
        }
        if outgoing.service == Service::Echo {
            return Ok(());
        }
        if !loopback {
            return Ok(());
        }
        if !is_group {
            self.deliver(looped(outgoing, Cast::Broadcast), payload);
        } else if self.udp.is_joined(outgoing.to.ip()) {
            self.deliver(looped(outgoing, Cast::Multicast), payload);
        }
        Ok(())
    }

    fn queue_packet(
        &mut self,
        id: UdpId,
        mac: Mac,
        outgoing: &Outgoing,
        payload: &[u8],
    ) -> Result<(), UdpSendError> {
        let socket = self.udp.get_mut(id).ok_or(UdpSendError::Unknown)?;
        let queued = Queued {
            mac,
            ethertype: ethertype_of(outgoing.to.ip()),
        };
        let len = outgoing.len(payload.len());
        if !socket
            .outgoing
            .push(queued, len, |out| outgoing.write(payload, out))
        {
            socket.marks.starved = true;
            return Err(UdpSendError::WouldBlock);
        }
        if !std::mem::replace(&mut socket.marks.queued, true) {
            self.turns.push_back(Speaker::Udp(id));
        }
        Ok(())
    }

    /// Sends what a socket has queued, as much as a turn may.
    pub(super) fn udp_turn(&mut self, id: UdpId, sink: &mut impl FrameSink) -> Turn {
        let mut left = TURN;
        let Some(socket) = self.udp.any_mut(id) else {
            return Turn::Done;
        };
        socket.marks.queued = false;
        while let Some((queued, packet)) = socket.outgoing.front() {
            if left == 0 {
                return Turn::Again;
            }
            if !sink.ready() {
                // Who sent something goes behind the others, even if the sink takes little at a time.
                return if left < TURN {
                    Turn::Again
                } else {
                    Turn::Blocked
                };
            }
            let mut last = true;
            if packet.len() <= self.mtu && socket.cut.is_none() {
                sink.frame(queued.mac, queued.ethertype, packet);
                left = left.saturating_sub(packet.len());
            } else {
                let cut = socket.cut.get_or_insert_with(|| {
                    self.next_fragment_id = self.next_fragment_id.wrapping_add(1);
                    Cut::new(self.next_fragment_id)
                });
                last = cut.next(packet, self.mtu, &mut self.fragment);
                sink.frame(queued.mac, queued.ethertype, &self.fragment);
                left = left.saturating_sub(self.fragment.len());
            }
            self.counters.packets_out += 1;
            if last {
                socket.cut = None;
                socket.outgoing.pop();
                if socket.marks.starved && socket.outgoing.is_roomy() {
                    socket.marks.starved = false;
                    self.events
                        .push_back(HostEvent::Udp(id, UdpEvent::Writable));
                }
            }
        }
        if socket.marks.closed {
            self.udp.remove(id);
        }
        Turn::Done
    }

    /// The link address of a hop is known, or whoever looked for it must begin anew.
    pub(super) fn release_held(&mut self, hop: IpAddr) {
        let found = self.neighbours.lookup(self.now, hop, Speaker::Held(hop));
        let Lookup::Found(mac) = found else {
            return;
        };
        for waiting in self.held.take(hop) {
            self.send_held(mac, &waiting);
        }
    }

    /// Puts a packet in front of those of its socket that come after it.
    fn send_held(&mut self, mac: Mac, waiting: &Waiting) {
        let (ip, packet) = (waiting.to.ip(), &waiting.packet);
        let pushed = if packet.len() > self.mtu {
            self.push_large(mac, ip, packet)
        } else {
            let pushed = self
                .replies
                .push(mac, ethertype_of(ip), packet.len(), |out| {
                    out.copy_from_slice(packet)
                });
            self.counters.packets_out += u64::from(pushed);
            pushed
        };
        self.counters.hop_lost += u64::from(!pushed);
    }

    /// A hop does not answer: what waits for it is lost, and its senders are told.
    pub(super) fn lose_held(&mut self, hop: IpAddr) {
        for waiting in self.held.take(hop) {
            self.counters.hop_lost += 1;
            let Ok(packet) = IpPacket::parse(&waiting.packet) else {
                continue;
            };
            let (to, failure) = (waiting.to, UdpFailure::Unreachable);
            let message = icmp::host_unreachable(to.is_ipv4());
            let payload = icmp::after_ports(packet.protocol, packet.payload);
            self.datagram_lost(waiting.socket, to, failure, message, packet.src, payload);
        }
    }
}

/// A datagram of this host as its own sockets receive it.
fn looped(outgoing: &Outgoing, cast: Cast) -> Held {
    Held {
        service: outgoing.service,
        from: outgoing.from,
        to: outgoing.to,
        ttl: outgoing.ttl,
        tos: outgoing.tos,
        cast,
    }
}
