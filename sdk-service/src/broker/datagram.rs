//! One UDP or echo socket of a program: frames between the service's half of a pair, a socket of the host, and the program's own
//! UDP socket.
//!
//! Towards the program a full pair stops the reading of both sources, whose own bounded queues then drop, as UDP does.
//! Towards the network one frame that finds no room is kept, and the pair is not read on: the program's send waits.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use zt_netstack::names::Names;
use zt_netstack::{Host, Instant, SendOptions, UdpId, UdpSendError};
use zt_socket_rpc::table::Table;
use zt_socket_rpc::{
    DatagramHeader, Entry, Family, Id, Kind, MAX_FRAME, Options, Reach, interface_of,
};

use super::budget::Lease;
use super::burst::{self, Burst};
use super::counters::Counters;
use super::delivery::push;
use super::{descriptor, echo, native, questions};

/// Datagrams that a socket may move in each direction before the others have their turn.
pub(super) const TURN: usize = 64;

/// A UDP socket of a program.
pub(super) struct Datagram {
    /// The service's half of the pair.
    pub(super) fd: OwnedFd,
    pub(super) id: Id,
    pub(super) host: UdpId,
    /// The program's own socket, which serves its own network.
    pub(super) kernel: Option<OwnedFd>,
    /// What the state table says.
    pub(super) entry: Entry,
    /// The local address without a connection.
    pub(super) bound: SocketAddr,
    /// The network of the peer, if there is one.
    pub(super) side: Option<Reach>,
    /// The peer may be a name server.
    pub(super) has_server: bool,
    /// The name server in whose place the service has answered.
    pub(super) asked: Option<SocketAddr>,
    /// The program may still bind it.
    pub(super) is_unbound: bool,
    /// The program's own socket is for loopback only.
    pub(super) is_isolated: bool,
    /// Groups joined on the LAN.
    pub(super) groups: Vec<IpAddr>,
    /// The identifier that a `SOCK_RAW` program gives its echo requests.
    pub(super) identifier: u16,
    /// The state table does not have the entry yet.
    pub(super) is_changed: bool,
    /// The pair may have frames.
    pub(super) readable: bool,
    /// The program sends no more.
    pub(super) ending: bool,
    /// The host's socket may have datagrams.
    pub(super) host_ready: bool,
    /// The program's own socket may have datagrams.
    pub(super) kernel_ready: bool,
    /// The pair is full.
    pub(super) blocked: bool,
    pub(super) hung_up: bool,
    pub(super) queued: bool,
    /// A datagram of which more is to come, with its header.
    pub(super) corked: Option<Vec<u8>>,
    /// Frames of the program that the host had no room for.
    pub(super) unsent: VecDeque<Vec<u8>>,
    /// A frame from the program's own network that the pair had no room for.
    pub(super) undelivered: Option<Vec<u8>>,
    pub(super) _lease: Lease,
}

/// What a turn works with.
pub(super) struct Means<'a> {
    pub(super) host: &'a mut Host,
    pub(super) table: Table<'a>,
    pub(super) names: &'a Names,
    pub(super) counters: &'a mut Counters,
    pub(super) strays: &'a mut Vec<OwnedFd>,
    /// Room for one frame and a byte more.
    pub(super) scratch: &'a mut [u8],
    pub(super) burst: &'a mut Burst,
    pub(super) now: Instant,
}

/// Room for the longest frame, and a byte that tells one that is longer.
pub(super) const SCRATCH: usize = MAX_FRAME + 1;

/// What remains to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Idle,
    /// The turn was used up.
    Again,
    /// The program is gone, and what it sent is on its way.
    Close,
}

impl Datagram {
    /// Moves datagrams both ways for one turn.
    pub(super) fn run(&mut self, means: &mut Means<'_>) -> Verdict {
        let pulled = self.pull(means);
        if self.hung_up {
            return match pulled {
                true => Verdict::Again,
                false if !self.unsent.is_empty() => Verdict::Idle,
                false => Verdict::Close,
            };
        }
        let delivered = self.deliver_from_host(means) | self.deliver_from_kernel(means);
        if pulled || delivered {
            Verdict::Again
        } else {
            Verdict::Idle
        }
    }

    /// Program → network. Says whether there may be more at once.
    fn pull(&mut self, means: &mut Means<'_>) -> bool {
        while let Some(frame) = self.unsent.pop_front() {
            if !self.send(means, &frame) {
                self.unsent.push_front(frame);
                return false;
            }
        }
        let burst = std::mem::take(means.burst);
        let received = self.pull_burst(means, burst);
        *means.burst = received;
        self.readable && self.unsent.is_empty()
    }

