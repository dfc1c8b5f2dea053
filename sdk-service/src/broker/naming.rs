//! Names: the sockets that multicast DNS and name servers need in the host, and the programs that wait for an answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use zt_netstack::names::{
    Answer, AskId, DNS_PORT, GROUPS, Letter, Message, Name, Names, PORT, Question, RESOLVER, Via,
};
use zt_netstack::{
    Host, Instant, IpCidr, ListenAddr, SendOptions, Sharing, Taken, UdpEvent, UdpId,
};
use zt_socket_rpc::{Addresses, DnsMessage, HostName, Reply, Request};

use super::budget::Lease;
use super::requests::reply;
use super::{Broker, Turn};

/// Questions of programs that wait for their answers, of those that ask by datagrams.
const MAX_DATAGRAMS: usize = 256;
/// Codes of answers: the server has failed, or does not want to.
const FAILED: u16 = 2;
const REFUSED: u16 = 5;
/// Hop limit of everything that multicast DNS sends (RFC 6762 §11).
const TTL: u8 = 255;

/// What is known of a network's names from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameConfig {
    /// Own addresses, each with its on-link prefix.
    pub(crate) links: Vec<IpCidr>,
    /// The own name without `.local`.
    pub(crate) label: Option<String>,
    /// The network's domain, if it has one that may be used.
    pub(crate) domain: Option<Name>,
    /// Who serves the domain.
    pub(crate) servers: Vec<IpAddr>,
}

/// The names of one network, and who asks for them.
pub(super) struct Naming {
    pub(super) names: Names,
    /// On the port of multicast DNS.
    multicast: Option<UdpId>,
    /// On a port that is hard to guess.
    servers: Option<UdpId>,
    /// Where programs ask that make DNS messages themselves.
    resolver: Option<UdpId>,
    waiting: HashMap<AskId, Waiting>,
    datagrams: HashMap<AskId, (SocketAddr, Message)>,
    /// As it was last told.
    published: Option<Name>,
}

/// A program that waits for an answer.
struct Waiting {
    connection: OwnedFd,
    _lease: Lease,
}

impl Naming {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            names: Names::new(seed),
            multicast: None,
            servers: None,
            resolver: None,
            waiting: HashMap::new(),
            datagrams: HashMap::new(),
            published: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.names.deadline()
    }

    pub(super) fn published(&self) -> Option<&Name> {
        self.names.published()
    }

    pub(super) fn configure(&mut self, host: &mut Host, now: Instant, config: NameConfig) {
        let NameConfig {
            links,
            label,
            domain,
            servers,
        } = config;
        self.open(host, &links);
        self.names.set_addresses(now, &links);
        self.names.publish(now, label);
        self.names.set_servers(domain, servers);
        self.send(host, now);
    }

    /// Opens the sockets when there is an address to use them with, and listens to the groups of its family.
    fn open(&mut self, host: &mut Host, links: &[IpCidr]) {
        if links.is_empty() {
            return;
        }
        let bind = |host: &mut Host, ip, port, shared| {
            let sharing = Sharing {
                reuse_address: shared,
                reuse_port: shared,
            };
            // Taken by a program that does not share it: the names are that program's affair then.
            host.udp_bind(ListenAddr { ip, port }, sharing).ok()
        };
        if self.multicast.is_none() {
            self.multicast = bind(host, None, PORT, true).map(|(id, _)| id);
        }
        if self.servers.is_none() {
            self.servers = bind(host, None, 0, false).map(|(id, _)| id);
        }
        if self.resolver.is_none() {
            self.resolver = bind(host, Some(RESOLVER), DNS_PORT, false).map(|(id, _)| id);
        }
        let Some(id) = self.multicast else { return };
        for group in GROUPS {
            // A member already, or no longer of any use: both are as wanted.
            let _ = if links.iter().any(|(ip, _)| ip.is_ipv4() == group.is_ipv4()) {
                host.multicast_join(id, group)
            } else {
                host.multicast_leave(id, group)
            };
        }
    }

    /// Whether a socket is one of ours; takes in what has arrived there.
    pub(super) fn handle_event(
        &mut self,
        host: &mut Host,
        now: Instant,
        id: UdpId,
        event: UdpEvent,
    ) -> bool {
        if self.resolver == Some(id) {
            self.answer_datagrams(host, now, id);
            return true;
        }
        let is_multicast = self.multicast == Some(id);
        if !is_multicast && self.servers != Some(id) {
            return false;
        }
        if event == UdpEvent::Readable {
            let names = &mut self.names;
            host.udp_receive(id, |datagram| {
                if is_multicast {
                    names.handle_multicast(now, datagram.from, datagram.payload);
                } else {
                    names.handle_answer(now, datagram.from, datagram.payload);
                }
                Taken::Yes
            });
            self.send(host, now);
        }
        true
    }

    /// Runs what is due, sends, and answers programs.
    pub(super) fn run(&mut self, host: &mut Host, now: Instant) {
        if self.names.deadline().is_some_and(|at| at <= now) {
            self.names.handle_timeout(now);
        }
        self.send(host, now);
    }

    /// Before the end: others need not wait until they forget the name.
    pub(super) fn close(&mut self, host: &mut Host, now: Instant) {
        self.names.farewell();
        self.send(host, now);
    }

    fn send(&mut self, host: &mut Host, now: Instant) {
        while let Some(Letter { via, to, payload }) = self.names.poll_transmit() {
            let (socket, ttl) = match via {
                Via::Multicast => (self.multicast, Some(TTL)),
                Via::Servers => (self.servers, None),
            };
            let options = SendOptions {
                ttl,
                ..SendOptions::default()
            };
            if let Some(id) = socket
                && let Err(error) = host.udp_send(now, id, None, to, &payload, options)
            {
                // As good as lost, which names are used to.
                tracing::trace!(%to, %error, "a question about a name was not sent");
            }
        }
        while let Some((id, answer)) = self.names.poll_answer() {
            if let Some((from, question)) = self.datagrams.remove(&id) {
                let message = in_datagram(&question, answer);
                self.say(host, now, from, &message);
            } else if let Some(waiting) = self.waiting.remove(&id) {
                reply(&waiting.connection, &in_reply(answer), None);
            }
        }
        if self.names.published() != self.published.as_ref() {
            self.published = self.names.published().cloned();
            match &self.published {
                Some(name) => tracing::info!(%name, "name published"),
                None => tracing::info!("no name is published"),
            }
        }
    }

    /// Takes the questions of programs that make DNS messages themselves. What is not looked up here is refused, so that
    /// they ask the next of their name servers.
    fn answer_datagrams(&mut self, host: &mut Host, now: Instant, id: UdpId) {
        let mut questions = Vec::new();
        host.udp_receive(id, |datagram| {
            let message = Message::parse(datagram.payload).ok();
            let question = message.filter(Message::is_question);
            questions.extend(question.map(|question| (datagram.from, question)));
            Taken::Yes
        });
        for (from, question) in questions {
            let covered = question
                .questions
                .first()
                .filter(|asked| self.names.covers(&asked.name));
            match covered {
                None => self.say(host, now, from, &question.refusal(REFUSED).to_bytes()),
                Some(_) if self.datagrams.len() >= MAX_DATAGRAMS => {
                    self.say(host, now, from, &question.refusal(FAILED).to_bytes());
                }
                Some(asked) => {
                    let (name, kind) = (asked.name.clone(), asked.kind);
                    let id = self.names.ask(now, Question::Records { name, kind });
                    self.datagrams.insert(id, (from, question));
                }
            }
        }
        self.send(host, now);
    }

    fn say(&self, host: &mut Host, now: Instant, to: SocketAddr, message: &[u8]) {
        let Some(id) = self.resolver else { return };
        if let Err(error) = host.udp_send(now, id, None, to, message, SendOptions::default()) {
            tracing::trace!(%to, %error, "an answer about a name was not sent");
        }
    }

    fn ask(&mut self, now: Instant, question: Question, waiting: Waiting) {
        let id = self.names.ask(now, question);
        self.waiting.insert(id, waiting);
    }
}

