//! A laboratory of network namespaces for whole-system tests.
//!
//! A [`Lab`] is one Ethernet switch (a bridge in a namespace of its own) with [`Host`]s plugged
//! into it; every host is a namespace without a default route, so nothing that a test starts can
//! reach beyond the switch. A [`Service`] is our own node in a host, run as a normal user.
//! Everything is ended by pid and removed when the values are dropped.
//!
//! The laboratory starts what `make shared_lib` built and never builds anything itself.

mod host;
mod process;
mod service;
mod stock;
pub mod traces;
mod usage;

pub use host::{Host, Lab};
pub use process::{Daemon, Output, run, wait_for};
pub use service::{Service, ServiceOptions};
pub use stock::{Stock, stock_binary};
pub use usage::{cpu_time, open_descriptors, resident_kib};

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// `<name>.go` of `tests/programs`, built without a C library into the host's folder.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn go_program(host: &Host, name: &str) -> PathBuf {
    let binary = host.dir().join(name);
    let mut go = Command::new("go");
    go.args(["build", "-o"])
        .arg(&binary)
        .arg(program(&format!("{name}.go")))
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", std::env::temp_dir().join("zt-go-cache"))
        .env("GO111MODULE", "off");
    let _ = run(go, Duration::from_secs(180)).expect_ok("go build");
    binary
}

/// The folder that `make shared_lib` fills (`ZT_BUILD` overrides it).
///
/// # Panics
/// When the binaries are not there: a test never skips a missing prerequisite.
#[must_use]
pub fn build_dir() -> PathBuf {
    let dir = std::env::var_os("ZT_BUILD").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../build")),
        PathBuf::from,
    );
    let dir = dir
        .canonicalize()
        .unwrap_or_else(|e| panic!("{}: {e}; run `make shared_lib` first", dir.display()));
    for name in [
        "zerotier-sdk-service",
        "zerotier-cli",
        "zerotier-idtool",
        "libztintercept.so",
        "zt-launch",
    ] {
        assert!(
            dir.join(name).exists(),
            "{} is missing; run `make shared_lib` first",
            dir.join(name).display()
        );
    }
    dir
}

/// A program of `tests/programs`.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/programs")).join(name)
}
