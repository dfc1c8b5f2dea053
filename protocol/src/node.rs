//! One node: VL1 and VL2 joined behind the five verbs of a sans-IO core.
//!
//! The owner feeds datagrams and the time, drains transmissions and events, and calls again when
//! [`Node::deadline`] has passed. Frames for the owner's networks are lent to a closure while the
//! datagram that carried them is still in the owner's buffer: nothing is copied on the way.
//!
//! A node is also one half of a network controller: it authenticates requests for networks whose
//! id begins with its address and hands them out as [`Event::ConfigRequest`]; deciding about them
//! is the owner's part.

mod event;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

pub use event::{ConfigAnswer, ConfigRequest, Event, Ticket};

use crate::vl1::{LocalSocket, Scratch, Transmit, Vl1, Vl1Event};
use crate::vl2::{Frame, FrameSink, NetworkStatus, Vl2};
use crate::{Address, Mac, MulticastGroup, NetworkId, SecretIdentity, Time, World};

/// A ZeroTier node.
pub struct Node {
    vl1: Vl1,
    vl2: Vl2,
    scratch: Scratch,
    events: VecDeque<Event>,
}

impl Node {
    /// A node that knows nothing but itself and its planet. `seed` is fresh randomness.
    pub fn new(now: Time, identity: SecretIdentity, planet: World, seed: [u8; 32]) -> Self {
        let vl2 = Vl2::new(identity.address(), seed);
        Self {
            vl1: Vl1::new(now, identity, planet, seed),
            vl2,
            scratch: Scratch::default(),
            events: VecDeque::new(),
        }
    }

    /// Feeds one datagram that arrived on `local` from `remote`. Its contents are destroyed;
    /// frames in it are lent to `frames`.
    pub fn handle_datagram(
        &mut self,
        now: Time,
        local: LocalSocket,
        remote: SocketAddr,
        datagram: &mut [u8],
        frames: FrameSink<'_>,
    ) {
        let Self {
            vl1, vl2, scratch, ..
        } = self;
        if let Some(inbound) = vl1.handle_datagram(now, local, remote, datagram, scratch) {
            vl2.handle_packet(now, vl1, &inbound, frames);
        }
        self.settle(now, frames);
    }

    /// Runs every timer that is due. Frames that had to wait for something are lent to `frames`.
    pub fn handle_timeout(&mut self, now: Time, frames: FrameSink<'_>) {
        self.vl1.handle_timeout(now);
        self.vl2.handle_timeout(now, &mut self.vl1, frames);
        self.settle(now, frames);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn deadline(&self) -> Option<Time> {
        self.vl1
            .deadline()
            .into_iter()
            .chain(self.vl2.deadline())
            .min()
    }

    /// The next batch to send, or `None`. The same batch comes again until
    /// [`transmit_done`](Self::transmit_done) is called.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.vl1.poll_transmit()
    }

    /// The batch that [`poll_transmit`](Self::poll_transmit) showed was sent, or given up.
    pub fn transmit_done(&mut self) {
        self.vl1.transmit_done();
    }

    /// Whether so much waits to be sent that the owner should not hand in more frames.
    pub fn congested(&self) -> bool {
        self.vl1.congested()
    }

