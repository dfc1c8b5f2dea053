//! Known answers of the cryptography and the packet layer, made with upstream's own code.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{read_text, unhex, unhex_array};
use zt_protocol::identity::{PublicKey, SecretKey};
use zt_protocol::packet::{self, Header, OpenError, Relay, decompress};
use zt_protocol::wire::to_hex;
use zt_protocol::{
    Address, CipherSuite, Emit, Identity, PacketId, PeerKeys, SecretIdentity, SharedSecret, Verb,
    World,
};

const KEY: &str = concat!(
    "030a11181f262d343b424950575e656c737a81888f969da4",
    "abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c"
);

const IDENTITY: &str = concat!(
    "8e4df28b72:0:",
    "ac3d46abe0c21f3cfe7a6c8d6a85cfcffcb82fbd55af6a4d6350657c68200843",
    "fa2e16f9418bbd9702cae365f2af5fb4c420908b803a681d4daef6114d78a2d7:",
    "bd8dd6e4ce7022d2f812797a80c6ee8ad180dc4ebf301dec8b06d1be08832bdd",
    "d63a2f1cfa7b2c504474c75bdc8898ba476ef92e8e2d0509f8441985171ff16e"
);

fn keys() -> PeerKeys {
    PeerKeys::new(&SharedSecret::from_bytes(unhex_array(KEY)))
}

fn suite(name: &str) -> CipherSuite {
    match name {
        "suite0" => CipherSuite::Poly1305,
        "suite1" => CipherSuite::Salsa2012Poly1305,
        "suite3" => CipherSuite::AesGmacSiv,
        _ => panic!("{name} is no suite"),
    }
}

/// The packet of the vectors before sealing.
fn plain(payload: usize) -> Vec<u8> {
    let mut packet = unhex("0123456789abcdef112233445566778899aa00000000000000000008");
    // The vector of 33 bytes has the fragmented flag set.
    packet[18] = if payload == 33 { 0x40 } else { 0 };
    packet.extend((0..payload).map(|i| (3 * i) as u8));
    packet
}

/// Suite 0 is only opened for verbs that may be clear, and the vectors' verb is ECHO. So its
/// vectors are sealed only.
#[test]
fn packets_seal_and_open_as_upstream_does() {
    let keys = keys();
    let mut count = 0;
    for line in read_text("vectors-packets.txt")
        .lines()
        .filter(|l| l.starts_with("suite"))
    {
        let mut fields = line.split(' ');
        let suite = suite(fields.next().unwrap());
        let length: usize = fields.next().unwrap().parse().unwrap();
        let sealed = unhex(fields.next().unwrap());
        let plain = plain(length);

        let mut packet = plain.clone();
        let id = packet::seal(&keys, suite, &mut packet);
        assert_eq!(to_hex(&packet), to_hex(&sealed), "{line}");
        assert_eq!(Header::parse(&packet).unwrap().id, id);
        assert_eq!(
            id,
            PacketId(u64::from_be_bytes(sealed[..8].try_into().unwrap()))
        );

        // Relaying changes nothing that is authenticated.
        for hops in 0..=3 {
            let mut packet = sealed.clone();
            for _ in 0..hops {
                packet::add_hop(&mut packet, Relay::Packet).unwrap();
            }
            let opened = packet::open(&keys, &mut packet);
            if suite == CipherSuite::Poly1305 {
                assert_eq!(opened, Err(OpenError::ClearText));
                continue;
            }
            assert_eq!(opened.unwrap().verb, Verb::ECHO, "{line}");
            assert_eq!(packet[27..], plain[27..], "{line}");
        }
        let mut tired = sealed.clone();
        tired[18] |= 3;
        assert_eq!(packet::add_hop(&mut tired, Relay::Packet), None);
        count += 1;
    }
    assert_eq!(count, 21);
}

#[test]
fn every_changed_bit_is_noticed() {
    let keys = keys();
    for suite in [
        CipherSuite::Poly1305,
        CipherSuite::Salsa2012Poly1305,
        CipherSuite::AesGmacSiv,
    ] {
        let mut sealed = plain(40);
        sealed[27] = Verb::HELLO.to_byte();
        packet::seal(&keys, suite, &mut sealed);
        assert!(packet::open(&keys, &mut sealed.clone()).is_ok());
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let is_hop = bit / 8 == 18 && bit % 8 < 3;
            assert_eq!(
                packet::open(&keys, &mut changed).is_ok(),
                is_hop,
                "{suite:?} bit {bit}"
            );
        }
        for length in 0..sealed.len() {
            assert!(packet::open(&keys, &mut sealed[..length].to_vec()).is_err());
        }
    }
}

