//! UDP and echo sockets: what programs ask for, but for sending.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::Host;
use super::sockets::EPHEMERAL;
use crate::config::ListenAddr;
use crate::event::HostEvent;
use crate::link;
use crate::names::RESOLVER;
use crate::udp::{
    Datagram, GroupError, Held, Loss, Service, Sharing, Socket, Taken, UdpBindError,
    UdpConnectError, UdpId, UdpInfo,
};

/// Groups of a socket (IP_MAX_MEMBERSHIPS of Linux).
const MAX_GROUPS: usize = 20;

impl Host {
    /// Makes a socket that receives what is sent to a local port. Besides what a listener can be bound to, the address may
    /// be that of a group or a broadcast address; port 0 takes a free one at random. Returns the address with the port
    /// that was chosen; for both families it is `::`.
    ///
    /// # Errors
    /// [`UdpBindError`], when the address is taken or not ours.
    pub fn udp_bind(
        &mut self,
        local: ListenAddr,
        sharing: Sharing,
    ) -> Result<(UdpId, SocketAddr), UdpBindError> {
        self.bind_socket(Service::Udp, local, sharing)
    }

    /// Makes a socket that sends echo requests and receives the answers to them, as SOCK_DGRAM with IPPROTO_ICMP or
    /// IPPROTO_ICMPV6; the family of the address decides which. It is used like a UDP socket: the port is the identifier,
    /// a payload is an ICMP message with its header, and sending puts identifier and checksum into it. The port of a
    /// destination means nothing.
    ///
    /// # Errors
    /// [`UdpBindError`], when the identifier is taken, or the address not ours or without a family.
    pub fn echo_bind(&mut self, local: ListenAddr) -> Result<(UdpId, SocketAddr), UdpBindError> {
        if local.ip.is_none() {
            return Err(UdpBindError::AddrNotAvailable);
        }
        self.bind_socket(Service::Echo, local, Sharing::default())
    }

    fn bind_socket(
        &mut self,
        service: Service,
        local: ListenAddr,
        sharing: Sharing,
    ) -> Result<(UdpId, SocketAddr), UdpBindError> {
        let usable = |ip: IpAddr| {
            ip.is_unspecified()
                || ip.is_multicast()
                || self.routes.is_own(ip)
                || ip == RESOLVER
                || self.is_broadcast(ip)
        };
        if !local.ip.is_none_or(usable) {
            return Err(UdpBindError::AddrNotAvailable);
        }
        let port = match local.port {
            0 => self.free_udp_port(service).ok_or(UdpBindError::AddrInUse)?,
            port => port,
        };
        let local = ListenAddr { port, ..local };
        if self.udp.is_taken(service, local, sharing) {
            return Err(UdpBindError::AddrInUse);
        }
        Ok((self.udp.insert(service, local, sharing), shown(local)))
    }

    /// Begins somewhere else each time: who waits for an answer is hard to guess.
    fn free_udp_port(&mut self, service: Service) -> Option<u16> {
        let count = u64::from(EPHEMERAL.end() - EPHEMERAL.start()) + 1;
        let start = self.random.draw() % count;
        (0..count)
            .map(|n| EPHEMERAL.start() + ((start + n) % count) as u16)
            .find(|port| !self.udp.has_port(service, *port))
    }

    /// Ends a socket: what it sent still leaves, what it has not received is lost, its groups are left.
    pub fn udp_close(&mut self, id: UdpId) {
        let groups = match self.udp.get_mut(id) {
            Some(socket) => std::mem::take(&mut socket.groups),
            None => return,
        };
        for group in groups {
            self.leave_group(group);
        }
        self.udp.close(id);
    }

    /// Receives from this peer alone; a socket that was not bound to one own address gets the one that leads there.
    /// `None` takes that back. What waits to be received stays. Returns the own address as
    /// [`udp_bind`](Host::udp_bind) does.
    ///
    /// # Errors
    /// [`UdpConnectError`], when there is no such socket, or no datagram could get from it to the peer.
    pub fn udp_connect(
        &mut self,
        id: UdpId,
        peer: Option<SocketAddr>,
    ) -> Result<SocketAddr, UdpConnectError> {
        let socket = self.udp.get_mut(id).ok_or(UdpConnectError::Unknown)?;
        let mut local = socket.bound;
        let peer = peer.map(plain);
        if let Some(peer) = peer {
            let ip = peer.ip();
            let has_port = peer.port() != 0 || socket.service == Service::Echo;
            if !has_port || ip.is_unspecified() || !socket.has_family(ip) {
                return Err(UdpConnectError::Invalid);
            }
            let (_, source) = self
                .routes
                .way_of_datagram(ip)
                .ok_or(UdpConnectError::NoRoute)?;
            if local.ip.is_none_or(|ip| ip.is_unspecified()) {
                local.ip = Some(source);
            }
        }
        socket.peer = peer;
        socket.local = local;
        Ok(shown(local))
    }

    /// How many bytes may wait to be received and to be sent, as SO_RCVBUF and SO_SNDBUF; what it costs to keep a datagram
    /// counts too. An empty queue takes one datagram of any size.
    pub fn udp_set_buffers(&mut self, id: UdpId, receive: usize, send: usize) {
        self.udp.set_buffers(id, receive, send);
    }