    fn pull_burst(&mut self, means: &mut Means<'_>, mut burst: Burst) -> Burst {
        let mut left = TURN;
        while self.readable && self.unsent.is_empty() && left > 0 {
            match burst.receive(&self.fd, means.strays) {
                Ok(count) => {
                    left = left.saturating_sub(count);
                    for index in 0..count {
                        let Some(frame) = burst.message(index) else {
                            means.counters.malformed_frames += 1;
                            continue;
                        };
                        // The end of what a program sends, which comes again and again.
                        if frame.is_empty() && self.ending {
                            self.readable = false;
                            break;
                        }
                        if !self.unsent.is_empty() || !self.send(means, frame) {
                            self.unsent.push_back(frame.to_vec());
                        }
                    }
                    // There was no more, and what comes is told.
                    self.readable &= count == burst::MOST;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.readable = false,
                Err(_) => {
                    self.readable = false;
                    self.hung_up |= descriptor::is_hung_up(&self.fd);
                }
            }
        }
        burst
    }

    /// Sends one frame. Says whether the host had room for it.
    fn send(&mut self, means: &mut Means<'_>, frame: &[u8]) -> bool {
        let parsed = DatagramHeader::parse(frame)
            .ok()
            .filter(|_| frame.len() <= MAX_FRAME);
        let Some((header, part)) = parsed else {
            means.counters.malformed_frames += 1;
            return true;
        };
        if header.more || self.corked.is_some() {
            self.gather(frame, part);
            if !header.more {
                self.uncork(means);
            }
            return true;
        }
        self.send_whole(means, &header, part)
    }

    /// Adds a part to a datagram; the first one's header holds for all. What is more than any datagram is left out, and
    /// refused as too long when it is sent.
    fn gather(&mut self, frame: &[u8], part: &[u8]) {
        match &mut self.corked {
            None => self.corked = Some(frame.to_vec()),
            Some(corked) => {
                let room = SCRATCH.saturating_sub(corked.len());
                corked.extend_from_slice(part.get(..room).unwrap_or(part));
            }
        }
    }

    /// Sends what was held back.
    pub(super) fn uncork(&mut self, means: &mut Means<'_>) {
        let Some(frame) = self.corked.take() else {
            return;
        };
        let Ok((header, payload)) = DatagramHeader::parse(&frame) else {
            means.counters.malformed_frames += 1;
            return;
        };
        if !self.send_whole(means, &header, payload) {
            let header = DatagramHeader {
                more: false,
                ..header
            };
            let frame = [&header.emit(), payload].concat();
            self.unsent.push_back(frame);
        }
    }

    fn send_whole(
        &mut self,
        means: &mut Means<'_>,
        header: &DatagramHeader,
        payload: &[u8],
    ) -> bool {
        let Some(peer) = header.peer else {
            means.counters.malformed_frames += 1;
            return true;
        };
        if self.entry.errno != 0 {
            // It was reported, or waits in the pair as a frame.
            self.entry.errno = 0;
            self.is_changed = true;
        }
        self.settle();
        if let Some(header) = self.redirected(header, means, payload) {
            let given = self.give(means, &header, questions::OWN, payload, true);
            self.given(means, given);
            return true;
        }
        match (
            self.reach(means.table, peer, header.interface),
            &self.kernel,
        ) {
            (Reach::Own, Some(kernel)) => {
                let sent = send_native(kernel, header, peer, self.entry.family, payload);
                self.sent_natively(means, sent);
            }
            (Reach::Own, None) => means.counters.datagrams_unroutable += 1,
            (Reach::Both, Some(kernel)) => {
                let sent = send_native(kernel, header, peer, self.entry.family, payload);
                self.send_to_both(means, header, peer, payload, sent);
            }
            (Reach::Lan | Reach::Both, _) => match self.give(means, header, peer, payload, true) {
                Err(UdpSendError::WouldBlock) => return false,
                given => self.given(means, given),
            },
        }
        true
    }

    /// What was sent for many may be refused by one network if the other takes it. Sockets here get it once: from the
    /// network that it leaves by if there were only one, the program's own.
    fn send_to_both(
        &mut self,
        means: &mut Means<'_>,
        header: &DatagramHeader,
        peer: SocketAddr,
        payload: &[u8],
        sent: Result<(), Errno>,
    ) {
        let given = self.give(means, header, peer, payload, sent.is_err());
        match (given, sent) {
            (Ok(()), Ok(())) => {
                means.counters.datagrams_out += 1;
                means.counters.datagrams_out_native += 1;
            }
            (given @ Ok(()), Err(_)) => self.given(means, given),
            // A full queue drops what is for many: it would be sent twice by the other network.
            (Err(_), sent @ Ok(())) => self.sent_natively(means, sent),
            (Err(UdpSendError::NoRoute), sent @ Err(_)) => self.sent_natively(means, sent),
            (given @ Err(_), Err(_)) => self.given(means, given),
        }
    }

    /// Binds a socket that the program sends from without having bound it.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.is_unbound) {
            return;
        }
        if let Some(kernel) = &self.kernel {
            // So that both networks see one port, if this one is free there; else the kernel chooses.
            let _ = rustix::net::bind(kernel, &for_kernel(self.bound, self.entry.family));
        }
        self.entry.local = Some(self.bound);
        self.is_changed = true;
    }

    /// Gives a datagram to the host; `is_looped`: sockets here get what is for many.
    fn give(
        &mut self,
        means: &mut Means<'_>,
        header: &DatagramHeader,
        peer: SocketAddr,
        payload: &[u8],
        is_looped: bool,
    ) -> Result<(), UdpSendError> {
        if let (Kind::RawEcho, Some(identifier)) = (self.entry.kind, echo::identifier(payload)) {
            self.identifier = identifier;
        }
        let options = send_options(&self.entry.options, header, peer.ip(), is_looped);
        means
            .host
            .udp_send(means.now, self.host, header.local, peer, payload, options)
    }

    /// Counts and reports what has become of a datagram.
    fn given(&mut self, means: &mut Means<'_>, given: Result<(), UdpSendError>) {
        match given {
            Ok(()) => means.counters.datagrams_out += 1,
            // Of what is for many; anything else waits.
            Err(UdpSendError::WouldBlock) => means.counters.datagrams_refused += 1,
            Err(UdpSendError::NoRoute) => {
                means.counters.datagrams_unroutable += 1;
                self.report(Errno::NETUNREACH);
            }
            Err(UdpSendError::TooLong) => {
                means.counters.datagrams_refused += 1;
                self.report(Errno::MSGSIZE);
            }
            Err(_) => {
                means.counters.datagrams_refused += 1;
                self.report(Errno::INVAL);
            }
        }
    }

    fn sent_natively(&mut self, means: &mut Means<'_>, sent: Result<(), Errno>) {
        match sent {
            Ok(()) => means.counters.datagrams_out_native += 1,
            // Its own send queue is full; the kernel tells nobody when it is not.
            Err(Errno::AGAIN | Errno::NOBUFS) => means.counters.datagrams_refused += 1,
            Err(errno) => {
                means.counters.datagrams_refused += 1;
                self.report(errno);
            }
        }
    }

    /// Where a destination is; `interface` as the program asked for.
    pub(super) fn reach(&self, table: Table<'_>, peer: SocketAddr, interface: u32) -> Reach {
        let ip = peer.ip();
        match &self.kernel {
            None => Reach::Lan,
            Some(_) if self.is_isolated && !ip.is_loopback() && !ip.is_unspecified() => Reach::Lan,
            Some(_) => {
                let interface = interface_of(peer, interface, &self.entry.options);
                table.reach(ip, interface)
            }
        }
    }

    /// Tells the program of an error as the kernel would: the next call on a connected socket reports it.
    pub(super) fn report(&mut self, errno: Errno) {
        if self.side.is_none() && !self.entry.options.receive_errors {
            return;
        }
        let header = DatagramHeader {
            errno: errno.raw_os_error() as u16,
            ..self.header()
        };
        // The entry first: whoever is woken by the frame looks into it.
        self.entry.errno = errno.raw_os_error();
        self.is_changed = true;
        // A full pair has something to read anyway.
        let _ = push(&self.fd, &header, &[]);
    }

    pub(super) fn header(&self) -> DatagramHeader {
        DatagramHeader {
            peer: None,
            local: None,
            family: self.entry.family,
            ttl: None,
            tos: None,
            errno: 0,
            more: false,
            interface: 0,
        }
    }
}

