//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo replies, errors made and errors understood.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::checksum::Sum;
use crate::packet::{IpPacket, ip_header_len, protocol, pseudo_header, write_ip_header};
use crate::time::Instant;

const V4_ECHO_REPLY: u8 = 0;
const V4_UNREACHABLE: u8 = 3;
const V4_ECHO: u8 = 8;
const V4_EXPIRED: u8 = 11;
const V6_UNREACHABLE: u8 = 1;
const V6_EXPIRED: u8 = 3;
const V6_ECHO: u8 = 128;
const V6_ECHO_REPLY: u8 = 129;

/// Bytes of an error packet at most: RFC 1812 §4.3.2.3 and RFC 4443 §2.4(c).
const MAX_ERROR_V4: usize = 576;
const MAX_ERROR_V6: usize = 1280;

/// What an ICMP message is to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Wants [`write_echo_reply`].
    Echo,
    /// The answer to an echo request, with the identifier of who asked.
    EchoReply(u16),
    /// A destination of ours cannot be reached.
    Unreachable(Unreachable),
    Other,
}

/// Why a packet did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The host is there but nobody listens.
    Refused,
    Unreachable,
    /// Its hops were used up.
    Expired,
}

/// An error about a packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable {
    pub(crate) cause: Cause,
    pub(crate) protocol: u8,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// The sequence number, if it was TCP.
    pub(crate) sequence: u32,
}

impl Unreachable {
    /// The identifier, if it was an echo request.
    pub(crate) fn echo_identifier(&self) -> u16 {
        (self.sequence >> 16) as u16
    }
}

/// Whether the checksum of an ICMP message holds.
pub(crate) fn is_sound(packet: &IpPacket<'_>) -> bool {
    let base = match packet.protocol {
        protocol::ICMPV6 => pseudo_header(
            packet.src,
            packet.dst,
            protocol::ICMPV6,
            packet.payload.len(),
        ),
        _ => Sum::default(),
    };
    packet.payload.len() >= 8 && base.add(packet.payload).finish() == [0, 0]
}

/// Reads the message of a packet whose checksum holds.
pub(crate) fn read(packet: &IpPacket<'_>) -> Message {
    let [kind, code, ..] = *packet.payload else {
        return Message::Other;
    };
    match (packet.protocol, kind) {
        (protocol::ICMP, V4_ECHO) | (protocol::ICMPV6, V6_ECHO) => Message::Echo,
        (protocol::ICMP, V4_ECHO_REPLY) | (protocol::ICMPV6, V6_ECHO_REPLY) => packet
            .payload
            .first_chunk::<8>()
            .map_or(Message::Other, |header| {
                Message::EchoReply(u16::from_be_bytes([header[4], header[5]]))
            }),
        (protocol::ICMP, V4_UNREACHABLE) => match code {
            2 | 3 => read_unreachable(packet, Cause::Refused),
            0 | 1 | 5..=13 => read_unreachable(packet, Cause::Unreachable),
            _ => Message::Other,
        },
        (protocol::ICMPV6, V6_UNREACHABLE) if code == 4 => read_unreachable(packet, Cause::Refused),
        (protocol::ICMPV6, V6_UNREACHABLE) => read_unreachable(packet, Cause::Unreachable),
        (protocol::ICMP, V4_EXPIRED) | (protocol::ICMPV6, V6_EXPIRED) if code == 0 => {
            read_unreachable(packet, Cause::Expired)
        }
        _ => Message::Other,
    }
}

/// Type and code of the message that a port is closed.
pub(crate) fn port_unreachable(v4: bool) -> (u8, u8) {
    if v4 {
        (V4_UNREACHABLE, 3)
    } else {
        (V6_UNREACHABLE, 4)
    }
}

/// Type and code of the message that nobody answers for an address.
pub(crate) fn host_unreachable(v4: bool) -> (u8, u8) {
    if v4 {
        (V4_UNREACHABLE, 1)
    } else {
        (V6_UNREACHABLE, 3)
    }
}

/// As much as an error quotes of what a program gave for the packet.
pub(crate) fn quoted_payload<'a>(error: &IpPacket<'a>) -> &'a [u8] {
    let inner = error.payload.get(8..).unwrap_or_default();
    match quoted_header(inner, error.protocol == protocol::ICMPV6) {
        Some((len, protocol, ..)) => after_ports(protocol, inner.get(len..).unwrap_or_default()),
        None => &[],
    }
}

/// What a program gave for a packet with this after its IP header: for echo the header of ICMP is part of it.
pub(crate) fn after_ports(protocol: u8, rest: &[u8]) -> &[u8] {
    match protocol {
        protocol::UDP => rest.get(8..).unwrap_or_default(),
        _ => rest,
    }
}

