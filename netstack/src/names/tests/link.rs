//! A link: everything that leaves arrives a moment later, unless it is lost.

use super::super::*;

/// One host of the link.
pub(super) struct Member {
    pub(super) names: Names,
    pub(super) ips: Vec<IpAddr>,
    pub(super) answers: BTreeMap<AskId, (Instant, Answer)>,
}

/// A datagram under way.
type Flying = (Instant, usize, Letter);

pub(super) struct Link {
    pub(super) now: Instant,
    pub(super) members: Vec<Member>,
    /// Every message that left a member, by multicast or to a neighbour.
    pub(super) seen: Vec<(Instant, usize, SocketAddr, Message)>,
    /// What was sent to servers: of whom, where to, and the bytes.
    pub(super) to_servers: Vec<(usize, SocketAddr, Vec<u8>)>,
    /// Datagrams lost of a thousand.
    pub(super) loss: u64,
    random: Random,
    flying: VecDeque<Flying>,
}

const DELAY: Duration = Duration::from_millis(1);

pub(super) fn ip(n: usize) -> IpAddr {
    [10, 0, 0, n as u8 + 1].into()
}

pub(super) fn ip6(n: usize) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n as u16 + 1])
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

impl Link {
    /// Members with an address of each family.
    pub(super) fn new(count: usize) -> Link {
        let mut link = Link {
            now: Instant(0),
            members: Vec::new(),
            seen: Vec::new(),
            to_servers: Vec::new(),
            loss: 0,
            random: Random::new(3),
            flying: VecDeque::new(),
        };
        for n in 0..count {
            link.add(&[(ip(n), 24), (ip6(n), 64)]);
        }
        link
    }

    pub(super) fn add(&mut self, addresses: &[IpCidr]) -> usize {
        let n = self.members.len();
        let mut names = Names::new(n as u64 + 1);
        names.set_addresses(self.now, addresses);
        self.members.push(Member {
            names,
            ips: addresses.iter().map(|(ip, _)| *ip).collect(),
            answers: BTreeMap::new(),
        });
        n
    }

    pub(super) fn publish(&mut self, n: usize, label: &str) {
        let now = self.now;
        self.members[n].names.publish(now, Some(label.to_owned()));
    }

    pub(super) fn published(&self, n: usize) -> Option<String> {
        let name = self.members[n].names.published();
        name.map(ToString::to_string)
    }

    pub(super) fn ask(&mut self, n: usize, question: Question) -> AskId {
        let now = self.now;
        self.members[n].names.ask(now, question)
    }

    pub(super) fn ask_name(&mut self, n: usize, text: &str) -> AskId {
        let (v4, v6) = (true, true);
        let name = name(text);
        self.ask(n, Question::Addresses { name, v4, v6 })
    }

    pub(super) fn answer(&self, n: usize, id: AskId) -> Option<&Answer> {
        self.members[n].answers.get(&id).map(|(_, answer)| answer)
    }

    /// Asks for a name and runs until there is an answer.
    pub(super) fn resolve(&mut self, n: usize, text: &str) -> Answer {
        let id = self.ask_name(n, text);
        self.run_until(|link| link.answer(n, id).is_some());
        self.answer(n, id).unwrap().clone()
    }

    /// A datagram of a stranger to the group.
    pub(super) fn inject(&mut self, n: usize, from: SocketAddr, message: &Message) {
        let now = self.now;
        let names = &mut self.members[n].names;
        names.handle_multicast(now, from, &message.to_bytes());
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.run_until(|link| link.now >= end);
    }

    /// Runs until something is so; for a minute at most.
    pub(super) fn run_until(&mut self, is_so: impl Fn(&Link) -> bool) {
        let end = self.now + Duration::from_secs(60);
        while !is_so(self) {
            assert!(self.now < end, "not within a minute");
            self.step();
        }
    }

    fn step(&mut self) {
        self.collect();
        while let Some((_, from, letter)) = self.flying.pop_front_if(|(at, ..)| *at <= self.now) {
            self.deliver(from, &letter);
        }
        let now = self.now;
        for member in &mut self.members {
            if member.names.deadline().is_some_and(|at| at <= now) {
                member.names.handle_timeout(now);
            }
        }
        self.collect();
        self.now += Duration::from_millis(1);
    }

    fn collect(&mut self) {
        for (n, member) in self.members.iter_mut().enumerate() {
            while let Some((id, answer)) = member.names.poll_answer() {
                assert!(member.answers.insert(id, (self.now, answer)).is_none());
            }
            while let Some(letter) = member.names.poll_transmit() {
                if letter.via == Via::Servers {
                    self.to_servers.push((n, letter.to, letter.payload));
                    continue;
                }
                let message = Message::parse(&letter.payload).expect("a sound message");
                self.seen.push((self.now, n, letter.to, message));
                self.flying.push_back((self.now + DELAY, n, letter));
            }
        }
    }

    fn deliver(&mut self, from: usize, letter: &Letter) {
        let source = self.members[from]
            .ips
            .iter()
            .find(|ip| ip.is_ipv4() == letter.to.is_ipv4())
            .copied();
        // As of a host that has lost its address meanwhile.
        let Some(source) = source else { return };
        for (n, member) in self.members.iter_mut().enumerate() {
            let is_for = letter.to.ip().is_multicast() || member.ips.contains(&letter.to.ip());
            // What loops back inside a host is never lost.
            let lost = n != from && self.random.draw() % 1000 < self.loss;
            if is_for && !lost {
                let source = SocketAddr::new(source, PORT);
                member
                    .names
                    .handle_multicast(self.now, source, &letter.payload);
            }
        }
    }
}
