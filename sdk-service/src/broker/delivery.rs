//! Towards the program: datagrams of the LAN and of its own network, into the pair.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use zt_netstack::{Datagram as Arrived, Taken};
use zt_socket_rpc::{DatagramHeader, Kind, LAN_INTERFACE, Reach};

use super::burst::{self, Frame};
use super::datagram::{Datagram, Means, TURN};
use super::{echo, native};

impl Datagram {
    /// LAN → program.
    pub(super) fn deliver_from_host(&mut self, means: &mut Means<'_>) -> bool {
        if self.blocked || !self.host_ready {
            return false;
        }
        let mut left = TURN;
        while left > 0 {
            if self.side.is_some() {
                means.host.udp_receive(self.host, |datagram| {
                    if self.takes_from_lan(datagram.from) {
                        Taken::Later
                    } else {
                        Taken::Yes
                    }
                });
            }
            let waiting: Vec<Arrived<'_>> = means
                .host
                .udp_waiting(self.host)
                .take(left.min(burst::MOST))
                .take_while(|datagram| self.takes_from_lan(datagram.from))
                .collect();
            if waiting.is_empty() {
                self.host_ready = false;
                return false;
            }
            let taken = match self.push_burst(&waiting) {
                Ok(taken) => taken,
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    self.blocked = true;
                    return false;
                }
                // Gone programs are heard of by the hang-up.
                Err(_) => waiting.len(),
            };
            means.host.udp_consume(self.host, taken);
            means.counters.datagrams_in += taken as u64;
            left -= taken;
        }
        true
    }

    /// Puts datagrams of the LAN into the pair; how many it took.
    fn push_burst(&self, waiting: &[Arrived<'_>]) -> Result<usize, Errno> {
        let template = self.header();
        let is_raw = self.entry.kind == Kind::RawEcho;
        let beginnings: Vec<_> = waiting
            .iter()
            .filter(|_| is_raw)
            .map(|datagram| echo::Beginning::of(datagram, self.identifier))
            .collect();
        let frames: Vec<Frame<'_>> = waiting
            .iter()
            .enumerate()
            .map(|(index, datagram)| {
                let header = match self.answered_for(datagram.from) {
                    Some(server) => DatagramHeader {
                        peer: Some(server),
                        ..template
                    },
                    None => DatagramHeader {
                        peer: Some(datagram.from),
                        local: Some(datagram.to.ip()),
                        ttl: Some(datagram.ttl),
                        tos: Some(datagram.tos),
                        interface: LAN_INTERFACE,
                        ..template
                    },
                };
                let payload = match beginnings.get(index) {
                    Some(Some(beginning)) => {
                        let rest = datagram.payload.get(echo::Beginning::REPLACES..);
                        [beginning.as_bytes(), rest.unwrap_or_default()]
                    }
                    _ => [datagram.payload, &[]],
                };
                let header = header.emit();
                Frame { header, payload }
            })
            .collect();
        burst::send(&self.fd, &frames)
    }

    /// The program's own network → program.
    pub(super) fn deliver_from_kernel(&mut self, means: &mut Means<'_>) -> bool {
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
                    if self.side == Some(Reach::Lan) {
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
                    let pushed = push(&self.fd, &header, payload);
                    if let Err(Errno::AGAIN | Errno::NOBUFS) = pushed {
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
}

/// Puts one frame into a pair.
pub(super) fn push(fd: &OwnedFd, header: &DatagramHeader, payload: &[u8]) -> Result<(), Errno> {
    let header = header.emit();
    rustix::net::sendmsg(
        fd,
        &[&header[..], payload].map(IoSlice::new),
        &mut SendAncillaryBuffer::default(),
        SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
    )
    .map(drop)
}
