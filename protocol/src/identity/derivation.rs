//! The memory-hard hash that ties an address to a public key (VL1 §1.3).

use crate::address::Address;
use crate::identity::PublicKey;
use salsa20::Salsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use sha2::{Digest, Sha512};

const BLOCKS: usize = 32_768;
const WORDS: usize = BLOCKS * 8;
/// Digests whose first byte is not below this are refused: the proof of work.
const THRESHOLD: u8 = 17;

type Block = [u64; 8];

/// The address of `key`, or `None` if the key has no acceptable one.
pub(super) fn address_of(key: &PublicKey) -> Option<Address> {
    let digest = digest(key);
    let address = Address::from_bytes(*digest.last_chunk()?);
    (digest[0] < THRESHOLD && !address.is_reserved()).then_some(address)
}

/// One key stream runs through all steps; its counter never restarts. Words are kept in native
/// byte order: they are only moved and XORed, except where they index.
fn digest(key: &PublicKey) -> [u8; 64] {
    let start: [u8; 64] = Sha512::digest(key.0).into();
    let mut cipher_key = [0; 32];
    cipher_key.copy_from_slice(&start[..32]);
    let mut nonce = [0; 8];
    nonce.copy_from_slice(&start[32..40]);
    let mut stream = KeyStream(Salsa20::new(&cipher_key.into(), &nonce.into()));

    let mut memory = vec![0; WORDS];
    let mut block = [0; 8];
    for chunk in memory.chunks_exact_mut(8) {
        stream.xor(&mut block);
        chunk.copy_from_slice(&block);
    }

    let mut digest = words(&start);
    for i in (0..WORDS).step_by(2) {
        let a = u64::from_be(memory[i]) as usize % 8;
        let b = u64::from_be(memory[i + 1]) as usize % WORDS;
        std::mem::swap(&mut digest[a], &mut memory[b]);
        stream.xor(&mut digest);
    }
    bytes(&digest)
}

struct KeyStream(Salsa20);

impl KeyStream {
    /// XORs the next block of the key stream over `block`.
    fn xor(&mut self, block: &mut Block) {
        let mut raw = bytes(block);
        self.0.apply_keystream(&mut raw);
        *block = words(&raw);
    }
}

fn words(raw: &[u8; 64]) -> Block {
    std::array::from_fn(|i| u64::from_ne_bytes(std::array::from_fn(|k| raw[8 * i + k])))
}

fn bytes(block: &Block) -> [u8; 64] {
    let mut raw = [0; 64];
    for (bytes, word) in raw.chunks_exact_mut(8).zip(block) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    raw
}
