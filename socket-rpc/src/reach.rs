//! Which of a program's two networks a datagram is for.
//!
//! What is for one goes where its address is: on the LAN if the LAN's routes lead there. What is for many has no such
//! place. An interface that was named decides: by `IP_PKTINFO`, by a scope id, or, for groups, by `IP_MULTICAST_IF`. Where
//! none was, both networks get it, as a listener serves both.

use core::net::{IpAddr, SocketAddr};

use crate::LAN_INTERFACE;
use crate::options::Options;
use crate::table::Table;

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// By the LAN.
    Lan,
    /// By the container's own network.
    Own,
    /// By both.
    Both,
}

/// The interface that a datagram shall leave by, 0 if none was named; `asked` is that of its control messages.
pub fn interface_of(to: SocketAddr, asked: u32, options: &Options) -> u32 {
    let scope = match to {
        SocketAddr::V6(to) => to.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let of_groups = if to.ip().is_multicast() {
        u32::from(options.multicast_interface)
    } else {
        0
    };
    [asked, scope, of_groups]
        .into_iter()
        .find(|&index| index != 0)
        .unwrap_or(0)
}

/// Whether an address is that of a group, or of everybody on whatever link.
pub fn is_for_many(ip: IpAddr) -> bool {
    ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

impl Table<'_> {
    /// Which network a datagram is for that shall leave by `interface`, or by any (0).
    pub fn reach(&self, to: IpAddr, interface: u32) -> Reach {
        if to.is_loopback() || to.is_unspecified() {
            return Reach::Own;
        }
        match interface {
            LAN_INTERFACE => Reach::Lan,
            0 if is_for_many(to) => Reach::Both,
            0 if self.routes_to(to) || self.is_own(to) => Reach::Lan,
            _ => Reach::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;
    use std::vec::Vec;

    use super::*;
    use crate::Prefix;
    use crate::table::{TABLE_WORDS, TableWriter};

    #[test]
    fn an_interface_counts_more_than_an_address() {
        let words: Vec<AtomicU64> = (0..TABLE_WORDS).map(|_| AtomicU64::new(0)).collect();
        let words: &[AtomicU64; TABLE_WORDS] = words.as_slice().try_into().unwrap();
        let mut writer = TableWriter::new(words, 1);
        let lan = Prefix {
            address: "10.77.0.1".parse().unwrap(),
            length: 24,
        };
        writer.set_lan(&[lan], &[lan], &[]);
        let table = writer.reader();
        for (to, interface, reach) in [
            ("10.77.0.9:1", 0, Reach::Lan),
            ("10.77.0.255:1", 0, Reach::Lan),
            ("10.77.0.9:1", 2, Reach::Own),
            ("192.0.2.1:1", 0, Reach::Own),
            ("192.0.2.1:1", LAN_INTERFACE, Reach::Lan),
            ("127.0.0.1:1", LAN_INTERFACE, Reach::Own),
            ("255.255.255.255:1", 0, Reach::Both),
            ("224.0.0.251:1", 0, Reach::Both),
            ("224.0.0.251:1", 2, Reach::Own),
            ("[ff02::fb]:1", LAN_INTERFACE, Reach::Lan),
        ] {
            let to: SocketAddr = to.parse().unwrap();
            assert_eq!(table.reach(to.ip(), interface), reach, "{to} {interface}");
        }
        assert!(table.is_broadcast("10.77.0.255".parse().unwrap()));
        assert!(!table.is_broadcast("10.77.0.254".parse().unwrap()));
        assert_eq!(table.own_v4(), Some("10.77.0.1".parse().unwrap()));
    }

    #[test]
    fn the_nearest_naming_of_an_interface_holds() {
        let options = Options {
            multicast_interface: 5,
            ..Options::default()
        };
        for (to, asked, interface) in [
            ("[ff02::fb%3]:1", 4, 4),
            ("[ff02::fb%3]:1", 0, 3),
            ("[ff02::fb]:1", 0, 5),
            ("224.0.0.251:1", 0, 5),
            ("10.0.0.1:1", 0, 0),
        ] {
            let to: SocketAddr = to.parse().unwrap();
            assert_eq!(interface_of(to, asked, &options), interface, "{to}");
        }
    }
}
