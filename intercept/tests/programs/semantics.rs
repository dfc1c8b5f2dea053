//! The same program on the kernel's loopback and on the LAN: the traces must be equal.

use std::process::{Command, Stdio};

use crate::build::{Libc, Scratch, assert_success, command, compile, library};
use crate::stand_in::{OWN, StandIn};

/// Ports of the native runs; each run has a range of its own, for they go on at the same time.
fn trace(mut program: Command, host: &str, ports: u16, family: &[&str]) -> String {
    let output = program
        .arg(host)
        .arg(ports.to_string())
        .args(family)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let trace = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{:?} after\n{trace}",
        output.status
    );
    trace
}

fn compare(libc: Libc, ports: u16, native: &str, lan: &str, family: &[&str], mode: &str) {
    let scratch = Scratch::new();
    let service = StandIn::start(scratch.path()).unwrap();
    let program = compile("semantics", libc, scratch.path());
    let native = trace(command(&program, None), native, ports, family);
    let mut on_lan = command(&program, Some(service.path()));
    on_lan.env("ZT_NC_MODE", mode);
    let lan = trace(on_lan, lan, ports + 20, family);
    similar(&native, &lan);
}

#[track_caller]
fn similar(native: &str, lan: &str) {
    let mut differences = String::new();
    let mut case = "";
    for (native, lan) in native.lines().zip(lan.lines()) {
        if native.starts_with("==") {
            case = native;
        }
        if native != lan {
            differences += &format!("{case}\n  loopback: {native}\n  LAN:      {lan}\n");
        }
    }
    assert_eq!(native.lines().count(), lan.lines().count(), "{differences}");
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn glibc_sees_on_the_lan_what_it_sees_on_loopback() {
    compare(
        Libc::Glibc,
        21_000,
        "127.0.0.1",
        &OWN.to_string(),
        &[],
        "split",
    );
}

#[test]
fn musl_sees_on_the_lan_what_it_sees_on_loopback() {
    compare(
        Libc::Musl,
        21_100,
        "127.0.0.1",
        &OWN.to_string(),
        &[],
        "split",
    );
}

#[test]
fn isolated_mode_sees_the_same() {
    compare(
        Libc::Glibc,
        21_200,
        "127.0.0.1",
        &OWN.to_string(),
        &[],
        "isolated",
    );
}

#[test]
fn dual_stack_sockets_see_mapped_addresses() {
    compare(
        Libc::Glibc,
        21_300,
        "127.0.0.1",
        &OWN.to_string(),
        &["v6"],
        "split",
    );
}

#[test]
fn ipv6_sees_on_the_lan_what_it_sees_on_loopback() {
    compare(
        Libc::Glibc,
        21_400,
        "::1",
        &crate::stand_in::OWN_V6.to_string(),
        &["v6"],
        "split",
    );
}

#[test]
fn without_a_service_the_library_changes_nothing() {
    for (number, libc) in (0..).zip(Libc::ALL) {
        let scratch = Scratch::new();
        let program = compile("semantics", libc, scratch.path());
        let away = scratch.path().join("nc_away");
        let loaded = |network| {
            let mut command = command(&program, network);
            command.env("LD_PRELOAD", library());
            command
        };
        let runs = [
            command(&program, None),
            loaded(None),
            loaded(Some(away.as_path())),
        ];
        let ports = (21_500 + 100 * number..).step_by(20);
        let traces: Vec<String> = ports
            .zip(runs)
            .map(|(ports, run)| trace(run, "127.0.0.1", ports, &[]))
            .collect();
        similar(&traces[0], &traces[1]);
        similar(&traces[0], &traces[2]);
    }
}

#[test]
fn what_is_particular_to_the_lan() {
    for libc in Libc::ALL {
        let scratch = Scratch::new();
        let service = StandIn::start(scratch.path()).unwrap();
        let program = compile("lan", libc, scratch.path());
        let output = command(program, Some(service.path())).output().unwrap();
        assert_success(&output, "lan");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            include_str!("c/lan.expected"),
            "{libc:?}"
        );
        drop(scratch);
    }
}
