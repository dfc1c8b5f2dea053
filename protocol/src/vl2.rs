//! VL2, the virtual networks (VL2 §1–§4): joining them, proving membership, and carrying Ethernet
//! frames between members.
//!
//! [`Vl2`] is a state machine above [`Vl1`], which it is handed wherever it may have to send.
//! Nothing below an authentic packet is known here, and nothing above an Ethernet frame.
//!
//! | module | subject |
//! |---|---|
//! | `receive` | frames from other members: the gate, the rules, delivery |
//! | `send` | frames of the owner: to one member, to a bridge, in bursts |
//! | `multicast` | groups: announcing, gathering, sending |
//! | `credentials` | other members' credentials; refusals and what is kept meanwhile |
//! | `configuration` | asking a controller, and being one |
//! | `network`, `config`, `membership` | one network, its configuration, one other member |
//! | `filter` | what the rules say about a frame |
//! | `adhoc`, `ndp` | what follows from ids alone: networks, neighbours |
//! | `request`, `limiter`, `kept`, `listeners`, `bridge`, `issued` | tools |

mod adhoc;
mod bridge;
mod config;
mod configuration;
mod counters;
mod credentials;
mod filter;
mod frame;
mod issued;
mod kept;
mod limiter;
mod listeners;
mod membership;
mod multicast;
mod ndp;
mod network;
mod receive;
mod request;
mod send;
mod status;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

pub use counters::Counters;
pub use frame::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame};
pub use status::{NetworkStatus, Status};

use crate::node::Event;
use crate::rule;
use crate::vl1::{Inbound, Vl1};
use crate::{Address, Mac, MulticastGroup, NetworkId, Time, Verb};
use credentials::Waiting;
use issued::Issued;
use kept::KeptFrames;
use limiter::Limiter;
use listeners::Listeners;
use network::Network;
use send::Looped;

