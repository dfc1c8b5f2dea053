//! Names on the network: the own one, those of others by multicast DNS (RFC 6762), and those of the network's domain by
//! its name servers. Sans-IO: datagrams and the time go in, datagrams and answers come out; the owner has the sockets.
//!
//! | module | its part |
//! |---|---|
//! | `name`, `message` | the codec |
//! | `asking` | the questions of the owner |
//! | `responder` | the own name: probing, announcing, answering, conflicts, farewell |
//! | `querier`, `cache` | what everybody on the link is asked, and what they have said |
//! | `servers` | what name servers are asked |
//!
//! Whatever comes from the link is bounded in number and life. An address that others give for a name counts only if it
//! is on the link: nobody can send a program elsewhere by a name under `.local`.

mod asking;
mod cache;
mod message;
mod name;
mod querier;
mod responder;
mod servers;

pub use message::{Asked, Data, Flags, Malformed, Message, Record};
pub use name::{BadName, Name, host_label};

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::config::IpCidr;
use crate::host::Random;
use crate::route::contains;
use crate::time::Instant;
use cache::Cache;
use querier::Querier;
use responder::Responder;
use servers::Servers;

/// The port of multicast DNS.
pub const PORT: u16 = 5353;
/// The port of name servers.
pub const DNS_PORT: u16 = 53;
/// Where programs that ask name servers by themselves find the service: an address that exists inside a host alone. It is
/// neither announced nor answered for on the link, and what comes from there is not for it.
pub const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 53, 53));
/// The groups of multicast DNS.
pub const GROUPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)),
];
/// The longest message that is looked at (RFC 6762 §17).
const MAX_MESSAGE: usize = 9000;
/// The first probe comes within this time.
const FIRST_PROBE: Duration = Duration::from_millis(250);

/// Names one question of the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(u64);

/// What the owner may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The addresses of a name.
    Addresses {
        /// The name.
        name: Name,
        /// IPv4 addresses.
        v4: bool,
        /// IPv6 addresses.
        v6: bool,
    },
    /// The name of an address.
    NameOf(IpAddr),
    /// Records as a DNS message.
    Records {
        /// The name.
        name: Name,
        /// The type of records.
        kind: u16,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// At least one address.
    Addresses(Vec<IpAddr>),
    /// The name of the address.
    NameOf(Name),
    /// A DNS message, with the id 0.
    Message(Vec<u8>),
    /// There is none.
    NotFound,
    /// Who should know does not answer.
    Failed,
}

/// Through which socket a datagram leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The one on [`PORT`], with the hop limit 255.
    Multicast,
    /// The one on which servers answer.
    Servers,
}

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its socket.
    pub via: Via,
    /// Where to.
    pub to: SocketAddr,
    /// Its bytes.
    pub payload: Vec<u8>,
}

#[derive(Debug, Default)]
struct Outbox(VecDeque<Letter>);

impl Outbox {
    fn push(&mut self, to: SocketAddr, message: &Message) {
        self.post(Via::Multicast, to, message);
    }

    fn push_to_server(&mut self, to: SocketAddr, message: &Message) {
        self.post(Via::Servers, to, message);
    }

    fn post(&mut self, via: Via, to: SocketAddr, message: &Message) {
        let payload = message.to_bytes();
        self.0.push_back(Letter { via, to, payload });
    }
}

/// The names of one network.
pub struct Names {
    random: Random,
    links: Vec<IpCidr>,
    /// Where multicast goes: the groups of the families that we have.
    groups: Vec<SocketAddr>,
    responder: Responder,
    querier: Querier,
    servers: Servers,
    cache: Cache,
    outbox: Outbox,
    next_ask: u64,
    /// Questions under way.
    asks: BTreeMap<AskId, Question>,
    answers: VecDeque<(AskId, Answer)>,
}

impl Names {
    /// Without name, addresses and servers. `seed` makes what is sent to servers hard to guess.
    #[must_use]
    pub fn new(seed: u64) -> Names {
        Names {
            random: Random::new(seed),
            links: Vec::new(),
            groups: Vec::new(),
            responder: Responder::new(),
            querier: Querier::default(),
            servers: Servers::default(),
            cache: Cache::default(),
            outbox: Outbox::default(),
            next_ask: 0,
            asks: BTreeMap::new(),
            answers: VecDeque::new(),
        }
    }

    /// The own addresses, each with its on-link prefix.
    pub fn set_addresses(&mut self, now: Instant, links: &[IpCidr]) {
        let mut links = links.to_vec();
        links.sort_unstable();
        links.dedup();
        if links == self.links {
            return;
        }
        let delay = self.delay();
        let own = links.iter().map(|(ip, _)| *ip).collect();
        self.responder
            .set_addresses(now, own, delay, &self.groups, &mut self.outbox);
        self.groups = GROUPS
            .into_iter()
            .filter(|group| links.iter().any(|(ip, _)| ip.is_ipv4() == group.is_ipv4()))
            .map(|group| SocketAddr::new(group, PORT))
            .collect();
        self.links = links;
        self.cache.clear();
    }

