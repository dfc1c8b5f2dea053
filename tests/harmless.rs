//! The library in every program of the machine: loaded, it changes nothing.

use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use zt_tests::{build_dir, program, run};

#[test]
fn every_executable_does_the_same_with_the_library_and_without() {
    let mut script = Command::new("unshare");
    script
        .args(["--net", "--pid", "--mount", "--mount-proc"])
        .args(["--fork", "--kill-child"])
        // A program that would become another user by its file's mode stays who it is, and takes the library.
        .args(["setpriv", "--no-new-privs", "/usr/bin/python3"])
        .arg(program("harmless.py"))
        .arg(build_dir().join("libztintercept.so"));
    let text = run(script, Duration::from_secs(600)).expect_ok("harmless.py");
    let report: Value = serde_json::from_str(&text).expect("a report");
    let list = |key: &str| report[key].as_array().expect("a list").clone();
    let (differ, vary) = (list("differs"), list("varies"));
    assert!(differ.is_empty(), "{differ:#?}");
    let same = report["same"].as_u64().expect("a number");
    println!(
        "{same} executables do the same; plain runs differ already of {}: {vary:?}",
        vary.len()
    );
    assert!(
        same >= 300 && same >= 20 * vary.len() as u64,
        "{same} the same, too few beside {vary:?}"
    );
}
