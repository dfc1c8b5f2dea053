//! What the targets share.

use std::fmt::Debug;
use zt_protocol::Emit;
use zt_protocol::wire::Malformed;

/// If `bytes` parse, the value's wire form must read back as the same value.
pub fn round_trip<T, P>(bytes: &[u8], parse: P)
where
    T: Emit + PartialEq + Debug,
    P: Fn(&[u8]) -> Result<T, Malformed>,
{
    if let Ok(value) = parse(bytes) {
        let written = value.to_bytes();
        assert_eq!(written.len(), value.wire_len());
        assert_eq!(parse(&written).as_ref(), Ok(&value));
    }
}

/// As [`round_trip`], for a codec that borrows from the bytes.
#[macro_export]
macro_rules! round_trip_borrowed {
    ($bytes:expr, $parse:path) => {
        if let Ok(value) = $parse($bytes) {
            let written = value.to_bytes();
            assert_eq!(written.len(), value.wire_len());
            assert_eq!($parse(&written), Ok(value));
        }
    };
}
