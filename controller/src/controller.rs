//! The controller proper: networks, their members, and what happens when either changes.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::net::IpAddr;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use zt_protocol::node::ConfigAnswer;
use zt_protocol::{Address, Identity, NetworkId, SecretIdentity, Time};

use crate::assign;
use crate::issue::{self, Issue};
use crate::json::{Invalid, bool_field};
use crate::member::{AuthorizedBy, Member};
use crate::metadata::Metadata;
use crate::network::Network;
use crate::records::Records;
use crate::session::Sessions;
use crate::store::{Store, member_key, network_key};

/// A network controller: the certificate authority of every network whose id begins with its
/// address (VL2 §5).
pub struct Controller {
    identity: SecretIdentity,
    store: Box<dyn Store>,
    networks: BTreeMap<NetworkId, Hosted>,
    sessions: Sessions,
    effects: VecDeque<Effect>,
    rng: ChaCha12Rng,
}

/// Something to send, as a consequence of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send `member` its new configuration.
    PushConfig {
        /// The network configured.
        network: NetworkId,
        /// Whose configuration it is.
        member: Address,
        /// The serialised dictionary.
        dictionary: Vec<u8>,
    },
    /// Tell `targets` that a member's certificate is void.
    Revoke {
        /// The network concerned.
        network: NetworkId,
        /// Members to tell; the revoked one is among them if it is there.
        targets: Vec<Address>,
        /// The signed revocation in its wire form.
        revocation: Vec<u8>,
    },
}

/// A network with its members.
#[derive(Debug, Clone)]
pub(crate) struct Hosted {
    pub(crate) network: Network,
    pub(crate) members: BTreeMap<Address, Member>,
    /// Certificates issued from now on are newer than this, else they would be born revoked.
    pub(crate) last_revocation: Time,
}

