//! What a process uses, read from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

/// Clock ticks a second: 100 on every Linux that this runs on (`getconf CLK_TCK`).
const TICKS: u64 = 100;

/// Open descriptors.
///
/// # Panics
/// When the process is gone, as the others do.
#[must_use]
pub fn open_descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the process lives")
        .count()
}

/// Resident memory in KiB.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .expect("VmRSS in KiB")
}

/// User and system time.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let after_name = stat.rsplit(") ").next().expect("stat");
    // utime and stime are fields 14 and 15; the state, field 3, is the first one here.
    let ticks: u64 = after_name
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("ticks"))
        .sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}