#[test]
fn agreements_and_signatures_match_upstream() {
    let text = read_text("vectors-c25519.txt");
    let field = |block: &str, name: &str| -> Vec<u8> {
        let prefix = format!("{name} = ");
        let line = block.lines().find_map(|line| line.strip_prefix(&prefix));
        unhex(line.unwrap_or_else(|| panic!("{name} is missing")))
    };
    let mut count = 0;
    for block in text.split("\n[").skip(1) {
        let secret = |name| SecretKey::from_bytes(field(block, name).try_into().unwrap());
        let public = |name| PublicKey(field(block, name).try_into().unwrap());
        let (one, two) = (secret("priv1"), secret("priv2"));
        assert_eq!(one.public(), public("pub1"));
        assert_eq!(two.public(), public("pub2"));
        let agreement = field(block, "agreement64");
        for agreed in [one.agree(&two.public()), two.agree(&one.public())] {
            let expected = SharedSecret::from_bytes(agreement[..48].try_into().unwrap());
            // Secrets do not compare: compare what they seal.
            let seal = |secret: &SharedSecret| {
                let mut packet = plain(8);
                packet::seal(&PeerKeys::new(secret), CipherSuite::AesGmacSiv, &mut packet);
                packet
            };
            assert_eq!(seal(&agreed.unwrap()), seal(&expected));
        }
        for (key, name) in [(&one, "sig1"), (&two, "sig2")] {
            let mut signature = key.sign(&agreement);
            assert_eq!(to_hex(&signature), to_hex(&field(block, name)));
            assert!(key.public().verify(&agreement, &signature));
            assert!(!key.public().verify(&agreement[1..], &signature));
            signature[5] ^= 1;
            assert!(!key.public().verify(&agreement, &signature));
        }
        count += 1;
    }
    assert_eq!(count, 32);
}

#[test]
fn a_weak_key_agrees_on_nothing() {
    let identity: SecretIdentity = IDENTITY.parse().unwrap();
    assert!(identity.secret_key().agree(&PublicKey([0; 64])).is_none());
}

/// VL1 §7.3.
#[test]
fn identities_validate_by_their_proof_of_work() {
    let identity: SecretIdentity = IDENTITY.parse().unwrap();
    assert!(identity.validate());
    assert_eq!(*identity.to_secret_text(), IDENTITY);
    assert_eq!(IDENTITY.parse::<Identity>().unwrap(), *identity.public());
    assert_eq!(identity.public().to_string(), IDENTITY[..141]);

    let binary = identity.public().to_bytes();
    assert_eq!(binary.len(), Identity::WIRE_LEN);
    assert_eq!(Identity::parse(&binary), Ok(*identity.public()));
    for length in 0..binary.len() {
        assert!(Identity::parse(&binary[..length]).is_err());
    }

    let forged: SecretIdentity = format!("9{}", &IDENTITY[1..]).parse().unwrap();
    assert!(!forged.validate());
    for malformed in [
        "",
        "8e4df28b72",
        &IDENTITY[..140],
        &IDENTITY.replace(":0:", ":1:"),
    ] {
        assert!(malformed.parse::<Identity>().is_err(), "{malformed}");
    }
    for root in World::default_planet().roots() {
        assert!(root.identity.validate(), "{}", root.identity);
    }
}

#[test]
fn generated_identities_are_valid() {
    use zt_protocol::rand_core::{Infallible, TryCryptoRng, TryRng};

    /// Counts; tests need no better randomness.
    struct Counter(u64);
    impl TryRng for Counter {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            self.try_next_u64().map(|word| word as u32)
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            Ok(self.0)
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            for chunk in out.chunks_mut(4) {
                let word = (self.try_next_u64()? >> 32) as u32;
                chunk.copy_from_slice(&word.to_ne_bytes()[..chunk.len()]);
            }
            Ok(())
        }
    }
    impl TryCryptoRng for Counter {}

    let identity = SecretIdentity::generate(&mut Counter(1));
    assert!(identity.validate());
    assert!(!identity.address().is_reserved());
}

/// VL1 §7.4.
#[test]
fn hello_tails_are_masked_as_upstream_does() {
    let mut packet = plain(40);
    for (byte, value) in packet[48..].iter_mut().zip(20..) {
        *byte = value;
    }
    let clear = packet.clone();
    keys().mask_hello_tail(&mut packet, 48);
    assert_eq!(
        to_hex(&packet[48..]),
        "79bed56238414455176778c2697a033502ce200d"
    );
    keys().mask_hello_tail(&mut packet, 48);
    assert_eq!(packet, clear);
}

