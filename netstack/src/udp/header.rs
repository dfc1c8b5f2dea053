//! The UDP header (RFC 768), read and written together with its checksum; and the echo request that takes its place.

use std::net::SocketAddr;

use super::Service;
use crate::checksum::{Sum, copy_and_sum};
use crate::icmp;
use crate::packet::{
    Flaw, IpPacket, ip_header_len, protocol, pseudo_header, set_traffic_class, write_ip_header,
};

const HEADER_LEN: usize = 8;

/// The header of a datagram that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
}

impl Header {
    /// Reads the datagram of a packet and verifies its checksum; returns the payload too.
    pub(crate) fn parse<'a>(packet: &IpPacket<'a>) -> Result<(Header, &'a [u8]), Flaw> {
        let (header, _) = packet
            .payload
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(Flaw::Malformed)?;
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let datagram = packet.payload.get(..len).ok_or(Flaw::Malformed)?;
        let payload = datagram.get(HEADER_LEN..).ok_or(Flaw::Malformed)?;
        // Without a checksum in IPv4; IPv6 must have one (RFC 8200 §8.1).
        let has_sum = header[6..] != [0, 0];
        let sum = pseudo_header(packet.src, packet.dst, protocol::UDP, len).add(datagram);
        if (has_sum || packet.src.is_ipv6()) && (!has_sum || sum.finish() != [0, 0]) {
            return Err(Flaw::BadChecksum);
        }
        let header = Header {
            src_port: u16::from_be_bytes([header[0], header[1]]),
            dst_port: u16::from_be_bytes([header[2], header[3]]),
        };
        Ok((header, payload))
    }
}

/// What is written in front of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) service: Service,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
}

impl Outgoing {
    /// The longest payload of a datagram.
    pub(crate) fn max_payload(&self) -> usize {
        let packet = if self.to.is_ipv4() {
            65_535
        } else {
            65_535 + 40
        };
        packet - self.len(0)
    }

    /// Length of the packet around a payload.
    pub(crate) fn len(&self, payload: usize) -> usize {
        let header = match self.service {
            Service::Udp => HEADER_LEN,
            Service::Echo => 0,
        };
        ip_header_len(self.to.ip()) + header + payload
    }

    /// Writes the packet, copying and summing the payload in one pass.
    ///
    /// # Panics
    /// If `out` is not exactly [`len`](Outgoing::len) bytes, or the families differ.
    pub(crate) fn write(&self, payload: &[u8], out: &mut [u8]) {
        let (src, dst) = (self.from.ip(), self.to.ip());
        assert_eq!(out.len(), self.len(payload.len()));
        let protocol = match (self.service, dst.is_ipv4()) {
            (Service::Udp, _) => protocol::UDP,
            (Service::Echo, true) => protocol::ICMP,
            (Service::Echo, false) => protocol::ICMPV6,
        };
        write_ip_header(out, src, dst, protocol, self.ttl);
        set_traffic_class(out, self.tos);
        if self.service == Service::Echo {
            let message = &mut out[ip_header_len(dst)..];
            message.copy_from_slice(payload);
            icmp::finish_echo(message, self.from.port(), src, dst);
            return;
        }
        let (header, body) = out[ip_header_len(dst)..].split_at_mut(HEADER_LEN);
        let body = copy_and_sum(payload, body);
        let len = HEADER_LEN + payload.len();
        header[..2].copy_from_slice(&self.from.port().to_be_bytes());
        header[2..4].copy_from_slice(&self.to.port().to_be_bytes());
        header[4..6].copy_from_slice(&(len as u16).to_be_bytes());
        let sum = pseudo_header(src, dst, protocol::UDP, len)
            .join(Sum::default().add(&header[..6]))
            .join(body)
            .finish();
        // Zero says that there is no checksum; all ones is the same number.
        let sum = if sum == [0, 0] { [0xff, 0xff] } else { sum };
        header[6..].copy_from_slice(&sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn outgoing(v6: bool, ports: [u16; 2]) -> Outgoing {
        let (src, dst): (IpAddr, IpAddr) = if v6 {
            (
                [0xfd00, 0, 0, 0, 0, 0, 0, 1].into(),
                [0xfd00, 0, 0, 0, 0, 0, 0, 2].into(),
            )
        } else {
            ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        };
        Outgoing {
            service: Service::Udp,
            from: SocketAddr::new(src, ports[0]),
            to: SocketAddr::new(dst, ports[1]),
            ttl: 7,
            tos: 0xb8,
        }
    }

    fn parse(bytes: &[u8]) -> IpPacket<'_> {
        if bytes[0] >> 4 == 4 {
            IpPacket::parse_v4(bytes)
        } else {
            IpPacket::parse_v6(bytes)
        }
        .expect("a packet")
    }

    proptest! {
        #[test]
        fn a_datagram_survives_a_round_trip(
            v6: bool,
            ports: [u16; 2],
            payload in proptest::collection::vec(any::<u8>(), 0..3000),
        ) {
            let outgoing = outgoing(v6, ports);
            let mut out = vec![0xee; outgoing.len(payload.len())];
            outgoing.write(&payload, &mut out);
            let packet = parse(&out);
            let (header, body) = Header::parse(&packet).expect("a datagram");
            prop_assert_eq!([header.src_port, header.dst_port], ports);
            prop_assert_eq!(body, &payload);
            prop_assert_eq!((packet.ttl(), packet.tos()), (7, 0xb8));
            prop_assert_eq!((packet.src, packet.dst), (outgoing.from.ip(), outgoing.to.ip()));
        }

        #[test]
        fn a_changed_bit_is_noticed(v6: bool, bit in 0usize..800) {
            let outgoing = outgoing(v6, [1000, 2000]);
            let mut out = vec![0; outgoing.len(92)];
            outgoing.write(&[0x5a; 92], &mut out);
            let start = ip_header_len(outgoing.to.ip());
            out[start + bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Header::parse(&parse(&out)).is_err());
        }

        #[test]
        fn any_bytes_parse_or_not(v6: bool, bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let outgoing = outgoing(v6, [0, 0]);
            let mut out = vec![0; outgoing.len(bytes.len()) - HEADER_LEN];
            write_ip_header(&mut out, outgoing.from.ip(), outgoing.to.ip(), protocol::UDP, 1);
            let start = ip_header_len(outgoing.to.ip());
            out[start..].copy_from_slice(&bytes);
            let _ = Header::parse(&parse(&out));
        }
    }

    #[test]
    fn only_ipv4_may_leave_the_checksum_out() {
        for v6 in [false, true] {
            let outgoing = outgoing(v6, [1, 2]);
            let mut out = vec![0; outgoing.len(3)];
            outgoing.write(b"abc", &mut out);
            let at = ip_header_len(outgoing.to.ip()) + 6;
            out[at..at + 2].fill(0);
            assert_eq!(Header::parse(&parse(&out)).is_ok(), !v6);
        }
    }
}