    /// Lends the datagrams that wait, oldest first, until `take` leaves one or none is left. Returns how many were taken.
    pub fn udp_receive(&mut self, id: UdpId, mut take: impl FnMut(Datagram<'_>) -> Taken) -> usize {
        let Some(socket) = self.udp.get_mut(id) else {
            return 0;
        };
        let mut taken = 0;
        while let Some(waiting) = socket.received.front() {
            if take(lent(waiting)) == Taken::Later {
                break;
            }
            socket.received.pop();
            taken += 1;
        }
        taken
    }

    /// The datagrams that wait, oldest first, so that several can be taken in one go;
    /// [`udp_consume`](Host::udp_consume) ends it.
    pub fn udp_waiting(&self, id: UdpId) -> impl Iterator<Item = Datagram<'_>> {
        let received = self.udp.get(id).map(|socket| socket.received.iter());
        received.into_iter().flatten().map(lent)
    }

    /// Removes the oldest datagrams that wait.
    pub fn udp_consume(&mut self, id: UdpId, count: usize) {
        if let Some(socket) = self.udp.get_mut(id) {
            (0..count).for_each(|_| socket.received.pop());
        }
    }

    /// What there is to know about a socket, unless the owner closed it.
    #[must_use]
    pub fn udp_info(&self, id: UdpId) -> Option<UdpInfo> {
        let socket = self.udp.get(id)?;
        Some(UdpInfo {
            local: shown(socket.local),
            peer: socket.peer,
            receive_queue: socket.received.len(),
            send_queue: socket.outgoing.len(),
            next_len: socket.received.front().map(|(_, payload)| payload.len()),
            dropped: socket.dropped,
        })
    }

    /// Makes a socket a member of a group. The host takes in what is sent to a group while it has a member; it goes to
    /// every socket with that port, as in Linux, but for those that
    /// [want only their own](Host::udp_set_multicast_all).
    ///
    /// # Errors
    /// [`GroupError`], when there is nothing to join or no more room.
    pub fn multicast_join(&mut self, id: UdpId, group: IpAddr) -> Result<(), GroupError> {
        let socket = self.group_of(id, group)?;
        if socket.groups.contains(&group) {
            return Err(GroupError::AddrInUse);
        }
        if socket.groups.len() >= MAX_GROUPS {
            return Err(GroupError::TooMany);
        }
        socket.groups.push(group);
        if self.udp.join(group) {
            self.groups_changed();
        }
        Ok(())
    }

    /// Whether a socket hears the groups that other sockets of the host have joined, as it does unless told otherwise:
    /// IP_MULTICAST_ALL, IPV6_MULTICAST_ALL.
    pub fn udp_set_multicast_all(&mut self, id: UdpId, all: bool) {
        if let Some(socket) = self.udp.get_mut(id) {
            socket.all_groups = all;
        }
    }

    /// Ends a membership.
    ///
    /// # Errors
    /// [`GroupError`], when there is nothing to leave.
    pub fn multicast_leave(&mut self, id: UdpId, group: IpAddr) -> Result<(), GroupError> {
        let socket = self.group_of(id, group)?;
        let place = socket.groups.iter().position(|other| *other == group);
        socket
            .groups
            .swap_remove(place.ok_or(GroupError::AddrNotAvailable)?);
        self.leave_group(group);
        Ok(())
    }

    /// The groups that sockets have joined, each once, with the link address of each.
    pub fn multicast_groups(&self) -> impl Iterator<Item = (IpAddr, [u8; 6])> + '_ {
        self.udp.groups().map(|ip| (ip, link::group_mac(ip)))
    }

    /// Whether what is known of each loss is kept for [`udp_take_loss`](Host::udp_take_loss): IP_RECVERR.
    pub fn udp_keep_losses(&mut self, id: UdpId, keep: bool) {
        if let Some(socket) = self.udp.get_mut(id) {
            socket.losses = keep.then(|| socket.losses.take().unwrap_or_default());
        }
    }

    /// The oldest loss that was kept.
    pub fn udp_take_loss(&mut self, id: UdpId) -> Option<Loss> {
        self.udp.get_mut(id)?.losses.as_mut()?.pop_front()
    }

    /// Whether an address is the broadcast address of the link, or of one of the host's prefixes.
    #[must_use]
    pub fn is_broadcast(&self, ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V4(ip) if self.routes.is_broadcast(ip))
    }

    fn group_of(&mut self, id: UdpId, group: IpAddr) -> Result<&mut Socket, GroupError> {
        let socket = self.udp.get_mut(id).ok_or(GroupError::Unknown)?;
        if !group.is_multicast() {
            return Err(GroupError::NotAGroup);
        }
        Ok(socket)
    }

    fn leave_group(&mut self, group: IpAddr) {
        if self.udp.leave(group) {
            self.groups_changed();
        }
    }

    fn groups_changed(&mut self) {
        if !self.events.contains(&HostEvent::GroupsChanged) {
            self.events.push_back(HostEvent::GroupsChanged);
        }
    }
}

fn lent<'a>((held, payload): (&'a Held, &'a [u8])) -> Datagram<'a> {
    Datagram {
        from: held.from,
        to: held.to,
        ttl: held.ttl,
        tos: held.tos,
        cast: held.cast,
        payload,
    }
}

/// Only address and port: those of a packet have no scope and no flow, and are compared with this.
pub(super) fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

/// An address as getsockname() shows it.
fn shown(local: ListenAddr) -> SocketAddr {
    SocketAddr::new(local.ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), local.port)
}
