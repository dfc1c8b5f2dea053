//! A simulated LAN: whole nodes on one Ethernet link with virtual time. Nothing sleeps, and a
//! datagram arrives a fixed delay after it was sent unless the test loses it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use zt_controller::{Controller, Effect, MemoryStore, Method, Records, Response};
use zt_protocol::identity::SecretKey;
use zt_protocol::node::{Event, Node};
use zt_protocol::vl1::LocalSocket;
use zt_protocol::vl2::{Frame, NetworkStatus, Status};
use zt_protocol::world::{Root, World};
use zt_protocol::{Address, Mac, MulticastGroup, NetworkId, SecretIdentity, Time};

/// One way over the link.
pub(crate) const DELAY: Duration = Duration::from_millis(1);
const SOCKET: LocalSocket = LocalSocket(0);
const START: Time = Time(1_700_000_000_000);

/// Throw-away identities: root and controller, then members.
const IDENTITIES: [&str; 4] = [
    "f032a8811c:0:81eaacfb1da27e132c068d70a75921cef5e11de0c62841d4681f7340ae7271389937783b54d38800fbac2cb36b57d8b5384f5f713e19ff44597ed6240d67386a:8e68704300a1dfd4f283a78bd61d4daa813bee70314b7143833e810d5e253ebab893fcebe101681e6a9ec8daae96b04460aef4ee7528b15bf6c9580fb770c813",
    "66d93e6ed9:0:7254732d3309611aadfb1d540cbf8e0bf45dce678524592235f633e6d1c5b0175bfcfa443e90f80fb93787ba332da5f93bc2c9f3512446a1b80ab5b0ad4a830a:b083c2f491233b9848459e724ba2abfee2692ce8860a7c128d393c789713897a0d314f19091c88c2c35786f5d93ea18d716e80801ce6c7e53657befcc31ddbd8",
    "5ec8e64bdb:0:794b8fe26cee6f131ae097c7ad5c156971057d3d166a1a07f0e01640e34a1a4758cb22a566e0842e4b05ab48d1fc806db32ffc8a85711bd0952a9f4bec716892:69796b15ef4fa7d71acc27e6b85e6f108819f88f7e83530a3b4177fa28e9f690234f8e1b2eeb3d6f21bf73b4ddd79d216896233b0ab5f3db0e6c8e0bf0f86627",
    "34f65e212f:0:7623b085ff1abce3954f137630db4b73cf4f9f3ceefc886ce1e690fa41864c58b9ea2fe6295c03b4c4485d89ddfa5861f1a12b5fec2c98d22662e7152f034950:2750428380b1a18331749fecb18a65d99c7fbdcc812b433a6c19c9c867ef88721b7b90ac8b924e2d159a0ffd7af481c7422ef4829346e6f3414531de7061e7cd",
];

/// Which node of the LAN.
pub(crate) type Who = usize;
/// Root of the planet and controller of the network.
pub(crate) const ROOT: Who = 0;
pub(crate) const A: Who = 1;
pub(crate) const B: Who = 2;
pub(crate) const C: Who = 3;

/// A frame as its receiver saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) src: Mac,
    pub(crate) dst: Mac,
    pub(crate) ethertype: u16,
    pub(crate) payload: Vec<u8>,
}

struct Station {
    node: Node,
    address: Address,
    endpoint: SocketAddr,
    frames: Vec<Received>,
    stored: Option<Vec<u8>>,
}

