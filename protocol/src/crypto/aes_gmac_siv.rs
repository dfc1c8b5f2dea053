//! Suite 3, AES-GMAC-SIV (VL1 §2.5): a GMAC over header and plaintext becomes the nonce of a
//! counter-mode encryption. Nonce and folded tag travel encrypted, as packet id and MAC.

use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher,
    StreamCipherCoreWrapper,
};
use aes::{Aes256, Aes256Enc, Block};
use ctr::{CtrCore, flavors::Ctr32BE};
use ghash::{GHash, universal_hash::UniversalHash};
use subtle::ConstantTimeEq;

use crate::packet::{FLAGS_AT, HOPS_MASK, ID_LEN, MAC_RANGE, VERB_AT};

/// The key schedules of one peer.
pub(super) struct AesGmacSiv {
    /// K0: encrypts the GMAC nonce.
    gmac: Aes256Enc,
    /// GHASH keyed by K0, empty.
    ghash: GHash,
    /// K1: the counter mode, and the single block of nonce and tag in both directions.
    ctr: Aes256,
}

impl AesGmacSiv {
    pub(super) fn new(gmac_key: &[u8; 32], ctr_key: &[u8; 32]) -> AesGmacSiv {
        let gmac = Aes256Enc::new(gmac_key.into());
        let mut h = Block::default();
        gmac.encrypt_block(&mut h);
        AesGmacSiv {
            gmac,
            ghash: GHash::new(&h),
            ctr: Aes256::new(ctr_key.into()),
        }
    }

    /// Replaces the id by the first half of the encrypted nonce-and-tag block.
    pub(super) fn seal(&self, packet: &mut [u8]) {
        let mut iv = [0; ID_LEN];
        iv.copy_from_slice(&packet[..ID_LEN]);
        let mut block = Block::default();
        block[..8].copy_from_slice(&iv);
        block[8..].copy_from_slice(&self.folded_tag(&iv, packet));
        self.ctr.encrypt_block(&mut block);
        packet[..ID_LEN].copy_from_slice(&block[..8]);
        packet[MAC_RANGE].copy_from_slice(&block[8..]);
        self.apply_key_stream(block, &mut packet[VERB_AT..]);
    }

    /// Decrypts, then checks the tag over the plaintext.
    pub(super) fn open(&self, packet: &mut [u8]) -> bool {
        let mut block = Block::default();
        block[..8].copy_from_slice(&packet[..ID_LEN]);
        block[8..].copy_from_slice(&packet[MAC_RANGE]);
        self.apply_key_stream(block, &mut packet[VERB_AT..]);
        self.ctr.decrypt_block(&mut block);
        let (iv, tag) = block.split_at(ID_LEN);
        self.folded_tag(iv, packet).ct_eq(tag).into()
    }

    /// The tag of header and plaintext under nonce `iv`, its halves XORed together.
    fn folded_tag(&self, iv: &[u8], packet: &[u8]) -> [u8; 8] {
        // Destination, source and flags without hops, padded to one block.
        let mut associated = Block::default();
        associated[..11].copy_from_slice(&packet[ID_LEN..=FLAGS_AT]);
        associated[10] &= !HOPS_MASK;
        let plaintext = &packet[VERB_AT..];
        // The padding counts, and everything is on the associated side of GCM's length block.
        let mut lengths = Block::default();
        lengths[..8].copy_from_slice(&((16 + plaintext.len() as u64) * 8).to_be_bytes());

        let mut ghash = self.ghash.clone();
        ghash.update(&[associated]);
        ghash.update_padded(plaintext);
        ghash.update(&[lengths]);

        let mut mask = Block::default();
        mask[..8].copy_from_slice(iv);
        mask[15] = 1;
        self.gmac.encrypt_block(&mut mask);
        let tag = ghash.finalize();
        std::array::from_fn(|i| tag[i] ^ mask[i] ^ tag[i + 8] ^ mask[i + 8])
    }

    fn apply_key_stream(&self, mut counter: Block, data: &mut [u8]) {
        // The counter starts below 2³¹ so that it cannot wrap; the wire keeps the bit.
        counter[12] &= 0x7f;
        let core = CtrCore::<_, Ctr32BE>::inner_iv_init(&self.ctr, &counter);
        StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
    }
}
