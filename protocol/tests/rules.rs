//! What rule lists say about frames (VL2 §4.10, §4.11).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use zt_protocol::rule::{
    self, Action, Evidence, Frame, Match, NoEvidence, Outcome, Rule, Side, TagTest, Target,
    Verdict, evaluate,
};
use zt_protocol::{Address, Mac, NetworkId};

const NETWORK: NetworkId = NetworkId(0x8056c2e21c000001);
const US: Address = Address::new(0x1122334455);
const PEER: Address = Address::new(0x66778899aa);
const OBSERVER: Address = Address::new(0x0102030405);

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// A frame from us to the peer.
fn outbound(ethertype: u16, payload: &[u8]) -> Frame<'_> {
    Frame {
        inbound: false,
        own: US,
        source_node: US,
        destination_node: PEER,
        source: Mac::of(US, NETWORK),
        destination: Mac::of(PEER, NETWORK),
        ethertype,
        payload,
    }
}

/// A frame from the peer to us.
fn inbound(ethertype: u16, payload: &[u8]) -> Frame<'_> {
    Frame {
        inbound: true,
        source_node: PEER,
        destination_node: US,
        source: Mac::of(PEER, NETWORK),
        destination: Mac::of(US, NETWORK),
        ..outbound(ethertype, payload)
    }
}

fn ipv4(protocol: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0x10, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend([10, 1, 2, 3, 10, 9, 8, 7]);
    packet.extend(rest);
    packet
}

/// With a destination-options header of 16 bytes before the transport.
fn ipv6(protocol: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6a, 0xb0, 0, 0, 0, 0, 60, 64];
    packet.extend("fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    packet.extend("fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    packet.extend([protocol, 1]);
    packet.extend([0; 14]);
    packet.extend(rest);
    packet
}

fn tcp(source: u16, destination: u16, flags: u8) -> Vec<u8> {
    let mut header = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    header.extend([0; 8]);
    header.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    header
}

fn verdict(rules: &[Rule], frame: &Frame<'_>) -> Verdict {
    evaluate(rules, frame, false, &NoEvidence).verdict
}

/// Whether a frame passes exactly when `test` holds for it.
fn holds(test: Match, frame: &Frame<'_>) -> bool {
    verdict(&[Rule::when(test), Rule::ACCEPT], frame) == Verdict::Accept
}

/// Whether the inverted test holds.
fn fails(test: Match, frame: &Frame<'_>) -> bool {
    verdict(&[Rule::unless(test), Rule::ACCEPT], frame) == Verdict::Accept
}

fn to(address: Address) -> Target {
    Target {
        address,
        flags: 0,
        max_length: 4,
    }
}

#[test]
fn nothing_passes_an_empty_list() {
    assert_eq!(
        verdict(&[], &outbound(IPV4, &ipv4(6, &[]))),
        Verdict::NoMatch
    );
    assert_eq!(
        verdict(&[Rule::ACCEPT], &outbound(IPV4, &[])),
        Verdict::Accept
    );
}

#[test]
fn the_usual_default_rules_let_only_ip_and_arp_pass() {
    let rules = rule::parse_list(&[
        0xa5, 2, 8, 0, 0xa5, 2, 8, 6, 0xa5, 2, 0x86, 0xdd, 0, 0, 1, 0,
    ])
    .unwrap();
    for (ethertype, passes) in [(IPV4, true), (ARP, true), (IPV6, true), (0x8100, false)] {
        let expected = if passes {
            Verdict::Accept
        } else {
            Verdict::Drop
        };
        assert_eq!(verdict(&rules, &outbound(ethertype, &[0; 60])), expected);
        assert_eq!(verdict(&rules, &inbound(ethertype, &[0; 60])), expected);
    }
}

