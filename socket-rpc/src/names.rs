//! Names and addresses as they stand in messages: what a program asks the service to look up, and what it is told.

use core::net::IpAddr;

use crate::MAX_MESSAGE;
use crate::wire::{Malformed, Reader, Writer};

/// The name of a host: letters, digits, hyphens, underscores and dots. Nothing else gets into a program by a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HostName {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl HostName {
    /// The longest name as text.
    pub const MAX: usize = 253;

    /// `None` for what is no host's name.
    pub fn new(text: &[u8]) -> Option<Self> {
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        if text.is_empty() || !text.iter().all(is_of_name) {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self {
            bytes,
            len: text.len() as u8,
        })
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Always ASCII.
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let len = input.u8()?;
        Self::new(input.slice(usize::from(len))?).ok_or(Malformed::because("not a host's name"))
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        out.u8(self.len);
        out.bytes(self.as_bytes());
    }
}

impl core::fmt::Debug for HostName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The addresses of a host, in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    addresses: [Option<IpAddr>; Self::MAX],
}

impl Addresses {
    /// More are left out.
    pub const MAX: usize = 16;

    /// The first of the addresses.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut kept = [None; Self::MAX];
        for (to, address) in kept.iter_mut().zip(addresses) {
            *to = Some(address);
        }
        Self { addresses: kept }
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + Clone + '_ {
        self.addresses.iter().flatten().copied()
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = usize::from(input.u8()?);
        if count > Self::MAX {
            return Err(Malformed::because("too many addresses"));
        }
        let mut addresses = [None; Self::MAX];
        for address in addresses.iter_mut().take(count) {
            *address = Some(read_ip(input)?);
        }
        Ok(Self { addresses })
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        out.u8(self.iter().count() as u8);
        self.iter().for_each(|address| write_ip(out, address));
    }
}

pub(crate) fn read_ip(input: &mut Reader<'_>) -> Result<IpAddr, Malformed> {
    match input.u8()? {
        4 => Ok(IpAddr::from(input.array::<4>()?)),
        6 => Ok(IpAddr::from(input.array::<16>()?)),
        _ => Err(Malformed::because("unknown address family")),
    }
}

pub(crate) fn write_ip(out: &mut Writer<'_>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            out.u8(4);
            out.bytes(&v4.octets());
        }
        IpAddr::V6(v6) => {
            out.u8(6);
            out.bytes(&v6.octets());
        }
    }
}

/// A DNS message that answers a question for records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DnsMessage {
    bytes: [u8; Self::MAX],
    len: u16,
}

impl DnsMessage {
    /// The longest one: what most resolvers offer to take by UDP.
    pub const MAX: usize = 1232;

    /// `None` for one that is too long.
    pub fn new(message: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..message.len())?.copy_from_slice(message);
        Some(Self {
            bytes,
            len: message.len() as u16,
        })
    }

    /// The message.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let len = input.u16()?;
        Self::new(input.slice(usize::from(len))?).ok_or(Malformed::because("DNS message too long"))
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        out.u16(self.len);
        out.bytes(self.as_bytes());
    }
}

impl core::fmt::Debug for DnsMessage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "DNS message of {} bytes", self.len)
    }
}

const _: () = assert!(DnsMessage::MAX + 4 <= MAX_MESSAGE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_host_is_called_is_a_name() {
        for name in ["web.local", "Web-2.local.", "_x", &"a".repeat(253)] {
            assert_eq!(HostName::new(name.as_bytes()).unwrap().as_str(), name);
        }
        for other in ["", "a b", "a\n", "\u{fc}", "a/b", &"a".repeat(254)] {
            assert_eq!(HostName::new(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_first_addresses_are_kept() {
        let all = (0..40).map(|n| IpAddr::from([10, 0, 0, n]));
        let kept = Addresses::new(all.clone());
        assert!(kept.iter().eq(all.take(Addresses::MAX)));
    }
}
