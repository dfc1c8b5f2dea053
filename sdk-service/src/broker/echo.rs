//! What programs that ping see: an IP header before the message, and their own identifier in it.
//!
//! A socket of type `SOCK_RAW` chooses the identifier of its echo requests itself and looks for it in the answers. The
//! host has an identifier of its own for each socket, so the two are exchanged here.

use std::net::IpAddr;

use zt_netstack::Datagram;

/// Bytes of an IPv4 header without options.
const IP_HEADER: usize = 20;
/// Bytes of an ICMP header.
const HEADER: usize = 8;

/// The beginning of an answer as a `SOCK_RAW` socket receives it; the rest is the rest of the payload.
pub(super) struct Beginning {
    bytes: [u8; IP_HEADER + HEADER],
    from: usize,
}

impl Beginning {
    /// Bytes of the payload that it takes the place of.
    pub(super) const REPLACES: usize = HEADER;

    /// The beginning of this answer with the program's identifier. Nothing shorter than a header arrives.
    pub(super) fn of(datagram: &Datagram<'_>, identifier: u16) -> Option<Self> {
        let mut header: [u8; HEADER] = *datagram.payload.first_chunk()?;
        let before = [header[4], header[5]];
        header[4..6].copy_from_slice(&identifier.to_be_bytes());
        let sum = replaced([header[2], header[3]], before, [header[4], header[5]]);
        header[2..4].copy_from_slice(&sum);
        let mut bytes = [0; IP_HEADER + HEADER];
        bytes[IP_HEADER..].copy_from_slice(&header);
        let from = match (datagram.from.ip(), datagram.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let len = (IP_HEADER + datagram.payload.len()) as u16;
                bytes[0] = 0x45;
                bytes[1] = datagram.tos;
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                bytes[8] = datagram.ttl;
                bytes[9] = libc::IPPROTO_ICMP as u8;
                bytes[12..16].copy_from_slice(&from.octets());
                bytes[16..20].copy_from_slice(&to.octets());
                let sum = checksum(&bytes[..IP_HEADER]);
                bytes[10..12].copy_from_slice(&sum);
                0
            }
            // A raw socket of ICMPv6 gets the message alone.
            _ => IP_HEADER,
        };
        Some(Self { bytes, from })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }
}

/// The identifier of an echo request.
pub(super) fn identifier(message: &[u8]) -> Option<u16> {
    message
        .get(4..6)?
        .first_chunk()
        .map(|identifier| u16::from_be_bytes(*identifier))
}

/// Puts the program's identifier into the quoted beginning of an echo request.
pub(super) fn restore_identifier(quoted: &mut [u8], identifier: u16) {
    if let Some(place) = quoted.get_mut(4..6) {
        place.copy_from_slice(&identifier.to_be_bytes());
    }
}

/// A checksum after one word has changed (RFC 1624).
fn replaced(sum: [u8; 2], before: [u8; 2], after: [u8; 2]) -> [u8; 2] {
    let word = |bytes| u32::from(u16::from_be_bytes(bytes));
    let new = (!word(sum) & 0xffff) + (!word(before) & 0xffff) + word(after);
    fold(new)
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let (words, _) = bytes.as_chunks();
    fold(
        words
            .iter()
            .map(|word| u32::from(u16::from_be_bytes(*word)))
            .sum(),
    )
}

/// The complement of a sum of words.
fn fold(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use zt_netstack::Cast;

    use super::*;

    #[test]
    fn an_answer_gets_a_sound_header_and_the_identifier_of_the_program() {
        let mut message = vec![0, 0, 0, 0, 0x12, 0x34, 0, 1, 9, 9];
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum);
        let datagram = Datagram {
            from: "10.0.0.1:0".parse().unwrap(),
            to: "10.0.0.2:4660".parse().unwrap(),
            ttl: 63,
            tos: 4,
            cast: Cast::Unicast,
            payload: &message,
        };
        let beginning = Beginning::of(&datagram, 0xfedc).unwrap();
        let whole = [beginning.as_bytes(), &message[Beginning::REPLACES..]].concat();
        assert_eq!(whole.len(), 30);
        assert_eq!(whole[..4], [0x45, 4, 0, 30]);
        assert_eq!(whole[8..10], [63, 1]);
        assert_eq!(whole[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(checksum(&whole[..20]), [0, 0]);
        assert_eq!(identifier(&whole[20..]), Some(0xfedc));
        assert_eq!(checksum(&whole[20..]), [0, 0]);

        let datagram = Datagram {
            from: "[fd00::1]:0".parse().unwrap(),
            to: "[fd00::2]:1".parse().unwrap(),
            ..datagram
        };
        let beginning = Beginning::of(&datagram, 1).unwrap();
        assert_eq!(beginning.as_bytes().len(), HEADER);
    }
}
