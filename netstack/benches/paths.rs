//! Goodput over simulated paths in virtual time: loss and round trip. The same numbers in every run.

#[path = "../tests/lan/wire.rs"]
#[allow(dead_code, unreachable_pub)]
mod wire;

use std::time::Duration;

use wire::{Conditions, Wire};
use zt_netstack::HostEvent;

/// Megabits a second of one transfer, and how often bytes crossed the wire for each byte delivered.
fn transfer(conditions: Conditions, len: usize, seed: u64) -> (f64, f64) {
    let mut wire = Wire::new(2, seed, conditions);
    let (client, _) = wire.pair(80);
    let source = vec![1; 256 << 10];
    let (mut sent, mut received) = (0, 0);
    let began = wire.now;
    let mut feed = |host: &mut zt_netstack::Host| {
        while sent < len {
            let written = wire::write(host, client, &source[..source.len().min(len - sent)]);
            if written == 0 {
                break;
            }
            sent += written;
        }
    };
    feed(&mut wire.hosts[0]);
    let until = wire.now + Duration::from_secs(600);
    while received < len {
        let more = wire.step(until, &mut |host, _, event| match event {
            HostEvent::Readable(flow) => received += wire::read(host, flow).len(),
            HostEvent::Writable(_) => feed(host),
            _ => {}
        });
        if !more {
            return (0.0, 0.0);
        }
    }
    let seconds = wire.now.saturating_since(began).as_secs_f64();
    (
        len as f64 * 8.0 / seconds / 1e6,
        wire.payload_bytes as f64 / len as f64,
    )
}

fn main() {
    println!(
        "Mbit/s (bytes on the wire a byte delivered), median of 5 seeds, 10 Gbit/s link, MTU 2800"
    );
    let losses = [0, 100, 1_000, 10_000, 50_000];
    print!("{:>12}", "round trip");
    losses
        .iter()
        .for_each(|loss| print!("{:>16}", format!("{} % loss", *loss as f64 / 10_000.0)));
    println!();
    for trip in [100, 1_000, 20_000, 100_000u64] {
        print!("{:>9.1} ms", trip as f64 / 1000.0);
        for loss in losses {
            let conditions = Conditions {
                delay: Duration::from_micros(trip / 2),
                loss,
                rate: 1250,
                ..Conditions::default()
            };
            let len = if loss >= 10_000 { 4 << 20 } else { 32 << 20 };
            let mut runs: Vec<_> = (1..=5)
                .map(|seed| transfer(conditions, len, seed))
                .collect();
            runs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (rate, cost) = runs[2];
            print!("{:>16}", format!("{rate:.0} ({cost:.2})"));
        }
        println!();
    }
}
