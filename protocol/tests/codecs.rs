//! Properties that every codec has: what is written reads back as the same value, no shorter
//! text reads as that value, and no bytes whatever make a parser panic.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use zt_protocol::credential::{
    Capability, CertificateOfMembership, CertificateOfOwnership, Revocation, Tag, Thing,
};
use zt_protocol::inet::{InetAddress, IpPrefix};
use zt_protocol::network_config::{Dns, Role, Route, SingleSignOn, Specialist};
use zt_protocol::packet::{self, Datagram, MAX_BODY, decompress, fragment};
use zt_protocol::rule::{
    self, Action, Frame as RuledFrame, Match, NoEvidence, Rule, Side, TagTest, Target,
};
use zt_protocol::verb::{
    ConfigChunk, ErrorCode, ErrorReply, ExtFrame, Frame, GatherResults, Hello, MulticastFrame,
    MulticastGather, MulticastLike, NetworkConfigRequest, NetworkCredentials, OkHello,
    OkMulticastFrame, OkMulticastGather, OkNetworkConfig, PushDirectPaths, PushedPath, Rendezvous,
    Reply, UnwantedMulticast, Version, WorldRevision, whois_addresses, whois_identities,
};
use zt_protocol::wire::{Malformed, Reader};
use zt_protocol::world::Root;
use zt_protocol::{
    Address, Dictionary, Emit, Identity, Mac, MulticastGroup, NetworkConfig, NetworkId, PacketId,
    SecretIdentity, Verb, World, identity::SecretKey,
};

const CONTROLLER: &str = concat!(
    "f032a8811c:0:",
    "81eaacfb1da27e132c068d70a75921cef5e11de0c62841d4681f7340ae727138",
    "9937783b54d38800fbac2cb36b57d8b5384f5f713e19ff44597ed6240d67386a:",
    "8e68704300a1dfd4f283a78bd61d4daa813bee70314b7143833e810d5e253eba",
    "b893fcebe101681e6a9ec8daae96b04460aef4ee7528b15bf6c9580fb770c813"
);

fn controller() -> SecretIdentity {
    CONTROLLER.parse().unwrap()
}

/// Reads back from its own bytes, and from no fewer of them.
fn assert_round_trip<'a, T: Emit + PartialEq + Debug + 'a>(
    value: &T,
    bytes: &'a mut Vec<u8>,
    parse: impl Fn(&'a [u8]) -> Result<T, Malformed>,
) {
    *bytes = value.to_bytes();
    assert_eq!(value.wire_len(), bytes.len());
    let mut buffer = vec![0; bytes.len() + 3];
    assert_eq!(value.emit(&mut buffer), bytes.len());
    assert_eq!(buffer[..bytes.len()], bytes[..]);
    let bytes: &'a [u8] = bytes;
    assert_eq!(parse(bytes).as_ref(), Ok(value));
    for length in 0..bytes.len() {
        assert_ne!(
            parse(&bytes[..length]).as_ref(),
            Ok(value),
            "{length} bytes"
        );
    }
}

/// The same for what delimits itself inside others.
fn assert_delimited<T: Emit + PartialEq + Debug>(
    value: &T,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
) {
    let mut bytes = value.to_bytes();
    for length in 0..bytes.len() {
        assert!(
            read(&mut Reader::new(&bytes[..length], "test")).is_err(),
            "{length} bytes"
        );
    }
    bytes.push(0xee);
    let mut reader = Reader::new(&bytes, "test");
    assert_eq!(read(&mut reader).as_ref(), Ok(value));
    assert_eq!(reader.rest(), [0xee]);
}

fn address() -> impl Strategy<Value = Address> {
    any::<u64>().prop_map(Address::new)
}

fn node() -> impl Strategy<Value = Address> {
    (1u64..0xff_0000_0000).prop_map(Address::new)
}

fn network() -> impl Strategy<Value = NetworkId> {
    any::<u64>().prop_map(NetworkId)
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

fn group() -> impl Strategy<Value = MulticastGroup> {
    (mac(), any::<u32>()).prop_map(|(mac, adi)| MulticastGroup { mac, adi })
}

fn identity() -> impl Strategy<Value = Identity> {
    (node(), vec(any::<u8>(), 64)).prop_map(|(address, key)| {
        let bytes = [&address.to_bytes()[..], &[0], &key, &[0]].concat();
        Identity::parse(&bytes).unwrap()
    })
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ]
}

fn endpoint() -> impl Strategy<Value = SocketAddr> {
    (ip(), any::<u16>()).prop_map(SocketAddr::from)
}

fn inet() -> impl Strategy<Value = InetAddress> {
    option::of(endpoint()).prop_map(InetAddress)
}

fn prefix() -> impl Strategy<Value = IpPrefix> {
    (ip(), 0u8..=32).prop_map(|(ip, bits)| IpPrefix::new(ip, bits).unwrap())
}

fn bytes(limit: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..limit)
}

