//! `ping` on the LAN: the real program, and what both types of ICMP socket see, as on the kernel's network.

use serde_json::{Map, Value};
use std::process::Command;
use std::time::Duration;
use zt_tests::traces::assert_equal;
use zt_tests::{Host, Lab, Service, program, run};

fn traces(mut python: Command, address: &str, absent: &str) -> Map<String, Value> {
    python.arg(program("ping.py")).args([address, absent]);
    let text = run(python, Duration::from_secs(60)).expect_ok("ping.py");
    match serde_json::from_str(&text) {
        Ok(Value::Object(traces)) => traces,
        other => panic!("{other:?}: {text}"),
    }
}

/// The same address with another last number.
fn absent(address: &str, mark: char, last: &str) -> String {
    let (network, _) = address.rsplit_once(mark).expect("an address");
    format!("{network}{mark}{last}")
}

fn shell(host: &Host, line: &str) {
    let mut command = host.command("sh");
    command.args(["-c", line]);
    let _ = run(command, Duration::from_secs(10)).expect_ok(line);
}

#[test]
fn echo_sockets_see_on_the_lan_what_they_see_on_the_kernels_network() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    // As in a container: the kernel lets everybody have echo sockets.
    shell(
        &b,
        "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range",
    );
    shell(&a, "ip addr add fd77::1/64 dev eth0 nodad");
    shell(&b, "ip addr add fd77::2/64 dev eth0 nodad");
    let python = || b.command("python3");
    let kernel = traces(python(), a.address(), &absent(a.address(), '.', "99"));
    let kernel6 = traces(python(), "fd77::1", "fd77::99");
    let cases: Vec<&str> = kernel.keys().map(String::as_str).collect();
    assert_eq!(cases.len(), 5);
    for trace in [&kernel, &kernel6] {
        let text = format!("{trace:?}");
        assert!(!text.contains("failed"), "{text}");
    }

    let (lan, network) = Service::start_lan(&root, "10.147.20");
    lan.assign_rfc4193(&network);
    let (service_a, address) = Service::start_member(&a, &lan, &network);
    let (service_b, _) = Service::start_member(&b, &lan, &network);
    let address6 = service_a.wait_ipv6_address(&network);
    let _ = service_b.wait_ipv6_address(&network);
    let python = || service_b.intercepted(&network, "python3");
    let ours = traces(python(), &address, &absent(&address, '.', "251"));
    assert_equal(&kernel, &ours, &cases);
    let ours = traces(python(), &address6, &absent(&address6, ':', "99"));
    // The link address of any RFC 4193 address is known without a question (VL2 §1.5.1): nobody is found to be absent.
    let cases: Vec<&str> = cases
        .into_iter()
        .filter(|case| *case != "an_absent_host")
        .collect();
    assert_equal(&kernel6, &ours, &cases);
}

/// The kernel of a host refuses echo sockets to everybody, and raw sockets to a normal user.
#[test]
fn ping_runs_without_any_right() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    lan.assign_rfc4193(&network);
    let (service_a, address) = Service::start_member(&a, &lan, &network);
    let (service_b, _) = Service::start_member(&b, &lan, &network);
    let address6 = service_a.wait_ipv6_address(&network);
    let own = service_b.wait_address(&network);
    let _ = service_b.wait_ipv6_address(&network);
    // A copy has no capability of the file: with one, no library would be loaded.
    let program = b.dir().join("ping");
    let _ = std::fs::copy("/usr/bin/ping", &program).expect("/usr/bin/ping");
    let ping = |as_nobody: bool, arguments: &[&str]| {
        let mut command = if as_nobody {
            service_b.intercepted_as_nobody(&network, &program)
        } else {
            service_b.intercepted(&network, &program)
        };
        command.args(["-n", "-i", "0.2", "-W", "5", "-c", "3"]);
        run(with(command, arguments), Duration::from_secs(40))
    };
    for as_nobody in [true, false] {
        for (to, from) in [
            (&address, None),
            (&address6, None),
            (&address, Some(&own)),
            // The host itself.
            (&own, None),
        ] {
            let mut arguments = vec![to.as_str()];
            if let Some(from) = from {
                arguments.extend(["-I", from.as_str()]);
            }
            let text = ping(as_nobody, &arguments).expect_ok("ping");
            assert!(text.contains("3 received, 0% packet loss"), "{text}");
            let times: Vec<f64> = text
                .lines()
                .filter(|line| line.contains("ttl=64"))
                .filter_map(|line| line.split("time=").nth(1)?.split(' ').next()?.parse().ok())
                .collect();
            assert!(
                times.len() == 3 && times.iter().all(|&time| time > 0.0),
                "{text}"
            );
        }
    }
    let nobody = ping(true, &[&absent(&address, '.', "251")]);
    assert!(nobody.code == 1, "{nobody:?}");
    let told = nobody.stdout.contains("Destination Host Unreachable");
    assert!(told, "{nobody:?}");
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}
