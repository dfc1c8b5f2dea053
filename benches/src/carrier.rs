//! What carries the load: two hosts, how to start a program on each, whose cost to count.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use zt_tests::{Daemon, run, wait_for};

/// The ports that `zt-load serve` and `zt-load accept` listen on.
const PORT: &str = "5201";
const ACCEPT_PORT: &str = "5202";

/// How to start a program on a host.
pub(crate) type Start<'a> = &'a dyn Fn(&str) -> Command;

/// One way from a client to a server.
pub(crate) struct Carrier<'a> {
    pub(crate) name: &'static str,
    pub(crate) server: Start<'a>,
    pub(crate) client: Start<'a>,
    /// The server's address as the client sees it.
    pub(crate) address: String,
    /// Whether the hosts' kernels reach each other this way too.
    pub(crate) ping: bool,
    /// Processes whose CPU time and memory are the carrier's cost.
    pub(crate) services: Vec<u32>,
    pub(crate) scratch: PathBuf,
}

pub(crate) fn load() -> String {
    let path = std::env::current_exe().expect("own path");
    let path = path.with_file_name("zt-load");
    assert!(
        path.exists(),
        "{} is missing; use `make bench`",
        path.display()
    );
    path.to_string_lossy().into_owned()
}

/// Runs a client to its end and returns the numbers that it printed.
pub(crate) fn numbers(command: Command, what: &str) -> Vec<f64> {
    let text = run(command, Duration::from_secs(60)).expect_ok(what);
    text.split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect()
}

impl Carrier<'_> {
    /// Starts `zt-load serve` and waits until it listens.
    pub(crate) fn serve(&self) -> Daemon {
        self.start_server("serve", PORT)
    }

    fn start_server(&self, mode: &str, port: &str) -> Daemon {
        let mut command = (self.server)(&load());
        command.args([mode, port]);
        let log = self.scratch.join(format!("{mode}.log"));
        let _ = std::fs::remove_file(&log);
        let server = Daemon::start(command, &log);
        wait_for("zt-load listens", Duration::from_secs(5), || {
            server.log().contains("listening").then_some(())
        });
        server
    }

    /// `zt-load MODE ADDRESS PORT …` on the client's host.
    pub(crate) fn client_command(&self, mode: &str, arguments: &[&str]) -> Command {
        self.client_of(PORT, mode, arguments)
    }

    fn client_of(&self, port: &str, mode: &str, arguments: &[&str]) -> Command {
        let mut command = (self.client)(&load());
        command.args([mode, &self.address, port]).args(arguments);
        command
    }

    /// Connections a second that a server of one thread accepts and closes, and that a client of one thread opens.
    pub(crate) fn accepted(&self, count: &str) -> f64 {
        let _server = self.start_server("accept", ACCEPT_PORT);
        let open = |count| numbers(self.client_of(ACCEPT_PORT, "open", &[count, "64"]), "open")[0];
        let _ = open("500");
        open(count)
    }

    /// Runs a client to its end and returns the numbers that it printed.
    pub(crate) fn client(&self, mode: &str, arguments: &[&str]) -> Vec<f64> {
        numbers(self.client_command(mode, arguments), mode)
    }

    /// The median of the round trips, in microseconds, that `ping` reports one by one. As busy as
    /// the requests of `latency`: the next goes out when the answer is there.
    pub(crate) fn ping_median(&self) -> f64 {
        let mut command = (self.client)("ping");
        command.args(["-n", "-A", "-c", "3000", &self.address]);
        let text = run(command, Duration::from_secs(60)).expect_ok("ping");
        let mut times: Vec<f64> = text
            .lines()
            .filter_map(|line| line.split("time=").nth(1)?.split(' ').next()?.parse().ok())
            .collect();
        assert!(times.len() > 2000, "pings were lost:\n{text}");
        times.sort_by(f64::total_cmp);
        times[times.len() / 2] * 1000.0
    }

    /// Lets the nodes meet and find their direct path before anything is measured.
    pub(crate) fn warm_up(&self) {
        let _server = self.serve();
        // A stock node that has just its address may not find the other one at the first attempt.
        wait_for("a first connection", Duration::from_secs(30), || {
            let command = self.client_command("latency", &["200"]);
            (run(command, Duration::from_secs(20)).code == 0).then_some(())
        });
        std::thread::sleep(Duration::from_secs(2));
        let _ = self.client("bulk", &["1", "1"]);
    }
}
