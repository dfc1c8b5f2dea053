//! What a host is told from outside: its link address, MTU, addresses, routes and buffer sizes.

use std::net::{IpAddr, SocketAddr};

/// An address with the length of the prefix that is reachable on the link, such as 10.0.0.7/24.
pub type IpCidr = (IpAddr, u8);

/// Everything that the network decides about a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Link address of this host.
    pub mac: [u8; 6],
    /// Largest IP packet in bytes; values below 576 count as 576.
    pub mtu: usize,
    /// Own addresses, each with its on-link prefix length.
    pub addresses: Vec<IpCidr>,
    /// Routes beside those that the addresses imply.
    pub routes: Vec<Route>,
}

/// A route to a prefix: on the link, or by a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination prefix.
    pub prefix: IpCidr,
    /// The next hop; `None` if the prefix is on the link.
    pub via: Option<IpAddr>,
}

/// Ring sizes of a TCP flow in bytes. The memory is reserved, not spent: an idle flow costs a page or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Receive ring: the largest window that a peer may fill. The window scale follows from it.
    pub receive: usize,
    /// Send ring: what may wait for the network or for an acknowledgement.
    pub send: usize,
    /// Both rings where an earlier connection to the same neighbour took longer than a LAN's round trip. A smaller
    /// `receive` than the default is respected here too, as it means that no more can be taken at once.
    pub long_path: usize,
}

impl Default for Buffers {
    /// 1 MiB each: the size with the best throughput where the round trip is short. Larger rings fall out of the cache.
    fn default() -> Self {
        Buffers {
            receive: 1 << 20,
            send: 1 << 20,
            long_path: 4 << 20,
        }
    }
}

/// Where a listener accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddr {
    /// One own address; an unspecified one for all of its family; `None` for all of both.
    pub ip: Option<IpAddr>,
    /// The port; 0 takes a free one.
    pub port: u16,
}

impl From<SocketAddr> for ListenAddr {
    /// As in Linux without IPV6_V6ONLY: `0.0.0.0` means all of IPv4, `::` all of both families.
    fn from(addr: SocketAddr) -> Self {
        ListenAddr {
            ip: Some(addr.ip()).filter(|ip| ip.is_ipv4() || !ip.is_unspecified()),
            port: addr.port(),
        }
    }
}

impl ListenAddr {
    /// Whether connections to `ip` come here.
    pub(crate) fn covers(&self, ip: IpAddr) -> bool {
        self.ip
            .is_none_or(|own| own == ip || own.is_unspecified() && own.is_ipv4() == ip.is_ipv4())
    }

    /// Whether there is an address that both would take.
    pub(crate) fn overlaps(&self, other: &ListenAddr) -> bool {
        self.port == other.port
            && match (self.ip, other.ip) {
                (Some(one), Some(two)) => self.covers(two) || other.covers(one),
                _ => true,
            }
    }
}

/// Times of a keep-alive, as in TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe.
    pub idle: std::time::Duration,
    /// Time between probes.
    pub interval: std::time::Duration,
    /// Unanswered probes before the connection counts as dead.
    pub count: u32,
}

impl Default for KeepAlive {
    /// The values of Linux: two hours, 75 seconds, nine probes.
    fn default() -> Self {
        use std::time::Duration;
        KeepAlive {
            idle: Duration::from_secs(7200),
            interval: Duration::from_secs(75),
            count: 9,
        }
    }
}