fn version() -> impl Strategy<Value = Version> {
    (any::<u8>(), any::<u8>(), any::<u8>(), any::<u16>()).prop_map(
        |(protocol, major, minor, revision)| Version {
            protocol,
            major,
            minor,
            revision,
        },
    )
}

fn membership() -> impl Strategy<Value = CertificateOfMembership> {
    (network(), identity(), any::<u64>(), any::<u64>()).prop_map(
        |(network, member, time, delta)| {
            CertificateOfMembership::issue(&controller(), network, &member, time, delta)
        },
    )
}

fn tag() -> impl Strategy<Value = Tag> {
    (
        network(),
        address(),
        any::<u64>(),
        any::<u32>(),
        any::<u32>(),
    )
        .prop_map(|(n, to, time, id, value)| Tag::issue(&controller(), n, to, time, id, value))
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![mac().prop_map(Thing::Mac), ip().prop_map(Thing::Ip)]
}

fn ownership() -> impl Strategy<Value = CertificateOfOwnership> {
    (
        network(),
        address(),
        any::<u64>(),
        any::<u32>(),
        vec(thing(), 0..=16),
    )
        .prop_map(|(n, to, time, id, things)| {
            CertificateOfOwnership::issue(&controller(), n, to, time, id, things)
        })
}

fn revocation() -> impl Strategy<Value = Revocation> {
    (network(), address(), any::<u64>(), any::<u32>()).prop_map(|(n, target, threshold, id)| {
        Revocation::of_membership(&controller(), n, target, threshold, id)
    })
}

fn capability() -> impl Strategy<Value = Capability> {
    (
        network(),
        node(),
        any::<u64>(),
        any::<u32>(),
        vec(rule(), 0..20),
    )
        .prop_map(|(n, to, time, id, rules)| {
            Capability::issue(&controller(), n, to, time, id, &rules)
        })
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Source), Just(Side::Destination)]
}

fn target() -> impl Strategy<Value = Target> {
    (address(), any::<u32>(), any::<u16>()).prop_map(|(address, flags, max_length)| Target {
        address,
        flags,
        max_length,
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Drop),
        Just(Action::Accept),
        target().prop_map(Action::Tee),
        target().prop_map(Action::Watch),
        target().prop_map(Action::Redirect),
        Just(Action::Break),
        Just(Action::Priority),
    ]
}

fn tag_test() -> impl Strategy<Value = TagTest> {
    prop_oneof![
        Just(TagTest::Difference),
        Just(TagTest::And),
        Just(TagTest::Or),
        Just(TagTest::Xor),
        Just(TagTest::Equal),
        Just(TagTest::Sender),
        Just(TagTest::Receiver),
    ]
}

fn test() -> impl Strategy<Value = Match> {
    prop_oneof![
        (side(), address()).prop_map(|(side, address)| Match::Node(side, address)),
        any::<u16>().prop_map(Match::VlanId),
        any::<u8>().prop_map(Match::VlanPriority),
        any::<u8>().prop_map(Match::VlanDropEligible),
        (side(), mac()).prop_map(|(side, mac)| Match::Mac(side, mac)),
        (side(), any::<[u8; 4]>(), any::<u8>()).prop_map(|(s, a, b)| Match::Ipv4(s, a.into(), b)),
        (side(), any::<[u8; 16]>(), any::<u8>()).prop_map(|(s, a, b)| Match::Ipv6(s, a.into(), b)),
        any::<[u8; 3]>().prop_map(|[mask, first, last]| Match::TypeOfService { mask, first, last }),
        any::<u8>().prop_map(Match::IpProtocol),
        any::<u16>().prop_map(Match::EtherType),
        (any::<u8>(), option::of(any::<u8>())).prop_map(|(kind, code)| Match::Icmp(kind, code)),
        (side(), any::<u16>(), any::<u16>())
            .prop_map(|(s, first, last)| Match::Port(s, first, last)),
        any::<u64>().prop_map(Match::Characteristics),
        (any::<u16>(), any::<u16>()).prop_map(|(first, last)| Match::FrameSize(first, last)),
        any::<u32>().prop_map(Match::Random),
        (tag_test(), any::<u32>(), any::<u32>()).prop_map(|(test, id, value)| Match::Tag {
            test,
            id,
            value
        }),
        (any::<u64>(), any::<u64>(), any::<u16>(), any::<u8>()).prop_map(
            |(first, last, index, format)| Match::Integer {
                first,
                last,
                index,
                format
            }
        ),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        action().prop_map(Rule::Action),
        (any::<bool>(), any::<bool>(), test()).prop_map(|(not, or, test)| Rule::Match {
            not,
            or,
            test
        }),
        // Kinds that nobody knows.
        (52u8..64, bytes(20)).prop_map(|(kind, data)| {
            let bytes = [&[kind, data.len() as u8], &data[..]].concat();
            Rule::read(&mut Reader::new(&bytes, "rule")).unwrap()
        }),
    ]
}

