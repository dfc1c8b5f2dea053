//! One joined network: its host, its programs, and what a person allows it.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use zt_netstack::{Buffers, Host, HostConfig, HostEvent, Route};
use zt_protocol::inet::IpPrefix;
use zt_protocol::node::Node;
use zt_protocol::vl2::NetworkStatus;
use zt_protocol::{Address, Mac, MulticastGroup, NetworkId};
use zt_socket_rpc::Prefix;

use super::clock::Now;
use super::reactor::{Poller, Ready, Token};
use super::sink::NodeSink;
use crate::broker::{Broker, Budget, Turn};
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
    /// The node must hear of [`groups`](Network::groups) again.
    groups_changed: bool,
}

impl Network {
    pub(super) fn new(
        id: NetworkId,
        index: u16,
        address: Address,
        settings: NetworkSettings,
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

        let prefix = |&(address, length): &(IpAddr, u8)| Prefix { address, length };
        let own: Vec<Prefix> = self
            .addresses
            .iter()
            .map(|ip| prefix(&(ip.address(), ip.bits())))
            .collect();
        let routes: Vec<Prefix> = self.prefixes().iter().map(prefix).collect();
        self.broker.set_lan(&own, &routes);
        self.groups_changed = true;
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
