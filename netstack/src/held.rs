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

    /// Keeps a packet. Returns how many had to go for it, itself included.
    pub(crate) fn push(&mut self, hop: IpAddr, waiting: Waiting) -> u64 {
        let cost = waiting.packet.len() + OVERHEAD;
        let queue = self.hops.entry(hop).or_default();
        let mut lost = 0;
        while queue.used + cost > PER_HOP
            && let Some(oldest) = queue.packets.pop_front()
        {
            queue.used -= oldest.packet.len() + OVERHEAD;
            self.used -= oldest.packet.len() + OVERHEAD;
            lost += 1;
        }
        if self.used + cost > TOTAL {
            return lost + 1;
        }
        queue.used += cost;
        self.used += cost;
        queue.packets.push_back(waiting);
        lost
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
