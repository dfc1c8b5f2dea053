//! The same socket program on the kernel's network and on the LAN: the two traces must be equal.

use serde_json::Value;
use std::time::Duration;
use zt_tests::{Daemon, Lab, Service, program, run, wait_for};

const PORT: &str = "23000";

/// Runs the server with `server` and the client with `client` and returns the client's traces.
fn traces(
    mut server: std::process::Command,
    mut client: std::process::Command,
    address: &str,
    absent: &str,
    log: &std::path::Path,
    only: &[&str],
) -> serde_json::Map<String, Value> {
    server
        .args(["-u".as_ref(), program("semantics.py").as_os_str()])
        .args(["server", "0.0.0.0", PORT]);
    let server = Daemon::start(server, log);
    wait_for("the server", Duration::from_secs(5), || {
        server.log().contains("listening").then_some(())
    });
    client
        .arg(program("semantics.py"))
        .args(["client", address, PORT, absent])
        .args(only);
    let text = run(client, Duration::from_secs(120)).expect_ok("the client");
    match serde_json::from_str(&text) {
        Ok(Value::Object(traces)) => traces,
        other => panic!("{other:?}: {text}"),
    }
}

#[test]
fn a_program_sees_on_the_lan_what_it_sees_on_the_kernels_network() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let kernel = traces(
        a.command("python3"),
        b.command("python3"),
        a.address(),
        "10.77.0.77",
        &a.dir().join("kernel.log"),
        &[],
    );

    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (service_a, address) = Service::start_member(&a, &lan, &network);
    let (service_b, _) = Service::start_member(&b, &lan, &network);
    let ours = traces(
        service_a.intercepted(&network, "python3"),
        service_b.intercepted(&network, "python3"),
        &address,
        "10.147.20.77",
        &a.dir().join("lan.log"),
        &[],
    );

    let differences: Vec<String> = kernel
        .iter()
        .filter(|(case, trace)| ours.get(*case) != Some(trace))
        .map(|(case, trace)| format!("{case}:\n  kernel {trace}\n  LAN    {}", ours[case]))
        .collect();
    assert!(
        kernel.len() >= 30,
        "the client played {} cases",
        kernel.len()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What the library sees in the calls that carry data, which `zt-launch` does not trap.
const UNTRAPPED: [&str; 3] = [
    // A receive on a listener waits where the kernel says `ENOTCONN`.
    "listener_names_its_errors",
    // A reset with nothing unread is an end of file.
    "reset_after_data",
    "reset_is_reported",
];

#[test]
fn a_launched_program_sees_it_too() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let kernel = traces(
        a.command("python3"),
        b.command("python3"),
        a.address(),
        "10.77.0.77",
        &a.dir().join("kernel.log"),
        &[],
    );

    let cases: Vec<&str> = kernel
        .keys()
        .map(String::as_str)
        .filter(|case| !UNTRAPPED.contains(case))
        .collect();
    assert_eq!(cases.len() + UNTRAPPED.len(), kernel.len());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (service_a, address) = Service::start_member(&a, &lan, &network);
    let (service_b, _) = Service::start_member(&b, &lan, &network);
    let ours = traces(
        service_a.launched(&network, "python3"),
        service_b.launched(&network, "python3"),
        &address,
        "10.147.20.77",
        &a.dir().join("lan.log"),
        &cases,
    );
    let differences: Vec<String> = kernel
        .iter()
        .filter(|(case, trace)| cases.contains(&case.as_str()) && ours.get(*case) != Some(trace))
        .map(|(case, trace)| format!("{case}:\n  kernel {trace}\n  LAN    {}", ours[case]))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
