//! The packets of address resolution: ARP (RFC 826) and neighbour discovery (RFC 4861 §4.3, §4.4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::neighbour::Mac;
use crate::packet::{IpPacket, protocol, pseudo_header, write_ip_header};

/// Everybody on the link.
pub(crate) const BROADCAST: Mac = [0xff; 6];

const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE_LINK: u8 = 1;
const OPTION_TARGET_LINK: u8 = 2;
/// Solicited, and overriding what is known.
const FLAGS_ANSWER: u8 = 0x60;
/// Nobody asked, and overriding what is known.
const FLAGS_ANNOUNCE: u8 = 0x20;

/// Whether a link address names one station.
pub(crate) fn is_station(mac: Mac) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arp {
    pub(crate) request: bool,
    pub(crate) sender: (Mac, Ipv4Addr),
    pub(crate) target: (Mac, Ipv4Addr),
}

impl Arp {
    pub(crate) const LEN: usize = 28;

    pub(crate) fn parse(bytes: &[u8]) -> Option<Arp> {
        let bytes = bytes.first_chunk::<{ Arp::LEN }>()?;
        let (head, rest) = bytes.split_at(8);
        let request = match head {
            [0, 1, 8, 0, 6, 4, 0, 1] => true,
            [0, 1, 8, 0, 6, 4, 0, 2] => false,
            _ => return None,
        };
        let half = |at: usize| {
            let mut mac = [0; 6];
            mac.copy_from_slice(&rest[at..at + 6]);
            (
                mac,
                Ipv4Addr::new(rest[at + 6], rest[at + 7], rest[at + 8], rest[at + 9]),
            )
        };
        Some(Arp {
            request,
            sender: half(0),
            target: half(10),
        })
    }

    /// Writes the packet.
    ///
    /// # Panics
    /// If `out` is not exactly [`Arp::LEN`] bytes.
    pub(crate) fn write(&self, out: &mut [u8]) {
        out[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, if self.request { 1 } else { 2 }]);
        for (at, (mac, ip)) in [(8, self.sender), (18, self.target)] {
            out[at..at + 6].copy_from_slice(&mac);
            out[at + 6..at + 10].copy_from_slice(&ip.octets());
        }
    }
}

/// A neighbour solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ndp {
    pub(crate) solicitation: bool,
    pub(crate) target: Ipv6Addr,
    /// The link address of the sender or target, if stated.
    pub(crate) link: Option<Mac>,
}

impl Ndp {
    /// Reads the ICMPv6 message of a packet; the checksum was verified before.
    pub(crate) fn parse(packet: &IpPacket<'_>) -> Option<Ndp> {
        // RFC 4861 §7.1: only what did not pass a router counts.
        if packet.bytes[7] != 255 {
            return None;
        }
        let (head, mut options) = packet.payload.split_first_chunk::<24>()?;
        let solicitation = match head[..2] {
            [NEIGHBOUR_SOLICITATION, 0] => true,
            [NEIGHBOUR_ADVERTISEMENT, 0] => false,
            _ => return None,
        };
        let mut target = [0; 16];
        target.copy_from_slice(&head[8..]);
        let wanted = if solicitation {
            OPTION_SOURCE_LINK
        } else {
            OPTION_TARGET_LINK
        };
        let mut link = None;
        while let [kind, len, ..] = *options {
            let option = options
                .get(..usize::from(len) * 8)
                .filter(|option| !option.is_empty())?;
            if kind == wanted && len == 1 {
                link = option[2..].first_chunk::<6>().copied();
            }
            options = &options[option.len()..];
        }
        Some(Ndp {
            solicitation,
            target: target.into(),
            link,
        })
    }

    pub(crate) fn is_ndp(message: &[u8]) -> bool {
        matches!(
            message.first(),
            Some(&(NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT))
        )
    }
}

/// Length of the IPv6 packets below.
pub(crate) const NDP_LEN: usize = 40 + 24 + 8;

/// Asks for the link address of `target`; `unicast` goes to the neighbour alone.
pub(crate) fn write_solicitation(
    out: &mut [u8],
    own: Mac,
    src: Ipv6Addr,
    target: Ipv6Addr,
    unicast: bool,
) {
    let dst = if unicast {
        target
    } else {
        solicited_node(target)
    };
    write_ndp(
        out,
        src,
        dst,
        [NEIGHBOUR_SOLICITATION, 0],
        target,
        OPTION_SOURCE_LINK,
        own,
    );
}