fn read_unreachable(packet: &IpPacket<'_>, cause: Cause) -> Message {
    let parsed = packet
        .payload
        .get(8..)
        .and_then(|inner| quoted(inner, packet.protocol == protocol::ICMPV6));
    match parsed {
        Some((protocol, local, remote, sequence)) => Message::Unreachable(Unreachable {
            cause,
            protocol,
            local,
            remote,
            sequence,
        }),
        None => Message::Other,
    }
}

/// The addresses of the packet that an error quotes. It is cut short, so its lengths say nothing.
fn quoted(inner: &[u8], v6: bool) -> Option<(u8, SocketAddr, SocketAddr, u32)> {
    let (header_len, protocol, src, dst) = quoted_header(inner, v6)?;
    let ports = inner.get(header_len..)?.first_chunk::<8>()?;
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let sequence = u32::from_be_bytes([ports[4], ports[5], ports[6], ports[7]]);
    Some((
        protocol,
        SocketAddr::new(src, port(0)),
        SocketAddr::new(dst, port(2)),
        sequence,
    ))
}

/// Length, protocol and addresses of the header of a quoted packet.
fn quoted_header(inner: &[u8], v6: bool) -> Option<(usize, u8, IpAddr, IpAddr)> {
    Some(if v6 {
        let header = inner.first_chunk::<40>()?;
        let address = |at: usize| {
            header[at..]
                .first_chunk::<16>()
                .map(|octets| IpAddr::from(*octets))
        };
        match header[6] {
            protocol::FRAGMENT => {
                let fragment = inner.get(40..)?.first_chunk::<8>()?;
                let place = u16::from_be_bytes([fragment[2], fragment[3]]) >> 3;
                (
                    48,
                    first_only(place, fragment[0])?,
                    address(8)?,
                    address(24)?,
                )
            }
            next => (40, next, address(8)?, address(24)?),
        }
    } else {
        let header = inner.first_chunk::<20>()?;
        let address = |at: usize| {
            header[at..]
                .first_chunk::<4>()
                .map(|octets| IpAddr::from(*octets))
        };
        let place = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
        (
            usize::from(header[0] & 0x0f) * 4,
            first_only(place, header[9])?,
            address(12)?,
            address(16)?,
        )
    })
}

/// The protocol of a fragment, if it is the first: only that one has the ports.
fn first_only(place: u16, protocol: u8) -> Option<u8> {
    Some(protocol).filter(|_| place == 0)
}

/// Length of the answer to an echo request.
pub(crate) fn echo_reply_len(request: &IpPacket<'_>) -> usize {
    ip_header_len(request.src) + request.payload.len()
}

/// Writes the answer to an echo request.
///
/// # Panics
/// If `out` is not exactly [`echo_reply_len`] bytes.
pub(crate) fn write_echo_reply(out: &mut [u8], request: &IpPacket<'_>) {
    write_ip_header(out, request.dst, request.src, request.protocol, 64);
    let message = &mut out[ip_header_len(request.src)..];
    message.copy_from_slice(request.payload);
    message[0] = if request.protocol == protocol::ICMP {
        V4_ECHO_REPLY
    } else {
        V6_ECHO_REPLY
    };
    seal(message, request.dst, request.src);
}

/// Whether a message is an echo request, which is all that programs may send.
pub(crate) fn is_echo_request(message: &[u8], v4: bool) -> bool {
    let kind = if v4 { V4_ECHO } else { V6_ECHO };
    message.len() >= 8 && message[..2] == [kind, 0]
}

/// Puts the identifier and the checksum into an echo request.
///
/// # Panics
/// If it is shorter than its header.
pub(crate) fn finish_echo(message: &mut [u8], identifier: u16, src: IpAddr, dst: IpAddr) {
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    seal(message, src, dst);
}

/// Makes the answer of an echo request.
///
/// # Panics
/// If it is shorter than its header.
pub(crate) fn answer_echo(message: &mut [u8], identifier: u16, src: IpAddr, dst: IpAddr) {
    message[0] = if src.is_ipv4() {
        V4_ECHO_REPLY
    } else {
        V6_ECHO_REPLY
    };
    finish_echo(message, identifier, src, dst);
}

/// Why a packet is sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Port,
    Protocol,
}

/// Length of the error about `packet`.
pub(crate) fn refusal_len(packet: &IpPacket<'_>) -> usize {
    let limit = if packet.src.is_ipv4() {
        MAX_ERROR_V4
    } else {
        MAX_ERROR_V6
    };
    (ip_header_len(packet.src) + 8 + packet.bytes.len()).min(limit)
}

