//! The figures of one carrier.

use crate::carrier::{Carrier, load, numbers};
use std::fs;
use std::process::Command;
use std::time::Duration;
use zt_tests::{Daemon, cpu_time, resident_kib, wait_for};

/// Medians over the rounds; `None` where a figure has no meaning for the carrier.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    /// Gbit/s of program data with one stream.
    pub(crate) one_stream: f64,
    /// Gbit/s of program data with four streams.
    pub(crate) four_streams: f64,
    /// CPU seconds of the carrier's processes per gigabyte, one stream.
    pub(crate) service_cpu: Option<f64>,
    /// CPU seconds of the whole machine per gigabyte, one stream.
    pub(crate) machine_cpu: f64,
    /// Microseconds of a 1-byte request.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Microseconds of an ICMP echo between the kernels of both hosts, where it takes this way.
    pub(crate) ping: Option<f64>,
    /// Connections opened, served and closed a second by eight at a time.
    pub(crate) connections: f64,
    /// Connections a second that a program accepts, one thread on each side.
    pub(crate) accepted: f64,
    /// Datagrams of 100 and of 1,400 bytes that arrive a second, and the percentage of those sent that do not.
    pub(crate) datagrams: [(f64, f64); 2],
    /// KiB resident of the serving node, idle after the start.
    pub(crate) idle: Option<f64>,
    /// Bytes resident of the serving node per open idle connection.
    pub(crate) per_connection: Option<f64>,
    /// Throughput of one stream beside those connections, of that without them.
    pub(crate) beside_idle: f64,
}

/// What two programs on one host get, in Gbit/s.
pub(crate) struct Neighbours {
    /// From one service.
    pub(crate) service: f64,
    /// From the kernel, over a Unix pair: the limit.
    pub(crate) pair: f64,
}

/// Turn by turn, so that both have the same minutes of the machine.
pub(crate) fn neighbours(carrier: &Carrier<'_>, rounds: u32) -> Neighbours {
    let _server = carrier.serve();
    let gbit = |numbers: Vec<f64>| numbers[0] / 1e9 * 8.0 / numbers[1];
    let of_pair = || {
        let mut command = Command::new(load());
        command.args(["pair", "4"]);
        gbit(numbers(command, "pair"))
    };
    let rounds: Vec<_> = (0..rounds)
        .map(|_| (gbit(carrier.client("bulk", &["4", "1"])), of_pair()))
        .collect();
    Neighbours {
        service: median(rounds.iter().map(|round| round.0).collect()),
        pair: median(rounds.iter().map(|round| round.1).collect()),
    }
}

const HELD: usize = 10_000;
/// Connections of one round. Three rounds stay below half of the kernel's client ports: beyond, a
/// kernel that has them all in TIME-WAIT searches for a port longer than it connects.
const OPENED: &str = "4000";
const ACCEPTED: &str = "20000";

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Clock ticks are 1/100 s on every Linux that this runs on (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// Busy seconds of all processors.
fn machine_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let numbers: Vec<f64> = stat
        .lines()
        .next()
        .expect("cpu line")
        .split_whitespace()
        .skip(1)
        .map(|n| n.parse().expect("ticks"))
        .collect();
    // user nice system idle iowait irq softirq steal: all but idle, iowait and steal.
    (numbers.iter().take(7).sum::<f64>() - numbers[3] - numbers[4]) / TICKS
}

/// One bulk transfer: Gbit/s, service CPU and machine CPU per gigabyte.
fn bulk(carrier: &Carrier<'_>, streams: &str) -> (f64, f64, f64) {
    let services = || {
        carrier
            .services
            .iter()
            .map(|&pid| cpu_time(pid).as_secs_f64())
            .sum::<f64>()
    };
    let before = (services(), machine_cpu());
    let numbers = carrier.client("bulk", &["4", streams]);
    let gigabytes = numbers[0] / 1e9;
    (
        gigabytes * 8.0 / numbers[1],
        (services() - before.0) / gigabytes,
        (machine_cpu() - before.1) / gigabytes,
    )
}

/// Measures everything, each throughput and latency figure `rounds` times.
pub(crate) fn all(carrier: &Carrier<'_>, rounds: u32) -> Figures {
    eprintln!("measuring: {}", carrier.name);
    let serving = carrier.services.first().copied();
    let idle = serving.map(|pid| resident_kib(pid) as f64);
    let _server = carrier.serve();
    let singles: Vec<_> = (0..rounds).map(|_| bulk(carrier, "1")).collect();
    let fours: Vec<_> = (0..rounds).map(|_| bulk(carrier, "4").0).collect();
    let latencies: Vec<_> = (0..rounds)
        .map(|_| carrier.client("latency", &["5000"]))
        .collect();
    let pings: Option<Vec<_>> = carrier
        .ping
        .then(|| (0..rounds).map(|_| carrier.ping_median()).collect());
    let connections: Vec<_> = (0..rounds)
        .map(|_| carrier.client("connect", &[OPENED, "8"])[0])
        .collect();
    let datagrams = ["100", "1400"].map(|size| {
        let rounds: Vec<_> = (0..rounds)
            .map(|_| carrier.client("udp", &["2", size]))
            .collect();
        let column = |at: usize| median(rounds.iter().map(|round| round[at]).collect());
        (column(0), column(1))
    });
    let accepted: Vec<_> = (0..rounds).map(|_| carrier.accepted(ACCEPTED)).collect();
    let resident = || serving.map(|pid| resident_kib(pid) as f64);
    let before = resident();
    let log = carrier.scratch.join("hold.log");
    let hold = Daemon::start(carrier.client_command("hold", &[&HELD.to_string()]), &log);
    wait_for("the held connections", Duration::from_secs(120), || {
        hold.log().contains("holding").then_some(())
    });
    let held = resident();
    // Beside one that was measured just now: a machine has faster and slower minutes.
    let beside: Vec<_> = (0..rounds).map(|_| bulk(carrier, "1").0).collect();
    drop(hold);
    let alone: Vec<_> = (0..rounds).map(|_| bulk(carrier, "1").0).collect();
    Figures {
        name: carrier.name,
        one_stream: median(singles.iter().map(|r| r.0).collect()),
        four_streams: median(fours),
        service_cpu: serving.map(|_| median(singles.iter().map(|r| r.1).collect())),
        machine_cpu: median(singles.iter().map(|r| r.2).collect()),
        p50: median(latencies.iter().map(|r| r[0]).collect()),
        p99: median(latencies.iter().map(|r| r[1]).collect()),
        ping: pings.map(median),
        connections: median(connections),
        accepted: median(accepted),
        datagrams,
        idle,
        per_connection: before
            .zip(held)
            .map(|(before, held)| (held - before) * 1024.0 / HELD as f64),
        beside_idle: median(beside) / median(alone),
    }
}
