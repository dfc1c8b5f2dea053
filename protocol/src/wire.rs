//! The shape of every codec: a total reader over bytes, a sink that writes them, and the one
//! error for bytes that do not fit.
//!
//! A structure implements [`Emit::write`] once; its length, its bytes and the input of its
//! signature all come from that one description, so they cannot disagree.

use std::fmt;

/// Bytes that do not have the shape they should have, and which shape that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// A cursor over received bytes. Every read is checked; integers are big-endian.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; `what` names the structure in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Reader { rest: bytes, what }
    }

    /// The error for the structure being read.
    pub fn malformed(&self) -> Malformed {
        Malformed(self.what)
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(Malformed(self.what))?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Malformed(self.what))?;
        self.rest = tail;
        Ok(*head)
    }

    /// Everything that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// A big-endian 16-bit integer.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// A big-endian 32-bit integer.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A big-endian 64-bit integer.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Fails unless `condition` holds.
    pub fn require(&self, condition: bool) -> Result<(), Malformed> {
        if condition {
            Ok(())
        } else {
            Err(Malformed(self.what))
        }
    }
}

/// Where a structure is written to: a buffer, a counter, or the input of a signature.
pub trait Sink {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);

    /// Appends one byte.
    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Appends a big-endian 16-bit integer.
    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Appends a big-endian 32-bit integer.
    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Appends a big-endian 64-bit integer.
    fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

struct Count(usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

struct Cursor<'a> {
    rest: &'a mut [u8],
}

impl Sink for Cursor<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let (head, tail) = std::mem::take(&mut self.rest).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        self.rest = tail;
    }
}

/// A structure with a wire form.
pub trait Emit {
    /// Writes the wire form.
    fn write<S: Sink>(&self, out: &mut S);

    /// Length of the wire form in bytes.
    fn wire_len(&self) -> usize {
        let mut count = Count(0);
        self.write(&mut count);
        count.0
    }

    /// Writes the wire form to the front of `out` and returns its length.
    ///
    /// # Panics
    /// If `out` is shorter than [`wire_len`](Emit::wire_len).
    fn emit(&self, out: &mut [u8]) -> usize {
        let room = out.len();
        let mut cursor = Cursor { rest: out };
        self.write(&mut cursor);
        room - cursor.rest.len()
    }

    /// The wire form in a vector of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.wire_len());
        self.write(&mut out);
        out
    }
}

/// Bytes stand for themselves.
impl Emit for [u8] {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put(self);
    }
}

impl<T: Emit + ?Sized> Emit for &T {
    fn write<S: Sink>(&self, out: &mut S) {
        (**self).write(out);
    }
}

/// Lower-case hexadecimal text.
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Exactly `N` bytes from hexadecimal text of either case.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_past_the_end_names_the_structure() {
        let mut reader = Reader::new(&[1, 2, 3], "greeting");
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.u16(), Err(Malformed("greeting")));
        assert_eq!(reader.u8(), Ok(3), "a failed read consumes nothing");
    }

    #[test]
    fn hex_text_is_exact() {
        assert_eq!(from_hex::<2>("0aFF"), Some([0x0a, 0xff]));
        assert_eq!(from_hex::<2>("0aF"), None);
        assert_eq!(from_hex::<2>("+aFF"), None);
        assert_eq!(to_hex(&[0x0a, 0xff]), "0aff");
    }
}