struct Datagram {
    at: Time,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// Whether a datagram from one node to another is lost.
type Loss = dyn FnMut(Who, Who, &[u8]) -> bool;

/// The LAN.
pub(crate) struct Lan {
    pub(crate) now: Time,
    pub(crate) controller: Controller,
    stations: Vec<Station>,
    in_flight: VecDeque<Datagram>,
    /// Datagrams for which this says so are lost.
    pub(crate) lose: Box<Loss>,
    pub(crate) datagrams: u64,
    /// Configuration requests that reached the controller.
    pub(crate) requests: u64,
}

impl Lan {
    /// A LAN of the root and so many members.
    pub(crate) fn new(members: usize) -> Self {
        let secrets: Vec<SecretIdentity> = IDENTITIES
            .iter()
            .take(1 + members)
            .map(|text| text.parse().unwrap())
            .collect();
        let endpoint = |who: Who| SocketAddr::from(([192, 168, 7, 1 + who as u8], 9993));
        let root = Root {
            identity: *secrets[ROOT].public(),
            endpoints: vec![endpoint(ROOT)],
        };
        let key = SecretKey::from_bytes([7; 64]);
        let planet = World::make_planet(&key, 1, 1, vec![root]);
        let station = |(who, secret): (Who, &SecretIdentity)| {
            let mut node = Node::new(START, secret.clone(), planet.clone(), [who as u8; 32]);
            node.set_local_addresses(&[endpoint(who)]);
            Station {
                node,
                address: secret.address(),
                endpoint: endpoint(who),
                frames: Vec::new(),
                stored: None,
            }
        };
        let store = Box::new(MemoryStore::default());
        Self {
            now: START,
            controller: Controller::new(secrets[ROOT].clone(), [9; 32], Records::default(), store),
            stations: secrets.iter().enumerate().map(station).collect(),
            in_flight: VecDeque::new(),
            lose: Box::new(|_, _, _| false),
            datagrams: 0,
            requests: 0,
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while let Some(next) = self.next_moment().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until `done`; panics if that takes longer than `most`. How long it took.
    pub(crate) fn run_until(
        &mut self,
        most: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Duration {
        let begin = self.now;
        self.settle();
        while !done(self) {
            let next = self.next_moment().expect("something is going to happen");
            self.now = self.now.max(next);
            assert!(self.now.since(begin) <= most, "not done after {most:?}");
            self.step();
        }
        self.now.since(begin)
    }

    pub(crate) fn api(&mut self, method: Method, path: &str, body: Value) -> Response {
        let response = self.controller.api(self.now, method, path, Some(&body));
        self.settle();
        response
    }

    /// Posts to the controller and expects success.
    pub(crate) fn post(&mut self, path: &str, body: Value) -> Value {
        let response = self.api(Method::Post, path, body);
        assert_eq!(response.status, 200, "{response:?}");
        response.body.unwrap()
    }

    pub(crate) fn authorize(&mut self, network: NetworkId, who: Who, authorized: bool) -> Value {
        let path = format!("/controller/network/{network}/member/{}", self.address(who));
        self.post(&path, serde_json::json!({ "authorized": authorized }))
    }

    pub(crate) fn node(&mut self, who: Who) -> &mut Node {
        &mut self.stations[who].node
    }

    pub(crate) fn address(&self, who: Who) -> Address {
        self.stations[who].address
    }

    pub(crate) fn identity(&self, who: Who) -> SecretIdentity {
        IDENTITIES[who].parse().unwrap()
    }

    pub(crate) fn mac(&self, who: Who, network: NetworkId) -> Mac {
        Mac::of(self.address(who), network)
    }

    pub(crate) fn join(&mut self, who: Who, network: NetworkId) {
        let now = self.now;
        self.node(who).join(now, network, None);
        self.settle();
    }

    pub(crate) fn status(&mut self, who: Who, network: NetworkId) -> NetworkStatus {
        self.node(who).network(network).expect("joined")
    }

    pub(crate) fn is_up(&mut self, who: Who, network: NetworkId) -> bool {
        self.status(who, network).status == Status::Ok
    }

    /// The first IPv4 address that the controller gave.
    pub(crate) fn ipv4(&mut self, who: Who, network: NetworkId) -> std::net::Ipv4Addr {
        let addresses = self.status(who, network).addresses;
        let mut v4 = addresses
            .iter()
            .filter_map(|prefix| match prefix.address() {
                std::net::IpAddr::V4(ip) => Some(ip),
                std::net::IpAddr::V6(_) => None,
            });
        v4.next().expect("an address")
    }

    /// What `who` stored as its configuration last.
    pub(crate) fn stored_config(&self, who: Who) -> Option<&[u8]> {
        self.stations[who].stored.as_deref()
    }

    /// Subscribes to the ARP group of the node's own address, as an IP stack would.
    pub(crate) fn listen_for_arp(&mut self, who: Who, network: NetworkId) {
        let group = MulticastGroup::arp_for(self.ipv4(who, network));
        let now = self.now;
        self.node(who).set_groups(now, network, &[group]);
        self.settle();
    }

    pub(crate) fn send(
        &mut self,
        who: Who,
        network: NetworkId,
        dst: Mac,
        ethertype: u16,
        payload: &[u8],
    ) {
        let frame = Frame {
            src: self.mac(who, network),
            dst,
            ethertype,
            payload,
        };
        self.send_frame(who, network, frame);
    }

    pub(crate) fn send_frame(&mut self, who: Who, network: NetworkId, frame: Frame<'_>) {
        let now = self.now;
        self.node(who).send_frame(now, network, frame);
        self.settle();
    }

    /// The frames that `who` received since the last call.
    pub(crate) fn received(&mut self, who: Who) -> Vec<Received> {
        std::mem::take(&mut self.stations[who].frames)
    }

    fn next_moment(&self) -> Option<Time> {
        let timers = self
            .stations
            .iter()
            .filter_map(|station| station.node.deadline());
        timers
            .chain(self.in_flight.front().map(|datagram| datagram.at))
            .min()
    }

    /// Handles what is due now.
    fn step(&mut self) {
        while self
            .in_flight
            .front()
            .is_some_and(|datagram| datagram.at <= self.now)
        {
            let Some(mut datagram) = self.in_flight.pop_front() else {
                break;
            };
            let mut stations = self.stations.iter_mut();
            if let Some(station) = stations.find(|station| station.endpoint == datagram.to) {
                let frames = &mut station.frames;
                station.node.handle_datagram(
                    self.now,
                    SOCKET,
                    datagram.from,
                    &mut datagram.bytes,
                    &mut |_, frame| frames.push(Received::of(frame)),
                );
            }
            self.settle();
        }
        for station in &mut self.stations {
            if station
                .node
                .deadline()
                .is_some_and(|deadline| deadline <= self.now)
            {
                let frames = &mut station.frames;
                station
                    .node
                    .handle_timeout(self.now, &mut |_, frame| frames.push(Received::of(frame)));
            }
        }
        self.settle();
    }

    /// Carries everything that the nodes want: events to the controller, effects back, datagrams
    /// onto the link.
    fn settle(&mut self) {
        for who in 0..self.stations.len() {
            while let Some(event) = self.stations[who].node.poll_event() {
                self.handle_event(who, event);
            }
        }
        while let Some(effect) = self.controller.poll_effect() {
            let (now, node) = (self.now, &mut self.stations[ROOT].node);
            match effect {
                Effect::PushConfig {
                    network,
                    member,
                    dictionary,
                } => {
                    node.push_config(now, network, member, &dictionary);
                }
                Effect::Revoke {
                    network,
                    targets,
                    revocation,
                } => {
                    node.send_revocation(now, network, &targets, &revocation);
                }
            }
        }
        for who in 0..self.stations.len() {
            self.transmit(who);
        }
    }

    fn handle_event(&mut self, who: Who, event: Event) {
        match event {
            Event::ConfigRequest(request) => {
                assert_eq!(who, ROOT, "only the controller is asked");
                self.requests += 1;
                let answer = self.controller.handle_request(
                    self.now,
                    &request.member,
                    request.network,
                    &request.metadata,
                );
                self.stations[who]
                    .node
                    .answer_config_request(self.now, request.ticket, answer);
            }
            Event::ConfigStored { dictionary, .. } => self.stations[who].stored = Some(dictionary),
            _ => {}
        }
    }

    fn transmit(&mut self, who: Who) {
        let endpoints: BTreeMap<SocketAddr, Who> = self
            .stations
            .iter()
            .enumerate()
            .map(|(who, s)| (s.endpoint, who))
            .collect();
        let station = &mut self.stations[who];
        while let Some(transmit) = station.node.poll_transmit() {
            for bytes in transmit.datagrams() {
                self.datagrams += 1;
                assert!(bytes.len() <= 1500, "stock nodes cut longer datagrams");
                // Junk that opens firewalls does not get far (VL1 §4.10).
                let arrives = transmit.ttl.is_none()
                    && endpoints
                        .get(&transmit.remote)
                        .is_some_and(|&to| !(self.lose)(who, to, bytes));
                if arrives {
                    self.in_flight.push_back(Datagram {
                        at: self.now + DELAY,
                        from: station.endpoint,
                        to: transmit.remote,
                        bytes: bytes.to_vec(),
                    });
                }
            }
            station.node.transmit_done();
        }
    }
}

impl Received {
    fn of(frame: Frame<'_>) -> Self {
        Self {
            src: frame.src,
            dst: frame.dst,
            ethertype: frame.ethertype,
            payload: frame.payload.to_vec(),
        }
    }
}

/// An ARP request for `target`.
pub(crate) fn arp_request(
    source: Mac,
    sender: std::net::Ipv4Addr,
    target: std::net::Ipv4Addr,
) -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend(source.0);
    arp.extend(sender.octets());
    arp.extend([0; 6]);
    arp.extend(target.octets());
    arp
}

/// SplitMix64.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
