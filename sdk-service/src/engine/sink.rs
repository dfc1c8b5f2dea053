//! Where a host's frames go: into the node's outbox.

use zt_netstack::{Burst, FrameSink};
use zt_protocol::node::Node;
use zt_protocol::vl2::Frame;
use zt_protocol::{Mac, NetworkId, Time};

/// The way from one host into the node.
pub(super) struct NodeSink<'a> {
    pub(super) node: &'a mut Node,
    pub(super) now: Time,
    pub(super) network: NetworkId,
    pub(super) mac: Mac,
}

impl FrameSink for NodeSink<'_> {
    fn ready(&self) -> bool {
        !self.node.congested()
    }

    fn frame(&mut self, dst: [u8; 6], ethertype: u16, payload: &[u8]) {
        let frame = Frame {
            src: self.mac,
            dst: Mac(dst),
            ethertype,
            payload,
        };
        self.node.send_frame(self.now, self.network, frame);
    }

    fn burst(&mut self, dst: [u8; 6], ethertype: u16, burst: &Burst<'_>) {
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
