//! Credentials, rules and configurations against known bytes of upstream's own code (VL2
//! appendix A; the files in `vl2/`). Signatures are deterministic, so issuing must give the very
//! same bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::unhex;
use zt_protocol::credential::{
    Capability, CertificateOfMembership, CertificateOfOwnership, CredentialKind, Revocation, Tag,
    Thing,
};
use zt_protocol::network_config::{Added, Assembly, Dns, Role, Route, Specialist};
use zt_protocol::rule::{self, Action, Match, Rule, Side, TagTest, Target};
use zt_protocol::verb::ConfigChunk;
use zt_protocol::wire::{Malformed, Reader, to_hex};
use zt_protocol::{Address, Emit, Identity, NetworkConfig, NetworkId, SecretIdentity};

const CONTROLLER: &str = concat!(
    "f032a8811c:0:",
    "81eaacfb1da27e132c068d70a75921cef5e11de0c62841d4681f7340ae727138",
    "9937783b54d38800fbac2cb36b57d8b5384f5f713e19ff44597ed6240d67386a:",
    "8e68704300a1dfd4f283a78bd61d4daa813bee70314b7143833e810d5e253eba",
    "b893fcebe101681e6a9ec8daae96b04460aef4ee7528b15bf6c9580fb770c813"
);
const MEMBER: &str = concat!(
    "34f65e212f:0:",
    "7623b085ff1abce3954f137630db4b73cf4f9f3ceefc886ce1e690fa41864c58",
    "b9ea2fe6295c03b4c4485d89ddfa5861f1a12b5fec2c98d22662e7152f034950"
);
const NETWORK: NetworkId = NetworkId(0xf032a8811c00abcd);
const TIME: u64 = 1_700_000_000_123;
const MAX_DELTA: u64 = 1_800_000;

fn controller() -> SecretIdentity {
    CONTROLLER.parse().unwrap()
}

fn member() -> Identity {
    MEMBER.parse().unwrap()
}

fn membership() -> CertificateOfMembership {
    CertificateOfMembership::issue(&controller(), NETWORK, &member(), TIME, MAX_DELTA)
}

fn tag() -> Tag {
    Tag::issue(&controller(), NETWORK, member().address(), TIME, 1000, 7)
}

fn ownership() -> CertificateOfOwnership {
    let six_plane = NETWORK.six_plane_address(member().address());
    let things = [
        Thing::Ip("10.147.20.5".parse().unwrap()),
        Thing::Ip(six_plane.into()),
    ];
    CertificateOfOwnership::issue(&controller(), NETWORK, member().address(), TIME, 1, things)
}

fn rules() -> Vec<Rule> {
    let one = Address::new(0x1122334455);
    vec![
        Rule::unless(Match::EtherType(0x86dd)),
        Rule::Action(Action::Drop),
        Rule::when(Match::Port(Side::Destination, 22, 23)),
        Rule::Match {
            not: false,
            or: true,
            test: Match::IpProtocol(6),
        },
        Rule::when(Match::Characteristics(2)),
        Rule::when(Match::Integer {
            first: 5,
            last: 8,
            index: 14,
            format: 0x8f,
        }),
        Rule::when(Match::Node(Side::Source, one)),
        Rule::when(Match::Tag {
            test: TagTest::Difference,
            id: 1000,
            value: 2,
        }),
        Rule::Action(Action::Tee(Target {
            address: one,
            flags: 0,
            max_length: 128,
        })),
        Rule::Action(Action::Priority),
        Rule::ACCEPT,
    ]
}

fn capability() -> Capability {
    Capability::issue(
        &controller(),
        NETWORK,
        member().address(),
        TIME,
        2000,
        &rules(),
    )
}

fn revocation() -> Revocation {
    Revocation::of_membership(&controller(), NETWORK, member().address(), TIME, 0x01020304)
}

/// The value reads back from exactly its bytes, and from nothing shorter.
fn assert_codec<T: Emit + PartialEq + std::fmt::Debug>(
    value: &T,
    known: &str,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
) {
    let bytes = value.to_bytes();
    assert_eq!(to_hex(&bytes), to_hex(&unhex(known)));
    assert_eq!(value.wire_len(), bytes.len());
    let mut followed = bytes.clone();
    followed.push(0xee);
    let mut reader = Reader::new(&followed, "test");
    assert_eq!(read(&mut reader).as_ref(), Ok(value));
    assert_eq!(reader.rest(), [0xee], "it delimits itself");
    for length in 0..bytes.len() {
        assert!(
            read(&mut Reader::new(&bytes[..length], "test")).is_err(),
            "{length} bytes"
        );
    }
}