#[test]
fn matches_combine_from_left_to_right() {
    let packet = ipv4(6, &[]);
    let frame = &outbound(IPV4, &packet);
    let (yes, no) = (Match::EtherType(IPV4), Match::EtherType(IPV6));
    let or = |test| Rule::Match {
        not: false,
        or: true,
        test,
    };
    let accept =
        |rules: &[Rule]| verdict(&[rules, &[Rule::ACCEPT]].concat(), frame) == Verdict::Accept;
    assert!(!accept(&[Rule::when(no.clone())]));
    assert!(accept(&[Rule::when(no.clone()), or(yes.clone())]));
    assert!(!accept(&[
        Rule::when(no.clone()),
        or(yes.clone()),
        Rule::when(no.clone())
    ]));
    assert!(accept(&[or(no.clone())]), "a set begins true");
    // A failed set does not spoil the next one.
    let lists = [
        Rule::when(no),
        Rule::Action(Action::Drop),
        Rule::when(yes),
        Rule::ACCEPT,
    ];
    assert_eq!(verdict(&lists, frame), Verdict::Accept);
}

#[test]
fn ports_match_behind_every_ip_header() {
    let ssh = |side| Match::Port(side, 22, 23);
    let payload = tcp(22, 4000, 2);
    for (ethertype, packet) in [(IPV4, ipv4(6, &payload)), (IPV6, ipv6(6, &payload))] {
        let frame = outbound(ethertype, &packet);
        assert!(holds(ssh(Side::Source), &frame));
        assert!(!holds(ssh(Side::Destination), &frame));
        assert!(fails(ssh(Side::Destination), &frame));
        assert!(holds(Match::IpProtocol(6), &frame));
    }
    // A protocol without ports is an ordinary no, a frame without IP a hard one.
    assert!(fails(
        ssh(Side::Source),
        &outbound(IPV4, &ipv4(1, &payload))
    ));
    assert!(
        fails(ssh(Side::Source), &outbound(IPV4, &ipv4(6, &payload[..4]))),
        "too short"
    );
    assert!(!fails(ssh(Side::Source), &outbound(ARP, &[0; 60])));
    let zero = tcp(0, 0, 0);
    let any = || Match::Port(Side::Source, 0, 10);
    assert!(holds(any(), &outbound(IPV4, &ipv4(17, &zero))));
    assert!(
        !holds(any(), &outbound(IPV6, &ipv6(17, &zero))),
        "IPv6 port 0 never matches"
    );
}

#[test]
fn prefixes_match_their_own_family_only() {
    let v4 = ipv4(6, &[]);
    let frame = outbound(IPV4, &v4);
    let source = |text: &str, bits| Match::Ipv4(Side::Source, text.parse().unwrap(), bits);
    assert!(holds(source("10.1.0.0", 16), &frame));
    assert!(
        holds(source("10.1.255.255", 16), &frame),
        "both sides are masked"
    );
    assert!(holds(source("1.1.1.1", 0), &frame));
    assert!(!holds(source("10.2.0.0", 16), &frame));
    assert!(holds(
        Match::Ipv4(Side::Destination, [10, 9, 8, 7].into(), 32),
        &frame
    ));
    let v6 = ipv6(6, &[]);
    let frame6 = outbound(IPV6, &v6);
    let six = |text: &str, bits| Match::Ipv6(Side::Source, text.parse().unwrap(), bits);
    assert!(holds(six("fd00::", 64), &frame6));
    assert!(holds(six("fd00::1", 128), &frame6));
    assert!(
        !holds(six("fd00::1", 64), &frame6),
        "the rule's host bits are not masked"
    );
    for (test, frame) in [(six("::", 0), &frame), (source("0.0.0.0", 0), &frame6)] {
        assert!(
            !holds(test.clone(), frame) && !fails(test, frame),
            "a hard no"
        );
    }
}

