//! What the tests of datagrams share: sockets bound in few words, and what they received.

use std::net::{IpAddr, SocketAddr};

use zt_netstack::{
    Host, HostEvent, ListenAddr, SendOptions, Sharing, Taken, UdpEvent, UdpId, UdpSendError,
};

use crate::wire::{Wire, ip, ip6};

/// A datagram that was received: its sender and its bytes.
pub(crate) type Received = (SocketAddr, Vec<u8>);

/// The address of a host in one of the families.
pub(crate) fn address(v6: bool, host: usize) -> IpAddr {
    if v6 { ip6(host) } else { ip(host) }
}

pub(crate) fn at(ip: Option<IpAddr>, port: u16) -> ListenAddr {
    ListenAddr { ip, port }
}

pub(crate) const REUSE_ADDRESS: Sharing = Sharing {
    reuse_address: true,
    reuse_port: false,
};

impl Wire {
    /// A socket on all addresses.
    pub(crate) fn udp(&mut self, host: usize, port: u16) -> UdpId {
        self.udp_at(host, at(None, port), Sharing::default())
    }

    pub(crate) fn udp_at(&mut self, host: usize, local: ListenAddr, sharing: Sharing) -> UdpId {
        let (id, bound) = self.hosts[host]
            .udp_bind(local, sharing)
            .expect("a free port");
        assert!(local.port == 0 || bound.port() == local.port);
        id
    }

    pub(crate) fn send_udp(
        &mut self,
        host: usize,
        id: UdpId,
        to: SocketAddr,
        payload: &[u8],
    ) -> Result<(), UdpSendError> {
        let now = self.now;
        self.hosts[host].udp_send(now, id, None, to, payload, SendOptions::default())
    }

    /// All that a socket has received.
    pub(crate) fn received(&mut self, host: usize, id: UdpId) -> Vec<Received> {
        received(&mut self.hosts[host], id)
    }

    pub(crate) fn payloads(&mut self, host: usize, id: UdpId) -> Vec<Vec<u8>> {
        let received = self.received(host, id);
        received.into_iter().map(|(_, payload)| payload).collect()
    }

    /// What sockets of a host had to tell.
    pub(crate) fn udp_events(&self, host: usize) -> Vec<(UdpId, UdpEvent)> {
        let events = self.events(host);
        let udp = events.into_iter().filter_map(|event| match event {
            HostEvent::Udp(id, event) => Some((id, event)),
            _ => None,
        });
        udp.collect()
    }
}

pub(crate) fn received(host: &mut Host, id: UdpId) -> Vec<Received> {
    let mut all = Vec::new();
    host.udp_receive(id, |datagram| {
        all.push((datagram.from, datagram.payload.to_vec()));
        Taken::Yes
    });
    all
}