/// Says that `target` is ours: to `dst` who asked, or to all nodes.
pub(crate) fn write_advertisement(
    out: &mut [u8],
    own: Mac,
    target: Ipv6Addr,
    dst: Option<Ipv6Addr>,
) {
    let flags = if dst.is_some() {
        FLAGS_ANSWER
    } else {
        FLAGS_ANNOUNCE
    };
    let dst = dst.unwrap_or(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    write_ndp(
        out,
        target,
        dst,
        [NEIGHBOUR_ADVERTISEMENT, flags],
        target,
        OPTION_TARGET_LINK,
        own,
    );
}

fn write_ndp(
    out: &mut [u8],
    src: Ipv6Addr,
    dst: Ipv6Addr,
    [kind, flags]: [u8; 2],
    target: Ipv6Addr,
    option: u8,
    link: Mac,
) {
    assert_eq!(out.len(), NDP_LEN);
    let (src, dst) = (IpAddr::V6(src), IpAddr::V6(dst));
    write_ip_header(out, src, dst, protocol::ICMPV6, 255);
    let message = &mut out[40..];
    message[..8].copy_from_slice(&[kind, 0, 0, 0, flags, 0, 0, 0]);
    message[8..24].copy_from_slice(&target.octets());
    message[24..26].copy_from_slice(&[option, 1]);
    message[26..32].copy_from_slice(&link);
    let sum = pseudo_header(src, dst, protocol::ICMPV6, message.len())
        .add(message)
        .finish();
    message[2..4].copy_from_slice(&sum);
}

/// The group that a node with this address listens to (RFC 4291 §2.7.1).
pub(crate) fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The link address of a group (RFC 1112 §6.4, RFC 2464 §7).
pub(crate) fn group_mac(group: impl Into<IpAddr>) -> Mac {
    match group.into() {
        IpAddr::V4(group) => {
            let [_, a, b, c] = group.octets();
            [0x01, 0x00, 0x5e, a & 0x7f, b, c]
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];

    proptest! {
        #[test]
        fn arp_survives_a_round_trip(request: bool, a: [u8; 6], b: [u8; 4], c: [u8; 6], d: [u8; 4]) {
            let arp = Arp { request, sender: (a, b.into()), target: (c, d.into()) };
            let mut out = [0; Arp::LEN];
            arp.write(&mut out);
            prop_assert_eq!(Arp::parse(&out), Some(arp));
            for len in 0..Arp::LEN {
                prop_assert_eq!(Arp::parse(&out[..len]), None);
            }
        }

        #[test]
        fn ndp_survives_a_round_trip(target: u128, src: u128, unicast: bool) {
            let mut out = [0; NDP_LEN];
            write_solicitation(&mut out, OWN, src.into(), target.into(), unicast);
            let packet = IpPacket::parse_v6(&out).expect("a packet");
            let expected = Ndp { solicitation: true, target: target.into(), link: Some(OWN) };
            prop_assert_eq!(Ndp::parse(&packet), Some(expected));
            write_advertisement(&mut out, OWN, target.into(), Some(src.into()));
            let packet = IpPacket::parse_v6(&out).expect("a packet");
            prop_assert_eq!(Ndp::parse(&packet), Some(Ndp { solicitation: false, ..expected }));
        }

        #[test]
        fn any_message_is_survived(message in proptest::collection::vec(any::<u8>(), 0..64), kind in 134u8..138) {
            let mut out = vec![0; 40];
            out.extend(&message);
            write_ip_header(&mut out, Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), 58, 255);
            if let Some(first) = out.get_mut(40) {
                *first = kind;
            }
            let _ = Ndp::parse(&IpPacket::parse_v6(&out).expect("a packet"));
        }
    }

    #[test]
    fn groups_are_those_of_the_standards() {
        let group = solicited_node("fd00::1:2:3".parse().expect("an address"));
        assert_eq!(
            group,
            "ff02::1:ff02:3".parse::<Ipv6Addr>().expect("an address")
        );
        assert_eq!(group_mac(group), [0x33, 0x33, 0xff, 2, 0, 3]);
        let group = Ipv4Addr::new(239, 0x81, 2, 3);
        assert_eq!(group_mac(group), [0x01, 0x00, 0x5e, 1, 2, 3]);
    }
}
