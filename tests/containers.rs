//! The main job with real containers: the demonstration, and everything that `zt-run`, the compose
//! file and the base image promise, on the engine that `DOCKER_HOST` names or on a private one.

use std::process::{Command, Stdio};

/// Runs a script of `tests/`; after `seconds` it is told to end and to clean up after itself.
fn script(name: &str, seconds: u32) -> String {
    let output = Command::new("timeout")
        .args(["--kill-after=60", &seconds.to_string()])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned() + name)
        .env("BUILD", zt_tests::build_dir())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{name}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn the_demonstration_ends_well() {
    let text = script("demo.sh", 300);
    for shown in ["Welcome to nginx", "direct", "the same: "] {
        assert!(text.contains(shown), "{shown:?} is not in\n{text}");
    }
}

#[test]
fn containers_are_on_the_lan_and_leave_nothing_behind() {
    let text = script("containers.sh", 600);
    assert!(text.ends_with("all well\n"), "{text}");
}
