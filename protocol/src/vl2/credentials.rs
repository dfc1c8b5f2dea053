//! Credentials of other members: taking them, passing revocations on, and asking for those that
//! are missing (VL2 §3.5–§3.7).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::membership::{Acceptance, Membership};
use super::network::Network;
use super::{FrameSink, Vl2};
use crate::credential::{CertificateOfMembership, CredentialKind, Revocation};
use crate::verb::{ErrorCode, ErrorReply, NetworkCredentials};
use crate::vl1::{Inbound, PathId, Vl1};
use crate::wire::Emit;
use crate::{Address, Identity, NetworkId, Time, Verb};

/// Credentials whose issuer is not known yet wait this long.
const WAITING_LIFETIME: Duration = Duration::from_secs(5);
const MAX_WAITING: usize = 32;

/// NETWORK_CREDENTIALS that cannot be verified before their issuer is known.
#[derive(Debug)]
pub(super) struct Waiting {
    since: Time,
    issuer: Address,
    from: Address,
    path: PathId,
    body: Vec<u8>,
}

/// What a packet of credentials brought.
#[derive(Default)]
struct Gain {
    /// Something was accepted that counts as proof of a common network.
    accepted: bool,
    /// Members whose certificate was accepted.
    certified: Vec<(NetworkId, Address)>,
    /// Revocations to be passed on.
    spread: Vec<Revocation>,
    /// Networks on which our own certificate is void.
    lost: Vec<NetworkId>,
    refused: u64,
}

impl Vl2 {
    /// Treats NETWORK_CREDENTIALS.
    pub(super) fn handle_credentials(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        inbound: &Inbound<'_>,
        frames: FrameSink<'_>,
    ) {
        if !self.credential_limit.admit(now, inbound.from) {
            self.counters.over_limit += 1;
            return;
        }
        let Ok(credentials) = NetworkCredentials::parse(inbound.body) else {
            self.counters.malformed += 1;
            return;
        };
        if let Some(issuer) = self.unknown_issuer(vl1, &credentials) {
            self.wait_for(now, vl1, issuer, inbound);
            return;
        }
        self.take_credentials(
            now,
            vl1,
            inbound.from,
            Some(inbound.path),
            credentials,
            frames,
        );
    }

    /// Treats credentials that waited for the identity of `issuer`.
    pub(super) fn retry_waiting(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        issuer: Address,
        frames: FrameSink<'_>,
    ) {
        let waiting = std::mem::take(&mut self.waiting);
        let (ready, waiting) = waiting
            .into_iter()
            .partition(|waiting| waiting.issuer == issuer);
        self.waiting = waiting;
        let ready: VecDeque<Waiting> = ready;
        for Waiting {
            from, path, body, ..
        } in ready
        {
            if let Ok(credentials) = NetworkCredentials::parse(&body) {
                self.take_credentials(now, vl1, from, Some(path), credentials, frames);
            }
        }
    }

    /// Takes a certificate that came inside another message.
    pub(super) fn accept_inline_certificate(
        &mut self,
        now: Time,
        vl1: &Vl1,
        from: Address,
        certificate: CertificateOfMembership,
    ) {
        if !self.credential_limit.admit(now, from) {
            self.counters.over_limit += 1;
            return;
        }
        let Some(network) = self.networks.get_mut(&certificate.network()) else {
            return;
        };
        let Some(controller) = vl1.identity_of(network.id.controller()) else {
            return;
        };
        if network.accept_certificate(certificate, controller) == Acceptance::Refused {
            self.counters.bad_credential += 1;
        }
    }

    /// Keeps a frame that `from` may not send yet, and asks for the certificate that is missing,
    /// at most once a second (VL2 addendum 5).
    pub(super) fn refuse(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        network: NetworkId,
        inbound: &Inbound<'_>,
    ) {
        self.counters.not_a_member += 1;
        self.kept.keep(now, network, inbound);
        if self.refusal_limit.admit(now, inbound.from) {
            let error = ErrorReply {
                verb: inbound.verb,
                id: inbound.id,
                code: ErrorCode::NEED_MEMBERSHIP_CERTIFICATE,
                payload: network,
            };
            vl1.send_on(
                now,
                inbound.path,
                inbound.from,
                Verb::ERROR,
                &error.to_bytes(),
            );
        }
    }

