//! One connection: bytes between the service's half of a pair and a flow of the host.
//!
//! Nothing is buffered here. A full pair stops the reading of the flow, so the peer's window closes;
//! a full flow stops the reading of the pair, so the program's `write` waits.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};
use zt_netstack::{FlowId, FlowRef, KeepAlive};
use zt_socket_rpc::{Entry, Id, Options};

use super::budget::Lease;
use super::descriptor::{self, is_hung_up};

/// Bytes a stream may move in each direction before the others have their turn.
const TURN: usize = 512 << 10;

/// A connection of a program.
pub(super) struct Stream {
    /// The service's half of the pair.
    pub(super) fd: OwnedFd,
    pub(super) id: Id,
    pub(super) flow: FlowId,
    /// What the state table says.
    pub(super) entry: Entry,
    pub(super) connecting: Option<Connecting>,
    /// The pair may have bytes, or an end, to read.
    pub(super) readable: bool,
    /// The program's direction was seen to end behind what waits in the pair.
    pub(super) ending: bool,
    /// The pair is full.
    pub(super) blocked: bool,
    /// Nobody holds the program's half any more.
    pub(super) hung_up: bool,
    /// Waits for its turn.
    pub(super) queued: bool,
    /// The flow is over (reset or timed out): only received bytes are left to deliver.
    pub(super) flow_ended: bool,
    input: Input,
    /// The program does not want to read any more: what the peer sends is dropped.
    deaf: bool,
    /// The end of the peer's bytes was passed on.
    shut: bool,
    // Given back with the descriptor.
    pub(super) _lease: Lease,
}

/// An attempt to connect.
pub(super) struct Connecting {
    /// Bytes to take out of the pair when the connection is up.
    pub(super) plug: u32,
    /// The control connection that waits for the outcome.
    pub(super) answer: Option<OwnedFd>,
    // Given back when that connection has its answer.
    pub(super) lease: Option<Lease>,
}

/// How the program's direction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    /// End of file, passed on as FIN.
    Finished,
    /// Closed with bytes unread: the peer gets a reset.
    Reset,
}

/// What remains to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing until something happens.
    Idle,
    /// The turn was used up.
    Again,
    /// The pair became full: wake up when it has room.
    Blocked,
    /// The program is gone: the flow ends in good order.
    Close,
    /// The program left bytes unread: the flow ends with a reset.
    Abort,
    /// The flow is over and all is delivered.
    Over,
}

impl Stream {
    pub(super) fn new(
        fd: OwnedFd,
        id: Id,
        flow: FlowId,
        entry: Entry,
        connecting: Option<Connecting>,
        lease: Lease,
    ) -> Self {
        Self {
            fd,
            id,
            flow,
            entry,
            connecting,
            readable: false,
            ending: false,
            blocked: false,
            hung_up: false,
            queued: false,
            flow_ended: false,
            input: Input::Open,
            deaf: false,
            shut: false,
            _lease: lease,
        }
    }

    /// Takes the plug out of the pair: the program's half becomes writable.
    pub(super) fn unplug(&mut self, plug: u32, strays: &mut Vec<OwnedFd>) {
        if drain(&self.fd, plug, strays) {
            self.readable = true;
        } else {
            self.break_off();
        }
    }

    /// Whether the program's half was read to its end: closing ours cannot meet anything unread.
    pub(super) fn is_read_out(&self) -> bool {
        self.input != Input::Open
    }

    /// Whether the end of the peer's bytes was passed on.
    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    /// Moves bytes both ways for one turn.
    pub(super) fn run(&mut self, flow: &mut FlowRef<'_>, strays: &mut Vec<OwnedFd>) -> Verdict {
        let delivered = self.deliver(flow);
        let pulled = self.pull(flow, strays);
        if self.flow_ended {
            return match delivered {
                Progress::Partial => Verdict::Again,
                Progress::Full if !self.hung_up => Verdict::Blocked,
                _ => Verdict::Over,
            };
        }
        if self.hung_up && !self.readable {
            return match self.input {
                Input::Reset => Verdict::Abort,
                _ if self.entry.options.linger() == Some(0) => Verdict::Abort,
                _ => Verdict::Close,
            };
        }
        if delivered == Progress::Partial || pulled == Progress::Partial {
            Verdict::Again
        } else if delivered == Progress::Full {
            Verdict::Blocked
        } else {
            Verdict::Idle
        }
    }

