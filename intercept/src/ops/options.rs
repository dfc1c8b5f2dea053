//! `getsockopt`, `setsockopt` on our own descriptors: what TCP would say.

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{
    Family, Kind, Name, OptionError, OptionValue, Options, Request, SetOption, State,
};

use super::groups::is_of_groups;
use super::information::{TCP_INFO_LEN, tcp_info};
use crate::Program;
use crate::kernel::{Errno, Fd, Kernel};
use crate::outcome::{Outcome, Reason, Step};
use crate::swap::SEND_BUFFER;

/// The value of an option, to be cut to the program's buffer as the kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionAnswer {
    bytes: [u8; TCP_INFO_LEN],
    len: usize,
}

impl OptionAnswer {
    /// The value, cut to the program's buffer as the kernel does: numbers of `SOL_IP` that fit are given in one byte to
    /// a buffer that is too small for an `int`.
    pub fn cut_to(&self, level: i32, room: usize) -> &[u8] {
        let value = self.bytes.get(..self.len).unwrap_or_default();
        let room = match value {
            [_, 0, 0, 0] if level == SOL_IP && (1..4).contains(&room) => 1,
            _ => room,
        };
        value.get(..room).unwrap_or(value)
    }

    fn of(value: &[u8]) -> Self {
        let mut bytes = [0; TCP_INFO_LEN];
        for (to, from) in bytes.iter_mut().zip(value) {
            *to = *from;
        }
        Self {
            bytes,
            len: value.len().min(TCP_INFO_LEN),
        }
    }

    /// A number.
    pub fn int(value: i32) -> Self {
        Self::of(&value.to_ne_bytes())
    }
}

/// What `getsockopt(TCP_MAXSEG)` says before a peer's MSS is known.
const DEFAULT_MSS: i32 = 536;
const SO_PASSCRED: i32 = 16;
const SO_PASSSEC: i32 = 34;
const SO_PEERSEC: i32 = 31;
const SO_PEERNAME: i32 = 28;
const SO_PEERGROUPS: i32 = 59;

