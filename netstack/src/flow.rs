//! One TCP connection: what the host keeps of it, and how its owner handles it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::KeepAlive;
use crate::event::{FlowId, ListenerId};
use crate::host::Host;
use crate::tcp::{Connection, Phase, Tally, Tcp};
use crate::time::Instant;

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Connect,
    Accept(ListenerId),
}

/// Whether a flow still has an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Present,
    /// Gave the flow up at this time; the connection winds down by itself.
    Gone(Instant),
}

/// A connection and its place in the host.
pub(crate) struct Flow {
    pub(crate) tcp: Connection,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Next hop.
    pub(crate) hop: IpAddr,
    pub(crate) origin: Origin,
    pub(crate) owner: Owner,
    /// When the handshake is given up.
    pub(crate) handshake_until: Instant,
    /// When the peer was last heard.
    pub(crate) heard: Instant,
    /// When the peer was last heard, or last owed nothing.
    pub(crate) lively: Instant,
    pub(crate) keepalive: Option<KeepAlive>,
    /// Probes go out.
    pub(crate) probing: bool,
    /// When the rings were in use last and should be looked at again.
    pub(crate) trim_at: Option<Instant>,
    /// The earliest entry in the timer queue.
    pub(crate) armed: Option<Instant>,
    pub(crate) marks: Marks,
}

/// Small facts about a flow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// In the queue of turns.
    pub(crate) queued: bool,
    /// Waits for the link address of the next hop.
    pub(crate) waiting: bool,
    /// The handshake succeeded.
    pub(crate) established: bool,
    /// The owner began something; the times that count from there are set in the next turn.
    pub(crate) begun: bool,
    /// The connection is over; only the owner keeps the flow.
    pub(crate) ended: bool,
    /// Sends nothing any more.
    pub(crate) muted: bool,
    /// The peer finished, and the owner was told.
    pub(crate) remote_finished: bool,
    /// The event is queued.
    pub(crate) readable: bool,
    /// The event is queued.
    pub(crate) writable: bool,
}

impl Flow {
    /// Whether the peer owes an acknowledgement.
    pub(crate) fn is_owed(&self) -> bool {
        self.tcp.send_queue() > 0
            || matches!(self.tcp.phase(), Phase::LocalFinishing | Phase::Closing)
    }

    /// Room at which a full send ring counts as writable: a quarter, so that the owner fills large pieces.
    pub(crate) fn writable_at(&self) -> usize {
        (self.tcp.send_capacity() / 4).max(1)
    }

    pub(crate) fn is_owned(&self) -> bool {
        self.owner == Owner::Present
    }
}

/// Flows by id. Ids of the same place differ by their generation.
#[derive(Default)]
pub(crate) struct FlowTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    // Boxed: the table grows and shrinks without moving flows.
    flow: Option<Box<Flow>>,
}

impl FlowTable {
    pub(crate) fn insert(&mut self, flow: Flow) -> FlowId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.flow = Some(Box::new(flow));
        FlowId {
            index,
            generation: slot.generation,
        }
    }

    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow> {
        let slot = self.slots.get(id.index as usize)?;
        slot.flow
            .as_deref()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.flow
            .as_deref_mut()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Box<Flow>> {
        self.get(id)?;
        self.free.push(id.index);
        self.slots[id.index as usize].flow.take()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = FlowId> + '_ {
        let used = self
            .slots
            .iter()
            .zip(0..)
            .filter(|(slot, _)| slot.flow.is_some());
        used.map(|(slot, index)| FlowId {
            index,
            generation: slot.generation,
        })
    }
}

/// How far a flow is, in few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// The handshake is not complete.
    Connecting,
    /// Bytes may flow in both directions.
    Open,
    /// The peer finished sending.
    RemoteFinished,
    /// This side finished sending.
    LocalFinished,
    /// Both sides finished, or the flow was reset, or never came to be.
    Closed,
}

/// What there is to know about a flow, for diagnostics and options such as TCP_INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowInfo {
    /// How far the flow is.
    pub state: FlowState,
    /// Bytes that wait for the network or for an acknowledgement.
    pub send_queue: usize,
    /// Bytes that wait to be read.
    pub recv_queue: usize,
    /// Largest TCP payload of a packet.
    pub segment: usize,
    /// How long the handshake took, if that could be told.
    pub round_trip: Option<Duration>,
    /// What went through so far.
    pub tally: Tally,
}

/// A flow, borrowed from its host.
pub struct FlowRef<'a> {
    pub(crate) host: &'a mut Host,
    pub(crate) id: FlowId,
}

