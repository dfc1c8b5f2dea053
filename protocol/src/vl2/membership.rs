//! What we know about another member of a network: its credentials, and what we told it
//! (VL2 §3).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::credential::{
    Capability, CertificateOfMembership, CertificateOfOwnership, CredentialKind, Revocation, Tag,
};
use crate::rule::Rule;
use crate::{Identity, Time};

/// Our credentials are pushed again after this long even if they did not change (VL2 §3.6).
const PUSH_INTERVAL: Duration = Duration::from_secs(500);
/// Pushes on request come at most this often.
const PUSH_ON_REQUEST: Duration = Duration::from_secs(1);
/// Our groups are announced to a member at most this often, except new ones (VL2 §4.4).
pub(super) const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(60);
/// A member whose credentials have expired is forgotten after this long.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Tags, capabilities and certificates of ownership held of one member, each (VL2 §8).
const MAX_HELD: usize = 128;

/// Another member as we see it.
#[derive(Debug, Default)]
pub(super) struct Membership {
    certificate: Option<CertificateOfMembership>,
    /// Whether the certificate agrees with ours; `None` until somebody asks.
    agrees: Option<bool>,
    /// Thresholds at or below which a credential is void.
    revoked: HashMap<(CredentialKind, u32), u64>,
    tags: BTreeMap<u32, Tag>,
    capabilities: BTreeMap<u32, HeldCapability>,
    ownerships: BTreeMap<u32, CertificateOfOwnership>,
    last_push: Option<Time>,
    last_requested_push: Option<Time>,
    last_announced: Option<Time>,
}

/// A capability with its rules decoded once.
#[derive(Debug)]
pub(super) struct HeldCapability {
    credential: Capability,
    pub(super) rules: Vec<Rule>,
}

/// What became of a credential that somebody handed us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acceptance {
    /// It is new and holds.
    New,
    /// We had it already.
    Known,
    /// It is void, stale or not signed by the controller.
    Refused,
}

impl Membership {
    /// Takes a certificate of this member; `verify` checks its signature and is called last,
    /// because it costs most.
    pub(super) fn accept_certificate(
        &mut self,
        certificate: CertificateOfMembership,
        verify: impl FnOnce(&CertificateOfMembership) -> bool,
    ) -> Acceptance {
        if self.is_revoked(CredentialKind::MEMBERSHIP, 0, certificate.timestamp()) {
            return Acceptance::Refused;
        }
        match &self.certificate {
            Some(held) if *held == certificate => return Acceptance::Known,
            Some(held) if held.timestamp() > certificate.timestamp() => return Acceptance::Refused,
            _ => {}
        }
        if !verify(&certificate) {
            return Acceptance::Refused;
        }
        self.certificate = Some(certificate);
        self.agrees = None;
        Acceptance::New
    }

    /// Takes a tag; see [`accept_certificate`](Self::accept_certificate).
    pub(super) fn accept_tag(&mut self, tag: Tag, verify: impl FnOnce(&Tag) -> bool) -> Acceptance {
        if self.is_revoked(CredentialKind::TAG, tag.id, tag.timestamp) {
            return Acceptance::Refused;
        }
        let stamp = |tag: &Tag| tag.timestamp;
        let acceptance = judge(self.tags.get(&tag.id), &tag, stamp, self.tags.len(), verify);
        if acceptance == Acceptance::New {
            self.tags.insert(tag.id, tag);
        }
        acceptance
    }

    /// Takes a capability; see [`accept_certificate`](Self::accept_certificate).
    pub(super) fn accept_capability(
        &mut self,
        capability: Capability,
        verify: impl FnOnce(&Capability) -> bool,
    ) -> Acceptance {
        let id = capability.id;
        if self.is_revoked(CredentialKind::CAPABILITY, id, capability.timestamp) {
            return Acceptance::Refused;
        }
        let held = self.capabilities.get(&id).map(|held| &held.credential);
        let stamp = |capability: &Capability| capability.timestamp;
        let acceptance = judge(held, &capability, stamp, self.capabilities.len(), verify);
        if acceptance == Acceptance::New {
            let rules = capability.rules();
            self.capabilities.insert(
                id,
                HeldCapability {
                    credential: capability,
                    rules,
                },
            );
        }
        acceptance
    }

    /// Takes a certificate of ownership; see [`accept_certificate`](Self::accept_certificate).
    pub(super) fn accept_ownership(
        &mut self,
        ownership: CertificateOfOwnership,
        verify: impl FnOnce(&CertificateOfOwnership) -> bool,
    ) -> Acceptance {
        let id = ownership.id;
        if self.is_revoked(CredentialKind::OWNERSHIP, id, ownership.timestamp) {
            return Acceptance::Refused;
        }
        let stamp = |ownership: &CertificateOfOwnership| ownership.timestamp;
        let held = self.ownerships.get(&id);
        let acceptance = judge(held, &ownership, stamp, self.ownerships.len(), verify);
        if acceptance == Acceptance::New {
            self.ownerships.insert(id, ownership);
        }
        acceptance
    }

    /// Takes a revocation of this member's credentials (VL2 §3.5).
    pub(super) fn accept_revocation(
        &mut self,
        revocation: &Revocation,
        verify: impl FnOnce(&Revocation) -> bool,
    ) -> Acceptance {
        let key = (revocation.kind, revocation.credential_id);
        if self
            .revoked
            .get(&key)
            .is_some_and(|&threshold| threshold >= revocation.threshold)
        {
            return Acceptance::Known;
        }
        if !verify(revocation) {
            return Acceptance::Refused;
        }
        self.revoked.insert(key, revocation.threshold);
        self.agrees = None;
        Acceptance::New
    }

