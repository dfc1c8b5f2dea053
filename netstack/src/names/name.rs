//! Domain names: labels, compared without regard to the case of ASCII letters.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bytes of a name at most, with the length of every label and the final zero (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;
/// Bytes of a label at most.
const MAX_LABEL: usize = 63;

/// A domain name. Equal and ordered as DNS has it: `Web.local` is `web.local`.
#[derive(Clone)]
pub struct Name {
    /// Labels, each behind its length, and a zero.
    wire: Vec<u8>,
}

/// Text that is no domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a domain name")]
pub struct BadName;

impl Name {
    /// The name without labels.
    #[must_use]
    pub fn root() -> Name {
        Name { wire: vec![0] }
    }

    /// A name of these labels.
    ///
    /// # Errors
    /// A label is empty or too long, or all of them together are.
    pub fn of_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Name, BadName> {
        let mut wire = Vec::new();
        for label in labels {
            if label.is_empty() || label.len() > MAX_LABEL {
                return Err(BadName);
            }
            wire.push(label.len() as u8);
            wire.extend_from_slice(label);
        }
        wire.push(0);
        if wire.len() > MAX_NAME {
            return Err(BadName);
        }
        Ok(Name { wire })
    }

    /// The labels, the host's first.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.wire[..];
        std::iter::from_fn(move || {
            let (&len, tail) = rest.split_first()?;
            let (label, tail) = tail.split_at_checked(usize::from(len))?;
            rest = tail;
            Some(label).filter(|label| !label.is_empty())
        })
    }

    /// The bytes on the wire, uncompressed.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// Whether it is `domain` or a name below it.
    #[must_use]
    pub fn is_within(&self, domain: &Name) -> bool {
        let (ours, theirs) = (self.labels().count(), domain.labels().count());
        ours >= theirs
            && self
                .labels()
                .skip(ours - theirs)
                .zip(domain.labels())
                .all(|(one, other)| one.eq_ignore_ascii_case(other))
    }

    /// The name under which the names of an address are asked for (RFC 1035 §3.5, RFC 3596 §2.5).
    #[must_use]
    pub fn of_address(ip: IpAddr) -> Name {
        let text = match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(ip) => {
                let mut text = String::new();
                for byte in ip.octets().iter().rev() {
                    let _ = write!(text, "{:x}.{:x}.", byte & 15, byte >> 4);
                }
                text + "ip6.arpa"
            }
        };
        // Always short enough.
        text.parse().unwrap_or_else(|BadName| Name::root())
    }

    /// The address whose names are asked for under this name.
    #[must_use]
    pub fn to_address(&self) -> Option<IpAddr> {
        let labels: Vec<&str> = self
            .labels()
            .map(std::str::from_utf8)
            .collect::<Result<_, _>>()
            .ok()?;
        let is = |label: &str, text: &str| label.eq_ignore_ascii_case(text);
        match &labels[..] {
            [d, c, b, a, in_addr, arpa] if is(in_addr, "in-addr") && is(arpa, "arpa") => {
                let mut octets = [0; 4];
                for (octet, text) in octets.iter_mut().zip([a, b, c, d]) {
                    *octet = text.parse().ok()?;
                }
                Some(Ipv4Addr::from(octets).into())
            }
            [digits @ .., ip6, arpa]
                if digits.len() == 32 && is(ip6, "ip6") && is(arpa, "arpa") =>
            {
                let mut bits = 0_u128;
                for digit in digits.iter().rev() {
                    if digit.len() != 1 {
                        return None;
                    }
                    bits = bits << 4 | u128::from_str_radix(digit, 16).ok()?;
                }
                Some(Ipv6Addr::from(bits).into())
            }
            _ => None,
        }
    }

    /// Whether it belongs to multicast DNS (RFC 6762 §3).
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.labels()
            .last()
            .is_some_and(|label| label.eq_ignore_ascii_case(b"local"))
    }
}

/// One label for a host out of any text: what stands before the first dot, in lower case, with a hyphen for everything
/// that a host name must not have.
#[must_use]
pub fn host_label(text: &str) -> Option<String> {
    let first = text.split('.').next().unwrap_or_default();
    let label: String = first
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' => c,
            'A'..='Z' => c.to_ascii_lowercase(),
            _ => '-',
        })
        .take(MAX_LABEL)
        .collect();
    let label = label.trim_matches('-');
    Some(label.to_owned()).filter(|label| !label.is_empty())
}

impl FromStr for Name {
    type Err = BadName;

    /// With a final dot or without.
    fn from_str(text: &str) -> Result<Name, BadName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(BadName);
        }
        Name::of_labels(text.split('.').map(str::as_bytes))
    }
}

impl fmt::Display for Name {
    /// Without a final dot; bytes that are no printable ASCII, dots and backslashes as `\ddd` (RFC 1035 §5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, label) in self.labels().enumerate() {
            if n > 0 {
                f.write_char('.')?;
            }
            for &byte in label {
                if byte.is_ascii_graphic() && !matches!(byte, b'.' | b'\\') {
                    f.write_char(byte.into())?;
                } else {
                    write!(f, "\\{byte:03}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}.")
    }
}

impl Name {
    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        // Lengths are below the letters.
        self.wire.iter().map(u8::to_ascii_lowercase)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.wire.eq_ignore_ascii_case(&other.wire)
    }
}

impl Eq for Name {}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_equal_whatever_their_case() {
        assert_eq!(name("Web.LOCAL."), name("web.local"));
        assert_eq!(name("Web.Local").to_string(), "Web.Local");
        assert_ne!(name("web.local"), name("we.blocal"));
        assert!(name("a.web.local").is_local() && !name("local.web").is_local());
    }

    #[test]
    fn what_is_too_long_or_empty_is_no_name() {
        for bad in ["", ".", "a..b", ".a", &"x".repeat(64), &"abc.".repeat(64)] {
            assert_eq!(bad.parse::<Name>(), Err(BadName), "{bad:?}");
        }
        assert_eq!(name(&"abc.".repeat(63)).as_wire().len(), 253);
    }

    #[test]
    fn a_domain_contains_itself_and_what_is_below() {
        let domain = name("corp.example");
        for (text, inside) in [
            ("corp.example", true),
            ("Web.Corp.Example", true),
            ("xcorp.example", false),
            ("example", false),
        ] {
            assert_eq!(name(text).is_within(&domain), inside, "{text}");
        }
    }

    #[test]
    fn an_address_has_a_name_and_back() {
        for (text, reverse) in [
            ("10.147.20.7", "7.20.147.10.in-addr.arpa"),
            (
                "fd00::abcd:1",
                "1.0.0.0.d.c.b.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
            ),
        ] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Name::of_address(ip), name(reverse));
            assert_eq!(name(reverse).to_address(), Some(ip));
        }
        for other in ["1.2.3.in-addr.arpa", "1.2.3.999.in-addr.arpa", "web.local"] {
            assert_eq!(name(other).to_address(), None, "{other}");
        }
    }

    #[test]
    fn any_text_becomes_a_label_or_none() {
        for (text, label) in [
            ("Web_Server", Some("web-server")),
            ("web.example.com", Some("web")),
            ("-x-", Some("x")),
            ("ünïx", Some("n-x")),
            ("", None),
            ("---", None),
        ] {
            assert_eq!(host_label(text).as_deref(), label, "{text}");
        }
    }
}
