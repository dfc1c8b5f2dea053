//! Socket options that the pair cannot hold: kept by the service, changed and read with the kernel's own numbers.
//!
//! Both sides use [`Options::set`]: the library to answer with the errno that Linux would give, the service to apply
//! the change. Options that a Unix socket keeps as TCP does (buffer sizes, time-outs) are not here.

use crate::linux::*;
use crate::wire::{Malformed, Reader, Writer};

/// Option values of one socket. Units are those of the kernel's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `TCP_NODELAY`.
    pub no_delay: bool,
    /// `TCP_CORK`.
    pub cork: bool,
    /// `TCP_QUICKACK`; a hint.
    pub quick_ack: bool,
    /// `SO_KEEPALIVE`.
    pub keep_alive: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `SO_BROADCAST`; kept, no effect on TCP.
    pub broadcast: bool,
    /// `SO_OOBINLINE`; kept.
    pub oob_inline: bool,
    /// `SO_DONTROUTE`; kept.
    pub dont_route: bool,
    /// `IPV6_V6ONLY`.
    pub v6_only: bool,
    /// `IP_RECVERR` / `IPV6_RECVERR`; kept.
    pub receive_errors: bool,
    /// `IP_FREEBIND`; kept.
    pub free_bind: bool,
    /// `IP_BIND_ADDRESS_NO_PORT`; kept.
    pub late_port: bool,
    /// `TCP_FASTOPEN_CONNECT`; a hint.
    pub fast_open_connect: bool,
    /// `IP_PKTINFO` / `IPV6_RECVPKTINFO`: tell the address that a datagram was sent to.
    pub receive_packet_info: bool,
    /// `IP_RECVTTL` / `IPV6_RECVHOPLIMIT`.
    pub receive_ttl: bool,
    /// `IP_RECVTOS` / `IPV6_RECVTCLASS`.
    pub receive_tos: bool,
    /// `IP_MULTICAST_LOOP` / `IPV6_MULTICAST_LOOP`: sockets here get what is sent to a group.
    pub multicast_loop: bool,
    /// `IP_MULTICAST_ALL` / `IPV6_MULTICAST_ALL`: hears the groups of other sockets too.
    pub multicast_all: bool,
    /// `UDP_GRO`; kept: datagrams are told one by one.
    pub merge: bool,
    /// `SO_LINGER` is on: see [`Options::linger`].
    pub lingers: bool,
    /// The seconds of `SO_LINGER`, which outlive its being switched off.
    pub linger_seconds: u16,
    /// `TCP_KEEPIDLE`, seconds.
    pub keep_idle: u16,
    /// `TCP_KEEPINTVL`, seconds.
    pub keep_interval: u16,
    /// `TCP_KEEPCNT`, probes.
    pub keep_count: u8,
    /// `TCP_SYNCNT`, retransmissions of a SYN.
    pub syn_count: u8,
    /// `TCP_USER_TIMEOUT`, milliseconds; 0 = the stack's own.
    pub user_timeout: u32,
    /// `TCP_MAXSEG` asked for; 0 = none.
    pub max_segment: u16,
    /// `TCP_WINDOW_CLAMP`, bytes; 0 = none.
    pub window_clamp: u32,
    /// `TCP_NOTSENT_LOWAT`, bytes; 0 = none.
    pub not_sent_low_water: u32,
    /// `TCP_DEFER_ACCEPT`, seconds; a hint.
    pub defer_accept: u32,
    /// `TCP_FASTOPEN` queue length; a hint.
    pub fast_open: u16,
    /// `TCP_LINGER2`, seconds.
    pub fin_timeout: i32,
    /// `IP_TOS`.
    pub tos: u8,
    /// `IP_TTL`; 0 = the default of 64.
    pub ttl: u8,
    /// `IPV6_UNICAST_HOPS`; 0 = the default of 64.
    pub hop_limit: u8,
    /// `IPV6_TCLASS`.
    pub traffic_class: u8,
    /// `SO_PRIORITY`.
    pub priority: u8,
    /// `IP_MTU_DISCOVER` / `IPV6_MTU_DISCOVER`.
    pub mtu_discover: u8,
    /// `IP_MULTICAST_TTL`.
    pub multicast_ttl: u8,
    /// `IPV6_MULTICAST_HOPS`.
    pub multicast_hops: u8,
    /// The interface of `IP_MULTICAST_IF` / `IPV6_MULTICAST_IF`; 0 = none, [`Self::OTHER_INTERFACE`] = one whose index is
    /// not known.
    pub multicast_interface: u16,
    /// `UDP_SEGMENT`; 0 = none.
    pub segment: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            no_delay: false,
            cork: false,
            quick_ack: true,
            keep_alive: false,
            reuse_address: false,
            reuse_port: false,
            broadcast: false,
            oob_inline: false,
            dont_route: false,
            v6_only: false,
            receive_errors: false,
            free_bind: false,
            late_port: false,
            fast_open_connect: false,
            receive_packet_info: false,
            receive_ttl: false,
            receive_tos: false,
            multicast_loop: true,
            multicast_all: true,
            merge: false,
            lingers: false,
            linger_seconds: 0,
            keep_idle: 7200,
            keep_interval: 75,
            keep_count: 9,
            syn_count: 6,
            user_timeout: 0,
            max_segment: 0,
            window_clamp: 0,
            not_sent_low_water: 0,
            defer_accept: 0,
            fast_open: 0,
            fin_timeout: 60,
            tos: 0,
            ttl: 0,
            hop_limit: 0,
            traffic_class: 0,
            priority: 0,
            mtu_discover: 1,
            multicast_ttl: 1,
            multicast_hops: 1,
            multicast_interface: 0,
            segment: 0,
        }
    }
}

