//! The own name and those of others.

use super::super::message::kind;
use super::super::*;
use super::link::{Link, ip, ip6, name};

const SETTLED: Duration = Duration::from_secs(3);

fn addresses(answer: &Answer) -> Vec<IpAddr> {
    let Answer::Addresses(addresses) = answer else {
        panic!("{answer:?}");
    };
    let mut addresses = addresses.clone();
    addresses.sort_unstable();
    addresses
}

/// Responses that member `n` sent to all.
fn responses(link: &Link, n: usize) -> usize {
    let sent = link.seen.iter().filter(|(_, from, to, message)| {
        *from == n && to.ip().is_multicast() && message.flags.is_response()
    });
    sent.count()
}

#[test]
fn a_published_name_is_found_and_so_is_the_name_of_its_address() {
    let mut link = Link::new(3);
    link.publish(0, "web");
    link.run_until(|link| link.published(0).is_some());
    assert_eq!(link.published(0).as_deref(), Some("web.local"));
    link.run(SETTLED);
    for text in ["web.local", "WEB.local."] {
        assert_eq!(addresses(&link.resolve(1, text)), [ip(0), ip6(0)]);
    }
    for address in [ip(0), ip6(0)] {
        let id = link.ask(2, Question::NameOf(address));
        link.run(SETTLED);
        assert_eq!(link.answer(2, id), Some(&Answer::NameOf(name("web.local"))));
    }
    // By itself, without a question.
    let id = link.ask_name(0, "web.local");
    link.run(Duration::from_millis(2));
    assert_eq!(addresses(link.answer(0, id).unwrap()), [ip(0), ip6(0)]);
}

#[test]
fn a_name_is_probed_three_times_and_announced_twice() {
    let mut link = Link::new(1);
    link.publish(0, "web");
    link.run(Duration::from_secs(5));
    let v4 = |message: &&(Instant, usize, SocketAddr, Message)| message.2.is_ipv4();
    let sent: Vec<_> = link.seen.iter().filter(v4).collect();
    let [first, second, third, one, two] = &sent[..] else {
        panic!("{sent:?}");
    };
    for probe in [first, second, third] {
        assert_eq!(probe.3.questions[0].kind, kind::ANY);
        assert_eq!(probe.3.authorities.len(), 2);
    }
    assert!(first.0 < Instant(260_000));
    let times = sent.iter().map(|message| message.0.0 / 1000);
    let since: Vec<_> = times.map(|at| at - first.0.0 / 1000).collect();
    assert_eq!(since, [0, 250, 500, 750, 1750]);
    for announcement in [one, two] {
        let records = &announcement.3.answers;
        assert_eq!(records.len(), 4);
        assert!(
            records
                .iter()
                .all(|record| record.flush && record.ttl == 120)
        );
    }
}

#[test]
fn a_name_that_somebody_has_is_left_to_them() {
    let mut link = Link::new(3);
    link.publish(0, "web");
    link.run(SETTLED);
    link.publish(1, "web");
    link.run(SETTLED);
    link.publish(2, "Web");
    link.run(SETTLED);
    let published: Vec<_> = (0..3).filter_map(|n| link.published(n)).collect();
    assert_eq!(published, ["web.local", "web-2.local", "Web-3.local"]);
    assert_eq!(addresses(&link.resolve(0, "web-2.local")), [ip(1), ip6(1)]);
    assert_eq!(addresses(&link.resolve(1, "web.local")), [ip(0), ip6(0)]);
}

#[test]
fn of_those_that_want_a_name_at_once_one_gets_it() {
    let mut link = Link::new(4);
    (0..4).for_each(|n| link.publish(n, "web"));
    link.run(Duration::from_secs(20));
    let mut published: Vec<_> = (0..4).filter_map(|n| link.published(n)).collect();
    published.sort_unstable();
    assert_eq!(
        published,
        ["web-2.local", "web-3.local", "web-4.local", "web.local"]
    );
}

/// Two that could not hear each other find themselves with one name.
#[test]
fn a_conflict_that_shows_late_is_settled() {
    let mut link = Link::new(2);
    link.loss = 1000;
    (0..2).for_each(|n| link.publish(n, "web"));
    link.run(Duration::from_secs(5));
    assert_eq!(link.published(0), link.published(1));
    link.loss = 0;
    let id = link.ask_name(0, "web.local");
    link.run(SETTLED);
    assert!(link.answer(0, id).is_some());
    let response = Message {
        flags: Flags::ANSWER,
        answers: vec![Record {
            name: name("web.local"),
            ttl: 120,
            flush: true,
            data: Data::of_address(ip(1)),
        }],
        ..Message::default()
    };
    link.inject(0, (ip(1), PORT).into(), &response);
    link.run(Duration::from_secs(20));
    let mut published: Vec<_> = (0..2).filter_map(|n| link.published(n)).collect();
    published.sort_unstable();
    assert_eq!(published, ["web-2.local", "web.local"]);
}

