//! Requests of the shell.

use zt_protocol::NetworkId;
use zt_protocol::vl2::NetworkStatus;

use super::clock::Now;
use super::interface::{Command, EngineEvent};
use super::network::Network;
use super::run::Engine;
use crate::home::NetworkSettings;

/// What a token has room for.
const MAX_NETWORKS: usize = 1 << 12;

impl Engine {
    /// Carries out one request; `false` ends the data plane. Who does not wait for the answer any
    /// more does not get it.
    pub(super) fn carry_out(&mut self, now: Now, command: Command) -> bool {
        match command {
            Command::Join {
                network,
                cached,
                settings,
                answer,
            } => {
                // Without an answer the asker sees that nothing was done.
                if let Some(status) = self.join(now, network, cached.as_deref(), settings) {
                    let _ = answer.send(status);
                }
            }
            Command::Leave { network, answer } => {
                let _ = answer.send(self.leave(now, network));
            }
            Command::Networks(answer) => {
                let _ = answer.send(self.node.networks());
            }
            Command::Peers(answer) => {
                let _ = answer.send(self.node.vl1().peers(now.time).collect());
            }
            Command::Status(answer) => {
                let _ = answer.send(self.status());
            }
            Command::Controller {
                method,
                path,
                body,
                answer,
            } => {
                let _ = answer.send(self.controller.api(now.time, method, &path, body.as_ref()));
                self.carry_effects(now);
            }
            Command::SetPlanet { planet, answer } => {
                let adopted = self.node.vl1_mut().update_planet(now.time, planet);
                let _ = answer.send(adopted.map_err(|refused| refused.to_string()));
            }
            Command::Barrier(passed) => self.tell(EngineEvent::Barrier(passed)),
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
    ) -> Option<NetworkStatus> {
        if let Some(network) = self
            .networks
            .iter_mut()
            .flatten()
            .find(|network| network.id == id)
        {
            network.settings = settings;
            network.broker.open_socket(&self.poller);
        } else {
            let free = self
                .networks
                .iter()
                .position(Option::is_none)
                .unwrap_or(self.networks.len());
            let index = u16::try_from(free).ok().filter(|_| free < MAX_NETWORKS)?;
            let address = self.node.vl1().address();
            let network = Network::new(
                id,
                index,
                address,
                settings,
                &self.socket_directory,
                &self.poller,
            )
            .inspect_err(|error| tracing::error!(network = %id, %error, "network not joined"))
            .ok()?;
            if free == self.networks.len() {
                self.networks.push(None);
            }
            if let Some(place) = self.networks.get_mut(free) {
                *place = Some(Box::new(network));
            }
            self.node.join(now.time, id, cached);
        }
        self.reconfigure(now, id);
        self.node.network(id)
    }

    fn leave(&mut self, now: Now, id: NetworkId) -> bool {
        let Some(index) = self.position(id) else {
            return false;
        };
        if let Some(mut network) = self.networks.get_mut(index).and_then(Option::take) {
            network.close(&self.poller, &mut self.budget, now);
            // Programs' connections end with a reset that still has to leave.
            self.transmit_from(now, &mut network);
        }
        self.node.leave(id);
        self.exclude_virtual_networks();
        true
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
        let groups = network.configure(now, &status, self.window);
        self.node.set_groups(now.time, id, &groups);
        self.exclude_virtual_networks();
        self.tell(EngineEvent::NetworkChanged(status));
    }

    fn position(&self, id: NetworkId) -> Option<usize> {
        self.networks
            .iter()
            .position(|network| network.as_ref().is_some_and(|network| network.id == id))
    }
}
