//! Everything that the network may throw at a node: counted, dropped, survived.

use super::lan::{Lan, START, identity};
use crate::packet::{self, HEADER_LEN};
use crate::verb::{ErrorCode, ErrorReply, Hello, Version};
use crate::vl1::{DropReason, Vl1Event};
use crate::{Address, CipherSuite, Emit, Identity, PacketId, PeerKeys, SecretIdentity, Verb};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn stranger() -> SocketAddr {
    "10.0.0.66:666".parse().unwrap()
}

fn rng() -> ChaCha12Rng {
    ChaCha12Rng::from_seed([66; 32])
}

/// A packet sealed by `from` for `to`, whatever it says.
fn seal(
    from: &SecretIdentity,
    to: &Identity,
    suite: CipherSuite,
    verb: Verb,
    body: &[u8],
) -> Vec<u8> {
    let keys = PeerKeys::new(&from.agree(to).unwrap());
    let mut packet = vec![0; HEADER_LEN + body.len()];
    packet::write_header(
        &mut packet,
        &mut rng(),
        to.address(),
        from.address(),
        false,
        verb,
        false,
    );
    packet[HEADER_LEN..].copy_from_slice(body);
    packet::seal(&keys, suite, &mut packet);
    packet
}

fn hello_of(identity: &Identity, protocol: u8) -> Vec<u8> {
    let hello = Hello {
        version: Version {
            protocol,
            ..Version::OURS
        },
        timestamp: START.as_millis(),
        identity: *identity,
        sent_to: crate::inet::InetAddress(None),
        planet: None,
        masked_moons: &[],
    };
    hello.to_bytes()
}

/// An identity whose address was not worked for.
fn forged(address: &str) -> SecretIdentity {
    let text = identity(5).to_secret_text().to_string();
    format!("{address}{}", &text[10..]).parse().unwrap()
}

fn dropped(lan: &Lan, host: usize, reason: DropReason) -> u64 {
    lan.hosts[host].node.counters().dropped(reason)
}

#[test]
fn noise_is_counted_and_changes_nothing() {
    let mut lan = Lan::with_root(1, 1);
    lan.run(SECOND);
    let mut rng = rng();
    let address = lan.address(1).to_bytes();
    for round in 0..20_000 {
        let mut bytes = vec![0; rng.next_u32() as usize % 200];
        rng.fill_bytes(&mut bytes);
        // Half of it claims to be for us, a part of that to be a fragment.
        if round % 2 == 0 && bytes.len() > 16 {
            bytes[8..13].copy_from_slice(&address);
            if round % 8 == 0 {
                bytes[13..15].copy_from_slice(&[0xff, 0x31]);
            }
        }
        lan.inject(1, stranger(), &bytes);
    }
    assert!(lan.hosts[1].delivered.is_empty());
    assert!(dropped(&lan, 1, DropReason::Junk) > 1000);
    assert!(dropped(&lan, 1, DropReason::NotForUs) > 1000);
    lan.run(60 * SECOND);
    assert!(lan.hosts[1].node.is_online());
    assert_eq!(lan.hosts[1].node.peers.len(), 1);
}

#[test]
fn every_changed_bit_is_noticed() {
    let mut lan = Lan::with_root(2, 2);
    lan.run(SECOND);
    let (a, b) = (identity(1), identity(2));
    for suite in [CipherSuite::Salsa2012Poly1305, CipherSuite::AesGmacSiv] {
        let packet = seal(&a, b.public(), suite, Verb::FRAME, b"frame");
        for bit in 0..8 * packet.len() {
            // The destination, the source and the hop count are not about this.
            if (64..144).contains(&bit) || (149..152).contains(&bit) {
                continue;
            }
            let mut changed = packet.clone();
            changed[bit / 8] ^= 0x80 >> (bit % 8);
            lan.inject(2, stranger(), &changed);
        }
    }
    lan.run(SECOND);
    assert!(lan.hosts[2].delivered.is_empty());
}

#[test]
fn truncated_packets_are_dropped() {
    let mut lan = Lan::with_root(3, 1);
    lan.run(SECOND);
    let (leaf, root) = (identity(1), identity(0));
    let hello = seal(
        &leaf,
        root.public(),
        CipherSuite::Poly1305,
        Verb::HELLO,
        &hello_of(leaf.public(), 12),
    );
    let echo = seal(
        &leaf,
        root.public(),
        CipherSuite::AesGmacSiv,
        Verb::ECHO,
        b"12345678",
    );
    for packet in [hello, echo] {
        for len in 0..packet.len() {
            lan.inject(0, stranger(), &packet[..len]);
        }
    }
    assert_eq!(lan.hosts[0].node.counters().received(Verb::ECHO), 0);
}

