//! One program played on the kernel's network and on the LAN: it must see the same.

use crate::host::{Host, Lab};
use crate::process::{Daemon, run, wait_for};
use crate::program;
use crate::service::Service;
use serde_json::{Map, Value};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The port that the servers of `tests/programs` are told to use here.
pub const PORT: &str = "23000";

/// How a program is put on the LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the preload library.
    Library,
    /// By `zt-launch`.
    Launcher,
    /// By the preload library, both programs on one service.
    OneService,
}

/// Starts the server of a script of `tests/programs` and waits until it listens.
#[must_use]
pub fn serve(script: &str, python: Command, log: &Path) -> Daemon {
    serve_at("0.0.0.0", script, python, log)
}

/// As [`serve`], on another address.
#[must_use]
pub fn serve_at(address: &str, script: &str, mut python: Command, log: &Path) -> Daemon {
    python
        .args(["-u".as_ref(), program(script).as_os_str()])
        .args(["server", address, PORT]);
    let server = Daemon::start(python, log);
    wait_for("the server", Duration::from_secs(5), || {
        server.log().contains("listening").then_some(())
    });
    server
}

/// Plays the cases of a script; what each of them saw.
///
/// # Panics
/// When the script fails.
#[must_use]
pub fn play(script: &str, mut python: Command, arguments: &[&str]) -> Map<String, Value> {
    python.arg(program(script)).arg("client").args(arguments);
    let text = run(python, Duration::from_secs(120)).expect_ok("the client");
    match serde_json::from_str(&text) {
        Ok(Value::Object(traces)) => traces,
        other => panic!("{other:?}: {text}"),
    }
}

/// Plays every case of a script on both networks and compares what it saw, but for the cases that are
/// `excepted`. `absent` is the last number of an address that nobody has, for scripts that ask for one.
///
/// # Panics
/// When a trace differs.
pub fn assert_same_traces(script: &str, way: Way, absent: Option<u8>, excepted: &[&str]) {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let played = |server: Command, client: Command, address: &str, log: &str, only: &[&str]| {
        let _server = serve(script, server, &a.dir().join(log));
        let network = address.rsplit_once('.').expect("an IPv4 address").0;
        let absent = absent.map(|last| format!("{network}.{last}"));
        let arguments = [address, PORT].into_iter().chain(absent.as_deref());
        let arguments: Vec<&str> = arguments.chain(only.iter().copied()).collect();
        play(script, client, &arguments)
    };
    let python = |host: &Host| host.command("python3");
    let kernel = played(python(&a), python(&b), a.address(), "kernel.log", &[]);
    let cases: Vec<&str> = kernel
        .keys()
        .map(String::as_str)
        .filter(|case| !excepted.contains(case))
        .collect();
    assert!(cases.len() + excepted.len() == kernel.len() && cases.len() >= 27);

    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (service_a, address) = Service::start_member(&a, &lan, &network);
    let (service_b, _) = Service::start_member(&b, &lan, &network);
    let python = |service: &Service<'_>| match way {
        Way::Library | Way::OneService => service.intercepted(&network, "python3"),
        Way::Launcher => service.launched(&network, "python3"),
    };
    let ours = played(
        python(&service_a),
        match way {
            Way::OneService => python(&service_a),
            _ => python(&service_b),
        },
        &address,
        "lan.log",
        &cases,
    );
    assert_equal(&kernel, &ours, &cases);
}

/// Compares what cases have seen on both networks.
///
/// # Panics
/// When a trace differs.
pub fn assert_equal(kernel: &Map<String, Value>, ours: &Map<String, Value>, cases: &[&str]) {
    let differences: Vec<String> = cases
        .iter()
        .filter(|case| ours.get(**case) != kernel.get(**case))
        .map(|case| {
            format!(
                "{case}:\n  kernel {:?}\n  LAN    {:?}",
                kernel.get(*case),
                ours.get(*case)
            )
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
