//! The library in programs that have nothing to do with it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::build::{Libc, Scratch, assert_success, compile, library};

/// Ordinary programs, some of them with libraries and threads of their own.
const PROGRAMS: [&str; 24] = [
    "/usr/bin/env --version",
    "/usr/bin/bash --version",
    "/usr/bin/perl -v",
    "/usr/bin/python3 -V",
    "/usr/bin/python3 -c import\tsocket,ssl,threading;print(socket.AF_INET)",
    "/usr/bin/node --version",
    "/usr/bin/git --version",
    "/usr/bin/curl --version",
    "/usr/bin/gcc --version",
    "/usr/bin/ld --version",
    "/usr/bin/tar --version",
    "/usr/bin/find /etc/hostname",
    "/usr/bin/sort /etc/passwd",
    "/usr/bin/awk BEGIN{print\t1}",
    "/usr/bin/sed -n 1p /etc/passwd",
    "/usr/bin/grep root /etc/passwd",
    "/usr/bin/id",
    "/usr/bin/uname -a",
    "/usr/bin/dpkg --version",
    "/usr/bin/openssl version",
    "/usr/bin/getent hosts localhost",
    "/usr/bin/ip -o link show lo",
    "/usr/bin/sudo --version",
    "/usr/bin/find /nonexistent",
];

fn run(line: &str, environment: &[(&str, &str)]) -> Option<Output> {
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    if !Path::new(program).exists() {
        return None;
    }
    let mut command = Command::new(program);
    command
        .args(words.map(|word| word.replace('\t', " ")))
        .stdin(Stdio::null());
    command.env_remove("LD_PRELOAD").env_remove("ZT_NC_NETWORK");
    Some(command.envs(environment.iter().copied()).output().unwrap())
}

#[test]
fn programs_do_the_same_with_the_library_and_without() {
    let library = library().to_str().unwrap();
    let mut compared = 0;
    for line in PROGRAMS {
        let Some(plain) = run(line, &[]) else {
            continue;
        };
        for environment in [
            &[("LD_PRELOAD", library)][..],
            &[
                ("LD_PRELOAD", library),
                ("ZT_NC_NETWORK", "/nonexistent/nc_8056c2e21c000001"),
            ],
            &[("LD_PRELOAD", library), ("ZT_NC_NETWORK", "")],
        ] {
            let loaded = run(line, environment).unwrap();
            assert_eq!(loaded, plain, "{line} with {environment:?}");
        }
        compared += 1;
    }
    assert!(
        compared >= 15,
        "only {compared} of the programs are installed"
    );
}

#[test]
fn an_inert_call_costs_nothing_to_speak_of() {
    for libc in Libc::ALL {
        let scratch = Scratch::new();
        let program = compile("inert", libc, scratch.path());
        let cost = |environment: &[(&str, &str)]| -> f64 {
            let output = Command::new(&program)
                .envs(environment.iter().copied())
                .output()
                .unwrap();
            assert_success(&output, "inert");
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .parse()
                .unwrap()
        };
        // The best of many short runs, taken in turn: neighbours on the machine disturb both alike.
        let (mut plain, mut loaded) = (f64::MAX, f64::MAX);
        for _ in 0..60 {
            plain = plain.min(cost(&[]));
            loaded = loaded.min(cost(&[("LD_PRELOAD", library().to_str().unwrap())]));
        }
        // A quiet machine shows 1 or 2 ns.
        assert!(
            loaded - plain < 20.0,
            "{libc:?}: {plain} ns a call without, {loaded} ns with the library"
        );
    }
}
