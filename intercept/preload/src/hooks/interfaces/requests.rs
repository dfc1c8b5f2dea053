//! `ioctl` with `SIOCGIF…`: what programs of an older kind ask about interfaces.

use core::ffi::{CStr, c_int};
use core::ptr;

use zt_intercept::Errno;
use zt_intercept::interface::LanInterface;
use zt_socket_rpc::Prefix;
use zt_socket_rpc::linux::{AF_INET, EADDRNOTAVAIL};

use super::interface;
use crate::environment::is_active;
use crate::next::{self, fail};

const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;
/// `ARPHRD_ETHER`.
const ETHERNET: u16 = 1;
/// As the kernel gives it to most interfaces.
const QUEUE: u32 = 1000;
const NAME_LEN: usize = 16;

/// `struct ifreq`: a name, and a union.
#[repr(C)]
struct Request {
    name: [u8; NAME_LEN],
    value: [u8; 24],
}

/// `struct ifconf`.
#[repr(C)]
struct List {
    len: c_int,
    requests: *mut Request,
}

/// Answers what concerns the LAN's interface; `None` leaves the rest to the kernel.
pub(in crate::hooks) fn ioctl(fd: c_int, request: usize, argument: usize) -> Option<c_int> {
    let request = request as u32;
    if !(SIOCGIFNAME..=SIOCGIFTXQLEN).contains(&request) || argument == 0 || !is_active() {
        return None;
    }
    if request == SIOCGIFCONF {
        let list = ptr::with_exposed_provenance_mut::<List>(argument);
        // SAFETY: the program's promise.
        return unsafe { list_all(fd, list) };
    }
    let place = ptr::with_exposed_provenance_mut::<Request>(argument);
    // SAFETY: the program's promise: a `struct ifreq`.
    unsafe {
        if request == SIOCGIFNAME {
            let index = ptr::read_unaligned((&raw const (*place).value).cast::<u32>());
            let lan = interface().filter(|_| index == LanInterface::INDEX)?;
            (&raw mut (*place).name).write(*lan.name());
            return Some(0);
        }
        let name = (&raw const (*place).name).read();
        let name = CStr::from_bytes_until_nul(&name).ok()?.to_bytes();
        let value = (&raw mut (*place).value).cast::<u8>();
        let lan = interface().filter(|lan| lan.is_named(name))?;
        let put = |bytes: &[u8]| {
            ptr::copy_nonoverlapping(bytes.as_ptr(), value, bytes.len());
            Some(0)
        };
        let put_address = |octets: Option<[u8; 4]>| match octets {
            Some(octets) => put(&socket_address(octets)),
            None => Some(fail(Errno(EADDRNOTAVAIL))),
        };
        match request {
            SIOCGIFFLAGS => put(&(lan.flags() as u16).to_ne_bytes()),
            SIOCGIFADDR => put_address(lan.first_v4().and_then(v4)),
            SIOCGIFNETMASK => put_address(lan.first_v4().and_then(|prefix| {
                v4(Prefix {
                    address: prefix.netmask(),
                    ..prefix
                })
            })),
            SIOCGIFBRDADDR => put_address(
                lan.first_v4()
                    .and_then(|prefix| prefix.broadcast())
                    .map(|ip| ip.octets()),
            ),
            SIOCGIFMETRIC => put(&0_u32.to_ne_bytes()),
            SIOCGIFMTU => put(&lan.mtu().to_ne_bytes()),
            SIOCGIFINDEX => put(&LanInterface::INDEX.to_ne_bytes()),
            SIOCGIFTXQLEN => put(&QUEUE.to_ne_bytes()),
            SIOCGIFHWADDR => {
                let mut address = [0; 16];
                address[..2].copy_from_slice(&ETHERNET.to_ne_bytes());
                address[2..8].copy_from_slice(&lan.mac());
                put(&address)
            }
            _ => None,
        }
    }
}

fn v4(prefix: Prefix) -> Option<[u8; 4]> {
    match prefix.address {
        core::net::IpAddr::V4(ip) => Some(ip.octets()),
        core::net::IpAddr::V6(_) => None,
    }
}

/// A `struct sockaddr_in` without a port.
fn socket_address(octets: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
    bytes[4..8].copy_from_slice(&octets);
    bytes
}

/// The kernel's list of IPv4 addresses, and the LAN's behind it as far as there is room; without a buffer, the room that
/// all of them need.
///
/// # Safety
/// The program's promise: a `struct ifconf`.
unsafe fn list_all(fd: c_int, list: *mut List) -> Option<c_int> {
    let lan = interface()?;
    // SAFETY: the caller's promise.
    unsafe {
        let room = (*list).len;
        let result = next::ioctl(fd, SIOCGIFCONF as usize, list.expose_provenance());
        if result != 0 {
            return Some(result);
        }
        let size = size_of::<Request>() as c_int;
        for octets in lan.addresses().filter_map(v4) {
            if !(*list).requests.is_null() {
                if (*list).len + size > room {
                    break;
                }
                let mut value = [0; 24];
                value[..16].copy_from_slice(&socket_address(octets));
                let name = *lan.name();
                let at = (*list).requests.byte_add((*list).len as usize);
                at.write_unaligned(Request { name, value });
            }
            (*list).len += size;
        }
        Some(0)
    }
}
