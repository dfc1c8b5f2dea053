//! A program's own UDP socket, used for the program: each datagram with the addresses and numbers that came with it.
//!
//! The program may hold copies of the socket and share its flags, so no flag is set on it: every call says by itself
//! that it does not wait.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::net::SocketAddrAny;
use zt_socket_rpc::{DatagramHeader, Family, LAN_INTERFACE, Lost, Membership, SetOption, lost};

use super::datagram::{for_kernel, unmapped};

/// What came with a datagram.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    pub(super) len: usize,
    pub(super) from: Option<SocketAddr>,
    pub(super) to: Option<IpAddr>,
    pub(super) interface: u32,
    pub(super) ttl: Option<u8>,
    pub(super) tos: Option<u8>,
}

/// Words for control messages: packet info of either family, hop limit and class, and what a program may have set.
const CONTROL_WORDS: usize = 32;
const WORD: usize = size_of::<u64>();
const IPV6_MULTICAST_ALL: i32 = 29;
const CONTROL_HEADER: usize = size_of::<libc::cmsghdr>();

/// What names an interface of the container's own.
const fn own_interface(index: u32) -> u32 {
    if index == LAN_INTERFACE { 0 } else { index }
}

/// Asks the kernel for what a framed datagram tells.
pub(super) fn prepare(kernel: &OwnedFd, family: Family) {
    let on = 1_i32.to_ne_bytes();
    for name in [libc::IP_PKTINFO, libc::IP_RECVTTL, libc::IP_RECVTOS] {
        let _ = set_option(kernel, libc::IPPROTO_IP, name, &on);
    }
    if family == Family::V6 {
        for name in [
            libc::IPV6_RECVPKTINFO,
            libc::IPV6_RECVHOPLIMIT,
            libc::IPV6_RECVTCLASS,
        ] {
            let _ = set_option(kernel, libc::IPPROTO_IPV6, name, &on);
        }
    }
}

/// Whether an option of a program is for its own network: errors, groups, and how datagrams go out there. Nothing here needs
/// or gives a right, so a program gets no more from the service than the kernel gives to it.
fn is_forwarded(level: i32, name: i32) -> bool {
    match level {
        libc::SOL_SOCKET => name == libc::SO_BROADCAST,
        libc::IPPROTO_IP => matches!(
            name,
            libc::IP_TTL
                | libc::IP_TOS
                | libc::IP_RECVERR
                | libc::IP_MULTICAST_ALL
                | libc::IP_MULTICAST_IF
                | libc::IP_MULTICAST_TTL
                | libc::IP_MULTICAST_LOOP
        ),
        libc::IPPROTO_IPV6 => matches!(
            name,
            libc::IPV6_UNICAST_HOPS
                | libc::IPV6_TCLASS
                | libc::IPV6_RECVERR
                | IPV6_MULTICAST_ALL
                | libc::IPV6_MULTICAST_IF
                | libc::IPV6_MULTICAST_HOPS
                | libc::IPV6_MULTICAST_LOOP
        ),
        _ => false,
    }
}

/// Sets an option that a program asked for, if it is for its own network. What the kernel says of it is lost: the
/// program waits for no answer.
pub(super) fn forward(kernel: &OwnedFd, option: &SetOption) {
    let SetOption {
        level, name, value, ..
    } = option;
    if is_forwarded(*level, *name)
        && let Err(errno) = set_option(kernel, *level, *name, value.as_bytes())
    {
        tracing::debug!(level, name, %errno, "option not taken by a program's own network");
    }
}

