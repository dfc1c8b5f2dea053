//! The node's own network controller: requests to it, and what follows from changes.

use serde_json::Value;
use tokio::sync::mpsc;
use zt_controller::{Effect, Store};
use zt_protocol::node::ConfigRequest;

use super::clock::Now;
use super::event::EngineEvent;
use super::run::Engine;

/// Records live on the shell's side: changes go out as events.
pub(super) struct EventStore {
    pub(super) events: mpsc::UnboundedSender<EngineEvent>,
}

impl Store for EventStore {
    fn put(&mut self, key: &str, record: &Value) {
        // Without a shell there is nobody to keep it for.
        let _ = self.events.send(EngineEvent::ControllerPut {
            key: key.to_owned(),
            record: record.clone(),
        });
    }

    fn delete(&mut self, key: &str) {
        let _ = self.events.send(EngineEvent::ControllerDelete {
            key: key.to_owned(),
        });
    }
}

impl Engine {
    /// Answers a member of one of our networks.
    pub(super) fn answer_member(&mut self, now: Now, request: &ConfigRequest) {
        let ConfigRequest {
            network,
            member,
            metadata,
            ticket,
        } = request;
        let answer = self
            .controller
            .handle_request(now.time, member, *network, metadata);
        self.node.answer_config_request(now.time, *ticket, answer);
        self.carry_effects(now);
    }

    /// Sends what a change at the controller requires.
    pub(super) fn carry_effects(&mut self, now: Now) {
        while let Some(effect) = self.controller.poll_effect() {
            match effect {
                Effect::PushConfig {
                    network,
                    member,
                    dictionary,
                } => {
                    self.node
                        .push_config(now.time, network, member, &dictionary);
                }
                Effect::Revoke {
                    network,
                    targets,
                    revocation,
                } => {
                    self.node
                        .send_revocation(now.time, network, &targets, &revocation);
                }
            }
        }
    }
}
