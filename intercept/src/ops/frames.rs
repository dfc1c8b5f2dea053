//! What goes before a payload on a framed descriptor, and what it says when it comes out.
//!
//! The hooks move the bytes, in one system call with the header in front of the program's own vector; this decides what
//! the header holds, which errors a call meets, and which control messages a receive brings.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{
    DatagramHeader, Family, Id, Kind, LAN_INTERFACE, Lost, MAX_PAYLOAD_V4, MAX_PAYLOAD_V6, Options,
    Reply, Request, State, interface_of, lost,
};

use super::datagram::destination;
use crate::Program;
use crate::kernel::{Errno, Fd, Kernel, Received, Waiting};
use crate::sockaddr::{SockAddr, encode};

/// What an ICMP socket has to give for itself and a UDP socket has not.
const UDP_HEADER: usize = 8;
const ICMP_HEADER: usize = 8;
/// `UDP_MAX_SEGMENTS`.
const MAX_SEGMENTS: usize = 128;

/// Bytes before a payload.
pub const HEADER_LEN: usize = DatagramHeader::LEN;

/// What a send asks for by control messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendControl {
    local: Option<IpAddr>,
    interface: u32,
    ttl: Option<u8>,
    tos: Option<u8>,
    segment: Option<u16>,
}

/// What goes before the datagrams of one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heading {
    /// The header of each.
    pub header: [u8; HEADER_LEN],
    /// Bytes of each but the last (`UDP_SEGMENT`), if it is cut at all.
    pub segment: Option<usize>,
}

/// A control message of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// `cmsg_level`.
    pub level: i32,
    /// `cmsg_type`.
    pub kind: i32,
    bytes: [u8; Self::MAX],
    len: usize,
}

/// An entry of the error queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostDatagram {
    /// Where it should have gone.
    pub peer: SockAddr,
    /// What became of it: `struct sock_extended_err`, and who says so.
    pub control: Control,
    lost: Lost,
}

impl LostDatagram {
    /// The beginning of what was sent.
    pub fn payload(&self) -> &[u8] {
        self.lost.payload()
    }
}

fn extended_error(lost: &Lost, family: Family) -> Control {
    let origin = match lost.origin {
        lost::Origin::Local => 1,
        lost::Origin::Icmp => 2,
        lost::Origin::Icmp6 => 3,
    };
    let errno = u32::from(lost.errno).to_ne_bytes();
    let error = [origin, lost.kind, lost.code, 0];
    let offender = lost
        .offender
        .map(|ip| encode(SocketAddr::new(ip, 0), family));
    let offender = offender.as_ref().map_or(&[][..], SockAddr::as_bytes);
    let (level, kind) = match family {
        Family::V4 => (SOL_IP, IP_RECVERR),
        Family::V6 => (SOL_IPV6, IPV6_RECVERR),
    };
    Control::new(level, kind, &[&errno, &error, &[0; 8], offender])
}

/// What a receive has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Where it came from.
    pub peer: SockAddr,
    header: DatagramHeader,
}

impl SendControl {
    /// Takes one control message of the program.
    ///
    /// # Errors
    /// As `sendmsg`.
    pub fn take(&mut self, level: i32, kind: i32, data: &[u8]) -> Result<(), Errno> {
        let byte = || match *data {
            [byte] => Ok(byte),
            [a, b, c, d, ..] => {
                u8::try_from(i32::from_ne_bytes([a, b, c, d])).map_err(|_| Errno(EINVAL))
            }
            _ => Err(Errno(EINVAL)),
        };
        match (level, kind) {
            (SOL_IP, IP_PKTINFO) => {
                self.interface = u32::from_ne_bytes(*part(data, 0)?);
                let source: [u8; 4] = *part(data, 4)?;
                let source = Ipv4Addr::from(source);
                self.local = (!source.is_unspecified()).then_some(source.into());
            }
            (SOL_IPV6, IPV6_PKTINFO) => {
                self.interface = u32::from_ne_bytes(*part(data, 16)?);
                let source: [u8; 16] = *part(data, 0)?;
                let source = Ipv6Addr::from(source).to_canonical();
                self.local = (!source.is_unspecified()).then_some(source);
            }
            (SOL_IP, IP_TTL) | (SOL_IPV6, IPV6_HOPLIMIT) => self.ttl = Some(byte()?),
            (SOL_IP, IP_TOS) | (SOL_IPV6, IPV6_TCLASS) => self.tos = Some(byte()?),
            (SOL_UDP, UDP_SEGMENT) => self.segment = Some(u16::from_ne_bytes(*part(data, 0)?)),
            (SOL_IP | SOL_IPV6 | SOL_UDP, _) => return Err(Errno(EINVAL)),
            // Marks, priorities, time stamps of transmission: for the kernel's own network.
            _ => {}
        }
        Ok(())
    }
}

