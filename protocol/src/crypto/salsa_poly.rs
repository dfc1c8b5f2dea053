//! Suites 0 and 1: Poly1305 under a key mangled with the header, with or without Salsa20/12
//! over the payload (VL1 §2.2), and the masking of the HELLO tail (VL1 §2.9).

use poly1305::{Poly1305, universal_hash::KeyInit};
use salsa20::Salsa12;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::packet::{FLAGS_AT, HOPS_MASK, ID_LEN, MAC_RANGE, VERB_AT};

/// Encrypts if asked to, then writes the MAC.
pub(super) fn seal(key: &[u8; 32], packet: &mut [u8], encrypt: bool) {
    let (mut cipher, mac_key) = key_stream(key, packet);
    if encrypt {
        cipher.apply_keystream(&mut packet[VERB_AT..]);
    }
    let mac = mac(&mac_key, packet);
    packet[MAC_RANGE].copy_from_slice(&mac);
}

/// Checks the MAC, and only if it is right decrypts.
pub(super) fn open(key: &[u8; 32], packet: &mut [u8], encrypted: bool) -> bool {
    let (mut cipher, mac_key) = key_stream(key, packet);
    let authentic = bool::from(mac(&mac_key, packet).ct_eq(&packet[MAC_RANGE]));
    if authentic && encrypted {
        cipher.apply_keystream(&mut packet[VERB_AT..]);
    }
    authentic
}

/// XORs the key stream of the unmangled key over `packet[from..]`.
pub(super) fn mask_hello_tail(key: &[u8; 32], packet: &mut [u8], from: usize) {
    let mut nonce = [0; ID_LEN];
    nonce.copy_from_slice(&packet[..ID_LEN]);
    nonce[7] &= 0xf8;
    Salsa12::new(&(*key).into(), &nonce.into()).apply_keystream(&mut packet[from..]);
}

/// The packet's key stream, set to the payload, and the Poly1305 key, which is the first half
/// of block 0; the other half of that block is never used.
fn key_stream(key: &[u8; 32], packet: &[u8]) -> (Salsa12, [u8; 32]) {
    let mut mangled = *key;
    for (byte, header) in mangled.iter_mut().zip(&packet[..FLAGS_AT]) {
        *byte ^= header;
    }
    mangled[18] ^= packet[FLAGS_AT] & !HOPS_MASK;
    let [low, high] = (packet.len() as u16).to_le_bytes();
    mangled[19] ^= low;
    mangled[20] ^= high;

    let mut nonce = [0; ID_LEN];
    nonce.copy_from_slice(&packet[..ID_LEN]);
    let mut cipher = Salsa12::new(&mangled.into(), &nonce.into());
    mangled.zeroize();
    let mut block = [0; 64];
    cipher.apply_keystream(&mut block);
    let mut mac_key = [0; 32];
    mac_key.copy_from_slice(&block[..32]);
    (cipher, mac_key)
}

fn mac(mac_key: &[u8; 32], packet: &[u8]) -> [u8; 8] {
    let tag = Poly1305::new(mac_key.into()).compute_unpadded(&packet[VERB_AT..]);
    let mut mac = [0; 8];
    mac.copy_from_slice(&tag[..8]);
    mac
}