fn results() -> impl Strategy<Value = GatherResults> {
    (any::<u32>(), vec(address(), 0..20))
        .prop_map(|(total, members)| GatherResults { total, members })
}

fn route() -> impl Strategy<Value = Route> {
    (prefix(), option::of(ip()), any::<u16>(), any::<u16>()).prop_map(
        |(target, via, flags, metric)| Route {
            target,
            via,
            flags,
            metric,
        },
    )
}

fn config() -> impl Strategy<Value = NetworkConfig> {
    let numbers = (
        network(),
        node(),
        any::<[u64; 5]>(),
        any::<u32>(),
        any::<bool>(),
        1280u16..10000,
    );
    let credentials = (
        option::of(membership()),
        vec(capability(), 0..2),
        vec(tag(), 0..2),
        vec(ownership(), 0..2),
    );
    let lists = (
        vec((address(), Just(Role::Anchor)), 0..3),
        vec(route(), 0..4),
        vec(prefix(), 0..4),
        vec(rule(), 0..20),
        vec(ip(), 0..=4),
    );
    let texts = (
        "[a-z=\\\\\r\n]{0,20}",
        "[a-z.]{0,40}",
        option::of("[ -~]{0,40}"),
    );
    (numbers, credentials, lists, texts).prop_map(|(numbers, credentials, lists, texts)| {
        let (network, issued_to, [timestamp, delta, revision, level, flags], limit, public, mtu) =
            numbers;
        let (membership, mut capabilities, mut tags, ownerships) = credentials;
        capabilities.sort_by_key(|capability| capability.id);
        tags.sort_by_key(|tag| tag.id);
        let (specialists, routes, addresses, rules, servers) = lists;
        let (name, domain, url) = texts;
        NetworkConfig {
            credential_max_delta: delta,
            revision,
            trace_level: level,
            flags,
            multicast_limit: limit,
            is_public: public,
            name,
            mtu,
            membership,
            capabilities,
            tags,
            ownerships,
            specialists: specialists
                .into_iter()
                .map(|(a, role)| Specialist::new(a, role))
                .collect(),
            routes,
            addresses,
            rules,
            dns: Dns { domain, servers },
            sign_on: SingleSignOn {
                is_enabled: url.is_some(),
                url: url.unwrap_or_default(),
                ..SingleSignOn::default()
            },
            ..NetworkConfig::new(network, issued_to, timestamp)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn hello_round_trips(
        version in version(), timestamp: u64, identity in identity(), sent_to in inet(),
        planet in option::of((any::<u64>(), any::<u64>())), moons in bytes(40),
    ) {
        let planet = planet.map(|(id, timestamp)| WorldRevision { id, timestamp });
        let masked_moons = if planet.is_some() { &moons[..] } else { &[] };
        let hello = Hello { version, timestamp, identity, sent_to, planet, masked_moons };
        // The optional parts at the end may be cut off, and are then read as absent.
        let bytes = hello.to_bytes();
        prop_assert_eq!(Hello::parse(&bytes), Ok(hello));
        prop_assert_eq!(hello.masked_from() + hello.masked_moons.len(), bytes.len());
        for length in 0..84 {
            prop_assert!(Hello::parse(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn ok_hello_round_trips(
        timestamp: u64, version in version(), surface in inet(), worlds in bytes(40),
    ) {
        let ok = OkHello { timestamp, version, surface, worlds: &worlds };
        let bytes = ok.to_bytes();
        prop_assert_eq!(OkHello::parse(&bytes), Ok(ok));
    }

    #[test]
    fn replies_round_trip(verb in 0u8..0x20, id: u64, code: u8, payload in bytes(40)) {
        let (verb, id, payload) = (Verb::from_byte(verb), PacketId(id), &payload[..]);
        assert_round_trip(&Reply { verb, id, payload }, &mut Vec::new(), Reply::parse);
        let error = ErrorReply { verb, id, code: ErrorCode(code), payload };
        assert_round_trip(&error, &mut Vec::new(), ErrorReply::parse);
    }

    #[test]
    fn path_verbs_round_trip(
        flags: u8, peer in address(), address in endpoint(),
        pushed in vec((any::<u8>(), endpoint()), 0..9), asked in vec(address(), 0..5),
        identities in vec(identity(), 0..3),
    ) {
        assert_round_trip(&Rendezvous { flags, peer, address }, &mut Vec::new(), Rendezvous::parse);
        let paths = pushed.into_iter().map(|(flags, address)| PushedPath { flags, address });
        let push = PushDirectPaths { paths: paths.collect() };
        assert_round_trip(&push, &mut Vec::new(), PushDirectPaths::parse);
        let bytes: Vec<u8> = asked.iter().flat_map(Emit::to_bytes).collect();
        prop_assert!(whois_addresses(&bytes).eq(asked));
        let bytes: Vec<u8> = identities.iter().flat_map(Emit::to_bytes).collect();
        prop_assert!(whois_identities(&bytes).eq(identities));
    }

    #[test]
    fn frames_round_trip(
        network in network(), ethertype: u16, payload in bytes(60), source in option::of(mac()),
        destination in mac(), certificate in option::of(membership()), flags: u8, group in group(),
        gather_limit in option::of(any::<u32>()), replicate: bool,
    ) {
        let payload = &payload[..];
        let frame = Frame { network, ethertype, payload };
        assert_round_trip(&frame, &mut Vec::new(), Frame::parse);
        let multicast = MulticastFrame {
            network, certificate: certificate.clone(), gather_limit, source, replicate, group,
            ethertype, payload,
        };
        assert_round_trip(&multicast, &mut Vec::new(), MulticastFrame::parse);
        let extended = ExtFrame {
            network, flags: flags & !1, certificate, destination,
            source: source.unwrap_or_default(), ethertype, payload,
        };
        assert_round_trip(&extended, &mut Vec::new(), ExtFrame::parse);
    }

    #[test]
    fn multicast_bookkeeping_round_trips(
        network in network(), group in group(), limit: u32, results in results(),
        certificate in option::of(membership()), with_results: bool,
    ) {
        let gather = MulticastGather { network, group, limit, certificate: certificate.clone() };
        assert_round_trip(&gather, &mut Vec::new(), MulticastGather::parse);
        let ok = OkMulticastGather { network, group, results: results.clone() };
        assert_round_trip(&ok, &mut Vec::new(), OkMulticastGather::parse);
        let results = with_results.then_some(results);
        let ok = OkMulticastFrame { network, group, certificate, results };
        assert_round_trip(&ok, &mut Vec::new(), OkMulticastFrame::parse);
        let unwanted = UnwantedMulticast { network, group };
        assert_round_trip(&unwanted, &mut Vec::new(), UnwantedMulticast::parse);
        let like = MulticastLike { network, group };
        let twice = [like.to_bytes(), like.to_bytes()].concat();
        prop_assert!(MulticastLike::parse_all(&twice).eq([like, like]));
        prop_assert_eq!(MulticastLike::parse_all(&twice[..MulticastLike::LEN * 2 - 1]).count(), 1);
    }

    #[test]
    fn configuration_verbs_round_trip(
        network in network(), metadata in bytes(60), revision: u64, timestamp: u64, update: u64,
        text in bytes(100),
    ) {
        let request = NetworkConfigRequest { network, metadata: &metadata, revision, timestamp };
        let bytes = request.to_bytes();
        prop_assert_eq!(NetworkConfigRequest::parse(&bytes), Ok(request));
        let acknowledgement = OkNetworkConfig { network, update };
        assert_round_trip(&acknowledgement, &mut Vec::new(), OkNetworkConfig::parse);
        for chunk in ConfigChunk::sign_all(&controller(), network, &text, update) {
            assert_round_trip(&chunk, &mut Vec::new(), ConfigChunk::parse);
        }
    }

    #[test]
    fn credentials_round_trip(
        memberships in vec(membership(), 0..3), capabilities in vec(capability(), 0..2),
        tags in vec(tag(), 0..3), revocations in vec(revocation(), 0..3),
        ownerships in vec(ownership(), 0..2),
    ) {
        memberships.iter().for_each(|c| assert_delimited(c, CertificateOfMembership::read));
        capabilities.iter().for_each(|c| assert_delimited(c, Capability::read));
        tags.iter().for_each(|c| assert_delimited(c, Tag::read));
        revocations.iter().for_each(|c| assert_delimited(c, Revocation::read));
        ownerships.iter().for_each(|c| assert_delimited(c, CertificateOfOwnership::read));
        let all =
            NetworkCredentials { memberships, capabilities, tags, revocations, ownerships };
        prop_assert_eq!(NetworkCredentials::parse(&all.to_bytes()), Ok(all));
    }

    #[test]
    fn rules_round_trip(rules in vec(rule(), 0..20)) {
        rules.iter().for_each(|rule| assert_delimited(rule, Rule::read));
        let bytes: Vec<u8> = rules.iter().flat_map(Emit::to_bytes).collect();
        prop_assert_eq!(rule::parse_list(&bytes), Ok(rules));
    }

    #[test]
    fn rules_judge_any_frame(
        rules in vec(rule(), 0..20), ethertype in prop_oneof![
            Just(0x0800u16), Just(0x0806), Just(0x86dd), any::<u16>()
        ], payload in bytes(100), inbound: bool, mac in mac(),
    ) {
        let frame = RuledFrame {
            inbound, own: Address::new(1), source_node: Address::new(1),
            destination_node: Address::new(2), source: mac, destination: mac, ethertype,
            payload: &payload,
        };
        rule::evaluate(&rules, &frame, false, &NoEvidence);
    }

    #[test]
    fn worlds_round_trip(
        id: u64, timestamp: u64, key: [u8; 32],
        roots in vec((identity(), vec(endpoint(), 0..=32)), 0..=4),
    ) {
        let roots = roots.into_iter().map(|(identity, endpoints)| Root { identity, endpoints });
        let mut secret = [0; 64];
        secret[..32].copy_from_slice(&key);
        secret[32..].copy_from_slice(&key);
        let world =
            World::make_planet(&SecretKey::from_bytes(secret), id, timestamp, roots.collect());
        prop_assert!(world.is_signed_by(world.update_key()));
        prop_assert!(world.to_bytes().len() <= World::MAX_LEN);
        assert_delimited(&world, World::read);
    }

    #[test]
    fn dictionaries_round_trip(entries in vec(("[a-z]{1,6}", bytes(30)), 0..8)) {
        let mut dictionary = Dictionary::new();
        for (key, value) in &entries {
            dictionary.push(key, value);
        }
        prop_assert_eq!(Dictionary::parse(&dictionary.to_bytes()), dictionary);
    }

    #[test]
    fn network_configurations_round_trip(config in config()) {
        let text = config.to_dictionary().to_bytes();
        prop_assert_eq!(NetworkConfig::parse(&text), Ok(config));
        for length in (0..text.len()).step_by(7) {
            let _ = NetworkConfig::parse(&text[..length]);
        }
    }

    #[test]
    fn fragments_round_trip(id: u64, destination in address(), total in 2u8..=7, hops in 0u8..8) {
        for number in 1..total {
            let header =
                fragment::Header { id: PacketId(id), destination, total, number, hops };
            assert_round_trip(&header, &mut Vec::new(), fragment::Header::parse);
        }
    }

    #[test]
    fn compression_round_trips(body in vec(0u8..4, 0..3000)) {
        if let Some(block) = packet::compress(&body) {
            let mut out = [0; MAX_BODY];
            prop_assert_eq!(decompress(&block, &mut out), Ok(body.len()));
            prop_assert_eq!(&out[..body.len()], &body[..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in bytes(400)) {
        let _ = Datagram::classify(&bytes);
        let _ = decompress(&bytes, &mut [0; 1000]);
        let _ = Hello::parse(&bytes);
        let _ = OkHello::parse(&bytes);
        let _ = Rendezvous::parse(&bytes);
        let _ = PushDirectPaths::parse(&bytes);
        let _ = ExtFrame::parse(&bytes);
        let _ = MulticastGather::parse(&bytes);
        let _ = OkMulticastGather::parse(&bytes);
        let _ = MulticastFrame::parse(&bytes);
        let _ = OkMulticastFrame::parse(&bytes);
        let _ = NetworkConfigRequest::parse(&bytes);
        let _ = ConfigChunk::parse(&bytes);
        let _ = NetworkCredentials::parse(&bytes);
        let _ = World::parse(&bytes);
        let _ = Identity::parse(&bytes);
        let _ = rule::parse_list(&bytes);
        let _ = NetworkConfig::parse(&bytes);
        let _ = whois_identities(&bytes).count();
    }
}