/// Where accepted frames go: lent while the packet that carried them is still in its buffer.
pub type FrameSink<'a> = &'a mut dyn FnMut(NetworkId, Frame<'_>);

/// Expired entries of all lists are dropped this often (VL2 §4.5).
const HOUSEKEEPING: Duration = Duration::from_secs(30);
/// Packets of credentials that one peer may make us verify in a second.
const CREDENTIAL_PACKETS: u32 = 16;

/// The VL2 state machine of one node.
#[derive(Debug)]
pub struct Vl2 {
    own: Address,
    networks: HashMap<NetworkId, Network>,
    listeners: Listeners,
    issued: Issued,
    kept: KeptFrames,
    waiting: VecDeque<Waiting>,
    /// Networks whose kept frames are to be tried again when there is somebody to take them.
    retry: Vec<NetworkId>,
    looped: VecDeque<Looped>,
    credential_limit: Limiter,
    refusal_limit: Limiter,
    next_housekeeping: Time,
    events: VecDeque<Event>,
    counters: Counters,
    rng: ChaCha12Rng,
    /// For frames that must exist before they are sent.
    scratch: Vec<u8>,
}

impl Vl2 {
    /// A node on no network.
    pub(crate) fn new(own: Address, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        // VL1 draws from stream 0 of the same seed.
        rng.set_stream(1);
        let second = Duration::from_secs(1);
        Self {
            own,
            networks: HashMap::new(),
            listeners: Listeners::default(),
            issued: Issued::default(),
            kept: KeptFrames::default(),
            waiting: VecDeque::new(),
            retry: Vec::new(),
            looped: VecDeque::new(),
            credential_limit: Limiter::new(CREDENTIAL_PACKETS, second),
            refusal_limit: Limiter::new(1, second),
            next_housekeeping: Time::NEVER,
            events: VecDeque::new(),
            counters: Counters::default(),
            rng,
            scratch: Vec::new(),
        }
    }

    /// What was carried and what was dropped.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn join(&mut self, now: Time, vl1: &mut Vl1, id: NetworkId, cached: Option<&[u8]>) {
        if self.networks.contains_key(&id) {
            return;
        }
        self.networks.insert(id, Network::new(now, id, self.own));
        if let Some(dictionary) = cached {
            self.restore(id, dictionary);
        }
        self.request_config(now, vl1, id);
    }

    pub(crate) fn set_join_token(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        id: NetworkId,
        token: Option<String>,
    ) {
        if let Some(network) = self.networks.get_mut(&id)
            && network.token != token
        {
            network.token = token;
            network.request.restart(now);
            self.request_due(now, vl1);
        }
    }

    pub(crate) fn leave(&mut self, id: NetworkId) -> bool {
        let left = self.networks.remove(&id).is_some();
        if left {
            self.events.push_back(Event::NetworkDown(id));
        }
        left
    }

    pub(crate) fn networks(&self) -> Vec<NetworkStatus> {
        let mut networks: Vec<_> = self.networks.values().map(Network::describe).collect();
        networks.sort_by_key(|network| network.id);
        networks
    }

    pub(crate) fn network(&self, id: NetworkId) -> Option<NetworkStatus> {
        self.networks.get(&id).map(Network::describe)
    }

    pub(crate) fn set_groups(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        id: NetworkId,
        groups: &[MulticastGroup],
    ) {
        if let Some(network) = self.networks.get_mut(&id) {
            network.set_groups(now, vl1, groups);
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Treats one packet that VL1 authenticated.
    pub(crate) fn handle_packet(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        inbound: &Inbound<'_>,
        frames: FrameSink<'_>,
    ) {
        match inbound.verb {
            Verb::FRAME => self.handle_frame(now, vl1, inbound, frames),
            Verb::EXT_FRAME => self.handle_ext_frame(now, vl1, inbound, frames),
            Verb::MULTICAST_FRAME => self.handle_multicast_frame(now, vl1, inbound, frames),
            Verb::NETWORK_CREDENTIALS => self.handle_credentials(now, vl1, inbound, frames),
            Verb::MULTICAST_LIKE => self.handle_likes(now, vl1, inbound),
            Verb::MULTICAST_GATHER => self.handle_gather(now, vl1, inbound),
            Verb::NETWORK_CONFIG_REQUEST => self.handle_config_request(vl1, inbound),
            Verb::NETWORK_CONFIG => self.handle_pushed_config(now, vl1, inbound, frames),
            Verb::OK => self.handle_ok(now, vl1, inbound, frames),
            Verb::ERROR => self.handle_error(now, vl1, inbound),
            _ => {}
        }
    }

    /// Runs every timer that is due.
    pub(crate) fn handle_timeout(&mut self, now: Time, vl1: &mut Vl1, frames: FrameSink<'_>) {
        self.deliver_looped(frames);
        for network in std::mem::take(&mut self.retry) {
            for kept in self.kept.take_all(now, network) {
                self.handle_packet(now, vl1, &kept.as_inbound(), frames);
            }
        }
        self.request_due(now, vl1);
        for network in self.networks.values_mut() {
            if network.announce_due().is_some_and(|due| due <= now) {
                network.announce_all(now, vl1);
            }
        }
        if self.next_housekeeping <= now {
            self.next_housekeeping = now + HOUSEKEEPING;
            self.listeners.expire(now);
            self.issued.expire(now);
            self.credential_limit.expire(now);
            self.refusal_limit.expire(now);
            for network in self.networks.values_mut() {
                network.expire(now);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub(crate) fn deadline(&self) -> Option<Time> {
        if !self.retry.is_empty() || !self.looped.is_empty() {
            return Some(Time::NEVER);
        }
        let idle = self.listeners.is_empty() && self.networks.is_empty();
        let housekeeping = (!idle).then_some(self.next_housekeeping);
        let networks = self.networks.values();
        let timers =
            networks.flat_map(|network| [Some(network.request.due()), network.announce_due()]);
        timers.flatten().chain(housekeeping).min()
    }

    /// An upstream answers now that did not before: what was sent meanwhile may be lost.
    pub(crate) fn upstream_reachable(&mut self, now: Time, vl1: &mut Vl1) {
        self.hurry_unanswered(now, |_| true);
        self.request_due(now, vl1);
        for network in self.networks.values_mut() {
            if network.config.is_some() {
                network.announce_all(now, vl1);
            }
        }
    }

    /// A peer is known or can be reached that could not be before: what waits for it goes on.
    pub(crate) fn peer_known(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        peer: Address,
        frames: FrameSink<'_>,
    ) {
        self.hurry_unanswered(now, |network| network.controller() == peer);
        self.request_due(now, vl1);
        self.retry_waiting(now, vl1, peer, frames);
    }

    /// Hastens the requests of networks whose controller has not answered since the start.
    fn hurry_unanswered(&mut self, now: Time, concerned: impl Fn(NetworkId) -> bool) {
        for network in self.networks.values_mut() {
            if network.config_since == Time::NEVER && concerned(network.id) {
                network.request.hurry(now);
            }
        }
    }

    /// Asks for the configurations whose time it is.
    fn request_due(&mut self, now: Time, vl1: &mut Vl1) {
        let networks = self.networks.values();
        let due = networks.filter(|network| network.request.due() <= now);
        let due: Vec<_> = due.map(|network| network.id).collect();
        for id in due {
            self.request_config(now, vl1, id);
        }
    }
}

/// A frame between this node and `peer` as the rules see it.
fn rules_frame(
    own: Address,
    inbound: bool,
    peer: Address,
    source: Mac,
    destination: Mac,
    ethertype: u16,
    payload: &[u8],
) -> rule::Frame<'_> {
    let (source_node, destination_node) = if inbound { (peer, own) } else { (own, peer) };
    rule::Frame {
        inbound,
        own,
        source_node,
        destination_node,
        source,
        destination,
        ethertype,
        payload,
    }
}
