//! From the addresses of a packet to its flow: the key, and a fast hash with a secret.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, SocketAddr};

/// Both ends of a TCP connection, packed so that hashing is a few multiplications.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Tuple {
    local: u128,
    remote: u128,
    ports: u32,
}

impl Tuple {
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr) -> Tuple {
        Tuple {
            local: ip_bits(local.ip()),
            remote: ip_bits(remote.ip()),
            ports: u32::from(local.port()) << 16 | u32::from(remote.port()),
        }
    }
}

/// IPv4 as the IPv4-mapped part of the IPv6 space, so that both families share one table.
fn ip_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Makes [`FoldHasher`]s. Peers choose their ports and may choose addresses: without the secret they could fill one
/// bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SecretHash {
    seed: u64,
    factor: u64,
}

impl SecretHash {
    pub(crate) fn new(seed: u64) -> SecretHash {
        SecretHash {
            seed,
            factor: seed.rotate_left(32) | 1,
        }
    }
}

impl BuildHasher for SecretHash {
    type Hasher = FoldHasher;

    fn build_hasher(&self) -> FoldHasher {
        FoldHasher {
            state: self.seed,
            factor: self.factor ^ 0x9e37_79b9_7f4a_7c14,
        }
    }
}

/// Folded multiplication: both halves of a 128-bit product, mixed.
#[derive(Debug)]
pub(crate) struct FoldHasher {
    state: u64,
    factor: u64,
}

impl FoldHasher {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        self.state = (product as u64 ^ (product >> 64) as u64).wrapping_add(self.factor);
    }
}

impl Hasher for FoldHasher {
    fn finish(&self) -> u64 {
        let product = u128::from(self.state) * u128::from(self.factor);
        product as u64 ^ (product >> 64) as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_ne_bytes(word));
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.fold(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.fold(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.fold(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.fold(value as u64);
    }

    fn write_u128(&mut self, value: u128) {
        self.fold(value as u64);
        self.fold((value >> 64) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_tuples_spread_over_the_table() {
        let hash = SecretHash::new(0x1234_5678_9abc_def0);
        let local = SocketAddr::from(([10, 0, 0, 1], 80));
        let mut low = std::collections::HashSet::new();
        let mut high = std::collections::HashSet::new();
        for port in 1..=4096u16 {
            let bits = hash.hash_one(Tuple::new(local, SocketAddr::from(([10, 0, 0, 2], port))));
            low.insert(bits & 0xffff);
            high.insert(bits >> 48);
        }
        // 4096 balls in 65536 bins leave about 3970 of them used.
        assert!(
            low.len() > 3800 && high.len() > 3800,
            "{} {}",
            low.len(),
            high.len()
        );
    }

    #[test]
    fn both_directions_and_families_differ() {
        let a = SocketAddr::from(([10, 0, 0, 1], 80));
        let b = SocketAddr::from(([10, 0, 0, 2], 80));
        assert_ne!(Tuple::new(a, b), Tuple::new(b, a));
        let v6 = SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 80));
        assert_ne!(Tuple::new(a, b), Tuple::new(v6, b));
    }
}
