//! IP and TCP headers as far as the host looks at them before a protocol does. Total: any bytes, never panics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::checksum::Sum;

/// Why a packet is not looked at any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Malformed,
    BadChecksum,
}

/// IP protocol numbers.
pub(crate) mod protocol {
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    /// The extension header of IPv6 (RFC 8200 §4.5).
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMPV6: u8 = 58;
}

/// An IP packet, trimmed to the length that its header states; whole unless it has a [`fragment`](IpPacket::fragment).
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpPacket<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) payload: &'a [u8],
}

impl<'a> IpPacket<'a> {
    /// Parses a packet of the family that its first byte tells.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<IpPacket<'a>, Flaw> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => IpPacket::parse_v4(bytes),
            _ => IpPacket::parse_v6(bytes),
        }
    }

    /// Parses IPv4 (RFC 791 §3.1). The header checksum is verified.
    pub(crate) fn parse_v4(bytes: &'a [u8]) -> Result<IpPacket<'a>, Flaw> {
        let (header, _) = bytes.split_first_chunk::<20>().ok_or(Flaw::Malformed)?;
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || header_len < 20 || total < header_len {
            return Err(Flaw::Malformed);
        }
        let bytes = bytes.get(..total).ok_or(Flaw::Malformed)?;
        let (whole_header, payload) = bytes.split_at(header_len);
        if Sum::default().add(whole_header).finish() != [0, 0] {
            return Err(Flaw::BadChecksum);
        }
        Ok(IpPacket {
            bytes,
            src: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
            dst: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
            protocol: header[9],
            payload,
        })
    }

    /// Parses IPv6 (RFC 8200 §3). Extension headers but that of a fragment are left to count as unknown protocols.
    pub(crate) fn parse_v6(bytes: &'a [u8]) -> Result<IpPacket<'a>, Flaw> {
        let (header, rest) = bytes.split_first_chunk::<40>().ok_or(Flaw::Malformed)?;
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 || rest.len() < len {
            return Err(Flaw::Malformed);
        }
        let address = |at: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&header[at..at + 16]);
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        Ok(IpPacket {
            bytes: &bytes[..40 + len],
            src: address(8),
            dst: address(24),
            protocol: header[6],
            payload: &rest[..len],
        })
    }

    /// Time to live, or hop limit.
    pub(crate) fn ttl(&self) -> u8 {
        self.bytes[if self.src.is_ipv4() { 8 } else { 7 }]
    }

    /// Type of service, or traffic class.
    pub(crate) fn tos(&self) -> u8 {
        if self.src.is_ipv4() {
            self.bytes[1]
        } else {
            self.bytes[0] << 4 | self.bytes[1] >> 4
        }
    }

    /// The piece that this packet is, if it is not whole.
    pub(crate) fn fragment(&self) -> Result<Option<Part<'a>>, Flaw> {
        if self.src.is_ipv4() {
            let place = u16::from_be_bytes([self.bytes[6], self.bytes[7]]);
            // More fragments to come, or not the first one.
            if place & 0x3fff == 0 {
                return Ok(None);
            }
            return Ok(Some(Part {
                header: &self.bytes[..20],
                protocol: self.protocol,
                id: u16::from_be_bytes([self.bytes[4], self.bytes[5]]).into(),
                offset: usize::from(place & 0x1fff) * 8,
                more: place & 0x2000 != 0,
                payload: self.payload,
            }));
        }
        if self.protocol != protocol::FRAGMENT {
            return Ok(None);
        }
        let (header, payload) = self
            .payload
            .split_first_chunk::<8>()
            .ok_or(Flaw::Malformed)?;
        let place = u16::from_be_bytes([header[2], header[3]]);
        Ok(Some(Part {
            header: &self.bytes[..40],
            protocol: header[0],
            id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            offset: usize::from(place & 0xfff8),
            more: place & 1 != 0,
            payload,
        }))
    }
}

/// A fragment of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    /// The IP header without options and extensions.
    pub(crate) header: &'a [u8],
    /// What the payload of the whole is.
    pub(crate) protocol: u8,
    pub(crate) id: u32,
    /// Where the piece lies in the payload of the whole.
    pub(crate) offset: usize,
    pub(crate) more: bool,
    pub(crate) payload: &'a [u8],
}

