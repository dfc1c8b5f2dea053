//! One joined network: its configuration, its members as we know them, and its timers.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::bridge::BridgeRoutes;
use super::config::Config;
use super::membership::{ANNOUNCE_INTERVAL, Membership};
use super::multicast::Outbox;
use super::request::RequestTimer;
use super::status::{NetworkStatus, Status};
use crate::network_config::{Assembly, Dns};
use crate::verb::MulticastLike;
use crate::vl1::Vl1;
use crate::wire::Emit;
use crate::{Address, Mac, MulticastGroup, NetworkConfig, NetworkId, Time, Verb};

/// MTU before the first configuration (VL2 §7.4).
const DEFAULT_MTU: u16 = 2800;
/// New groups are announced a second time after this long, in case the first was lost.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);

/// A network that this node joined.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) id: NetworkId,
    /// This node's address and MAC.
    pub(super) own: Address,
    pub(super) mac: Mac,
    pub(super) config: Option<Config>,
    /// When the configuration was last received; not when it was loaded.
    pub(super) config_since: Time,
    /// Why the controller does not give us a configuration.
    pub(super) failure: Option<Status>,
    /// A secret that may open the network for us.
    pub(super) token: Option<String>,
    pub(super) request: RequestTimer,
    pub(super) assembly: Assembly,
    pub(super) members: HashMap<Address, Membership>,
    pub(super) groups: BTreeSet<MulticastGroup>,
    pub(super) multicasts: HashMap<MulticastGroup, Outbox>,
    pub(super) bridges: BridgeRoutes,
    announce_due: Time,
}

impl Network {
    pub(super) fn new(now: Time, id: NetworkId, own: Address) -> Self {
        Self {
            id,
            own,
            mac: Mac::of(own, id),
            config: None,
            config_since: Time::NEVER,
            failure: None,
            token: None,
            request: RequestTimer::new(now),
            assembly: Assembly::default(),
            members: HashMap::new(),
            groups: BTreeSet::new(),
            multicasts: HashMap::new(),
            bridges: BridgeRoutes::default(),
            announce_due: now,
        }
    }

    pub(super) fn status(&self) -> Status {
        match (self.failure, &self.config) {
            (Some(failure), _) => failure,
            (None, Some(_)) => Status::Ok,
            (None, None) => Status::RequestingConfiguration,
        }
    }

    pub(super) fn describe(&self) -> NetworkStatus {
        let mut status = NetworkStatus {
            id: self.id,
            mac: self.mac,
            name: String::new(),
            status: self.status(),
            public: false,
            mtu: DEFAULT_MTU,
            revision: 0,
            bridge: false,
            broadcast: false,
            addresses: Vec::new(),
            routes: Vec::new(),
            dns: Dns::default(),
            groups: self.groups.iter().copied().collect(),
        };
        if let Some(config) = &self.config {
            config.describe(&mut status);
        }
        status
    }

    /// Whether `peer` may send to us on this network (VL2 §3.7).
    pub(super) fn admits(&mut self, vl1: &Vl1, peer: Address) -> bool {
        let Some(config) = &self.config else {
            return false;
        };
        if config.parsed.is_public {
            return true;
        }
        let Some(ours) = &config.parsed.membership else {
            return false;
        };
        let Some(identity) = vl1.identity_of(peer) else {
            return false;
        };
        self.members
            .get_mut(&peer)
            .is_some_and(|member| member.is_admitted(ours, identity))
    }

    /// Takes a new configuration. Whether it differs from the old one for the owner.
    pub(super) fn configure(&mut self, config: Config) -> bool {
        let before = self.describe();
        self.config = Some(config);
        self.failure = None;
        for member in self.members.values_mut() {
            member.forget_verdict();
        }
        before != self.describe()
    }

    /// Sends our credentials to `peer` if it may not have them (VL2 §3.6).
    pub(super) fn push_if_needed(&mut self, now: Time, vl1: &mut Vl1, peer: Address) {
        let Some(config) = &self.config else { return };
        if config.credentials.is_empty() {
            return;
        }
        let member = self.members.entry(peer).or_default();
        if member.needs_push(now, self.config_since) {
            config.push(now, vl1, peer);
            member.pushed(now);
        }
    }

