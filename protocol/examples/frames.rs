//! Measures VL1 alone: FRAMEs of 2,800-byte IP packets from one node to another, both in this
//! thread, without sockets: `cargo run --release -p zt-protocol --example frames`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use zt_protocol::rand_core::{TryCryptoRng, TryRng};
use zt_protocol::vl1::{LocalSocket, Scratch, Vl1};
use zt_protocol::world::Root;
use zt_protocol::{SecretIdentity, Time, Verb, World, identity::SecretKey};

const SOCKET: LocalSocket = LocalSocket(0);
/// Network id and ethertype before the IP packet.
const FRAME: usize = 10 + 2800;
/// Packets in one burst: 62 KB.
const BURST: usize = 22;

/// Good enough for keys that nobody uses.
struct Splitmix(u64);

impl TryRng for Splitmix {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.try_next_u64()? as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Splitmix {}

struct Node {
    vl1: Vl1,
    at: SocketAddr,
    scratch: Scratch,
    frames: u64,
}

impl Node {
    /// Feeds everything that this node has to send to the other.
    fn deliver(&mut self, other: &mut Node, now: Time, buffer: &mut Vec<u8>) {
        while let Some(transmit) = self.vl1.poll_transmit() {
            // What the kernel would do: one copy out, one copy in.
            buffer.clear();
            buffer.extend_from_slice(transmit.payload);
            let size = transmit.segment_size;
            self.vl1.transmit_done();
            for datagram in buffer.chunks_mut(size) {
                let Node {
                    vl1,
                    scratch,
                    frames,
                    ..
                } = other;
                if let Some(inbound) = vl1.handle_datagram(now, SOCKET, self.at, datagram, scratch)
                {
                    let (from, path) = (inbound.from, inbound.path);
                    *frames +=
                        u64::from(inbound.verb == Verb::FRAME && inbound.body.len() == FRAME);
                    vl1.trusted(now, from, path);
                }
            }
        }
    }
}

/// Processor time of this thread: other programs must not count.
fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn main() {
    let mut rng = Splitmix(1);
    let identities = [0, 1].map(|_| SecretIdentity::generate(&mut rng));
    let ends: [SocketAddr; 2] = [([10, 0, 0, 1], 9993).into(), ([10, 0, 0, 2], 9993).into()];
    let root = Root {
        identity: *identities[0].public(),
        endpoints: vec![ends[0]],
    };
    let planet = World::make_planet(&SecretKey::generate(&mut rng), 7, 1, vec![root]);
    let mut now = Time(1_700_000_000_000);
    let [mut a, mut b] = [0, 1].map(|n: usize| Node {
        vl1: Vl1::new(now, identities[n].clone(), planet.clone(), [n as u8; 32]),
        at: ends[n],
        scratch: Scratch::default(),
        frames: 0,
    });
    let mut buffer = Vec::new();
    for _ in 0..10 {
        now += Duration::from_millis(1);
        a.vl1.handle_timeout(now);
        b.vl1.handle_timeout(now);
        a.deliver(&mut b, now, &mut buffer);
        b.deliver(&mut a, now, &mut buffer);
    }
    let to = b.vl1.address();
    assert!(a.vl1.has_direct_path(now, to));

    let packet = vec![0x5a; FRAME];
    let mut send = Duration::ZERO;
    let (begin, start) = (Instant::now(), busy());
    while begin.elapsed() < Duration::from_secs(2) {
        now += Duration::from_millis(1);
        let start = busy();
        for _ in 0..BURST {
            a.vl1.send_with(now, to, Verb::FRAME, FRAME, |body| {
                body.copy_from_slice(&packet)
            });
        }
        send += busy() - start;
        a.deliver(&mut b, now, &mut buffer);
        b.deliver(&mut a, now, &mut buffer);
    }
    let elapsed = busy() - start;
    let per_packet = |time: Duration| time.as_nanos() as f64 / b.frames as f64;
    let seconds = elapsed.as_secs_f64();
    println!(
        "{} packets/s, {:.2} Gbit/s of IP; {:.0} ns a packet: {:.0} to send, {:.0} to carry and receive",
        (b.frames as f64 / seconds) as u64,
        b.frames as f64 * 2800.0 * 8.0 / seconds / 1e9,
        per_packet(elapsed),
        per_packet(send),
        per_packet(elapsed - send),
    );
}
