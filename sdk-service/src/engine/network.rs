//! One joined network: its host, its programs, and what a person allows it.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use zt_netstack::names::RESOLVER;
use zt_netstack::{Buffers, Host, HostConfig, HostEvent, Route};
use zt_protocol::inet::IpPrefix;
use zt_protocol::node::Node;
use zt_protocol::vl2::NetworkStatus;
use zt_protocol::{Address, Mac, MulticastGroup, NetworkId};
use zt_socket_rpc::table::Interface;
use zt_socket_rpc::{HostName, Prefix};

use super::clock::Now;
use super::reactor::{Poller, Ready, Token};
use super::sink::NodeSink;
use crate::broker::{Broker, Budget, NameConfig, Turn};
use crate::home::NetworkSettings;

/// Before the first configuration.
const DEFAULT_MTU: usize = 2800;

/// A joined network.
pub(super) struct Network {
    pub(super) id: NetworkId,
    pub(super) settings: NetworkSettings,
    pub(super) host: Host,
    pub(super) broker: Broker,
    mac: Mac,
    pub(super) addresses: Vec<IpPrefix>,
    routes: Vec<Route>,
    /// On the links of the host itself.
    near: Vec<Prefix>,
    /// Published unless the settings name another: a host's label.
    name: Option<String>,
    /// The node must hear of [`groups`](Network::groups) again.
    groups_changed: bool,
}

impl Network {
    pub(super) fn new(
        id: NetworkId,
        index: u16,
        address: Address,
        settings: NetworkSettings,
        name: Option<String>,
        directory: &Path,
        poller: &Poller,
    ) -> io::Result<Self> {
        let mac = Mac::of(address, id);
        let config = HostConfig {
            mac: mac.0,
            mtu: DEFAULT_MTU,
            addresses: Vec::new(),
            routes: Vec::new(),
        };
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        Ok(Self {
            id,
            settings,
            host: Host::new(config, u64::from_le_bytes(seed)),
            broker: Broker::open(directory, id, index, poller)?,
            mac,
            addresses: Vec::new(),
            routes: Vec::new(),
            near: Vec::new(),
            name,
            groups_changed: false,
        })
    }

    /// Takes over what the controller says and the settings allow. `window` is the most a peer may have
    /// in flight towards us.
    pub(super) fn configure(&mut self, now: Now, status: &NetworkStatus, window: usize) {
        self.mac = status.mac;
        self.addresses = status
            .addresses
            .iter()
            .copied()
            .filter(|ip| self.settings.allows(ip))
            .collect();
        self.routes = status
            .routes
            .iter()
            .filter(|route| self.settings.allows(&route.target))
            .map(|route| Route {
                prefix: (route.target.network(), route.target.bits()),
                via: route.via,
            })
            .collect();
        let config = HostConfig {
            mac: self.mac.0,
            mtu: status.mtu.into(),
            addresses: self
                .addresses
                .iter()
                .map(|ip| (ip.address(), ip.bits()))
                .collect(),
            routes: self.routes.clone(),
        };
        let buffers = Buffers::default();
        self.host.set_buffers(Buffers {
            receive: buffers.receive.min(window),
            ..buffers
        });
        self.host.configure(now.instant, config);

        self.publish_lan();
        self.configure_names(now, status);
        self.groups_changed = true;
    }

    /// Takes over what is on the links of the host. A program's own network is the same: its service is in its namespace,
    /// or on the networks that it is on.
    pub(super) fn set_near(&mut self, near: &[Prefix]) {
        self.near = near.to_vec();
        self.publish_lan();
    }

    /// Tells programs which addresses are the LAN's.
    fn publish_lan(&mut self) {
        let prefix = |&(address, length): &(IpAddr, u8)| Prefix { address, length };
        let own: Vec<Prefix> = self
            .addresses
            .iter()
            .map(|ip| prefix(&(ip.address(), ip.bits())))
            .collect();
        // Not of the LAN, but to be found through it.
        let resolver = (RESOLVER, 32);
        let routes = self.prefixes();
        let routes: Vec<Prefix> = [resolver].iter().chain(&routes).map(prefix).collect();
        self.broker.set_lan(&own, &routes, &self.near);
    }

    fn configure_names(&mut self, now: Now, status: &NetworkStatus) {
        let dns = &status.dns;
        let domain = Some(dns.domain.trim_matches('.'))
            .filter(|_| self.settings.allow_dns && !dns.servers.is_empty())
            .filter(|domain| domain.len() <= Interface::MAX_DOMAIN)
            .and_then(|domain| HostName::new(domain.as_bytes()));
        self.broker.set_interface(&Interface {
            name: device_name(self.id),
            mac: self.mac.0,
            mtu: status.mtu.into(),
            domain,
        });
        let config = NameConfig {
            links: self
                .addresses
                .iter()
                .map(|ip| (ip.address(), ip.bits()))
                .collect(),
            label: self.settings.host_name.clone().or(self.name.clone()),
            domain: domain.and_then(|domain| domain.as_str().parse().ok()),
            servers: dns.servers.clone(),
        };
        self.broker.set_names(&mut self.host, now.instant, config);
    }

