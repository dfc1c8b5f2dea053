//! The hot path of VL1, a FRAME between peers with a direct path, allocates nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/counting.rs"]
mod counting;
mod support;

use counting::ALLOCATIONS;
use std::net::SocketAddr;
use std::time::Duration;
use support::Session;
use zt_protocol::identity::SecretKey;
use zt_protocol::vl1::{LocalSocket, Scratch, Vl1};
use zt_protocol::world::Root;
use zt_protocol::{Time, Verb, World};

const SOCKET: LocalSocket = LocalSocket(0);

struct Node {
    vl1: Vl1,
    at: SocketAddr,
    scratch: Scratch,
    frames: usize,
}

impl Node {
    fn deliver(&mut self, other: &mut Node, now: Time, buffer: &mut [u8]) {
        while let Some(transmit) = self.vl1.poll_transmit() {
            let (len, size) = (transmit.payload.len(), transmit.segment_size);
            buffer[..len].copy_from_slice(transmit.payload);
            self.vl1.transmit_done();
            for datagram in buffer[..len].chunks_mut(size) {
                let (vl1, scratch) = (&mut other.vl1, &mut other.scratch);
                if let Some(inbound) = vl1.handle_datagram(now, SOCKET, self.at, datagram, scratch)
                {
                    let (from, path) = (inbound.from, inbound.path);
                    other.frames += usize::from(inbound.verb == Verb::FRAME);
                    vl1.trusted(now, from, path);
                }
            }
        }
    }
}

#[test]
fn a_frame_costs_no_allocation() {
    let session = Session::load();
    let identities: Vec<_> = session.identities.values().take(2).collect();
    let ends: [SocketAddr; 2] = [([10, 0, 0, 1], 9993).into(), ([10, 0, 0, 2], 9993).into()];
    let root = Root {
        identity: *identities[0].public(),
        endpoints: vec![ends[0]],
    };
    let planet = World::make_planet(&SecretKey::from_bytes([7; 64]), 7, 1, vec![root]);
    let mut now = Time(1_700_000_000_000);
    let [mut a, mut b] = [0, 1].map(|n: usize| Node {
        vl1: Vl1::new(now, identities[n].clone(), planet.clone(), [n as u8; 32]),
        at: ends[n],
        scratch: Scratch::default(),
        frames: 0,
    });
    let mut buffer = vec![0; 1 << 16];
    let to = b.vl1.address();
    let mut turn = |frames: usize, a: &mut Node, b: &mut Node| {
        now += Duration::from_millis(1);
        a.vl1.handle_timeout(now);
        b.vl1.handle_timeout(now);
        for frame in 0..frames {
            // One datagram, two and seven.
            let len = [1000, 2810, 9900][frame % 3];
            assert!(
                a.vl1
                    .send_with(now, to, Verb::FRAME, len, |body| body.fill(7))
            );
        }
        a.deliver(b, now, &mut buffer);
        b.deliver(a, now, &mut buffer);
    };
    for _ in 0..10 {
        turn(0, &mut a, &mut b);
    }
    // Buffers find their sizes, and addresses are pushed once.
    for _ in 0..10 {
        turn(30, &mut a, &mut b);
    }
    let (before, frames) = (ALLOCATIONS.get(), b.frames);
    for _ in 0..100 {
        turn(30, &mut a, &mut b);
    }
    assert_eq!(b.frames - frames, 3000);
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
