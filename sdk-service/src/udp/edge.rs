//! The set of sockets, and the ids by which the rest of the program speaks of them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use super::SocketId;
use super::receive::ReceiveBuffers;
use super::send::{self, Attempt, Outgoing, SendOutcome};
use super::socket::{Socket, UdpConfig};

/// How often `-p0` tries to find one port that is free in both families.
const PORT_ATTEMPTS: usize = 16;

/// A way out: a socket, and the source address to insist on.
#[derive(Clone, Copy, Debug)]
struct Local {
    socket: usize,
    source: Option<IpAddr>,
}

/// What one receive call brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Datagrams handed over.
    pub datagrams: usize,
    /// Every buffer was filled: call again, more may be waiting.
    pub more: bool,
}

/// Datagrams in and out since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams received.
    pub received: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Batches handed to the kernel.
    pub batches: u64,
    /// Bytes handed to the kernel.
    pub sent_bytes: u64,
    /// Batches the kernel refused to route or carry.
    pub refused: u64,
}

/// All UDP sockets of the service.
pub struct UdpEdge {
    sockets: Vec<Socket>,
    /// Indexed by `SocketId`; the first entries are the sockets themselves, in order.
    locals: Vec<Local>,
    by_address: HashMap<(usize, IpAddr), SocketId>,
    addresses: Vec<IpAddr>,
    multihomed: [bool; 2],
    buffers: ReceiveBuffers,
    /// How far the batch on offer got before a socket was full.
    progress: Progress,
    traffic: Traffic,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    socket: usize,
    datagrams: usize,
}

impl UdpEdge {
    /// Opens the sockets. Either family may be missing on this machine, but not both; the primary
    /// port must be free, the secondary is taken if it is.
    pub fn open(config: &UdpConfig) -> io::Result<Self> {
        let mut sockets = bind_pair(config.port, config.offload)?;
        if let Some(port) = config.secondary_port {
            sockets.extend(bind_pair(port, config.offload).unwrap_or_default());
        }
        let locals = (0..sockets.len())
            .map(|socket| Local {
                socket,
                source: None,
            })
            .collect();
        Ok(Self {
            sockets,
            locals,
            by_address: HashMap::new(),
            addresses: Vec::new(),
            multihomed: [false; 2],
            buffers: ReceiveBuffers::new(),
            progress: Progress::default(),
            traffic: Traffic::default(),
        })
    }

