//! What goes before a payload on a framed descriptor, and what it says when it comes out.
//!
//! The hooks move the bytes, in one system call with the header in front of the program's own vector; this decides what
//! the header holds, which errors a call meets, and which control messages a receive brings.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{DatagramHeader, Family, Id, MAX_PAYLOAD_V4, MAX_PAYLOAD_V6, State};

use super::datagram::destination;
use crate::Program;
use crate::kernel::{Errno, Fd, Kernel, Received, Waiting};
use crate::sockaddr::{SockAddr, encode};

/// Bytes before a payload.
pub const HEADER_LEN: usize = DatagramHeader::LEN;

/// What a send asks for by control messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendControl {
    local: Option<IpAddr>,
    ttl: Option<u8>,
    tos: Option<u8>,
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
                let source: [u8; 4] = *part(data, 4)?;
                let source = Ipv4Addr::from(source);
                self.local = (!source.is_unspecified()).then_some(source.into());
            }
            (SOL_IPV6, IPV6_PKTINFO) => {
                let source: [u8; 16] = *part(data, 0)?;
                let source = Ipv6Addr::from(source).to_canonical();
                self.local = (!source.is_unspecified()).then_some(source);
            }
            (SOL_IP, IP_TTL) | (SOL_IPV6, IPV6_HOPLIMIT) => self.ttl = Some(byte()?),
            (SOL_IP, IP_TOS) | (SOL_IPV6, IPV6_TCLASS) => self.tos = Some(byte()?),
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
    /// The longest: `struct in6_pktinfo`.
    pub const MAX: usize = 20;

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
    /// The header of a datagram of `len` bytes.
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
    ) -> Result<[u8; HEADER_LEN], Errno> {
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
        if peer.port() == 0 {
            return Err(Errno(EINVAL));
        }
        let limit = if peer.is_ipv4() {
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
        if peer.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) && !entry.options.broadcast {
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
            interface: 0,
        };
        Ok(header.emit())
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
        let info = header
            .local
            .filter(|_| options.receive_packet_info)
            .map(|local| match local {
                IpAddr::V4(ip) if v4 => {
                    let ip = ip.octets();
                    Control::new(SOL_IP, IP_PKTINFO, &[&interface, &ip, &ip])
                }
                IpAddr::V4(ip) => {
                    let ip = ip.to_ipv6_mapped().octets();
                    Control::new(SOL_IPV6, IPV6_PKTINFO, &[&ip, &interface])
                }
                IpAddr::V6(ip) => Control::new(SOL_IPV6, IPV6_PKTINFO, &[&ip.octets(), &interface]),
            });
        let ttl = header.ttl.filter(|_| options.receive_ttl).map(|ttl| {
            let ttl = i32::from(ttl).to_ne_bytes();
            if v4 {
                Control::new(SOL_IP, IP_TTL, &[&ttl])
            } else {
                Control::new(SOL_IPV6, IPV6_HOPLIMIT, &[&ttl])
            }
        });
        let tos = header.tos.filter(|_| options.receive_tos).map(|tos| {
            if v4 {
                Control::new(SOL_IP, IP_TOS, &[&[tos]])
            } else {
                Control::new(SOL_IPV6, IPV6_TCLASS, &[&i32::from(tos).to_ne_bytes()])
            }
        });
        [info, ttl, tos]
    }

    /// The length of the next datagram, 0 if there is none.
    pub fn next_length(&self, fd: Fd) -> usize {
        // Linux tells the length of what does not fit.
        self.kernel
            .peek(fd, &mut [0; HEADER_LEN])
            .map_or(0, |len| len.saturating_sub(HEADER_LEN))
    }
}
