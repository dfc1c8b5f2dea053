//! Our VL1 in the place of each of three stock nodes (zerotier-one 1.14.1): fed with the
//! datagrams that the stock node received in a recorded session, it opens every packet, and
//! hands the layer above exactly what is meant for it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;
use support::{Session, read, read_text};
use zt_protocol::vl1::{DropReason, LocalSocket, Scratch, Vl1};
use zt_protocol::{Address, SecretIdentity, Time, Verb, World};

/// Verbs that VL1 keeps to itself; OKs answer what the stock node asked, not we.
const INNER: [&str; 8] = [
    "HELLO",
    "OK",
    "WHOIS",
    "RENDEZVOUS",
    "ECHO",
    "PUSH_DIRECT_PATHS",
    "NOP",
    "short",
];

/// Packets for `node` at `ip` by verb, by the list of what was recorded.
fn listed(node: Address, ip: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in read_text("zerotier-one-1.14.1/session.tsv").lines() {
        let fields: Vec<_> = line.split('\t').collect();
        // What was relayed is listed twice.
        let is_ours = !line.starts_with('#')
            && fields[4] == node.to_string()
            && fields[3].split(':').next() == Some(ip);
        if is_ours && !INNER.contains(&fields[7]) {
            *counts.entry(fields[7].to_owned()).or_default() += 1;
        }
    }
    counts
}

fn replay(session: &Session, identity: &SecretIdentity, ip: &str) -> (Vl1, BTreeMap<String, u64>) {
    let planet = World::parse(&read("zerotier-one-1.14.1/planet")).unwrap();
    let mut now = Time(1_795_336_813_000);
    let mut vl1 = Vl1::new(now, identity.clone(), planet, [1; 32]);
    for peer in session.identities.values() {
        vl1.remember(now, *peer.public(), None, &[]);
    }
    let mut scratch = Scratch::default();
    let mut delivered: BTreeMap<String, u64> = BTreeMap::new();
    for recorded in &session.datagrams {
        now += Duration::from_millis(20);
        if recorded.to.ip().to_string() != ip {
            continue;
        }
        let local = LocalSocket(recorded.to.port().into());
        let mut datagram = recorded.payload.clone();
        let inbound = vl1.handle_datagram(now, local, recorded.from, &mut datagram, &mut scratch);
        if let Some(inbound) = inbound {
            *delivered.entry(inbound.verb.to_string()).or_default() += 1;
        }
        while vl1.poll_transmit().is_some() {
            vl1.transmit_done();
        }
    }
    (vl1, delivered)
}

#[test]
fn a_recorded_session_is_understood_in_every_place() {
    let session = Session::load();
    let places = [
        ("e5d9900be8", "10.77.0.1"),
        ("66d93e6ed9", "10.77.0.2"),
        ("5ec8e64bdb", "10.77.0.3"),
    ];
    for (address, ip) in places {
        let identity = &session.identities[&address.parse().unwrap()];
        let (vl1, delivered) = replay(&session, identity, ip);
        assert_eq!(delivered, listed(identity.address(), ip), "{address}");
        assert!(!delivered.is_empty());
        let counters = vl1.counters();
        assert!(counters.received(Verb::HELLO) > 0);
        let expected = [
            // Hole-punching junk of four bytes.
            DropReason::Junk,
            DropReason::UnexpectedReply,
            DropReason::PushGate,
            DropReason::EchoGate,
            DropReason::NoRelayPath,
        ];
        let strange: Vec<_> = counters
            .drops()
            .filter(|(reason, _)| !expected.contains(reason))
            .collect();
        assert_eq!(strange, [], "{address}");
        assert!(counters.sent(Verb::OK) >= counters.received(Verb::HELLO));
    }
}