/// Writes the error about `packet`.
///
/// # Panics
/// If `out` is not exactly [`refusal_len`] bytes.
pub(crate) fn write_refusal(out: &mut [u8], packet: &IpPacket<'_>, refusal: Refusal) {
    let (protocol, kind, code) = match (packet.src, refusal) {
        (IpAddr::V4(_), Refusal::Port) => (protocol::ICMP, V4_UNREACHABLE, 3),
        (IpAddr::V4(_), Refusal::Protocol) => (protocol::ICMP, V4_UNREACHABLE, 2),
        (IpAddr::V6(_), Refusal::Port) => (protocol::ICMPV6, V6_UNREACHABLE, 4),
        // A parameter problem: the next header is unknown, at its place in the fixed header.
        (IpAddr::V6(_), Refusal::Protocol) => (protocol::ICMPV6, 4, 1),
    };
    write_ip_header(out, packet.dst, packet.src, protocol, 64);
    let message = &mut out[ip_header_len(packet.src)..];
    let pointer = if kind == 4 { 6 } else { 0 };
    message[..8].copy_from_slice(&[kind, code, 0, 0, 0, 0, 0, pointer]);
    let quote = message.len() - 8;
    message[8..].copy_from_slice(&packet.bytes[..quote]);
    seal(message, packet.dst, packet.src);
}

fn seal(message: &mut [u8], src: IpAddr, dst: IpAddr) {
    message[2..4].fill(0);
    let base = match src {
        IpAddr::V4(_) => Sum::default(),
        IpAddr::V6(_) => pseudo_header(src, dst, protocol::ICMPV6, message.len()),
    };
    let sum = base.add(message).finish();
    message[2..4].copy_from_slice(&sum);
}

/// Keeps errors from becoming a flood: the rate and burst of Linux (icmp_msgs_per_sec, icmp_msgs_burst).
#[derive(Debug)]
pub(crate) struct RateLimit {
    tokens: u64,
    filled: Instant,
}

impl RateLimit {
    const PER_SECOND: u64 = 1000;
    const BURST: u64 = 50;

    pub(crate) fn new() -> RateLimit {
        RateLimit {
            tokens: Self::BURST,
            filled: Instant(i64::MIN),
        }
    }

    /// Whether one more may go.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        let step = Duration::from_secs(1) / Self::PER_SECOND as u32;
        let earned = now.saturating_since(self.filled).as_micros() as u64 / step.as_micros() as u64;
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(Self::BURST);
            self.filled = now;
        }
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn udp(v6: bool, payload: &[u8]) -> Vec<u8> {
        let (src, dst): (IpAddr, IpAddr) = if v6 {
            (
                ([0xfd00, 0, 0, 0, 0, 0, 0, 1]).into(),
                ([0xfd00, 0, 0, 0, 0, 0, 0, 2]).into(),
            )
        } else {
            ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        };
        let header = ip_header_len(src);
        let mut packet = vec![0; header + 8 + payload.len()];
        write_ip_header(&mut packet, src, dst, protocol::UDP, 64);
        packet[header..header + 4].copy_from_slice(&[0x12, 0x34, 0, 53]);
        packet[header + 8..].copy_from_slice(payload);
        packet
    }

    fn parse(bytes: &[u8], v6: bool) -> IpPacket<'_> {
        if v6 {
            IpPacket::parse_v6(bytes)
        } else {
            IpPacket::parse_v4(bytes)
        }
        .expect("a packet")
    }

    proptest! {
        #[test]
        fn a_refusal_is_understood_by_who_sent_the_packet(
            v6: bool,
            payload in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            let sent = udp(v6, &payload);
            let sent = parse(&sent, v6);
            let mut error = vec![0; refusal_len(&sent)];
            write_refusal(&mut error, &sent, Refusal::Port);
            let error = parse(&error, v6);
            prop_assert!(is_sound(&error));
            let Message::Unreachable(unreachable) = read(&error) else { panic!("an error") };
            prop_assert_eq!(unreachable.cause, Cause::Refused);
            let quoted = quoted_payload(&error);
            prop_assert!(payload.starts_with(quoted) && (quoted.len() == payload.len() || quoted.len() >= 400));
            prop_assert_eq!(unreachable.local, SocketAddr::new(sent.src, 0x1234));
            prop_assert_eq!(unreachable.remote, SocketAddr::new(sent.dst, 53));
        }

        #[test]
        fn any_message_is_survived(
            v6: bool,
            kind in prop_oneof![Just(1u8), Just(3), Just(8), Just(128), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let mut bytes = udp(v6, &rest);
            let at = if v6 { 40 } else { 20 };
            bytes[at] = kind;
            let mut packet = parse(&bytes, v6);
            packet.protocol = if v6 { protocol::ICMPV6 } else { protocol::ICMP };
            let _ = is_sound(&packet);
            if read(&packet) == Message::Echo {
                let mut out = vec![0; echo_reply_len(&packet)];
                write_echo_reply(&mut out, &packet);
            }
        }
    }

    #[test]
    fn errors_are_limited_to_the_rate_of_linux() {
        let mut limit = RateLimit::new();
        let at = |ms: i64| Instant(ms * 1000);
        assert_eq!((0..200).filter(|_| limit.allow(at(0))).count(), 50);
        assert_eq!((0..200).filter(|_| limit.allow(at(10))).count(), 10);
    }
}
