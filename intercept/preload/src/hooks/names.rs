//! Names: what the C library would ask name servers is asked from the service, where it is the LAN's affair.
//!
//! | module | its functions |
//! |---|---|
//! | [`addrinfo`] | `getaddrinfo`, `freeaddrinfo`, `getnameinfo` |
//! | [`hostent`] | `gethostbyname`, `gethostbyaddr` and their kin |
//! | [`records`] | `res_query`, `res_search` and their kin |

mod addrinfo;
mod hostent;
mod records;

use core::ffi::{CStr, c_char, c_int};
use core::fmt::{self, Write as _};
use core::net::IpAddr;

use zt_intercept::Errno;
use zt_socket_rpc::linux::{AF_INET, AF_INET6, EAGAIN, ENOENT};

/// Codes of `h_errno`.
const HOST_NOT_FOUND: c_int = 1;
const TRY_AGAIN: c_int = 2;
const NO_RECOVERY: c_int = 3;
const NO_DATA: c_int = 4;

/// Which code says what an errno of the service says.
fn host_error(errno: Errno) -> c_int {
    match errno {
        Errno(ENOENT) => HOST_NOT_FOUND,
        Errno(EAGAIN) => TRY_AGAIN,
        _ => NO_RECOVERY,
    }
}

/// A program's text; `None` when it is null or longer than a name may be.
///
/// # Safety
/// The program's promise to the C library: null, or a text with an end.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    Some(text).filter(|text| !text.is_empty() && text.len() <= 255)
}

/// The address in a `struct sockaddr`; an IPv4 address as such, even if it is written as one of IPv6.
fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    match family {
        AF_INET => raw_address(bytes.get(4..8)?),
        AF_INET6 => raw_address(bytes.get(8..24)?),
        _ => None,
    }
}

/// The address in a `struct in_addr` or `struct in6_addr`.
fn raw_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    let v6 = core::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
    Some(v6.to_ipv4_mapped().map_or(v6.into(), IpAddr::from))
}

/// A zero-terminated text of a bounded length.
struct CText<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> CText<N> {
    fn of(value: impl fmt::Display) -> Self {
        let mut text = Self {
            bytes: [0; N],
            len: 0,
        };
        let _ = write!(text, "{value}");
        text
    }

    fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }

    /// The text and its zero.
    fn with_end(&self) -> &[u8] {
        self.bytes.get(..=self.len).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for CText<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..N - 1).ok_or(fmt::Error)?;
        let room = room.get_mut(..text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}
