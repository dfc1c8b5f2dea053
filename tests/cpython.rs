//! CPython's own tests of sockets, in isolated mode: over the LAN's address and over loopback they pass where they pass
//! on the kernel's network. What does not is in `programs/cpython.differences`, each with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use zt_tests::{Host, Lab, Service, program, run};

const LOOPBACK: &str = "127.0.0.1";
/// Tests with short times of their own may fail on a busy machine: those are tried again, alone.
const ATTEMPTS: usize = 3;

/// Outcomes by the names of tests.
type Outcomes = BTreeMap<String, String>;

/// Runs the suite, or some of its tests, over `address`, which `localhost` means too.
fn suite(mut command: Command, host: &Host, address: &str, tests: &[&str]) -> Outcomes {
    command
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"")
        .arg("sh")
        .arg(hosts(host.dir(), address))
        .arg("/usr/bin/python3")
        .arg(program("cpython.py"))
        .arg(address)
        .args(tests);
    let text = run(command, Duration::from_secs(900)).expect_ok("cpython.py");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn hosts(dir: &Path, address: &str) -> PathBuf {
    let path = dir.join(format!("hosts-{address}"));
    let text = format!("{address} localhost\n::1 ip6-localhost\n");
    std::fs::write(&path, text).expect("hosts");
    path
}

fn intercepted(service: &Service<'_>, network: &str) -> Command {
    let mut command = service.intercepted(network, "unshare");
    command.env("ZT_NC_MODE", "isolated");
    command
}

/// The tests that pass plainly and do not pass on the LAN, however often they are tried.
fn lost(service: &Service<'_>, network: &str, plain: &Host, address: &str) -> Outcomes {
    let (expected, mut ours) = std::thread::scope(|scope| {
        let plainly = scope.spawn(|| suite(plain.command("unshare"), plain, address, &[]));
        let ours = suite(intercepted(service, network), service.host(), address, &[]);
        (plainly.join().expect("the plain run"), ours)
    });
    let passes = |outcomes: &Outcomes, test: &str| outcomes.get(test).is_some_and(|it| it == "ok");
    let passed: Vec<&String> = expected.keys().filter(|t| passes(&expected, t)).collect();
    assert!(passed.len() > 3000, "only {} tests pass", passed.len());
    let lost = |ours: &Outcomes| -> Vec<&str> {
        let lost = passed.iter().filter(|test| !passes(ours, test));
        lost.map(|test| test.as_str()).collect()
    };
    for _ in 0..ATTEMPTS {
        let again: Vec<&str> = lost(&ours)
            .into_iter()
            .filter(|test| !explained(address).any(|it| it.always && it.covers(test)))
            .collect();
        if again.is_empty() {
            break;
        }
        println!("over {address} once more: {again:?}");
        let command = intercepted(service, network);
        ours.extend(suite(command, service.host(), address, &again));
    }
    let lost = lost(&ours);
    println!(
        "over {address}: {} of {} pass",
        passed.len() - lost.len(),
        passed.len()
    );
    let outcome = |test: &str| ours.get(test).cloned().unwrap_or_default();
    let named = lost
        .into_iter()
        .map(|test| (test.to_owned(), outcome(test)));
    named.collect()
}

/// A line of `programs/cpython.differences`.
struct Difference {
    always: bool,
    name: &'static str,
}

impl Difference {
    fn covers(&self, test: &str) -> bool {
        test.contains(self.name)
    }
}

/// The differences that are known of one place.
fn explained(address: &str) -> impl Iterator<Item = Difference> {
    let place = if address == LOOPBACK {
        "loopback"
    } else {
        "lan"
    };
    let lines = include_str!("programs/cpython.differences").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(move |line| {
            let mut words = line.splitn(4, ' ');
            let (at, when, name) = (words.next()?, words.next()?, words.next()?);
            assert!(words.next().is_some(), "no reason in {line}");
            (at == place).then_some(Difference {
                always: when == "always",
                name,
            })
        })
}

fn assert_explained(address: &str, lost: &Outcomes) {
    let unexplained: Vec<_> = lost
        .iter()
        .filter(|(test, _)| !explained(address).any(|difference| difference.covers(test)))
        .collect();
    assert!(unexplained.is_empty(), "over {address}: {unexplained:#?}");
    let stale: BTreeSet<&str> = explained(address)
        .filter(|it| it.always && !lost.keys().any(|test| it.covers(test)))
        .map(|it| it.name)
        .collect();
    assert!(stale.is_empty(), "over {address} these pass now: {stale:?}");
}

#[test]
fn the_suite_passes_on_the_lan_as_on_the_kernels_network() {
    let lab = Lab::new();
    let (root, a, plain) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (service, address) = Service::start_member(&a, &lan, &network);
    // The kernel's network with the same address.
    let mut add = plain.command("ip");
    add.args(["addr", "add", &format!("{address}/24"), "dev", "lo"]);
    let _ = run(add, Duration::from_secs(10)).expect_ok("ip addr add");
    std::thread::scope(|scope| {
        let (service, network, plain) = (&service, &network, &plain);
        let over = |address| move || lost(service, network, plain, address);
        let places = [LOOPBACK, &address].map(|address| (address, scope.spawn(over(address))));
        for (address, run) in places {
            assert_explained(address, &run.join().expect("a run"));
        }
    });
}
