//! The library in programs that have nothing to do with it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::build::library;

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
