//! Identities: a key pair whose owner's address is proved by work (VL1 §1).
//!
//! [`Identity`] is the public half that travels on the wire, [`SecretIdentity`] the whole. An
//! identity that was merely parsed proves nothing: [`Identity::validate`] does, at the price of
//! tens of milliseconds.

mod derivation;

use crate::address::Address;
use crate::crypto::SharedSecret;
use crate::wire::{Emit, Malformed, Reader, Sink, from_hex, to_hex};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use sha2::{Digest, Sha384, Sha512};
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey as ExchangeKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Length of a signature (VL1 §1.5): 64 bytes of Ed25519, then the 32 bytes that it signs.
pub const SIGNATURE_LEN: usize = 96;
/// A signature as it travels.
pub type SignatureBytes = [u8; SIGNATURE_LEN];

const BINARY_TYPE: u8 = 0;

/// The 64 public bytes of a key pair: an X25519 key, then an Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 64]);

impl PublicKey {
    /// Reads 64 bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<PublicKey, Malformed> {
        reader.array().map(PublicKey)
    }

    /// Whether `signature` is this key's signature of `message`.
    pub fn verify(&self, message: &[u8], signature: &SignatureBytes) -> bool {
        let (signature, hash) = signature.split_at(64);
        let digest = Sha512::digest(message);
        let Ok(key) = VerifyingKey::from_bytes(self.signing_half()) else {
            return false;
        };
        let Ok(signature) = Signature::from_slice(signature) else {
            return false;
        };
        bool::from(digest[..32].ct_eq(hash)) && key.verify_strict(hash, &signature).is_ok()
    }

    fn exchange_half(&self) -> [u8; 32] {
        std::array::from_fn(|i| self.0[i])
    }

    fn signing_half(&self) -> &[u8; 32] {
        self.0.last_chunk().expect("64 bytes have 32 last ones")
    }
}

impl Emit for PublicKey {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put(&self.0);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", to_hex(&self.0))
    }
}

/// A key pair with its private halves; it signs worlds, and is the secret of an identity.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 64]);

impl SecretKey {
    /// A new key pair.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> SecretKey {
        let mut bytes = [0; 64];
        rng.fill_bytes(&mut bytes);
        SecretKey(bytes)
    }

    /// From the 64 private bytes: X25519 secret, then Ed25519 seed.
    pub fn from_bytes(bytes: [u8; 64]) -> SecretKey {
        SecretKey(bytes)
    }

    /// The 64 private bytes.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0)
    }

    /// The public halves.
    pub fn public(&self) -> PublicKey {
        let mut public = [0; 64];
        public[..32].copy_from_slice(ExchangeKey::from(&self.exchange_half()).as_bytes());
        public[32..].copy_from_slice(self.signing_half().verifying_key().as_bytes());
        PublicKey(public)
    }

    /// Signs `message` (VL1 §1.5).
    pub fn sign(&self, message: &[u8]) -> SignatureBytes {
        let digest = Sha512::digest(message);
        let mut out = [0; SIGNATURE_LEN];
        out[..64].copy_from_slice(&self.signing_half().sign(&digest[..32]).to_bytes());
        out[64..].copy_from_slice(&digest[..32]);
        out
    }

    /// Agrees on a secret with the owner of `theirs`; `None` if their key is a weak one that
    /// would make the secret known to everybody.
    pub fn agree(&self, theirs: &PublicKey) -> Option<SharedSecret> {
        let raw = self
            .exchange_half()
            .diffie_hellman(&ExchangeKey::from(theirs.exchange_half()));
        raw.was_contributory()
            .then(|| SharedSecret::from_agreement(raw.as_bytes()))
    }

    fn exchange_half(&self) -> StaticSecret {
        StaticSecret::from(std::array::from_fn(|i| self.0[i]))
    }

    fn signing_half(&self) -> SigningKey {
        SigningKey::from_bytes(self.0.last_chunk().expect("64 bytes have 32 last ones"))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey([secret])")
    }
}

/// A node's address and public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    address: Address,
    key: PublicKey,
}

impl Identity {
    /// Length of the binary form without private key.
    pub const WIRE_LEN: usize = 71;

