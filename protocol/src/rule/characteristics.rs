//! The properties of a frame that one rule tests all at once (VL2 §4.10).

use super::evaluate::{Evidence, Frame};
use super::layers::{self, SenderIp};

const INBOUND: u64 = 1 << 63;
const MULTICAST: u64 = 1 << 62;
const BROADCAST: u64 = 1 << 61;
const SENDER_IP_AUTHENTICATED: u64 = 1 << 60;
const SENDER_MAC_AUTHENTICATED: u64 = 1 << 59;

pub(super) fn of(frame: &Frame<'_>, evidence: &impl Evidence) -> u64 {
    let bit = |holds: bool, bit: u64| if holds { bit } else { 0 };
    let ip_authenticated = match layers::sender_ip(frame.ethertype, frame.payload) {
        SenderIp::None => false,
        SenderIp::Solicitation => true,
        SenderIp::Claimed(ip) => evidence.sender_owns_ip(ip),
    };
    bit(frame.inbound, INBOUND)
        | bit(frame.destination.is_multicast(), MULTICAST)
        | bit(frame.destination.is_broadcast(), BROADCAST)
        | bit(ip_authenticated, SENDER_IP_AUTHENTICATED)
        | bit(
            evidence.sender_owns_mac(frame.source),
            SENDER_MAC_AUTHENTICATED,
        )
        | tcp_flags(frame).unwrap_or(0)
}

/// The twelve flag bits of a TCP header.
fn tcp_flags(frame: &Frame<'_>) -> Option<u64> {
    let (protocol, at) = layers::transport(frame.ethertype, frame.payload)?;
    let flags = frame.payload.get(at + 12..at + 14)?;
    (protocol == layers::TCP).then(|| u64::from(flags[0] & 0x0f) << 8 | u64::from(flags[1]))
}
