//! Getting a configuration from a controller, and giving one (VL2 §2, §5.4, §5.5).

use rand_core::Rng;

use super::adhoc;
use super::config::Config;
use super::credentials::revocation_packet;
use super::status::Status;
use super::{FrameSink, Vl2};
use crate::credential::Revocation;
use crate::network_config::Added;
use crate::node::{ConfigAnswer, ConfigRequest, Event, Ticket};
use crate::verb::{
    ConfigChunk, ErrorCode, ErrorReply, NetworkConfigRequest, OkNetworkConfig, Reply,
};
use crate::vl1::{Inbound, PathId, Vl1};
use crate::wire::{Emit, Reader};
use crate::{Address, Dictionary, NetworkId, PacketId, Time, Verb};

/// Longest metadata that a controller looks at (VL2 §2.1).
const MAX_METADATA: usize = 1024;
/// Requests waiting for the owner's controller; a flood of more is dropped.
const MAX_EVENTS: usize = 4_096;

impl Vl2 {
    /// Asks the controller of a network for our configuration, or sees to it that we can.
    pub(super) fn request_config(&mut self, now: Time, vl1: &mut Vl1, id: NetworkId) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let controller = id.controller();
        network.request.tried(now);
        if id.is_ad_hoc() {
            return self.configure_ad_hoc(now, vl1, id);
        }
        let metadata = metadata(network.token.as_deref());
        if controller == self.own {
            self.events.push_back(Event::ConfigRequest(ConfigRequest {
                network: id,
                member: *vl1.identity().public(),
                metadata,
                ticket: Ticket {
                    network: id,
                    member: controller,
                    request: None,
                },
            }));
            return;
        }
        if vl1.identity_of(controller).is_none() {
            // Sent as soon as it is known: see `peer_known`.
            vl1.want_identity(now, controller);
            return;
        }
        if vl1.best_upstream(now).is_none() && !vl1.has_direct_path(now, controller) {
            // Sent as soon as there is a way: see `upstream_reachable`. To let VL1 queue it
            // would only deliver several at once.
            return;
        }
        network.request.sent(now);
        let held = network.config.as_ref().map(|config| &config.parsed);
        let request = NetworkConfigRequest {
            network: id,
            metadata: &metadata,
            revision: held.map_or(0, |config| config.revision),
            timestamp: held.map_or(0, |config| config.timestamp),
        };
        vl1.send(
            now,
            controller,
            Verb::NETWORK_CONFIG_REQUEST,
            &request.to_bytes(),
            true,
        );
    }

    /// Treats OK, whatever it answers.
    pub(super) fn handle_ok(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        inbound: &Inbound<'_>,
        frames: FrameSink<'_>,
    ) {
        let Ok(reply) = Reply::parse(inbound.body) else {
            self.counters.malformed += 1;
            return;
        };
        match reply.verb {
            Verb::NETWORK_CONFIG_REQUEST => {
                self.handle_chunk(now, vl1, inbound, reply.payload, frames);
            }
            Verb::MULTICAST_GATHER => self.handle_gathered(now, vl1, reply.payload),
            Verb::MULTICAST_FRAME => self.handle_multicast_ok(now, vl1, reply.payload),
            _ => {}
        }
    }

    /// Treats ERROR, whatever it answers (VL2 §2.2).
    pub(super) fn handle_error(&mut self, now: Time, vl1: &mut Vl1, inbound: &Inbound<'_>) {
        let Ok(error) = ErrorReply::parse(inbound.body) else {
            self.counters.malformed += 1;
            return;
        };
        let Ok(id) = error.network() else { return };
        let failure = match error.code {
            ErrorCode::NEED_MEMBERSHIP_CERTIFICATE => {
                if let Some(network) = self.networks.get_mut(&id) {
                    network.push_on_request(now, vl1, inbound.from);
                }
                return;
            }
            ErrorCode::UNWANTED_MULTICAST => {
                return self.handle_unwanted(vl1, inbound.from, &error);
            }
            ErrorCode::OBJECT_NOT_FOUND | ErrorCode::UNSUPPORTED_OPERATION
                if error.verb == Verb::NETWORK_CONFIG_REQUEST =>
            {
                Status::NotFound
            }
            ErrorCode::NETWORK_ACCESS_DENIED => Status::AccessDenied,
            ErrorCode::NETWORK_AUTHENTICATION_REQUIRED => Status::AuthenticationRequired,
            _ => return,
        };
        if inbound.from == id.controller() {
            self.fail(now, id, failure);
        }
    }

    /// Treats NETWORK_CONFIG.
    pub(super) fn handle_pushed_config(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        inbound: &Inbound<'_>,
        frames: FrameSink<'_>,
    ) {
        if let Some((network, update)) = self.handle_chunk(now, vl1, inbound, inbound.body, frames)
        {
            // Stock answers with the verb of ECHO here (VL2 §2.2).
            let payload = OkNetworkConfig { network, update };
            let reply = Reply {
                verb: Verb::ECHO,
                id: inbound.id,
                payload,
            };
            vl1.send(now, inbound.from, Verb::OK, &reply.to_bytes(), false);
        }
    }

    /// Takes one chunk of a configuration. The network and the update if this completed a
    /// configuration that was accepted.
    fn handle_chunk(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        inbound: &Inbound<'_>,
        body: &[u8],
        frames: FrameSink<'_>,
    ) -> Option<(NetworkId, u64)> {
        let Ok(chunk) = ConfigChunk::parse(body) else {
            self.counters.malformed += 1;
            return None;
        };
        let id = chunk.network;
        let Some(network) = self.networks.get_mut(&id) else {
            self.counters.not_joined += 1;
            return None;
        };
        let genuine = match chunk.placement {
            None => inbound.from == id.controller(),
            Some(_) => {
                let controller = vl1.identity_of(id.controller());
                controller.is_some_and(|controller| chunk.verify(controller))
            }
        };
        if !genuine {
            self.counters.bad_config += 1;
            return None;
        }
        let added = match network.assembly.add(&chunk) {
            // What is known was passed on when it was new: it would circulate for ever.
            Ok(Added::Known) => return None,
            Ok(added) => added,
            Err(_) => {
                self.counters.bad_config += 1;
                return None;
            }
        };
        if chunk
            .placement
            .is_some_and(|placement| placement.propagates())
        {
            let known = [inbound.from, id.controller(), network.own];
            for &member in network
                .members
                .keys()
                .filter(|member| !known.contains(member))
            {
                vl1.send(now, member, Verb::NETWORK_CONFIG, body, false);
            }
        }
        let Added::Complete(dictionary) = added else {
            return None;
        };
        if !self.accept_config(now, vl1, id, dictionary) {
            return None;
        }
        self.retry.retain(|&network| network != id);
        for kept in self.kept.take_all(now, id) {
            self.handle_packet(now, vl1, &kept.as_inbound(), frames);
        }
        Some((id, chunk.placement.map_or(0, |placement| placement.update)))
    }

    /// Puts a configuration in force that an earlier run stored.
    pub(super) fn restore(&mut self, id: NetworkId, dictionary: &[u8]) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let seed = self.rng.next_u64();
        if let Some(config) = Config::read(dictionary.to_vec(), id, network.own, seed) {
            network.configure(config);
            self.events.push_back(Event::NetworkUp(id));
        }
    }

    /// Puts a complete configuration in force; `false` if it is not for us.
    fn accept_config(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        id: NetworkId,
        dictionary: Vec<u8>,
    ) -> bool {
        let seed = self.rng.next_u64();
        let Some(network) = self.networks.get_mut(&id) else {
            return false;
        };
        let Some(config) = Config::read(dictionary, id, network.own, seed) else {
            self.counters.bad_config += 1;
            return false;
        };
        let first = network.config.is_none();
        let known = network
            .config
            .as_ref()
            .is_some_and(|held| held.dictionary == config.dictionary);
        network.request.answered(now);
        network.config_since = now;
        if known && network.failure.is_none() {
            return true;
        }
        let dictionary = config.dictionary.clone();
        let changed = network.configure(config);
        if first {
            network.announce_all(now, vl1);
            self.events.push_back(Event::NetworkUp(id));
        } else if changed {
            network.announce_all(now, vl1);
            self.events.push_back(Event::NetworkChanged(id));
        }
        self.events.push_back(Event::ConfigStored {
            network: id,
            dictionary,
        });
        true
    }

    /// Makes the configuration of a network without controller.
    fn configure_ad_hoc(&mut self, now: Time, vl1: &mut Vl1, id: NetworkId) {
        let seed = self.rng.next_u64();
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        network.request.answered(now);
        network.config_since = now;
        if network.config.is_some() {
            return;
        }
        match adhoc::configuration(id, self.own, now) {
            Some(parsed) => {
                network.configure(Config::local(parsed, seed));
                network.announce_all(now, vl1);
                self.events.push_back(Event::NetworkUp(id));
            }
            None => self.fail(now, id, Status::NotFound),
        }
    }

    /// The controller refuses us. A configuration that we hold stays in force (VL2 §2.5).
    fn fail(&mut self, now: Time, id: NetworkId, failure: Status) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        network.request.refused(now);
        if network.failure != Some(failure) {
            network.failure = Some(failure);
            self.events.push_back(Event::NetworkChanged(id));
        }
    }

    /// Treats NETWORK_CONFIG_REQUEST: hands it to the owner if the network is ours; otherwise we
    /// are silent (VL2 §2.2).
    pub(super) fn handle_config_request(&mut self, vl1: &Vl1, inbound: &Inbound<'_>) {
        let Ok(request) = NetworkConfigRequest::parse(inbound.body) else {
            self.counters.malformed += 1;
            return;
        };
        if request.network.controller() != self.own {
            self.counters.not_joined += 1;
            return;
        }
        let Some(&member) = vl1.identity_of(inbound.from) else {
            return;
        };
        if self.events.len() >= MAX_EVENTS {
            self.counters.over_limit += 1;
            return;
        }
        let metadata = &request.metadata[..request.metadata.len().min(MAX_METADATA)];
        self.events.push_back(Event::ConfigRequest(ConfigRequest {
            network: request.network,
            member,
            metadata: metadata.to_vec(),
            ticket: Ticket {
                network: request.network,
                member: inbound.from,
                request: Some((inbound.id, inbound.path)),
            },
        }));
    }

    pub(crate) fn answer_config_request(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        ticket: Ticket,
        answer: ConfigAnswer,
    ) {
        let Ticket {
            network,
            member,
            request,
        } = ticket;
        let (code, failure) = match answer {
            ConfigAnswer::Config(dictionary) => {
                return self.give_config(now, vl1, network, member, request, dictionary);
            }
            ConfigAnswer::AccessDenied => (ErrorCode::NETWORK_ACCESS_DENIED, Status::AccessDenied),
            ConfigAnswer::NotFound => (ErrorCode::OBJECT_NOT_FOUND, Status::NotFound),
            ConfigAnswer::Ignore => return,
        };
        match request {
            None => self.fail(now, network, failure),
            Some((id, path)) => {
                let verb = Verb::NETWORK_CONFIG_REQUEST;
                let error = ErrorReply {
                    verb,
                    id,
                    code,
                    payload: network,
                };
                reply_to_request(now, vl1, path, member, Verb::ERROR, &error.to_bytes());
            }
        }
    }

    pub(crate) fn push_config(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        network: NetworkId,
        member: Address,
        dictionary: &[u8],
    ) {
        self.give_config(now, vl1, network, member, None, dictionary.to_vec());
    }

    /// Gives `member`, who may be this node itself, its configuration; as the answer to `request`
    /// or unasked.
    fn give_config(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        network: NetworkId,
        member: Address,
        request: Option<(PacketId, PathId)>,
        dictionary: Vec<u8>,
    ) {
        self.issued.note(now, network, member);
        if member == self.own {
            if self.accept_config(now, vl1, network, dictionary) {
                // There is nobody to take frames just now.
                self.retry.push(network);
            }
            return;
        }
        let update = self.rng.next_u64().max(1);
        let chunks = ConfigChunk::sign_all(vl1.identity(), network, &dictionary, update);
        let chunks: Vec<_> = chunks.collect();
        for chunk in chunks {
            match request {
                Some((id, path)) => {
                    let verb = Verb::NETWORK_CONFIG_REQUEST;
                    let reply = Reply {
                        verb,
                        id,
                        payload: chunk,
                    };
                    reply_to_request(now, vl1, path, member, Verb::OK, &reply.to_bytes());
                }
                None => vl1.send(now, member, Verb::NETWORK_CONFIG, &chunk.to_bytes(), true),
            }
        }
    }

    pub(crate) fn send_revocation(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        network: NetworkId,
        targets: &[Address],
        revocation: &[u8],
    ) {
        let Ok(revocation) = Revocation::read(&mut Reader::new(revocation, "revocation")) else {
            self.counters.malformed += 1;
            return;
        };
        self.issued.forget(network, revocation.target);
        let body = revocation_packet(revocation.clone());
        for &target in targets {
            if target == self.own {
                self.take_own_revocation(now, vl1, revocation.clone());
            } else {
                vl1.send(now, target, Verb::NETWORK_CREDENTIALS, &body, false);
            }
        }
    }
}

