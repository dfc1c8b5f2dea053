//! Packets larger than the MTU, cut into fragments: RFC 791 §3.2, RFC 8200 §4.5.

use crate::checksum::Sum;
use crate::packet::protocol;

/// Flag of a fragment behind which others follow, in the units of both families.
const V4_MORE: u16 = 0x2000;
const V6_MORE: u16 = 0x0001;

/// How far a packet has been cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    id: u32,
    /// Payload bytes that have left.
    offset: usize,
}

impl Cut {
    /// The beginning of a packet whose fragments carry `id`.
    pub(crate) fn new(id: u32) -> Cut {
        Cut { id, offset: 0 }
    }

    /// Makes the next fragment of a whole packet without IP options in `out`. Returns whether it is the last.
    ///
    /// # Panics
    /// If the packet is no IP packet, or the MTU has no room for a fragment.
    pub(crate) fn next(&mut self, packet: &[u8], mtu: usize, out: &mut Vec<u8>) -> bool {
        let v4 = packet[0] >> 4 == 4;
        let header_len = if v4 { 20 } else { 40 };
        let (header, payload) = packet.split_at(header_len);
        let room = mtu - header_len - if v4 { 0 } else { 8 };
        let end = (self.offset + room / 8 * 8).min(payload.len());
        let piece = &payload[self.offset.min(end)..end];
        let last = end == payload.len();

        out.clear();
        out.extend_from_slice(header);
        if v4 {
            let more = if last { 0 } else { V4_MORE };
            let place = (self.offset / 8) as u16 | more;
            out[2..4].copy_from_slice(&((header_len + piece.len()) as u16).to_be_bytes());
            out[4..6].copy_from_slice(&(self.id as u16).to_be_bytes());
            out[6..8].copy_from_slice(&place.to_be_bytes());
            out[10..12].fill(0);
            let sum = Sum::default().add(out).finish();
            out[10..12].copy_from_slice(&sum);
        } else {
            let more = if last { 0 } else { V6_MORE };
            let place = self.offset as u16 | more;
            out[4..6].copy_from_slice(&((8 + piece.len()) as u16).to_be_bytes());
            out[6] = protocol::FRAGMENT;
            out.extend_from_slice(&[header[6], 0]);
            out.extend_from_slice(&place.to_be_bytes());
            out.extend_from_slice(&self.id.to_be_bytes());
        }
        out.extend_from_slice(piece);
        self.offset = end;
        last
    }
}
