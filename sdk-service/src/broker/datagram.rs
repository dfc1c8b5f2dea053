//! One UDP socket of a program: frames between the service's half of a pair, a socket of the host, and the program's own
//! UDP socket.
//!
//! Towards the program a full pair stops the reading of both sources, whose own bounded queues then drop, as UDP does.
//! Towards the network one frame that finds no room is kept, and the pair is not read on: the program's send waits.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use zt_netstack::{Datagram as Arrived, Host, Instant, SendOptions, Taken, UdpId, UdpSendError};
use zt_socket_rpc::table::Table;
use zt_socket_rpc::{DatagramHeader, Entry, Family, Id, MAX_FRAME};

use super::budget::Lease;
use super::counters::Counters;
use super::{descriptor, native};

/// Datagrams that a socket may move in each direction before the others have their turn.
const TURN: usize = 64;

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
    pub(super) side: Option<Side>,
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
    /// The host's socket is full.
    pub(super) host_full: bool,
    pub(super) hung_up: bool,
    pub(super) queued: bool,
    /// A frame of the program that the host had no room for.
    pub(super) unsent: Option<Vec<u8>>,
    /// A frame from the program's own network that the pair had no room for.
    pub(super) undelivered: Option<Vec<u8>>,
    pub(super) _lease: Lease,
}

/// One of the two networks of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Lan,
    Kernel,
}

