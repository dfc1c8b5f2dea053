//! A configuration in force: as parsed, and what follows from it.

use std::cell::Cell;
use std::net::IpAddr;

use super::membership::Window;
use super::status::NetworkStatus;
use crate::inet::IpPrefix;
use crate::network_config::Role;
use crate::rule::{Action, Match, Rule};
use crate::verb::NetworkCredentials;
use crate::vl1::Vl1;
use crate::wire::Emit;
use crate::{Address, NetworkConfig, NetworkId, Time, Verb};

/// Bytes of credentials that go into one packet; larger sets are spread over several.
const CREDENTIALS_PER_PACKET: usize = 9_000;
/// TCP flags that differ among the segments of one burst: FIN, PSH, URG, CWR.
const VARYING_TCP_FLAGS: u64 = 0x01 | 0x08 | 0x20 | 0x80;

/// A configuration that was accepted.
#[derive(Debug)]
pub(super) struct Config {
    /// The dictionary as it came.
    pub(super) dictionary: Vec<u8>,
    pub(super) parsed: NetworkConfig,
    /// Bodies of NETWORK_CREDENTIALS that carry all our credentials.
    pub(super) credentials: Vec<Vec<u8>>,
    /// Our capabilities by ascending id, with their rules.
    pub(super) capabilities: Vec<(u32, Vec<Rule>)>,
    /// Every frame passes: the rules need not be asked.
    pub(super) accepts_all: bool,
    /// The rules look at what differs among the frames of one burst.
    pub(super) asks_every_frame: bool,
    /// State of the generator behind rules that match at random.
    random: Cell<u64>,
}

impl Config {
    /// Reads a dictionary meant for `own` on `network`; `None` if it is not that.
    pub(super) fn read(
        dictionary: Vec<u8>,
        network: NetworkId,
        own: Address,
        seed: u64,
    ) -> Option<Self> {
        let parsed = NetworkConfig::parse(&dictionary).ok()?;
        if parsed.network != network || parsed.issued_to != own {
            return None;
        }
        Some(Self::new(parsed, dictionary, seed))
    }

    /// A configuration that no controller gave.
    pub(super) fn local(parsed: NetworkConfig, seed: u64) -> Self {
        Self::new(parsed, Vec::new(), seed)
    }

    fn new(parsed: NetworkConfig, dictionary: Vec<u8>, seed: u64) -> Self {
        let capabilities = parsed.capabilities.iter();
        let capabilities: Vec<_> = capabilities.map(|held| (held.id, held.rules())).collect();
        let mut all_rules = parsed
            .rules
            .iter()
            .chain(capabilities.iter().flat_map(|(_, r)| r));
        Self {
            dictionary,
            credentials: credential_packets(&parsed),
            accepts_all: matches!(parsed.rules.first(), Some(Rule::Action(Action::Accept))),
            asks_every_frame: all_rules.any(varies_within_a_flow),
            capabilities,
            random: Cell::new(seed),
            parsed,
        }
    }

    /// Fills in what the owner sees.
    pub(super) fn describe(&self, status: &mut NetworkStatus) {
        let parsed = &self.parsed;
        status.name.clone_from(&parsed.name);
        status.public = parsed.is_public;
        status.mtu = parsed.mtu;
        status.revision = parsed.revision;
        status.bridge = self.is_active_bridge(parsed.issued_to);
        status.broadcast = parsed.has(NetworkConfig::ENABLE_BROADCAST);
        status.addresses.clone_from(&parsed.addresses);
        status.routes.clone_from(&parsed.routes);
        status.dns.clone_from(&parsed.dns);
    }

    /// Which times of issue count beside this configuration (VL2 §3.8).
    pub(super) fn window(&self) -> Window {
        Window {
            centre: self.parsed.timestamp,
            max_delta: self.parsed.credential_max_delta,
        }
    }

    /// Sends all our credentials to `peer`.
    pub(super) fn push(&self, now: Time, vl1: &mut Vl1, peer: Address) {
        for body in &self.credentials {
            vl1.send(now, peer, Verb::NETWORK_CREDENTIALS, body, false);
        }
    }

