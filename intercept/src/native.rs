//! Reading an undecided kernel socket: what a pair that takes its place must carry on.

use core::net::SocketAddr;

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{Family, Options};

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
const CARRIED_OPTIONS: [(i32, i32); 21] = [
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
const CARRIED_DATAGRAM_OPTIONS: [(i32, i32); 16] = [
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
];

/// `SO_BUF_LOCK`: the program has set `SO_SNDBUF`, `SO_RCVBUF`.
pub(crate) const SNDBUF_LOCK: u8 = 1;
const RCVBUF_LOCK: u8 = 2;

impl<K: Kernel> Program<'_, K> {
    /// The family of a TCP socket over IPv4 or IPv6.
    pub(crate) fn tcp_family(&self, fd: Fd) -> Step<Family> {
        // `SO_PROTOCOL` tells TCP from UDP, raw and Unix sockets at once; anything else is not for us.
        self.family_of_protocol(fd, IPPROTO_TCP, Reason::NotTcp)
    }

    /// The family of a UDP socket over IPv4 or IPv6.
    pub(crate) fn udp_family(&self, fd: Fd) -> Step<Family> {
        // A framed descriptor that could not be told from others would be read with its headers.
        if !self.datagrams.has_place(fd) {
            return Err(Reason::NotUdp.into());
        }
        self.family_of_protocol(fd, IPPROTO_UDP, Reason::NotUdp)
    }

    fn family_of_protocol(&self, fd: Fd, protocol: i32, otherwise: Reason) -> Step<Family> {
        if self.int_option(fd, SOL_SOCKET, SO_PROTOCOL) != Ok(protocol) {
            return Err(otherwise.into());
        }
        match self.int_option(fd, SOL_SOCKET, SO_DOMAIN) {
            Ok(domain) if domain == i32::from(AF_INET) => Ok(Family::V4),
            Ok(domain) if domain == i32::from(AF_INET6) => Ok(Family::V6),
            _ => Err(otherwise.into()),
        }
    }

    /// The TCP state of a kernel socket.
    pub(crate) fn tcp_state(&self, fd: Fd) -> Result<u8, Errno> {
        let mut state = [0];
        self.kernel.option(fd, SOL_TCP, TCP_INFO, &mut state)?;
        Ok(state[0])
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
        self.native_with(fd, family, &CARRIED_OPTIONS)
    }

    /// Everything about an undecided UDP socket.
    pub(crate) fn native_datagram(&self, fd: Fd, family: Family) -> Step<Native> {
        self.native_with(fd, family, &CARRIED_DATAGRAM_OPTIONS)
    }

    fn native_with(&self, fd: Fd, family: Family, carried: &[(i32, i32)]) -> Step<Native> {
        let mut options = Options::default();
        for &(level, name) in carried {
            let mut value = [0; 16];
            if let Ok(len) = self.kernel.option(fd, level, name, &mut value) {
                // What the kernel holds is valid; an option that a later kernel widens keeps its default.
                let _ = options.set(level, name, value.get(..len.min(16)).unwrap_or_default());
            }
        }
        Ok(Native {
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
        let mut locks = [0; 4];
        if self
            .kernel
            .option(from, SOL_SOCKET, SO_BUF_LOCK, &mut locks)
            .is_err()
        {
            return;
        }
        for (name, lock) in [(SO_SNDBUF, SNDBUF_LOCK), (SO_RCVBUF, RCVBUF_LOCK)] {
            if locks[0] & lock != 0
                && let Ok(doubled) = self.int_option(from, SOL_SOCKET, name)
            {
                // The kernel doubles what it is given.
                let _ =
                    self.kernel
                        .set_option(onto, SOL_SOCKET, name, &(doubled / 2).to_ne_bytes());
            }
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