/// Why an option was not set or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// Not one of ours: the pair's own answer holds.
    NotOurs,
    /// Linux refuses it with this errno.
    Errno(i32),
}

const INVALID: OptionError = OptionError::Errno(EINVAL);
/// Largest keep-alive time, interval and count that Linux takes (`MAX_TCP_KEEP*`).
const MAX_KEEP_SECONDS: i32 = 32767;
const MAX_KEEP_COUNT: i32 = 127;
const DEFAULT_TTL: u8 = 64;
/// What `getsockopt(TCP_MAXSEG)` says before a peer's MSS is known.
const DEFAULT_MSS: i32 = 536;

impl Options {
    /// An interface of the container's own whose index is not known, or does not fit.
    pub const OTHER_INTERFACE: u16 = u16::MAX;

    /// Applies one `setsockopt`.
    ///
    /// # Errors
    /// [`OptionError::NotOurs`], or the errno that Linux gives for this value.
    pub fn set(&mut self, level: i32, name: i32, value: &[u8]) -> Result<(), OptionError> {
        match (level, name) {
            (SOL_SOCKET, SO_LINGER) => {
                let (on, seconds) = (int_at(value, 0)?, int_at(value, 4)?);
                self.lingers = on != 0;
                if self.lingers {
                    self.linger_seconds = u16::try_from(seconds.max(0)).unwrap_or(u16::MAX);
                }
            }
            (SOL_SOCKET, SO_KEEPALIVE) => self.keep_alive = flag(value)?,
            (SOL_SOCKET, SO_REUSEADDR) => self.reuse_address = flag(value)?,
            (SOL_SOCKET, SO_REUSEPORT) => self.reuse_port = flag(value)?,
            (SOL_SOCKET, SO_BROADCAST) => self.broadcast = flag(value)?,
            (SOL_SOCKET, SO_OOBINLINE) => self.oob_inline = flag(value)?,
            (SOL_SOCKET, SO_DONTROUTE) => self.dont_route = flag(value)?,
            (SOL_SOCKET, SO_PRIORITY) => match int(value)? {
                priority @ 0..=6 => self.priority = priority.unsigned_abs() as u8,
                _ => return Err(OptionError::Errno(EPERM)),
            },
            (SOL_TCP, TCP_NODELAY) => self.no_delay = flag(value)?,
            (SOL_TCP, TCP_CORK) => self.cork = flag(value)?,
            (SOL_TCP, TCP_QUICKACK) => self.quick_ack = flag(value)?,
            (SOL_TCP, TCP_FASTOPEN_CONNECT) => self.fast_open_connect = ranged(value, 0, 1)? != 0,
            (SOL_TCP, TCP_KEEPIDLE) => self.keep_idle = ranged(value, 1, MAX_KEEP_SECONDS)? as u16,
            (SOL_TCP, TCP_KEEPINTVL) => {
                self.keep_interval = ranged(value, 1, MAX_KEEP_SECONDS)? as u16
            }
            (SOL_TCP, TCP_KEEPCNT) => self.keep_count = ranged(value, 1, MAX_KEEP_COUNT)? as u8,
            (SOL_TCP, TCP_SYNCNT) => self.syn_count = ranged(value, 1, MAX_KEEP_COUNT)? as u8,
            (SOL_TCP, TCP_USER_TIMEOUT) => self.user_timeout = ranged(value, 0, i32::MAX)? as u32,
            // `TCP_MIN_MSS` is 88, `MAX_TCP_WINDOW` 32767; 0 takes the request back.
            (SOL_TCP, TCP_MAXSEG) => {
                self.max_segment = match int(value)? {
                    0 => 0,
                    size @ 88..=32767 => size as u16,
                    _ => return Err(INVALID),
                }
            }
            (SOL_TCP, TCP_WINDOW_CLAMP) => self.window_clamp = ranged(value, 0, i32::MAX)? as u32,
            (SOL_TCP, TCP_NOTSENT_LOWAT) => self.not_sent_low_water = int(value)? as u32,
            (SOL_TCP, TCP_DEFER_ACCEPT) => self.defer_accept = int(value)?.max(0) as u32,
            (SOL_TCP, TCP_FASTOPEN) => {
                self.fast_open = ranged(value, 0, i32::MAX)?.min(4096) as u16
            }
            (SOL_TCP, TCP_LINGER2) => self.fin_timeout = int(value)?.clamp(-1, 120),
            (SOL_TCP, TCP_CONGESTION) => {
                // The stack runs CUBIC; asking for it by name is granted, anything else does not exist here.
                let name = value.split(|&byte| byte == 0).next().unwrap_or_default();
                if name != b"cubic" {
                    return Err(OptionError::Errno(ENOENT));
                }
            }
            (SOL_IP, IP_TOS) => self.tos = byte_or_int(value)? as u8,
            (SOL_IP, IP_TTL) => {
                self.ttl = match byte_or_int(value)? {
                    -1 => 0,
                    ttl @ 1..=255 => ttl as u8,
                    _ => return Err(INVALID),
                }
            }
            (SOL_IP, IP_MTU_DISCOVER) | (SOL_IPV6, IPV6_MTU_DISCOVER) => {
                self.mtu_discover = ranged(value, 0, 5)? as u8;
            }
            (SOL_IP, IP_RECVERR) | (SOL_IPV6, IPV6_RECVERR) => {
                self.receive_errors = byte_or_int(value)? != 0
            }
            (SOL_IP, IP_PKTINFO) | (SOL_IPV6, IPV6_RECVPKTINFO) => {
                self.receive_packet_info = byte_or_int(value)? != 0;
            }
            (SOL_IP, IP_RECVTTL) | (SOL_IPV6, IPV6_RECVHOPLIMIT) => {
                self.receive_ttl = byte_or_int(value)? != 0;
            }
            (SOL_IP, IP_RECVTOS) | (SOL_IPV6, IPV6_RECVTCLASS) => {
                self.receive_tos = byte_or_int(value)? != 0;
            }
            (SOL_IP, IP_FREEBIND) => self.free_bind = byte_or_int(value)? != 0,
            (SOL_IP, IP_BIND_ADDRESS_NO_PORT) => self.late_port = byte_or_int(value)? != 0,
            (SOL_IP, IP_MULTICAST_LOOP) => self.multicast_loop = byte_or_int(value)? != 0,
            (SOL_IPV6, IPV6_MULTICAST_LOOP) => self.multicast_loop = zero_or_one(value)?,
            (SOL_IP, IP_MULTICAST_ALL) => {
                self.multicast_all = match byte_or_int(value)? {
                    0 => false,
                    1 => true,
                    _ => return Err(INVALID),
                }
            }
            (SOL_IPV6, IPV6_MULTICAST_ALL) => self.multicast_all = zero_or_one(value)?,
            (SOL_IP, IP_MULTICAST_TTL) => self.multicast_ttl = hops(byte_or_int(value)?)?,
            (SOL_IPV6, IPV6_MULTICAST_HOPS) => self.multicast_hops = hops(int(value)?)?,
            (SOL_IP, IP_MULTICAST_IF) => {
                self.multicast_interface = match value.len() {
                    0..4 => return Err(INVALID),
                    // `struct in_addr`, or `struct ip_mreq`, which has it behind the group.
                    4..8 => unknown_interface(int(value)?),
                    8..12 => unknown_interface(int_at(value, 4)?),
                    // `struct ip_mreqn`: an index counts more than an address.
                    _ => match int_at(value, 8)? {
                        0 => unknown_interface(int_at(value, 4)?),
                        index => interface(index),
                    },
                }
            }
            (SOL_IPV6, IPV6_MULTICAST_IF) => self.multicast_interface = interface(int(value)?),
            (SOL_UDP, UDP_CORK) => self.cork = flag(value)?,
            (SOL_UDP, UDP_SEGMENT) => self.segment = ranged(value, 0, 65_535)? as u16,
            (SOL_UDP, UDP_GRO) => self.merge = flag(value)?,
            // Every datagram has its checksum here, and is checked.
            (SOL_UDP, UDP_NO_CHECK6_TX | UDP_NO_CHECK6_RX) => {
                flag(value)?;
            }
            (SOL_IPV6, IPV6_V6ONLY) => self.v6_only = flag(value)?,
            (SOL_IPV6, IPV6_UNICAST_HOPS) => {
                self.hop_limit = match int(value)? {
                    -1 => 0,
                    hops @ 1..=255 => hops as u8,
                    _ => return Err(INVALID),
                }
            }
            (SOL_IPV6, IPV6_TCLASS) => self.traffic_class = int(value)?.max(0) as u8,
            _ => return Err(OptionError::NotOurs),
        }
        Ok(())
    }