/// Answers a request by the best path, as stock does (VL1 addendum 2); but a member that has just
/// started waits for its address, so while we know no path to it the one it asked by must do.
fn reply_to_request(
    now: Time,
    vl1: &mut Vl1,
    path: PathId,
    member: Address,
    verb: Verb,
    body: &[u8],
) {
    if vl1.has_direct_path(now, member) {
        vl1.send(now, member, verb, body, false);
    } else {
        vl1.send_on(now, path, member, verb, body);
    }
}

const PLATFORM: &str = match cfg!(target_arch = "aarch64") {
    true => "linux/arm64",
    false => "linux/x86_64",
};

/// What a controller may want to know of our software (VL2 §2.1).
fn metadata(token: Option<&str>) -> Vec<u8> {
    let mut metadata = Dictionary::new();
    for (key, value) in [
        ("v", 7),
        ("vend", 1),
        ("pv", 12),
        ("majv", 1),
        ("minv", 14),
        ("revv", 1),
        ("mr", 1024),
        ("mc", 128),
        ("mcr", 64),
        ("mt", 128),
        ("f", 0),
        ("revr", 1),
    ] {
        metadata.push_integer(key, value);
    }
    metadata.push("o", PLATFORM);
    if let Some(token) = token {
        metadata.push("a", format!("token:{token}"));
    }
    metadata.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_are_those_of_a_stock_client() {
        assert_eq!(metadata(None).len(), 263, "VL2 appendix A");
    }
}
