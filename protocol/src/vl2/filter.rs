//! What the rules of a network say about a frame (VL2 §4.12). Both ends ask them: the sender with
//! its own capabilities, the receiver with those of the sender.

use std::net::IpAddr;

use super::config::Config;
use super::membership::Membership;
use crate::credential::Thing;
use crate::rule::{self, Copy, Evidence, Outcome, Rule, Verdict, evaluate};
use crate::{Address, Mac, NetworkConfig};

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) fate: Fate,
    /// Copies for observers, from the base rules and from a capability.
    pub(super) copies: [Option<Copy>; 2],
}

/// Where a frame may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Denied,
    Accepted,
    /// It may go even where its MACs would forbid it: we are its observer.
    SuperAccepted,
    /// It goes to this node instead.
    Redirected(Address),
}

impl Passage {
    pub(super) const DENIED: Self = Self {
        fate: Fate::Denied,
        copies: [None; 2],
    };
    /// What a network without restrictions says about every frame.
    pub(super) const FREE: Self = Self {
        fate: Fate::Accepted,
        copies: [None; 2],
    };
}

/// Asks the rules of `config` about `frame`. `peer` is the other end's membership, if it is known.
pub(super) fn ask(config: &Config, frame: &rule::Frame<'_>, peer: Option<&Membership>) -> Passage {
    if config.accepts_all {
        return Passage::FREE;
    }
    let evidence = Ends {
        config,
        peer,
        inbound: frame.inbound,
    };
    let trust_unknown = config.parsed.has(NetworkConfig::UNKNOWN_MATCHES_HOLD);
    let ask = |rules: &[Rule]| evaluate(rules, frame, trust_unknown, &evidence);
    let base = ask(&config.parsed.rules);
    let fate = match base.verdict {
        Verdict::Drop => return Passage::DENIED,
        Verdict::Accept => Fate::Accepted,
        Verdict::SuperAccept => Fate::SuperAccepted,
        Verdict::Redirect(to) => Fate::Redirected(to),
        Verdict::NoMatch => {
            let outcome = if frame.inbound {
                let held = peer
                    .into_iter()
                    .flat_map(|peer| peer.capabilities(config.window()));
                first_that_passes(held.map(|held| ask(&held.rules)))
            } else {
                let own = config.capabilities.iter();
                first_that_passes(own.map(|(_, rules)| ask(rules)))
            };
            // A network denies what nothing allows.
            let Some((fate, copy)) = outcome else {
                return Passage::DENIED;
            };
            return Passage {
                fate,
                copies: [base.copy, copy],
            };
        }
    };
    Passage {
        fate,
        copies: [base.copy, None],
    }
}

/// Capabilities only allow: what one of them drops the next may still let pass.
fn first_that_passes(outcomes: impl Iterator<Item = Outcome>) -> Option<(Fate, Option<Copy>)> {
    outcomes
        .into_iter()
        .find_map(|Outcome { verdict, copy }| match verdict {
            Verdict::NoMatch | Verdict::Drop => None,
            Verdict::Accept => Some((Fate::Accepted, copy)),
            Verdict::SuperAccept => Some((Fate::SuperAccepted, copy)),
            Verdict::Redirect(to) => Some((Fate::Redirected(to), copy)),
        })
}

/// What is proved about the two ends of a frame.
struct Ends<'a> {
    config: &'a Config,
    peer: Option<&'a Membership>,
    inbound: bool,
}

impl Ends<'_> {
    fn sender_owns(&self, thing: Thing) -> bool {
        if !self.inbound {
            return self
                .config
                .parsed
                .ownerships
                .iter()
                .any(|owned| owned.owns(thing));
        }
        let Some(peer) = self.peer else { return false };
        peer.ownerships(self.config.window())
            .any(|owned| owned.owns(thing))
    }
}

impl Evidence for Ends<'_> {
    fn own_tag(&self, id: u32) -> Option<u32> {
        self.config
            .parsed
            .tags
            .iter()
            .find(|tag| tag.id == id)
            .map(|tag| tag.value)
    }

    fn peer_tag(&self, id: u32) -> Option<u32> {
        self.peer?.tag(id, self.config.window())
    }

    fn sender_owns_ip(&self, ip: IpAddr) -> bool {
        let shares_prefix = self.inbound && self.config.shares_derived_prefix(ip);
        shares_prefix || self.sender_owns(Thing::Ip(ip))
    }

    fn sender_owns_mac(&self, mac: Mac) -> bool {
        self.sender_owns(Thing::Mac(mac))
    }

    fn random(&self) -> u32 {
        self.config.random()
    }
}
