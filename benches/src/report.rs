//! The table for people and the JSON line for scripts.

use crate::STOCK;
use crate::measure::{Figures, Neighbours};
use serde_json::{Value, json};

fn row(title: &str, carriers: &[Figures], cell: impl Fn(&Figures) -> Option<f64>, digits: usize) {
    print!("{title:<44}");
    for carrier in carriers {
        match cell(carrier) {
            Some(value) => print!(" {value:>14.digits$}"),
            None => print!(" {:>14}", "–"),
        }
    }
    println!();
}

/// Prints all figures, then the ratios to stock where it was measured.
pub(crate) fn print(carriers: &[Figures], neighbours: &Neighbours) {
    print!("{:<44}", "");
    for carrier in carriers {
        print!(" {:>14}", carrier.name);
    }
    println!();
    row(
        "throughput, 1 stream (Gbit/s)",
        carriers,
        |f| Some(f.one_stream),
        2,
    );
    row(
        "throughput, 4 streams (Gbit/s)",
        carriers,
        |f| Some(f.four_streams),
        2,
    );
    row(
        "CPU of both services (s/GB)",
        carriers,
        |f| f.service_cpu,
        2,
    );
    row(
        "CPU of the whole machine (s/GB)",
        carriers,
        |f| Some(f.machine_cpu),
        2,
    );
    row("1-byte request, p50 (µs)", carriers, |f| Some(f.p50), 0);
    row("1-byte request, p99 (µs)", carriers, |f| Some(f.p99), 0);
    row("ping, p50 (µs)", carriers, |f| f.ping, 0);
    row(
        "new connections, 8 at a time (1/s)",
        carriers,
        |f| Some(f.connections),
        0,
    );
    row(
        "accepted connections, 1 thread a side (1/s)",
        carriers,
        |f| Some(f.accepted),
        0,
    );
    for (at, size) in ["100", "1,400"].into_iter().enumerate() {
        row(
            &format!("UDP datagrams of {size} bytes (1/s)"),
            carriers,
            |f| Some(f.datagrams[at].0),
            0,
        );
        row(
            "  lost of those sent (%)",
            carriers,
            |f| Some(f.datagrams[at].1),
            1,
        );
    }
    row("service memory, idle (KiB)", carriers, |f| f.idle, 0);
    row(
        "service memory per open connection (bytes)",
        carriers,
        |f| f.per_connection,
        0,
    );
    row(
        "throughput beside 10,000 idle ones, of alone",
        carriers,
        |f| Some(f.beside_idle),
        2,
    );
    println!(
        "two programs of one service: {:.1} Gbit/s, {:.2} of a Unix pair's ({:.1})",
        neighbours.service,
        neighbours.service / neighbours.pair,
        neighbours.pair,
    );
    if let [_, ours, .., stock] = carriers
        && stock.name == STOCK
    {
        println!();
        println!(
            "against stock: {:.1} times the throughput (1 stream), {:.1} times (4 streams),",
            ours.one_stream / stock.one_stream,
            ours.four_streams / stock.four_streams,
        );
        let cpu = ours.service_cpu.unwrap_or(f64::NAN) / stock.service_cpu.unwrap_or(f64::NAN);
        println!(
            "{:.1} times its accepted connections, {cpu:.2} of its CPU per gigabyte, {:.2} of its latency (p50), {:.2} (p99), a request in {:.2} of its ping",
            ours.accepted / stock.accepted,
            ours.p50 / stock.p50,
            ours.p99 / stock.p99,
            ours.p50 / stock.ping.unwrap_or(f64::NAN),
        );
    }
    let figures: Vec<Value> = carriers.iter().map(as_json).collect();
    let json = json!({
        "carriers": figures,
        "one_service_gbit": neighbours.service, "unix_pair_gbit": neighbours.pair,
    });
    println!("{json}");
}

fn as_json(f: &Figures) -> Value {
    json!({
        "carrier": f.name, "gbit_1": f.one_stream, "gbit_4": f.four_streams,
        "service_cpu_s_per_gb": f.service_cpu, "machine_cpu_s_per_gb": f.machine_cpu,
        "p50_us": f.p50, "p99_us": f.p99, "ping_us": f.ping, "connections_per_s": f.connections,
        "accepted_per_s": f.accepted, "beside_idle": f.beside_idle,
        "udp_100_per_s": f.datagrams[0].0, "udp_100_lost": f.datagrams[0].1,
        "udp_1400_per_s": f.datagrams[1].0, "udp_1400_lost": f.datagrams[1].1,
        "idle_kib": f.idle, "bytes_per_connection": f.per_connection,
    })
}
