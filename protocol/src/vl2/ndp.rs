//! Answering neighbour solicitations on the spot (VL2 §1.5.1): an address that is derived from a
//! node's address tells whose it is, so nobody needs to be asked.

use std::net::{IpAddr, Ipv6Addr};

use super::config::Config;
use super::frame::{ETHERTYPE_IPV6, Frame};
use crate::{Address, Mac, NetworkConfig, NetworkId};

const ICMPV6: u8 = 0x3a;
const SOLICITATION: u8 = 0x87;
const ADVERTISEMENT: u8 = 0x88;
/// Solicited, override.
const FLAGS: u8 = 0x60;
const TARGET_LINK_ADDRESS: u8 = 2;
const IPV6_HEADER: usize = 40;
const ADVERTISEMENT_LEN: usize = 32;

/// The advertisement that answers `frame`, and the MAC it is from, if its target is derived from
/// the address of another node.
pub(super) fn answer(
    config: &Config,
    network: NetworkId,
    frame: &Frame<'_>,
) -> Option<(Mac, Vec<u8>)> {
    let packet = frame.payload;
    let solicitation = config.parsed.has(NetworkConfig::NDP_EMULATION)
        && frame.ethertype == ETHERTYPE_IPV6
        && packet.len() >= 64
        && packet[6] == ICMPV6
        && packet[IPV6_HEADER] == SOLICITATION;
    if !solicitation {
        return None;
    }
    let target: [u8; 16] = packet[48..64].try_into().ok()?;
    config.derived_addresses().find_map(|own| {
        let IpAddr::V6(own_ip) = own.address() else {
            return None;
        };
        let (prefix, at) = if own.bits() == 40 { (5, 5) } else { (11, 11) };
        let owner = Address::from_bytes(target[at..at + 5].try_into().ok()?);
        let same_network = own_ip.octets()[..prefix] == target[..prefix];
        if !same_network || owner.is_reserved() || owner == config.parsed.issued_to {
            return None;
        }
        let mac = Mac::of(owner, network);
        Some((mac, advertisement(target, own_ip, mac)))
    })
}

/// The advertisement that `target` is at `mac`, addressed to our own `to`.
fn advertisement(target: [u8; 16], to: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let mut packet = vec![0; IPV6_HEADER + ADVERTISEMENT_LEN];
    let (header, message) = packet.split_at_mut(IPV6_HEADER);
    header[0] = 0x60;
    header[5] = ADVERTISEMENT_LEN as u8;
    header[6] = ICMPV6;
    header[7] = 0xff;
    header[8..24].copy_from_slice(&target);
    header[24..40].copy_from_slice(&to.octets());
    message[0] = ADVERTISEMENT;
    message[4] = FLAGS;
    message[8..24].copy_from_slice(&target);
    message[24] = TARGET_LINK_ADDRESS;
    message[25] = 1;
    message[26..32].copy_from_slice(&mac.0);
    let checksum = checksum(&header[8..40], message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// The ICMPv6 checksum over the pseudo header and `message` (RFC 4443 §2.3).
fn checksum(addresses: &[u8], message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes
            .chunks_exact(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum()
    };
    let mut sum = words(addresses) + words(message) + message.len() as u32 + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;
    use crate::vl2::adhoc;
    use crate::wire::to_hex;

    #[test]
    fn the_advertisement_is_that_of_the_document() {
        let network = NetworkId(0xff00_1600_1700_0000);
        let own = Address::new(0x34_f65e_212f);
        let parsed = adhoc::configuration(network, own, Time(1)).unwrap();
        let config = Config::local(parsed, 1);
        let mut solicitation = vec![0; 72];
        solicitation[6] = ICMPV6;
        solicitation[IPV6_HEADER] = SOLICITATION;
        let asked = network.six_plane_address(Address::new(0x22_3344_5566));
        solicitation[48..64].copy_from_slice(&asked.octets());
        let mut frame = Frame {
            src: Mac::of(own, network),
            dst: Mac([0x33, 0x33, 0xff, 0, 0, 1]),
            ethertype: ETHERTYPE_IPV6,
            payload: &solicitation,
        };
        let (mac, advertisement) = answer(&config, network, &frame).unwrap();
        assert_eq!(mac, Mac::of(Address::new(0x22_3344_5566), network));
        assert_eq!(
            to_hex(&advertisement),
            concat!(
                "6000000000203afffce80016002233445566000000000001fce800160034f65e212f0000000000018800",
                "6a6360000000fce800160022334455660000000000010201022233535570"
            )
        );
        let mut ours = solicitation.clone();
        ours[48..64].copy_from_slice(&network.six_plane_address(own).octets());
        frame.payload = &ours;
        assert_eq!(
            answer(&config, network, &frame),
            None,
            "nobody asks for itself"
        );
    }
}