/// How a datagram leaves by the LAN.
fn send_options(
    options: &Options,
    header: &DatagramHeader,
    to: IpAddr,
    is_looped: bool,
) -> SendOptions {
    let (ttl, group_ttl, tos) = if to.is_ipv4() {
        (options.ttl, options.multicast_ttl, options.tos)
    } else {
        (
            options.hop_limit,
            options.multicast_hops,
            options.traffic_class,
        )
    };
    let usual = if to.is_multicast() {
        // Zero keeps it inside.
        Some(group_ttl)
    } else {
        Some(ttl).filter(|&ttl| ttl != 0)
    };
    SendOptions {
        ttl: header.ttl.or(usual),
        tos: header.tos.unwrap_or(tos),
        loopback: is_looped && (options.multicast_loop || !to.is_multicast()),
    }
}

/// Sends to the program's own network; an error of an earlier datagram is told on the way back instead.
fn send_native(
    kernel: &OwnedFd,
    header: &DatagramHeader,
    peer: SocketAddr,
    family: Family,
    payload: &[u8],
) -> Result<(), Errno> {
    match native::send(kernel, header, peer, family, payload) {
        Err(Errno::CONNREFUSED | Errno::HOSTUNREACH) => {
            native::send(kernel, header, peer, family, payload)
        }
        result => result,
    }
}

/// An address as a kernel socket of this family takes it.
pub(super) fn for_kernel(address: SocketAddr, family: Family) -> SocketAddr {
    match (family, address) {
        (Family::V6, SocketAddr::V4(v4)) => {
            let ip = if v4.ip().is_unspecified() {
                std::net::Ipv6Addr::UNSPECIFIED
            } else {
                v4.ip().to_ipv6_mapped()
            };
            SocketAddr::V6(SocketAddrV6::new(ip, v4.port(), 0, 0))
        }
        _ => address,
    }
}

/// Inside the contract an IPv4 address is always an IPv4 address.
pub(super) fn unmapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddr::new(ip.into(), v6.port()),
            IpAddr::V6(_) => address,
        },
        SocketAddr::V4(_) => address,
    }
}
