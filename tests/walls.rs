//! The walls between the rooms (`ARCHITECTURE.md`): who may import what.

use std::collections::BTreeSet;
use std::process::Command;

/// Every package below `package` in that format, by `cargo tree`, normal dependencies only.
fn tree(package: &str, format: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix=none", "-e", "normal"])
        .args(["--format", format, "-p", package])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo tree");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn imports(package: &str) -> BTreeSet<String> {
    tree(package, "{p}")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != package)
        .map(ToOwned::to_owned)
        .collect()
}

fn assert_never(package: &str, forbidden: &[&str]) {
    let found = imports(package);
    for name in forbidden {
        assert!(!found.contains(*name), "{package} must not import {name}");
    }
}

const ROOMS: [&str; 7] = [
    "zt-protocol",
    "zt-netstack",
    "zt-controller",
    "zt-socket-rpc",
    "zerotier-sdk-service",
    "zt-intercept",
    "zt-run",
];

fn rooms_imported_by(package: &str) -> Vec<&'static str> {
    let found = imports(package);
    ROOMS.into_iter().filter(|r| found.contains(*r)).collect()
}

#[test]
fn rooms_import_one_way() {
    assert_eq!(rooms_imported_by("zt-protocol"), [""; 0]);
    assert_eq!(rooms_imported_by("zt-netstack"), [""; 0]);
    assert_eq!(rooms_imported_by("zt-socket-rpc"), [""; 0]);
    assert_eq!(rooms_imported_by("zt-controller"), ["zt-protocol"]);
    assert_eq!(rooms_imported_by("zt-intercept"), ["zt-socket-rpc"]);
    assert_eq!(
        rooms_imported_by("zt-launch"),
        ["zt-socket-rpc", "zt-intercept"]
    );
    assert_eq!(rooms_imported_by("zt-run"), [""; 0]);
    assert_eq!(
        rooms_imported_by("zerotier-sdk-service"),
        [
            "zt-protocol",
            "zt-netstack",
            "zt-controller",
            "zt-socket-rpc"
        ]
    );
}

#[test]
fn the_core_does_no_input_or_output() {
    assert_never(
        "zt-protocol",
        &["tokio", "smoltcp", "mio", "nix", "rustix", "socket2"],
    );
    assert_never("zt-netstack", &["tokio", "mio", "nix", "socket2"]);
    // Rings are mappings (`netstack/src/memory.rs`): memory, and nothing else of the system.
    for line in tree("zt-netstack", "{p} {f}").lines() {
        if let Some(rustix) = line.strip_prefix("rustix ") {
            let features = rustix.split_whitespace().nth(1).unwrap_or_default();
            for feature in features.split(',') {
                let is_memory = ["alloc", "mm", "param", "std"].contains(&feature);
                assert!(is_memory, "zt-netstack must not use rustix's {feature}");
            }
        }
    }
    assert_never(
        "zt-controller",
        &["tokio", "mio", "nix", "rustix", "socket2"],
    );
    assert_never("zt-socket-rpc", &["std", "tokio", "nix", "rustix"]);
    assert_never("zerotier-sdk-service", &["bollard"]);
}
