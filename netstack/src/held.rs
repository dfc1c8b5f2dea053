//! Datagrams that wait for the link address of their next hop.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::demux::SecretHash;
use crate::udp::UdpId;

/// Bytes that may wait for one neighbour; the oldest datagram goes first, as in Linux (unres_qlen_bytes).
const PER_HOP: usize = 256 << 10;
/// Bytes that may wait for all neighbours together.
const TOTAL: usize = 4 << 20;
/// What a datagram costs beside its bytes.
const OVERHEAD: usize = 128;

/// A packet and who sent it.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) socket: UdpId,
    pub(crate) to: SocketAddr,
    pub(crate) packet: Vec<u8>,
}

/// Packets by next hop.
#[derive(Debug)]
pub(crate) struct HeldBack {
    hops: HashMap<IpAddr, Hop, SecretHash>,
    used: usize,
}

#[derive(Debug, Default)]
struct Hop {
    packets: VecDeque<Waiting>,
    used: usize,
}

impl HeldBack {
    pub(crate) fn new(hash: SecretHash) -> HeldBack {
        HeldBack {
            hops: HashMap::with_hasher(hash),
            used: 0,
        }
    }

    /// Whether something waits for a neighbour already, so that it has been asked for.
    pub(crate) fn has(&self, hop: IpAddr) -> bool {
        self.hops.contains_key(&hop)
    }

    /// Keeps a packet. Returns how many had to go for it: the oldest for its hop or, when there are too many in all, for
    /// the hop that has most, so that who calls for the dead does not silence the others.
    pub(crate) fn push(&mut self, hop: IpAddr, waiting: Waiting) -> u64 {
        let cost = waiting.packet.len() + OVERHEAD;
        let mut lost = 0;
        while self
            .hops
            .get(&hop)
            .is_some_and(|queue| queue.used + cost > PER_HOP)
        {
            lost += self.drop_oldest(hop);
        }
        while self.used + cost > TOTAL
            && let Some(fullest) = self.fullest()
        {
            lost += self.drop_oldest(fullest);
        }
        let queue = self.hops.entry(hop).or_default();
        queue.used += cost;
        self.used += cost;
        queue.packets.push_back(waiting);
        lost
    }

    fn fullest(&self) -> Option<IpAddr> {
        let (hop, queue) = self.hops.iter().max_by_key(|(_, queue)| queue.used)?;
        Some(*hop).filter(|_| queue.used > 0)
    }

    fn drop_oldest(&mut self, hop: IpAddr) -> u64 {
        let Some(queue) = self.hops.get_mut(&hop) else {
            return 0;
        };
        let Some(oldest) = queue.packets.pop_front() else {
            return 0;
        };
        let cost = oldest.packet.len() + OVERHEAD;
        queue.used -= cost;
        self.used -= cost;
        1
    }

    /// Takes what waits for a neighbour, oldest first.
    pub(crate) fn take(&mut self, hop: IpAddr) -> VecDeque<Waiting> {
        let Some(queue) = self.hops.remove(&hop) else {
            return VecDeque::new();
        };
        self.used -= queue.used;
        queue.packets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(len: usize, mark: u8) -> Waiting {
        Waiting {
            socket: UdpId::from_u64(1),
            to: SocketAddr::from(([10, 0, 0, 9], 53)),
            packet: vec![mark; len],
        }
    }

    fn hop(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    #[test]
    fn a_hop_keeps_its_newest() {
        let mut held = HeldBack::new(SecretHash::new(1));
        let lost: u64 = (0..100)
            .map(|n| held.push(hop(1), waiting(10_000, n)))
            .sum();
        let kept = held.take(hop(1));
        assert_eq!(kept.len() as u64 + lost, 100);
        assert_eq!(kept.len(), PER_HOP / (10_000 + OVERHEAD));
        assert_eq!(kept.back().expect("some").packet[0], 99);
        assert_eq!((held.used, held.has(hop(1))), (0, false));
    }

    #[test]
    fn many_dead_hops_do_not_silence_another() {
        let mut held = HeldBack::new(SecretHash::new(1));
        held.push(hop(0), waiting(100, 7));
        for n in 0..2000u16 {
            held.push(hop(1 + n % 50), waiting(60_000, 1));
            assert!(held.used <= TOTAL);
        }
        held.push(hop(0), waiting(100, 8));
        let marks: Vec<_> = held.take(hop(0)).iter().map(|w| w.packet[0]).collect();
        assert_eq!(marks, [7, 8]);
    }
}
