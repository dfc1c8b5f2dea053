//! Programs that ask for names.

use std::net::{Ipv4Addr, UdpSocket};

use zt_netstack::names::{Asked, Data, Flags, GROUPS, Message, PORT, RESOLVER, Record};
use zt_netstack::{Route, SendOptions, Sharing, Taken, UdpId};
use zt_socket_rpc::{HostName, Prefix};

use super::datagrams::{receive, send};
use super::*;

/// A rig whose host has a name, and whose peer listens to what is asked.
struct Named {
    rig: Rig,
    peer: UdpId,
}

fn name(text: &str) -> HostName {
    HostName::new(text.as_bytes()).unwrap()
}

fn resolve(text: &str) -> Request {
    Request::Resolve {
        name: name(text),
        v4: true,
        v6: true,
    }
}

impl Named {
    fn new(label: Option<&str>) -> Self {
        let mut rig = Rig::new();
        let config = NameConfig {
            links: vec![(OURS.parse().unwrap(), 24)],
            label: label.map(ToOwned::to_owned),
            ..NameConfig::default()
        };
        let now = rig.now;
        rig.broker.set_names(&mut rig.host, now, config);
        let at = ListenAddr {
            ip: None,
            port: PORT,
        };
        let (peer, _) = rig.peer.udp_bind(at, Sharing::default()).unwrap();
        rig.peer.multicast_join(peer, GROUPS[0]).unwrap();
        Self { rig, peer }
    }

    /// Gives the LAN a default route: the peer is the gateway.
    fn leads_everywhere(&mut self) {
        let everywhere = (Ipv4Addr::UNSPECIFIED.into(), 0);
        let config = HostConfig {
            mac: OUR_MAC,
            mtu: 2800,
            addresses: vec![(OURS.parse().unwrap(), 24)],
            routes: vec![Route {
                prefix: everywhere,
                via: Some(THEIRS.parse().unwrap()),
            }],
        };
        let now = self.rig.now;
        self.rig.host.configure(now, config);
        let (address, length) = everywhere;
        let everywhere = Prefix { address, length };
        let resolver = Prefix {
            address: RESOLVER,
            length: 32,
        };
        self.rig.broker.set_lan(&[], &[everywhere, resolver], &[]);
    }

    fn pass(&mut self, span: Duration) {
        let end = self.rig.now + span;
        while self.rig.now < end {
            self.rig.now += Duration::from_millis(50);
            self.rig.settle();
        }
    }

    fn ask(&mut self, request: &Request) -> OwnedFd {
        let control = self.rig.program.request(request, &[]);
        self.rig.settle();
        control
    }

    fn answer(&mut self, request: &Request, span: Duration) -> Reply {
        let control = self.ask(request);
        self.pass(span);
        reply(&control).unwrap().unwrap().0
    }

    /// What the peer has heard.
    fn heard(&mut self) -> Vec<Message> {
        let mut heard = Vec::new();
        self.rig.peer.udp_receive(self.peer, |datagram| {
            heard.push(Message::parse(datagram.payload).unwrap());
            Taken::Yes
        });
        heard
    }

    /// The peer says to all that a name is its own.
    fn say(&mut self, text: &str) {
        let message = Message {
            flags: Flags(0x8400),
            answers: vec![Record {
                name: text.parse().unwrap(),
                ttl: 120,
                flush: true,
                data: Data::A(THEIRS.parse::<Ipv4Addr>().unwrap()),
            }],
            ..Message::default()
        };
        let (now, to) = (self.rig.now, (GROUPS[0], PORT).into());
        let (payload, options) = (message.to_bytes(), SendOptions::default());
        self.rig
            .peer
            .udp_send(now, self.peer, None, to, &payload, options)
            .unwrap();
        self.rig.settle();
    }
}

fn failed(errno: Errno) -> Reply {
    Reply::Failed {
        errno: errno.raw_os_error(),
    }
}

#[test]
fn a_program_asks_for_a_name_and_the_link_is_asked() {
    let mut named = Named::new(None);
    let control = named.ask(&resolve("db.local"));
    named.pass(Duration::from_millis(100));
    let asked = named.heard();
    assert_eq!(asked[0].questions[0].name, "db.local".parse().unwrap());
    named.say("DB.local");
    let Reply::Addresses(found) = reply(&control).unwrap().unwrap().0 else {
        panic!("no address");
    };
    assert!(found.iter().eq([THEIRS.parse::<IpAddr>().unwrap()]));
    // From memory, and as a message.
    let records = Request::Records {
        name: name("db.local"),
        kind: 1,
    };
    let Reply::Message(message) = named.answer(&records, Duration::ZERO) else {
        panic!("no message");
    };
    let message = Message::parse(message.as_bytes()).unwrap();
    assert_eq!(message.answers.len(), 1);
    assert_eq!(
        named
            .rig
            .broker
            .counters()
            .iter()
            .find(|c| c.0 == "lookups")
            .unwrap()
            .1,
        2
    );
}

#[test]
fn the_own_name_is_published_and_known() {
    let mut named = Named::new(Some("web"));
    named.pass(Duration::from_secs(3));
    let announced = named
        .heard()
        .into_iter()
        .flat_map(|message| message.answers);
    let web: zt_netstack::names::Name = "web.local".parse().unwrap();
    assert!(announced.into_iter().any(|record| record.name == web));
    assert_eq!(named.rig.broker.published(), Some(&web));
    let Reply::Addresses(found) = named.answer(&resolve("web.local"), Duration::ZERO) else {
        panic!("no address");
    };
    assert!(found.iter().eq([OURS.parse::<IpAddr>().unwrap()]));
    let address = OURS.parse().unwrap();
    assert_eq!(
        named.answer(&Request::NameOf { address }, Duration::ZERO),
        Reply::NameOf(name("web.local"))
    );
    // At the end it is taken back.
    let Rig {
        poller,
        budget,
        host,
        broker,
        now,
        ..
    } = &mut named.rig;
    let now = *now;
    broker.close(&mut Turn {
        poller,
        host,
        budget,
        now,
    });
    named.rig.settle();
    let last = named.heard().pop().unwrap();
    assert!(last.answers.iter().all(|record| record.ttl == 0));
}