/// Why a change was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotFound,
    Invalid(Invalid),
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl Controller {
    /// A controller with these records, which tells `store` of every change. `seed` is fresh
    /// randomness, for ids.
    pub fn new(
        identity: SecretIdentity,
        seed: [u8; 32],
        records: Records,
        store: Box<dyn Store>,
    ) -> Self {
        Self {
            identity,
            store,
            networks: records.into_networks(),
            sessions: Sessions::new(),
            effects: VecDeque::new(),
            rng: ChaCha12Rng::from_seed(seed),
        }
    }

    /// The address that the ids of all networks of this controller begin with.
    pub fn address(&self) -> Address {
        self.identity.address()
    }

    /// The next thing to send, or `None`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Answers a configuration request of `from`, whose identity VL1 has authenticated
    /// (VL2 §5.4).
    pub fn handle_request(
        &mut self,
        now: Time,
        from: &Identity,
        network: NetworkId,
        metadata: &[u8],
    ) -> ConfigAnswer {
        if network.controller() != self.address() {
            return ConfigAnswer::Ignore;
        }
        let Some(hosted) = self.networks.get_mut(&network) else {
            return ConfigAnswer::NotFound;
        };
        let address = from.address();
        let Some(session) = self.sessions.admit(now, network, address) else {
            return ConfigAnswer::Ignore;
        };
        let metadata = Metadata::parse(metadata);
        session.rules_revision = metadata.rules_revision;

        let known = hosted.members.get(&address);
        let mut member = known
            .cloned()
            .unwrap_or_else(|| Member::new(network, address, now));
        if member.identity.is_some_and(|identity| identity != *from) {
            return ConfigAnswer::AccessDenied;
        }
        member.identity = Some(*from);
        authorize_by_itself(&hosted.network, &mut member, &metadata, now);
        if !member.authorized {
            self.keep_member(network, member);
            return ConfigAnswer::AccessDenied;
        }
        if member.version.is_none() {
            let defaults = hosted.network.capabilities.iter().filter(|c| c.default);
            member
                .capabilities
                .extend(defaults.map(|capability| capability.id));
        }
        member.version = metadata.version.or(member.version);
        match self.configure(now, network, member) {
            Some(dictionary) => ConfigAnswer::Config(dictionary),
            None => ConfigAnswer::Ignore,
        }
    }

    pub(crate) fn networks(&self) -> impl Iterator<Item = &Hosted> {
        self.networks.values()
    }

    pub(crate) fn hosted(&self, id: NetworkId) -> Option<&Hosted> {
        self.networks.get(&id)
    }

    /// An id that no network of this controller has.
    pub(crate) fn unused_network_id(&mut self) -> NetworkId {
        loop {
            let number = u64::from(self.rng.next_u32() & 0xff_ffff);
            let id = NetworkId(self.address().to_u64() << 24 | number);
            if number != 0 && !self.networks.contains_key(&id) {
                return id;
            }
        }
    }

    /// Creates or changes a network, and tells its members.
    pub(crate) fn put_network(
        &mut self,
        now: Time,
        id: NetworkId,
        body: &Value,
    ) -> Result<(), Refused> {
        if id.controller() != self.address() || id.0 & 0xff_ffff == 0 {
            let reason = format_args!(
                "the ids of this controller's networks begin with {}",
                self.address()
            );
            return Err(Invalid::new(id, reason).into());
        }
        let before = self.networks.get(&id).map(|hosted| &hosted.network);
        let mut network = before.cloned().unwrap_or_else(|| Network::new(id, now));
        network.update(body)?;
        if before == Some(&network) {
            return Ok(());
        }
        network.revision += 1;
        self.store.put(&network_key(id), &network.to_json());
        match self.networks.get_mut(&id) {
            Some(hosted) => hosted.network = network,
            None => drop(self.networks.insert(id, Hosted::new(network))),
        }
        self.push_to_all(now, id);
        Ok(())
    }

    /// Forgets a network and tells its members. Its record as it was, or `None`.
    pub(crate) fn delete_network(&mut self, now: Time, id: NetworkId) -> Option<Value> {
        // Each member is told of its own revocation only and spreads it (VL2 §3.5): telling
        // everybody of everybody would be a square of packets.
        for member in self.online(now, id) {
            self.revoke(now, id, member, vec![member]);
        }
        let hosted = self.networks.remove(&id)?;
        for &member in hosted.members.keys() {
            self.sessions.remove(id, member);
            self.store.delete(&member_key(id, member));
        }
        self.store.delete(&network_key(id));
        Some(hosted.network.to_json())
    }

    /// Creates or changes a member; authorising it sends it its configuration at once,
    /// de-authorising it revokes its certificate.
    pub(crate) fn put_member(
        &mut self,
        now: Time,
        id: NetworkId,
        address: Address,
        body: &Value,
    ) -> Result<(), Refused> {
        let hosted = self.networks.get(&id).ok_or(Refused::NotFound)?;
        let before = hosted.members.get(&address);
        let mut member = before
            .cloned()
            .unwrap_or_else(|| Member::new(id, address, now));
        member.update(body)?;
        hosted.check_addresses_are_free(&member)?;
        let authorized = bool_field(body, "authorized")?;
        let turned = authorized.is_some_and(|authorized| {
            member.set_authorized(now, authorized.then_some(AuthorizedBy::Api))
        });
        if before == Some(&member) {
            return Ok(());
        }
        let bridges_changed =
            before.is_some_and(|before| before.active_bridge) != member.active_bridge;
        let authorized = member.authorized;
        self.keep_member(id, member);
        if turned && !authorized {
            let mut targets = self.online(now, id);
            if !targets.contains(&address) {
                targets.push(address);
            }
            self.revoke(now, id, address, targets);
        }
        if bridges_changed {
            // Every configuration lists the bridges.
            self.push_to_all(now, id);
        } else {
            self.push(now, id, address);
        }
        Ok(())
    }

    /// Forgets a member and voids its certificate. Its record as it was, or `None`.
    pub(crate) fn delete_member(
        &mut self,
        now: Time,
        id: NetworkId,
        address: Address,
    ) -> Option<Value> {
        let member = self.networks.get_mut(&id)?.members.remove(&address)?;
        self.store.delete(&member_key(id, address));
        if member.authorized {
            let mut targets = self.online(now, id);
            targets.push(address);
            self.revoke(now, id, address, targets);
        }
        self.sessions.remove(id, address);
        Some(member.to_json())
    }

    /// Stores `member` if it differs from what is known of it.
    fn keep_member(&mut self, network: NetworkId, mut member: Member) {
        let Some(hosted) = self.networks.get_mut(&network) else {
            return;
        };
        if hosted.members.get(&member.address) == Some(&member) {
            return;
        }
        member.revision += 1;
        self.store
            .put(&member_key(network, member.address), &member.to_json());
        hosted.members.insert(member.address, member);
    }

    /// Makes the configuration of an authorised member, completing its record with addresses from
    /// the pools and the network's default tags.
    fn configure(&mut self, now: Time, network: NetworkId, mut member: Member) -> Option<Vec<u8>> {
        let address = member.address;
        let hosted = self.networks.get(&network)?;
        for tag in &hosted.network.tags {
            if let Some(default) = tag.default {
                member.tags.entry(tag.id).or_insert(default);
            }
        }
        assign::assign_from_pools(&hosted.network, &mut member, &hosted.taken_addresses());
        self.keep_member(network, member);

        let hosted = self.networks.get(&network)?;
        let session = self.sessions.online(now, network, address);
        let issue = Issue {
            identity: &self.identity,
            network: &hosted.network,
            member: hosted.members.get(&address)?,
            bridges: hosted.bridges(),
            rules_revision: session.map_or(0, |session| session.rules_revision),
            timestamp: now.max(hosted.last_revocation + std::time::Duration::from_millis(1)),
        };
        issue.configuration()
    }

    /// Sends a member its configuration if it is authorised and there.
    fn push(&mut self, now: Time, network: NetworkId, member: Address) {
        if self.sessions.online(now, network, member).is_none() {
            return;
        }
        let record = self
            .networks
            .get(&network)
            .and_then(|hosted| hosted.members.get(&member));
        let Some(record) = record.filter(|member| member.authorized).cloned() else {
            return;
        };
        if let Some(dictionary) = self.configure(now, network, record) {
            self.effects.push_back(Effect::PushConfig {
                network,
                member,
                dictionary,
            });
        }
    }

    fn push_to_all(&mut self, now: Time, network: NetworkId) {
        for member in self.online(now, network) {
            self.push(now, network, member);
        }
    }

    /// The authorised members of a network that have asked lately.
    fn online(&self, now: Time, network: NetworkId) -> Vec<Address> {
        let Some(hosted) = self.networks.get(&network) else {
            return Vec::new();
        };
        let authorized = hosted.members.values().filter(|member| member.authorized);
        let online = |&address: &Address| self.sessions.online(now, network, address).is_some();
        authorized
            .map(|member| member.address)
            .filter(online)
            .collect()
    }

    /// Voids every certificate that `member` has (VL2 §5.5).
    fn revoke(&mut self, now: Time, network: NetworkId, member: Address, targets: Vec<Address>) {
        let Some(hosted) = self.networks.get_mut(&network) else {
            return;
        };
        // Certificates may have been issued ahead of the clock, see `configure`.
        let threshold = now.max(hosted.last_revocation + std::time::Duration::from_millis(1));
        hosted.last_revocation = threshold;
        let id = self.rng.next_u32();
        let revocation = issue::revocation(&self.identity, network, member, id, threshold);
        self.effects.push_back(Effect::Revoke {
            network,
            targets,
            revocation,
        });
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller")
            .field("address", &self.address())
            .field("networks", &self.networks.len())
            .finish_non_exhaustive()
    }
}

