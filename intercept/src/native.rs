//! Reading an undecided kernel socket: what a pair that takes its place must carry on.

use core::net::SocketAddr;

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{Family, Kind, Options};

use crate::Program;
use crate::kernel::{Errno, Fd, Kernel};
use crate::outcome::{Reason, Step};
use crate::sockaddr::{parse, wildcard};

/// `struct timeval`.
pub(crate) type Timeval = [u8; 16];

pub(crate) fn is_zero(time: &Timeval) -> bool {
    *time == [0; 16]
}

/// A kernel socket that is neither connected nor connecting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Native {
    pub(crate) kind: Kind,
    pub(crate) family: Family,
    /// The bound address; the wildcard and port 0 when it is not bound.
    pub(crate) local: SocketAddr,
    pub(crate) nonblocking: bool,
    pub(crate) close_on_exec: bool,
    pub(crate) options: Options,
}

/// `tcpi_state` of `TCP_INFO`.
pub(crate) const TCP_STATE_CLOSE: u8 = 7;
pub(crate) const TCP_STATE_LISTEN: u8 = 10;

/// Options that the service must know, as the kernel socket has them.
pub(crate) const CARRIED_OPTIONS: [(i32, i32); 22] = [
    (SOL_SOCKET, SO_KEEPALIVE),
    (SOL_SOCKET, SO_REUSEADDR),
    (SOL_SOCKET, SO_REUSEPORT),
    (SOL_SOCKET, SO_LINGER),
    (SOL_SOCKET, SO_OOBINLINE),
    (SOL_SOCKET, SO_PRIORITY),
    (SOL_TCP, TCP_NODELAY),
    (SOL_TCP, TCP_CORK),
    (SOL_TCP, TCP_KEEPIDLE),
    (SOL_TCP, TCP_KEEPINTVL),
    (SOL_TCP, TCP_KEEPCNT),
    (SOL_TCP, TCP_SYNCNT),
    (SOL_TCP, TCP_USER_TIMEOUT),
    (SOL_TCP, TCP_MAXSEG),
    (SOL_TCP, TCP_DEFER_ACCEPT),
    (SOL_TCP, TCP_FASTOPEN),
    (SOL_TCP, TCP_NOTSENT_LOWAT),
    (SOL_TCP, TCP_LINGER2),
    (SOL_IP, IP_TOS),
    (SOL_IP, IP_TTL),
    (SOL_IPV6, IPV6_V6ONLY),
    (SOL_IPV6, IPV6_TCLASS),
];

/// The same for UDP sockets.
const CARRIED_DATAGRAM_OPTIONS: [(i32, i32); 27] = [
    (SOL_SOCKET, SO_REUSEADDR),
    (SOL_SOCKET, SO_REUSEPORT),
    (SOL_SOCKET, SO_BROADCAST),
    (SOL_SOCKET, SO_PRIORITY),
    (SOL_IP, IP_TOS),
    (SOL_IP, IP_TTL),
    (SOL_IP, IP_PKTINFO),
    (SOL_IP, IP_RECVTTL),
    (SOL_IP, IP_RECVTOS),
    (SOL_IP, IP_RECVERR),
    (SOL_IPV6, IPV6_V6ONLY),
    (SOL_IPV6, IPV6_UNICAST_HOPS),
    (SOL_IPV6, IPV6_TCLASS),
    (SOL_IPV6, IPV6_RECVPKTINFO),
    (SOL_IPV6, IPV6_RECVHOPLIMIT),
    (SOL_IPV6, IPV6_RECVTCLASS),
    (SOL_IPV6, IPV6_RECVERR),
    (SOL_IP, IP_MULTICAST_TTL),
    (SOL_IP, IP_MULTICAST_LOOP),
    (SOL_IP, IP_MULTICAST_ALL),
    (SOL_IP, IP_MULTICAST_IF),
    (SOL_IPV6, IPV6_MULTICAST_HOPS),
    (SOL_IPV6, IPV6_MULTICAST_LOOP),
    (SOL_IPV6, IPV6_MULTICAST_ALL),
    (SOL_IPV6, IPV6_MULTICAST_IF),
    (SOL_UDP, UDP_SEGMENT),
    (SOL_UDP, UDP_GRO),
];

