//! Names of the network's domain.

use super::super::message::kind;
use super::super::servers::NO_SUCH_NAME;
use super::super::*;
use super::link::{Link, ip, name};

const SERVER: usize = 9;

fn link() -> Link {
    let mut link = Link::new(1);
    let servers = vec![ip(SERVER), ip(SERVER + 1)];
    let domain = Some(name("corp.example"));
    link.members[0].names.set_servers(domain, servers);
    link
}

/// Questions that reached servers since the last look.
fn asked(link: &mut Link) -> Vec<(SocketAddr, Message)> {
    let sent = std::mem::take(&mut link.to_servers);
    let parse = |bytes: Vec<u8>| Message::parse(&bytes).unwrap();
    sent.into_iter()
        .map(|(_, to, bytes)| (to, parse(bytes)))
        .collect()
}

fn reply(link: &mut Link, from: SocketAddr, question: &Message, code: u16, data: Vec<Data>) {
    let owner = question.questions[0].name.clone();
    let record = |data| Record {
        name: owner.clone(),
        ttl: 60,
        flush: false,
        data,
    };
    let message = Message {
        flags: Flags::LOOKED_UP.with_code(code),
        answers: data.into_iter().map(record).collect(),
        ..question.clone()
    };
    let now = link.now;
    link.members[0]
        .names
        .handle_answer(now, from, &message.to_bytes());
}

#[test]
fn a_name_of_the_domain_is_asked_from_its_servers() {
    let mut link = link();
    assert!(link.members[0].names.covers(&name("db.corp.example")));
    assert!(!link.members[0].names.covers(&name("db.example")));
    let id = link.ask_name(0, "db.corp.example");
    link.run(Duration::from_millis(5));
    let questions = asked(&mut link);
    assert_eq!(questions.len(), 2, "one for each family");
    let away: IpAddr = "192.0.2.7".parse().unwrap();
    for (to, question) in &questions {
        assert_eq!(*to, (ip(SERVER), 53).into());
        let data = match question.questions[0].kind {
            kind::A => vec![Data::of_address(away)],
            _ => Vec::new(),
        };
        reply(&mut link, *to, question, 0, data);
    }
    link.run(Duration::from_millis(5));
    assert_eq!(link.answer(0, id), Some(&Answer::Addresses(vec![away])));
    // From memory.
    assert_eq!(
        link.resolve(0, "db.corp.example"),
        Answer::Addresses(vec![away])
    );
    assert_eq!(asked(&mut link).len(), 0);
}

#[test]
fn a_true_name_is_followed() {
    let mut link = link();
    let id = link.ask_name(0, "www.corp.example");
    link.run(Duration::from_millis(5));
    for (to, question) in asked(&mut link) {
        let mut message = Message {
            flags: Flags::LOOKED_UP,
            ..question.clone()
        };
        let record = |owner: &str, data| Record {
            name: name(owner),
            ttl: 60,
            flush: false,
            data,
        };
        message.answers = vec![
            record("www.corp.example", Data::Cname(name("db.corp.example"))),
            record("db.corp.example", Data::of_address(ip(3))),
            record("other.corp.example", Data::of_address(ip(4))),
        ];
        let now = link.now;
        let bytes = message.to_bytes();
        link.members[0].names.handle_answer(now, to, &bytes);
    }
    link.run(Duration::from_millis(5));
    let Some(Answer::Addresses(found)) = link.answer(0, id) else {
        panic!("no address");
    };
    assert!(found.iter().all(|found| *found == ip(3)));
}

#[test]
fn a_silent_server_is_passed_over_and_silent_ones_are_given_up() {
    let mut link = link();
    let id = link.ask_name(0, "db.corp.example");
    link.run(Duration::from_millis(1600));
    let servers: Vec<_> = asked(&mut link).iter().map(|(to, _)| to.ip()).collect();
    let (one, two) = (ip(SERVER), ip(SERVER + 1));
    assert_eq!(servers, [one, one, two, two]);
    link.run(Duration::from_secs(6));
    assert_eq!(link.answer(0, id), Some(&Answer::Failed));
}

#[test]
fn a_server_that_fails_is_passed_over_at_once_and_one_that_knows_is_believed() {
    let mut link = link();
    let id = link.ask_name(0, "db.corp.example");
    link.run(Duration::from_millis(5));
    for (to, question) in asked(&mut link) {
        reply(&mut link, to, &question, 2, Vec::new());
    }
    link.run(Duration::from_millis(5));
    for (to, question) in asked(&mut link) {
        assert_eq!(to.ip(), ip(SERVER + 1));
        reply(&mut link, to, &question, NO_SUCH_NAME, Vec::new());
    }
    link.run(Duration::from_millis(5));
    assert_eq!(link.answer(0, id), Some(&Answer::NotFound));
}

#[test]
fn answers_of_others_and_to_other_questions_are_not_taken() {
    let mut link = link();
    let id = link.ask_name(0, "db.corp.example");
    link.run(Duration::from_millis(5));
    let poison = || vec![Data::of_address(ip(66))];
    for (to, question) in asked(&mut link) {
        let stranger = (ip(66), 53).into();
        reply(&mut link, stranger, &question, 0, poison());
        let guess = Message {
            id: question.id.wrapping_add(1),
            ..question.clone()
        };
        reply(&mut link, to, &guess, 0, poison());
        let mut other = question.clone();
        other.questions[0].name = name("other.corp.example");
        reply(&mut link, to, &other, 0, poison());
    }
    link.run(Duration::from_millis(5));
    assert_eq!(link.answer(0, id), None);
}

#[test]
fn records_of_any_type_come_as_the_server_gave_them() {
    let mut link = link();
    let question = Question::Records {
        name: name("corp.example"),
        kind: 15,
    };
    let id = link.ask(0, question);
    link.run(Duration::from_millis(5));
    let (to, question) = asked(&mut link).remove(0);
    let mail = Data::Other {
        kind: 15,
        data: b"\0\x0a\x04mail\0".to_vec(),
    };
    reply(&mut link, to, &question, 0, vec![mail.clone()]);
    link.run(Duration::from_millis(5));
    let Some(Answer::Message(bytes)) = link.answer(0, id) else {
        panic!("no message");
    };
    let message = Message::parse(bytes).unwrap();
    assert_eq!((message.id, &message.answers[0].data), (0, &mail));
}
