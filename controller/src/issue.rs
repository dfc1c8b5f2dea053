//! Making what a controller signs: a member's configuration with its credentials, and revocations
//! (VL2 §5.4, §5.5).

use zt_protocol::credential::{
    Capability, CertificateOfMembership, CertificateOfOwnership, Revocation, Tag, Thing,
};
use zt_protocol::network_config::{Dns, Role, Route, Specialist};
use zt_protocol::rule::Rule;
use zt_protocol::{Address, Emit, NetworkConfig, NetworkId, SecretIdentity, Time};

use crate::assign;
use crate::member::Member;
use crate::network::Network;

/// The one certificate of ownership that lists a member's addresses.
const OWNERSHIP_ID: u32 = 1;

/// Everything that goes into a member's configuration.
pub(crate) struct Issue<'a> {
    pub(crate) identity: &'a SecretIdentity,
    pub(crate) network: &'a Network,
    pub(crate) member: &'a Member,
    /// The active bridges of the network.
    pub(crate) bridges: Vec<Address>,
    /// Rules engine revision of the member's software.
    pub(crate) rules_revision: u64,
    /// Time of issue.
    pub(crate) timestamp: Time,
}

impl Issue<'_> {
    /// The serialised dictionary; `None` for a member whose key is not known yet.
    pub(crate) fn configuration(&self) -> Option<Vec<u8>> {
        let Self {
            identity,
            network,
            member,
            ..
        } = self;
        let timestamp = self.timestamp.as_millis();
        let window = network.credential_window();
        let member_identity = member.identity.as_ref()?;
        let (addresses, emulate_ndp) = assign::assigned(network, member);

        let mut config = NetworkConfig::new(network.id, member.address, timestamp);
        config.credential_max_delta = window;
        config.revision = network.revision;
        config.trace_target = member
            .trace_target
            .or(network.trace_target)
            .unwrap_or(Address::NIL);
        config.trace_level = member.trace_level.max(network.trace_level);
        config.flags = [
            (network.enable_broadcast, NetworkConfig::ENABLE_BROADCAST),
            (emulate_ndp, NetworkConfig::NDP_EMULATION),
        ]
        .into_iter()
        .filter_map(|(set, flag)| set.then_some(flag))
        .sum();
        config.multicast_limit = network.multicast_limit;
        config.is_public = !network.private;
        config.name = network.name.clone();
        config.mtu = network.mtu;
        config.membership = Some(CertificateOfMembership::issue(
            identity,
            network.id,
            member_identity,
            timestamp,
            window,
        ));
        self.add_rules(&mut config);
        if !addresses.is_empty() {
            config.ownerships = vec![CertificateOfOwnership::issue(
                identity,
                network.id,
                member.address,
                timestamp,
                OWNERSHIP_ID,
                addresses.iter().map(|prefix| Thing::Ip(prefix.address())),
            )];
        }
        let bridges = self.bridges.iter();
        config.specialists = bridges
            .map(|&bridge| Specialist::new(bridge, Role::ActiveBridge))
            .collect();
        let routes = network.routes.iter();
        config.routes = routes
            .map(|route| Route {
                target: route.target,
                via: route.via,
                flags: 0,
                metric: 0,
            })
            .collect();
        config.addresses = addresses;
        if let Some(dns) = &network.dns {
            config.dns = Dns {
                domain: dns.domain.clone(),
                servers: dns.servers.clone(),
            };
        }
        Some(config.to_dictionary().to_bytes())
    }

    /// Rules, capabilities and tags; software without a rules engine gets none of them.
    fn add_rules(&self, config: &mut NetworkConfig) {
        let Self {
            identity,
            network,
            member,
            ..
        } = self;
        if self.rules_revision == 0 {
            config.rules = vec![Rule::ACCEPT];
            return;
        }
        let (id, to, timestamp) = (network.id, member.address, config.timestamp);
        config.rules = network.rules.rules().to_vec();
        let held = network
            .capabilities
            .iter()
            .filter(|c| member.capabilities.contains(&c.id));
        config.capabilities = held
            .map(|c| Capability::issue(identity, id, to, timestamp, c.id, c.rules.rules()))
            .collect();
        let tags = member.tags.iter();
        config.tags = tags
            .map(|(&tag, &value)| Tag::issue(identity, id, to, timestamp, tag, value))
            .collect();
    }
}

/// A signed revocation of a member's certificates issued at `threshold` or before.
pub(crate) fn revocation(
    identity: &SecretIdentity,
    network: NetworkId,
    member: Address,
    id: u32,
    threshold: Time,
) -> Vec<u8> {
    Revocation::of_membership(identity, network, member, threshold.as_millis(), id).to_bytes()
}
