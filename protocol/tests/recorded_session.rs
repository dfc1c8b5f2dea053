//! Every packet of a recorded session of three stock nodes (zerotier-one 1.14.1): opened with
//! their secrets, reassembled, decompressed, parsed, and written again byte for byte. The
//! session's verdicts are asserted at the end: what was accepted there is valid here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use support::{Session, read_text};
use zt_protocol::credential::{
    CertificateOfMembership, CertificateOfOwnership, CredentialKind, Thing,
};
use zt_protocol::network_config::{Added, Assembly};
use zt_protocol::packet::{self, HEADER_LEN, decompress};
use zt_protocol::verb::{
    ConfigChunk, ErrorCode, ErrorReply, ExtFrame, Frame, Hello, MulticastFrame, MulticastGather,
    MulticastLike, NetworkConfigRequest, NetworkCredentials, OkHello, OkMulticastFrame,
    OkMulticastGather, OkNetworkConfig, PushDirectPaths, Rendezvous, Reply, Version,
    whois_addresses, whois_identities,
};
use zt_protocol::{
    Address, CipherSuite, Dictionary, Emit, Identity, NetworkConfig, NetworkId, Verb, World,
};

/// One line of `session.tsv`.
struct Row {
    number: usize,
    destination: Address,
    source: Address,
    suite: u8,
    verb: String,
    size: usize,
    datagrams: usize,
    is_compressed: bool,
}

