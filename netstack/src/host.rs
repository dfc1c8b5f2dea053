//! The host: takes frames to the protocols and flows, and collects what they send.
//!
//! | module | its part |
//! |---|---|
//! | [`ingress`] | a frame to its protocol: addresses, ICMP, and the questions of neighbours |
//! | [`segments`] | a TCP segment to its flow, listener, or the reset that answers it; what changed, as events |
//! | [`turns`] | what flows send, whose turn it is, and their timers |
//! | [`sockets`] | listen, connect, close |
//! | [`datagrams`] | UDP sockets: bind, connect, receive, groups |
//! | [`delivery`] | a datagram to its sockets, fragments to a packet |
//! | [`sending`] | datagrams that leave |

mod datagrams;
mod delivery;
mod ingress;
mod segments;
mod sending;
mod sockets;
mod turns;

pub use sockets::{ConnectError, ListenError};

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::config::{Buffers, HostConfig};
use crate::counters::Counters;
use crate::demux::{SecretHash, Tuple};
use crate::event::{ConnectFailure, FlowId, HostEvent, ResetReason};
use crate::flow::{FlowRef, FlowTable};
use crate::fragment::Cut;
use crate::held::HeldBack;
use crate::icmp::RateLimit;
use crate::listener::Listeners;
use crate::names::RESOLVER;
use crate::neighbour::{Mac, Neighbours};
use crate::packet::ethertype_of;
use crate::reassembly::Reassembly;
use crate::replies::Replies;
use crate::route::RouteTable;
use crate::tcp::Shared;
use crate::time::Instant;
use crate::time_wait::TimeWait;
use crate::timer::TimerQueue;
use crate::udp;

use turns::Speaker;

/// The smallest and largest MTU that a host works with: what IPv4 demands (RFC 791 §3.2), and more than a ZeroTier
/// network can have.
const MTU: std::ops::RangeInclusive<usize> = 576..=16_384;

/// One IP host on one virtual network.
pub struct Host {
    mac: Mac,
    mtu: usize,
    routes: RouteTable,
    buffers: Buffers,
    random: Random,
    pub(crate) now: Instant,

    tcp: Shared,
    pub(crate) flows: FlowTable,
    demux: HashMap<Tuple, FlowId, SecretHash>,
    listeners: Listeners,
    handshakes: usize,
    time_wait: TimeWait,
    next_port: u16,
    /// See [`Host::returns`]; no longer once it has addresses.
    returns: bool,
    /// See [`Host::is_coming`].
    there_from: Instant,

    udp: udp::Table,
    /// Datagrams whose next hop is not known yet.
    held: HeldBack,
    reassembly: Reassembly,
    next_fragment_id: u32,
    /// The fragment that leaves.
    fragment: Vec<u8>,

    neighbours: Neighbours<Speaker>,
    icmp_limit: RateLimit,

    timers: TimerQueue<FlowId>,
    /// Flows and sockets that may have something to send.
    turns: VecDeque<Speaker>,
    replies: Replies,
    /// Packets to ourselves.
    looped: VecDeque<Vec<u8>>,
    events: VecDeque<HostEvent>,
    counters: Counters,
}

/// How long a host is [coming](Host::is_coming): a SYN is repeated after a second.
const COMING: Duration = Duration::from_secs(1);

impl Host {
    /// A host with these addresses. `seed` makes sequence numbers, ports and hashes hard to guess; it must differ
    /// between starts.
    #[must_use]
    pub fn new(config: HostConfig, seed: u64) -> Host {
        let mut random = Random::new(seed);
        let hash = SecretHash::new(random.draw());
        let mtu = config.mtu.clamp(*MTU.start(), *MTU.end());
        let buffers = Buffers::default();
        let mut host = Host {
            mac: config.mac,
            mtu,
            routes: RouteTable::new(&config),
            buffers,
            now: Instant::default(),
            tcp: Shared::new(mtu, buffers, random.draw()),
            flows: FlowTable::default(),
            demux: HashMap::with_hasher(hash),
            listeners: Listeners::default(),
            handshakes: 0,
            time_wait: TimeWait::new(hash),
            next_port: sockets::any_ephemeral(&mut random),
            returns: false,
            there_from: Instant::default(),
            udp: udp::Table::new(hash),
            held: HeldBack::new(hash),
            reassembly: Reassembly::new(hash),
            next_fragment_id: random.draw() as u32,
            fragment: Vec::new(),
            neighbours: Neighbours::new(hash),
            icmp_limit: RateLimit::new(),
            timers: TimerQueue::new(),
            turns: VecDeque::new(),
            replies: Replies::default(),
            looped: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            random,
        };
        let own: Vec<_> = host.addresses().collect();
        own.into_iter().for_each(|ip| host.announce(ip));
        host
    }

    /// Replaces the configuration. Flows of addresses that stay go on; others end with
    /// [`AddressGone`](ResetReason::AddressGone). New addresses are announced.
    pub fn configure(&mut self, now: Instant, config: HostConfig) {
        self.now = now;
        let routes = RouteTable::new(&config);
        let added: Vec<_> = routes
            .addresses()
            .filter(|ip| !self.routes.is_own(*ip))
            .collect();
        if self.returns && !added.is_empty() {
            self.returns = false;
            self.there_from = now + COMING;
        }
        let moved = self.mac != config.mac;
        self.mac = config.mac;
        self.routes = routes;
        let mtu = config.mtu.clamp(*MTU.start(), *MTU.end());
        if mtu != self.mtu {
            self.mtu = mtu;
            let seed = self.random.draw();
            self.tcp.set_mtu(mtu, seed);
        }

        let ids: Vec<_> = self.flows.ids().collect();
        for id in ids {
            let Some(flow) = self.flows.get_mut(id) else {
                continue;
            };
            match self.routes.way_to(flow.remote.ip()) {
                _ if !self.routes.is_own(flow.local.ip()) => self.lose_address(id),
                Some(way) => flow.hop = way.hop,
                // Without a route it goes on trying where it was, as an established connection may.
                None => {}
            }
        }
        for speaker in self.neighbours.clear() {
            self.wake(speaker);
        }
        let announced: Vec<_> = if moved {
            self.addresses().collect()
        } else {
            added
        };
        announced.into_iter().for_each(|ip| self.announce(ip));
    }

