//! Sockets of the kernel that are made anew: for what a service kept until it ended, and for a connection that its
//! program has dissolved.

use zt_socket_rpc::linux::*;
use zt_socket_rpc::{Family, Kind, Options};

use crate::Program;
use crate::home::Home;
use crate::kernel::{Errno, Fd, Kernel};
use crate::lan::Mode;
use crate::native::CARRIED_OPTIONS;
use crate::sockaddr::encode;

impl<K: Kernel> Program<'_, K> {
    /// The socket on the container's own network that belongs to a listener or a datagram socket of ours.
    pub(crate) fn native_of_home(&self, home: &Home) -> Result<Fd, Errno> {
        let fd = self.new_native(home.kind, home.family)?;
        let flag = |level, name, on: bool| {
            self.kernel
                .set_option(fd, level, name, &i32::from(on).to_ne_bytes())
        };
        let listens = home.kind == Kind::Listener;
        // What is left of the listener before must not be in the way.
        let made = flag(SOL_SOCKET, SO_REUSEADDR, home.reuse_address || listens)
            .and_then(|()| flag(SOL_SOCKET, SO_REUSEPORT, home.reuse_port))
            .and_then(|()| match home.family {
                Family::V6 => flag(SOL_IPV6, IPV6_V6ONLY, home.v6_only),
                Family::V4 => Ok(()),
            })
            .and_then(|()| match self.settings.mode() {
                Mode::Isolated if !self.confine(fd) => Err(Errno(EADDRNOTAVAIL)),
                _ => Ok(()),
            })
            .and_then(|()| self.bind_kernel(fd, encode(home.local, home.family).as_bytes()))
            .and_then(|()| match listens {
                true => self.kernel.listen(fd, i32::from(home.backlog)),
                false => Ok(()),
            });
        self.unless_failed(fd, made)
    }

    /// An undecided TCP socket with the options of a connection that it takes the place of.
    pub(crate) fn native_with_options(
        &self,
        family: Family,
        options: &Options,
        nonblocking: bool,
    ) -> Result<Fd, Errno> {
        let fd = self.new_native(Kind::Stream, family)?;
        let usual = Options::default();
        for (level, name) in CARRIED_OPTIONS {
            let (mut value, mut before) = ([0; 16], [0; 16]);
            if let Ok(len) = options.get(level, name, &mut value)
                && usual.get(level, name, &mut before).is_ok()
                && value != before
                && let Some(value) = value.get(..len)
            {
                // The kernel has taken it before, from the program.
                let _ = self.kernel.set_option(fd, level, name, value);
            }
        }
        let made = self.kernel.set_nonblocking(fd, nonblocking);
        self.unless_failed(fd, made)
    }

    fn new_native(&self, kind: Kind, family: Family) -> Result<Fd, Errno> {
        let domain = match family {
            Family::V4 => AF_INET,
            Family::V6 => AF_INET6,
        };
        let (of_type, protocol) = match (kind, family) {
            (Kind::RawEcho, Family::V4) => (SOCK_RAW, IPPROTO_ICMP),
            (Kind::RawEcho, Family::V6) => (SOCK_RAW, IPPROTO_ICMPV6),
            (Kind::Echo, Family::V4) => (SOCK_DGRAM, IPPROTO_ICMP),
            (Kind::Echo, Family::V6) => (SOCK_DGRAM, IPPROTO_ICMPV6),
            (Kind::Datagram, _) => (SOCK_DGRAM, IPPROTO_UDP),
            _ => (SOCK_STREAM, IPPROTO_TCP),
        };
        self.kernel.socket(i32::from(domain), of_type, protocol)
    }

    fn unless_failed(&self, fd: Fd, made: Result<(), Errno>) -> Result<Fd, Errno> {
        if made.is_err() {
            self.kernel.close(fd);
        }
        made.map(|()| fd)
    }
}
