//! Tags (VL2 §3.2): a number that the controller attaches to a member, for rules to compare.

use super::{NO_ADDITIONS, TypedSignature, governs, sign, signed_message, skip_additions};
use crate::address::{Address, NetworkId};
use crate::identity::{Identity, SecretIdentity};
use crate::wire::{Emit, Malformed, Reader, Sink};

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The network in which it means something.
    pub network: NetworkId,
    /// When it was issued, in milliseconds.
    pub timestamp: u64,
    /// Which tag it is.
    pub id: u32,
    /// The member's value of it.
    pub value: u32,
    /// The member.
    pub issued_to: Address,
    signer: Address,
    signature: TypedSignature,
}

impl Tag {
    /// Gives the tag `id` with `value` to the member `issued_to`.
    pub fn issue(
        controller: &SecretIdentity,
        network: NetworkId,
        issued_to: Address,
        timestamp: u64,
        id: u32,
        value: u32,
    ) -> Tag {
        let signer = controller.address();
        let signature = TypedSignature(None);
        let mut tag = Tag {
            network,
            timestamp,
            id,
            value,
            issued_to,
            signer,
            signature,
        };
        tag.signature = sign(controller, &tag.signed_message());
        tag
    }

    /// Reads a tag, which delimits itself.
    pub fn read(reader: &mut Reader<'_>) -> Result<Tag, Malformed> {
        let tag = Tag {
            network: NetworkId::read(reader)?,
            timestamp: reader.u64()?,
            id: reader.u32()?,
            value: reader.u32()?,
            issued_to: Address::read(reader)?,
            signer: Address::read(reader)?,
            signature: TypedSignature::read(reader)?,
        };
        skip_additions(reader)?;
        Ok(tag)
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
        self.network.write(out);
        out.u64(self.timestamp);
        out.u32(self.id);
        out.u32(self.value);
        self.issued_to.write(out);
        self.signer.write(out);
    }

    pub(super) fn signed_message(&self) -> Vec<u8> {
        signed_message(|out| self.write_signed(out))
    }
}

impl Emit for Tag {
    fn write<S: Sink>(&self, out: &mut S) {
        self.write_signed(out);
        self.signature.write(out);
        out.u16(NO_ADDITIONS);
    }
}