    /// Says that this host takes the place of one that was gone for a while. For a moment after it has its addresses
    /// nobody is refused: programs take their ports again, and who connects will ask again.
    pub fn returns(&mut self) {
        self.returns = true;
    }

    /// Whether the host is back since a moment ago.
    fn is_coming(&self) -> bool {
        self.now < self.there_from
    }

    /// Ring sizes of the flows to come.
    pub fn set_buffers(&mut self, buffers: Buffers) {
        if buffers != self.buffers {
            self.buffers = buffers;
            self.tcp.set_buffers(buffers);
        }
    }

    /// Runs every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.time_wait.expire(now);
        for (_, waiting) in self.neighbours.handle_timeout(now) {
            self.counters.neighbour_failed += 1;
            waiting
                .into_iter()
                .for_each(|speaker| self.hop_is_gone(speaker));
        }
        self.counters.reassembly_timeout += self.reassembly.handle_timeout(now);
        while let Some((at, id)) = self.timers.pop_due(now) {
            self.timer_fired(id, at);
        }
    }

    /// When [`handle_timeout`](Host::handle_timeout) wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        [
            self.timers.next(),
            self.neighbours.deadline(),
            self.reassembly.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next thing that the owner must know.
    pub fn poll_event(&mut self) -> Option<HostEvent> {
        loop {
            let event = self.events.pop_front()?;
            match event {
                HostEvent::GroupsChanged => return Some(event),
                HostEvent::Udp(id, what) if self.udp_reported(id, what) => return Some(event),
                _ => {}
            }
            let (HostEvent::Accepted { flow: id, .. }
            | HostEvent::Connected(id)
            | HostEvent::ConnectFailed(id, _)
            | HostEvent::Readable(id)
            | HostEvent::Writable(id)
            | HostEvent::RemoteFinished(id)
            | HostEvent::Reset(id, _)
            | HostEvent::Closed(id)) = event
            else {
                continue;
            };
            if let HostEvent::Accepted { listener, .. } = event {
                self.listeners.reported(listener);
            }
            let Some(flow) = self.flows.get_mut(id).filter(|flow| flow.is_owned()) else {
                continue;
            };
            match event {
                HostEvent::Readable(_) => flow.marks.readable = false,
                HostEvent::Writable(_) => flow.marks.writable = false,
                _ => {}
            }
            return Some(event);
        }
    }

    /// The flow of that name, unless the owner gave it up.
    pub fn flow(&mut self, id: FlowId) -> Option<FlowRef<'_>> {
        self.flows.get(id).filter(|flow| flow.is_owned())?;
        Some(FlowRef { host: self, id })
    }

    /// How many flows there are, those included that wind down without an owner.
    #[must_use]
    pub fn flow_count(&self) -> usize {
        self.flows.len()
    }

    /// Whether an address can be reached through this host.
    #[must_use]
    pub fn routes_to(&self, ip: IpAddr) -> bool {
        ip == RESOLVER || self.routes.way_to(ip).is_some()
    }

    /// Own addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.routes.addresses()
    }

    /// What became of packets and connections.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Queues a packet that needs no flow; a small one, unless it answers a large one.
    fn reply(&mut self, dst: Mac, ip: IpAddr, len: usize, fill: impl FnOnce(&mut [u8])) {
        if dst == self.mac {
            let mut packet = vec![0; len];
            fill(&mut packet);
            self.looped.push_back(packet);
        } else if len > self.mtu {
            let mut packet = vec![0; len];
            fill(&mut packet);
            if !self.push_large(dst, ip, &packet) {
                self.counters.replies_dropped += 1;
            }
        } else if self.replies.push(dst, ethertype_of(ip), len, fill) {
            self.counters.packets_out += 1;
        } else {
            self.counters.replies_dropped += 1;
        }
    }

    /// Queues a packet in as many fragments as it needs. Returns whether there was room for all.
    fn push_large(&mut self, dst: Mac, ip: IpAddr, packet: &[u8]) -> bool {
        let mut cut = self.next_cut();
        loop {
            let last = cut.next(packet, self.mtu, &mut self.fragment);
            let len = self.fragment.len();
            let pushed = self.replies.push(dst, ethertype_of(ip), len, |out| {
                out.copy_from_slice(&self.fragment)
            });
            self.counters.packets_out += u64::from(pushed);
            if last || !pushed {
                return pushed;
            }
        }
    }

    fn next_cut(&mut self) -> Cut {
        self.next_fragment_id = self.next_fragment_id.wrapping_add(1);
        Cut::new(self.next_fragment_id)
    }

    fn lose_address(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if flow.marks.ended {
            return;
        }
        // Nothing may leave from an address that is no longer ours.
        flow.marks.muted = true;
        let event = if flow.marks.established {
            HostEvent::Reset(id, ResetReason::AddressGone)
        } else {
            HostEvent::ConnectFailed(id, ConnectFailure::Unreachable)
        };
        self.end(id, Some(event));
    }
}

/// SplitMix64: enough for seeds and ports, which also hide behind the encryption of the network.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