/// VL1 §7.4 and §2.8.
#[test]
fn compressed_bodies_are_bounded() {
    let body = b"supercalifragilisticexpealidocious".repeat(10);
    let block = unhex(
        "ff13737570657263616c6966726167696c697374696365787065616c69646f63696f75732200ff1b5063696f7573",
    );
    let mut out = [0; packet::MAX_BODY];
    assert_eq!(decompress(&block, &mut out), Ok(body.len()));
    assert_eq!(out[..body.len()], body[..]);
    assert!(decompress(&block, &mut out[..body.len() - 1]).is_err());
    for length in 0..block.len() {
        assert_ne!(decompress(&block[..length], &mut out), Ok(body.len()));
    }
    let ours = packet::compress(&body).expect("repetition compresses");
    assert_eq!(decompress(&ours, &mut out), Ok(body.len()));
    assert_eq!(packet::compress(&body[..64]), None, "too short");
    let noise: Vec<u8> = (0..200u32)
        .map(|i| (i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    assert_eq!(packet::compress(&noise), None, "would not get smaller");
}

/// VL1 §7.6 and §7.7.
#[test]
fn worlds_match_upstream() {
    let text = read_text("vectors-c25519.txt");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("priv1 = "))
        .unwrap();
    let key = SecretKey::from_bytes(unhex_array(line));
    let root = zt_protocol::world::Root {
        identity: IDENTITY.parse().unwrap(),
        endpoints: vec![
            "192.0.2.10:9993".parse().unwrap(),
            "[2001:db8::10]:9993".parse().unwrap(),
        ],
    };
    let planet = World::make_planet(
        &key,
        0x1122334455667788,
        1_700_000_000_000,
        vec![root.clone()],
    );
    let bytes = planet.to_bytes();
    assert_eq!(
        to_hex(&bytes),
        concat!(
            "0111223344556677880000018bcfe56800a1fc7ab46ddf7dcfe7ec75e5fadd11",
            "cbcc37f8845d1c924e098965fcd8e95a30dae486a335b4190cbc7bcb3eb94cbd",
            "16e83d132bc9c339eaf142e76f69789ab792b4990a4bd786734c585e034c94b0",
            "f2bbbad33d4e1f76446affdad96b14d2ba9a073a63c3d37c8425d093a5679ce4",
            "28e95d702d01ceaaa9f91feffa467bbb0970c23837890a81694e9687e8d636b8",
            "f2461fa31d439269ff67603296e27f8b4a018e4df28b7200ac3d46abe0c21f3c",
            "fe7a6c8d6a85cfcffcb82fbd55af6a4d6350657c68200843fa2e16f9418bbd97",
            "02cae365f2af5fb4c420908b803a681d4daef6114d78a2d7000204c000020a27",
            "090620010db80000000000000000000000102709",
        )
    );
    assert_eq!(World::parse(&bytes), Ok(planet.clone()));
    for length in 0..bytes.len() {
        assert!(World::parse(&bytes[..length]).is_err());
    }

    let moon = unhex(concat!(
        "7f0000008e4df28b720000018bcfe56800a1fc7ab46ddf7dcfe7ec75e5fadd11cbcc37f8845d1c924e0989",
        "65fcd8e95a30dae486a335b4190cbc7bcb3eb94cbd16e83d132bc9c339eaf142e76f69789ab76f4a2c5f36",
        "fcbae52b42b278bc7fe64467078ac4484119114c95d47ad97a414ebf20584466293c8c683cd7c693095c34",
        "d63af27f09fd8e4ca787418051e02c071b4e092a59f7e3b24ed78cf06bbf9e24f84bb90527901853862895",
        "744f08db08018e4df28b7200ac3d46abe0c21f3cfe7a6c8d6a85cfcffcb82fbd55af6a4d6350657c682008",
        "43fa2e16f9418bbd9702cae365f2af5fb4c420908b803a681d4daef6114d78a2d7000204c000020a270906",
        "20010db80000000000000000000000102709",
        "0000"
    ));
    let parsed = World::parse(&moon).unwrap();
    assert!(parsed.is_signed_by(&key.public()));
    assert_eq!(parsed.to_bytes(), moon);

    let default = World::default_planet();
    assert_eq!(default.id(), 149_604_618);
    assert_eq!(default.timestamp(), 1_644_592_324_813);
    assert!(default.is_signed_by(default.update_key()));
    assert_eq!(default.to_bytes().len(), 570);
    let addresses: Vec<Address> = default
        .roots()
        .iter()
        .map(|root| root.identity.address())
        .collect();
    assert_eq!(
        format!("{addresses:?}"),
        "[cafe9efeb9, 778cde7190, 62f865ae71, cafe04eba9]"
    );
}

#[test]
fn only_a_newer_world_signed_by_the_old_key_replaces_it() {
    use zt_protocol::world::UpdateRefused;
    let key = SecretKey::from_bytes([7; 64]);
    let other = SecretKey::from_bytes([8; 64]);
    let old = World::make_planet(&key, 1, 10, vec![]);
    let offer =
        |key, id, timestamp| old.check_update(&World::make_planet(key, id, timestamp, vec![]));
    assert_eq!(offer(&key, 1, 11), Ok(()));
    assert_eq!(offer(&key, 1, 10), Err(UpdateRefused::NotNewer));
    assert_eq!(offer(&key, 2, 11), Err(UpdateRefused::OtherWorld));
    assert_eq!(offer(&other, 1, 11), Err(UpdateRefused::BadSignature));
}
