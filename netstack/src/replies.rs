//! Small frames that wait for the sink: answers, questions to neighbours.

use std::collections::VecDeque;
use std::ops::Range;

use crate::burst::Burst;
use crate::neighbour::Mac;
use crate::sink::FrameSink;

/// Bytes that may wait. Answers are for those who ask; who does not take them away loses them.
const LIMIT: usize = 256 << 10;

/// Frames in one buffer that is reused once all of them are gone.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    frames: VecDeque<Frame>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    dst: Mac,
    ethertype: u16,
    bytes: Range<usize>,
}

impl Replies {
    /// Adds a frame of `len` bytes, made by `fill`. Returns whether there was room.
    pub(crate) fn push(
        &mut self,
        dst: Mac,
        ethertype: u16,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        let start = self.bytes.len();
        if start + len > LIMIT {
            return false;
        }
        self.bytes.resize(start + len, 0);
        fill(&mut self.bytes[start..]);
        self.frames.push_back(Frame {
            dst,
            ethertype,
            bytes: start..start + len,
        });
        true
    }

    /// Adds the packets of a burst. Returns whether there was room for all.
    pub(crate) fn push_burst(&mut self, dst: Mac, ethertype: u16, burst: &Burst<'_>) -> bool {
        (0..burst.count())
            .all(|i| self.push(dst, ethertype, burst.len(i), |out| burst.write(i, out)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Hands frames over while the sink is ready. Returns whether none is left.
    pub(crate) fn drain(&mut self, sink: &mut impl FrameSink) -> bool {
        while let Some(frame) = self.frames.front() {
            if !sink.ready() {
                return false;
            }
            sink.frame(frame.dst, frame.ethertype, &self.bytes[frame.bytes.clone()]);
            self.frames.pop_front();
        }
        self.bytes.clear();
        true
    }
}