#[test]
fn icmp_matches_type_and_then_code() {
    let echo = ipv4(1, &[8, 5, 0, 0]);
    let frame = outbound(IPV4, &echo);
    assert!(holds(Match::Icmp(8, None), &frame));
    assert!(fails(Match::Icmp(8, None), &frame), "a hard yes");
    assert!(holds(Match::Icmp(8, Some(5)), &frame));
    assert!(fails(Match::Icmp(8, Some(6)), &frame));
    assert!(!holds(Match::Icmp(0, None), &frame) && !fails(Match::Icmp(0, None), &frame));
    let echo6 = ipv6(58, &[128, 0]);
    assert!(holds(Match::Icmp(128, Some(0)), &outbound(IPV6, &echo6)));
}

#[test]
fn characteristics_match_any_of_their_bits() {
    const SYN: u64 = 0x2;
    const ACK: u64 = 0x10;
    const INBOUND: u64 = 1 << 63;
    const MULTICAST: u64 = 1 << 62;
    const BROADCAST: u64 = 1 << 61;
    let packet = ipv4(6, &tcp(1, 2, SYN as u8));
    let out = outbound(IPV4, &packet);
    assert!(holds(Match::Characteristics(SYN | ACK), &out));
    assert!(!holds(Match::Characteristics(ACK), &out));
    assert!(!holds(Match::Characteristics(INBOUND), &out));
    assert!(holds(
        Match::Characteristics(INBOUND),
        &inbound(IPV4, &packet)
    ));
    let everyone = Frame {
        destination: Mac::BROADCAST,
        ..out
    };
    assert!(holds(Match::Characteristics(MULTICAST), &everyone));
    assert!(holds(Match::Characteristics(BROADCAST), &everyone));
    let udp = ipv4(17, &tcp(1, 2, SYN as u8));
    assert!(!holds(Match::Characteristics(0xfff), &outbound(IPV4, &udp)));
}

#[test]
fn a_proved_sender_is_authenticated() {
    const IP: u64 = 1 << 60;
    const MAC: u64 = 1 << 59;
    struct Owner(IpAddr);
    impl Evidence for Owner {
        fn sender_owns_ip(&self, ip: IpAddr) -> bool {
            ip == self.0
        }
        fn sender_owns_mac(&self, mac: Mac) -> bool {
            mac == Mac::of(PEER, NETWORK)
        }
    }
    let holds = |bits, frame: &Frame<'_>, owner: &str| {
        let rules = [Rule::when(Match::Characteristics(bits)), Rule::ACCEPT];
        let owner = Owner(owner.parse().unwrap());
        evaluate(&rules, frame, false, &owner).verdict == Verdict::Accept
    };
    let packet = ipv4(6, &[]);
    assert!(holds(IP, &inbound(IPV4, &packet), "10.1.2.3"));
    assert!(!holds(IP, &inbound(IPV4, &packet), "10.9.8.7"));
    assert!(holds(MAC, &inbound(IPV4, &packet), "10.9.8.7"));
    let mut arp = [0; 28];
    arp[14..18].copy_from_slice(&[10, 1, 2, 3]);
    assert!(holds(IP, &inbound(ARP, &arp), "10.1.2.3"));
    // A solicitation is believed, an advertisement must be for an address of its own.
    let mut neighbour = [0; 72];
    neighbour[6] = 58;
    neighbour[40] = 135;
    assert!(holds(IP, &inbound(IPV6, &neighbour), "10.1.2.3"));
    neighbour[40] = 136;
    neighbour[63] = 9;
    assert!(holds(IP, &inbound(IPV6, &neighbour), "::9"));
    assert!(!holds(IP, &inbound(IPV6, &neighbour), "::8"));
}

