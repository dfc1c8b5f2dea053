//! Socket addresses as the kernel wants them.

use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for either family, as `msg_name` wants it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    /// An empty name to receive into.
    pub(super) const fn empty() -> Self {
        // SAFETY: all-zero bytes are a valid value of both plain C structures.
        unsafe { MaybeUninit::zeroed().assume_init() }
    }

    /// The name of `address` and its length in bytes.
    pub(super) fn of(address: SocketAddr) -> (Self, libc::socklen_t) {
        let mut name = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                name.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(v4.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                (name, mem::size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(v6) => {
                name.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: v6.ip().octets(),
                    },
                    sin6_scope_id: v6.scope_id(),
                };
                (
                    name,
                    mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t,
                )
            }
        }
    }

    /// The address in a name that the kernel filled in with `length` bytes.
    pub(super) fn to_address(self, length: libc::socklen_t) -> Option<SocketAddr> {
        let length = length as usize;
        if length < mem::size_of::<libc::sa_family_t>() {
            return None;
        }
        // SAFETY: both variants begin with the family, and every byte of the union was initialised
        // by `empty` before the kernel wrote a valid prefix of one variant.
        let family = i32::from(unsafe { self.v4.sin_family });
        if family == libc::AF_INET && length >= mem::size_of::<libc::sockaddr_in>() {
            // SAFETY: the family says which variant is live; see above.
            let v4 = unsafe { self.v4 };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::V4(SocketAddrV4::new(
                ip,
                u16::from_be(v4.sin_port),
            )))
        } else if family == libc::AF_INET6 && length >= mem::size_of::<libc::sockaddr_in6>() {
            // SAFETY: the family says which variant is live; see above.
            let v6 = unsafe { self.v6 };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            // The flow label is the sender's private matter; keeping it would split one path in many.
            Some(SocketAddr::V6(SocketAddrV6::new(
                ip,
                u16::from_be(v6.sin6_port),
                0,
                v6.sin6_scope_id,
            )))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_survive_the_round_trip() {
        for text in ["192.0.2.7:9993", "[2001:db8::1]:443", "[fe80::1%3]:9993"] {
            let address: SocketAddr = text.parse().unwrap();
            let (name, length) = Name::of(address);
            assert_eq!(name.to_address(length), Some(address));
        }
    }

    #[test]
    fn a_short_or_foreign_name_is_no_address() {
        let (name, length) = Name::of("192.0.2.7:9993".parse().unwrap());
        for short in 0..length {
            assert_eq!(name.to_address(short), None);
        }
        assert_eq!(Name::empty().to_address(28), None);
    }
}