impl<K: Kernel> Program<'_, K> {
    /// `getsockopt(fd, level, name)`.
    pub fn get_option(&self, fd: Fd, level: i32, name: i32) -> Outcome<OptionAnswer> {
        if (level, name) == (SOL_SOCKET, SO_SNDBUF) && self.is_narrow(fd) {
            return Outcome::Done(OptionAnswer::int(SEND_BUFFER));
        }
        if !is_interesting(level, name) {
            return Outcome::PassThrough(Reason::Native);
        }
        match self.own(fd) {
            Some(own) => self.get_own_option(fd, own, level, name).into(),
            None => Outcome::PassThrough(Reason::NotOurs),
        }
    }

    /// `setsockopt(fd, level, name, value)`; no value is a pointer that cannot be read.
    pub fn set_option(&self, fd: Fd, level: i32, name: i32, value: Option<&[u8]>) -> Outcome {
        self.kernel.take_untouched(fd);
        if (level, name) == (SOL_SOCKET, SO_SNDBUF) && self.is_narrow(fd) {
            // A hint, and an attempt under way has no room for it.
            return Outcome::Done(0);
        }
        if !is_interesting(level, name) {
            return Outcome::PassThrough(Reason::Native);
        }
        match self.own(fd) {
            Some(own) => match value {
                Some(value) => self.set_own_option(own, level, name, value).into(),
                None => Outcome::Fail(Errno(EFAULT)),
            },
            None if (level, name) == (SOL_SOCKET, SO_BINDTODEVICE) => {
                self.set_device(fd, value.unwrap_or_default()).into()
            }
            None if is_of_groups(level, name) => {
                self.set_group_option(fd, level, name, value).into()
            }
            None => Outcome::PassThrough(Reason::NotOurs),
        }
    }

    /// Whether the send buffer is that of an attempt under way.
    fn is_narrow(&self, fd: Fd) -> bool {
        // The look at the descriptor widens one that is up.
        self.datagram(fd).is_none() && self.datagrams.may_have(fd)
    }

    fn get_own_option(&self, fd: Fd, own: Name, level: i32, name: i32) -> Step<OptionAnswer> {
        let entry = || self.entry(own.id).ok_or(Errno(ENOTCONN));
        if !is_known_level(own.kind, level) {
            return Err(match own.kind {
                kind if kind.is_framed() => Reason::Native.into(),
                _ => unknown_level(entry()?.family).into(),
            });
        }
        Ok(match (level, name) {
            (SOL_SOCKET, SO_TYPE) if own.kind == Kind::RawEcho => OptionAnswer::int(SOCK_RAW),
            (SOL_SOCKET, SO_TYPE) if own.kind.is_framed() => OptionAnswer::int(SOCK_DGRAM),
            (SOL_SOCKET, SO_PROTOCOL) if own.kind == Kind::Datagram => {
                OptionAnswer::int(IPPROTO_UDP)
            }
            (SOL_SOCKET, SO_PROTOCOL) if own.kind.is_framed() => {
                OptionAnswer::int(match entry()?.family {
                    Family::V4 => IPPROTO_ICMP,
                    Family::V6 => IPPROTO_ICMPV6,
                })
            }
            (SOL_TCP, _) if own.kind.is_framed() => return Err(Errno(EOPNOTSUPP).into()),
            (SOL_UDP, _) if own.kind != Kind::Datagram => return Err(Errno(ENOPROTOOPT).into()),
            (SOL_SOCKET, SO_ERROR) if own.kind.is_framed() => {
                let pending = match entry()?.errno {
                    0 => None,
                    _ => self.take_pending(fd),
                };
                OptionAnswer::int(pending.map_or(0, |errno| errno.0))
            }
            (SOL_SOCKET, SO_TYPE) => OptionAnswer::int(SOCK_STREAM),
            (SOL_SOCKET, SO_PROTOCOL) => OptionAnswer::int(IPPROTO_TCP),
            (SOL_SOCKET, SO_DOMAIN) => OptionAnswer::int(match entry()?.family {
                Family::V4 => i32::from(AF_INET),
                Family::V6 => i32::from(AF_INET6),
            }),
            (SOL_SOCKET, SO_ACCEPTCONN) => OptionAnswer::int(i32::from(
                own.kind == Kind::Listener && entry()?.state == State::Listening,
            )),
            (SOL_SOCKET, SO_ERROR) if own.kind == Kind::Stream => {
                OptionAnswer::int(self.take_error(fd, own.id).map_or(0, |errno| errno.0))
            }
            (SOL_SOCKET, SO_ERROR) => return Err(Reason::Native.into()),
            // No peer process: what a TCP socket says (pid 0, uid -1, gid -1).
            (SOL_SOCKET, SO_PEERCRED) => {
                let mut credentials = [0xff; 12];
                credentials[..4].fill(0);
                OptionAnswer::of(&credentials)
            }
            (SOL_SOCKET, SO_PEERSEC | SO_PEERNAME | SO_PEERGROUPS) => {
                return Err(Errno(ENOPROTOOPT).into());
            }
            (SOL_SOCKET, SO_BINDTODEVICE) => OptionAnswer::of(&[]),
            (SOL_SOCKET, SO_PASSCRED | SO_PASSSEC) => OptionAnswer::int(0),
            (SOL_TCP, TCP_INFO) => OptionAnswer::of(&tcp_info(&entry()?, self.measure(own))),
            (SOL_TCP, TCP_MAXSEG) if own.kind == Kind::Stream => {
                let asked = i32::from(entry()?.options.max_segment);
                match self.measure(own).segment as i32 {
                    0 => OptionAnswer::int(if asked == 0 { DEFAULT_MSS } else { asked }),
                    size if asked == 0 => OptionAnswer::int(size),
                    size => OptionAnswer::int(size.min(asked)),
                }
            }
            _ => {
                // In order with the one-way requests that set options.
                let entry = self.entry_in_order(own.id).ok_or(Errno(ENOTCONN))?;
                if level == SOL_IPV6 && entry.family == Family::V4 {
                    return Err(unknown_level(entry.family).into());
                }
                if (level, name) == (SOL_IP, IP_MULTICAST_IF) {
                    let interface = entry.options.multicast_interface;
                    let address = self.group_interface(entry.family, interface);
                    return Ok(OptionAnswer::of(&address.octets()));
                }
                let mut value = [0; 16];
                match entry.options.get(level, name, &mut value) {
                    Ok(len) => OptionAnswer::of(value.get(..len).unwrap_or_default()),
                    Err(OptionError::Errno(errno)) => return Err(Errno(errno).into()),
                    Err(OptionError::NotOurs) => return Err(Errno(ENOPROTOOPT).into()),
                }
            }
        })
    }

    fn set_own_option(&self, own: Name, level: i32, name: i32, value: &[u8]) -> Step<i32> {
        let id = own.id;
        match (level, name) {
            (
                SOL_SOCKET,
                SO_TYPE | SO_PROTOCOL | SO_DOMAIN | SO_ACCEPTCONN | SO_ERROR | SO_PEERCRED,
            ) => {
                return Err(Errno(ENOPROTOOPT).into());
            }
            (SOL_SOCKET, SO_PEERSEC | SO_PEERNAME | SO_PEERGROUPS) => {
                return Err(Errno(ENOPROTOOPT).into());
            }
            // Credentials would arrive as control data that TCP never has.
            (SOL_SOCKET, SO_PASSCRED | SO_PASSSEC) => return Err(Errno(EOPNOTSUPP).into()),
            // A hint: the LAN is the only device there is.
            (SOL_SOCKET, SO_BINDTODEVICE) => return Ok(0),
            // Filters of ICMP: nothing arrives but the answers to the socket's own questions.
            (SOL_RAW | SOL_ICMPV6, _) if own.kind == Kind::RawEcho => return Ok(0),
            (SOL_RAW | SOL_ICMPV6, _) => return Err(Errno(ENOPROTOOPT).into()),
            (SOL_UDP, _) if own.kind != Kind::Datagram => return Err(Errno(ENOPROTOOPT).into()),
            _ if is_of_groups(level, name) && own.kind.is_framed() => {
                return self.set_own_group_option(own, level, name, value);
            }
            (level, _) if !is_known_level(own.kind, level) => {
                return Err(match own.kind {
                    kind if kind.is_framed() => Reason::Native.into(),
                    _ => Errno(ENOPROTOOPT).into(),
                });
            }
            _ => {}
        }
        // The errno is decided here; the service applies the same function to its own copy.
        match Options::default().set(level, name, value) {
            Ok(()) => {}
            Err(OptionError::Errno(errno)) => return Err(Errno(errno).into()),
            Err(OptionError::NotOurs) => return Err(Errno(ENOPROTOOPT).into()),
        }
        if let Some(entry) = self.kernel.table().and_then(|table| table.entry(id.tag())) {
            if level == SOL_IPV6 && entry.family == Family::V4 {
                return Err(Errno(ENOPROTOOPT).into());
            }
            // What is ours has a port, with which Linux lets nobody change it any more.
            if (level, name) == (SOL_IPV6, IPV6_V6ONLY) {
                return Err(Errno(EINVAL).into());
            }
            if entry.state == State::Failed || entry.state == State::Reset {
                // Kept by Linux until the socket is closed, without any effect.
                return Ok(0);
            }
        }
        self.send_option(own, level, name, value)
    }

    /// Has the service set an option.
    pub(super) fn send_option(&self, own: Name, level: i32, name: i32, value: &[u8]) -> Step<i32> {
        let request = Request::SetOption(SetOption {
            id: own.id,
            level,
            name,
            value: OptionValue::new(value),
        });
        // A service that is away has reset the connection: the option would have no effect.
        let heard_first = own.kind.is_framed() || (level, name) == (SOL_SOCKET, SO_LINGER);
        if self.send_request(&request, &[]).is_ok() && heard_first {
            // It decides what the coming `close` means, or how the next datagram leaves, which the service may hear of
            // before the request: so make sure that the request was heard.
            self.entry_in_order(own.id);
        }
        Ok(0)
    }
}