#[test]
fn small_fields_are_compared() {
    let packet = ipv4(6, &[1, 2, 3, 4]);
    let frame = outbound(IPV4, &packet);
    let tos = |mask, first, last| Match::TypeOfService { mask, first, last };
    assert!(holds(tos(0xfc, 0x10, 0x10), &frame));
    assert!(!holds(tos(0x0f, 0x10, 0x10), &frame));
    let v6 = ipv6(6, &[]);
    assert!(holds(tos(0xff, 0xab, 0xab), &outbound(IPV6, &v6)));
    assert!(holds(Match::FrameSize(24, 24), &frame) && !holds(Match::FrameSize(25, 99), &frame));
    assert!(holds(Match::VlanId(0), &frame) && !holds(Match::VlanId(1), &frame));
    assert!(holds(Match::Node(Side::Source, US), &frame));
    assert!(holds(Match::Node(Side::Destination, PEER), &frame));
    let nobody = Frame {
        destination_node: Address::NIL,
        ..frame
    };
    assert!(
        !holds(Match::Node(Side::Destination, Address::NIL), &nobody),
        "nil is nobody"
    );
    assert!(holds(
        Match::Mac(Side::Source, Mac::of(US, NETWORK)),
        &frame
    ));
    // 0x0a01 at offset 12, big-endian in 16 bits: the index is eight less than the field's end.
    let integer = |first, last, index, format| Match::Integer {
        first,
        last,
        index,
        format,
    };
    assert!(holds(integer(0x0a01, 0x0a01, 6, 15), &frame));
    assert!(holds(integer(0x010a, 0x010a, 12, 0x8f), &frame));
    assert!(
        holds(integer(0, 0, 200, 15), &frame),
        "outside the frame it is zero"
    );
    assert!(holds(integer(0x08, 0x08, 12 + 6, 0x80 | 7), &frame));
}

struct Tags {
    own: Option<u32>,
    peer: Option<u32>,
}

impl Evidence for Tags {
    fn own_tag(&self, _: u32) -> Option<u32> {
        self.own
    }
    fn peer_tag(&self, _: u32) -> Option<u32> {
        self.peer
    }
}

fn with_tags(
    test: TagTest,
    value: u32,
    frame: &Frame<'_>,
    own: Option<u32>,
    peer: Option<u32>,
) -> bool {
    let rules = [Rule::when(Match::Tag { test, id: 1, value }), Rule::ACCEPT];
    evaluate(&rules, frame, false, &Tags { own, peer }).verdict == Verdict::Accept
}

#[test]
fn tags_of_both_ends_are_compared() {
    let (out, into) = (&outbound(IPV4, &[]), &inbound(IPV4, &[]));
    for frame in [out, into] {
        assert!(with_tags(TagTest::Difference, 2, frame, Some(5), Some(7)));
        assert!(!with_tags(TagTest::Difference, 1, frame, Some(5), Some(7)));
        assert!(with_tags(TagTest::And, 5, frame, Some(5), Some(7)));
        assert!(with_tags(TagTest::Or, 7, frame, Some(5), Some(7)));
        assert!(with_tags(TagTest::Xor, 2, frame, Some(5), Some(7)));
        assert!(with_tags(TagTest::Equal, 7, frame, Some(7), Some(7)));
        assert!(!with_tags(TagTest::Equal, 7, frame, None, Some(7)));
    }
    assert!(with_tags(TagTest::Sender, 5, out, Some(5), Some(7)));
    assert!(with_tags(TagTest::Receiver, 7, out, Some(5), Some(7)));
    assert!(with_tags(TagTest::Sender, 7, into, Some(5), Some(7)));
    assert!(with_tags(TagTest::Receiver, 5, into, Some(5), Some(7)));
}

#[test]
fn a_tag_not_learned_yet_is_left_to_the_receiver() {
    let (out, into) = (&outbound(IPV4, &[]), &inbound(IPV4, &[]));
    assert!(with_tags(TagTest::Equal, 7, out, Some(7), None));
    assert!(!with_tags(TagTest::Equal, 7, into, Some(7), None));
    assert!(with_tags(TagTest::Receiver, 7, out, Some(5), None));
    assert!(!with_tags(TagTest::Sender, 7, into, Some(5), None));
    // Its drop is passed over once, even if the match is inverted: the yes is a hard one.
    let rules = [
        Rule::unless(Match::Tag {
            test: TagTest::Equal,
            id: 1,
            value: 7,
        }),
        Rule::Action(Action::Drop),
        Rule::ACCEPT,
    ];
    let outcome = evaluate(
        &rules,
        out,
        false,
        &Tags {
            own: Some(7),
            peer: None,
        },
    );
    assert_eq!(outcome.verdict, Verdict::Accept);
    let outcome = evaluate(
        &rules,
        into,
        false,
        &Tags {
            own: Some(7),
            peer: Some(8),
        },
    );
    assert_eq!(outcome.verdict, Verdict::Drop);
}

