//! Where a host's frames go: to the node, or back into the host when they are for itself.

use zt_netstack::{Burst, FrameSink};
use zt_protocol::node::Node;
use zt_protocol::vl2::Frame;
use zt_protocol::{Mac, NetworkId, Time};

/// Bytes that a host may have on the way to itself.
const LOOP_LIMIT: usize = 256 << 10;

/// Frames of a host to itself, in one buffer.
#[derive(Debug, Default)]
pub(super) struct Loopback {
    bytes: Vec<u8>,
    /// Ethertype and length of each frame.
    frames: Vec<(u16, usize)>,
}

impl Loopback {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn push(&mut self, ethertype: u16, length: usize, fill: impl FnOnce(&mut [u8])) {
        let start = self.bytes.len();
        self.bytes.resize(start + length, 0);
        fill(self.bytes.get_mut(start..).unwrap_or_default());
        self.frames.push((ethertype, length));
    }

    /// Hands every frame over, oldest first.
    pub(super) fn drain(&mut self, mut each: impl FnMut(u16, &[u8])) {
        let mut rest = self.bytes.as_slice();
        for &(ethertype, length) in &self.frames {
            let (frame, tail) = rest.split_at(length.min(rest.len()));
            rest = tail;
            each(ethertype, frame);
        }
        self.bytes.clear();
        self.frames.clear();
        if self.bytes.capacity() > LOOP_LIMIT {
            self.bytes.shrink_to(0);
        }
    }
}

/// The way from one host into the node's outbox.
pub(super) struct NodeSink<'a> {
    pub(super) node: &'a mut Node,
    pub(super) now: Time,
    pub(super) network: NetworkId,
    pub(super) mac: [u8; 6],
    pub(super) loopback: &'a mut Loopback,
}

impl FrameSink for NodeSink<'_> {
    fn ready(&self) -> bool {
        !self.node.congested() && self.loopback.bytes.len() < LOOP_LIMIT
    }

    fn frame(&mut self, dst: [u8; 6], ethertype: u16, payload: &[u8]) {
        if dst == self.mac {
            self.loopback
                .push(ethertype, payload.len(), |out| out.copy_from_slice(payload));
            return;
        }
        let frame = Frame {
            src: Mac(self.mac),
            dst: Mac(dst),
            ethertype,
            payload,
        };
        self.node.send_frame(self.now, self.network, frame);
    }

    fn burst(&mut self, dst: [u8; 6], ethertype: u16, burst: &Burst<'_>) {
        if dst == self.mac {
            for i in 0..burst.count() {
                self.loopback
                    .push(ethertype, burst.len(i), |out| burst.write(i, out));
            }
            return;
        }
        let (count, len) = (burst.count(), |i| burst.len(i));
        let fill = |i, out: &mut [u8]| burst.write(i, out);
        self.node.send_burst(
            self.now,
            self.network,
            Mac(dst),
            ethertype,
            count,
            len,
            fill,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_to_oneself_come_back_in_order() {
        let mut loopback = Loopback::default();
        for (ethertype, payload) in [(0x0806, &b"who"[..]), (0x0800, b"me")] {
            loopback.push(ethertype, payload.len(), |out| out.copy_from_slice(payload));
        }
        let mut got = Vec::new();
        loopback.drain(|ethertype, frame| got.push((ethertype, frame.to_vec())));
        assert_eq!(got, [(0x0806, b"who".to_vec()), (0x0800, b"me".to_vec())]);
        assert!(loopback.is_empty());
    }
}