    /// Program → peer.
    fn pull(&mut self, flow: &mut FlowRef<'_>, strays: &mut Vec<OwnedFd>) -> Progress {
        let mut turn = TURN;
        while self.readable {
            if self.input != Input::Open || self.flow_ended {
                self.look_for_reset(strays);
                return Progress::Drained;
            }
            if turn == 0 {
                return Progress::Partial;
            }
            if flow.send_room() == 0 {
                return Progress::Full;
            }
            let mut result = Err(Errno::AGAIN);
            let mut offered = 0;
            flow.send_with(|room| {
                let room = room.get_mut(..turn.min(room.len())).unwrap_or_default();
                offered = room.len();
                result = descriptor::read(&self.fd, room, strays);
                result.unwrap_or(0)
            });
            match result {
                Ok(0) => {
                    self.readable = false;
                    self.input = Input::Finished;
                    // A connection that ends with a reset has no end of file before it.
                    if !(self.hung_up && self.entry.options.linger() == Some(0)) {
                        flow.finish();
                    }
                }
                Ok(count) => {
                    turn -= count;
                    // Less than asked for is all there was, and what comes later is announced anew. An
                    // end was announced already.
                    if count < offered && !self.ending {
                        self.readable = false;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.readable = false,
                Err(Errno::PROTO) => self.break_off(),
                Err(_) => {
                    self.readable = false;
                    self.input = Input::Reset;
                }
            }
        }
        Progress::Drained
    }

    /// The program does what no program does with a stream: the connection ends.
    fn break_off(&mut self) {
        self.readable = false;
        self.hung_up = true;
        self.input = Input::Reset;
    }

    /// After the program's direction ended, the pair can only still tell that bytes were left unread.
    fn look_for_reset(&mut self, strays: &mut Vec<OwnedFd>) {
        self.readable = false;
        let mut byte = [0_u8; 1];
        match descriptor::read(&self.fd, &mut byte, strays) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.input = Input::Reset,
        }
    }

    /// Peer → program.
    fn deliver(&mut self, flow: &mut FlowRef<'_>) -> Progress {
        let mut turn = TURN;
        while flow.recv_len() > 0 {
            if self.hung_up {
                // Nobody can read it: closing the flow with bytes unread tells the peer.
                return Progress::Drained;
            }
            if self.blocked {
                return Progress::Full;
            }
            if turn == 0 {
                return Progress::Partial;
            }
            if self.deaf {
                flow.recv_with(<[u8]>::len);
                continue;
            }
            let mut result = Err(Errno::AGAIN);
            flow.recv_with(|bytes| {
                let bytes = bytes.get(..turn.min(bytes.len())).unwrap_or_default();
                result =
                    rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
                result.unwrap_or(0)
            });
            match result {
                Ok(count) => turn -= count.min(turn),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    self.blocked = true;
                    return Progress::Full;
                }
                Err(Errno::CONNRESET) => {
                    self.input = Input::Reset;
                    self.hung_up = true;
                }
                Err(_) if is_hung_up(&self.fd) => {
                    self.hung_up = true;
                    self.readable = true;
                }
                Err(_) => self.deaf = true,
            }
        }
        if !self.shut && flow.at_end() {
            self.shut = true;
            // It can only fail because the other side is gone, which the pair reports by itself.
            let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
        }
        Progress::Drained
    }
}

/// Takes a plug out of a pair, unless the program put something else there.
pub(super) fn drain(half: &OwnedFd, plug: u32, strays: &mut Vec<OwnedFd>) -> bool {
    let mut scrap = [0_u8; 16 << 10];
    let mut left = plug as usize;
    while left > 0 {
        let room = left.min(scrap.len());
        match descriptor::read(half, scrap.get_mut(..room).unwrap_or_default(), strays) {
            Ok(0) => break,
            Ok(count) => left -= count,
            Err(Errno::INTR) => {}
            Err(Errno::PROTO) => return false,
            // Less was there than announced: what comes later is data.
            Err(_) => break,
        }
    }
    true
}

/// How far one direction got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing is left to move.
    Drained,
    /// The turn was used up.
    Partial,
    /// The taker is full.
    Full,
}

/// Applies the options that act on a flow.
pub(super) fn apply(options: &Options, flow: &mut FlowRef<'_>) {
    flow.set_nodelay(options.no_delay);
    let seconds = |seconds: u16| std::time::Duration::from_secs(seconds.max(1).into());
    flow.set_keepalive(options.keep_alive.then(|| KeepAlive {
        idle: seconds(options.keep_idle),
        interval: seconds(options.keep_interval),
        count: options.keep_count.max(1).into(),
    }));
}