#[test]
fn every_verb_survives_every_malformed_body() {
    let mut lan = Lan::with_root(4, 1);
    lan.run(SECOND);
    let (leaf, root) = (identity(1), identity(0));
    let from = lan.hosts[1].outside;
    let mut rng = rng();
    for verb in 0..32 {
        for len in 0..120 {
            let mut body = vec![0; len];
            rng.fill_bytes(&mut body);
            let verb = Verb::from_byte(verb);
            lan.inject(
                0,
                from,
                &seal(&leaf, root.public(), CipherSuite::AesGmacSiv, verb, &body),
            );
            // The same from a root to a leaf, which believes roots more.
            let packet = seal(&root, leaf.public(), CipherSuite::AesGmacSiv, verb, &body);
            let at = lan.hosts[0].outside;
            lan.inject(1, at, &packet);
        }
    }
    lan.run(60 * SECOND);
    assert!(lan.hosts[1].node.is_online());
}

#[test]
fn an_address_without_its_proof_of_work_is_nobody() {
    let mut lan = Lan::with_root(5, 0);
    let (forged, root) = (forged("1234567890"), identity(0));
    let hello = hello_of(forged.public(), 12);
    lan.inject(
        0,
        stranger(),
        &seal(
            &forged,
            root.public(),
            CipherSuite::Poly1305,
            Verb::HELLO,
            &hello,
        ),
    );
    assert_eq!(dropped(&lan, 0, DropReason::InvalidIdentity), 1);
    assert!(lan.hosts[0].node.identity_of(forged.address()).is_none());
    assert_eq!(lan.sent(0), "");
}

#[test]
fn a_hello_with_a_wrong_mac_is_not_answered() {
    let mut lan = Lan::with_root(6, 0);
    let (leaf, root) = (identity(1), identity(0));
    let hello = hello_of(leaf.public(), 12);
    let mut packet = seal(
        &leaf,
        root.public(),
        CipherSuite::Poly1305,
        Verb::HELLO,
        &hello,
    );
    packet[20] ^= 1;
    lan.inject(0, stranger(), &packet);
    assert_eq!(dropped(&lan, 0, DropReason::NotAuthentic), 1);
    assert_eq!(lan.sent(0), "");
}

