//! Dictionaries (VL2 §2.3): `key=value` lines with escaped bytes, in which configurations and
//! request metadata travel.

use crate::address::Address;
use crate::wire::{Emit, Sink};

/// An ordered list of keys and values. Of a key that occurs twice, the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Dictionary {
    /// An empty dictionary.
    pub fn new() -> Dictionary {
        Dictionary::default()
    }

    /// Parses a dictionary. Total: whatever is no entry is skipped.
    pub fn parse(text: &[u8]) -> Dictionary {
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        let entries = text
            .split(|&byte| byte == b'\n' || byte == b'\r')
            .filter_map(|line| {
                let equals = line.iter().position(|&byte| byte == b'=')?;
                let (key, value) = line.split_at(equals);
                Some((key.to_vec(), unescape(&value[1..])))
            })
            .collect();
        Dictionary { entries }
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let entry = self
            .entries
            .iter()
            .find(|(found, _)| found == key.as_bytes())?;
        Some(&entry.1)
    }

    /// The value of `key` as text, with what is not UTF-8 replaced.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key)
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The value of `key` as a hexadecimal integer: as many digits as there are, with or without
    /// `0x`. `None` if missing or empty.
    pub fn integer(&self, key: &str) -> Option<u64> {
        let value = self.get(key).filter(|value| !value.is_empty())?;
        let digits = value.strip_prefix(b"0x").unwrap_or(value);
        let digits = digits
            .iter()
            .map_while(|&byte| char::from(byte).to_digit(16));
        Some(digits.fold(0, |number: u64, digit| {
            number
                .checked_mul(16)
                .map_or(u64::MAX, |number| number | u64::from(digit))
        }))
    }

    /// The value of `key` as a truth value; false if missing.
    pub fn boolean(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| matches!(value.first(), Some(b'1' | b't' | b'T')))
    }

    /// The value of `key` as a node's address.
    pub fn address(&self, key: &str) -> Option<Address> {
        self.integer(key).map(Address::new)
    }

    /// Every key and value, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Appends an entry.
    pub fn push(&mut self, key: &str, value: impl AsRef<[u8]>) {
        self.entries
            .push((key.as_bytes().to_vec(), value.as_ref().to_vec()));
    }

    /// Appends an integer, as sixteen digits.
    pub fn push_integer(&mut self, key: &str, value: u64) {
        self.push(key, format!("{value:016x}"));
    }

    /// Appends a truth value.
    pub fn push_boolean(&mut self, key: &str, value: bool) {
        self.push(key, if value { "1" } else { "0" });
    }

    /// Appends a node's address, as ten digits.
    pub fn push_address(&mut self, key: &str, value: Address) {
        self.push(key, value.to_string());
    }

    /// Appends the wire form of a list, unless it is empty.
    pub fn push_list<T: Emit>(&mut self, key: &str, list: &[T]) {
        if !list.is_empty() {
            let mut value = Vec::new();
            for item in list {
                item.write(&mut value);
            }
            self.push(key, value);
        }
    }
}

impl Emit for Dictionary {
    fn write<S: Sink>(&self, out: &mut S) {
        for (index, (key, value)) in self.entries.iter().enumerate() {
            if index > 0 {
                out.u8(b'\n');
            }
            out.put(key);
            out.u8(b'=');
            escape(value, out);
        }
    }
}

fn escape<S: Sink>(value: &[u8], out: &mut S) {
    for &byte in value {
        match byte {
            0 => out.put(b"\\0"),
            b'\r' => out.put(b"\\r"),
            b'\n' => out.put(b"\\n"),
            b'\\' => out.put(b"\\\\"),
            b'=' => out.put(b"\\e"),
            _ => out.u8(byte),
        }
    }
}

/// A backslash at the very end stands for nothing.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut bytes = value.iter().copied();
    let mut out = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        out.extend(match byte {
            b'\\' => bytes.next().map(|escaped| match escaped {
                b'r' => b'\r',
                b'n' => b'\n',
                b'0' => 0,
                b'e' => b'=',
                other => other,
            }),
            _ => Some(byte),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// VL2 appendix A.
    #[test]
    fn escapes_match_the_vector() {
        let mut dictionary = Dictionary::new();
        dictionary.push("k", b"a=b\\c\r\nd\0e");
        let text = dictionary.to_bytes();
        assert_eq!(text, b"k=a\\eb\\\\c\\r\\nd\\0e");
        assert_eq!(Dictionary::parse(&text), dictionary);
    }

    #[test]
    fn integers_are_read_generously() {
        let d = Dictionary::parse(b"a=0x1F\nb=00000000000000ff\rc=\nd=12zz\ne=fffffffffffffffff");
        assert_eq!(d.integer("a"), Some(0x1f));
        assert_eq!(d.integer("b"), Some(0xff));
        assert_eq!(d.integer("c"), None);
        assert_eq!(d.integer("d"), Some(0x12));
        assert_eq!(d.integer("e"), Some(u64::MAX));
        assert_eq!(d.integer("f"), None);
    }

    #[test]
    fn the_first_of_equal_keys_counts_and_nul_ends_everything() {
        let d = Dictionary::parse(b"a=1\na=2\nnonsense\n\nb=t\0c=3");
        assert_eq!(d.get("a"), Some(&b"1"[..]));
        assert!(d.boolean("b") && !d.boolean("c"));
        assert_eq!(d.get("c"), None);
    }

    #[test]
    fn a_backslash_at_the_end_is_nothing() {
        assert_eq!(Dictionary::parse(b"a=x\\").get("a"), Some(&b"x"[..]));
    }
}
