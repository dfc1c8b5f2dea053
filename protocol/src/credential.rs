//! What a controller signs about a member (VL2 §3). Each credential parses, emits, is issued
//! and verified here; who holds which, and for how long it counts, is decided by
//! [`vl2`](crate::vl2).

mod capability;
mod membership;
mod ownership;
mod revocation;
mod tag;

pub use capability::{Capability, Custody};
pub use membership::{CertificateOfMembership, Qualifier};
pub use ownership::{CertificateOfOwnership, Thing};
pub use revocation::Revocation;
pub use tag::Tag;

use crate::address::{Address, NetworkId};
use crate::identity::{Identity, SIGNATURE_LEN, SecretIdentity, SignatureBytes};
use crate::wire::{Emit, Malformed, Reader, Sink};

/// What kind of credential a revocation voids. Unknown numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CredentialKind(pub u8);

impl CredentialKind {
    /// A certificate of membership.
    pub const MEMBERSHIP: CredentialKind = CredentialKind(1);
    /// A capability.
    pub const CAPABILITY: CredentialKind = CredentialKind(2);
    /// A tag.
    pub const TAG: CredentialKind = CredentialKind(3);
    /// A certificate of ownership.
    pub const OWNERSHIP: CredentialKind = CredentialKind(4);
}

/// Whether `controller` is who must sign for `network`.
fn governs(controller: &Identity, signer: Address, network: NetworkId) -> bool {
    controller.address() == signer && network.controller() == signer
}

/// A signature with the type and length before it, as all credentials but the certificate of
/// membership carry it. `None` stands for an unknown type, which never verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TypedSignature(Option<SignatureBytes>);

impl TypedSignature {
    const ED25519: u8 = 1;

    fn read(reader: &mut Reader<'_>) -> Result<TypedSignature, Malformed> {
        let kind = reader.u8()?;
        let length = usize::from(reader.u16()?);
        if kind != Self::ED25519 {
            reader.bytes(length)?;
            return Ok(TypedSignature(None));
        }
        reader.require(length == SIGNATURE_LEN)?;
        Ok(TypedSignature(Some(reader.array()?)))
    }

    fn verify(&self, message: &[u8], signer: &Identity) -> bool {
        self.0
            .is_some_and(|signature| signer.verify(message, &signature))
    }
}

impl Emit for TypedSignature {
    fn write<S: Sink>(&self, out: &mut S) {
        match &self.0 {
            Some(signature) => {
                out.u8(Self::ED25519);
                out.u16(SIGNATURE_LEN as u16);
                out.put(signature);
            }
            None => out.put(&[0, 0, 0]),
        }
    }
}

/// The end of every credential but the certificate of membership: room for additions, of which
/// there are none.
const NO_ADDITIONS: u16 = 0;

fn skip_additions(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let length = reader.u16()?;
    reader.bytes(length.into())?;
    Ok(())
}

/// The input of a credential's signature: its signed part and the length of its additions
/// between two marks.
fn signed_message(signed_part: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    const MARK: [u8; 8] = [0x7f; 8];
    let mut message = MARK.to_vec();
    signed_part(&mut message);
    message.u16(NO_ADDITIONS);
    message.put(&MARK);
    message
}

fn sign(signer: &SecretIdentity, message: &[u8]) -> TypedSignature {
    TypedSignature(Some(signer.sign(message)))
}
