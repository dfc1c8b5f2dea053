//! The sockets of a host, and which of them gets a datagram.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Cast, Loss, Ring, Sharing, UdpId};
use crate::config::ListenAddr;
use crate::demux::{SecretHash, Tuple};
use crate::fragment::Cut;
use crate::names::RESOLVER;
use crate::neighbour::Mac;

/// Bytes that a queue of a socket holds unless told otherwise (net.core.rmem_default and wmem_default of Linux).
const QUEUE: usize = 212_992;
/// The limits of what a queue may be told: one datagram of the largest size, and a few megabytes.
const QUEUES: std::ops::RangeInclusive<usize> = 4096..=8 << 20;

/// Groups that every host is a member of.
pub(crate) const ALL_HOSTS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
];

/// What a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Service {
    Udp,
    /// ICMP or ICMPv6 echo; the identifier stands where UDP has the port.
    Echo,
}

/// What is known of a datagram that waits to be received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) service: Service,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) cast: Cast,
}

/// What is known of a packet that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    pub(crate) mac: Mac,
    pub(crate) ethertype: u16,
}

/// One socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) service: Service,
    /// Where the owner bound it.
    pub(crate) bound: ListenAddr,
    /// Where it receives: narrower than `bound` while it is connected.
    pub(crate) local: ListenAddr,
    pub(crate) peer: Option<SocketAddr>,
    sharing: Sharing,
    pub(crate) groups: Vec<IpAddr>,
    /// Hears the groups of all sockets, not only its own.
    pub(crate) all_groups: bool,
    pub(crate) received: Ring<Held>,
    /// Whole packets; those above the MTU are cut when they leave.
    pub(crate) outgoing: Ring<Queued>,
    /// How far the first of `outgoing` has left, if it leaves in fragments.
    pub(crate) cut: Option<Cut>,
    pub(crate) dropped: u64,
    /// Losses that the owner has not taken yet, if it wants to know of them.
    pub(crate) losses: Option<VecDeque<Loss>>,
    pub(crate) marks: Marks,
}

/// Small facts about a socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// The owner gave it up; what waits still leaves.
    pub(crate) closed: bool,
    /// In the queue of turns.
    pub(crate) queued: bool,
    /// The owner wants to hear of room.
    pub(crate) starved: bool,
    /// The event is queued.
    pub(crate) readable: bool,
    /// The event is queued.
    pub(crate) failed: bool,
}

impl Socket {
    /// The own address that it was bound to, or got when it was connected. None of the host for a group.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.local.ip.filter(|ip| !ip.is_unspecified())
    }

    /// Whether it speaks the family of `ip`.
    pub(crate) fn has_family(&self, ip: IpAddr) -> bool {
        self.bound
            .ip
            .is_none_or(|own| own.is_ipv4() == ip.is_ipv4())
    }

    /// How well a datagram fits; the best socket gets it. As in Linux: family, then own address, then peer.
    fn score(&self, to: IpAddr, from: SocketAddr) -> Option<u8> {
        // Of echo the identifier decides: an answer may come from another address than was asked.
        let is_stranger =
            self.service == Service::Udp && self.peer.is_some_and(|peer| peer != from);
        if !self.local.covers(to) || is_stranger {
            return None;
        }
        let family = u8::from(self.local.ip.is_some());
        let address = u8::from(self.ip().is_some()) * 2;
        let peer = u8::from(self.peer.is_some()) * 4;
        Some(family + address + peer)
    }

    fn conflicts(&self, local: ListenAddr, sharing: Sharing) -> bool {
        // What is sent to the resolver's address goes to the resolver, whoever else has its port.
        let apart = |local: &ListenAddr| local.ip == Some(RESOLVER);
        if apart(&self.bound) != apart(&local) {
            return false;
        }
        let shared = self.sharing.reuse_address && sharing.reuse_address
            || self.sharing.reuse_port && sharing.reuse_port;
        !shared && self.bound.overlaps(&local)
    }
}

/// All sockets of a host.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Open sockets by port, oldest first.
    ports: HashMap<(Service, u16), Vec<UdpId>, SecretHash>,
    /// Memberships of all sockets, counted.
    groups: HashMap<IpAddr, usize, SecretHash>,
    hash: SecretHash,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    // Boxed: the table grows without moving sockets.
    socket: Option<Box<Socket>>,
}

impl Table {
    pub(crate) fn new(hash: SecretHash) -> Table {
        Table {
            slots: Vec::new(),
            free: Vec::new(),
            ports: HashMap::with_hasher(hash),
            groups: HashMap::with_hasher(hash),
            hash,
        }
    }

    /// Whether a socket there would collide with another.
    pub(crate) fn is_taken(&self, service: Service, local: ListenAddr, sharing: Sharing) -> bool {
        self.on_port(service, local.port)
            .any(|(_, other)| other.conflicts(local, sharing))
    }

    pub(crate) fn has_port(&self, service: Service, port: u16) -> bool {
        self.ports.contains_key(&(service, port))
    }