#[test]
fn observers_get_copies_and_accept_what_is_not_theirs() {
    let payload = [0; 9];
    let tee = [Rule::Action(Action::Tee(to(OBSERVER))), Rule::ACCEPT];
    let Outcome {
        verdict: passed,
        copy,
    } = evaluate(&tee, &outbound(IPV4, &payload), false, &NoEvidence);
    let copy = copy.expect("a copy is made");
    assert_eq!(
        (passed, copy.to, copy.length, copy.is_watch),
        (Verdict::Accept, OBSERVER, 4, false)
    );

    let redirect = [Rule::Action(Action::Redirect(to(OBSERVER))), Rule::ACCEPT];
    assert_eq!(
        verdict(&redirect, &outbound(IPV4, &[])),
        Verdict::Redirect(OBSERVER)
    );
    let observer = |frame: Frame<'static>| Frame {
        own: OBSERVER,
        ..frame
    };
    assert_eq!(
        verdict(&redirect, &observer(inbound(IPV4, &[]))),
        Verdict::SuperAccept
    );
    assert_eq!(
        verdict(&redirect, &observer(outbound(IPV4, &[]))),
        Verdict::Accept
    );
    // Neither the sender nor the receiver is redirected to itself.
    for end in [US, PEER] {
        let rules = [Rule::Action(Action::Redirect(to(end))), Rule::ACCEPT];
        assert_eq!(verdict(&rules, &outbound(IPV4, &[])), Verdict::Accept);
    }
    // An observer whose set does not hold still accepts more than others.
    let rules = [
        Rule::when(Match::EtherType(ARP)),
        Rule::Action(Action::Tee(to(OBSERVER))),
        Rule::ACCEPT,
    ];
    assert_eq!(
        verdict(&rules, &observer(inbound(IPV4, &[]))),
        Verdict::SuperAccept
    );
}

#[test]
fn break_ends_the_list_without_a_verdict() {
    let rules = [Rule::Action(Action::Break), Rule::ACCEPT];
    assert_eq!(verdict(&rules, &outbound(IPV4, &[])), Verdict::NoMatch);
}

#[test]
fn what_is_not_understood_denies() {
    let frame = &outbound(IPV4, &[]);
    let parse = |bytes: &[u8]| rule::parse_list(bytes).unwrap();
    // A match of kind 60 before each action, plain and inverted.
    for unknown in [60, 60 | 0x80] {
        assert_eq!(
            verdict(&parse(&[unknown, 1, 9, 1, 0]), frame),
            Verdict::NoMatch
        );
        assert_eq!(
            verdict(&parse(&[unknown, 1, 9, 0, 0, 1, 0]), frame),
            Verdict::Drop
        );
        assert_eq!(
            verdict(&parse(&[unknown, 1, 9, 5, 0, 1, 0]), frame),
            Verdict::Drop
        );
        // Unless the network chose to believe it.
        let trusting = evaluate(&parse(&[unknown, 1, 9, 1, 0]), frame, true, &NoEvidence);
        assert_eq!(trusting.verdict, Verdict::Accept);
    }
    // A known match that fails anyway makes it not matter.
    let arp_only = parse(&[37, 2, 8, 6, 60, 0, 0, 0, 1, 0]);
    assert_eq!(verdict(&arp_only, frame), Verdict::Accept);
    // An action of kind 9; a match of a known kind but the wrong length.
    assert_eq!(verdict(&parse(&[9, 0, 1, 0]), frame), Verdict::Drop);
    assert_eq!(
        verdict(&parse(&[37, 1, 8, 0, 0, 1, 0]), frame),
        Verdict::Drop
    );
}
