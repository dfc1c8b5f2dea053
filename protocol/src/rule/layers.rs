//! The IP headers inside an Ethernet payload, as far as rules look at them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
pub(super) const SCTP: u8 = 132;
pub(super) const UDP_LITE: u8 = 136;

const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// The first bytes of an IPv4 payload, if it has a whole header.
pub(super) fn ipv4(ethertype: u16, payload: &[u8]) -> Option<&[u8; 20]> {
    (ethertype == IPV4).then(|| payload.first_chunk()).flatten()
}

/// The first bytes of an IPv6 payload, if it has a whole header.
pub(super) fn ipv6(ethertype: u16, payload: &[u8]) -> Option<&[u8; 40]> {
    (ethertype == IPV6).then(|| payload.first_chunk()).flatten()
}

/// The final protocol of an IP payload and where its header begins, which for IPv4 may be
/// behind the end.
pub(super) fn transport(ethertype: u16, payload: &[u8]) -> Option<(u8, usize)> {
    if let Some(header) = ipv4(ethertype, payload) {
        return Some((header[9], usize::from(header[0] & 0x0f) * 4));
    }
    let mut next = ipv6(ethertype, payload)?[6];
    let mut at = 40;
    // Hop-by-hop options, routing, destination options, mobility. A fragment header stops the walk.
    while matches!(next, 0 | 43 | 60 | 135) {
        let extension = payload.get(at..at + 8)?;
        next = extension[0];
        at += usize::from(extension[1]) * 8 + 8;
    }
    (at <= payload.len()).then_some((next, at))
}

/// Whose address the sender of a frame claims.
pub(super) enum SenderIp {
    /// No address is claimed.
    None,
    /// The sender asks for a neighbour: nothing that could be forged.
    Solicitation,
    /// This one.
    Claimed(IpAddr),
}

pub(super) fn sender_ip(ethertype: u16, payload: &[u8]) -> SenderIp {
    if let Some(header) = ipv4(ethertype, payload) {
        return SenderIp::Claimed(
            Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
        );
    }
    if ethertype == ARP
        && let Some(arp) = payload.first_chunk::<28>()
    {
        return SenderIp::Claimed(Ipv4Addr::new(arp[14], arp[15], arp[16], arp[17]).into());
    }
    let Some(header) = ipv6(ethertype, payload) else {
        return SenderIp::None;
    };
    let address = |at: usize| -> IpAddr {
        Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|i| payload[at + i])).into()
    };
    if header[6] == ICMPV6 && payload.len() >= 64 {
        match payload[40] {
            NEIGHBOUR_SOLICITATION => return SenderIp::Solicitation,
            NEIGHBOUR_ADVERTISEMENT => return SenderIp::Claimed(address(48)),
            _ => {}
        }
    }
    SenderIp::Claimed(address(8))
}