/// No bit of the signed part or of the signature may change.
fn assert_tamper_proof<T>(
    bytes: &[u8],
    read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
    verify: impl Fn(&T) -> bool,
) {
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(value) = read(&mut Reader::new(&changed, "test")) {
            assert!(!verify(&value), "bit {bit}");
        }
    }
}

#[test]
fn certificates_of_membership_match_upstream() {
    let certificate = membership();
    assert_codec(
        &certificate,
        include_str!("vl2/membership.hex"),
        CertificateOfMembership::read,
    );
    let controller = controller();
    assert!(certificate.verify(controller.public()));
    assert!(!certificate.verify(&member()));
    assert_eq!(
        (certificate.timestamp(), certificate.network()),
        (TIME, NETWORK)
    );
    assert_eq!(certificate.issued_to(), member().address());
    let bytes = certificate.to_bytes();
    assert_tamper_proof(&bytes, CertificateOfMembership::read, |certificate| {
        certificate.verify(controller.public())
    });
}

#[test]
fn certificates_agree_within_my_tolerance_and_only_for_the_key() {
    let (controller, member) = (controller(), member());
    let at = |identity: &Identity, time, delta| {
        CertificateOfMembership::issue(&controller, NETWORK, identity, time, delta)
    };
    let mine = at(controller.public(), TIME, MAX_DELTA);
    let theirs = |time| at(&member, time, 0);
    assert!(mine.agrees_with(&theirs(TIME + MAX_DELTA), &member));
    assert!(mine.agrees_with(&theirs(TIME - MAX_DELTA), &member));
    assert!(!mine.agrees_with(&theirs(TIME + MAX_DELTA + 1), &member));
    assert!(
        !theirs(TIME + 1).agrees_with(&mine, controller.public()),
        "their tolerance is zero"
    );
    assert!(
        !mine.agrees_with(&theirs(TIME), controller.public()),
        "not the holder's key"
    );
    let elsewhere =
        CertificateOfMembership::issue(&controller, NetworkId(NETWORK.0 + 1), &member, TIME, 0);
    assert!(!mine.agrees_with(&elsewhere, &member));
}

#[test]
fn a_certificate_for_another_controllers_network_does_not_verify() {
    let controller = controller();
    let network = NetworkId(NETWORK.0 ^ 1 << 24);
    let certificate =
        CertificateOfMembership::issue(&controller, network, &member(), TIME, MAX_DELTA);
    assert!(!certificate.verify(controller.public()));
}

#[test]
fn tags_match_upstream() {
    let controller = controller();
    assert_codec(&tag(), include_str!("vl2/tag.hex"), Tag::read);
    assert!(tag().verify(controller.public()));
    // The last two bytes are the unsigned length of additions.
    let bytes = tag().to_bytes();
    assert_tamper_proof(&bytes[..133], Tag::read, |tag| {
        tag.verify(controller.public())
    });
}

#[test]
fn certificates_of_ownership_match_upstream() {
    let controller = controller();
    let certificate = ownership();
    assert_codec(
        &certificate,
        include_str!("vl2/ownership.hex"),
        CertificateOfOwnership::read,
    );
    assert!(certificate.verify(controller.public()));
    assert!(certificate.owns(Thing::Ip("10.147.20.5".parse().unwrap())));
    assert!(!certificate.owns(Thing::Ip("10.147.20.6".parse().unwrap())));
    let bytes = certificate.to_bytes();
    assert_tamper_proof(&bytes[..173], CertificateOfOwnership::read, |certificate| {
        certificate.verify(controller.public())
    });
}

#[test]
fn capabilities_match_upstream() {
    let controller = controller();
    let capability = capability();
    assert_codec(
        &capability,
        include_str!("vl2/capability.hex"),
        Capability::read,
    );
    assert_eq!(capability.rules(), rules());
    assert_eq!(capability.issued_to(), member().address());
    let known = |address| (address == controller.address()).then_some(controller.public());
    assert!(capability.verify(known));
    assert!(!capability.verify(|_| None));
    let impostor = member();
    assert!(!capability.verify(|_| Some(&impostor)));
}