/// Length of the IP header that [`write_ip_header`] makes towards `ip`.
pub(crate) fn ip_header_len(ip: IpAddr) -> usize {
    if ip.is_ipv4() { 20 } else { 40 }
}

/// The EtherType of packets to `ip`.
pub(crate) fn ethertype_of(ip: IpAddr) -> u16 {
    if ip.is_ipv4() {
        crate::ETHERTYPE_IPV4
    } else {
        crate::ETHERTYPE_IPV6
    }
}

/// Writes the header of an IP packet that fills `out`, with the hop limit of a host's own packets. Never fragmented, so
/// IPv4 needs no identification (RFC 6864 §4.1).
///
/// # Panics
/// If the addresses are of different families, or `out` is shorter than a header.
pub(crate) fn write_ip_header(
    out: &mut [u8],
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    hop_limit: u8,
) {
    let len = out.len();
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let header = &mut out[..20];
            header[..2].copy_from_slice(&[0x45, 0]);
            header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            header[4..8].copy_from_slice(&[0, 0, 0x40, 0]);
            header[8..12].copy_from_slice(&[hop_limit, protocol, 0, 0]);
            header[12..16].copy_from_slice(&src.octets());
            header[16..20].copy_from_slice(&dst.octets());
            let sum = Sum::default().add(header).finish();
            header[10..12].copy_from_slice(&sum);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = &mut out[..40];
            header[..4].copy_from_slice(&[0x60, 0, 0, 0]);
            header[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
            header[6..8].copy_from_slice(&[protocol, hop_limit]);
            header[8..24].copy_from_slice(&src.octets());
            header[24..40].copy_from_slice(&dst.octets());
        }
        _ => panic!("a packet has addresses of one family"),
    }
}

/// Sets the type of service, or traffic class, of a header that [`write_ip_header`] made.
pub(crate) fn set_traffic_class(packet: &mut [u8], tos: u8) {
    if tos == 0 {
        return;
    }
    if packet[0] >> 4 == 4 {
        packet[1] = tos;
        packet[10..12].fill(0);
        let sum = Sum::default().add(&packet[..20]).finish();
        packet[10..12].copy_from_slice(&sum);
    } else {
        packet[0] |= tos >> 4;
        packet[1] |= tos << 4;
    }
}

/// Sum of the pseudo header that the checksums of TCP, UDP and ICMPv6 cover.
pub(crate) fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> Sum {
    let sum = Sum::default()
        .add_u16(u16::from(protocol))
        .add_u32(len as u32);
    let add = |sum: Sum, ip| match ip {
        IpAddr::V4(ip) => sum.add(&Ipv4Addr::octets(&ip)),
        IpAddr::V6(ip) => sum.add(&Ipv6Addr::octets(&ip)),
    };
    add(add(sum, src), dst)
}

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_SCALE: u8 = 3;

/// The header of a TCP segment (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    /// The window field as it stands, not scaled.
    pub(crate) window: u16,
    pub(crate) payload_len: usize,
    /// Largest segment that the sender takes; only looked for in a SYN.
    pub(crate) max_segment: Option<u16>,
    /// Window shift of the sender; only looked for in a SYN.
    pub(crate) window_scale: Option<u8>,
}

impl Segment {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Segment, Flaw> {
        let (header, _) = bytes.split_first_chunk::<20>().ok_or(Flaw::Malformed)?;
        let header_len = usize::from(header[12] >> 4) * 4;
        let options = bytes.get(20..header_len).ok_or(Flaw::Malformed)?;
        let mut segment = Segment {
            src_port: u16::from_be_bytes([header[0], header[1]]),
            dst_port: u16::from_be_bytes([header[2], header[3]]),
            sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            acknowledgement: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            flags: header[13],
            window: u16::from_be_bytes([header[14], header[15]]),
            payload_len: bytes.len() - header_len,
            max_segment: None,
            window_scale: None,
        };
        if segment.src_port == 0 || segment.dst_port == 0 {
            return Err(Flaw::Malformed);
        }
        if segment.has(SYN) {
            segment.read_options(options);
        }
        Ok(segment)
    }

