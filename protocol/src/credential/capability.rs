//! Capabilities (VL2 §3.3): a rule list that its holder may use beside the network's own rules.

use super::{NO_ADDITIONS, TypedSignature, sign, signed_message, skip_additions};
use crate::address::{Address, NetworkId};
use crate::identity::{Identity, SecretIdentity};
use crate::rule::{self, Rule};
use crate::wire::{Emit, Malformed, Reader, Sink};

const MAX_RULES: usize = 64;
const MAX_CUSTODY: u8 = 7;

/// One hand-over of a capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custody {
    /// Who got it.
    pub to: Address,
    /// Who gave it, and signed.
    pub from: Address,
    signature: TypedSignature,
}

/// A capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The network in which it means something.
    pub network: NetworkId,
    /// When it was issued, in milliseconds.
    pub timestamp: u64,
    /// Which capability it is.
    pub id: u32,
    rule_count: u16,
    /// The rules exactly as signed: re-encoding would break the signature of unknown ones.
    raw_rules: Vec<u8>,
    max_custody: u8,
    custody: Vec<Custody>,
}

impl Capability {
    /// Gives the capability `id`, which consists of `rules`, to the member `issued_to`.
    pub fn issue(
        controller: &SecretIdentity,
        network: NetworkId,
        issued_to: Address,
        timestamp: u64,
        id: u32,
        rules: &[Rule],
    ) -> Capability {
        let mut raw_rules = Vec::new();
        for rule in rules {
            rule.write(&mut raw_rules);
        }
        let mut capability = Capability {
            network,
            timestamp,
            id,
            rule_count: rules.len() as u16,
            raw_rules,
            max_custody: 1,
            custody: Vec::new(),
        };
        let signature = sign(controller, &capability.signed_message());
        capability.custody.push(Custody {
            to: issued_to,
            from: controller.address(),
            signature,
        });
        capability
    }

    /// Reads a capability, which delimits itself.
    pub fn read(reader: &mut Reader<'_>) -> Result<Capability, Malformed> {
        let network = NetworkId::read(reader)?;
        let timestamp = reader.u64()?;
        let id = reader.u32()?;
        let rule_count = reader.u16()?;
        reader.require(usize::from(rule_count) <= MAX_RULES)?;
        let raw_rules = rule::skip(reader, rule_count.into())?.to_vec();
        let max_custody = reader.u8()?;
        let mut custody = Vec::new();
        loop {
            let to = Address::read(reader)?;
            if to.is_nil() {
                break;
            }
            reader.require(custody.len() < usize::from(MAX_CUSTODY))?;
            let from = Address::read(reader)?;
            custody.push(Custody {
                to,
                from,
                signature: TypedSignature::read(reader)?,
            });
        }
        skip_additions(reader)?;
        Ok(Capability {
            network,
            timestamp,
            id,
            rule_count,
            raw_rules,
            max_custody,
            custody,
        })
    }

    /// The rules that the holder may use.
    pub fn rules(&self) -> Vec<Rule> {
        rule::parse_list(&self.raw_rules).unwrap_or_default()
    }

    /// Who holds it now; nil if nobody does.
    pub fn issued_to(&self) -> Address {
        self.custody.last().map_or(Address::NIL, |link| link.to)
    }

    /// The chain of hand-overs, from the controller on.
    pub fn custody(&self) -> &[Custody] {
        &self.custody
    }

    /// Whether the network's controller gave it away and every hand-over is signed.
    /// `identity_of` finds the identities of those who signed.
    pub fn verify<'a>(&self, identity_of: impl Fn(Address) -> Option<&'a Identity>) -> bool {
        let length_fits = (1..=MAX_CUSTODY).contains(&self.max_custody)
            && (1..=usize::from(self.max_custody)).contains(&self.custody.len());
        let message = self.signed_message();
        let mut holder = self.network.controller();
        length_fits
            && self.custody.iter().all(|link| {
                let unbroken = link.from == holder;
                holder = link.to;
                unbroken
                    && identity_of(link.from).is_some_and(|signer| {
                        signer.address() == link.from && link.signature.verify(&message, signer)
                    })
            })
    }

    fn write_signed<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        out.u64(self.timestamp);
        out.u32(self.id);
        out.u16(self.rule_count);
        out.put(&self.raw_rules);
        out.u8(self.max_custody);
    }

    /// The same for every link of the chain.
    pub(super) fn signed_message(&self) -> Vec<u8> {
        signed_message(|out| self.write_signed(out))
    }
}

impl Emit for Capability {
    fn write<S: Sink>(&self, out: &mut S) {
        self.write_signed(out);
        for link in &self.custody {
            link.to.write(out);
            link.from.write(out);
            link.signature.write(out);
        }
        Address::NIL.write(out);
        out.u16(NO_ADDITIONS);
    }
}
