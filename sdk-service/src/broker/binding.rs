//! Where the UDP sockets of programs are bound: on the host, and on the program's own network.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use zt_netstack::{Host, ListenAddr, Sharing, UdpBindError, UdpId};
use zt_socket_rpc::{BindDatagram, Id, Kind, Options};

use super::datagram::{Datagram, for_kernel};
use super::datagrams::{apply, bound_port};
use super::requests::Answer;
use super::{Broker, Socket, Turn, descriptor};
use crate::engine::slots::Key;

/// Where a socket of the host is to be.
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) local: SocketAddr,
    pub(super) options: Options,
}

impl Place {
    fn bind(&self, host: &mut Host, port: u16) -> Result<(UdpId, SocketAddr), UdpBindError> {
        let local = SocketAddr::new(self.local.ip(), port);
        let alone = ListenAddr {
            ip: Some(local.ip()),
            port,
        };
        if self.kind != Kind::Datagram {
            return host.echo_bind(alone);
        }
        // For a host, `::` alone is IPv6 only, and no address at all is both families.
        let wanted = match ListenAddr::from(local) {
            ListenAddr { ip: None, .. } if self.options.v6_only => alone,
            wanted => wanted,
        };
        host.udp_bind(wanted, sharing(&self.options))
    }
}

impl Broker {
    /// Takes a port of the host: the one asked for, else the one that the program's own socket has, else any. A socket
    /// that was closed just now may still hold it, for a close is not heard before a request that follows it.
    pub(super) fn take_udp_port(
        &mut self,
        turn: &mut Turn<'_>,
        place: &Place,
        kernel: Option<&OwnedFd>,
    ) -> Result<(UdpId, SocketAddr), UdpBindError> {
        let asked = place.local.port();
        let preferred = match (asked, kernel) {
            (0, Some(kernel)) => bound_port(kernel),
            _ => asked,
        };
        match place.bind(turn.host, preferred) {
            Err(UdpBindError::AddrInUse) => {}
            result => return result,
        }
        let closed: Vec<Key> = self
            .datagrams
            .iter()
            .filter(|(_, socket)| {
                socket.bound.port() == preferred && descriptor::is_hung_up(&socket.fd)
            })
            .map(|(key, _)| key)
            .collect();
        closed
            .into_iter()
            .for_each(|key| self.close_datagram(turn, key));
        match place.bind(turn.host, preferred) {
            Err(UdpBindError::AddrInUse) if asked == 0 => place.bind(turn.host, 0),
            result => result,
        }
    }

    /// Binds a socket that was opened unbound: another one of the host takes its place.
    pub(super) fn bind_datagram(&mut self, turn: &mut Turn<'_>, bind: &BindDatagram) -> Answer {
        let Some((key, socket)) = self.unbound(bind.id) else {
            self.counters.wrong_id += 1;
            return Answer::None;
        };
        let place = Place {
            kind: socket.entry.kind,
            local: bind.local,
            options: socket.entry.options,
        };
        let ip = bind.local.ip();
        let is_shared = ip.is_unspecified() || ip.is_multicast();
        let (host, at) = match self.take_udp_port(turn, &place, None) {
            Ok(taken) => taken,
            Err(UdpBindError::AddrInUse) => return Answer::Failed(Errno::ADDRINUSE),
            Err(_) => return Answer::Failed(Errno::ADDRNOTAVAIL),
        };
        let bound = SocketAddr::new(ip, at.port());
        let Some(socket) = self.datagrams.get_mut(key) else {
            return Answer::None;
        };
        if let Some(kernel) = &socket.kernel {
            let bound = match is_shared {
                true => rustix::net::bind(kernel, &for_kernel(bound, socket.entry.family)),
                // An address of the LAN, which is not the other network's.
                false => Err(Errno::ACCESS),
            };
            match bound {
                Ok(()) => {}
                // A privileged port: then the LAN alone.
                Err(Errno::ACCESS) => {
                    turn.poller.remove(kernel);
                    socket.kernel = None;
                }
                Err(errno) => {
                    turn.host.udp_close(host);
                    return Answer::Failed(errno);
                }
            }
        }
        let before = std::mem::replace(&mut socket.host, host);
        socket.is_unbound = false;
        socket.bound = bound;
        socket.entry.local = Some(bound);
        socket.join_again(turn.host);
        apply(turn.host, host, &socket.entry.options);
        self.table.update(socket.id.tag(), &socket.entry);
        turn.host.udp_close(before);
        self.by_udp.remove(&before);
        self.by_udp.insert(host, key);
        Answer::Done(bound)
    }

    fn unbound(&self, id: Id) -> Option<(Key, &Datagram)> {
        let Some(&Socket::Datagram(key)) = self.by_id.get(&id) else {
            return None;
        };
        let socket = self.datagrams.get(key)?;
        socket.is_unbound.then_some((key, socket))
    }
}

const fn sharing(options: &Options) -> Sharing {
    Sharing {
        reuse_address: options.reuse_address,
        reuse_port: options.reuse_port,
    }
}
