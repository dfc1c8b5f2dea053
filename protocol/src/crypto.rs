//! Keys shared by two peers and the cipher suites that use them (VL1 §1.6, §1.7, §2.2–§2.5).
//!
//! A [`SharedSecret`] comes from key agreement; [`PeerKeys`] holds everything that can be
//! computed from it once, so that a packet costs no key schedule. Packet layout is not known
//! here except where a suite binds header bytes; see [`crate::packet`].

mod aes_gmac_siv;
mod salsa_poly;

use aes_gmac_siv::AesGmacSiv;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha384, Sha512};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// How a packet is protected: bits 3 to 5 of the flags byte (VL1 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CipherSuite {
    /// Clear text with a MAC: HELLO.
    Poly1305 = 0,
    /// For peers older than protocol version 12, or of unknown version.
    Salsa2012Poly1305 = 1,
    /// For peers of protocol version 12 and later.
    AesGmacSiv = 3,
}

impl CipherSuite {
    /// The suite of that number, if we speak it. Suite 2 ("trusted path") protects nothing and
    /// is deliberately not spoken.
    pub fn from_number(number: u8) -> Option<CipherSuite> {
        match number {
            0 => Some(CipherSuite::Poly1305),
            1 => Some(CipherSuite::Salsa2012Poly1305),
            3 => Some(CipherSuite::AesGmacSiv),
            _ => None,
        }
    }
}

/// The 48 bytes that two identities agree on (VL1 §1.6). Static for their lives.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret(pub(crate) [u8; 48]);

impl SharedSecret {
    /// Adopts known bytes; key agreement is [`SecretIdentity::agree`](crate::SecretIdentity::agree).
    pub fn from_bytes(bytes: [u8; 48]) -> SharedSecret {
        SharedSecret(bytes)
    }

    /// Derives the secret from the raw result of X25519.
    pub(crate) fn from_agreement(raw: &[u8; 32]) -> SharedSecret {
        let mut digest: [u8; 64] = Sha512::digest(raw).into();
        let mut secret = [0; 48];
        secret.copy_from_slice(&digest[..48]);
        digest.zeroize();
        SharedSecret(secret)
    }

    /// KBKDF-HMAC-SHA384 with context and iteration 0 (VL1 §1.7).
    fn derive(&self, label: u8) -> [u8; 48] {
        let message = [0, 0, 0, 0, b'Z', b'T', label, 0, 0, 0, 0, 0x01, 0x80];
        let mut mac =
            Hmac::<Sha384>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&message);
        mac.finalize().into_bytes().into()
    }

    /// The AES key of `label`: the first 32 bytes of the derivation.
    fn aes_key(&self, label: u8) -> [u8; 32] {
        let mut long = self.derive(label);
        let mut key = [0; 32];
        key.copy_from_slice(&long[..32]);
        long.zeroize();
        key
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret([secret])")
    }
}

/// Everything precomputed to seal packets to, and open packets from, one peer.
pub struct PeerKeys {
    salsa: [u8; 32],
    siv: AesGmacSiv,
}

impl PeerKeys {
    /// Expands the key schedules of `secret`.
    pub fn new(secret: &SharedSecret) -> PeerKeys {
        let mut salsa = [0; 32];
        salsa.copy_from_slice(&secret.0[..32]);
        let mut gmac_key = secret.aes_key(b'0');
        let mut ctr_key = secret.aes_key(b'1');
        let siv = AesGmacSiv::new(&gmac_key, &ctr_key);
        gmac_key.zeroize();
        ctr_key.zeroize();
        PeerKeys { salsa, siv }
    }

    /// Seals `packet` in place: the flags byte must carry `suite` already.
    pub(crate) fn seal(&self, suite: CipherSuite, packet: &mut [u8]) {
        match suite {
            CipherSuite::Poly1305 => salsa_poly::seal(&self.salsa, packet, false),
            CipherSuite::Salsa2012Poly1305 => salsa_poly::seal(&self.salsa, packet, true),
            CipherSuite::AesGmacSiv => self.siv.seal(packet),
        }
    }

    /// Checks the MAC of `packet` and decrypts it in place. On failure the packet's contents
    /// are unspecified and must not be used.
    #[must_use]
    pub(crate) fn open(&self, suite: CipherSuite, packet: &mut [u8]) -> bool {
        match suite {
            CipherSuite::Poly1305 => salsa_poly::open(&self.salsa, packet, false),
            CipherSuite::Salsa2012Poly1305 => salsa_poly::open(&self.salsa, packet, true),
            CipherSuite::AesGmacSiv => self.siv.open(packet),
        }
    }

    /// Masks or unmasks the tail of a HELLO, which is `packet[from..]` (VL1 §2.9). Masking
    /// comes before sealing, unmasking after opening.
    pub fn mask_hello_tail(&self, packet: &mut [u8], from: usize) {
        salsa_poly::mask_hello_tail(&self.salsa, packet, from);
    }
}

impl Drop for PeerKeys {
    fn drop(&mut self) {
        self.salsa.zeroize();
    }
}

impl fmt::Debug for PeerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerKeys([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{from_hex, to_hex};

    /// VL1 §7.4.
    #[test]
    fn key_derivation_matches_the_vectors() {
        let secret = SharedSecret::from_bytes(
            from_hex(
                "030a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c",
            )
            .unwrap(),
        );
        assert_eq!(
            to_hex(&secret.derive(b'0')),
            "d4d43a0594211774b6cb08ddc8c1f709f7e95cb7881b8030cbe82b37b5897457091ab5f3cd765512b6e1d4ee527e8c3a"
        );
        assert_eq!(
            to_hex(&secret.derive(b'1')),
            "f7be4f9f276b69f90559099780c6186bdab4ff77f5b8ee94f60e008e1c103afc496d2735d9df4da984abd8ef077eb28d"
        );
    }

    #[test]
    fn secrets_do_not_print() {
        let secret = SharedSecret::from_bytes([0xab; 48]);
        assert_eq!(format!("{secret:?}"), "SharedSecret([secret])");
        assert_eq!(
            format!("{:?}", PeerKeys::new(&secret)),
            "PeerKeys([secret])"
        );
    }
}
