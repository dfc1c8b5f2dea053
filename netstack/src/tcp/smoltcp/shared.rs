//! What all connections of a host share: smoltcp's interface, the memory of the rings, the buffer of the outgoing packet.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use smoltcp::iface::{Config, Interface};
use smoltcp::phy::{ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::wire::HardwareAddress;

use super::super::Reach;
use super::device::Port;
use crate::config::Buffers;
use crate::memory::Arena;

type SmolInstant = smoltcp::time::Instant;

/// IPv4 and TCP header without options.
const HEADERS_V4: usize = 40;
/// IPv6 and TCP header without options.
const HEADERS_V6: usize = 60;
/// Smallest ring: a few segments of the largest MTU.
const MIN_RING: usize = 64 << 10;
/// Largest IP packet: a super-segment is one until it is cut.
pub(super) const MAX_PACKET: usize = 65_535;

/// What all connections of a host share: smoltcp's interface, the memory pool and the buffer of the outgoing packet.
pub(crate) struct Shared {
    pub(super) interface: Interface,
    pub(super) capabilities: DeviceCapabilities,
    near: Rings,
    far: Rings,
    /// Where smoltcp leaves the outgoing packet.
    pub(super) scratch: Box<[u8]>,
}

impl Shared {
    pub(crate) fn new(mtu: usize, buffers: Buffers, seed: u64) -> Shared {
        let capabilities = capabilities(mtu);
        let mut scratch = vec![0; MAX_PACKET].into_boxed_slice();
        let interface = interface(&capabilities, seed, &mut scratch);
        Shared {
            interface,
            capabilities,
            near: Rings::new(buffers.receive, buffers.send),
            far: far_rings(buffers),
            scratch,
        }
    }

    /// Changes the MTU, for connections that exist too.
    pub(crate) fn set_mtu(&mut self, mtu: usize, seed: u64) {
        self.capabilities = capabilities(mtu);
        self.interface = interface(&self.capabilities, seed, &mut self.scratch);
    }

    /// Changes the rings of the connections to come.
    pub(crate) fn set_buffers(&mut self, buffers: Buffers) {
        self.near = Rings::new(buffers.receive, buffers.send);
        self.far = far_rings(buffers);
    }

    /// Rings for a new connection.
    pub(super) fn rings(&self, reach: Reach) -> &Rings {
        match reach {
            Reach::Near => &self.near,
            Reach::Far => &self.far,
        }
    }

    /// Payload of the largest packet.
    pub(super) fn segment_limit(&self, local: SocketAddr) -> usize {
        self.capabilities.max_transmission_unit
            - if local.is_ipv4() {
                HEADERS_V4
            } else {
                HEADERS_V6
            }
    }
}

fn capabilities(mtu: usize) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = mtu;
    // Burst::write makes the checksums. Received ones need no check: the bytes come authenticated, and the header of
    // IPv4 was verified before.
    capabilities.checksum = ChecksumCapabilities::ignored();
    // As many whole packets as an IP length can state.
    let segment = mtu - HEADERS_V4;
    let packets = (MAX_PACKET - HEADERS_V4) / segment;
    capabilities.segmentation.tcpv4 = NonZeroUsize::new(HEADERS_V4 + packets * segment);
    capabilities
}

fn interface(capabilities: &DeviceCapabilities, seed: u64, scratch: &mut [u8]) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(
        config,
        &mut Port::new(capabilities, None, scratch),
        SmolInstant::ZERO,
    );
    // The host decides what is ours, and has no limit on the number of its addresses.
    interface.set_any_ip(true);
    interface
}

/// Rings of one size, and the memory for them.
pub(super) struct Rings {
    pub(super) receive: usize,
    pub(super) send: usize,
    pub(super) arena: Arena,
}

impl Rings {
    fn new(receive: usize, send: usize) -> Rings {
        let (receive, send) = (receive.max(MIN_RING), send.max(MIN_RING));
        Rings {
            receive,
            send,
            arena: Arena::new(receive + send),
        }
    }

    /// The window shift that smoltcp derives from the receive ring.
    pub(super) fn window_shift(&self) -> u8 {
        (usize::BITS - self.receive.leading_zeros()).saturating_sub(16) as u8
    }
}

fn far_rings(buffers: Buffers) -> Rings {
    let receive = if buffers.receive < Buffers::default().receive {
        buffers.receive
    } else {
        buffers.receive.max(buffers.long_path)
    };
    Rings::new(receive, buffers.send.max(buffers.long_path))
}