#[test]
fn hellos_of_the_wrong_kind_are_told_apart() {
    let mut lan = Lan::with_root(7, 0);
    let (leaf, other, root) = (identity(1), identity(2), identity(0));
    let mut say = |body: Vec<u8>| {
        lan.inject(
            0,
            stranger(),
            &seal(
                &leaf,
                root.public(),
                CipherSuite::Poly1305,
                Verb::HELLO,
                &body,
            ),
        );
    };
    say(hello_of(leaf.public(), 3));
    say(hello_of(other.public(), 12));
    say(hello_of(leaf.public(), 12)[..50].to_vec());
    let expected = [
        (DropReason::MalformedMessage, 1),
        (DropReason::OldProtocol, 1),
        (DropReason::WrongIdentity, 1),
    ];
    assert_eq!(
        lan.hosts[0].node.counters().drops().collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn the_first_identity_of_an_address_wins() {
    let mut lan = Lan::with_root(8, 1);
    lan.run(SECOND);
    let thief = forged(&lan.address(1).to_string());
    let root = identity(0);
    let hello = hello_of(thief.public(), 12);
    lan.inject(
        0,
        stranger(),
        &seal(
            &thief,
            root.public(),
            CipherSuite::Poly1305,
            Verb::HELLO,
            &hello,
        ),
    );
    assert_eq!(dropped(&lan, 0, DropReason::IdentityCollision), 1);
    assert_eq!(lan.hosts[0].node.counters().sent(Verb::ERROR), 1);
    assert_eq!(
        lan.hosts[0].node.identity_of(lan.address(1)),
        Some(identity(1).public())
    );
}

#[test]
fn a_collision_is_believed_of_an_upstream_only() {
    let mut lan = Lan::with_root(9, 2);
    lan.run(SECOND);
    lan.talk(1, 2);
    let error = ErrorReply {
        verb: Verb::HELLO,
        id: PacketId(1),
        code: ErrorCode::IDENTITY_COLLISION,
        payload: [].as_slice(),
    };
    let (leaf, body) = (identity(1), error.to_bytes());
    for sender in [identity(2), identity(0)] {
        let packet = seal(
            &sender,
            leaf.public(),
            CipherSuite::AesGmacSiv,
            Verb::ERROR,
            &body,
        );
        lan.inject(1, stranger(), &packet);
    }
    assert_eq!(dropped(&lan, 1, DropReason::NotUpstream), 1);
    let collisions = |event: &&Vl1Event| **event == Vl1Event::IdentityCollision;
    assert_eq!(lan.hosts[1].events.iter().filter(collisions).count(), 1);
}

#[test]
fn strangers_cannot_buy_processor_time() {
    let mut lan = Lan::with_root(10, 0);
    let root = identity(0);
    let from: SocketAddr = "8.8.4.4:1".parse().unwrap();
    for n in 0..50 {
        let forged = forged(&format!("12345678{n:02}"));
        let hello = hello_of(forged.public(), 12);
        lan.inject(
            0,
            from,
            &seal(
                &forged,
                root.public(),
                CipherSuite::Poly1305,
                Verb::HELLO,
                &hello,
            ),
        );
    }
    assert_eq!(dropped(&lan, 0, DropReason::InvalidIdentity), 1);
    assert_eq!(dropped(&lan, 0, DropReason::IdentityGate), 49);
}

#[test]
fn floods_of_known_peers_are_gated() {
    let mut lan = Lan::with_root(11, 2);
    lan.run(SECOND);
    lan.talk(1, 2);
    lan.run(SECOND);
    let (a, b) = (identity(1), identity(2));
    let from = lan.hosts[1].outside;
    let whois = lan.address(0).to_bytes();
    let push = [0, 0];
    let hello = hello_of(a.public(), 12);
    let before = lan.hosts[2].node.counters().sent(Verb::OK);
    for (verb, body) in [
        (Verb::ECHO, &[][..]),
        (Verb::WHOIS, &whois),
        (Verb::PUSH_DIRECT_PATHS, &push),
        (Verb::HELLO, &hello),
    ] {
        for _ in 0..100 {
            let suite = if verb == Verb::HELLO {
                CipherSuite::Poly1305
            } else {
                CipherSuite::AesGmacSiv
            };
            lan.inject(2, from, &seal(&a, b.public(), suite, verb, body));
        }
    }
    assert_eq!(dropped(&lan, 2, DropReason::EchoGate), 99);
    assert_eq!(dropped(&lan, 2, DropReason::WhoisGate), 99);
    assert!(dropped(&lan, 2, DropReason::PushGate) >= 92);
    assert!(dropped(&lan, 2, DropReason::HelloGate) >= 95);
    assert!(lan.hosts[2].node.counters().sent(Verb::OK) - before <= 7);
}

#[test]
fn answers_that_nobody_asked_for_are_dropped() {
    let mut lan = Lan::with_root(12, 1);
    lan.run(SECOND);
    let (leaf, root) = (identity(1), identity(0));
    let mut body = vec![Verb::WHOIS.to_byte(), 1, 2, 3, 4, 5, 6, 7, 8];
    identity(2).public().write(&mut body);
    let at = lan.hosts[0].outside;
    lan.inject(
        1,
        at,
        &seal(
            &root,
            leaf.public(),
            CipherSuite::AesGmacSiv,
            Verb::OK,
            &body,
        ),
    );
    assert_eq!(dropped(&lan, 1, DropReason::UnexpectedReply), 1);
    assert!(
        lan.hosts[1]
            .node
            .identity_of(identity(2).address())
            .is_none()
    );
}

#[test]
fn clear_text_is_for_hello_only() {
    let mut lan = Lan::with_root(13, 1);
    lan.run(SECOND);
    let (leaf, root) = (identity(1), identity(0));
    let from = lan.hosts[1].outside;
    lan.inject(
        0,
        from,
        &seal(
            &leaf,
            root.public(),
            CipherSuite::Poly1305,
            Verb::FRAME,
            b"frame",
        ),
    );
    assert_eq!(dropped(&lan, 0, DropReason::ClearText), 1);
    let mut packet = seal(
        &leaf,
        root.public(),
        CipherSuite::Salsa2012Poly1305,
        Verb::FRAME,
        b"frame",
    );
    packet[18] = 0x10;
    lan.inject(0, from, &packet);
    assert_eq!(dropped(&lan, 0, DropReason::UnsupportedSuite), 1);
    assert!(lan.hosts[0].delivered.is_empty());
}

#[test]
fn a_root_relays_three_hops_and_nothing_oversized_or_unknown() {
    let mut lan = Lan::with_root(14, 2);
    lan.run(SECOND);
    let (a, b) = (identity(1), identity(2));
    let from = lan.hosts[1].outside;
    let packet = seal(
        &a,
        b.public(),
        CipherSuite::Salsa2012Poly1305,
        Verb::FRAME,
        b"frame",
    );
    for hops in 0..8 {
        let mut packet = packet.clone();
        packet[18] |= hops;
        lan.inject(0, from, &packet);
    }
    lan.run(SECOND);
    assert_eq!(dropped(&lan, 0, DropReason::TooManyHops), 5);
    let hops: Vec<_> = lan.hosts[2]
        .delivered
        .iter()
        .map(|packet| packet.hops)
        .collect();
    assert_eq!(hops, [1, 2, 3]);
    let long = seal(
        &a,
        b.public(),
        CipherSuite::Salsa2012Poly1305,
        Verb::FRAME,
        &[0; 1480],
    );
    lan.inject(0, from, &long);
    assert_eq!(dropped(&lan, 0, DropReason::TooLongToRelay), 1);
    let nobody = forged("1234567890");
    lan.inject(
        0,
        from,
        &seal(
            &a,
            nobody.public(),
            CipherSuite::Salsa2012Poly1305,
            Verb::FRAME,
            b"?",
        ),
    );
    assert_eq!(dropped(&lan, 0, DropReason::NoRelayPath), 1);
    // A leaf is no relay.
    let root = identity(0);
    let past = seal(
        &b,
        root.public(),
        CipherSuite::Salsa2012Poly1305,
        Verb::FRAME,
        b"frame",
    );
    lan.inject(1, stranger(), &past);
    assert_eq!(dropped(&lan, 1, DropReason::NotForUs), 1);
}

#[test]
fn a_claimed_source_does_not_make_a_root_introduce() {
    let mut lan = Lan::with_root(15, 2);
    lan.run(SECOND);
    let (a, b) = (identity(1), identity(2));
    let packet = seal(
        &a,
        b.public(),
        CipherSuite::Salsa2012Poly1305,
        Verb::FRAME,
        b"frame",
    );
    lan.inject(0, stranger(), &packet);
    assert_eq!(lan.hosts[0].node.counters().sent(Verb::RENDEZVOUS), 0);
    let from = lan.hosts[1].outside;
    lan.inject(0, from, &packet);
    assert_eq!(lan.hosts[0].node.counters().sent(Verb::RENDEZVOUS), 2);
}

#[test]
fn forged_sources_cannot_fill_memory_or_drown_the_root() {
    let mut lan = Lan::with_root(16, 1);
    lan.run(SECOND);
    let before = lan.hosts[1].node.counters().sent(Verb::WHOIS);
    let leaf = lan.address(1).to_bytes();
    for n in 0..5000_u32 {
        let mut bytes = [0; 100];
        bytes[8..13].copy_from_slice(&leaf);
        bytes[14..18].copy_from_slice(&n.to_be_bytes());
        bytes[18] = 0x18;
        lan.inject(1, stranger(), &bytes);
    }
    assert!(lan.hosts[1].node.counters().sent(Verb::WHOIS) - before <= 128);
    lan.run(20 * SECOND);
    assert_eq!(dropped(&lan, 1, DropReason::UnknownSource), 5000);
    assert_eq!(lan.hosts[1].node.whois.deadline(), None);
}

#[test]
fn our_own_packets_and_addresses_are_not_peers() {
    let mut lan = Lan::with_root(17, 1);
    lan.run(SECOND);
    let leaf = identity(1);
    let packet = seal(
        &leaf,
        leaf.public(),
        CipherSuite::Salsa2012Poly1305,
        Verb::ECHO,
        b"",
    );
    lan.inject(1, stranger(), &packet);
    assert_eq!(dropped(&lan, 1, DropReason::OwnPacket), 1);
    let (now, own) = (lan.now, lan.address(1));
    lan.hosts[1].node.send(now, own, Verb::ECHO, b"", true);
    lan.hosts[1]
        .node
        .send(now, Address::NIL, Verb::ECHO, b"", true);
    assert_eq!(dropped(&lan, 1, DropReason::UnknownDestination), 2);
}
