//! How a connection is getting on: what `TCP_INFO` tells.

use crate::wire::{Malformed, Reader, Writer};

/// Numbers of one connection, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The state, by the kernel's number (`TCP_ESTABLISHED` = 1 …).
    pub state: u8,
    /// Largest payload of a packet.
    pub segment: u32,
    /// Bytes that wait for the network or for an acknowledgement.
    pub unacknowledged: u32,
    /// Time for a packet and its answer, in microseconds; 0 = not known.
    pub round_trip: u32,
    /// Payload bytes that were handed over.
    pub written: u64,
    /// Payload bytes that arrived in order.
    pub received: u64,
    /// Packets sent and received.
    pub segments_out: u32,
    /// Packets received.
    pub segments_in: u32,
    /// Packets with payload that were sent.
    pub data_segments_out: u32,
    /// Packets with payload that were received.
    pub data_segments_in: u32,
    /// Packets that were sent again.
    pub repeated: u32,
}

impl Progress {
    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        out.u8(self.state);
        for number in [
            self.segment,
            self.unacknowledged,
            self.round_trip,
            self.segments_out,
            self.segments_in,
            self.data_segments_out,
            self.data_segments_in,
            self.repeated,
        ] {
            out.u32(number);
        }
        out.u64(self.written);
        out.u64(self.received);
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            state: input.u8()?,
            segment: input.u32()?,
            unacknowledged: input.u32()?,
            round_trip: input.u32()?,
            segments_out: input.u32()?,
            segments_in: input.u32()?,
            data_segments_out: input.u32()?,
            data_segments_in: input.u32()?,
            repeated: input.u32()?,
            written: input.u64()?,
            received: input.u64()?,
        })
    }
}
