//! Requests of the shell.

use std::io;

use serde_json::Value;
use tokio::sync::oneshot;
use zt_controller::{Method, Response};
use zt_protocol::vl1::PeerInfo;
use zt_protocol::world::UpdateRefused;
use zt_protocol::{NetworkId, World};

use super::clock::Now;
use super::event::EngineEvent;
use super::network::Network;
use super::run::Engine;
use super::view::{NetworkView, NodeView};
use crate::home::NetworkSettings;

/// What a token has room for.
const MAX_NETWORKS: usize = 1 << 12;

/// What the shell may ask; see the methods of [`EngineHandle`](super::EngineHandle).
#[derive(Debug)]
pub(super) enum Command {
    Join {
        network: NetworkId,
        cached: Option<Vec<u8>>,
        settings: NetworkSettings,
        done: oneshot::Sender<io::Result<NetworkView>>,
    },
    Leave {
        network: NetworkId,
        done: oneshot::Sender<bool>,
    },
    Networks {
        done: oneshot::Sender<Vec<NetworkView>>,
    },
    Peers {
        done: oneshot::Sender<Vec<PeerInfo>>,
    },
    Node {
        done: oneshot::Sender<NodeView>,
    },
    Controller {
        method: Method,
        path: String,
        body: Option<Value>,
        done: oneshot::Sender<Response>,
    },
    OfferPlanet {
        planet: World,
        done: oneshot::Sender<Result<(), UpdateRefused>>,
    },
    Stop,
}

impl Engine {
    /// Carries out one request; `false` ends the data plane. Who does not wait for the answer any
    /// more does not get it.
    pub(super) fn carry_out(&mut self, now: Now, command: Command) -> bool {
        match command {
            Command::Join {
                network,
                cached,
                settings,
                done,
            } => {
                let _ = done.send(self.join(now, network, cached.as_deref(), settings));
            }
            Command::Leave { network, done } => {
                let _ = done.send(self.leave(now, network));
            }
            Command::Networks { done } => {
                let networks = self.node.networks().into_iter();
                let _ = done.send(networks.filter_map(|status| self.view_of(status)).collect());
            }
            Command::Peers { done } => {
                let _ = done.send(self.node.vl1().peers(now.time).collect());
            }
            Command::Node { done } => {
                let _ = done.send(self.node_view());
            }
            Command::Controller {
                method,
                path,
                body,
                done,
            } => {
                let _ = done.send(self.controller.api(now.time, method, &path, body.as_ref()));
                self.carry_effects(now);
            }
            Command::OfferPlanet { planet, done } => {
                let _ = done.send(self.node.vl1_mut().update_planet(now.time, planet));
            }
            Command::Stop => return false,
        }
        true
    }

    fn join(
        &mut self,
        now: Now,
        id: NetworkId,
        cached: Option<&[u8]>,
        settings: NetworkSettings,
    ) -> io::Result<NetworkView> {
        if let Some(network) = self
            .networks
            .iter_mut()
            .flatten()
            .find(|network| network.id == id)
        {
            network.settings = settings;
        } else {
            let free = self
                .networks
                .iter()
                .position(Option::is_none)
                .unwrap_or(self.networks.len());
            let index = u16::try_from(free).ok().filter(|_| free < MAX_NETWORKS);
            let index = index.ok_or_else(|| io::Error::other("too many networks are joined"))?;
            let address = self.node.vl1().address();
            let mut network = Network::new(
                id,
                index,
                address,
                settings,
                self.name.clone(),
                &self.socket_directory,
                &self.poller,
            )?;
            network.set_near(&self.near);
            if cached.is_some_and(|configuration| !configuration.is_empty()) {
                network.host.returns();
            }
            if free == self.networks.len() {
                self.networks.push(None);
            }
            if let Some(place) = self.networks.get_mut(free) {
                *place = Some(Box::new(network));
            }
            self.node.join(now.time, id, cached);
        }
        self.reconfigure(now, id);
        let view = self
            .node
            .network(id)
            .and_then(|status| self.view_of(status));
        view.ok_or_else(|| io::Error::other("the network was not joined"))
    }

    fn view_of(&self, status: zt_protocol::vl2::NetworkStatus) -> Option<NetworkView> {
        let network = self
            .networks
            .iter()
            .flatten()
            .find(|network| network.id == status.id)?;
        Some(network.view(status))
    }

    fn leave(&mut self, now: Now, id: NetworkId) -> bool {
        let Some(index) = self.position(id) else {
            return false;
        };
        self.close_network(now, index);
        self.node.leave(id);
        self.exclude_virtual_networks();
        true
    }

    /// Ends the connections of a network's programs, and tells their peers.
    fn close_network(&mut self, now: Now, index: usize) {
        if let Some(mut network) = self.networks.get_mut(index).and_then(Option::take) {
            network.close(&self.poller, &mut self.budget, now);
            // The resets still have to leave.
            network.transmit(&mut self.node, now);
            self.flush();
        }
    }

    /// The service ends; its networks stay joined.
    pub(super) fn close_all(&mut self, now: Now) {
        for index in 0..self.networks.len() {
            self.close_network(now, index);
        }
    }

    /// Hands a network's configuration to its host, to programs and to the shell.
    pub(super) fn reconfigure(&mut self, now: Now, id: NetworkId) {
        let Some(index) = self.position(id) else {
            return;
        };
        let Some(status) = self.node.network(id) else {
            return;
        };
        let Some(Some(network)) = self.networks.get_mut(index) else {
            return;
        };
        network.configure(now, &status, self.window);
        self.tell_groups(now);
        self.exclude_virtual_networks();
        if let Some(view) = self.view_of(status) {
            self.tell(EngineEvent::NetworkChanged(view));
        }
    }

    fn position(&self, id: NetworkId) -> Option<usize> {
        self.networks
            .iter()
            .position(|network| network.as_ref().is_some_and(|network| network.id == id))
    }
}
