//! The same UDP program on the kernel's network and on the LAN: the two traces must be equal.

use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use zt_tests::{Daemon, Lab, Service, ServiceOptions, program, run, wait_for};

const PORT: &str = "23000";

/// Runs the server with `server` and the client with `client` and returns the client's traces.
fn traces(
    mut server: Command,
    mut client: Command,
    address: &str,
    log: &std::path::Path,
) -> serde_json::Map<String, Value> {
    server
        .args(["-u".as_ref(), program("datagrams.py").as_os_str()])
        .args(["server", "0.0.0.0", PORT]);
    let server = Daemon::start(server, log);
    wait_for("the server", Duration::from_secs(5), || {
        server.log().contains("listening").then_some(())
    });
    client
        .arg(program("datagrams.py"))
        .args(["client", address, PORT]);
    let text = run(client, Duration::from_secs(120)).expect_ok("the client");
    match serde_json::from_str(&text) {
        Ok(Value::Object(traces)) => traces,
        other => panic!("{other:?}: {text}"),
    }
}

#[test]
fn a_udp_program_sees_on_the_lan_what_it_sees_on_the_kernels_network() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let kernel = traces(
        a.command("python3"),
        b.command("python3"),
        a.address(),
        &a.dir().join("kernel.log"),
    );

    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (service_a, address) = Service::start_member(&a, &lan, &network);
    let (service_b, _) = Service::start_member(&b, &lan, &network);
    let ours = traces(
        service_a.intercepted(&network, "python3"),
        service_b.intercepted(&network, "python3"),
        &address,
        &a.dir().join("lan.log"),
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

/// A server on the wildcard address is reached by its container's own network too.
#[test]
fn a_wildcard_server_serves_both_networks() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (service_a, address) = Service::start_member(&a, &lan, &network);
    let (service_b, _) = Service::start_member(&b, &lan, &network);
    let mut server = service_a.intercepted(&network, "python3");
    server
        .args(["-u".as_ref(), program("datagrams.py").as_os_str()])
        .args(["server", "0.0.0.0", PORT]);
    let server = Daemon::start(server, &a.dir().join("server.log"));
    wait_for("the server", Duration::from_secs(5), || {
        server.log().contains("listening").then_some(())
    });
    let cases = ["unconnected_echo", "sizes", "many_sockets", "packet_info"];
    let play = |mut client: Command, at: &str| {
        client
            .arg(program("datagrams.py"))
            .args(["client", at, PORT])
            .args(cases);
        run(client, Duration::from_secs(60)).expect_ok("the client")
    };
    let by_lan = play(service_b.intercepted(&network, "python3"), &address);
    let by_switch = play(b.command("python3"), a.address());
    assert_eq!(by_lan, by_switch);
    assert!(by_lan.contains("e 49"), "{by_lan}");
}

/// Its service ends and another one comes: the server hears both networks again, by the same descriptor.
#[test]
fn a_server_is_served_by_the_next_service() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (mut service_a, address) = Service::start_member(&a, &lan, &network);
    let (service_b, _) = Service::start_member(&b, &lan, &network);
    let mut server = service_a.intercepted(&network, "python3");
    server
        .args(["-u".as_ref(), program("datagrams.py").as_os_str()])
        .args(["server", "0.0.0.0", PORT]);
    let server = Daemon::start(server, &a.dir().join("server.log"));
    wait_for("the server", Duration::from_secs(5), || {
        server.log().contains("listening").then_some(())
    });
    service_a.daemon().stop();
    drop(service_a);
    let again = Service::start(&a, &ServiceOptions::default());
    assert_eq!(again.wait_address(&network), address);
    let play = |mut client: Command, at: &str| {
        client
            .arg(program("datagrams.py"))
            .args(["client", at, PORT, "unconnected_echo"]);
        let text = run(client, Duration::from_secs(20)).expect_ok("the client");
        (!text.contains("failed")).then_some(())
    };
    wait_for("an answer by the LAN", Duration::from_secs(20), || {
        play(service_b.intercepted(&network, "python3"), &address)
    });
    wait_for("an answer by the switch", Duration::from_secs(20), || {
        play(b.command("python3"), a.address())
    });
}
