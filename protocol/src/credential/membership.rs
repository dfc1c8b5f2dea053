//! Certificates of membership (VL2 §3.1): "this key was a member at that time". Two members
//! accept each other when their certificates agree; the clock is not asked.

use super::governs;
use crate::address::{Address, NetworkId};
use crate::identity::{Identity, SIGNATURE_LEN, SecretIdentity, SignatureBytes};
use crate::wire::{Emit, Malformed, Reader, Sink};

const VERSION: u8 = 1;
const MAX_QUALIFIERS: usize = 8;

const TIMESTAMP: u64 = 0;
const NETWORK: u64 = 1;
const ISSUED_TO: u64 = 2;
/// The four qualifiers that hold the member's key fingerprint.
const FINGERPRINT: std::ops::RangeInclusive<u64> = 3..=6;

/// One value that two certificates must share, within a tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qualifier {
    /// What the value means.
    pub id: u64,
    /// The value.
    pub value: u64,
    /// How far another certificate's value may differ.
    pub max_delta: u64,
}

/// A certificate of membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateOfMembership {
    qualifiers: Vec<Qualifier>,
    signer: Address,
    signature: Option<SignatureBytes>,
}

impl CertificateOfMembership {
    /// The first byte of the wire form, by which a list of certificates is delimited.
    pub const FIRST_BYTE: u8 = VERSION;

    /// Certifies `member` at `timestamp`; certificates up to `max_delta` milliseconds apart agree.
    pub fn issue(
        controller: &SecretIdentity,
        network: NetworkId,
        member: &Identity,
        timestamp: u64,
        max_delta: u64,
    ) -> CertificateOfMembership {
        const ANY: u64 = u64::MAX;
        let mut qualifiers = vec![
            Qualifier {
                id: TIMESTAMP,
                value: timestamp,
                max_delta,
            },
            Qualifier {
                id: NETWORK,
                value: network.0,
                max_delta: 0,
            },
            Qualifier {
                id: ISSUED_TO,
                value: member.address().to_u64(),
                max_delta: ANY,
            },
        ];
        let values = fingerprint_values(member);
        qualifiers.extend(FINGERPRINT.zip(values).map(|(id, value)| Qualifier {
            id,
            value,
            max_delta: ANY,
        }));
        let mut certificate = CertificateOfMembership {
            qualifiers,
            signer: controller.address(),
            signature: None,
        };
        certificate.signature = Some(controller.sign(&certificate.signed_message()));
        certificate
    }

    /// Parses a certificate; bytes after it are ignored.
    pub fn parse(bytes: &[u8]) -> Result<CertificateOfMembership, Malformed> {
        Self::read(&mut Reader::new(bytes, "certificate of membership"))
    }

    /// Reads a certificate, which delimits itself.
    pub fn read(reader: &mut Reader<'_>) -> Result<CertificateOfMembership, Malformed> {
        let version = reader.u8()?;
        let count = usize::from(reader.u16()?);
        reader.require(version == VERSION && count <= MAX_QUALIFIERS)?;
        let mut qualifiers = Vec::with_capacity(count);
        for _ in 0..count {
            let qualifier = Qualifier {
                id: reader.u64()?,
                value: reader.u64()?,
                max_delta: reader.u64()?,
            };
            reader.require(
                qualifiers
                    .last()
                    .is_none_or(|q: &Qualifier| q.id <= qualifier.id),
            )?;
            qualifiers.push(qualifier);
        }
        let signer = Address::read(reader)?;
        let signature = if signer.is_nil() {
            None
        } else {
            Some(reader.array::<SIGNATURE_LEN>()?)
        };
        Ok(CertificateOfMembership {
            qualifiers,
            signer,
            signature,
        })
    }

    /// When it was issued, by the controller's clock; zero if it does not say.
    pub fn timestamp(&self) -> u64 {
        self.value(TIMESTAMP).unwrap_or(0)
    }

    /// Of which network it is.
    pub fn network(&self) -> NetworkId {
        NetworkId(self.value(NETWORK).unwrap_or(0))
    }

    /// Whom it certifies.
    pub fn issued_to(&self) -> Address {
        Address::new(self.value(ISSUED_TO).unwrap_or(0))
    }

    /// Who signed it; nil if nobody did.
    pub fn signer(&self) -> Address {
        self.signer
    }

    /// All qualifiers, by ascending id.
    pub fn qualifiers(&self) -> &[Qualifier] {
        &self.qualifiers
    }

    /// Whether the network's controller, whose identity is `controller`, signed it.
    pub fn verify(&self, controller: &Identity) -> bool {
        governs(controller, self.signer, self.network())
            && self
                .signature
                .is_some_and(|signature| controller.verify(&self.signed_message(), &signature))
    }

    /// Whether `theirs`, held by the node `their_identity`, agrees with this one of ours. Not
    /// symmetric: the tolerances are ours.
    pub fn agrees_with(&self, theirs: &CertificateOfMembership, their_identity: &Identity) -> bool {
        !self.qualifiers.is_empty()
            && !theirs.qualifiers.is_empty()
            && self.qualifiers.iter().all(|mine| {
                theirs
                    .value(mine.id)
                    .is_some_and(|value| mine.value.abs_diff(value) <= mine.max_delta)
            })
            && (!self
                .qualifiers
                .iter()
                .any(|mine| FINGERPRINT.contains(&mine.id))
                || theirs.is_of(their_identity))
    }

    /// Whether it carries the fingerprint of `identity`.
    pub fn is_of(&self, identity: &Identity) -> bool {
        FINGERPRINT
            .zip(fingerprint_values(identity))
            .all(|(id, value)| self.value(id) == Some(value))
    }

    fn value(&self, id: u64) -> Option<u64> {
        self.qualifiers.iter().find(|q| q.id == id).map(|q| q.value)
    }

    fn write_qualifiers<S: Sink>(&self, out: &mut S) {
        for qualifier in &self.qualifiers {
            out.u64(qualifier.id);
            out.u64(qualifier.value);
            out.u64(qualifier.max_delta);
        }
    }

    /// Only the qualifiers, without any framing.
    fn signed_message(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(24 * self.qualifiers.len());
        self.write_qualifiers(&mut message);
        message
    }
}

impl Emit for CertificateOfMembership {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u8(VERSION);
        out.u16(self.qualifiers.len() as u16);
        self.write_qualifiers(out);
        self.signer.write(out);
        if let Some(signature) = &self.signature {
            out.put(signature);
        }
    }
}

/// The first 32 bytes of the fingerprint as four integers.
fn fingerprint_values(identity: &Identity) -> [u64; 4] {
    let fingerprint = identity.fingerprint();
    std::array::from_fn(|i| u64::from_be_bytes(std::array::from_fn(|k| fingerprint[8 * i + k])))
}