    /// The active bridges of the network.
    pub(super) fn active_bridges(&self) -> impl Iterator<Item = Address> {
        self.with_role(Role::ActiveBridge)
    }

    /// Whether `member` may send the frames of others.
    pub(super) fn is_active_bridge(&self, member: Address) -> bool {
        self.active_bridges().any(|bridge| bridge == member)
    }

    /// The nodes that send multicasts on for others.
    pub(super) fn replicators(&self) -> impl Iterator<Item = Address> {
        self.with_role(Role::MulticastReplicator)
    }

    /// Nodes that hear of our groups whatever happens (VL2 §2.8).
    pub(super) fn always_contact(&self) -> impl Iterator<Item = Address> {
        self.with_role(Role::Anchor).chain(self.replicators())
    }

    fn with_role(&self, role: Role) -> impl Iterator<Item = Address> {
        let specialists = self.parsed.specialists.iter();
        specialists
            .filter(move |specialist| specialist.is(role))
            .map(|specialist| specialist.address())
    }

    /// Whether `ip` belongs to somebody by the way it is derived from addresses, on a network on
    /// which our own are derived the same way (VL2 §3.8).
    pub(super) fn shares_derived_prefix(&self, ip: IpAddr) -> bool {
        self.parsed.has(NetworkConfig::NDP_EMULATION)
            && self.derived_addresses().any(|own| own.contains(ip))
    }

    /// Our own addresses that are derived from our node's address (VL2 §1.3).
    pub(super) fn derived_addresses(&self) -> impl Iterator<Item = &IpPrefix> {
        let (network, own) = (self.parsed.network, self.parsed.issued_to);
        self.parsed.addresses.iter().filter(move |prefix| {
            let derived = match prefix.bits() {
                88 => network.rfc4193_address(own),
                40 => network.six_plane_address(own),
                _ => return false,
            };
            prefix.address() == derived
        })
    }

    /// A number for rules that match at random; nothing secret depends on it.
    pub(super) fn random(&self) -> u32 {
        // SplitMix64.
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32) as u32
    }
}

/// Whether a rule may judge the frames of one flow differently.
fn varies_within_a_flow(rule: &Rule) -> bool {
    match rule {
        Rule::Action(_) => false,
        Rule::Match { test, .. } => match test {
            Match::FrameSize(..) | Match::Random(_) | Match::Integer { .. } => true,
            Match::Characteristics(mask) => mask & VARYING_TCP_FLAGS != 0,
            _ => false,
        },
    }
}

/// Our credentials as bodies of NETWORK_CREDENTIALS, the certificate of membership first: of
/// several packets a receiver may look at the first only (VL2 §3.6).
fn credential_packets(config: &NetworkConfig) -> Vec<Vec<u8>> {
    let mut packing = Packing::default();
    if let Some(certificate) = &config.membership {
        packing.make_room(certificate.wire_len());
        packing.packet.memberships.push(certificate.clone());
    }
    for capability in &config.capabilities {
        packing.make_room(capability.wire_len());
        packing.packet.capabilities.push(capability.clone());
    }
    for tag in &config.tags {
        packing.make_room(tag.wire_len());
        packing.packet.tags.push(tag.clone());
    }
    for ownership in &config.ownerships {
        packing.make_room(ownership.wire_len());
        packing.packet.ownerships.push(ownership.clone());
    }
    packing.close();
    packing.packets
}

/// Credentials being laid into packets.
#[derive(Default)]
struct Packing {
    packets: Vec<Vec<u8>>,
    packet: NetworkCredentials,
    used: usize,
}

impl Packing {
    /// Closes the packet unless `bytes` more fit into it.
    fn make_room(&mut self, bytes: usize) {
        if self.used + bytes > CREDENTIALS_PER_PACKET {
            self.close();
        }
        self.used += bytes;
    }

    fn close(&mut self) {
        self.used = 0;
        let packet = std::mem::take(&mut self.packet);
        if packet != NetworkCredentials::default() {
            self.packets.push(packet.to_bytes());
        }
    }
}