    /// The multicast groups that the network must bring here, if they are others than at the last look:
    /// those in which others look for our addresses, those of all hosts, and those that were joined.
    pub(super) fn changed_groups(&mut self) -> Option<Vec<MulticastGroup>> {
        if !std::mem::take(&mut self.groups_changed) {
            return None;
        }
        let resolving = self
            .addresses
            .iter()
            .map(|ip| MulticastGroup::resolving(ip.address()));
        let joined = self.host.multicast_groups().map(|(_, mac)| MulticastGroup {
            mac: Mac(mac),
            adi: 0,
        });
        let all_hosts = self
            .addresses
            .iter()
            .map(|ip| MulticastGroup::all_hosts(ip.address()));
        let mut groups: Vec<_> = resolving.chain(joined).chain(all_hosts).collect();
        // Several IP groups may share a link address.
        groups.sort_unstable();
        groups.dedup();
        Some(groups)
    }

    /// What is reached through this network.
    pub(super) fn prefixes(&self) -> Vec<(IpAddr, u8)> {
        let links = self.addresses.iter().map(|ip| (ip.network(), ip.bits()));
        let mut prefixes: Vec<_> = links
            .chain(self.routes.iter().map(|route| route.prefix))
            .collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes
    }

    pub(super) fn handle_ready(
        &mut self,
        poller: &Poller,
        budget: &mut Budget,
        now: Now,
        token: Token,
        ready: Ready,
    ) {
        let (broker, mut turn) = self.turn(poller, budget, now);
        broker.handle_ready(&mut turn, token, ready);
    }

    /// Runs what is due, and moves bytes between host and programs. Says whether more can be moved at
    /// once.
    pub(super) fn run(&mut self, poller: &Poller, budget: &mut Budget, now: Now) -> bool {
        if self
            .host
            .deadline()
            .is_some_and(|deadline| deadline <= now.instant)
        {
            self.host.handle_timeout(now.instant);
        }
        self.take_events(poller, budget, now);
        let (broker, mut turn) = self.turn(poller, budget, now);
        if broker
            .deadline()
            .is_some_and(|deadline| deadline <= now.instant)
        {
            broker.handle_timeout(&mut turn);
        }
        broker.run(&mut turn)
    }

    /// Takes what the host has to tell. Says whether there was anything.
    pub(super) fn take_events(&mut self, poller: &Poller, budget: &mut Budget, now: Now) -> bool {
        let (broker, mut turn) = self.turn(poller, budget, now);
        let mut any = false;
        let mut groups_changed = false;
        while let Some(event) = turn.host.poll_event() {
            any = true;
            match event {
                HostEvent::GroupsChanged => groups_changed = true,
                event => broker.handle_host_event(&mut turn, event),
            }
        }
        self.groups_changed |= groups_changed;
        any
    }

    /// Hands the host's frames to the node. Says whether all were taken.
    pub(super) fn transmit(&mut self, node: &mut Node, now: Now) -> bool {
        let mut sink = NodeSink {
            node,
            now: now.time,
            network: self.id,
            mac: self.mac,
        };
        self.host.poll_transmit(now.instant, &mut sink)
    }

    /// After the frames of a turn are on their way.
    pub(super) fn after_transmit(&mut self, poller: &Poller, budget: &mut Budget, now: Now) {
        let (broker, mut turn) = self.turn(poller, budget, now);
        broker.after_transmit(&mut turn);
    }

    /// Ends every connection: the network is left.
    pub(super) fn close(&mut self, poller: &Poller, budget: &mut Budget, now: Now) {
        let (broker, mut turn) = self.turn(poller, budget, now);
        broker.close(&mut turn);
        broker.after_transmit(&mut turn);
    }

    /// The broker, and what it borrows for one call.
    fn turn<'a>(
        &'a mut self,
        poller: &'a Poller,
        budget: &'a mut Budget,
        now: Now,
    ) -> (&'a mut Broker, Turn<'a>) {
        let turn = Turn {
            poller,
            host: &mut self.host,
            budget,
            now: now.instant,
        };
        (&mut self.broker, turn)
    }

    pub(super) fn deadline(&self) -> Option<zt_netstack::Instant> {
        self.host
            .deadline()
            .into_iter()
            .chain(self.broker.deadline())
            .min()
    }
}

/// The name of a network's interface, as stock nodes on Linux name theirs (VL2 §7.3): `zt` and the base32 of 40 bits of
/// the id, filled up with zeros.
fn device_name(id: NetworkId) -> [u8; Interface::NAME_LEN] {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bits = id.0 ^ id.0 >> 24;
    let mut name = [0; Interface::NAME_LEN];
    let digits = (0..8).rev().map(|place| {
        let digit = bits >> (5 * place) & 31;
        ALPHABET.get(digit as usize).copied().unwrap_or_default()
    });
    for (to, byte) in name.iter_mut().zip(b"zt".iter().copied().chain(digits)) {
        *to = byte;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_interface_name_that_stock_nodes_give_it() {
        let name = device_name(NetworkId(0x8056c2e21c000001));
        assert_eq!(&name, b"ztmjfmfyq5\0\0\0\0\0\0");
    }
}