    /// The descriptor of each socket, for readiness; the position is the index that [`receive`] wants.
    ///
    /// [`receive`]: Self::receive
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(|socket| socket.fd.as_fd())
    }

    /// The port that peers are told.
    pub fn primary_port(&self) -> u16 {
        self.sockets.first().map_or(0, |socket| socket.port)
    }

    /// Every bound port, once.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.sockets.iter().map(|socket| socket.port).collect();
        ports.dedup();
        ports
    }

    /// The smallest receive buffer granted, in bytes. What peers may have in flight towards us
    /// together must stay below it: the wire gives a sender on this machine no push-back.
    pub fn receive_buffer(&self) -> usize {
        self.sockets
            .iter()
            .map(|socket| socket.receive_buffer)
            .min()
            .unwrap_or(0)
    }

    /// Traffic so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Tells the edge this host's addresses; with more than one of a family, replies are pinned to
    /// the address that was spoken to.
    pub fn set_addresses(&mut self, addresses: &[IpAddr]) {
        self.addresses = addresses.to_vec();
        for v6 in [false, true] {
            let routable = addresses
                .iter()
                .filter(|ip| ip.is_ipv6() == v6 && !ip.is_loopback());
            self.multihomed[usize::from(v6)] = routable.count() > 1;
        }
        for (&(_, ip), id) in &self.by_address {
            if let Some(local) = self.locals.get_mut(id.0 as usize) {
                // An address that went away can be no source; the kernel then chooses.
                local.source = addresses.contains(&ip).then_some(ip);
            }
        }
    }

    /// Receives one batch from a socket and lends out each datagram.
    pub fn receive(
        &mut self,
        socket: usize,
        mut each: impl FnMut(SocketId, SocketAddr, &mut [u8]),
    ) -> io::Result<Received> {
        let Some(source) = self.sockets.get(socket) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let multihomed = self.multihomed[usize::from(source.v6)];
        let (locals, by_address, addresses) =
            (&mut self.locals, &mut self.by_address, &self.addresses);
        let traffic = &mut self.traffic;
        let mut datagrams = 0;
        let more = self.buffers.receive(source, |arrival| {
            let known = arrival
                .destination
                .filter(|ip| multihomed && addresses.contains(ip));
            let id = known.map_or(SocketId(socket as u32), |ip| {
                *by_address.entry((socket, ip)).or_insert_with(|| {
                    locals.push(Local {
                        socket,
                        source: Some(ip),
                    });
                    SocketId(locals.len() as u32 - 1)
                })
            });
            traffic.received_bytes += arrival.bytes.len() as u64;
            for datagram in arrival.bytes.chunks_mut(arrival.segment) {
                datagrams += 1;
                each(id, arrival.remote, datagram);
            }
        })?;
        self.traffic.received += datagrams as u64;
        Ok(Received { datagrams, more })
    }

    /// Sends one batch. After [`SendOutcome::WouldBlock`] the caller offers the same batch again.
    pub fn send(&mut self, batch: &Outgoing<'_>) -> SendOutcome {
        let outcome = match batch
            .local
            .and_then(|id| self.locals.get(id.0 as usize).copied())
        {
            Some(local) => self.send_from(local, batch),
            None => self.send_from_all(batch),
        };
        if outcome == SendOutcome::Done {
            self.progress = Progress::default();
        }
        outcome
    }

    fn send_from(&mut self, local: Local, batch: &Outgoing<'_>) -> SendOutcome {
        let Some(socket) = self.sockets.get_mut(local.socket) else {
            return SendOutcome::Done;
        };
        if socket.v6 != batch.remote.is_ipv6() {
            self.traffic.refused += 1;
            return SendOutcome::Done;
        }
        match send::send(socket, local.source, batch, &mut self.progress.datagrams) {
            Attempt::Done => {
                self.traffic.batches += 1;
                self.traffic.sent_bytes += batch.payload.len() as u64;
                SendOutcome::Done
            }
            Attempt::WouldBlock => SendOutcome::WouldBlock,
            Attempt::Lost(error) => {
                tracing::trace!(remote = %batch.remote, %error, "batch refused");
                self.traffic.refused += 1;
                SendOutcome::Done
            }
        }
    }

    fn send_from_all(&mut self, batch: &Outgoing<'_>) -> SendOutcome {
        while self.progress.socket < self.sockets.len() {
            let socket = self.progress.socket;
            let fits = self
                .sockets
                .get(socket)
                .is_some_and(|socket| socket.v6 == batch.remote.is_ipv6());
            if fits
                && self.send_from(
                    Local {
                        socket,
                        source: None,
                    },
                    batch,
                ) == SendOutcome::WouldBlock
            {
                return SendOutcome::WouldBlock;
            }
            self.progress = Progress {
                socket: socket + 1,
                datagrams: 0,
            };
        }
        SendOutcome::Done
    }

    /// The socket on which the batch on offer is waiting for room.
    pub fn blocked_socket(&self, batch: &Outgoing<'_>) -> Option<usize> {
        match batch.local {
            Some(id) => self.locals.get(id.0 as usize).map(|local| local.socket),
            None => Some(self.progress.socket),
        }
    }
}

/// One socket a family on the same port.
fn bind_pair(port: u16, offload: bool) -> io::Result<Vec<Socket>> {
    let mut last = None;
    for _ in 0..PORT_ATTEMPTS {
        let v4 = match Socket::bind(false, port, offload) {
            Ok(socket) => Some(socket),
            Err(error) if family_missing(&error) => None,
            Err(error) => return Err(error),
        };
        let chosen = v4.as_ref().map_or(port, |socket| socket.port);
        match Socket::bind(true, chosen, offload) {
            Ok(v6) => return Ok(v4.into_iter().chain([v6]).collect()),
            Err(error) if family_missing(&error) && v4.is_some() => {
                return Ok(v4.into_iter().collect());
            }
            // Another program has this port in the other family: with a free choice, choose again.
            Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse => {
                last = Some(error)
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

fn family_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT | libc::EINVAL)
    )
}

#[cfg(test)]
mod tests;
