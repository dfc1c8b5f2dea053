//! `TCP_INFO`: the service's numbers in the kernel's places.

use zt_socket_rpc::{Entry, Kind, Name, Progress, Reply, Request, State};

use crate::Program;
use crate::kernel::Kernel;
use crate::native::TCP_STATE_CLOSE;

/// `sizeof(struct tcp_info)` of Linux 5.4, which every later program accepts.
pub(crate) const TCP_INFO_LEN: usize = 232;
const TCP_ESTABLISHED: u8 = 1;
const TCP_SYN_SENT: u8 = 2;
const TCP_LISTEN: u8 = 10;

/// The usual MTU of a ZeroTier network, for what has no connection yet.
const MTU: u32 = 2800;
/// IPv6 and TCP headers.
const HEADERS: u32 = 60;
/// The round trip that is assumed when none was measured, in microseconds.
const ROUND_TRIP: u32 = 1_000;
/// The shortest time to a retransmission, in microseconds.
const SHORTEST_WAIT: u32 = 200_000;
/// The window that congestion control begins with, in packets (RFC 6928).
const INITIAL_WINDOW: u32 = 10;

impl<K: Kernel> Program<'_, K> {
    /// How a connection is getting on; nothing but zeros when the service cannot tell.
    pub(crate) fn measure(&self, own: Name) -> Progress {
        if own.kind != Kind::Stream {
            return Progress::default();
        }
        match self.exchange(&Request::Measure { id: own.id }, &[]) {
            Ok((reply, descriptor)) => {
                self.close_all(&[descriptor]);
                match reply {
                    Reply::Progress(progress) => progress,
                    _ => Progress::default(),
                }
            }
            Err(_) => Progress::default(),
        }
    }
}

/// A `struct tcp_info`.
pub(crate) fn tcp_info(entry: &Entry, progress: Progress) -> [u8; TCP_INFO_LEN] {
    let mut info = [0; TCP_INFO_LEN];
    info[0] = match entry.state {
        State::Connected if progress.state != 0 => progress.state,
        State::Connected => TCP_ESTABLISHED,
        State::Connecting => TCP_SYN_SENT,
        State::Listening => TCP_LISTEN,
        State::Bound | State::Failed | State::Reset => TCP_STATE_CLOSE,
    };
    let segment = match progress.segment {
        0 => MTU - HEADERS,
        size => size,
    };
    let round_trip = match progress.round_trip {
        0 => ROUND_TRIP,
        time => time,
    };
    let packets = progress.unacknowledged.div_ceil(segment);
    let acknowledged = progress
        .written
        .saturating_sub(u64::from(progress.unacknowledged));
    let repeated = u64::from(progress.repeated) * u64::from(segment);
    let mut put = |at: usize, value: &[u8]| {
        if let Some(field) = info.get_mut(at..at + value.len()) {
            field.copy_from_slice(value);
        }
    };
    for (at, value) in [
        (8, SHORTEST_WAIT.saturating_add(round_trip)), // tcpi_rto
        (16, segment),                                 // tcpi_snd_mss
        (20, segment),                                 // tcpi_rcv_mss
        (24, packets),                                 // tcpi_unacked
        (60, segment.saturating_add(HEADERS)),         // tcpi_pmtu
        (68, round_trip),                              // tcpi_rtt
        (72, (round_trip / 2).max(1)),                 // tcpi_rttvar
        (76, 0x7fff_ffff),                             // tcpi_snd_ssthresh
        (80, INITIAL_WINDOW.max(packets)),             // tcpi_snd_cwnd
        (84, segment),                                 // tcpi_advmss
        (100, progress.repeated),                      // tcpi_total_retrans
        (136, progress.segments_out),                  // tcpi_segs_out
        (140, progress.segments_in),                   // tcpi_segs_in
        (148, round_trip),                             // tcpi_min_rtt
        (152, progress.data_segments_in),              // tcpi_data_segs_in
        (156, progress.data_segments_out),             // tcpi_data_segs_out
    ] {
        put(at, &value.to_ne_bytes());
    }
    for (at, value) in [
        (120, acknowledged),                              // tcpi_bytes_acked
        (128, progress.received),                         // tcpi_bytes_received
        (200, progress.written.saturating_add(repeated)), // tcpi_bytes_sent
        (208, repeated),                                  // tcpi_bytes_retrans
    ] {
        put(at, &value.to_ne_bytes());
    }
    info
}
