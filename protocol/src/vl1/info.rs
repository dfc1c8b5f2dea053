//! What displays show of the peers.

use super::{LocalSocket, Vl1};
use crate::verb::Version;
use crate::{Address, Identity, Time};
use std::net::SocketAddr;

/// One peer, as `listpeers` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerInfo {
    /// Its address.
    pub address: Address,
    /// Its identity.
    pub identity: Identity,
    /// What it runs, once it said so.
    pub version: Option<Version>,
    /// Round trip of the best path in milliseconds, if it was measured.
    pub latency: Option<u32>,
    /// Whether it is a root of our planet.
    pub is_root: bool,
    /// When it was last heard of, directly or by a relay.
    pub last_receive: Time,
    /// Its direct paths.
    pub paths: Vec<PathInfo>,
}

/// One direct path of a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PathInfo {
    /// Our socket.
    pub local: LocalSocket,
    /// The peer's side.
    pub remote: SocketAddr,
    /// When something was last sent; [`Time::NEVER`] if nothing was.
    pub last_send: Time,
    /// When the peer was last heard of here.
    pub last_receive: Time,
    /// Whether something came lately and no question goes unanswered.
    pub active: bool,
    /// Whether it is too old to be used.
    pub expired: bool,
    /// Whether packets take it now.
    pub preferred: bool,
}

impl Vl1 {
    /// All known peers.
    pub fn peers(&self, now: Time) -> impl Iterator<Item = PeerInfo> + '_ {
        self.peers.values().map(move |peer| {
            let best = peer.best_path(now, &self.paths, |_| true);
            let paths = peer.paths().iter().filter_map(|entry| {
                let path = self.paths.get(entry.id)?;
                Some(PathInfo {
                    local: path.local,
                    remote: path.remote,
                    last_send: path.last_out,
                    last_receive: entry.last_receive,
                    active: path.is_alive(now) && !path.is_silent(now),
                    expired: now.since(entry.last_receive) >= super::peer::PATH_EXPIRATION,
                    preferred: best == Some(entry.id),
                })
            });
            PeerInfo {
                address: peer.identity.address(),
                identity: peer.identity,
                version: peer.version,
                latency: best.and_then(|id| self.paths.get(id)?.latency()),
                is_root: peer.is_upstream,
                last_receive: peer.last_receive,
                paths: paths.collect(),
            }
        })
    }

    /// One peer.
    pub fn peer(&self, now: Time, address: Address) -> Option<PeerInfo> {
        self.peers(now).find(|peer| peer.address == address)
    }
}
