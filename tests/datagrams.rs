//! The same UDP program on the kernel's network and on the LAN: the two traces must be equal.

use std::process::Command;
use std::time::Duration;
use zt_tests::traces::{PORT, Way, assert_same_traces, serve};
use zt_tests::{Lab, Service, ServiceOptions, program, run, wait_for};

const SCRIPT: &str = "datagrams.py";

#[test]
fn a_udp_program_sees_on_the_lan_what_it_sees_on_the_kernels_network() {
    assert_same_traces(SCRIPT, Way::Library, None, &[]);
}

/// What the library sees in sends and receives without an address, which `zt-launch` does not trap.
const UNTRAPPED: [&str; 5] = [
    // `ENOTCONN` where UDP says `EDESTADDRREQ`.
    "errors_of_sends",
    "from_one_network_to_the_other_and_back",
    // `ECONNRESET` where UDP says `ECONNREFUSED`.
    "refused",
    "refused_is_told_by_the_next_send",
    // What is too long is dropped.
    "sizes",
];

#[test]
fn a_launched_udp_program_sees_it_too() {
    assert_same_traces(SCRIPT, Way::Launcher, None, &UNTRAPPED);
}

/// A server on the wildcard address is reached by its container's own network too.
#[test]
fn a_wildcard_server_serves_both_networks() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (service_a, address) = Service::start_member(&a, &lan, &network);
    let (service_b, _) = Service::start_member(&b, &lan, &network);
    let python = service_a.intercepted(&network, "python3");
    let _server = serve(SCRIPT, python, &a.dir().join("server.log"));
    let cases = ["unconnected_echo", "sizes", "many_sockets", "packet_info"];
    let play = |mut client: Command, at: &str| {
        client
            .arg(program(SCRIPT))
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
    let python = service_a.intercepted(&network, "python3");
    let _server = serve(SCRIPT, python, &a.dir().join("server.log"));
    service_a.daemon().stop();
    drop(service_a);
    let again = Service::start(&a, &ServiceOptions::default());
    assert_eq!(again.wait_address(&network), address);
    let play = |mut client: Command, at: &str| {
        client
            .arg(program(SCRIPT))
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
