//! Revocations (VL2 §3.5): a member's credentials up to a time are void.

use super::{
    CredentialKind, NO_ADDITIONS, TypedSignature, governs, sign, signed_message, skip_additions,
};
use crate::address::{Address, NetworkId};
use crate::identity::{Identity, SecretIdentity};
use crate::wire::{Emit, Malformed, Reader, Sink};

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Tells revocations apart; random.
    pub id: u32,
    /// The network whose credentials are revoked.
    pub network: NetworkId,
    /// Which credential; zero for certificates of membership.
    pub credential_id: u32,
    /// Credentials issued at this time or before are void.
    pub threshold: u64,
    flags: u64,
    /// Whose credentials are revoked.
    pub target: Address,
    signer: Address,
    /// Which kind of credential.
    pub kind: CredentialKind,
    signature: TypedSignature,
}

impl Revocation {
    const FAST_PROPAGATE: u64 = 0x1;

    /// Revokes the certificates of membership of `target` issued at `threshold` or before;
    /// every member is asked to pass the word on.
    pub fn of_membership(
        controller: &SecretIdentity,
        network: NetworkId,
        target: Address,
        threshold: u64,
        id: u32,
    ) -> Revocation {
        let mut revocation = Revocation {
            id,
            network,
            credential_id: 0,
            threshold,
            flags: Self::FAST_PROPAGATE,
            target,
            signer: controller.address(),
            kind: CredentialKind::MEMBERSHIP,
            signature: TypedSignature(None),
        };
        revocation.signature = sign(controller, &revocation.signed_message());
        revocation
    }

    /// Reads a revocation, which delimits itself.
    pub fn read(reader: &mut Reader<'_>) -> Result<Revocation, Malformed> {
        let reserved = reader.u32()?;
        let id = reader.u32()?;
        let network = NetworkId::read(reader)?;
        let reserved_too = reader.u32()?;
        // Signed as zero: anything else could not verify.
        reader.require(reserved == 0 && reserved_too == 0)?;
        let revocation = Revocation {
            id,
            network,
            credential_id: reader.u32()?,
            threshold: reader.u64()?,
            flags: reader.u64()?,
            target: Address::read(reader)?,
            signer: Address::read(reader)?,
            kind: CredentialKind(reader.u8()?),
            signature: TypedSignature::read(reader)?,
        };
        skip_additions(reader)?;
        Ok(revocation)
    }

    /// Whether it should be passed on to every member.
    pub fn propagates(&self) -> bool {
        self.flags & Self::FAST_PROPAGATE != 0
    }

    /// Who signed it.
    pub fn signer(&self) -> Address {
        self.signer
    }

    /// Whether the network's controller, whose identity is `controller`, signed it.
    pub fn verify(&self, controller: &Identity) -> bool {
        governs(controller, self.signer, self.network)
            && self.signature.verify(&self.signed_message(), controller)
    }

    fn write_signed<S: Sink>(&self, out: &mut S) {
        out.u32(0);
        out.u32(self.id);
        self.network.write(out);
        out.u32(0);
        out.u32(self.credential_id);
        out.u64(self.threshold);
        out.u64(self.flags);
        self.target.write(out);
        self.signer.write(out);
        out.u8(self.kind.0);
    }

    pub(super) fn signed_message(&self) -> Vec<u8> {
        signed_message(|out| self.write_signed(out))
    }
}

impl Emit for Revocation {
    fn write<S: Sink>(&self, out: &mut S) {
        self.write_signed(out);
        self.signature.write(out);
        out.u16(NO_ADDITIONS);
    }
}