    /// The next thing the owner must know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.vl2.poll_event())
    }

    /// Joins a network, which is idempotent. `cached` is the configuration stored by an earlier
    /// run ([`Event::ConfigStored`]); it is used until the controller answers.
    pub fn join(&mut self, now: Time, network: NetworkId, cached: Option<&[u8]>) {
        self.vl2.join(now, &mut self.vl1, network, cached);
    }

    /// Sets the secret that is shown to the controller of a joined network, which may authorise
    /// this node because of it (VL2 §5.4).
    pub fn set_join_token(&mut self, now: Time, network: NetworkId, token: Option<String>) {
        self.vl2.set_join_token(now, &mut self.vl1, network, token);
    }

    /// Leaves a network; `false` if it was not joined.
    pub fn leave(&mut self, network: NetworkId) -> bool {
        self.vl2.leave(network)
    }

    /// The joined networks, by ascending id.
    pub fn networks(&self) -> Vec<NetworkStatus> {
        self.vl2.networks()
    }

    /// One joined network.
    pub fn network(&self, network: NetworkId) -> Option<NetworkStatus> {
        self.vl2.network(network)
    }

    /// Sets the multicast groups that the owner listens to on a network: the address-resolution
    /// groups of its addresses, and whatever programs joined. New ones are announced at once.
    pub fn set_groups(&mut self, now: Time, network: NetworkId, groups: &[MulticastGroup]) {
        self.vl2.set_groups(now, &mut self.vl1, network, groups);
    }

    /// Sends a frame of any kind. A frame that the network's rules refuse, or for which there is
    /// no way, is dropped and counted.
    pub fn send_frame(&mut self, now: Time, network: NetworkId, frame: Frame<'_>) {
        self.vl2.send_frame(now, &mut self.vl1, network, frame);
    }

    /// Sends `count` frames from this node's own MAC to `dst`, which all belong to one flow: the
    /// network's rules are asked once, with the first frame, unless they look at what may differ
    /// within a flow.
    ///
    /// `len` tells the payload length of the n-th frame and `fill` writes it straight into its
    /// packet; `fill` may be called more than once for a frame and must write the same each time.
    #[expect(clippy::too_many_arguments, reason = "a frame header, spelled out")]
    pub fn send_burst(
        &mut self,
        now: Time,
        network: NetworkId,
        dst: Mac,
        ethertype: u16,
        count: usize,
        len: impl Fn(usize) -> usize,
        fill: impl FnMut(usize, &mut [u8]),
    ) {
        self.vl2.send_burst(
            now,
            &mut self.vl1,
            network,
            dst,
            ethertype,
            count,
            len,
            fill,
        );
    }

    /// Answers an [`Event::ConfigRequest`].
    pub fn answer_config_request(&mut self, now: Time, ticket: Ticket, answer: ConfigAnswer) {
        self.vl2
            .answer_config_request(now, &mut self.vl1, ticket, answer);
    }

    /// As controller, sends a member a configuration that it did not ask for.
    pub fn push_config(
        &mut self,
        now: Time,
        network: NetworkId,
        member: Address,
        dictionary: &[u8],
    ) {
        self.vl2
            .push_config(now, &mut self.vl1, network, member, dictionary);
    }

    /// As controller, sends a signed revocation to `targets`.
    pub fn send_revocation(
        &mut self,
        now: Time,
        network: NetworkId,
        targets: &[Address],
        revocation: &[u8],
    ) {
        self.vl2
            .send_revocation(now, &mut self.vl1, network, targets, revocation);
    }

    /// Tells the node its physical addresses, so that it can tell its peers.
    pub fn set_local_addresses(&mut self, addresses: &[SocketAddr]) {
        self.vl1.set_local_addresses(addresses);
    }

    /// Address prefixes that must not be used as physical paths: those of virtual networks.
    pub fn set_excluded(&mut self, prefixes: &[(IpAddr, u8)]) {
        self.vl1.set_excluded(prefixes);
    }

    /// Peers, paths and roots.
    pub fn vl1(&self) -> &Vl1 {
        &self.vl1
    }

    /// Peers, paths and roots, for what concerns them alone: a newer planet, for instance.
    pub fn vl1_mut(&mut self) -> &mut Vl1 {
        &mut self.vl1
    }

    /// Networks.
    pub fn vl2(&self) -> &Vl2 {
        &self.vl2
    }

    /// Treats packets that became readable, and VL1's news.
    fn settle(&mut self, now: Time, frames: FrameSink<'_>) {
        let Self {
            vl1,
            vl2,
            scratch,
            events,
        } = self;
        while let Some(inbound) = vl1.poll_parked(now, scratch) {
            vl2.handle_packet(now, vl1, &inbound, frames);
        }
        while let Some(event) = vl1.poll_event() {
            match event {
                Vl1Event::UpstreamReachable(_) => vl2.upstream_reachable(now, vl1),
                Vl1Event::IdentityKnown(peer) | Vl1Event::PeerSeen(peer) => {
                    vl2.peer_known(now, vl1, peer, frames);
                }
                _ => {}
            }
            events.push_back(Event::Vl1(event));
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("address", &self.vl1.address())
            .finish_non_exhaustive()
    }
}
