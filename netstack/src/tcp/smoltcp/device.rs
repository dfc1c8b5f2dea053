//! smoltcp's device: one packet in, one packet or super-segment out, no queue.

use std::num::NonZeroU16;

use smoltcp::phy::{Device, DeviceCapabilities, PacketMeta, RxToken, TxToken};

type SmolInstant = smoltcp::time::Instant;

/// smoltcp's device: lends one packet, takes one packet.
pub(super) struct Port<'a> {
    capabilities: &'a DeviceCapabilities,
    incoming: Option<&'a [u8]>,
    scratch: &'a mut [u8],
    /// What was sent.
    pub(super) sent: Option<Sent>,
}

/// What smoltcp left in the scratch buffer.
pub(super) struct Sent {
    pub(super) len: usize,
    /// Payload of each packet, if it is a super-segment.
    pub(super) segment: Option<NonZeroU16>,
}

impl<'a> Port<'a> {
    pub(super) fn new(
        capabilities: &'a DeviceCapabilities,
        incoming: Option<&'a [u8]>,
        scratch: &'a mut [u8],
    ) -> Port<'a> {
        Port {
            capabilities,
            incoming,
            scratch,
            sent: None,
        }
    }
}

pub(super) struct Incoming<'a>(&'a [u8]);

pub(super) struct Outgoing<'a> {
    scratch: &'a mut [u8],
    sent: &'a mut Option<Sent>,
    segment: Option<NonZeroU16>,
}

impl Device for Port<'_> {
    type RxToken<'t>
        = Incoming<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Outgoing<'t>
    where
        Self: 't;

    fn receive(&mut self, _: SmolInstant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        let incoming = self.incoming.take()?;
        Some((
            Incoming(incoming),
            Outgoing {
                scratch: self.scratch,
                sent: &mut self.sent,
                segment: None,
            },
        ))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Outgoing<'_>> {
        // One packet a turn: the next would overwrite it.
        if self.sent.is_some() {
            return None;
        }
        Some(Outgoing {
            scratch: self.scratch,
            sent: &mut self.sent,
            segment: None,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        *self.sent = Some(Sent {
            len,
            segment: self.segment,
        });
        f(&mut self.scratch[..len])
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size;
    }
}
