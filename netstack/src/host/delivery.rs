//! Datagrams and fragments that arrive, and errors about datagrams that did not.

use std::net::{IpAddr, SocketAddr};

use super::Host;
use crate::event::HostEvent;
use crate::icmp::{self, Cause, Refusal, Unreachable};
use crate::link::Ndp;
use crate::neighbour::Mac;
use crate::packet::{IpPacket, Part, protocol};
use crate::reassembly::{Key, Spoiled};
use crate::udp::{Cast, Header, Held, Loss, Service, UdpEvent, UdpFailure, UdpId};

/// Losses that a socket keeps; what comes after them is told only by its event.
const MAX_LOSSES: usize = 16;

impl Host {
    /// Takes the datagram of a packet to the sockets that it is for.
    pub(super) fn handle_udp(&mut self, src: Mac, packet: &IpPacket<'_>, cast: Cast) {
        let (header, payload) = match Header::parse(packet) {
            Ok(parsed) => parsed,
            Err(flaw) => return self.count(flaw),
        };
        let held = Held {
            service: Service::Udp,
            from: SocketAddr::new(packet.src, header.src_port),
            to: SocketAddr::new(packet.dst, header.dst_port),
            ttl: packet.ttl(),
            tos: packet.tos(),
            cast,
        };
        if self.deliver(held, payload) {
            return;
        }
        self.counters.port_closed += 1;
        if cast == Cast::Unicast {
            self.refuse(src, packet, Refusal::Port);
        }
    }

    /// Takes the answer to an echo request to the socket that asked, if there is one.
    pub(super) fn handle_echo_reply(&mut self, packet: &IpPacket<'_>, identifier: u16) {
        let held = Held {
            service: Service::Echo,
            from: SocketAddr::new(packet.src, 0),
            to: SocketAddr::new(packet.dst, identifier),
            ttl: packet.ttl(),
            tos: packet.tos(),
            cast: Cast::Unicast,
        };
        self.deliver(held, packet.payload);
    }

    /// Somebody says that a datagram, or an echo request, did not arrive.
    pub(super) fn handle_lost_datagram(
        &mut self,
        unreachable: &Unreachable,
        packet: &IpPacket<'_>,
    ) {
        let (mut local, mut remote) = (unreachable.local, unreachable.remote);
        let service = match unreachable.protocol {
            protocol::UDP => Service::Udp,
            protocol::ICMP | protocol::ICMPV6 => {
                local.set_port(unreachable.echo_identifier());
                remote.set_port(0);
                Service::Echo
            }
            _ => return,
        };
        let failure = match unreachable.cause {
            Cause::Refused => UdpFailure::Refused,
            Cause::Unreachable => UdpFailure::Unreachable,
            Cause::Expired => UdpFailure::Expired,
        };
        let [kind, code, ..] = *packet.payload else {
            return;
        };
        if let Some(id) = self.udp.find(service, local, remote) {
            let payload = icmp::quoted_payload(packet);
            self.datagram_lost(id, remote, failure, (kind, code), packet.src, payload);
        }
    }

    /// Queues a datagram for its socket, or sockets if it is for many. Returns whether there was one.
    pub(super) fn deliver(&mut self, held: Held, payload: &[u8]) -> bool {
        if held.cast == Cast::Unicast {
            let Some(id) = self.udp.find(held.service, held.to, held.from) else {
                return false;
            };
            self.queue_received(id, held, payload);
            return true;
        }
        let mut place = 0;
        while let Some((n, id)) = self.udp.next_of_all(held.to, held.from, place) {
            self.queue_received(id, held, payload);
            place = n + 1;
        }
        place > 0
    }