    /// Answers one `getsockopt`: writes the value and returns its length.
    ///
    /// # Errors
    /// [`OptionError::NotOurs`].
    pub fn get(&self, level: i32, name: i32, value: &mut [u8; 16]) -> Result<usize, OptionError> {
        let number = match (level, name) {
            (SOL_SOCKET, SO_LINGER) => {
                let mut out = Writer::new(value);
                out.i32(i32::from(self.lingers));
                out.i32(i32::from(self.linger_seconds));
                return Ok(8);
            }
            (SOL_TCP, TCP_CONGESTION) => {
                value.fill(0);
                Writer::new(value).bytes(b"cubic");
                return Ok(16);
            }
            (SOL_SOCKET, SO_KEEPALIVE) => i32::from(self.keep_alive),
            (SOL_SOCKET, SO_REUSEADDR) => i32::from(self.reuse_address),
            (SOL_SOCKET, SO_REUSEPORT) => i32::from(self.reuse_port),
            (SOL_SOCKET, SO_BROADCAST) => i32::from(self.broadcast),
            (SOL_SOCKET, SO_OOBINLINE) => i32::from(self.oob_inline),
            (SOL_SOCKET, SO_DONTROUTE) => i32::from(self.dont_route),
            (SOL_SOCKET, SO_PRIORITY) => i32::from(self.priority),
            (SOL_TCP, TCP_NODELAY) => i32::from(self.no_delay),
            (SOL_TCP, TCP_CORK) => i32::from(self.cork),
            (SOL_TCP, TCP_QUICKACK) => i32::from(self.quick_ack),
            (SOL_TCP, TCP_FASTOPEN_CONNECT) => i32::from(self.fast_open_connect),
            (SOL_TCP, TCP_KEEPIDLE) => i32::from(self.keep_idle),
            (SOL_TCP, TCP_KEEPINTVL) => i32::from(self.keep_interval),
            (SOL_TCP, TCP_KEEPCNT) => i32::from(self.keep_count),
            (SOL_TCP, TCP_SYNCNT) => i32::from(self.syn_count),
            (SOL_TCP, TCP_USER_TIMEOUT) => self.user_timeout as i32,
            (SOL_TCP, TCP_MAXSEG) if self.max_segment == 0 => DEFAULT_MSS,
            (SOL_TCP, TCP_MAXSEG) => i32::from(self.max_segment),
            (SOL_TCP, TCP_WINDOW_CLAMP) => self.window_clamp as i32,
            (SOL_TCP, TCP_NOTSENT_LOWAT) => self.not_sent_low_water as i32,
            (SOL_TCP, TCP_DEFER_ACCEPT) => self.defer_accept as i32,
            (SOL_TCP, TCP_FASTOPEN) => i32::from(self.fast_open),
            (SOL_TCP, TCP_LINGER2) => self.fin_timeout,
            (SOL_IP, IP_TOS) => i32::from(self.tos),
            (SOL_IP, IP_TTL) => i32::from(if self.ttl == 0 { DEFAULT_TTL } else { self.ttl }),
            (SOL_IP, IP_MTU_DISCOVER) | (SOL_IPV6, IPV6_MTU_DISCOVER) => {
                i32::from(self.mtu_discover)
            }
            (SOL_IP, IP_RECVERR) | (SOL_IPV6, IPV6_RECVERR) => i32::from(self.receive_errors),
            (SOL_IP, IP_PKTINFO) | (SOL_IPV6, IPV6_RECVPKTINFO) => {
                i32::from(self.receive_packet_info)
            }
            (SOL_IP, IP_RECVTTL) | (SOL_IPV6, IPV6_RECVHOPLIMIT) => i32::from(self.receive_ttl),
            (SOL_IP, IP_RECVTOS) | (SOL_IPV6, IPV6_RECVTCLASS) => i32::from(self.receive_tos),
            (SOL_IP, IP_FREEBIND) => i32::from(self.free_bind),
            (SOL_IP, IP_BIND_ADDRESS_NO_PORT) => i32::from(self.late_port),
            (SOL_IP, IP_MULTICAST_LOOP) | (SOL_IPV6, IPV6_MULTICAST_LOOP) => {
                i32::from(self.multicast_loop)
            }
            (SOL_IP, IP_MULTICAST_ALL) | (SOL_IPV6, IPV6_MULTICAST_ALL) => {
                i32::from(self.multicast_all)
            }
            (SOL_IP, IP_MULTICAST_TTL) => i32::from(self.multicast_ttl),
            (SOL_IPV6, IPV6_MULTICAST_HOPS) => i32::from(self.multicast_hops),
            // An address is asked for; which one the LAN has is for the caller to know.
            (SOL_IP, IP_MULTICAST_IF) => 0,
            (SOL_IPV6, IPV6_MULTICAST_IF) => i32::from(self.multicast_interface),
            (SOL_UDP, UDP_CORK) => i32::from(self.cork),
            (SOL_UDP, UDP_SEGMENT) => i32::from(self.segment),
            (SOL_UDP, UDP_GRO) => i32::from(self.merge),
            (SOL_UDP, UDP_NO_CHECK6_TX | UDP_NO_CHECK6_RX) => 0,
            (SOL_IPV6, IPV6_V6ONLY) => i32::from(self.v6_only),
            (SOL_IPV6, IPV6_UNICAST_HOPS) => i32::from(if self.hop_limit == 0 {
                DEFAULT_TTL
            } else {
                self.hop_limit
            }),
            (SOL_IPV6, IPV6_TCLASS) => i32::from(self.traffic_class),
            _ => return Err(OptionError::NotOurs),
        };
        Writer::new(value).i32(number);
        Ok(4)
    }