    pub(crate) fn insert(
        &mut self,
        service: Service,
        local: ListenAddr,
        sharing: Sharing,
    ) -> UdpId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.socket = Some(Box::new(Socket {
            service,
            bound: local,
            local,
            peer: None,
            sharing,
            groups: Vec::new(),
            all_groups: true,
            received: Ring::new(QUEUE),
            outgoing: Ring::new(QUEUE),
            cut: None,
            dropped: 0,
            losses: None,
            marks: Marks::default(),
        }));
        let id = UdpId {
            index,
            generation: slot.generation,
        };
        self.ports
            .entry((service, local.port))
            .or_default()
            .push(id);
        id
    }

    /// Takes a socket out of the way of what arrives. It stays in the table until what it sends has left.
    pub(crate) fn close(&mut self, id: UdpId) {
        let Some(socket) = self.get_mut(id) else {
            return;
        };
        socket.marks.closed = true;
        socket.received.clear();
        let port = (socket.service, socket.bound.port);
        let idle = socket.outgoing.is_empty();
        if let Some(ids) = self.ports.get_mut(&port) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.ports.remove(&port);
            }
        }
        if idle {
            self.remove(id);
        }
    }

    pub(crate) fn remove(&mut self, id: UdpId) {
        if let Some(slot) = self.slots.get_mut(id.index as usize)
            && slot.generation == id.generation
            && slot.socket.take().is_some()
        {
            self.free.push(id.index);
        }
    }

    /// A socket, closed ones that still send included.
    pub(crate) fn any_mut(&mut self, id: UdpId) -> Option<&mut Socket> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.socket
            .as_deref_mut()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn get(&self, id: UdpId) -> Option<&Socket> {
        let slot = self.slots.get(id.index as usize)?;
        slot.socket
            .as_deref()
            .filter(|socket| slot.generation == id.generation && !socket.marks.closed)
    }

    pub(crate) fn get_mut(&mut self, id: UdpId) -> Option<&mut Socket> {
        self.any_mut(id).filter(|socket| !socket.marks.closed)
    }

    pub(crate) fn set_buffers(&mut self, id: UdpId, receive: usize, send: usize) {
        if let Some(socket) = self.get_mut(id) {
            let within = |len: usize| len.clamp(*QUEUES.start(), *QUEUES.end());
            socket.received.set_limit(within(receive));
            socket.outgoing.set_limit(within(send));
        }
    }

    /// The socket that gets a datagram for one. Of equal ones the newest, or, if they share their port for that, always
    /// the same for a sender.
    pub(crate) fn find(&self, service: Service, to: SocketAddr, from: SocketAddr) -> Option<UdpId> {
        let fitting = || {
            self.on_port(service, to.port())
                .filter_map(|(id, socket)| Some((socket.score(to.ip(), from)?, id, socket)))
        };
        let (best, newest, socket) = fitting().max_by_key(|(score, ..)| *score)?;
        if !socket.sharing.reuse_port || socket.peer.is_some() {
            return Some(newest);
        }
        let equal = || {
            fitting()
                .filter(|(score, _, socket)| *score == best && socket.sharing.reuse_port)
                .map(|(_, id, _)| id)
        };
        let count = equal().count();
        let pick = self.hash.hash_one(Tuple::new(to, from)) % count.max(1) as u64;
        equal().nth(pick as usize)
    }

    /// The sockets that get a datagram for many: the next one at or after place `n` of those on the port, and its place.
    pub(crate) fn next_of_all(
        &self,
        to: SocketAddr,
        from: SocketAddr,
        n: usize,
    ) -> Option<(usize, UdpId)> {
        let ids = self.ports.get(&(Service::Udp, to.port()))?;
        let fits = |id: UdpId| {
            let socket = self.get(id)?;
            let group = to.ip();
            let member =
                !group.is_multicast() || socket.all_groups || socket.groups.contains(&group);
            socket.score(group, from).filter(|_| member)
        };
        (n..)
            .zip(ids.get(n..)?)
            .find_map(|(n, id)| fits(*id).map(|_| (n, *id)))
    }

    fn on_port(&self, service: Service, port: u16) -> impl Iterator<Item = (UdpId, &Socket)> {
        let ids = self
            .ports
            .get(&(service, port))
            .map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// Counts one more member. Returns whether it is the first of the group.
    pub(crate) fn join(&mut self, group: IpAddr) -> bool {
        let members = self.groups.entry(group).or_default();
        *members += 1;
        *members == 1
    }

    /// Counts one member less. Returns whether it was the last of the group.
    pub(crate) fn leave(&mut self, group: IpAddr) -> bool {
        let Some(members) = self.groups.get_mut(&group) else {
            return false;
        };
        *members -= 1;
        if *members > 0 {
            return false;
        }
        self.groups.remove(&group);
        true
    }

    /// Whether what is sent to a group is for this host: a member of it, or of that of all hosts (RFC 1112 §4,
    /// RFC 4291 §2.7.1), which nobody joins.
    pub(crate) fn is_joined(&self, group: IpAddr) -> bool {
        ALL_HOSTS.contains(&group) || self.groups.contains_key(&group)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.groups.keys().copied()
    }
}