    fn queue_received(&mut self, id: UdpId, held: Held, payload: &[u8]) {
        let Some(socket) = self.udp.get_mut(id) else {
            return;
        };
        let room = socket
            .received
            .push(held, payload.len(), |out| out.copy_from_slice(payload));
        if !room {
            socket.dropped += 1;
            self.counters.receive_full += 1;
            return;
        }
        self.counters.datagrams_in += 1;
        if !std::mem::replace(&mut socket.marks.readable, true) {
            self.events
                .push_back(HostEvent::Udp(id, UdpEvent::Readable));
        }
    }

    /// Tells a socket that a datagram did not arrive; once until the owner took the event.
    pub(super) fn datagram_lost(
        &mut self,
        id: UdpId,
        peer: SocketAddr,
        failure: UdpFailure,
        message: (u8, u8),
        offender: IpAddr,
        payload: &[u8],
    ) {
        let Some(socket) = self.udp.get_mut(id) else {
            return;
        };
        if let Some(losses) = &mut socket.losses
            && losses.len() < MAX_LOSSES
        {
            losses.push_back(Loss {
                peer,
                failure,
                message,
                offender,
                payload: payload.iter().copied().take(Loss::PAYLOAD).collect(),
            });
        }
        if !std::mem::replace(&mut socket.marks.failed, true) {
            self.events
                .push_back(HostEvent::Udp(id, UdpEvent::Failed { peer, failure }));
        }
    }

    /// Notes that the owner takes an event of a socket. Returns whether there still is such a socket.
    pub(super) fn udp_reported(&mut self, id: UdpId, event: UdpEvent) -> bool {
        let Some(socket) = self.udp.get_mut(id) else {
            return false;
        };
        match event {
            UdpEvent::Readable => socket.marks.readable = false,
            UdpEvent::Failed { .. } => socket.marks.failed = false,
            UdpEvent::Writable => {}
        }
        true
    }

    /// Joins a fragment with those before; the whole goes the way of every packet.
    pub(super) fn handle_fragment(
        &mut self,
        src: Mac,
        dst: Mac,
        packet: &IpPacket<'_>,
        part: &Part<'_>,
    ) {
        self.counters.fragments += 1;
        if part.offset == 0 && !part.more && packet.src.is_ipv6() {
            // RFC 6946: whole, and never mixed with others.
            return self.handle_atomic(src, dst, part);
        }
        let key = Key {
            station: src,
            to_us: dst == self.mac,
            src: packet.src,
            dst: packet.dst,
            id: part.id,
            protocol: if packet.src.is_ipv4() {
                part.protocol
            } else {
                0
            },
        };
        let added = self.reassembly.add(self.now, key, part);
        self.counters.reassembly_full += self.reassembly.take_evicted();
        match added {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                self.counters.reassembled += 1;
                self.handle_whole(src, dst, &bytes);
                self.reassembly.recycle(bytes);
            }
            Err(Spoiled::Malformed) => self.counters.malformed += 1,
            Err(Spoiled::Overlap) => self.counters.fragments_overlapping += 1,
        }
    }

    fn handle_atomic(&mut self, src: Mac, dst: Mac, part: &Part<'_>) {
        let mut bytes = part.header.to_vec();
        bytes.extend_from_slice(part.payload);
        bytes[4..6].copy_from_slice(&(part.payload.len() as u16).to_be_bytes());
        bytes[6] = part.protocol;
        self.handle_whole(src, dst, &bytes);
    }

    fn handle_whole(&mut self, src: Mac, dst: Mac, bytes: &[u8]) {
        match IpPacket::parse(bytes) {
            // A fragment header in a fragment header is nothing that anybody sends.
            Ok(packet) if packet.protocol == protocol::FRAGMENT => self.counters.malformed += 1,
            // RFC 6980 §5: neighbour discovery never needs fragments, but who wants to hide it does.
            Ok(packet) if packet.protocol == protocol::ICMPV6 && Ndp::is_ndp(packet.payload) => {
                self.counters.neighbour_ignored += 1;
            }
            Ok(packet) => self.handle_packet(src, dst, &packet),
            Err(flaw) => self.count(flaw),
        }
    }
}