/// Whether a Unix socket answers otherwise than TCP does. Everything else needs no look at the descriptor.
pub fn is_interesting(level: i32, name: i32) -> bool {
    match level {
        SOL_SOCKET => matches!(
            name,
            SO_TYPE
                | SO_PROTOCOL
                | SO_DOMAIN
                | SO_ACCEPTCONN
                | SO_ERROR
                | SO_PEERCRED
                | SO_PEERSEC
                | SO_PEERNAME
                | SO_PEERGROUPS
                | SO_PASSCRED
                | SO_PASSSEC
                | SO_BINDTODEVICE
                | SO_KEEPALIVE
                | SO_REUSEADDR
                | SO_REUSEPORT
                | SO_LINGER
                | SO_BROADCAST
                | SO_OOBINLINE
                | SO_DONTROUTE
                | SO_PRIORITY
        ),
        _ => true,
    }
}

/// Whether a socket has options of this level.
const fn is_known_level(kind: Kind, level: i32) -> bool {
    match level {
        SOL_SOCKET | SOL_TCP | SOL_IP | SOL_IPV6 => true,
        SOL_UDP | SOL_RAW | SOL_ICMPV6 => kind.is_framed(),
        _ => false,
    }
}

/// What `getsockopt` says of a level that a socket does not have.
const fn unknown_level(family: Family) -> Errno {
    Errno(match family {
        Family::V4 => EOPNOTSUPP,
        Family::V6 => ENOPROTOOPT,
    })
}
