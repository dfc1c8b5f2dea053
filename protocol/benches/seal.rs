//! How fast packets are sealed and opened, in each suite and three sizes: one core, in cache.
//! Prints GB/s of packet bytes; compare numbers of one run only.

use std::hint::black_box;
use std::time::{Duration, Instant};
use zt_protocol::packet::{self, open, seal};
use zt_protocol::{CipherSuite, PeerKeys, SharedSecret};

fn main() {
    let keys = PeerKeys::new(&SharedSecret::from_bytes(std::array::from_fn(|i| i as u8)));
    for suite in [
        CipherSuite::AesGmacSiv,
        CipherSuite::Salsa2012Poly1305,
        CipherSuite::Poly1305,
    ] {
        for length in [128, 1400, 2838, packet::MAX_PACKET] {
            // The verb is HELLO, so that suite 0 opens.
            let mut plain = vec![1; length];
            plain[13] = 1;
            plain[18] = 0;
            let mut sealed = plain.clone();
            seal(&keys, suite, &mut sealed);

            let mut buffer = plain.clone();
            let sealing = measure(|| {
                black_box(seal(&keys, suite, black_box(&mut buffer)));
            });
            let mut buffer = sealed.clone();
            let opening = measure(|| {
                // Opening works in place: the sealed bytes must be put back, which counts too.
                buffer.copy_from_slice(&sealed);
                black_box(open(&keys, black_box(&mut buffer)).expect("authentic"));
            });
            let rate = |time: Duration| length as f64 / time.as_nanos() as f64;
            println!(
                "{suite:?} {length:>5} bytes: seal {:.2} GB/s ({sealing:?}), open {:.2} GB/s ({opening:?})",
                rate(sealing),
                rate(opening),
            );
        }
    }
}

/// The best of several rounds, as the machine may be shared.
fn measure(mut work: impl FnMut()) -> Duration {
    const ROUNDS: usize = 20;
    const REPEATS: u32 = 2_000;
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..REPEATS {
                work();
            }
            start.elapsed() / REPEATS
        })
        .min()
        .unwrap_or_default()
}