/// What a turn works with.
pub(super) struct Means<'a> {
    pub(super) host: &'a mut Host,
    pub(super) table: Table<'a>,
    pub(super) counters: &'a mut Counters,
    pub(super) strays: &'a mut Vec<OwnedFd>,
    /// Room for one frame and a byte more.
    pub(super) scratch: &'a mut [u8],
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
                false if self.unsent.is_some() => Verdict::Idle,
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
        if let Some(frame) = self.unsent.take() {
            self.host_full = false;
            self.send(means, &frame);
        }
        let scratch = std::mem::take(&mut means.scratch);
        let mut left = TURN;
        while self.readable && self.unsent.is_none() && left > 0 {
            left -= 1;
            match descriptor::read(&self.fd, scratch, means.strays) {
                Ok(0) if self.ending => self.readable = false,
                Ok(count) => self.send(means, scratch.get(..count).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.readable = false,
                Err(_) => {
                    self.readable = false;
                    self.hung_up |= descriptor::is_hung_up(&self.fd);
                }
            }
        }
        means.scratch = scratch;
        self.readable && self.unsent.is_none()
    }

    fn send(&mut self, means: &mut Means<'_>, frame: &[u8]) {
        let parsed = DatagramHeader::parse(frame)
            .ok()
            .filter(|_| frame.len() <= MAX_FRAME);
        let Some((header, payload)) = parsed else {
            means.counters.malformed_frames += 1;
            return;
        };
        let Some(peer) = header.peer else {
            means.counters.malformed_frames += 1;
            return;
        };
        if self.entry.errno != 0 {
            // It was reported, or waits in the pair as a frame.
            self.entry.errno = 0;
        }
        match (self.side_of(means.table, peer), &self.kernel) {
            (Side::Kernel, Some(kernel)) => {
                let sent = send_native(kernel, &header, peer, self.entry.family, payload);
                self.sent_natively(means, sent);
            }
            (Side::Kernel, None) => means.counters.datagrams_unroutable += 1,
            (Side::Lan, _) => self.send_to_host(means, frame, &header, peer, payload),
        }
    }

    fn send_to_host(
        &mut self,
        means: &mut Means<'_>,
        frame: &[u8],
        header: &DatagramHeader,
        peer: SocketAddr,
        payload: &[u8],
    ) {
        let options = &self.entry.options;
        let (ttl, tos) = if peer.is_ipv4() {
            (options.ttl, options.tos)
        } else {
            (options.hop_limit, options.traffic_class)
        };
        let options = SendOptions {
            ttl: header.ttl.or(Some(ttl)).filter(|&ttl| ttl != 0),
            tos: header.tos.unwrap_or(tos),
            ..SendOptions::default()
        };
        match means
            .host
            .udp_send(means.now, self.host, header.local, peer, payload, options)
        {
            Ok(()) => means.counters.datagrams_out += 1,
            Err(UdpSendError::WouldBlock) => {
                self.host_full = true;
                self.unsent = Some(frame.to_vec());
            }
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

    /// Where a destination is.
    pub(super) fn side_of(&self, table: Table<'_>, peer: SocketAddr) -> Side {
        let ip = peer.ip();
        let native = self.kernel.is_some()
            && (ip.is_loopback()
                || ip.is_unspecified()
                || !table.routes_to(ip) && !table.is_own(ip));
        if native { Side::Kernel } else { Side::Lan }
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
        // A full pair has something to read anyway.
        let _ = self.push(&header, &[]);
    }

    fn header(&self) -> DatagramHeader {
        DatagramHeader {
            peer: None,
            local: None,
            family: self.entry.family,
            ttl: None,
            tos: None,
            errno: 0,
            interface: 0,
        }
    }

    /// LAN → program.
    fn deliver_from_host(&mut self, means: &mut Means<'_>) -> bool {
        if self.blocked || !self.host_ready {
            return false;
        }
        let mut left = TURN;
        let is_wanted = self.side != Some(Side::Kernel);
        let mut blocked = false;
        let template = self.header();
        let (host, counters) = (&mut *means.host, &mut *means.counters);
        host.udp_receive(self.host, |datagram: Arrived<'_>| {
            if left == 0 || blocked {
                return Taken::Later;
            }
            left -= 1;
            if !is_wanted {
                return Taken::Yes;
            }
            let header = DatagramHeader {
                peer: Some(datagram.from),
                local: Some(datagram.to.ip()),
                ttl: Some(datagram.ttl),
                tos: Some(datagram.tos),
                ..template
            };
            match push(&self.fd, &header, datagram.payload) {
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    blocked = true;
                    Taken::Later
                }
                // Gone programs are heard of by the hang-up.
                _ => {
                    counters.datagrams_in += 1;
                    Taken::Yes
                }
            }
        });
        self.blocked |= blocked;
        self.host_ready = left == 0 || blocked;
        left == 0
    }

    /// The program's own network → program.
    fn deliver_from_kernel(&mut self, means: &mut Means<'_>) -> bool {
        let Some(kernel) = &self.kernel else {
            return false;
        };
        if !self.blocked
            && let Some(frame) = self.undelivered.take()
            && let Err(Errno::AGAIN | Errno::NOBUFS) =
                rustix::net::send(&self.fd, &frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
        {
            self.undelivered = Some(frame);
            self.blocked = true;
        }
        let mut left = TURN;
        let mut failure = None;
        while self.kernel_ready && !self.blocked && left > 0 {
            left -= 1;
            match native::receive(kernel, means.scratch) {
                Ok(arrival) => {
                    if self.side == Some(Side::Lan) {
                        continue;
                    }
                    let payload = means.scratch.get(..arrival.len).unwrap_or_default();
                    let header = DatagramHeader {
                        peer: arrival.from,
                        local: arrival.to,
                        ttl: arrival.ttl,
                        tos: arrival.tos,
                        interface: arrival.interface,
                        ..self.header()
                    };
                    means.counters.datagrams_in_native += 1;
                    if let Err(Errno::AGAIN | Errno::NOBUFS) = push(&self.fd, &header, payload) {
                        self.blocked = true;
                        self.undelivered = Some([&header.emit(), payload].concat());
                    }
                }
                Err(Errno::AGAIN) => self.kernel_ready = false,
                Err(Errno::INTR) => {}
                // About an earlier datagram: what waits behind it is still to be read.
                Err(
                    errno @ (Errno::CONNREFUSED
                    | Errno::HOSTUNREACH
                    | Errno::NETUNREACH
                    | Errno::ACCESS
                    | Errno::MSGSIZE),
                ) => failure = Some(errno),
                Err(errno) => {
                    failure = Some(errno);
                    self.kernel_ready = false;
                }
            }
        }
        if let Some(errno) = failure {
            self.report(errno);
        }
        self.kernel_ready && !self.blocked
    }

    fn push(&self, header: &DatagramHeader, payload: &[u8]) -> Result<(), Errno> {
        push(&self.fd, header, payload)
    }
}

/// Puts one frame into a pair.
fn push(fd: &OwnedFd, header: &DatagramHeader, payload: &[u8]) -> Result<(), Errno> {
    let header = header.emit();
    rustix::net::sendmsg(
        fd,
        &[IoSlice::new(&header), IoSlice::new(payload)],
        &mut SendAncillaryBuffer::default(),
        SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
    )
    .map(drop)
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