#[test]
fn names_are_found_on_a_link_that_loses_every_fifth_datagram() {
    let mut link = Link::new(6);
    link.loss = 200;
    for n in 0..5 {
        link.publish(n, &format!("host{n}"));
    }
    link.run(Duration::from_secs(5));
    for n in 0..5 {
        let text = format!("host{n}.local");
        let found = (0..4).find_map(|_| match link.resolve(5, &text) {
            Answer::Addresses(addresses) => Some(addresses),
            _ => {
                link.run(Duration::from_secs(6));
                None
            }
        });
        assert!(found.is_some_and(|found| found.contains(&ip(n))), "{text}");
    }
}

#[test]
fn a_name_that_nobody_has_is_not_found_in_time() {
    let mut link = Link::new(2);
    link.run(SETTLED);
    let asked = link.now;
    assert_eq!(link.resolve(0, "nobody.local"), Answer::NotFound);
    let took = link.now.saturating_since(asked);
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(5));
    let questions = link.seen.iter().filter(|(.., to, _)| to.is_ipv4()).count();
    assert_eq!(questions, 3);
    // Silence is remembered, until somebody takes the name.
    let id = link.ask_name(0, "nobody.local");
    link.run(Duration::from_millis(2));
    assert_eq!(link.answer(0, id), Some(&Answer::NotFound));
    link.publish(1, "nobody");
    link.run_until(|link| link.published(1).is_some());
    link.run(Duration::from_millis(10));
    assert_eq!(addresses(&link.resolve(0, "nobody.local")), [ip(1), ip6(1)]);
}

#[test]
fn many_who_ask_are_one_question() {
    let mut link = Link::new(2);
    let ids: Vec<_> = (0..100).map(|_| link.ask_name(0, "web.local")).collect();
    link.run(Duration::from_millis(500));
    assert_eq!(link.seen.len(), 2, "one for each family");
    link.publish(1, "web");
    link.run(SETTLED);
    for id in ids {
        assert_eq!(addresses(link.answer(0, id).unwrap()), [ip(1), ip6(1)]);
    }
}

#[test]
fn a_flood_of_questions_is_refused_and_not_forgotten() {
    let mut link = Link::new(1);
    let ids: Vec<_> = (0..1000)
        .map(|n| link.ask_name(0, &format!("x{n}.local")))
        .collect();
    link.run(Duration::from_secs(5));
    let refused = ids
        .iter()
        .filter(|id| link.answer(0, **id) == Some(&Answer::Failed));
    assert_eq!(refused.count(), 1000 - 256);
    assert!(ids.iter().all(|id| link.answer(0, *id).is_some()));
}

#[test]
fn a_type_that_a_name_does_not_have_is_denied_at_once() {
    let mut link = Link::new(1);
    let only_v4 = link.add(&[(ip(1), 24)]);
    link.publish(only_v4, "web");
    link.run(SETTLED);
    let question = Question::Addresses {
        name: name("web.local"),
        v4: false,
        v6: true,
    };
    let id = link.ask(0, question);
    link.run(Duration::from_millis(10));
    assert_eq!(link.answer(0, id), Some(&Answer::NotFound));
}

#[test]
fn a_name_that_is_given_up_is_forgotten() {
    let mut link = Link::new(2);
    link.publish(0, "web");
    link.run(SETTLED);
    assert_eq!(addresses(&link.resolve(1, "web.local")), [ip(0), ip6(0)]);
    link.members[0].names.farewell();
    let now = link.now;
    link.members[0].names.publish(now, None);
    link.run(Duration::from_millis(1100));
    assert_eq!(link.resolve(1, "web.local"), Answer::NotFound);
}

#[test]
fn an_address_that_goes_is_taken_back_and_a_new_one_told() {
    let mut link = Link::new(2);
    link.publish(0, "web");
    link.run(SETTLED);
    let now = link.now;
    let moved = ip(7);
    link.members[0].names.set_addresses(now, &[(moved, 24)]);
    link.members[0].ips = vec![moved];
    link.run(SETTLED);
    assert_eq!(addresses(&link.resolve(1, "web.local")), [moved]);
    assert_eq!(link.published(0).as_deref(), Some("web.local"));
}

fn question(kinds: &[u16], unicast: bool) -> Message {
    let asked = |kind: &u16| Asked {
        name: name("web.local"),
        kind: *kind,
        unicast,
    };
    Message {
        id: 77,
        questions: kinds.iter().map(asked).collect(),
        ..Message::default()
    }
}

fn settled() -> Link {
    let mut link = Link::new(2);
    link.publish(0, "web");
    link.run(Duration::from_secs(4));
    link.seen.clear();
    link
}

#[test]
fn who_asks_as_in_unicast_dns_is_answered_alone() {
    let mut link = settled();
    let asker: SocketAddr = (ip(1), 40_000).into();
    link.inject(0, asker, &question(&[kind::A], false));
    link.run(Duration::from_millis(2));
    let [(_, 0, to, answer)] = &link.seen[..] else {
        panic!("{:?}", link.seen);
    };
    assert_eq!((*to, answer.id), (asker, 77));
    assert_eq!(answer.questions, question(&[kind::A], false).questions);
    assert_eq!(answer.answers[0].data, Data::of_address(ip(0)));
    assert!(
        answer
            .answers
            .iter()
            .all(|record| record.ttl <= 10 && !record.flush)
    );
}