fn set_option(kernel: &OwnedFd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: `value` is readable for the length given, and setsockopt writes nothing.
    let result = unsafe {
        libc::setsockopt(
            kernel.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// Joins or leaves a group on a program's own network.
pub(super) fn change_membership(kernel: &OwnedFd, membership: &Membership) -> Result<(), Errno> {
    let index = membership.interface.to_ne_bytes();
    match membership.group {
        IpAddr::V4(group) => {
            let address = membership.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
            // `struct ip_mreqn`.
            let request = [group.octets(), address.octets(), index].concat();
            let name = match membership.join {
                true => libc::IP_ADD_MEMBERSHIP,
                false => libc::IP_DROP_MEMBERSHIP,
            };
            set_option(kernel, libc::IPPROTO_IP, name, &request)
        }
        IpAddr::V6(group) => {
            // `struct ipv6_mreq`.
            let request = [&group.octets()[..], &index].concat();
            let name = match membership.join {
                true => libc::IPV6_ADD_MEMBERSHIP,
                false => libc::IPV6_DROP_MEMBERSHIP,
            };
            set_option(kernel, libc::IPPROTO_IPV6, name, &request)
        }
    }
}

/// Receives one datagram without waiting.
pub(super) fn receive(kernel: &OwnedFd, buffer: &mut [u8]) -> Result<Arrival, Errno> {
    let received = receive_message(kernel, buffer, 0)?;
    let mut arrival = Arrival {
        len: received.len,
        from: received.name,
        ..Arrival::default()
    };
    for (level, kind, data) in controls(&received.control) {
        arrival.read_control(level, kind, data);
    }
    Ok(arrival)
}

/// The oldest loss that the kernel keeps for a socket with `IP_RECVERR`.
pub(super) fn take_lost(kernel: &OwnedFd) -> Option<Lost> {
    let mut payload = [0; Lost::MAX];
    let received = receive_message(kernel, &mut payload, libc::MSG_ERRQUEUE).ok()?;
    let (_, _, data) = controls(&received.control).find(|&(level, kind, _)| {
        matches!(
            (level, kind),
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        )
    })?;
    // `struct sock_extended_err`, and the address of who sent the message.
    let errno = u32::from_ne_bytes(*part(data, 0)?);
    let [origin, kind, code] = *part(data, 4)?;
    let origin = match origin {
        libc::SO_EE_ORIGIN_ICMP => lost::Origin::Icmp,
        libc::SO_EE_ORIGIN_ICMP6 => lost::Origin::Icmp6,
        _ => lost::Origin::Local,
    };
    let family = u16::from_ne_bytes(*part(data, 16)?);
    let offender = match i32::from(family) {
        libc::AF_INET => part::<4>(data, 20).map(|ip| IpAddr::from(*ip)),
        libc::AF_INET6 => part::<16>(data, 24).map(|ip| IpAddr::from(*ip)),
        _ => None,
    };
    let errno = u16::try_from(errno).ok()?;
    let payload = payload
        .get(..received.len.min(Lost::MAX))
        .unwrap_or_default();
    let mut lost = Lost::new(errno, origin, kind, code, received.name?).with_payload(payload);
    lost.offender = offender.map(|offender| offender.to_canonical());
    Some(lost)
}

/// A message with the address and the control messages that came with it.
struct Received {
    len: usize,
    name: Option<SocketAddr>,
    control: Vec<u8>,
}

fn receive_message(
    kernel: &OwnedFd,
    buffer: &mut [u8],
    flags: libc::c_int,
) -> Result<Received, Errno> {
    let mut control = [0_u64; CONTROL_WORDS];
    // SAFETY: all-zero bytes are valid values of these plain C structures.
    let (mut name, mut message): (libc::sockaddr_storage, libc::msghdr) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of_val(&name) as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: name, vector, buffer and control are live, writable and as long as the header says.
    let len = unsafe { libc::recvmsg(kernel.as_raw_fd(), &raw mut message, flags) };
    let len = usize::try_from(len).map_err(|_| last_error())?;
    // SAFETY: the kernel has written `msg_namelen` bytes of an address into the storage.
    let name = unsafe { SocketAddrAny::read((&raw const name).cast(), message.msg_namelen) };
    let mut bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    // Another type in another C library.
    bytes.truncate(message.msg_controllen as _);
    Ok(Received {
        len,
        name: SocketAddr::try_from(name).ok().map(unmapped),
        control: bytes,
    })
}

/// Level, type and data of each control message.
fn controls(mut rest: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    std::iter::from_fn(move || {
        let (len, level, kind) = control_header(rest)?;
        let data = rest.get(CONTROL_HEADER..len)?;
        rest = rest.get(len.next_multiple_of(WORD)..).unwrap_or_default();
        Some((level, kind, data))
    })
}

impl Arrival {
    fn read_control(&mut self, level: i32, kind: i32, data: &[u8]) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                if let (Some(&index), Some(&to)) = (part::<4>(data, 0), part::<4>(data, 8)) {
                    self.interface = u32::from_ne_bytes(index);
                    self.to = Some(Ipv4Addr::from(to).into());
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                if let (Some(&to), Some(&index)) = (part::<16>(data, 0), part::<4>(data, 16)) {
                    self.interface = u32::from_ne_bytes(index);
                    self.to = Some(Ipv6Addr::from(to).to_canonical());
                }
            }
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                self.ttl = data
                    .first()
                    .copied()
                    .filter(|_| cfg!(target_endian = "little"));
            }
            (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                self.tos = data.first().copied();
            }
            _ => {}
        }
    }
}