impl FlowRef<'_> {
    fn flow(&self) -> &Flow {
        // Host::flow made sure of it, and the borrow keeps it so.
        self.host
            .flows
            .get(self.id)
            .expect("a borrowed flow exists")
    }

    fn flow_mut(&mut self) -> &mut Flow {
        self.host
            .flows
            .get_mut(self.id)
            .expect("a borrowed flow exists")
    }

    /// The name of this flow.
    #[must_use]
    pub fn id(&self) -> FlowId {
        self.id
    }

    /// Own address and port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.flow().local
    }

    /// Address and port of the peer.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.flow().remote
    }

    /// Lends the free part of the send ring up to its end; `fill` returns how much it wrote. Returns the same number;
    /// 0 without calling `fill` when there is no room or sending is over. Because the ring wraps, a second call may
    /// find more room.
    pub fn send_with(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let flow = self.flow_mut();
        if flow.marks.ended {
            return 0;
        }
        flow.marks.begun |= !flow.is_owed();
        let filled = flow.tcp.send_with(fill);
        if filled > 0 {
            self.host.queue_turn(self.id);
        }
        filled
    }

    /// Free bytes of the send ring; 0 if sending is over.
    #[must_use]
    pub fn send_room(&self) -> usize {
        let flow = self.flow();
        if flow.marks.ended {
            0
        } else {
            flow.tcp.send_room()
        }
    }

    /// Lends the received bytes up to the end of the ring; `take` returns how many it used. Returns the same number;
    /// 0 without calling `take` when there are none. Because the ring wraps, a second call may find more.
    pub fn recv_with(&mut self, take: impl FnOnce(&[u8]) -> usize) -> usize {
        let taken = self.flow_mut().tcp.recv_with(take);
        if taken > 0 {
            // The window may be worth announcing again.
            self.host.queue_turn(self.id);
        }
        taken
    }

    /// Received bytes that wait to be read.
    #[must_use]
    pub fn recv_len(&self) -> usize {
        self.flow().tcp.recv_queue()
    }

    /// Whether the peer finished sending and everything was read.
    #[must_use]
    pub fn at_end(&self) -> bool {
        let flow = self.flow();
        flow.marks.remote_finished && flow.tcp.recv_queue() == 0
    }

    /// Finishes sending: FIN after what is queued. Receiving goes on.
    pub fn finish(&mut self) {
        let flow = self.flow_mut();
        if flow.marks.ended || flow.tcp.phase() == Phase::Handshake {
            return;
        }
        flow.marks.begun |= !flow.is_owed();
        flow.tcp.finish();
        self.host.queue_turn(self.id);
    }

    /// Sends small pieces at once (TCP_NODELAY) instead of waiting for the acknowledgement of earlier ones.
    pub fn set_nodelay(&mut self, on: bool) {
        self.flow_mut().tcp.set_nodelay(on);
        self.host.queue_turn(self.id);
    }

    /// Probes a silent peer, or stops doing so.
    pub fn set_keepalive(&mut self, keepalive: Option<KeepAlive>) {
        let keepalive = keepalive.map(|keepalive| KeepAlive {
            idle: keepalive.idle.max(Duration::from_secs(1)),
            interval: keepalive.interval.max(Duration::from_secs(1)),
            count: keepalive.count.max(1),
        });
        let flow = self.flow_mut();
        flow.keepalive = keepalive;
        flow.probing = false;
        flow.tcp.set_keepalive(None);
        self.host.queue_turn(self.id);
    }

    /// A snapshot of the flow.
    #[must_use]
    pub fn info(&self) -> FlowInfo {
        let flow = self.flow();
        let state = match flow.tcp.phase() {
            _ if flow.marks.ended => FlowState::Closed,
            Phase::Handshake => FlowState::Connecting,
            Phase::Open => FlowState::Open,
            Phase::RemoteFinished => FlowState::RemoteFinished,
            Phase::LocalFinishing | Phase::LocalFinished => FlowState::LocalFinished,
            Phase::Closing | Phase::TimeWait | Phase::Closed => FlowState::Closed,
        };
        FlowInfo {
            state,
            send_queue: flow.tcp.send_queue(),
            recv_queue: flow.tcp.recv_queue(),
            segment: flow.tcp.segment_size(),
            round_trip: flow.tcp.round_trip(),
            tally: flow.tcp.tally(),
        }
    }

    /// Gives the flow up in good order, as `close()` does: what is queued is still sent, then FIN. If received bytes
    /// were not read, the peer gets a reset. The id is void from here on.
    pub fn close(self) {
        self.host.release(self.id, false);
    }

    /// Gives the flow up at once with a reset. The id is void from here on.
    pub fn abort(self) {
        self.host.release(self.id, true);
    }
}
