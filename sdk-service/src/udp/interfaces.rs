//! This host's own addresses, and a descriptor that tells when they change.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Kernel name of the interface.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// Length of the on-link prefix.
    pub prefix: u8,
}

/// Every address of every interface that is up, loopback excepted.
pub fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: `list` is a live out-pointer; on success it is freed below, exactly once.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: the list came from getifaddrs and is freed only after the walk.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        let up = entry.ifa_flags & libc::IFF_UP as libc::c_uint != 0;
        let loopback = entry.ifa_flags & libc::IFF_LOOPBACK as libc::c_uint != 0;
        if !up || loopback {
            continue;
        }
        // SAFETY: address and netmask, where present, are socket addresses of the family they carry.
        let (ip, mask) = unsafe { (address_of(entry.ifa_addr), address_of(entry.ifa_netmask)) };
        if let Some(ip) = ip {
            // SAFETY: the name is a C string that lives as long as the list.
            let interface = unsafe { CStr::from_ptr(entry.ifa_name) }
                .to_string_lossy()
                .into_owned();
            found.push(InterfaceAddress {
                interface,
                ip,
                prefix: mask.map_or(0, ones),
            });
        }
    }
    // SAFETY: `list` came from getifaddrs and nothing borrows from it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// # Safety
/// `address` is null or points at a socket address of the family it carries.
unsafe fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: upheld by the caller; the family decides how far may be read.
    unsafe {
        match i32::from((*address).sa_family) {
            libc::AF_INET => {
                let v4 = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into())
            }
            libc::AF_INET6 => {
                let v6 = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

fn ones(mask: IpAddr) -> u8 {
    match mask {
        IpAddr::V4(v4) => v4.to_bits().leading_ones() as u8,
        IpAddr::V6(v6) => v6.to_bits().leading_ones() as u8,
    }
}

/// Becomes readable when an address comes or goes, so that nobody has to look periodically.
#[derive(Debug)]
pub struct AddressWatch {
    socket: OwnedFd,
}

impl AddressWatch {
    /// Subscribes to address changes of both families; needs no privilege.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // The default protocol of the family, 0, is NETLINK_ROUTE.
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        let groups = (libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR) as u32;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self { socket })
    }

    /// Forgets the notices; what they say is read from [`addresses`].
    pub fn drain(&self) {
        let mut notice = [0_u8; 4096];
        loop {
            match rustix::net::recv(&self.socket, &mut notice, RecvFlags::DONTWAIT) {
                // ENOBUFS says that notices were lost, which is one more reason to look again.
                Ok(_) | Err(rustix::io::Errno::INTR | rustix::io::Errno::NOBUFS) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for AddressWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_never_listed() {
        let found = addresses().unwrap();
        assert!(
            found.iter().all(|address| !address.ip.is_loopback()),
            "{found:?}"
        );
        assert!(
            found
                .iter()
                .all(|address| address.prefix <= 128 && !address.interface.is_empty())
        );
    }

    #[test]
    fn watching_needs_no_privilege_and_drains_without_blocking() {
        AddressWatch::open().unwrap().drain();
    }

    #[test]
    fn a_netmask_becomes_a_prefix_length() {
        assert_eq!(ones("255.255.240.0".parse().unwrap()), 20);
        assert_eq!(ones("ffff:ffff:ffff:ffff::".parse().unwrap()), 64);
    }
}