    /// Sends our credentials to `peer`, who says that it needs them.
    pub(super) fn push_on_request(&mut self, now: Time, vl1: &mut Vl1, peer: Address) {
        let Some(config) = &self.config else { return };
        if config.credentials.is_empty() {
            return;
        }
        let member = self.members.entry(peer).or_default();
        if member.may_push_on_request(now) {
            config.push(now, vl1, peer);
            member.pushed_on_request(now);
        }
    }

    /// Replaces the groups we listen to; announces those that are new.
    pub(super) fn set_groups(&mut self, now: Time, vl1: &mut Vl1, groups: &[MulticastGroup]) {
        let groups: BTreeSet<_> = groups.iter().copied().collect();
        let new: Vec<_> = groups.difference(&self.groups).copied().collect();
        self.groups = groups;
        if new.is_empty() {
            return;
        }
        self.announce(now, vl1, &new);
        self.announce_due = self.announce_due.min(now + ANNOUNCE_AGAIN);
    }

    /// Announces all our groups to everybody who should know (VL2 §4.4).
    pub(super) fn announce_all(&mut self, now: Time, vl1: &mut Vl1) {
        let groups = self.announced_groups();
        self.announce(now, vl1, &groups);
        self.announce_due = now + ANNOUNCE_INTERVAL;
    }

    /// Announces all our groups to `peer`, unless that was done lately.
    pub(super) fn announce_to(&mut self, now: Time, vl1: &mut Vl1, peer: Address) {
        let member = self.members.entry(peer).or_default();
        if member.needs_announcement(now) {
            member.announced(now);
            send_likes(now, vl1, self.id, peer, &self.announced_groups());
        }
    }

    /// Forgets members who are gone.
    pub(super) fn expire(&mut self, now: Time) {
        let Some(config) = &self.config else { return };
        let window = config.window();
        self.members
            .retain(|_, member| !member.is_stale(now, window));
    }

    pub(super) fn announce_due(&self) -> Option<Time> {
        self.config.as_ref().map(|_| self.announce_due)
    }

    fn announced_groups(&self) -> Vec<MulticastGroup> {
        let mut groups: Vec<_> = self.groups.iter().copied().collect();
        let flag = NetworkConfig::ENABLE_BROADCAST;
        let broadcast = self
            .config
            .as_ref()
            .is_some_and(|config| config.parsed.has(flag));
        if broadcast && !self.groups.contains(&MulticastGroup::BROADCAST) {
            groups.push(MulticastGroup::BROADCAST);
        }
        groups
    }

    fn announce(&mut self, now: Time, vl1: &mut Vl1, groups: &[MulticastGroup]) {
        let mut recipients: BTreeSet<_> = vl1.upstreams().collect();
        recipients.insert(self.id.controller());
        if let Some(config) = &self.config {
            recipients.extend(config.always_contact());
        }
        let members: Vec<_> = self.members.keys().copied().collect();
        for peer in members {
            if self.admits(vl1, peer) {
                recipients.insert(peer);
                if let Some(member) = self.members.get_mut(&peer) {
                    member.announced(now);
                }
            }
        }
        recipients.remove(&self.own);
        for peer in recipients {
            send_likes(now, vl1, self.id, peer, groups);
        }
    }
}

/// Groups of one announcement; as many as fit into one datagram.
const GROUPS_PER_PACKET: usize = 75;

fn send_likes(
    now: Time,
    vl1: &mut Vl1,
    network: NetworkId,
    to: Address,
    groups: &[MulticastGroup],
) {
    for groups in groups.chunks(GROUPS_PER_PACKET) {
        let mut body = Vec::with_capacity(groups.len() * MulticastLike::LEN);
        for &group in groups {
            MulticastLike { network, group }.write(&mut body);
        }
        vl1.send(now, to, Verb::MULTICAST_LIKE, &body, false);
    }
}
