//! A frame to its protocol: addresses, ICMP, and the questions of neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Host;
use crate::event::{ConnectFailure, HostEvent};
use crate::flow::Origin;
use crate::icmp::{self, Cause, Message, Refusal, Unreachable};
use crate::link::{self, Arp, BROADCAST, Ndp};
use crate::neighbour::{Ask, Mac};
use crate::packet::{Flaw, IpPacket, protocol};
use crate::tcp::{Phase, Tcp};
use crate::time::Instant;
use crate::udp::Cast;
use crate::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};

impl Host {
    /// Takes one frame. Malformed ones are counted and dropped.
    pub fn handle_frame(
        &mut self,
        now: Instant,
        src: [u8; 6],
        dst: [u8; 6],
        ethertype: u16,
        payload: &[u8],
    ) {
        self.now = now;
        if !link::is_station(src) || src == self.mac {
            self.counters.bad_source += 1;
            return;
        }
        if dst != self.mac && link::is_station(dst) {
            self.counters.not_ours += 1;
            return;
        }
        match ethertype {
            ETHERTYPE_IPV4 => self.handle_ip(src, dst, IpPacket::parse_v4(payload)),
            ETHERTYPE_IPV6 => self.handle_ip(src, dst, IpPacket::parse_v6(payload)),
            ETHERTYPE_ARP => self.handle_arp(src, payload),
            _ => self.counters.unknown_ethertype += 1,
        }
    }

    pub(super) fn handle_ip(&mut self, src: Mac, dst: Mac, parsed: Result<IpPacket<'_>, Flaw>) {
        let packet = match parsed {
            Ok(packet) => packet,
            Err(flaw) => return self.count(flaw),
        };
        self.counters.packets_in += 1;
        let looped = src == self.mac && self.routes.is_own(packet.src);
        if !looped && !self.routes.can_be_peer(packet.src) {
            self.counters.bad_source += 1;
            return;
        }
        match packet.fragment() {
            Ok(None) => self.handle_packet(src, dst, &packet),
            Ok(Some(part)) if self.takes(packet.dst) => {
                self.handle_fragment(src, dst, &packet, &part);
            }
            Ok(Some(_)) => self.counters.not_ours += 1,
            Err(flaw) => self.count(flaw),
        }
    }

    /// Whether something at this address could concern us.
    fn takes(&self, ip: IpAddr) -> bool {
        self.routes.is_own(ip) || self.cast_of(ip).is_some()
    }

    /// To how many an address is that is not our own, if we are among them.
    fn cast_of(&self, ip: IpAddr) -> Option<Cast> {
        if self.is_broadcast(ip) {
            Some(Cast::Broadcast)
        } else if ip.is_multicast() && self.udp.is_joined(ip) {
            Some(Cast::Multicast)
        } else {
            None
        }
    }

    /// Takes a whole packet from somebody who may be a peer.
    pub(super) fn handle_packet(&mut self, src: Mac, dst: Mac, packet: &IpPacket<'_>) {
        if !self.routes.is_own(packet.dst) {
            self.handle_group(src, packet);
            return;
        }
        // RFC 1122 §3.3.6: what came to all of the link is no conversation with us, whatever its IP header says.
        let to_us = dst == self.mac;
        match packet.protocol {
            protocol::TCP if to_us => self.handle_tcp(src, packet),
            protocol::ICMP if packet.dst.is_ipv4() => self.handle_icmp(src, packet, to_us),
            protocol::ICMPV6 if packet.dst.is_ipv6() => self.handle_icmp(src, packet, to_us),
            protocol::UDP if to_us => self.handle_udp(src, packet, Cast::Unicast),
            _ if to_us => {
                self.counters.unknown_protocol += 1;
                self.refuse(src, packet, Refusal::Protocol);
            }
            _ => self.counters.not_ours += 1,
        }
    }

    /// Packets for more than one host: only datagrams and neighbour discovery concern us.
    fn handle_group(&mut self, src: Mac, packet: &IpPacket<'_>) {
        if packet.dst.is_multicast()
            && packet.protocol == protocol::ICMPV6
            && Ndp::is_ndp(packet.payload)
        {
            self.handle_icmp(src, packet, false);
            return;
        }
        match self.cast_of(packet.dst) {
            Some(cast) if packet.protocol == protocol::UDP => {
                // Nobody looks for our link address before speaking to all: it is here that we may hear somebody for the
                // first time who has the address of another now.
                self.neighbours.heard_from(self.now, packet.src, src);
                self.handle_udp(src, packet, cast);
            }
            _ => self.counters.not_ours += 1,
        }
    }

    pub(super) fn count(&mut self, flaw: Flaw) {
        match flaw {
            Flaw::Malformed => self.counters.malformed += 1,
            Flaw::BadChecksum => self.counters.bad_checksum += 1,
        }
    }

    pub(super) fn refuse(&mut self, to: Mac, packet: &IpPacket<'_>, refusal: Refusal) {
        if !self.icmp_limit.allow(self.now) {
            self.counters.icmp_limited += 1;
            return;
        }
        let len = icmp::refusal_len(packet);
        self.reply(to, packet.src, len, |out| {
            icmp::write_refusal(out, packet, refusal)
        });
    }