fn rows() -> Vec<Row> {
    read_text("zerotier-one-1.14.1/session.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect::<Vec<_>>())
        // Hole-punching junk is no packet.
        .filter(|fields| fields[7] != "short")
        .map(|fields| Row {
            number: fields[0].parse().unwrap(),
            destination: fields[4].parse().unwrap(),
            source: fields[5].parse().unwrap(),
            suite: fields[6].parse().unwrap(),
            verb: fields[7].to_owned(),
            size: fields[8].parse().unwrap(),
            datagrams: fields[9].parse().unwrap(),
            is_compressed: fields.get(10).is_some_and(|notes| notes.contains("lz4")),
        })
        .collect()
}

/// What the session proves.
#[derive(Default)]
struct Verdicts {
    configs: Vec<NetworkConfig>,
    memberships: Vec<(Address, CertificateOfMembership)>,
    ownerships: Vec<CertificateOfOwnership>,
    revoked: Vec<Address>,
    need_certificate: usize,
    denied: usize,
    full_frames: usize,
}

#[test]
fn every_packet_opens_parses_and_is_written_again() {
    let mut session = Session::load();
    let rows = rows();
    let packets = session.reassemble();
    assert_eq!(
        packets.len(),
        rows.len(),
        "packets recorded and packets listed"
    );

    let mut verdicts = Verdicts::default();
    let mut assemblies: HashMap<Address, Assembly> = HashMap::new();
    for (packet, row) in packets.iter().zip(&rows) {
        let at = format!("packet {} {}", row.number, row.verb);
        assert_eq!(packet.number, row.number, "{at}");
        assert_eq!(packet.datagrams, row.datagrams, "{at}");
        assert_eq!(packet.bytes.len(), row.size, "{at}");
        let header = packet::Header::parse(&packet.bytes).unwrap();
        assert_eq!(
            (header.destination, header.source),
            (row.destination, row.source),
            "{at}"
        );
        let suite = header.suite().unwrap();
        assert_eq!(suite as u8, row.suite, "{at}");

        let keys = session.keys(header.destination, header.source);
        let mut bytes = packet.bytes.clone();
        let opened = packet::open(&keys, &mut bytes).unwrap_or_else(|e| panic!("{at}: {e}"));
        assert_eq!(opened.verb.to_string(), row.verb, "{at}");
        assert_eq!(opened.compressed, row.is_compressed, "{at}");
        if suite != CipherSuite::AesGmacSiv && header.hops() == 0 {
            // Suites 0 and 1 keep the packet id, so sealing again must give the same bytes.
            let mut again = bytes.clone();
            assert_eq!(packet::seal(&keys, suite, &mut again), header.id);
            assert_eq!(again, packet.bytes, "{at}");
        }
        if opened.verb == Verb::HELLO {
            check_hello(&mut bytes, &keys, session.identity(header.source), &at);
            continue;
        }
        let mut body = bytes[HEADER_LEN..].to_vec();
        if opened.compressed {
            let mut whole = vec![0; packet::MAX_BODY];
            let length = decompress(&body, &mut whole).unwrap_or_else(|e| panic!("{at}: {e}"));
            whole.truncate(length);
            body = whole;
        }
        let assembly = assemblies.entry(header.destination).or_default();
        check_body(
            &session,
            opened.verb,
            &body,
            &header,
            assembly,
            &mut verdicts,
            &at,
        );
    }
    check_verdicts(&session, &verdicts);
}

fn check_hello(packet: &mut [u8], keys: &zt_protocol::PeerKeys, sender: &Identity, at: &str) {
    let hello = Hello::parse(&packet[HEADER_LEN..]).unwrap_or_else(|e| panic!("{at}: {e}"));
    assert_eq!(hello.to_bytes(), packet[HEADER_LEN..], "{at}");
    assert_eq!(&hello.identity, sender, "{at}");
    assert_eq!(hello.version, Version::OURS, "{at}");
    assert!(hello.planet.is_some(), "{at}");
    let from = HEADER_LEN + hello.masked_from();
    keys.mask_hello_tail(packet, from);
    assert_eq!(&packet[from..], Hello::NO_MOONS, "{at}");
}

/// Parses a body, compares its wire form with what was recorded, and collects the verdicts.
fn check_body(
    session: &Session,
    verb: Verb,
    body: &[u8],
    header: &packet::Header,
    assembly: &mut Assembly,
    verdicts: &mut Verdicts,
    at: &str,
) {
    let same = |written: Vec<u8>| assert_eq!(written, body, "{at}");
    match verb {
        Verb::ECHO => {}
        Verb::WHOIS => {
            let asked: Vec<Address> = whois_addresses(body).collect();
            assert_eq!(asked.len(), 1, "{at}");
            same(asked[0].to_bytes().to_vec());
        }
        Verb::RENDEZVOUS => same(Rendezvous::parse(body).unwrap().to_bytes()),
        Verb::PUSH_DIRECT_PATHS => same(PushDirectPaths::parse(body).unwrap().to_bytes()),
        Verb::FRAME => {
            let frame = Frame::parse(body).unwrap();
            verdicts.full_frames += usize::from(frame.payload.len() == 2800);
            same(frame.to_bytes());
        }
        Verb::EXT_FRAME => same(ExtFrame::parse(body).unwrap().to_bytes()),
        Verb::MULTICAST_LIKE => {
            let likes: Vec<_> = MulticastLike::parse_all(body).collect();
            assert!(!likes.is_empty(), "{at}");
            same(likes.iter().flat_map(Emit::to_bytes).collect());
        }
        Verb::MULTICAST_GATHER => {
            let gather = MulticastGather::parse(body).unwrap();
            let certificate = gather.certificate.as_ref().expect("members attach it");
            assert!(
                certificate.verify(session.identity(gather.network.controller())),
                "{at}"
            );
            same(gather.to_bytes());
        }
        Verb::MULTICAST_FRAME => same(MulticastFrame::parse(body).unwrap().to_bytes()),
        Verb::NETWORK_CONFIG_REQUEST => {
            let request = NetworkConfigRequest::parse(body).unwrap();
            let metadata = Dictionary::parse(request.metadata);
            assert_eq!(metadata.integer("v"), Some(7), "{at}");
            assert_eq!(metadata.get("o"), Some(&b"linux/x86_64"[..]), "{at}");
            assert_eq!(metadata.to_bytes(), request.metadata, "{at}");
            same(request.to_bytes());
        }
        Verb::NETWORK_CONFIG => check_chunk(session, body, header, assembly, verdicts, at),
        Verb::NETWORK_CREDENTIALS => {
            let credentials = NetworkCredentials::parse(body).unwrap();
            check_credentials(session, &credentials, header, verdicts, at);
            same(credentials.to_bytes());
        }
        Verb::OK => {
            let ok = Reply::parse(body).unwrap();
            same(ok.to_bytes());
            check_ok(session, &ok, header, assembly, verdicts, at);
        }
        Verb::ERROR => {
            let error = ErrorReply::parse(body).unwrap();
            same(error.to_bytes());
            error.network().unwrap_or_else(|e| panic!("{at}: {e}"));
            match error.code {
                ErrorCode::NEED_MEMBERSHIP_CERTIFICATE => verdicts.need_certificate += 1,
                ErrorCode::NETWORK_ACCESS_DENIED => verdicts.denied += 1,
                code => panic!("{at}: {code:?}"),
            }
        }
        _ => panic!("{at}: a verb that was not recorded"),
    }
}

fn check_ok(
    session: &Session,
    ok: &Reply<&[u8]>,
    header: &packet::Header,
    assembly: &mut Assembly,
    verdicts: &mut Verdicts,
    at: &str,
) {
    let same = |written: Vec<u8>| assert_eq!(written, ok.payload, "{at}");
    match ok.verb {
        Verb::HELLO => {
            let hello = OkHello::parse(ok.payload).unwrap();
            assert_eq!(hello.version, Version::OURS, "{at}");
            assert!(hello.surface.0.is_some(), "{at}");
            same(hello.to_bytes());
        }
        Verb::WHOIS => {
            let identities: Vec<Identity> = whois_identities(ok.payload).collect();
            assert_eq!(identities.len(), 1, "{at}");
            assert_eq!(
                &identities[0],
                session.identity(identities[0].address()),
                "{at}"
            );
            same(identities[0].to_bytes());
        }
        // VL2 §2.2: the OK to a NETWORK_CONFIG is an OK(ECHO) with a payload.
        Verb::ECHO if !ok.payload.is_empty() => {
            same(OkNetworkConfig::parse(ok.payload).unwrap().to_bytes());
        }
        Verb::ECHO => {}
        Verb::NETWORK_CONFIG_REQUEST => {
            check_chunk(session, ok.payload, header, assembly, verdicts, at);
        }
        Verb::MULTICAST_GATHER => same(OkMulticastGather::parse(ok.payload).unwrap().to_bytes()),
        Verb::MULTICAST_FRAME => same(OkMulticastFrame::parse(ok.payload).unwrap().to_bytes()),
        verb => panic!("{at}: OK({verb})"),
    }
}

fn check_chunk(
    session: &Session,
    payload: &[u8],
    header: &packet::Header,
    assembly: &mut Assembly,
    verdicts: &mut Verdicts,
    at: &str,
) {
    let chunk = ConfigChunk::parse(payload).unwrap();
    assert_eq!(chunk.to_bytes(), payload, "{at}");
    let controller = session.identity(chunk.network.controller());
    assert!(
        chunk.verify(controller),
        "{at}: the controller signed the chunk"
    );
    let Added::Complete(text) = assembly.add(&chunk).unwrap() else {
        return;
    };
    let config = NetworkConfig::parse(&text).unwrap_or_else(|e| panic!("{at}: {e}"));
    assert_eq!(config.network, chunk.network, "{at}");
    assert_eq!(config.issued_to, header.destination, "{at}");
    assert_eq!(
        config.to_dictionary().to_bytes(),
        text,
        "{at}: written again"
    );
    verdicts.configs.push(config);
}

fn check_credentials(
    session: &Session,
    credentials: &NetworkCredentials,
    header: &packet::Header,
    verdicts: &mut Verdicts,
    at: &str,
) {
    for membership in &credentials.memberships {
        let controller = session.identity(membership.network().controller());
        assert!(
            membership.verify(controller),
            "{at}: certificate of membership"
        );
        assert_eq!(membership.issued_to(), header.source, "{at}");
        verdicts
            .memberships
            .push((header.source, membership.clone()));
    }
    for ownership in &credentials.ownerships {
        assert!(
            ownership.verify(session.identity(ownership.network.controller())),
            "{at}"
        );
        assert_eq!(ownership.issued_to, header.source, "{at}");
        verdicts.ownerships.push(ownership.clone());
    }
    for revocation in &credentials.revocations {
        assert!(
            revocation.verify(session.identity(revocation.network.controller())),
            "{at}"
        );
        assert!(revocation.propagates(), "{at}");
        assert_eq!(revocation.kind, CredentialKind::MEMBERSHIP, "{at}");
        verdicts.revoked.push(revocation.target);
    }
    assert!(
        credentials.capabilities.is_empty() && credentials.tags.is_empty(),
        "{at}"
    );
}

fn check_verdicts(session: &Session, verdicts: &Verdicts) {
    let planet = World::parse(&support::read("zerotier-one-1.14.1/planet")).unwrap();
    assert!(planet.is_signed_by(planet.update_key()));
    let root = planet.roots()[0].identity;
    assert_eq!(&root, session.identity(root.address()));

    let members: Vec<Address> = session
        .identities
        .keys()
        .copied()
        .filter(|&node| node != root.address())
        .collect();
    for &member in &members {
        let configs: Vec<_> = verdicts
            .configs
            .iter()
            .filter(|c| c.issued_to == member)
            .collect();
        assert!(!configs.is_empty(), "{member} was configured");
        for config in configs {
            assert_eq!(config.network.controller(), root.address());
            assert!(!config.is_public && config.has(NetworkConfig::ENABLE_BROADCAST));
            assert_eq!(config.mtu, 2800);
            let derived = config.network.rfc4193_address(member);
            assert!(
                config
                    .addresses
                    .iter()
                    .any(|prefix| prefix.address() == derived)
            );
            assert!(
                config
                    .addresses
                    .iter()
                    .any(|prefix| prefix.address().is_ipv4())
            );
            let membership = config
                .membership
                .as_ref()
                .expect("a private network certifies");
            assert!(membership.verify(&root) && membership.is_of(session.identity(member)));
        }
    }

    // What each member showed agrees with what the controller gave the other.
    let mut agreements = 0;
    for (holder, theirs) in &verdicts.memberships {
        for config in verdicts
            .configs
            .iter()
            .filter(|config| config.issued_to != *holder)
        {
            let ours = config.membership.as_ref().unwrap();
            assert!(ours.agrees_with(theirs, session.identity(*holder)));
            assert!(theirs.agrees_with(ours, session.identity(config.issued_to)));
            assert!(!ours.agrees_with(theirs, &root), "another key");
            agreements += 1;
        }
        assert!(
            !theirs.verify(session.identity(*holder)),
            "not signed by the holder"
        );
    }
    assert!(agreements >= 2, "both members showed a certificate");
    assert_ne!(verdicts.ownerships.len(), 0);
    for ownership in &verdicts.ownerships {
        let of_owner = |c: &&NetworkConfig| c.issued_to == ownership.issued_to;
        let config = verdicts.configs.iter().find(of_owner).unwrap();
        for prefix in &config.addresses {
            assert!(ownership.owns(Thing::Ip(prefix.address())));
        }
    }

    let networks: Vec<NetworkId> = verdicts.configs.iter().map(|c| c.network).collect();
    assert!(
        networks.windows(2).all(|pair| pair[0] == pair[1]),
        "one network"
    );
    let target = verdicts.revoked.first().expect("a revocation was recorded");
    assert!(members.contains(target) && verdicts.revoked.iter().all(|node| node == target));
    assert!(verdicts.need_certificate > 0, "the gate refused frames");
    assert!(verdicts.full_frames > 0, "fragmented frames were recorded");
}
