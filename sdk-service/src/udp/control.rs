//! Control messages beside a datagram: segment sizes, source addresses, hop limits.

use std::mem;
use std::net::IpAddr;
use std::ptr;

/// Enough for the three messages that we ever send or ask for, each at most an `in6_pktinfo`.
const ROOM: usize = 128;

/// An aligned buffer of control messages.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; ROOM],
    used: usize,
}

/// What the kernel said beside a received buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ancillary {
    /// Size of each coalesced datagram but the last; `None` = the buffer is one datagram.
    pub(super) segment: Option<usize>,
    /// The address that the datagram was sent to.
    pub(super) destination: Option<IpAddr>,
}

impl Control {
    pub(super) const fn empty() -> Self {
        Self {
            bytes: [0; ROOM],
            used: 0,
        }
    }

    /// For `msg_control` of a receive.
    pub(super) fn room(&mut self) -> (*mut libc::c_void, usize) {
        (self.bytes.as_mut_ptr().cast(), ROOM)
    }

    /// For `msg_control` of a send; null when there is nothing to say.
    pub(super) fn filled(&mut self) -> (*mut libc::c_void, usize) {
        if self.used == 0 {
            return (ptr::null_mut(), 0);
        }
        (self.bytes.as_mut_ptr().cast(), self.used)
    }

    fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let size = mem::size_of::<T>() as u32;
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute sizes.
        let (space, length) = unsafe {
            (
                libc::CMSG_SPACE(size) as usize,
                libc::CMSG_LEN(size) as usize,
            )
        };
        assert!(
            self.used + space <= ROOM,
            "control room is sized for every message we send"
        );
        // SAFETY: `used` is a multiple of the header's alignment (CMSG_SPACE rounds up, the buffer is
        // 8-aligned) and the assertion keeps header and value inside the buffer.
        unsafe {
            let header = self
                .bytes
                .as_mut_ptr()
                .add(self.used)
                .cast::<libc::cmsghdr>();
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = length as _;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        self.used += space;
    }

    /// Cut the payload into datagrams of `size` bytes.
    pub(super) fn push_segment(&mut self, size: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, size);
    }

    /// Leave from this address.
    pub(super) fn push_source(&mut self, source: IpAddr) {
        match source {
            IpAddr::V4(v4) => self.push(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(v4.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                },
            ),
            IpAddr::V6(v6) => self.push(
                libc::IPPROTO_IPV6,
                libc::IPV6_PKTINFO,
                libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: v6.octets(),
                    },
                    ipi6_ifindex: 0,
                },
            ),
        }
    }

    /// Live for this many hops only.
    pub(super) fn push_hops(&mut self, hops: u8, v6: bool) {
        let hops = libc::c_int::from(hops);
        if v6 {
            self.push(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, hops);
        } else {
            self.push(libc::IPPROTO_IP, libc::IP_TTL, hops);
        }
    }

    /// Reads what the kernel wrote into the first `length` bytes.
    pub(super) fn parse(&mut self, length: usize) -> Ancillary {
        let mut found = Ancillary::default();
        // SAFETY: a zeroed msghdr is valid; only its control fields are used, by the CMSG walk.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_control = self.bytes.as_mut_ptr().cast();
        let length = length.min(ROOM);
        message.msg_controllen = length as _;
        // SAFETY: the walk stays inside `msg_controllen` bytes that the kernel filled in; every value
        // is read unaligned and only after its own length was checked.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(&message);
            while !header.is_null() {
                let offset = header as usize - message.msg_control as usize;
                if offset + (*header).cmsg_len as usize > length {
                    break;
                }
                let payload =
                    ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(header);
                match ((*header).cmsg_level, (*header).cmsg_type) {
                    (libc::SOL_UDP, libc::UDP_GRO) if payload >= mem::size_of::<libc::c_int>() => {
                        let size = data.cast::<libc::c_int>().read_unaligned();
                        found.segment = usize::try_from(size).ok().filter(|&size| size > 0);
                    }
                    (libc::IPPROTO_IP, libc::IP_PKTINFO)
                        if payload >= mem::size_of::<libc::in_pktinfo>() =>
                    {
                        let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                        found.destination =
                            Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()));
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)
                        if payload >= mem::size_of::<libc::in6_pktinfo>() =>
                    {
                        let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                        found.destination = Some(IpAddr::from(info.ipi6_addr.s6_addr));
                    }
                    _ => {}
                }
                header = libc::CMSG_NXTHDR(&message, header);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_addresses_read_back() {
        for text in ["192.0.2.1", "2001:db8::2"] {
            let ip: IpAddr = text.parse().unwrap();
            let mut control = Control::empty();
            control.push_source(ip);
            let used = control.used;
            assert_eq!(control.parse(used).destination, Some(ip));
        }
    }

    #[test]
    fn every_message_of_one_send_fits() {
        let mut control = Control::empty();
        control.push_segment(1432);
        control.push_source("2001:db8::2".parse().unwrap());
        control.push_hops(2, true);
        assert!(control.filled().1 > 0);
    }

    #[test]
    fn truncated_control_data_is_ignored() {
        let mut control = Control::empty();
        control.push_source("192.0.2.1".parse().unwrap());
        for length in 0..control.used - 4 {
            assert_eq!(control.parse(length), Ancillary::default(), "at {length}");
        }
    }
}
