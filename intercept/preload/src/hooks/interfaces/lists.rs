//! `getifaddrs`, `freeifaddrs`, `if_nameindex`, `if_freenameindex`.
//!
//! The C library frees its lists in ways of its own. So the LAN's part of a list is a mapping of ours at its end, which
//! our hooks cut off before the C library gets the rest.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::net::IpAddr;
use core::ptr;

use zt_intercept::interface::LanInterface;
use zt_socket_rpc::linux::{AF_INET, AF_INET6};

use super::block::{self, Block};
use super::interface;
use crate::libc::{self, IfAddrs, IfNameIndex};

const AF_PACKET: u16 = 17;
/// `ARPHRD_ETHER`.
const ETHERNET: u16 = 1;
/// `sizeof(struct rtnl_link_stats)`.
const STATISTICS: usize = 96;
/// What one node and its three addresses need.
const NODE: usize = size_of::<IfAddrs>() + 3 * 32;

/// A `struct sockaddr_in` or `struct sockaddr_in6` without a port.
fn address(ip: IpAddr) -> ([u8; 28], usize) {
    let mut bytes = [0; 28];
    match ip {
        IpAddr::V4(v4) => {
            bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
            bytes[4..8].copy_from_slice(&v4.octets());
            (bytes, 16)
        }
        IpAddr::V6(v6) => {
            bytes[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
            bytes[8..24].copy_from_slice(&v6.octets());
            (bytes, 28)
        }
    }
}

/// A `struct sockaddr_ll`.
fn link_address(mac: [u8; 6]) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..2].copy_from_slice(&AF_PACKET.to_ne_bytes());
    bytes[4..8].copy_from_slice(&LanInterface::INDEX.to_ne_bytes());
    bytes[8..10].copy_from_slice(&ETHERNET.to_ne_bytes());
    bytes[11] = mac.len() as u8;
    bytes[12..18].copy_from_slice(&mac);
    bytes
}

/// The LAN's nodes: one for the link, one for each address.
fn nodes(lan: &LanInterface) -> *mut IfAddrs {
    let count = 1 + lan.addresses().count();
    let Some(mut block) = Block::new(count * NODE + 64 + STATISTICS) else {
        return ptr::null_mut();
    };
    // First, so that the block is known by it.
    let first = block.take::<IfAddrs>(count);
    let name = block.keep(lan.name()).cast::<c_char>();
    let node = |next| IfAddrs {
        next,
        name,
        flags: lan.flags(),
        address: ptr::null_mut(),
        netmask: ptr::null_mut(),
        broadcast: ptr::null_mut(),
        data: ptr::null_mut(),
    };
    let mut keep = |ip: IpAddr| {
        let (bytes, len) = address(ip);
        block.keep(bytes.get(..len).unwrap_or_default())
    };
    // SAFETY: `count` nodes were taken, and as many are written.
    unsafe {
        for (n, prefix) in lan.addresses().enumerate() {
            let at = n + 1;
            let next = if at + 1 < count {
                first.add(at + 1)
            } else {
                ptr::null_mut()
            };
            *first.add(at) = IfAddrs {
                address: keep(prefix.address),
                netmask: keep(prefix.netmask()),
                broadcast: prefix
                    .broadcast()
                    .map_or(ptr::null_mut(), |ip| keep(ip.into())),
                ..node(next)
            };
        }
        let next = if count > 1 {
            first.add(1)
        } else {
            ptr::null_mut()
        };
        *first = IfAddrs {
            address: block.keep(&link_address(lan.mac())),
            broadcast: block.keep(&link_address([0xff; 6])),
            data: block.take::<u8>(STATISTICS).cast(),
            ..node(next)
        };
    }
    first
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getifaddrs(list: *mut *mut IfAddrs) -> c_int {
    // SAFETY: the program's promise: a place for the list.
    unsafe {
        let result = libc::getifaddrs(list);
        if result == 0
            && let Some(lan) = interface()
        {
            let mut end = list;
            while let Some(node) = (*end).as_mut() {
                end = &raw mut node.next;
            }
            *end = nodes(&lan);
        }
        result
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn freeifaddrs(list: *mut IfAddrs) {
    // SAFETY: the program's promise: a list of `getifaddrs`.
    unsafe {
        let mut list = list;
        let mut end = &raw mut list;
        while !(*end).is_null() {
            if block::begins_at((*end).cast()) {
                block::free((*end).cast());
                *end = ptr::null_mut();
                break;
            }
            end = &raw mut (**end).next;
        }
        if !list.is_null() {
            libc::freeifaddrs(list);
        }
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn if_nameindex() -> *mut IfNameIndex {
    // SAFETY: a list of the C library, which ends with an index of zero.
    unsafe {
        let list = libc::if_nameindex();
        let Some(lan) = interface().filter(|_| !list.is_null()) else {
            return list;
        };
        let count = (0..).take_while(|&n| (*list.add(n)).index != 0).count();
        let size = size_of::<IfNameIndex>() + lan.name().len() + size_of::<usize>();
        let Some(mut block) = Block::new((count + 2) * size) else {
            return list;
        };
        let joined = block.take::<IfNameIndex>(count + 2);
        for n in 0..count {
            let entry = *list.add(n);
            let name = CStr::from_ptr(entry.name).to_bytes_with_nul();
            *joined.add(n) = IfNameIndex {
                name: block.keep(name).cast(),
                ..entry
            };
        }
        *joined.add(count) = IfNameIndex {
            index: LanInterface::INDEX,
            name: block.keep(lan.name()).cast(),
        };
        *joined.add(count + 1) = IfNameIndex {
            index: 0,
            name: ptr::null_mut(),
        };
        libc::if_freenameindex(list);
        joined
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn if_freenameindex(list: *mut IfNameIndex) {
    let place: *const c_void = list.cast();
    // SAFETY: the program's promise: a list of `if_nameindex`.
    unsafe {
        if !place.is_null() && block::begins_at(place) {
            block::free(place);
        } else {
            libc::if_freenameindex(list);
        }
    }
}
