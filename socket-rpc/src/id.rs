//! Socket ids, and the abstract Unix addresses that carry them.

use core::fmt;

/// Identifies one socket of a program on one service: a public tag and a secret, both random.
///
/// The tag indexes the state table, which every program of the service can read. The secret is nowhere but in the
/// pair's name and in the service's records, so knowing a tag gives no power over the socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; Self::LEN]);

impl Id {
    /// Bytes of an id.
    pub const LEN: usize = 16;

    /// Makes an id of 16 fresh random bytes, or restores one from a message or name.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The tag, then the secret.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// The public half: the key into the state table. Zero is reserved for "no entry" there.
    pub const fn tag(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({:016x}:[secret])", self.tag())
    }
}

/// What a program's descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A TCP connection, being made or made: a `STREAM` pair.
    Stream,
    /// A TCP socket that is bound, or listening: a `SEQPACKET` pair that carries [`crate::Accepted`] records.
    Listener,
    /// A UDP socket: a `SEQPACKET` pair that carries one frame a datagram ([`crate::DatagramHeader`]).
    Datagram,
    /// An ICMP socket of type `SOCK_DGRAM`: the same with echo requests and their answers.
    Echo,
    /// An ICMP socket of type `SOCK_RAW`, used for echo requests.
    RawEcho,
}

impl Kind {
    /// Whether the pair carries frames.
    pub const fn is_framed(self) -> bool {
        matches!(self, Self::Datagram | Self::Echo | Self::RawEcho)
    }

    const fn to_byte(self) -> u8 {
        match self {
            Self::Stream => b's',
            Self::Listener => b'l',
            Self::Datagram => b'd',
            Self::Echo => b'e',
            Self::RawEcho => b'r',
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b's' => Some(Self::Stream),
            b'l' => Some(Self::Listener),
            b'd' => Some(Self::Datagram),
            b'e' => Some(Self::Echo),
            b'r' => Some(Self::RawEcho),
            _ => None,
        }
    }

    pub(crate) const fn to_wire(self) -> u8 {
        self.to_byte()
    }

    pub(crate) const fn from_wire(byte: u8) -> Option<Self> {
        Self::from_byte(byte)
    }
}

/// The abstract Unix address of the service's half of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// What the pair is.
    pub kind: Kind,
    /// Which one it is.
    pub id: Id,
}

impl Name {
    /// How every name begins in `sun_path`; the leading zero makes it abstract.
    pub const PREFIX: [u8; 6] = *b"\0zt-nc";

    /// Bytes of `sun_path` that a name takes. The address length of `bind` is this plus the two bytes of `sun_family`.
    pub const LEN: usize = Self::PREFIX.len() + 1 + Id::LEN;

    /// The bytes for `sun_path`.
    pub fn to_path(self) -> [u8; Self::LEN] {
        let mut path = [0; Self::LEN];
        let (prefix, rest) = path.split_at_mut(Self::PREFIX.len());
        prefix.copy_from_slice(&Self::PREFIX);
        if let Some((kind, id)) = rest.split_first_mut() {
            *kind = self.kind.to_byte();
            id.copy_from_slice(&self.id.to_bytes());
        }
        path
    }

    /// Reads what `getpeername` put into `sun_path`, cut to the returned length. `None` for any other socket.
    pub fn from_path(path: &[u8]) -> Option<Self> {
        let (&kind, id) = path.strip_prefix(&Self::PREFIX)?.split_first()?;
        Some(Self {
            kind: Kind::from_byte(kind)?,
            id: Id::from_bytes(id.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_survives_the_round_trip_and_nothing_else_is_a_name() {
        let name = Name {
            kind: Kind::Listener,
            id: Id::from_bytes(*b"0123456789abcdef"),
        };
        let path = name.to_path();
        assert_eq!(Name::from_path(&path), Some(name));
        for cut in 0..path.len() {
            assert_eq!(Name::from_path(&path[..cut]), None);
        }
        assert_eq!(Name::from_path(b"/run/zt/nc_8056c2e21c000001"), None);
        let mut other = path;
        other[6] = b'?';
        assert_eq!(Name::from_path(&other), None);
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        let shown = std::format!("{:?}", Id::from_bytes([0xab; 16]));
        assert_eq!(shown, "Id(abababababababab:[secret])");
    }
}