    /// Takes a revocation that this node sent to itself, being controller and member at once.
    pub(super) fn take_own_revocation(&mut self, now: Time, vl1: &mut Vl1, revocation: Revocation) {
        let credentials = NetworkCredentials {
            revocations: vec![revocation],
            ..Default::default()
        };
        // A revocation admits nobody, so no kept frame can become deliverable.
        self.take_credentials(now, vl1, self.own, None, credentials, &mut |_, _| {});
    }

    fn unknown_issuer(&self, vl1: &Vl1, credentials: &NetworkCredentials) -> Option<Address> {
        let networks = (credentials
            .memberships
            .iter()
            .map(CertificateOfMembership::network))
        .chain(
            credentials
                .capabilities
                .iter()
                .map(|credential| credential.network),
        )
        .chain(credentials.tags.iter().map(|credential| credential.network))
        .chain(
            credentials
                .revocations
                .iter()
                .map(|credential| credential.network),
        )
        .chain(
            credentials
                .ownerships
                .iter()
                .map(|credential| credential.network),
        );
        let joined = networks.filter(|network| self.networks.contains_key(network));
        joined
            .map(NetworkId::controller)
            .find(|&issuer| vl1.identity_of(issuer).is_none())
    }

    fn wait_for(&mut self, now: Time, vl1: &mut Vl1, issuer: Address, inbound: &Inbound<'_>) {
        self.waiting
            .retain(|waiting| now.since(waiting.since) < WAITING_LIFETIME);
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting {
            since: now,
            issuer,
            from: inbound.from,
            path: inbound.path,
            body: inbound.body.to_vec(),
        });
        vl1.want_identity(now, issuer);
    }

    fn take_credentials(
        &mut self,
        now: Time,
        vl1: &mut Vl1,
        from: Address,
        path: Option<PathId>,
        credentials: NetworkCredentials,
        frames: FrameSink<'_>,
    ) {
        let gain = accept_all(&mut self.networks, vl1, credentials);
        self.counters.bad_credential += gain.refused;
        if let Some(path) = path.filter(|_| gain.accepted) {
            vl1.trusted(now, from, path);
        }
        for revocation in &gain.spread {
            self.spread(now, vl1, from, revocation);
        }
        for network in gain.lost {
            // The controller tells what became of us (VL2 addendum 1).
            if let Some(network) = self.networks.get_mut(&network) {
                network.request.hurry(now);
            }
        }
        for (network, member) in gain.certified {
            for kept in self.kept.take(now, network, member) {
                self.handle_packet(now, vl1, &kept.as_inbound(), frames);
            }
        }
    }

    /// Passes a revocation on to every member but those who know it.
    fn spread(&mut self, now: Time, vl1: &mut Vl1, from: Address, revocation: &Revocation) {
        let Some(network) = self.networks.get(&revocation.network) else {
            return;
        };
        let body = revocation_packet(revocation.clone());
        let known = [from, revocation.signer(), network.own];
        for &member in network
            .members
            .keys()
            .filter(|member| !known.contains(member))
        {
            vl1.send(now, member, Verb::NETWORK_CREDENTIALS, &body, false);
        }
    }
}

impl Network {
    /// Takes a certificate of any member, whoever delivered it.
    fn accept_certificate(
        &mut self,
        certificate: CertificateOfMembership,
        controller: &Identity,
    ) -> Acceptance {
        with_member(&mut self.members, certificate.issued_to(), |member| {
            member.accept_certificate(certificate, |certificate| certificate.verify(controller))
        })
    }
}