    /// Publishes `<label>.local`, or `<label>-2.local` and so on if others have it. See [`host_label`].
    pub fn publish(&mut self, now: Instant, label: Option<String>) {
        let delay = self.delay();
        self.responder
            .publish(now, label, delay, &self.groups, &mut self.outbox);
    }

    /// The published name, once it is known to be ours alone.
    #[must_use]
    pub fn published(&self) -> Option<&Name> {
        self.responder.name()
    }

    /// Takes the published name back, before the end.
    pub fn farewell(&mut self) {
        self.responder
            .say_farewell(&self.groups, &mut self.outbox, |_| true);
    }

    /// The network's domain and who serves it.
    pub fn set_servers(&mut self, domain: Option<Name>, servers: Vec<IpAddr>) {
        self.servers.set(domain, servers);
    }

    /// Whether a name is to be asked for here rather than elsewhere.
    #[must_use]
    pub fn covers(&self, name: &Name) -> bool {
        let on_link = |ip| self.is_on_link(ip);
        name.is_local() || self.servers.serve(name) || name.to_address().is_some_and(on_link)
    }

    /// Asks. The answer comes with [`poll_answer`](Names::poll_answer), perhaps at once, and always in a few seconds.
    pub fn ask(&mut self, now: Instant, question: Question) -> AskId {
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        self.asks.insert(id, question.clone());
        match question {
            Question::Addresses { name, v4, v6 } => self.ask_addresses(now, id, &name, v4, v6),
            Question::NameOf(ip) => self.ask_name(now, id, ip),
            Question::Records { name, kind } => self.ask_records(now, id, &name, kind),
        }
        id
    }

    /// Takes a datagram that came to [`PORT`].
    pub fn handle_multicast(&mut self, now: Instant, from: SocketAddr, payload: &[u8]) {
        if payload.len() > MAX_MESSAGE || !self.is_on_link(from.ip()) {
            return;
        }
        let Ok(message) = Message::parse(payload) else {
            return;
        };
        if message.flags.is_plain_query() {
            self.responder
                .handle_query(now, from, &message, &self.groups, &mut self.outbox);
        } else if message.flags.is_response() && from.port() == PORT {
            let records: Vec<Record> = message.into_records().collect();
            let delay = self.delay();
            self.responder.handle_response(now, &records, delay);
            for record in records {
                if self.is_believed(&record) {
                    self.cache.insert(now, record);
                }
            }
            let answered = self.querier.answered(now, &mut self.cache);
            self.finish_all(now, answered);
        }
    }

    /// Takes a datagram that came to the socket of [`Via::Servers`].
    pub fn handle_answer(&mut self, now: Instant, from: SocketAddr, payload: &[u8]) {
        let Ok(message) = Message::parse(payload) else {
            return;
        };
        if message.flags.is_response()
            && let Some((id, name, found)) = self.servers.handle_answer(now, from, payload, message)
        {
            self.served(now, id, &name, found);
        }
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.responder
            .handle_timeout(now, &self.groups, &mut self.outbox);
        let over =
            self.querier
                .handle_timeout(now, &mut self.cache, &self.groups, &mut self.outbox);
        self.finish_all(now, over);
        for (id, name, found) in self.servers.handle_timeout(now, &mut self.outbox) {
            self.served(now, id, &name, found);
        }
    }

    /// When [`handle_timeout`](Names::handle_timeout) wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        [
            self.responder.deadline(),
            self.querier.deadline(),
            self.servers.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next datagram to be sent.
    pub fn poll_transmit(&mut self) -> Option<Letter> {
        self.outbox.0.pop_front()
    }

    /// The next answer.
    pub fn poll_answer(&mut self) -> Option<(AskId, Answer)> {
        self.answers.pop_front()
    }

    fn delay(&mut self) -> Duration {
        FIRST_PROBE.mul_f64((self.random.draw() >> 32) as f64 / f64::from(u32::MAX))
    }

    fn is_on_link(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => true,
            ip => self.links.iter().any(|link| contains(*link, ip)),
        }
    }

    /// Whether a host on the link may say this.
    fn is_believed(&self, record: &Record) -> bool {
        let is_reverse = record
            .name
            .to_address()
            .is_some_and(|ip| self.is_on_link(ip));
        match &record.data {
            Data::A(_) | Data::Aaaa(_) => {
                let ip = record.data.address();
                let on_link = |ip| self.links.iter().any(|link| contains(*link, ip));
                record.name.is_local() && ip.is_some_and(on_link)
            }
            Data::Ptr(name) => is_reverse && name.is_local(),
            Data::Nsec { .. } => record.name.is_local() || is_reverse,
            Data::Cname(_) | Data::Other { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