fn part<const N: usize>(data: &[u8], at: usize) -> Result<&[u8; N], Errno> {
    data.get(at..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(Errno(EINVAL))
}

impl Control {
    /// The longest: `struct sock_extended_err` with an IPv6 address behind it.
    pub const MAX: usize = 44;

    /// The data after the header.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn new(level: i32, kind: i32, parts: &[&[u8]]) -> Self {
        let mut bytes = [0; Self::MAX];
        let mut len = 0;
        for (to, from) in bytes.iter_mut().zip(parts.iter().copied().flatten()) {
            *to = *from;
            len += 1;
        }
        Self {
            level,
            kind,
            bytes,
            len,
        }
    }
}

impl<K: Kernel> Program<'_, K> {
    /// What goes before a datagram of `len` bytes, of which `more` is to come (`MSG_MORE`).
    ///
    /// # Errors
    /// As `sendto` on a UDP socket, the pending error of an earlier datagram included.
    pub fn frame(
        &self,
        fd: Fd,
        id: Id,
        to: Option<&[u8]>,
        control: &SendControl,
        len: usize,
        more: bool,
    ) -> Result<Heading, Errno> {
        if len > usize::from(u16::MAX) {
            return Err(Errno(EMSGSIZE));
        }
        // Nobody knows it any more: its service has ended.
        let entry = self.entry(id).ok_or(Errno(EPIPE))?;
        let peer = match (to, entry.state, entry.remote) {
            (Some(address), ..) => destination(address, entry.family)?,
            (None, State::Connected, Some(remote)) => remote,
            _ => return Err(Errno(EDESTADDRREQ)),
        };
        // A message without a port, or one of ICMP without a header.
        let is_invalid = match entry.kind {
            Kind::Datagram => peer.port() == 0,
            _ => len < ICMP_HEADER,
        };
        if is_invalid {
            return Err(Errno(EINVAL));
        }
        let ports = if entry.kind == Kind::Datagram {
            0
        } else {
            UDP_HEADER
        };
        let limit = ports
            + if peer.is_ipv4() {
                MAX_PAYLOAD_V4
            } else {
                MAX_PAYLOAD_V6
            };
        if entry.errno != 0
            && let Some(errno) = self.take_pending(fd)
        {
            return Err(errno);
        }
        if len > limit {
            return Err(Errno(EMSGSIZE));
        }
        if !entry.options.broadcast && self.is_broadcast(peer.ip()) {
            return Err(Errno(EACCES));
        }
        // A socket that was bound to the LAN's address has no way elsewhere.
        let is_lan_only = entry.state == State::Bound
            && entry
                .local
                .is_some_and(|local| !local.ip().is_unspecified());
        if is_lan_only && self.is_off_lan(peer) && !peer.ip().is_multicast() {
            return Err(Errno(ENETUNREACH));
        }
        let header = DatagramHeader {
            peer: Some(peer),
            local: control.local,
            family: entry.family,
            ttl: control.ttl,
            tos: control.tos,
            errno: 0,
            more: more || entry.options.cork,
            interface: interface_of(peer, control.interface, &Options::default()),
        };
        let segment = control.segment.unwrap_or(entry.options.segment);
        let segment = usize::from(segment);
        // As many as the kernel makes of one send at most.
        if segment != 0 && len > segment * MAX_SEGMENTS {
            return Err(Errno(EINVAL));
        }
        Ok(Heading {
            header: header.emit(),
            segment: Some(segment).filter(|&segment| segment != 0 && segment < len),
        })
    }

    /// Whether an address is for everybody, which a program must have asked to be allowed to send to.
    pub(super) fn is_broadcast(&self, ip: IpAddr) -> bool {
        ip == IpAddr::V4(Ipv4Addr::BROADCAST)
            || ip.is_ipv4()
                && self
                    .kernel
                    .table()
                    .is_some_and(|table| table.is_broadcast(ip))
    }

    /// The error that waits at the head of the queue, taken out.
    pub(crate) fn take_pending(&self, fd: Fd) -> Option<Errno> {
        let mut header = [0; HEADER_LEN];
        let len = self.kernel.peek(fd, &mut header).ok()?;
        let (parsed, _) = DatagramHeader::parse(header.get(..len.min(HEADER_LEN))?).ok()?;
        if parsed.errno == 0 {
            return None;
        }
        self.drop_next(fd);
        Some(Errno(parsed.errno.into()))
    }

    /// Drops the next frame.
    fn drop_next(&self, fd: Fd) {
        let mut descriptors = Received::default();
        let _ = self.kernel.receive_message(
            fd,
            &mut [0; HEADER_LEN],
            &mut descriptors,
            true,
            Waiting::No,
        );
        self.close_all(&descriptors);
    }

    /// What the header of a received frame says; `peeked` if the frame is still there.
    ///
    /// # Errors
    /// The frame is an error, which is taken out.
    pub fn arrived(&self, fd: Fd, header: &[u8], peeked: bool) -> Result<Arrived, Errno> {
        // The service sends nothing else.
        let (header, _) = DatagramHeader::parse(header).map_err(|_| Errno(EAGAIN))?;
        if header.errno != 0 {
            if peeked {
                self.drop_next(fd);
            }
            return Err(Errno(header.errno.into()));
        }
        let unknown = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        Ok(Arrived {
            peer: encode(header.peer.unwrap_or(unknown), header.family),
            header,
        })
    }

    /// The control messages that the program has asked for.
    pub fn control_of(&self, id: Id, arrived: &Arrived) -> [Option<Control>; 3] {
        let header = &arrived.header;
        let Some(options) = self.entry(id).map(|entry| entry.options) else {
            return [None; 3];
        };
        let (v4, interface) = (header.family == Family::V4, header.interface.to_ne_bytes());
        // Hop limit and class of IPv6 are none of a datagram of IPv4.
        let is_mapped = !v4 && header.peer.is_some_and(|peer| peer.is_ipv4());
        let info = header
            .local
            .filter(|_| options.receive_packet_info)
            .map(|local| match local {
                IpAddr::V4(ip) if v4 => {
                    let own = self.answering_address(ip, header.interface).octets();
                    Control::new(SOL_IP, IP_PKTINFO, &[&interface, &own, &ip.octets()])
                }
                IpAddr::V4(ip) => {
                    let ip = ip.to_ipv6_mapped().octets();
                    Control::new(SOL_IPV6, IPV6_PKTINFO, &[&ip, &interface])
                }
                IpAddr::V6(ip) => Control::new(SOL_IPV6, IPV6_PKTINFO, &[&ip.octets(), &interface]),
            });
        let ttl = header.ttl.filter(|_| options.receive_ttl && !is_mapped);
        let ttl = ttl.map(|ttl| {
            let ttl = i32::from(ttl).to_ne_bytes();
            if v4 {
                Control::new(SOL_IP, IP_TTL, &[&ttl])
            } else {
                Control::new(SOL_IPV6, IPV6_HOPLIMIT, &[&ttl])
            }
        });
        let tos = header.tos.filter(|_| options.receive_tos && !is_mapped);
        let tos = tos.map(|tos| {
            if v4 {
                Control::new(SOL_IP, IP_TOS, &[&[tos]])
            } else {
                Control::new(SOL_IPV6, IPV6_TCLASS, &[&i32::from(tos).to_ne_bytes()])
            }
        });
        [info, ttl, tos]
    }

    /// The address to answer from a datagram that was sent there; unspecified if it was for many on another network.
    fn answering_address(&self, to: Ipv4Addr, interface: u32) -> Ipv4Addr {
        if !to.is_multicast() && !self.is_broadcast(to.into()) {
            return to;
        }
        self.kernel
            .table()
            .filter(|_| interface == LAN_INTERFACE)
            .and_then(|table| table.own_v4())
            .unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// The oldest entry of the error queue (`MSG_ERRQUEUE`).
    ///
    /// # Errors
    /// `EAGAIN` when it is empty.
    pub fn take_lost(&self, id: Id) -> Result<LostDatagram, Errno> {
        let entry = self.entry(id).ok_or(Errno(EAGAIN))?;
        if !entry.options.receive_errors {
            return Err(Errno(EAGAIN));
        }
        let (reply, extra) = self.exchange(&Request::TakeLost { id }, &[])?;
        self.close_all(&[extra]);
        match reply {
            Reply::Lost(lost) => Ok(LostDatagram {
                peer: encode(lost.destination, entry.family),
                control: extended_error(&lost, entry.family),
                lost,
            }),
            _ => Err(Errno(EAGAIN)),
        }
    }

    /// The length of the next datagram, 0 if there is none.
    pub fn next_length(&self, fd: Fd) -> usize {
        // Linux tells the length of what does not fit.
        self.kernel
            .peek(fd, &mut [0; HEADER_LEN])
            .map_or(0, |len| len.saturating_sub(HEADER_LEN))
    }
}