/// Length, level and type of the next control message, whose length is sound.
fn control_header(bytes: &[u8]) -> Option<(usize, i32, i32)> {
    let len = usize::from_ne_bytes(*part(bytes, 0)?);
    let level = i32::from_ne_bytes(*part(bytes, 8)?);
    let kind = i32::from_ne_bytes(*part(bytes, 12)?);
    (len >= CONTROL_HEADER && len <= bytes.len()).then_some((len, level, kind))
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

/// Sends one datagram without waiting, as its header asks.
pub(super) fn send(
    kernel: &OwnedFd,
    header: &DatagramHeader,
    peer: SocketAddr,
    family: Family,
    payload: &[u8],
) -> Result<(), Errno> {
    let mut control = Vec::new();
    let index = own_interface(header.interface);
    let interface = index.to_ne_bytes();
    match (header.local, family) {
        (Some(IpAddr::V4(from)), Family::V4) => {
            let data = [&interface[..], &from.octets(), &[0; 4]].concat();
            push(&mut control, libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
        }
        (None, _) if index == 0 => {}
        (None, Family::V4) => {
            let data = [&interface[..], &[0; 8]].concat();
            push(&mut control, libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
        }
        (None, Family::V6) => {
            let data = [&[0; 16][..], &interface].concat();
            push(&mut control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data);
        }
        (Some(from), _) => {
            let from = match from {
                IpAddr::V4(from) => from.to_ipv6_mapped(),
                IpAddr::V6(from) => from,
            };
            let data = [&from.octets()[..], &interface].concat();
            push(&mut control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data);
        }
    }
    for (value, v4, v6) in [
        (header.ttl, libc::IP_TTL, libc::IPV6_HOPLIMIT),
        (header.tos, libc::IP_TOS, libc::IPV6_TCLASS),
    ] {
        let Some(value) = value else { continue };
        let value = i32::from(value).to_ne_bytes();
        if peer.is_ipv4() {
            push(&mut control, libc::IPPROTO_IP, v4, &value);
        } else {
            push(&mut control, libc::IPPROTO_IPV6, v6, &value);
        }
    }
    let name = SocketAddrAny::from(for_kernel(peer, family));
    // SAFETY: all-zero bytes are a valid value of this plain C structure.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    let mut vector = libc::iovec {
        iov_base: payload.as_ptr().cast_mut().cast(),
        iov_len: payload.len(),
    };
    message.msg_name = name.as_ptr().cast_mut().cast();
    message.msg_namelen = name.addr_len() as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    if !control.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = (control.len() * WORD) as _;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: name, vector, payload and control are live and as long as the header says; sendmsg only reads them.
    let sent = unsafe { libc::sendmsg(kernel.as_raw_fd(), ptr::from_ref(&message), flags) };
    if sent >= 0 { Ok(()) } else { Err(last_error()) }
}

/// Appends a control message, in words so that every header is aligned.
fn push(control: &mut Vec<u64>, level: i32, kind: i32, data: &[u8]) {
    let mut bytes = Vec::with_capacity(CONTROL_HEADER + data.len() + WORD);
    bytes.extend_from_slice(&(CONTROL_HEADER + data.len()).to_ne_bytes());
    bytes.extend_from_slice(&level.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(WORD), 0);
    let (words, _) = bytes.as_chunks();
    control.extend(words.iter().map(|&word| u64::from_ne_bytes(word)));
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_datagram_tells_where_it_was_sent_to_and_takes_a_source() {
        let ours = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = ours.local_addr().unwrap().port();
        let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ours = OwnedFd::from(ours);
        prepare(&ours, Family::V4);
        let mut buffer = [0; 100];
        assert_eq!(receive(&ours, &mut buffer).err(), Some(Errno::AGAIN));
        theirs.send_to(b"hello", ("127.0.0.5", port)).unwrap();
        let arrival = receive(&ours, &mut buffer).unwrap();
        assert_eq!(&buffer[..arrival.len], b"hello");
        assert_eq!(arrival.from, Some(theirs.local_addr().unwrap()));
        assert_eq!(arrival.to, Some("127.0.0.5".parse().unwrap()));
        assert_eq!((arrival.ttl, arrival.tos), (Some(64), Some(0)));

        let header = DatagramHeader {
            peer: None,
            local: arrival.to,
            family: Family::V4,
            ttl: Some(3),
            tos: Some(16),
            errno: 0,
            more: false,
            interface: 0,
        };
        let peer = theirs.local_addr().unwrap();
        send(&ours, &header, peer, Family::V4, b"back").unwrap();
        let (len, from) = theirs.recv_from(&mut buffer).unwrap();
        assert_eq!((len, from), (4, ([127, 0, 0, 5], port).into()));
    }

    #[test]
    fn an_ipv6_socket_speaks_ipv4_too() {
        let ours = UdpSocket::bind("[::]:0").unwrap();
        let port = ours.local_addr().unwrap().port();
        let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ours = OwnedFd::from(ours);
        prepare(&ours, Family::V6);
        theirs.send_to(b"hello", ("127.0.0.1", port)).unwrap();
        let arrival = receive(&ours, &mut [0; 10]).unwrap();
        assert_eq!(arrival.from, Some(theirs.local_addr().unwrap()));
        assert_eq!(arrival.to, Some("127.0.0.1".parse().unwrap()));
    }
}
