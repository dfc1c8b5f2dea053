//! The Internet checksum (RFC 1071), alone and fused with a copy.
//!
//! Sums are of 16-bit words in memory order: one's complement addition does not care for the byte order as long as the
//! result is stored the way the words were read (RFC 1071 §2.B).

/// A one's complement sum that is still to be folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum(u64);

const LANES: usize = 8;
const BLOCK: usize = LANES * 4;

impl Sum {
    /// Adds bytes; an odd last byte counts as if a zero followed, so only the last piece may be odd.
    #[must_use]
    pub(crate) fn add(self, bytes: &[u8]) -> Sum {
        // Thirty-two-bit words into 64-bit lanes: no carry to look after, and a shape that vectorises.
        let mut lanes = [0u64; LANES];
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for block in blocks {
            let (words, _) = block.as_chunks::<4>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let mut sum = self.0 + lanes.iter().sum::<u64>();
        let (words, odd) = rest.as_chunks::<2>();
        for word in words {
            sum += u64::from(u16::from_ne_bytes(*word));
        }
        if let [last] = odd {
            sum += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        Sum(sum)
    }

    /// Adds a 16-bit value as it will stand in the packet.
    #[must_use]
    pub(crate) fn add_u16(self, value: u16) -> Sum {
        Sum(self.0 + u64::from(value.to_be()))
    }

    /// Adds a 32-bit value as it will stand in the packet.
    #[must_use]
    pub(crate) fn add_u32(self, value: u32) -> Sum {
        Sum(self.0 + u64::from(value.to_be()))
    }

    /// Adds what another sum counted.
    #[must_use]
    pub(crate) fn join(self, other: Sum) -> Sum {
        Sum(self.0 + other.0)
    }

    /// The checksum field: the complement of the folded sum, in packet byte order.
    #[must_use]
    pub(crate) fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_ne_bytes()
    }
}

/// Copies `from` to `to` and returns the sum of the bytes, reading them once.
///
/// # Panics
/// If the lengths differ.
#[must_use]
pub(crate) fn copy_and_sum(from: &[u8], to: &mut [u8]) -> Sum {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was just asked for the one feature that the function needs.
        #[allow(unsafe_code)]
        return unsafe { copy_and_sum_avx2(from, to) };
    }
    copy_and_sum_portable(from, to)
}

/// The same instructions twice as wide: half the time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_and_sum_avx2(from: &[u8], to: &mut [u8]) -> Sum {
    copy_and_sum_portable(from, to)
}

// Always inlined, so that it is compiled for the features of its caller.
#[inline(always)]
fn copy_and_sum_portable(from: &[u8], to: &mut [u8]) -> Sum {
    assert_eq!(from.len(), to.len());
    let mut lanes = [0u64; LANES];
    let (from_blocks, from_rest) = from.as_chunks::<BLOCK>();
    let (to_blocks, to_rest) = to.as_chunks_mut::<BLOCK>();
    for (source, target) in from_blocks.iter().zip(to_blocks) {
        *target = *source;
        let (words, _) = source.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    to_rest.copy_from_slice(from_rest);
    Sum(lanes.iter().sum()).add(from_rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 §4.1, word for word.
    fn reference(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    proptest! {
        #[test]
        fn sums_agree_with_the_reference(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Sum::default().add(&bytes).finish(), reference(&bytes));
        }

        #[test]
        fn copying_gives_the_same_bytes_and_sum(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut copy = vec![0; bytes.len()];
            let sum = copy_and_sum(&bytes, &mut copy);
            prop_assert_eq!(&copy, &bytes);
            prop_assert_eq!(sum.finish(), reference(&bytes));
            prop_assert_eq!(copy_and_sum_portable(&bytes, &mut copy), sum);
        }

        #[test]
        fn values_count_as_their_packet_bytes(a: u16, b: u32, bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
            let mut whole = a.to_be_bytes().to_vec();
            whole.extend(b.to_be_bytes());
            whole.extend(&bytes);
            prop_assert_eq!(Sum::default().add_u16(a).add_u32(b).add(&bytes).finish(), reference(&whole));
        }
    }
}
