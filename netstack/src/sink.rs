//! Where frames go: the trait that the owner of a host implements.

use crate::burst::Burst;

/// Takes the frames that a host sends.
pub trait FrameSink {
    /// Whether the next frame or burst finds room. The host stops sending, and drops nothing, while this is `false`.
    fn ready(&self) -> bool;

    /// Takes one frame.
    fn frame(&mut self, dst: [u8; 6], ethertype: u16, payload: &[u8]);

    /// Takes the packets of one TCP flow; [`Burst::write`] makes each of them straight in its last buffer.
    fn burst(&mut self, dst: [u8; 6], ethertype: u16, burst: &Burst<'_>);
}