#[test]
fn what_is_not_found_is_said_in_time() {
    let mut named = Named::new(None);
    for (text, errno) in [
        ("nobody.local", Errno::NOENT),
        ("www.example", Errno::INVAL),
        ("a..local", Errno::INVAL),
    ] {
        let answer = named.answer(&resolve(text), Duration::from_secs(5));
        assert_eq!(answer, failed(errno), "{text}");
    }
}

#[test]
fn who_asks_for_too_much_is_refused_and_the_others_are_not() {
    let mut named = Named::new(Some("web"));
    named.pass(Duration::from_secs(3));
    named.rig.budget = Budget::new(16);
    let asked: Vec<_> = (0..20)
        .map(|n| named.ask(&resolve(&format!("x{n}.local"))))
        .collect();
    named.pass(Duration::from_secs(5));
    let answers: Vec<_> = asked
        .iter()
        .map(|control| reply(control).unwrap().unwrap().0)
        .collect();
    let refused = answers.iter().filter(|&&a| a == failed(Errno::NOBUFS));
    assert_eq!(refused.count(), 6);
    assert!(matches!(
        named.answer(&resolve("web.local"), Duration::ZERO),
        Reply::Addresses(_)
    ));
    assert_eq!(named.rig.budget.held(), 0);
}

#[test]
fn a_program_that_makes_dns_messages_itself_is_answered() {
    let mut named = Named::new(Some("web"));
    named.pass(Duration::from_secs(3));
    let (socket, _control) = named.rig.program.datagram(at("0.0.0.0", 0), None, None);
    named.rig.settle();
    let ask = |named: &mut Named, name: &str, kind, span| {
        let question = Message {
            id: 77,
            flags: Flags(0x0100),
            questions: vec![Asked {
                name: name.parse().unwrap(),
                kind,
                unicast: false,
            }],
            ..Message::default()
        };
        send(&socket, (RESOLVER, 53).into(), &question.to_bytes());
        named.rig.settle();
        named.pass(span);
        let (header, payload) = receive(&socket).expect("an answer");
        assert_eq!(header.peer, Some((RESOLVER, 53).into()));
        let answer = Message::parse(&payload).unwrap();
        assert_eq!((answer.id, &answer.questions), (77, &question.questions));
        answer
    };
    let found = ask(&mut named, "Web.local", 1, Duration::ZERO);
    assert_eq!(found.answers[0].data, Data::A(OURS.parse().unwrap()));
    let none = ask(&mut named, "web.local", 28, Duration::ZERO);
    assert_eq!((none.flags.0 & 15, none.answers.len()), (0, 0));
    let refused = ask(&mut named, "www.example", 1, Duration::ZERO);
    assert_eq!(refused.flags.0 & 15, 5);
    let nobody = ask(&mut named, "nobody.local", 1, Duration::from_secs(5));
    assert_eq!(nobody.answers.len(), 0);
    // What is no question is not answered.
    send(&socket, (RESOLVER, 53).into(), b"not a question");
    named.rig.settle();
    assert!(receive(&socket).is_none());
}

#[test]
fn a_question_for_a_name_server_is_answered_in_its_place_if_it_is_about_the_lan() {
    // On the container's own network, and beyond a gateway of the LAN; connected, and not.
    let (near, far) = (at("127.0.0.1", 53), at("198.51.100.1", 53));
    let cases = [(near, true), (near, false), (far, true), (far, false)];
    for (server, is_connected) in cases {
        let remote = is_connected.then_some(server);
        let mut named = Named::new(Some("web"));
        named.pass(Duration::from_secs(3));
        named.leads_everywhere();
        let kernel = UdpSocket::bind("127.0.0.1:0").unwrap();
        let opened = named.rig.open(at("0.0.0.0", 0), remote, Some(&kernel));
        let (socket, _) = opened.unwrap();
        let ask = |named: &mut Named, name: &str| {
            let question = Message {
                id: 77,
                flags: Flags(0x0100),
                questions: vec![Asked {
                    name: name.parse().unwrap(),
                    kind: 1,
                    unicast: false,
                }],
                ..Message::default()
            };
            send(&socket, server, &question.to_bytes());
            named.rig.settle();
        };
        let sent = |named: &Named, name| {
            let counters = named.rig.broker.counters();
            let found = counters.iter().find(|counter| counter.0 == name);
            found.map(|counter| counter.1)
        };
        ask(&mut named, "web.local");
        let (header, payload) = receive(&socket).expect("an answer");
        assert_eq!(header.peer, Some(server));
        let answer = Message::parse(&payload).unwrap();
        assert_eq!(answer.id, 77);
        assert_eq!(answer.answers[0].data, Data::A(OURS.parse().unwrap()));
        assert_eq!(sent(&named, "datagrams_out_native"), Some(0));
        assert_eq!(sent(&named, "datagrams_out"), Some(1));
        ask(&mut named, "www.example");
        let (by_own, by_lan) = if server == near { (1, 1) } else { (0, 2) };
        assert_eq!(sent(&named, "datagrams_out_native"), Some(by_own));
        assert_eq!(sent(&named, "datagrams_out"), Some(by_lan));
    }
}