    /// How many seconds `close` may take to get the last bytes out; zero resets the connection.
    pub fn linger(&self) -> Option<u16> {
        self.lingers.then_some(self.linger_seconds)
    }

    /// Bytes of the encoded form.
    pub(crate) const LEN: usize = 48;

    const fn flags(&self) -> u32 {
        (self.no_delay as u32)
            | (self.cork as u32) << 1
            | (self.quick_ack as u32) << 2
            | (self.keep_alive as u32) << 3
            | (self.reuse_address as u32) << 4
            | (self.reuse_port as u32) << 5
            | (self.broadcast as u32) << 6
            | (self.oob_inline as u32) << 7
            | (self.dont_route as u32) << 8
            | (self.v6_only as u32) << 9
            | (self.receive_errors as u32) << 10
            | (self.free_bind as u32) << 11
            | (self.late_port as u32) << 12
            | (self.fast_open_connect as u32) << 13
            | (self.lingers as u32) << 14
            | (self.receive_packet_info as u32) << 15
            | (self.receive_ttl as u32) << 16
            | (self.receive_tos as u32) << 17
            | (self.multicast_loop as u32) << 18
            | (self.multicast_all as u32) << 19
            | (self.merge as u32) << 20
    }

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut out = Writer::new(&mut bytes);
        out.u32(self.flags());
        out.u32(self.user_timeout);
        out.u32(self.window_clamp);
        out.u32(self.not_sent_low_water);
        out.u32(self.defer_accept);
        out.i32(self.fin_timeout);
        out.u16(self.linger_seconds);
        out.u16(self.keep_idle);
        out.u16(self.keep_interval);
        out.u16(self.max_segment);
        out.u16(self.fast_open);
        for byte in [
            self.keep_count,
            self.syn_count,
            self.tos,
            self.ttl,
            self.hop_limit,
            self.traffic_class,
            self.priority,
            self.mtu_discover,
            self.multicast_ttl,
            self.multicast_hops,
        ] {
            out.u8(byte);
        }
        out.u16(self.multicast_interface);
        out.u16(self.segment);
        bytes
    }

    /// Total: values out of range are kept as they are, for every reader treats them as plain numbers.
    pub(crate) fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        let flags = input.u32()?;
        let bit = |index: u32| flags >> index & 1 == 1;
        let mut options = Self {
            no_delay: bit(0),
            cork: bit(1),
            quick_ack: bit(2),
            keep_alive: bit(3),
            reuse_address: bit(4),
            reuse_port: bit(5),
            broadcast: bit(6),
            oob_inline: bit(7),
            dont_route: bit(8),
            v6_only: bit(9),
            receive_errors: bit(10),
            free_bind: bit(11),
            late_port: bit(12),
            fast_open_connect: bit(13),
            receive_packet_info: bit(15),
            receive_ttl: bit(16),
            receive_tos: bit(17),
            multicast_loop: bit(18),
            multicast_all: bit(19),
            merge: bit(20),
            lingers: bit(14),
            user_timeout: input.u32()?,
            window_clamp: input.u32()?,
            not_sent_low_water: input.u32()?,
            defer_accept: input.u32()?,
            fin_timeout: input.i32()?,
            ..Self::default()
        };
        options.linger_seconds = input.u16()?;
        options.keep_idle = input.u16()?;
        options.keep_interval = input.u16()?;
        options.max_segment = input.u16()?;
        options.fast_open = input.u16()?;
        options.keep_count = input.u8()?;
        options.syn_count = input.u8()?;
        options.tos = input.u8()?;
        options.ttl = input.u8()?;
        options.hop_limit = input.u8()?;
        options.traffic_class = input.u8()?;
        options.priority = input.u8()?;
        options.mtu_discover = input.u8()?;
        options.multicast_ttl = input.u8()?;
        options.multicast_hops = input.u8()?;
        options.multicast_interface = input.u16()?;
        options.segment = input.u16()?;
        Ok(options)
    }
}

