//! What the golden tests share: the vectors' place, hexadecimal text, and a recorded session.
#![allow(dead_code, reason = "every test uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zt_protocol::packet::{Datagram, fragment};
use zt_protocol::{Address, Identity, PacketId, PeerKeys, SecretIdentity};

/// The shared vectors; they lie beside the repository.
pub(crate) fn vectors() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    assert!(
        path.is_dir(),
        "the test vectors are missing: expected them at {}",
        path.display()
    );
    path
}

pub(crate) fn read_text(name: &str) -> String {
    let path = vectors().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn read(name: &str) -> Vec<u8> {
    let path = vectors().join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Bytes of hexadecimal text, white space ignored.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    assert!(digits.len().is_multiple_of(2), "odd number of digits");
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

pub(crate) fn unhex_array<const N: usize>(text: &str) -> [u8; N] {
    unhex(text)
        .try_into()
        .unwrap_or_else(|bytes: Vec<u8>| panic!("{} bytes, not {N}", bytes.len()))
}

/// A recorded UDP datagram.
pub(crate) struct Recorded {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

/// A whole packet, still sealed.
pub(crate) struct Packet {
    /// The number of its last datagram, counted from one.
    pub(crate) number: usize,
    pub(crate) datagrams: usize,
    pub(crate) bytes: Vec<u8>,
}

/// The session of three stock nodes, with all their secrets.
pub(crate) struct Session {
    pub(crate) identities: HashMap<Address, SecretIdentity>,
    pub(crate) datagrams: Vec<Recorded>,
    keys: HashMap<(Address, Address), Rc<PeerKeys>>,
}

impl Session {
    pub(crate) fn load() -> Session {
        let identities: HashMap<_, _> = read_text("zerotier-one-1.14.1/identities.secret")
            .lines()
            .map(|line| line.parse().expect("a secret identity"))
            .map(|identity: SecretIdentity| (identity.address(), identity))
            .collect();
        let datagrams = parse_pcap(&read("zerotier-one-1.14.1/session.pcap"));
        Session {
            identities,
            datagrams,
            keys: HashMap::new(),
        }
    }

    pub(crate) fn identity(&self, address: Address) -> &Identity {
        self.identities[&address].public()
    }

    /// Joins the fragments of every packet. Nothing was lost or reordered when it was recorded.
    pub(crate) fn reassemble(&self) -> Vec<Packet> {
        let mut packets: Vec<Packet> = Vec::new();
        let mut heads: HashMap<PacketId, usize> = HashMap::new();
        for (index, datagram) in self.datagrams.iter().enumerate() {
            match Datagram::classify(&datagram.payload) {
                Datagram::Packet(header) => {
                    if header.is_fragmented() {
                        heads.insert(header.id, packets.len());
                    }
                    let bytes = datagram.payload.clone();
                    packets.push(Packet {
                        number: index + 1,
                        datagrams: 1,
                        bytes,
                    });
                }
                Datagram::Fragment(header) => {
                    let packet = &mut packets[heads[&header.id]];
                    assert_eq!(usize::from(header.number), packet.datagrams, "in order");
                    packet.datagrams += 1;
                    packet.number = index + 1;
                    packet
                        .bytes
                        .extend(&datagram.payload[fragment::HEADER_LEN..]);
                }
                Datagram::Junk => assert_eq!(datagram.payload.len(), 4, "only hole punching"),
            }
        }
        packets.sort_by_key(|packet| packet.number);
        packets
    }

    /// The keys of two nodes, agreed upon with the secret of the first.
    pub(crate) fn keys(&mut self, one: Address, other: Address) -> Rc<PeerKeys> {
        let Session {
            identities, keys, ..
        } = self;
        let keys = keys.entry((one, other)).or_insert_with(|| {
            let secret = identities[&one].agree(identities[&other].public());
            Rc::new(PeerKeys::new(&secret.expect("keys are not weak")))
        });
        Rc::clone(keys)
    }
}

/// Ethernet, IPv4 or IPv6 without options, UDP; whatever else was recorded is left out.
fn parse_pcap(file: &[u8]) -> Vec<Recorded> {
    assert_eq!(
        file[..4],
        [0xd4, 0xc3, 0xb2, 0xa1],
        "a little-endian pcap of microseconds"
    );
    let mut rest = &file[24..];
    let mut datagrams = Vec::new();
    while let Some((header, tail)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        let (frame, tail) = tail.split_at(length);
        rest = tail;
        datagrams.extend(parse_udp(frame));
    }
    datagrams
}

fn parse_udp(frame: &[u8]) -> Option<Recorded> {
    let (source, destination, udp): (IpAddr, IpAddr, &[u8]) = match frame[12..14] {
        [0x08, 0x00] if frame[14] == 0x45 && frame[23] == 17 => {
            let ip: &[u8; 20] = frame[14..34].try_into().unwrap();
            let source: [u8; 4] = ip[12..16].try_into().unwrap();
            let destination: [u8; 4] = ip[16..20].try_into().unwrap();
            (source.into(), destination.into(), &frame[34..])
        }
        [0x86, 0xdd] if frame[20] == 17 => {
            let source: [u8; 16] = frame[22..38].try_into().unwrap();
            let destination: [u8; 16] = frame[38..54].try_into().unwrap();
            (source.into(), destination.into(), &frame[54..])
        }
        _ => return None,
    };
    let word = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    Some(Recorded {
        from: SocketAddr::new(source, word(0)),
        to: SocketAddr::new(destination, word(2)),
        payload: udp[8..word(4).into()].to_vec(),
    })
}
