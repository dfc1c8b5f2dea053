//! Groups, broadcast and control data of datagrams: the same on the kernel's network and on the LAN, by IPv4 and IPv6.

use std::process::Command;
use std::time::Duration;
use zt_tests::traces::{PORT, assert_equal, play, serve_at};
use zt_tests::{Host, Lab, Service, run};

const SCRIPT: &str = "groups.py";

/// How a program is told to see its networks.
fn in_mode(mut command: Command, mode: &str) -> Command {
    command.env("ZT_NC_MODE", mode);
    command
}

/// Plays every case on both networks, by one family, and compares what it saw.
fn assert_same(v6: bool, mode: &str) {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let any = if v6 { "::" } else { "0.0.0.0" };
    let played = |server: Command, client: Command, address: &str, log: &str| {
        let _server = serve_at(any, SCRIPT, server, &a.dir().join(log));
        play(SCRIPT, client, &[address, PORT])
    };
    let native = if v6 {
        add_ipv6(&b, "fd77::2");
        add_ipv6(&a, "fd77::1")
    } else {
        a.address().to_owned()
    };
    let python = |host: &Host| host.command("python3");
    let kernel = played(python(&a), python(&b), &native, "kernel.log");

    let (lan, network) = Service::start_lan(&root, "10.147.20");
    lan.assign_rfc4193(&network);
    let (service_a, v4) = Service::start_member(&a, &lan, &network);
    let (service_b, _) = Service::start_member(&b, &lan, &network);
    let _ = service_b.wait_ipv6_address(&network);
    let v6_address = service_a.wait_ipv6_address(&network);
    let address = if v6 { v6_address } else { v4 };
    let python = |service: &Service<'_>| in_mode(service.intercepted(&network, "python3"), mode);
    let ours = played(python(&service_a), python(&service_b), &address, "lan.log");
    let cases: Vec<&str> = kernel.keys().map(String::as_str).collect();
    assert!(cases.len() >= 19);
    let failed = |case: &&&str| kernel[**case].to_string().contains("failed");
    assert_eq!(cases.iter().find(failed), None, "{kernel:?}");
    assert_equal(&kernel, &ours, &cases);
}

fn add_ipv6(host: &Host, address: &str) -> String {
    let mut ip = host.command("ip");
    let prefix = format!("{address}/64");
    ip.args(["addr", "add", &prefix, "dev", "eth0", "nodad"]);
    let _ = run(ip, Duration::from_secs(10)).expect_ok("ip addr add");
    address.to_owned()
}

#[test]
fn what_is_for_many_is_the_same_on_the_lan_by_ipv4() {
    assert_same(false, "split");
}

#[test]
fn what_is_for_many_is_the_same_on_the_lan_by_ipv6() {
    assert_same(true, "split");
}

#[test]
fn what_is_for_many_is_the_same_on_the_lan_alone() {
    assert_same(false, "isolated");
}