#[test]
fn revocations_match_upstream() {
    let controller = controller();
    let revocation = revocation();
    assert_codec(
        &revocation,
        include_str!("vl2/revocation.hex"),
        Revocation::read,
    );
    assert!(revocation.verify(controller.public()) && revocation.propagates());
    assert_eq!(revocation.kind, CredentialKind::MEMBERSHIP);
    let bytes = revocation.to_bytes();
    assert_tamper_proof(&bytes[..150], Revocation::read, |revocation| {
        revocation.verify(controller.public())
    });
}

#[test]
fn rules_match_upstream() {
    let known = unhex(include_str!("vl2/rules.hex"));
    let bytes: Vec<u8> = rules().iter().flat_map(Emit::to_bytes).collect();
    assert_eq!(to_hex(&bytes), to_hex(&known));
    assert_eq!(rule::parse_list(&known), Ok(rules()));
}

fn config() -> NetworkConfig {
    NetworkConfig {
        credential_max_delta: MAX_DELTA,
        revision: 5,
        flags: NetworkConfig::ENABLE_BROADCAST | NetworkConfig::NDP_EMULATION,
        multicast_limit: 32,
        name: "lab=net".into(),
        membership: Some(membership()),
        tags: vec![tag()],
        ownerships: vec![ownership()],
        specialists: vec![Specialist::new(
            Address::new(0x1122334455),
            Role::ActiveBridge,
        )],
        routes: vec![
            Route {
                target: "10.147.20.0/24".parse().unwrap(),
                via: None,
                flags: 0,
                metric: 0,
            },
            Route {
                target: "0.0.0.0/0".parse().unwrap(),
                via: Some("10.147.20.1".parse().unwrap()),
                flags: 0,
                metric: 0,
            },
        ],
        addresses: vec!["10.147.20.5/24".parse().unwrap()],
        rules: vec![Rule::ACCEPT],
        dns: Dns {
            domain: "lab.internal".into(),
            servers: vec!["10.147.20.1".parse().unwrap()],
        },
        ..NetworkConfig::new(NETWORK, member().address(), TIME)
    }
}

#[test]
fn network_configurations_match_upstream() {
    let known = unhex(include_str!("vl2/network_config.hex"));
    let text = config().to_dictionary().to_bytes();
    assert_eq!(
        String::from_utf8_lossy(&text),
        String::from_utf8_lossy(&known)
    );
    assert_eq!(text, known);
    assert_eq!(NetworkConfig::parse(&known), Ok(config()));
}

#[test]
fn configuration_chunks_match_upstream() {
    let controller = controller();
    let text = config().to_dictionary().to_bytes();
    let mut chunks = ConfigChunk::sign_all(&controller, NETWORK, &text, 0x0102030405060708);
    let chunk = chunks.next().unwrap();
    assert!(chunks.next().is_none());

    let mut known = unhex("f032a8811c00abcd053b");
    known.extend(&text);
    known.extend(unhex("0001020304050607080000053b00000000 01 0060"));
    known.extend(unhex(include_str!("vl2/chunk_signature.hex")));
    assert_eq!(to_hex(&chunk.to_bytes()), to_hex(&known));

    let parsed = ConfigChunk::parse(&known).unwrap();
    assert_eq!(parsed, chunk);
    assert!(parsed.verify(controller.public()) && !parsed.verify(&member()));
    assert_eq!(
        Assembly::default().add(&parsed),
        Ok(Added::Complete(text.clone()))
    );
    for length in 0..known.len() {
        // Cut right after the data it is a legacy chunk, which never verifies.
        match ConfigChunk::parse(&known[..length]) {
            Ok(chunk) => assert!(length == 10 + text.len() && !chunk.verify(controller.public())),
            Err(_) => assert_ne!(length, 10 + text.len()),
        }
    }
    let mut changed = known.clone();
    changed[20] ^= 1;
    assert!(
        !ConfigChunk::parse(&changed)
            .unwrap()
            .verify(controller.public())
    );
}