/// The body of a NETWORK_CREDENTIALS with nothing but `revocation`.
pub(super) fn revocation_packet(revocation: Revocation) -> Vec<u8> {
    NetworkCredentials {
        revocations: vec![revocation],
        ..Default::default()
    }
    .to_bytes()
}

/// Takes what is valid among `credentials`.
fn accept_all(
    networks: &mut HashMap<NetworkId, Network>,
    vl1: &Vl1,
    credentials: NetworkCredentials,
) -> Gain {
    let mut gain = Gain::default();
    // Revocations first: a certificate that came with its own revocation must not count.
    for revocation in credentials.revocations {
        let (id, target) = (revocation.network, revocation.target);
        let Some((network, controller)) = issuer(networks, vl1, id) else {
            continue;
        };
        let acceptance = with_member(&mut network.members, target, |member| {
            member.accept_revocation(&revocation, |revocation| revocation.verify(controller))
        });
        if gain.count(acceptance) == Acceptance::New {
            if target == network.own && network.is_void(&revocation) {
                gain.lost.push(id);
            }
            if revocation.propagates() {
                gain.spread.push(revocation);
            }
        }
    }
    for certificate in credentials.memberships {
        let (id, member) = (certificate.network(), certificate.issued_to());
        let Some((network, controller)) = issuer(networks, vl1, id) else {
            continue;
        };
        if gain.count(network.accept_certificate(certificate, controller)) == Acceptance::New {
            gain.certified.push((id, member));
        }
    }
    for capability in credentials.capabilities {
        let Some((network, _)) = issuer(networks, vl1, capability.network) else {
            continue;
        };
        let acceptance = with_member(&mut network.members, capability.issued_to(), |member| {
            member.accept_capability(capability, |capability| {
                capability.verify(|signer| vl1.identity_of(signer))
            })
        });
        gain.count(acceptance);
    }
    for tag in credentials.tags {
        let Some((network, controller)) = issuer(networks, vl1, tag.network) else {
            continue;
        };
        let acceptance = with_member(&mut network.members, tag.issued_to, |member| {
            member.accept_tag(tag, |tag| tag.verify(controller))
        });
        gain.count(acceptance);
    }
    for owned in credentials.ownerships {
        let Some((network, controller)) = issuer(networks, vl1, owned.network) else {
            continue;
        };
        let acceptance = with_member(&mut network.members, owned.issued_to, |member| {
            member.accept_ownership(owned, |owned| owned.verify(controller))
        });
        gain.count(acceptance);
    }
    gain
}

impl Gain {
    fn count(&mut self, acceptance: Acceptance) -> Acceptance {
        match acceptance {
            Acceptance::New | Acceptance::Known => self.accepted = true,
            Acceptance::Refused => self.refused += 1,
        }
        acceptance
    }
}

impl Network {
    /// Whether `revocation` voids the certificate that we hold ourselves.
    fn is_void(&self, revocation: &Revocation) -> bool {
        let config = self.config.as_ref();
        let certificate = config.and_then(|config| config.parsed.membership.as_ref());
        revocation.kind == CredentialKind::MEMBERSHIP
            && certificate.is_some_and(|ours| ours.timestamp() <= revocation.threshold)
    }
}

/// A joined network and its controller's identity.
fn issuer<'n, 'v>(
    networks: &'n mut HashMap<NetworkId, Network>,
    vl1: &'v Vl1,
    id: NetworkId,
) -> Option<(&'n mut Network, &'v Identity)> {
    networks.get_mut(&id).zip(vl1.identity_of(id.controller()))
}

/// Offers something to a member's record; a record is made only for what is accepted, so that
/// strangers cannot fill the table.
fn with_member(
    members: &mut HashMap<Address, Membership>,
    address: Address,
    offer: impl FnOnce(&mut Membership) -> Acceptance,
) -> Acceptance {
    if let Some(member) = members.get_mut(&address) {
        return offer(member);
    }
    let mut member = Membership::default();
    let acceptance = offer(&mut member);
    if acceptance == Acceptance::New {
        members.insert(address, member);
    }
    acceptance
}