    fn read_options(&mut self, mut options: &[u8]) {
        while let [kind, rest @ ..] = options {
            match *kind {
                OPTION_END => return,
                OPTION_NOP => options = rest,
                kind => {
                    let Some(option) = rest
                        .first()
                        .and_then(|len| options.get(..usize::from(*len)))
                    else {
                        return;
                    };
                    match (kind, option) {
                        (OPTION_MSS, [_, _, high, low]) => {
                            self.max_segment = Some(u16::from_be_bytes([*high, *low]))
                        }
                        // RFC 7323 §2.3: a shift above 14 counts as 14.
                        (OPTION_SCALE, [_, _, shift]) => self.window_scale = Some((*shift).min(14)),
                        (_, [] | [_]) => return,
                        _ => {}
                    }
                    options = &options[option.len()..];
                }
            }
        }
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sequence numbers that the segment takes: payload, SYN and FIN.
    pub(crate) fn sequence_len(&self) -> u32 {
        self.payload_len as u32 + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }
}

/// A bare header: an acknowledgement, or a reset, made without a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BareSegment {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
}

impl BareSegment {
    /// The reset that answers a segment nobody wants (RFC 9293 §3.5.2).
    pub(crate) fn reset(local: SocketAddr, remote: SocketAddr, segment: &Segment) -> BareSegment {
        let (sequence, acknowledgement, flags) = if segment.has(ACK) {
            (segment.acknowledgement, 0, RST)
        } else {
            (
                0,
                segment.sequence.wrapping_add(segment.sequence_len()),
                RST | ACK,
            )
        };
        BareSegment {
            local,
            remote,
            sequence,
            acknowledgement,
            flags,
            window: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        ip_header_len(self.remote.ip()) + 20
    }

    /// Writes the packet.
    ///
    /// # Panics
    /// If `out` is not exactly [`len`](BareSegment::len) bytes.
    pub(crate) fn write(&self, out: &mut [u8]) {
        assert_eq!(out.len(), self.len());
        let (src, dst) = (self.local.ip(), self.remote.ip());
        write_ip_header(out, src, dst, protocol::TCP, 64);
        let tcp = &mut out[ip_header_len(dst)..];
        tcp[..2].copy_from_slice(&self.local.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&self.remote.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.acknowledgement.to_be_bytes());
        tcp[12..14].copy_from_slice(&[5 << 4, self.flags]);
        tcp[14..16].copy_from_slice(&self.window.to_be_bytes());
        tcp[16..20].fill(0);
        let sum = pseudo_header(src, dst, protocol::TCP, tcp.len())
            .add(tcp)
            .finish();
        tcp[16..18].copy_from_slice(&sum);
    }
}

/// Both ends of a segment as this host sees them.
pub(crate) fn ends(packet: &IpPacket<'_>, segment: &Segment) -> (SocketAddr, SocketAddr) {
    (
        SocketAddr::new(packet.dst, segment.dst_port),
        SocketAddr::new(packet.src, segment.src_port),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_parse_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200), v6: bool) {
            let parsed = if v6 { IpPacket::parse_v6(&bytes) } else { IpPacket::parse_v4(&bytes) };
            if let Ok(packet) = parsed {
                prop_assert!(packet.bytes.len() <= bytes.len());
            }
            if let Ok(segment) = Segment::parse(&bytes) {
                prop_assert!(segment.payload_len + 20 <= bytes.len());
            }
        }

        #[test]
        fn any_options_are_survived(options in proptest::collection::vec(any::<u8>(), 0..10)) {
            let mut bytes = vec![0u8; 20];
            bytes[1] = 1;
            bytes[3] = 1;
            bytes[13] = SYN;
            bytes.extend(&options);
            bytes.resize(20 + options.len().next_multiple_of(4), 0);
            bytes[12] = (bytes.len() as u8 / 4) << 4;
            prop_assert!(Segment::parse(&bytes).is_ok());
        }
    }

    #[test]
    fn options_of_a_syn_are_found() {
        let mut bytes = vec![0u8; 20];
        bytes[1] = 1;
        bytes[3] = 1;
        bytes[13] = SYN;
        bytes.extend([2, 4, 0x0a, 0xc8, 1, 3, 3, 7]);
        bytes[12] = (28 / 4) << 4;
        let segment = Segment::parse(&bytes).expect("a segment");
        assert_eq!(segment.max_segment, Some(2760));
        assert_eq!(segment.window_scale, Some(7));
    }
}