    fn handle_icmp(&mut self, src: Mac, packet: &IpPacket<'_>, to_us: bool) {
        if !icmp::is_sound(packet) {
            self.counters.bad_checksum += 1;
            return;
        }
        if packet.protocol == protocol::ICMPV6 && Ndp::is_ndp(packet.payload) {
            self.handle_ndp(src, packet);
            return;
        }
        match icmp::read(packet) {
            Message::Echo if to_us => {
                let len = icmp::echo_reply_len(packet);
                self.reply(src, packet.src, len, |out| {
                    icmp::write_echo_reply(out, packet)
                });
            }
            Message::EchoReply(identifier) if to_us => self.handle_echo_reply(packet, identifier),
            Message::Unreachable(unreachable) if to_us => {
                self.handle_unreachable(unreachable, packet);
            }
            _ => {}
        }
    }

    /// Somebody says that a packet of ours did not arrive. A UDP socket is told. Only a connection that is just being made
    /// gives up for that (RFC 5461 §4.1), and only if the quoted packet is its SYN.
    fn handle_unreachable(&mut self, unreachable: Unreachable, packet: &IpPacket<'_>) {
        let Unreachable {
            cause,
            protocol,
            local,
            remote,
            sequence,
        } = unreachable;
        if protocol != protocol::TCP {
            return self.handle_lost_datagram(&unreachable, packet);
        }
        let Some(id) = self.flow_between(local, remote) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let syn = flow.tcp.numbers().send.wrapping_sub(1);
        if flow.tcp.phase() != Phase::Handshake || flow.origin != Origin::Connect || sequence != syn
        {
            return;
        }
        let failure = match cause {
            Cause::Refused => ConnectFailure::Refused,
            Cause::Unreachable => ConnectFailure::Unreachable,
            // A loop of routes may be gone a moment later.
            Cause::Expired => return,
        };
        flow.marks.muted = true;
        self.end(id, Some(HostEvent::ConnectFailed(id, failure)));
    }

    fn handle_arp(&mut self, src: Mac, payload: &[u8]) {
        let Some(arp) = Arp::parse(payload) else {
            self.counters.malformed += 1;
            return;
        };
        let (mac, ip) = arp.sender;
        let for_us = self.routes.is_own(arp.target.1.into());
        let is_probe = ip.is_unspecified();
        // Who speaks for another link address than its own is not believed.
        if mac != src || !(is_probe || self.routes.can_be_peer(ip.into())) {
            self.counters.neighbour_ignored += 1;
            return;
        }
        if !is_probe {
            self.heard(ip.into(), mac, for_us && arp.request);
        }
        if for_us && arp.request {
            let answer = Arp {
                request: false,
                sender: (self.mac, arp.target.1),
                target: (mac, ip),
            };
            self.push_arp(mac, answer);
        }
    }

    fn handle_ndp(&mut self, src: Mac, packet: &IpPacket<'_>) {
        let (Some(ndp), IpAddr::V6(from)) = (Ndp::parse(packet), packet.src) else {
            self.counters.malformed += 1;
            return;
        };
        if ndp.link.is_some_and(|link| link != src) {
            self.counters.neighbour_ignored += 1;
            return;
        }
        if !ndp.solicitation {
            self.heard(ndp.target.into(), src, false);
        } else if self.routes.is_own(ndp.target.into()) {
            self.heard(from.into(), src, ndp.link.is_some());
            let own = self.mac;
            self.reply(src, from.into(), link::NDP_LEN, |out| {
                link::write_advertisement(out, own, ndp.target, Some(from));
            });
        }
    }

    fn heard(&mut self, ip: IpAddr, mac: Mac, learn: bool) {
        for speaker in self.neighbours.heard(self.now, ip, mac, learn) {
            self.wake(speaker);
        }
    }

    /// Tells the link that an address is ours (RFC 5227 §3, RFC 4861 §7.2.6): who knows it by another link address, for
    /// somebody else had it a moment ago, learns better. An IPv4 address is announced as a question and as an answer. A
    /// virtual link carries a question only to those who listen to that address, which finds others that have it too;
    /// the answer goes to all.
    pub(super) fn announce(&mut self, ip: IpAddr) {
        let own = self.mac;
        match ip {
            IpAddr::V4(ip) => {
                self.ask_arp(BROADCAST, ip, ip);
                let answer = Arp {
                    request: false,
                    sender: (own, ip),
                    target: (own, ip),
                };
                self.push_arp(BROADCAST, answer);
            }
            IpAddr::V6(target) => {
                let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
                self.reply(link::group_mac(group), ip, link::NDP_LEN, |out| {
                    link::write_advertisement(out, own, target, None);
                });
            }
        }
    }

    /// Sends a question of the neighbour table.
    pub(super) fn send_ask(&mut self, Ask { ip, to }: Ask) {
        let Some(way) = self.routes.way_to(ip) else {
            return;
        };
        let own = self.mac;
        match (ip, way.source) {
            (IpAddr::V4(ip), IpAddr::V4(source)) => {
                self.ask_arp(to.unwrap_or(BROADCAST), source, ip)
            }
            (IpAddr::V6(target), IpAddr::V6(source)) => {
                let dst = to.unwrap_or_else(|| link::group_mac(link::solicited_node(target)));
                self.reply(dst, ip, link::NDP_LEN, |out| {
                    link::write_solicitation(out, own, source, target, to.is_some());
                });
            }
            _ => {}
        }
    }

    fn ask_arp(&mut self, dst: Mac, source: Ipv4Addr, target: Ipv4Addr) {
        self.push_arp(
            dst,
            Arp {
                request: true,
                sender: (self.mac, source),
                target: ([0; 6], target),
            },
        );
    }

    fn push_arp(&mut self, dst: Mac, arp: Arp) {
        if !self
            .replies
            .push(dst, ETHERTYPE_ARP, Arp::LEN, |out| arp.write(out))
        {
            self.counters.replies_dropped += 1;
        }
    }
}