const EPERM: i32 = 1;

fn int_at(value: &[u8], at: usize) -> Result<i32, OptionError> {
    value
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map(|bytes| i32::from_le_bytes(*bytes))
        .ok_or(INVALID)
}

fn int(value: &[u8]) -> Result<i32, OptionError> {
    int_at(value, 0)
}

fn flag(value: &[u8]) -> Result<bool, OptionError> {
    int(value).map(|number| number != 0)
}

fn ranged(value: &[u8], low: i32, high: i32) -> Result<i32, OptionError> {
    int(value).and_then(|number| {
        if (low..=high).contains(&number) {
            Ok(number)
        } else {
            Err(INVALID)
        }
    })
}

fn zero_or_one(value: &[u8]) -> Result<bool, OptionError> {
    ranged(value, 0, 1).map(|number| number != 0)
}

/// The hop limit of what is for a group: -1 is the default of 1.
fn hops(number: i32) -> Result<u8, OptionError> {
    match number {
        -1 => Ok(1),
        hops @ 0..=255 => Ok(hops as u8),
        _ => Err(INVALID),
    }
}

/// An interface by its index.
fn interface(index: i32) -> u16 {
    u16::try_from(index).unwrap_or(Options::OTHER_INTERFACE)
}

/// An interface by an address; none for the unspecified one.
fn unknown_interface(address: i32) -> u16 {
    if address == 0 {
        0
    } else {
        Options::OTHER_INTERFACE
    }
}

/// `SOL_IP` options take a single byte too.
fn byte_or_int(value: &[u8]) -> Result<i32, OptionError> {
    match value {
        [] => Err(INVALID),
        [byte] | [byte, _] | [byte, _, _] => Ok(i32::from(*byte)),
        _ => int(value),
    }
}

#[cfg(test)]
mod tests;