/// What SO_PROTOCOL and SO_TYPE make a datagram socket to.
const DATAGRAM_KINDS: [(i32, i32, Kind); 5] = [
    (IPPROTO_UDP, SOCK_DGRAM, Kind::Datagram),
    (IPPROTO_ICMP, SOCK_DGRAM, Kind::Echo),
    (IPPROTO_ICMPV6, SOCK_DGRAM, Kind::Echo),
    (IPPROTO_ICMP, SOCK_RAW, Kind::RawEcho),
    (IPPROTO_ICMPV6, SOCK_RAW, Kind::RawEcho),
];
const IP_HDRINCL: i32 = 3;

/// `SO_BUF_LOCK`: the program has set `SO_SNDBUF`, `SO_RCVBUF`.
pub(crate) const SNDBUF_LOCK: u8 = 1;
const RCVBUF_LOCK: u8 = 2;
/// The smallest send buffer that Linux allows is what a listener has for which the program has chosen none: more than
/// this, which is above it (4,608), was chosen.
pub(crate) const SMALLEST_BUFFER: i32 = 5_000;

impl<K: Kernel> Program<'_, K> {
    /// The family of a TCP socket over IPv4 or IPv6.
    pub(crate) fn tcp_family(&self, fd: Fd) -> Step<Family> {
        // Of several paths a LAN has one: Go listens with multipath TCP by default, and expects plain TCP at times.
        // `SO_PROTOCOL` tells TCP from UDP, raw and Unix sockets at once; anything else is not for us.
        match self.int_option(fd, SOL_SOCKET, SO_PROTOCOL) {
            Ok(IPPROTO_TCP | IPPROTO_MPTCP) => self.family(fd, Reason::NotTcp),
            _ => Err(Reason::NotTcp.into()),
        }
    }

    /// Family and kind of a UDP or ICMP socket over IPv4 or IPv6.
    pub(crate) fn datagram_socket(&self, fd: Fd) -> Step<(Family, Kind)> {
        // A framed descriptor that could not be told from others would be read with its headers.
        if !self.datagrams.has_place(fd) {
            return Err(Reason::NotUdp.into());
        }
        let protocol = self.int_option(fd, SOL_SOCKET, SO_PROTOCOL);
        let is_one = |(of, ..): &&(i32, i32, Kind)| protocol == Ok(*of);
        if !DATAGRAM_KINDS.iter().any(|kind| is_one(&kind)) {
            return Err(Reason::NotUdp.into());
        }
        let of_type = self.int_option(fd, SOL_SOCKET, SO_TYPE);
        let (.., kind) = DATAGRAM_KINDS
            .iter()
            .find(|(of, in_type, _)| protocol == Ok(*of) && of_type == Ok(*in_type))
            .ok_or(Reason::NotUdp)?;
        // One that brings IP headers of its own says more than an echo socket can.
        if *kind == Kind::RawEcho
            && !matches!(self.int_option(fd, SOL_IP, IP_HDRINCL), Ok(0) | Err(_))
        {
            return Err(Reason::NotUdp.into());
        }
        Ok((self.family(fd, Reason::NotUdp)?, *kind))
    }

    fn family(&self, fd: Fd, otherwise: Reason) -> Step<Family> {
        match self.int_option(fd, SOL_SOCKET, SO_DOMAIN) {
            Ok(domain) if domain == i32::from(AF_INET) => Ok(Family::V4),
            Ok(domain) if domain == i32::from(AF_INET6) => Ok(Family::V6),
            _ => Err(otherwise.into()),
        }
    }

    /// The TCP state of a kernel socket.
    pub(crate) fn tcp_state(&self, fd: Fd) -> Step<u8> {
        let mut state = [0];
        match self.kernel.option(fd, SOL_TCP, TCP_INFO, &mut state) {
            Ok(_) => Ok(state[0]),
            // An older kernel does not say it of multipath TCP.
            Err(Errno(EOPNOTSUPP)) => Err(Reason::NotTcp.into()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The bound address of a kernel socket of this family.
    pub(crate) fn local_address(&self, fd: Fd, family: Family) -> SocketAddr {
        let mut buffer = [0; 28];
        let len = self.kernel.local_name(fd, &mut buffer).unwrap_or(0);
        let given = buffer.get(..len.min(buffer.len())).and_then(parse);
        given.map_or(wildcard(family, 0), |given| given.address)
    }

    /// Everything about an undecided TCP socket.
    pub(crate) fn native(&self, fd: Fd, family: Family) -> Step<Native> {
        self.native_with(fd, family, Kind::Stream, &CARRIED_OPTIONS)
    }

    /// The same of one that nobody has touched.
    pub(crate) fn native_untouched(&self, fd: Fd, family: Family) -> Step<Native> {
        let Some(options) = self.new_sockets.options(family) else {
            let native = self.native(fd, family)?;
            self.new_sockets.learn(family, &native.options);
            return Ok(native);
        };
        Ok(Native {
            kind: Kind::Stream,
            family,
            local: wildcard(family, 0),
            nonblocking: self.kernel.is_nonblocking(fd)?,
            close_on_exec: self.kernel.is_close_on_exec(fd)?,
            options,
        })
    }

    /// Everything about an undecided datagram socket.
    pub(crate) fn native_datagram(&self, fd: Fd, family: Family, kind: Kind) -> Step<Native> {
        self.native_with(fd, family, kind, &CARRIED_DATAGRAM_OPTIONS)
    }

    fn native_with(
        &self,
        fd: Fd,
        family: Family,
        kind: Kind,
        carried: &[(i32, i32)],
    ) -> Step<Native> {
        let mut options = Options::default();
        for &(level, name) in carried {
            let mut value = [0; 16];
            let mut usual = [0; 16];
            if let Ok(len) = self.kernel.option(fd, level, name, &mut value)
                // A size that was not chosen is none.
                && (options.get(level, name, &mut usual).is_err() || value != usual)
            {
                // What the kernel holds is valid; an option that a later kernel widens keeps its default.
                let _ = options.set(level, name, value.get(..len.min(16)).unwrap_or_default());
            }
        }
        Ok(Native {
            kind,
            family,
            local: self.local_address(fd, family),
            nonblocking: self.kernel.is_nonblocking(fd)?,
            close_on_exec: self.kernel.is_close_on_exec(fd)?,
            options,
        })
    }

    /// Time-outs and buffer sizes that the program has set on `from`, set on `onto`.
    pub(crate) fn carry_over(&self, from: Fd, onto: Fd) {
        for name in [SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD] {
            let time = self.timeout(from, name);
            if !is_zero(&time) {
                let _ = self.kernel.set_option(onto, SOL_SOCKET, name, &time);
            }
        }
        self.carry_buffers_over(from, onto);
    }

    /// The buffer sizes only: what a connection inherits from its listener.
    pub(crate) fn carry_buffers_over(&self, from: Fd, onto: Fd) {
        let locks = self.buffer_locks(from);
        for (name, lock) in [(SO_SNDBUF, SNDBUF_LOCK), (SO_RCVBUF, RCVBUF_LOCK)] {
            if locks & lock != 0
                && let Ok(doubled) = self.int_option(from, SOL_SOCKET, name)
                && doubled > SMALLEST_BUFFER
            {
                // The kernel doubles what it is given.
                let _ =
                    self.kernel
                        .set_option(onto, SOL_SOCKET, name, &(doubled / 2).to_ne_bytes());
            }
        }
    }

    /// Which buffers have a size that was chosen.
    pub(crate) fn buffer_locks(&self, fd: Fd) -> u8 {
        let mut locks = [0; 4];
        match self.kernel.option(fd, SOL_SOCKET, SO_BUF_LOCK, &mut locks) {
            Ok(_) => locks[0],
            Err(_) => 0,
        }
    }

    pub(crate) fn timeout(&self, fd: Fd, name: i32) -> Timeval {
        let mut time = Timeval::default();
        match self.kernel.option(fd, SOL_SOCKET, name, &mut time) {
            Ok(_) => time,
            Err(_) => Timeval::default(),
        }
    }

    pub(crate) fn int_option(&self, fd: Fd, level: i32, name: i32) -> Result<i32, Errno> {
        let mut value = [0; 4];
        self.kernel.option(fd, level, name, &mut value)?;
        Ok(i32::from_ne_bytes(value))
    }
}
