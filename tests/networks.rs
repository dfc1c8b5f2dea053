//! Several networks in one container: each program is on the network that its environment names.

use std::process::Command;
use std::time::Duration;
use zt_tests::{Daemon, Host, Lab, Service, ServiceOptions, program, run, wait_for};

const POOLS: [&str; 2] = ["10.147.20", "10.147.21"];

/// A member of one network, and its address there.
struct Member<'a> {
    service: &'a Service<'a>,
    network: &'a str,
    address: String,
}

impl Member<'_> {
    /// A web server on this network that also serves the container's own.
    fn serve(&self, host: &Host, port: &str) -> Daemon {
        let mut python = self.service.intercepted(self.network, "python3");
        python.arg(program("whoami.py")).arg(port);
        let log = host.dir().join(format!("{port}.log"));
        let server = Daemon::start(python, &log);
        wait_for("a web server", Duration::from_secs(10), || {
            server.log().contains("listening").then_some(())
        });
        server
    }

    fn curl(&self, url: &str) -> Command {
        let mut curl = self.service.intercepted(self.network, "curl");
        curl.args(["-sS", "-m", "20", url]);
        curl
    }

    /// Who a web server says has asked it.
    fn asks(&self, server: &Member<'_>, port: &str) -> String {
        let curl = self.curl(&format!("http://{}:{port}/", server.address));
        run(curl, Duration::from_secs(30)).expect_ok("curl")
    }
}

fn join<'a>(service: &'a Service<'a>, lan: &Service<'_>, network: &'a str) -> Member<'a> {
    lan.authorize(network, &service.address());
    let _ = service.cli(&["join", network]);
    let address = service.wait_address(network);
    Member {
        service,
        network,
        address,
    }
}

#[test]
fn two_services_in_one_container_and_one_service_on_two_networks() {
    let lab = Lab::new();
    let (root, container, other) = (lab.host(), lab.host(), lab.host());
    let (lan, first) = Service::start_lan(&root, POOLS[0]);
    let second = lan.create_network("second", POOLS[1]);
    let options = |second| ServiceOptions {
        planet: Some(lan.home().join("planet")),
        second,
        ..ServiceOptions::default()
    };
    let two = [false, true].map(|second| Service::start(&container, &options(second)));
    let one = Service::start(&other, &options(false));
    let inside = [join(&two[0], &lan, &first), join(&two[1], &lan, &second)];
    let outside = [join(&one, &lan, &first), join(&one, &lan, &second)];

    let ports = ["8081", "8082"];
    let _servers: Vec<Daemon> = [(&inside, &container), (&outside, &other)]
        .into_iter()
        .flat_map(|(members, host)| {
            let each = members.iter().zip(ports);
            each.map(|(member, port)| member.serve(host, port))
        })
        .collect();
    for ((inside, outside), port) in inside.iter().zip(&outside).zip(ports) {
        for (asker, server) in [(inside, outside), (outside, inside)] {
            let said = format!("{port}: {} for None\n", asker.address);
            assert_eq!(asker.asks(server, port), said);
        }
    }
    // Who is on one network is not on the other, and its listener is not there either.
    for (at, port) in [(0, ports[1]), (1, ports[0])] {
        for (network, port) in [(1 - at, ports[1 - at]), (at, port)] {
            let url = format!("http://{}:{port}/", outside[network].address);
            let lost = run(inside[at].curl(&url), Duration::from_secs(30));
            // Could not connect.
            assert_eq!(lost.code, 7, "{lost:?}");
        }
    }
    // Both listeners serve the container's own network too, for a program of either.
    for member in &inside {
        for port in ports {
            let curl = member.curl(&format!("http://127.0.0.1:{port}/"));
            let said = run(curl, Duration::from_secs(30)).expect_ok("curl");
            assert_eq!(said, format!("{port}: 127.0.0.1 for None\n"));
        }
    }
}

/// A shell on one network starts a program on the other, which finds its standard input, a connection of the first, as
/// it left it.
#[test]
fn a_program_of_one_network_starts_one_of_the_other() {
    let lab = Lab::new();
    let (root, container, other) = (lab.host(), lab.host(), lab.host());
    let (lan, first) = Service::start_lan(&root, POOLS[0]);
    let second = lan.create_network("second", POOLS[1]);
    let options = || ServiceOptions {
        planet: Some(lan.home().join("planet")),
        ..ServiceOptions::default()
    };
    let (here, there) = (
        Service::start(&container, &options()),
        Service::start(&other, &options()),
    );
    let inside = [join(&here, &lan, &first), join(&here, &lan, &second)];
    let outside = [join(&there, &lan, &first), join(&there, &lan, &second)];
    let ports = ["8081", "8082"];
    let _servers = [
        outside[0].serve(&other, ports[0]),
        outside[1].serve(&other, ports[1]),
    ];
    let script = format!(
        "exec 3<>/dev/tcp/{}/{}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; \
         ZT_NC_NETWORK={} sh -c 'curl -sS -m 20 http://{}:{}/; tail -n 1 <&3'",
        outside[0].address,
        ports[0],
        here.socket(&second).display(),
        outside[1].address,
        ports[1],
    );
    let mut bash = here.intercepted(&first, "bash");
    bash.args(["-c", &script]);
    let text = run(bash, Duration::from_secs(60)).expect_ok("bash");
    let said = |at: usize| format!("{}: {} for None\n", ports[at], inside[at].address);
    assert_eq!(text, said(1) + &said(0));
}