#[test]
fn who_wants_an_answer_alone_gets_it_and_the_others_too_if_they_have_not_heard_it_lately() {
    let mut link = settled();
    let asker: SocketAddr = (ip(1), PORT).into();
    link.inject(0, asker, &question(&[kind::A], true));
    link.run(Duration::from_millis(2));
    assert_eq!(link.seen.len(), 1);
    assert_eq!(link.seen[0].2, asker);
    link.run(Duration::from_secs(31));
    link.seen.clear();
    link.inject(0, asker, &question(&[kind::A], true));
    link.run(Duration::from_millis(2));
    let alone = link.seen.iter().filter(|seen| seen.2 == asker).count();
    assert_eq!((alone, responses(&link, 0)), (1, 2), "and the group");
}

#[test]
fn what_the_asker_knows_is_not_said() {
    let mut link = settled();
    let known = |ttl| Message {
        answers: vec![Record {
            name: name("web.local"),
            ttl,
            flush: false,
            data: Data::of_address(ip(0)),
        }],
        ..question(&[kind::A], false)
    };
    link.inject(0, (ip(1), PORT).into(), &known(60));
    link.run(SETTLED);
    assert_eq!(responses(&link, 0), 0);
    link.inject(0, (ip(1), PORT).into(), &known(59));
    link.run(SETTLED);
    assert_eq!(responses(&link, 0), 2);
}

#[test]
fn what_the_asker_knows_may_come_in_a_second_message() {
    let mut link = settled();
    let asker: SocketAddr = (ip(1), PORT).into();
    let truncated = Message {
        flags: Flags(0x0200),
        ..question(&[kind::A], false)
    };
    link.inject(0, asker, &truncated);
    link.run(Duration::from_millis(100));
    assert_eq!(responses(&link, 0), 0);
    let rest = Message {
        answers: vec![Record {
            name: name("web.local"),
            ttl: 120,
            flush: false,
            data: Data::of_address(ip(0)),
        }],
        ..Message::default()
    };
    link.inject(0, asker, &rest);
    link.run(SETTLED);
    assert_eq!(responses(&link, 0), 0);
    link.inject(0, asker, &truncated);
    link.run(SETTLED);
    assert_eq!(responses(&link, 0), 2);
}

#[test]
fn a_flood_of_questions_is_answered_once_a_second() {
    let mut link = settled();
    for _ in 0..100 {
        link.inject(0, (ip(1), PORT).into(), &question(&[kind::A], false));
        link.run(Duration::from_millis(20));
    }
    link.run(SETTLED);
    let count = responses(&link, 0) / 2;
    assert!((2..=4).contains(&count), "{count}");
}

#[test]
fn strangers_and_false_answers_are_not_believed() {
    let mut link = settled();
    let away: IpAddr = "192.0.2.1".parse().unwrap();
    link.inject(0, (away, PORT).into(), &question(&[kind::A], false));
    let answer = |owner: &str, ip: IpAddr| Message {
        flags: Flags::ANSWER,
        answers: vec![Record {
            name: name(owner),
            ttl: 120,
            flush: true,
            data: Data::of_address(ip),
        }],
        ..Message::default()
    };
    // Off the link; from another port; not a name of the link; an address elsewhere.
    link.inject(1, (away, PORT).into(), &answer("a.local", ip(0)));
    link.inject(1, (ip(0), 1234).into(), &answer("b.local", ip(0)));
    link.inject(1, (ip(0), PORT).into(), &answer("c.example", ip(0)));
    link.inject(1, (ip(0), PORT).into(), &answer("d.local", away));
    link.run(SETTLED);
    assert_eq!(responses(&link, 0), 0);
    for text in ["a.local", "b.local", "c.example", "d.local"] {
        assert_eq!(link.resolve(1, text), Answer::NotFound, "{text}");
    }
}

#[test]
fn records_come_as_a_message_too() {
    let mut link = settled();
    let records = |name, kind| Question::Records { name, kind };
    let v4 = link.ask(1, records(name("web.local"), kind::A));
    let reverse = link.ask(1, records(Name::of_address(ip(0)), kind::PTR));
    let mail = link.ask(1, records(name("web.local"), 15));
    link.run(Duration::from_secs(6));
    let parsed = |id| match link.answer(1, id) {
        Some(Answer::Message(bytes)) => Message::parse(bytes).unwrap(),
        other => panic!("{other:?}"),
    };
    let [record] = &parsed(v4).answers[..] else {
        panic!("{:?}", parsed(v4));
    };
    assert_eq!(record.data, Data::of_address(ip(0)));
    assert_eq!(
        parsed(reverse).answers[0].data,
        Data::Ptr(name("web.local"))
    );
    assert_eq!(
        (parsed(mail).flags.code(), parsed(mail).answers.len()),
        (0, 0)
    );
}