    /// The node's address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The node's public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Parses the binary form (VL1 §1.4); bytes after it are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Identity, Malformed> {
        Identity::read(&mut Reader::new(bytes, "identity"))
    }

    /// Reads the binary form. A private key inside is skipped and never used.
    pub fn read(reader: &mut Reader<'_>) -> Result<Identity, Malformed> {
        const MALFORMED: Malformed = Malformed("identity");
        let address = Address::read(reader)?;
        let kind = reader.u8()?;
        let key = PublicKey::read(reader)?;
        match reader.u8()? {
            0 => {}
            64 => drop(reader.bytes(64)?),
            _ => return Err(MALFORMED),
        }
        if kind != BINARY_TYPE || address.is_reserved() {
            return Err(MALFORMED);
        }
        Ok(Identity { address, key })
    }

    /// Whether the address follows from the key by the proof of work (VL1 §1.3). Costs tens of
    /// milliseconds: rate limit it.
    pub fn validate(&self) -> bool {
        derivation::address_of(&self.key) == Some(self.address)
    }

    /// Whether `signature` is this node's signature of `message`.
    pub fn verify(&self, message: &[u8], signature: &SignatureBytes) -> bool {
        self.key.verify(message, signature)
    }

    /// SHA-384 over address and public key, by which a certificate of membership names its
    /// owner's key (VL2 §3.1).
    pub fn fingerprint(&self) -> [u8; 48] {
        Sha384::new()
            .chain_update(self.address.to_bytes())
            .chain_update(self.key.0)
            .finalize()
            .into()
    }
}

impl Emit for Identity {
    fn write<S: Sink>(&self, out: &mut S) {
        self.address.write(out);
        out.u8(BINARY_TYPE);
        self.key.write(out);
        out.u8(0);
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:0:{}", self.address, to_hex(&self.key.0))
    }
}

impl FromStr for Identity {
    type Err = Malformed;

    /// Parses the text form; a private key in it is checked for shape and dropped.
    fn from_str(text: &str) -> Result<Identity, Malformed> {
        parse_text(text).map(|(identity, _)| identity)
    }
}

/// Text form: `address:0:public[:secret]`, white space around it ignored.
fn parse_text(text: &str) -> Result<(Identity, Option<SecretKey>), Malformed> {
    const MALFORMED: Malformed = Malformed("identity text");
    let mut fields = text.trim().split(':');
    let address: Address = fields.next().unwrap_or_default().parse()?;
    if fields.next() != Some("0") || address.is_reserved() {
        return Err(MALFORMED);
    }
    let key = fields
        .next()
        .and_then(from_hex)
        .map(PublicKey)
        .ok_or(MALFORMED)?;
    let secret = match fields.next() {
        Some(hex) => Some(SecretKey(from_hex(hex).ok_or(MALFORMED)?)),
        None => None,
    };
    match fields.next() {
        Some(_) => Err(MALFORMED),
        None => Ok((Identity { address, key }, secret)),
    }
}

/// An identity with its private key.
#[derive(Clone, Debug)]
pub struct SecretIdentity {
    public: Identity,
    secret: SecretKey,
}

impl SecretIdentity {
    /// Makes a new identity: about fifteen trials of the proof of work.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> SecretIdentity {
        let mut secret = SecretKey::generate(rng);
        loop {
            let key = secret.public();
            if let Some(address) = derivation::address_of(&key) {
                return SecretIdentity {
                    public: Identity { address, key },
                    secret,
                };
            }
            // Only the exchange half need change between trials.
            rng.fill_bytes(&mut secret.0[..32]);
        }
    }

    /// The public half.
    pub fn public(&self) -> &Identity {
        &self.public
    }

    /// The node's address.
    pub fn address(&self) -> Address {
        self.public.address
    }

    /// The key pair.
    pub fn secret_key(&self) -> &SecretKey {
        &self.secret
    }

    /// Whether the private key belongs to the public one and the proof of work holds; checked
    /// when an identity is loaded from a file.
    pub fn validate(&self) -> bool {
        self.secret.public() == self.public.key && self.public.validate()
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> SignatureBytes {
        self.secret.sign(message)
    }

    /// Agrees on a secret with `peer`; `None` if the peer's key is weak.
    pub fn agree(&self, peer: &Identity) -> Option<SharedSecret> {
        self.secret.agree(&peer.key)
    }

    /// The text form with the private key, as kept in `identity.secret`.
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(to_hex(&self.secret.0));
        Zeroizing::new(format!("{}:{}", self.public, *secret))
    }
}

impl FromStr for SecretIdentity {
    type Err = Malformed;

    /// Parses the text form, which must have a private key. Does not
    /// [`validate`](SecretIdentity::validate).
    fn from_str(text: &str) -> Result<SecretIdentity, Malformed> {
        let (public, secret) = parse_text(text)?;
        let secret = secret.ok_or(Malformed("identity text without a private key"))?;
        Ok(SecretIdentity { public, secret })
    }
}
