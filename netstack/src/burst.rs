//! A TCP super-segment and the knife that cuts it into packets.
//!
//! TCP hands over up to 64 KiB behind one header. The packets are made by [`Burst::write`]: header copied and adjusted,
//! payload copied and summed in the same pass, straight into the buffer from which the packet leaves.

use std::collections::VecDeque;

use crate::checksum::{Sum, copy_and_sum};

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const PROTOCOL_TCP: u16 = 6;

const FLAG_FIN: u8 = 0x01;
const FLAG_PSH: u8 = 0x08;

/// The packets of one TCP flow that leave together: equal sizes, only the last may be smaller.
#[derive(Clone, Copy, Debug)]
pub struct Burst<'a> {
    /// IP and TCP header as TCP wrote them for the whole.
    header: &'a [u8],
    ip_len: usize,
    payload: &'a [u8],
    /// Payload bytes a packet.
    segment: usize,
    sequence: u32,
    flags: u8,
    /// Sum of the TCP header and pseudo header without length, sequence number, flags and checksum.
    tcp_sum: Sum,
    /// Sum of the IPv4 header without total length and checksum.
    ip_sum: Sum,
}

impl<'a> Burst<'a> {
    /// Views an IP packet with a TCP segment of any length as packets of at most `segment` payload bytes.
    /// `None` if it is no such packet.
    pub(crate) fn new(packet: &'a [u8], segment: usize) -> Option<Burst<'a>> {
        let version = packet.first()? >> 4;
        let (ip_len, addresses) = match version {
            4 => (IPV4_HEADER, 12..20),
            6 => (IPV6_HEADER, 8..40),
            _ => return None,
        };
        let tcp = packet.get(ip_len..)?;
        let tcp_len = usize::from(tcp.get(12)? >> 4) * 4;
        if segment == 0 || tcp_len < TCP_HEADER || tcp.len() < tcp_len {
            return None;
        }
        let (header, payload) = packet.split_at(ip_len + tcp_len);
        let (ip, tcp) = header.split_at(ip_len);
        let sequence = u32::from_be_bytes(tcp[4..8].try_into().ok()?);
        let flags = tcp[13];
        let tcp_sum = Sum::default()
            .add(&ip[addresses])
            .add_u16(PROTOCOL_TCP)
            .add(&tcp[..4])
            .add(&tcp[8..12])
            .add(&[tcp[12], 0])
            .add(&tcp[14..16])
            .add(&tcp[18..]);
        let ip_sum = match version {
            4 => Sum::default().add(&ip[..2]).add(&ip[4..10]).add(&ip[12..]),
            _ => Sum::default(),
        };
        Some(Burst {
            header,
            ip_len,
            payload,
            segment,
            sequence,
            flags,
            tcp_sum,
            ip_sum,
        })
    }

    /// How many packets there are; at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.segment).max(1)
    }

    /// Length of packet `i` in bytes, IP header included.
    ///
    /// # Panics
    /// If `i` is not below [`count`](Burst::count).
    #[must_use]
    pub fn len(&self, i: usize) -> usize {
        let start = i * self.segment;
        assert!(
            i < self.count(),
            "packet {i} of a burst of {}",
            self.count()
        );
        self.header.len() + self.segment.min(self.payload.len() - start)
    }

    /// Never: a burst has at least one packet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Length of all packets together in bytes, IP headers included.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.count() * self.header.len() + self.payload.len()
    }

    /// Whether the packets carry bytes, and not only acknowledge or control.
    pub(crate) fn has_payload(&self) -> bool {
        !self.payload.is_empty()
    }

    /// Appends every packet to `packets`.
    pub(crate) fn write_all(&self, packets: &mut VecDeque<Vec<u8>>) {
        packets.extend((0..self.count()).map(|i| {
            let mut packet = vec![0; self.len(i)];
            self.write(i, &mut packet);
            packet
        }));
    }

    /// Writes packet `i` to `out`, with every length, number, flag and checksum as if it had been sent alone.
    ///
    /// # Panics
    /// If `i` is not below [`count`](Burst::count), or `out` is not exactly [`len(i)`](Burst::len) bytes.
    pub fn write(&self, i: usize, out: &mut [u8]) {
        let len = self.len(i);
        assert_eq!(out.len(), len, "a packet of a burst fills its buffer");
        let offset = i * self.segment;
        let last = i + 1 == self.count();
        let (header, payload) = out.split_at_mut(self.header.len());
        header.copy_from_slice(self.header);
        let sum = copy_and_sum(&self.payload[offset..offset + payload.len()], payload);

        let (ip, tcp) = header.split_at_mut(self.ip_len);
        let tcp_len = tcp.len() + payload.len();
        if self.ip_len == IPV4_HEADER {
            let total = (len as u16).to_be_bytes();
            ip[2..4].copy_from_slice(&total);
            ip[10..12].copy_from_slice(&self.ip_sum.add(&total).finish());
        } else {
            ip[4..6].copy_from_slice(&(tcp_len as u16).to_be_bytes());
        }

        let sequence = self.sequence.wrapping_add(offset as u32);
        // PSH and FIN speak of the end of the bytes, so only the last packet carries them.
        let flags = if last {
            self.flags
        } else {
            self.flags & !(FLAG_FIN | FLAG_PSH)
        };
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        tcp[13] = flags;
        let sum = self
            .tcp_sum
            .add_u16(tcp_len as u16)
            .add_u32(sequence)
            .add_u16(u16::from(flags))
            .join(sum);
        tcp[16..18].copy_from_slice(&sum.finish());
    }
}

#[cfg(test)]
mod tests;