impl Broker {
    /// Tells what has changed about the network's names.
    pub(crate) fn set_names(&mut self, host: &mut Host, now: Instant, config: NameConfig) {
        self.naming.configure(host, now, config);
    }

    /// The published name, once it is known to be ours alone.
    pub(crate) fn published(&self) -> Option<&Name> {
        self.naming.published()
    }

    /// A program asks for a name or an address.
    pub(super) fn look_up(
        &mut self,
        turn: &mut Turn<'_>,
        uid: u32,
        request: &Request,
        connection: OwnedFd,
    ) {
        let Some(question) = question(request, &self.naming.names) else {
            return reply(&connection, &failed(Errno::INVAL), None);
        };
        self.counters.lookups += 1;
        match turn.budget.take(uid, 1) {
            Ok(_lease) => {
                let waiting = Waiting { connection, _lease };
                self.naming.ask(turn.now, question, waiting);
                self.naming.run(turn.host, turn.now);
            }
            Err(_) => {
                self.counters.refused += 1;
                reply(&connection, &failed(Errno::NOBUFS), None);
            }
        }
    }
}

/// What a request asks, if it is anything that is to be looked up here.
fn question(request: &Request, names: &Names) -> Option<Question> {
    let parse = |name: &HostName| {
        let name: Name = name.as_str().parse().ok()?;
        names.covers(&name).then_some(name)
    };
    match request {
        &Request::Resolve { ref name, v4, v6 } => Some(Question::Addresses {
            name: parse(name)?,
            v4,
            v6,
        }),
        Request::NameOf { address } => {
            let covered = names.covers(&Name::of_address(*address));
            covered.then_some(Question::NameOf(*address))
        }
        Request::Records { name, kind } => Some(Question::Records {
            name: parse(name)?,
            kind: *kind,
        }),
        _ => None,
    }
}

fn in_reply(answer: Answer) -> Reply {
    let found = match answer {
        Answer::Addresses(addresses) => Some(Reply::Addresses(Addresses::new(addresses))),
        // A name that is none of a host gets into no program.
        Answer::NameOf(name) => HostName::new(name.to_string().as_bytes()).map(Reply::NameOf),
        Answer::Message(message) => DnsMessage::new(&message).map(Reply::Message),
        Answer::Failed => return failed(Errno::AGAIN),
        _ => None,
    };
    found.unwrap_or(failed(Errno::NOENT))
}

/// The answer to a question that came as a DNS message.
fn in_datagram(question: &Message, answer: Answer) -> Vec<u8> {
    let Answer::Message(mut bytes) = answer else {
        return question.refusal(FAILED).to_bytes();
    };
    for (to, from) in bytes.iter_mut().zip(question.id.to_be_bytes()) {
        *to = from;
    }
    bytes
}

fn failed(errno: Errno) -> Reply {
    Reply::Failed {
        errno: errno.raw_os_error(),
    }
}