impl Hosted {
    pub(crate) fn new(network: Network) -> Self {
        Self {
            network,
            members: BTreeMap::new(),
            last_revocation: Time::NEVER,
        }
    }

    fn taken_addresses(&self) -> HashSet<IpAddr> {
        self.members
            .values()
            .flat_map(|member| member.addresses.iter().copied())
            .collect()
    }

    fn bridges(&self) -> Vec<Address> {
        let bridges = self
            .members
            .values()
            .filter(|m| m.authorized && m.active_bridge);
        bridges.map(|member| member.address).collect()
    }

    /// Refuses addresses that another member has.
    fn check_addresses_are_free(&self, member: &Member) -> Result<(), Invalid> {
        for other in self
            .members
            .values()
            .filter(|other| other.address != member.address)
        {
            if let Some(address) = member
                .addresses
                .iter()
                .find(|ip| other.addresses.contains(ip))
            {
                let reason = format_args!("{address} belongs to member {}", other.address);
                return Err(Invalid::new("ipAssignments", reason));
            }
        }
        Ok(())
    }
}

/// What makes a member authorised without an administrator: a public network or a token
/// (VL2 §5.4 step 4).
fn authorize_by_itself(network: &Network, member: &mut Member, metadata: &Metadata, now: Time) {
    if member.authorized {
        return;
    }
    if !network.private {
        member.set_authorized(now, Some(AuthorizedBy::PublicNetwork));
    } else if let Some(token) = metadata
        .token
        .as_ref()
        .filter(|token| network.accepts_token(token, now))
    {
        member.set_authorized(now, Some(AuthorizedBy::Token(token.clone())));
    }
}