    /// Whether this member, whose identity is `identity`, may send to us, who hold `ours`
    /// (VL2 §3.7).
    pub(super) fn is_admitted(
        &mut self,
        ours: &CertificateOfMembership,
        identity: &Identity,
    ) -> bool {
        if let Some(agrees) = self.agrees {
            return agrees;
        }
        let agrees = self.certificate.as_ref().is_some_and(|theirs| {
            !self.is_revoked(CredentialKind::MEMBERSHIP, 0, theirs.timestamp())
                && ours.agrees_with(theirs, identity)
        });
        self.agrees = Some(agrees);
        agrees
    }

    /// Our own certificate changed: the verdict must be found again.
    pub(super) fn forget_verdict(&mut self) {
        self.agrees = None;
    }

    /// The value of a tag that counts now (VL2 §3.8).
    pub(super) fn tag(&self, id: u32, window: Window) -> Option<u32> {
        let tag = self.tags.get(&id)?;
        let counts = self.counts(CredentialKind::TAG, id, tag.timestamp, window);
        counts.then_some(tag.value)
    }

    /// The capabilities that count now, by ascending id.
    pub(super) fn capabilities(&self, window: Window) -> impl Iterator<Item = &HeldCapability> {
        self.capabilities.iter().filter_map(move |(&id, held)| {
            let stamp = held.credential.timestamp;
            self.counts(CredentialKind::CAPABILITY, id, stamp, window)
                .then_some(held)
        })
    }

    /// The certificates of ownership that count now.
    pub(super) fn ownerships(
        &self,
        window: Window,
    ) -> impl Iterator<Item = &CertificateOfOwnership> {
        self.ownerships.iter().filter_map(move |(&id, held)| {
            let counts = self.counts(CredentialKind::OWNERSHIP, id, held.timestamp, window);
            counts.then_some(held)
        })
    }

    /// Whether our credentials must go out before the next frame to this member (VL2 §3.6).
    pub(super) fn needs_push(&self, now: Time, config_since: Time) -> bool {
        self.last_push
            .is_none_or(|last| last < config_since || now.is_due(last, PUSH_INTERVAL))
    }

    /// Whether our credentials may go out because this member asked for them. A push that was
    /// lost a moment ago is no reason to refuse, so only pushes on request count.
    pub(super) fn may_push_on_request(&self, now: Time) -> bool {
        self.last_requested_push
            .is_none_or(|last| now.is_due(last, PUSH_ON_REQUEST))
    }

    pub(super) fn pushed_on_request(&mut self, now: Time) {
        self.last_requested_push = Some(now);
        self.last_push = Some(now);
    }

    pub(super) fn pushed(&mut self, now: Time) {
        self.last_push = Some(now);
    }

    /// Whether our groups were not announced to this member lately.
    pub(super) fn needs_announcement(&self, now: Time) -> bool {
        self.last_announced
            .is_none_or(|last| now.is_due(last, ANNOUNCE_INTERVAL))
    }

    pub(super) fn announced(&mut self, now: Time) {
        self.last_announced = Some(now);
    }

    /// Whether nothing in the record matters any more: whatever it holds was issued before
    /// `window`, so that it could admit nobody, and we have not dealt with the member lately.
    pub(super) fn is_stale(&self, now: Time, window: Window) -> bool {
        let held = self
            .certificate
            .iter()
            .map(CertificateOfMembership::timestamp);
        let newest = held.chain(self.revoked.values().copied()).max();
        let dealt_with = self.last_push.max(self.last_announced);
        newest.is_none_or(|newest| window.has_outlived(newest))
            && dealt_with.is_none_or(|last| now.is_due(last, FORGET_AFTER))
    }

    fn is_revoked(&self, kind: CredentialKind, id: u32, timestamp: u64) -> bool {
        self.revoked
            .get(&(kind, id))
            .is_some_and(|&threshold| timestamp <= threshold)
    }

    fn counts(&self, kind: CredentialKind, id: u32, timestamp: u64, window: Window) -> bool {
        window.contains(timestamp) && !self.is_revoked(kind, id, timestamp)
    }
}

/// The times of issue that count beside our own configuration (VL2 §3.8).
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) centre: u64,
    pub(super) max_delta: u64,
}

impl Window {
    fn contains(self, timestamp: u64) -> bool {
        self.centre.abs_diff(timestamp) <= self.max_delta
    }

    fn has_outlived(self, timestamp: u64) -> bool {
        timestamp < self.centre.saturating_sub(self.max_delta)
    }
}

/// Whether an offered credential replaces the one held: it must not be older, must leave the
/// number of those held within bounds, and must verify.
fn judge<C: PartialEq>(
    held: Option<&C>,
    offered: &C,
    stamp: impl Fn(&C) -> u64,
    count: usize,
    verify: impl FnOnce(&C) -> bool,
) -> Acceptance {
    match held {
        Some(held) if held == offered => Acceptance::Known,
        Some(held) if stamp(held) > stamp(offered) => Acceptance::Refused,
        None if count >= MAX_HELD => Acceptance::Refused,
        _ if verify(offered) => Acceptance::New,
        _ => Acceptance::Refused,
    }
}
