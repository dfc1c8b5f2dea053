//! Compression of packet bodies: one raw LZ4 block over everything after the verb byte
//! (VL1 §2.8). Receiving is mandatory, sending is not.

use crate::wire::Malformed;
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

/// Decompresses `body` into `out` and returns the length; what would not fit is malformed.
pub fn decompress(body: &[u8], out: &mut [u8]) -> Result<usize, Malformed> {
    decompress_into(body, out).map_err(|_| Malformed("LZ4 block"))
}

/// The compressed form of `body`, or `None` if it is too short to be worth it or would not get
/// smaller.
pub fn compress(body: &[u8]) -> Option<Vec<u8>> {
    /// Stock does not try shorter bodies.
    const WORTHWHILE: usize = 64;
    if body.len() <= WORTHWHILE {
        return None;
    }
    let mut out = vec![0; get_maximum_output_size(body.len())];
    let length = compress_into(body, &mut out).ok()?;
    out.truncate(length);
    (out.len() < body.len()).then_some(out)
}
