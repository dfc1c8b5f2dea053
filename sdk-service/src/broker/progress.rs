//! How connections are getting on, for `TCP_INFO`.

use rustix::io::Errno;
use zt_netstack::{FlowInfo, FlowState};
use zt_socket_rpc::{Id, Progress, Reply};

use super::{Broker, Socket, Turn};

// The kernel's numbers of TCP's states.
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const FIN_WAIT_2: u8 = 5;
const CLOSED: u8 = 7;
const CLOSE_WAIT: u8 = 8;

impl Broker {
    /// The numbers of a connection's flow; there are none of other sockets.
    pub(super) fn measure(&self, turn: &mut Turn<'_>, id: Id) -> Reply {
        let flow = match self.by_id.get(&id) {
            Some(&Socket::Stream(key)) => self.streams.get(key).map(|stream| stream.flow),
            _ => None,
        };
        match flow.and_then(|flow| turn.host.flow(flow)) {
            Some(flow) => Reply::Progress(progress(&flow.info())),
            None => Reply::Failed {
                errno: Errno::NOENT.raw_os_error(),
            },
        }
    }
}

fn progress(info: &FlowInfo) -> Progress {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Progress {
        state: match info.state {
            FlowState::Connecting => SYN_SENT,
            FlowState::Open => ESTABLISHED,
            FlowState::RemoteFinished => CLOSE_WAIT,
            FlowState::LocalFinished => FIN_WAIT_2,
            FlowState::Closed => CLOSED,
        },
        segment: number(info.segment),
        unacknowledged: number(info.send_queue),
        round_trip: info.round_trip.map_or(0, |time| {
            u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1)
        }),
        written: info.tally.written,
        received: info.tally.received,
        segments_out: info.tally.segments_out,
        segments_in: info.tally.segments_in,
        data_segments_out: info.tally.data_segments_out,
        data_segments_in: info.tally.data_segments_in,
        repeated: info.tally.repeated,
    }
}
