//! Things break: services are killed and replaced, programs die in every state, descriptors run out. Nothing hangs,
//! nothing leaks, and no neighbour hears of it.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use zt_tests::{
    Daemon, Host, Lab, Service, build_dir, open_descriptors, program, resident_kib, run, wait_for,
};

const PORT: &str = "24000";
const PATIENCE: Duration = Duration::from_secs(30);

/// A role of `programs/faults.py`.
fn role(mut python: Command, log: &Path, arguments: &[&str]) -> Daemon {
    python.arg(program("faults.py")).args(arguments);
    Daemon::start(python, log)
}

fn serve(service: &Service<'_>, network: &str) -> Daemon {
    let log = service.host().dir().join("serve.log");
    let server = role(
        service.intercepted(network, "/usr/bin/python3"),
        &log,
        &["serve", PORT],
    );
    wait_for("the server", PATIENCE, || {
        server.log().contains("listening").then_some(())
    });
    server
}

/// No program may have ended, and none may have seen what it should not.
fn assert_well(daemons: &mut [&mut Daemon]) {
    for daemon in daemons {
        let log = daemon.log();
        assert!(!log.contains("FATAL"), "{log}");
        assert!(daemon.ended().is_none(), "a program ended: {log}");
    }
}

/// Waits until a talker is served anew in every way, from a place in its log on.
fn served_again(talker: &Daemon, from: usize) {
    for kind in ["tcp", "blocking", "udp"] {
        let line = format!("served {kind}\n");
        wait_for(&line, PATIENCE, || {
            let log = talker.log();
            assert!(!log.contains("FATAL"), "{log}");
            log.get(from..)?.contains(&line).then_some(())
        });
    }
}

/// Whether a service listens at a control socket: one that was killed leaves the file behind. This is the wrong kind of
/// socket for it, so nothing is asked.
fn is_listening(control: &Path) -> bool {
    let refused = UnixStream::connect(control).map_err(|error| error.raw_os_error());
    refused.is_err_and(|errno| errno == Some(libc::EPROTOTYPE))
}

/// A member's service without the laboratory's patience, to be killed at any moment of its life.
struct Mortal<'a> {
    host: &'a Host,
    daemon: Daemon,
}

impl<'a> Mortal<'a> {
    fn start(host: &'a Host) -> Self {
        Self::start_with(host, "4096")
    }

    /// With so many descriptors.
    fn start_with(host: &'a Host, descriptors: &str) -> Self {
        let mut command = host.command_as_nobody("prlimit");
        command.arg(format!("--nofile={descriptors}:{descriptors}"));
        command.arg(build_dir().join("zerotier-sdk-service"));
        command.arg("-p9993").arg(host.dir().join("home"));
        let daemon = Daemon::start(command, &host.dir().join("service.log"));
        Self { host, daemon }
    }

    fn kill(&mut self) {
        self.daemon.signal(libc::SIGKILL);
        self.daemon.stop();
    }

    fn again(&mut self) {
        *self = Self::start(self.host);
    }
}

#[test]
fn a_service_is_killed_a_hundred_times_and_its_programs_go_on() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (mut killed, address_a) = Service::start_member(&a, &lan, &network);
    let (other, address_b) = Service::start_member(&b, &lan, &network);
    let socket = a.dir().join(format!("home/nc_{network}"));
    let python = |service: &Service<'_>| service.intercepted(&network, "/usr/bin/python3");
    let (mut server_a, mut server_b) = (serve(&killed, &network), serve(&other, &network));
    let mut inward = role(
        python(&other),
        &b.dir().join("talk.log"),
        &["talk", &address_a, PORT],
    );
    let mut outward = role(
        python(&killed),
        &a.dir().join("talk.log"),
        &["talk", &address_b, PORT],
    );
    served_again(&inward, 0);
    served_again(&outward, 0);
    killed.daemon().signal(libc::SIGKILL);
    killed.daemon().stop();
    drop(killed);
    let mut places = [inward.log().len(), outward.log().len()];
    let mut mortal = Mortal::start(&a);
    for cycle in 1..=100_u64 {
        if cycle % 10 == 0 {
            served_again(&inward, places[0]);
            served_again(&outward, places[1]);
        } else {
            // At any moment of a start: before there is a socket, as soon as there is one, a little later.
            let has_begun = || (cycle % 3 == 0 || is_listening(&socket)).then_some(());
            wait_for("the control socket", PATIENCE, has_begun);
            std::thread::sleep(Duration::from_millis(cycle % 7 * 20));
        }
        assert_well(&mut [&mut server_a, &mut server_b, &mut inward, &mut outward]);
        mortal.kill();
        places = [inward.log().len(), outward.log().len()];
        mortal.again();
    }
    served_again(&inward, places[0]);
    served_again(&outward, places[1]);
    assert_well(&mut [&mut server_a, &mut server_b, &mut inward, &mut outward]);
}

/// A service ends in good order and another one takes its place: who connects by the LAN waits a moment and is served.
#[test]
fn an_upgrade_of_the_service_refuses_nobody() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (mut upgraded, address) = Service::start_member(&a, &lan, &network);
    let (other, _) = Service::start_member(&b, &lan, &network);
    let mut server = serve(&upgraded, &network);
    let talker = other.intercepted(&network, "/usr/bin/python3");
    let mut talker = role(talker, &b.dir().join("talk.log"), &["talk", &address, PORT]);
    served_again(&talker, 0);
    upgraded.daemon().stop();
    drop(upgraded);
    let mut service = Mortal::start(&a);
    for _ in 0..5 {
        let from = talker.log().len();
        service.daemon.stop();
        service.again();
        served_again(&talker, from);
        assert_well(&mut [&mut server, &mut talker]);
    }
    let log = talker.log();
    assert!(!log.contains("ConnectionRefused"), "{log}");
}

/// What a service holds.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    descriptors: usize,
    kib: u64,
}

impl Holdings {
    fn of(pid: u32) -> Self {
        Self {
            descriptors: open_descriptors(pid),
            kib: resident_kib(pid),
        }
    }

    /// Waits until a service holds no more than this. Pages that an allocator keeps for the next time are no leak.
    fn come_back(self, what: &str, pid: u32) {
        const KEPT_KIB: u64 = 4 << 10;
        wait_for(what, PATIENCE, || {
            let now = Self::of(pid);
            let back = now.descriptors <= self.descriptors && now.kib <= self.kib + KEPT_KIB;
            back.then_some(())
        });
    }
}

/// A connection that a byte goes back and forth on while other things break.
struct Neighbour(Daemon);

impl Neighbour {
    fn start(service: &Service<'_>, network: &str, address: &str) -> Self {
        let python = service.intercepted(network, "/usr/bin/python3");
        let log = service.host().dir().join("ping.log");
        let daemon = role(python, &log, &["ping", address, PORT]);
        wait_for("the neighbour", PATIENCE, || {
            daemon.log().contains("pinging").then_some(())
        });
        Self(daemon)
    }

    /// It goes on, and never had to wait long.
    fn assert_undisturbed(&mut self) {
        const LONGEST_MS: u64 = 5_000;
        let from = self.0.log().len();
        let line = wait_for("the neighbour's report", PATIENCE, || {
            let log = self.0.log();
            assert!(!log.contains("FATAL"), "{log}");
            let fresh = log.get(from..)?.to_owned();
            fresh
                .lines()
                .find(|it| it.contains("worst"))
                .map(str::to_owned)
        });
        let worst: u64 = line
            .split(' ')
            .nth(1)
            .and_then(|it| it.parse().ok())
            .expect("a number");
        assert!(worst < LONGEST_MS, "{line}");
        assert!(self.0.ended().is_none());
    }
}

/// Starts `stuck.py` and waits until it is.
fn stuck(service: &Service<'_>, network: &str, state: &str, at: Option<(&str, &str)>) -> Daemon {
    let mut python = service.intercepted(network, "/usr/bin/python3");
    python.arg(program("stuck.py")).arg(state);
    if let Some((address, port)) = at {
        python.args([address, port]);
    }
    let mut daemon = Daemon::start(python, &service.host().dir().join(format!("{state}.log")));
    wait_for(state, PATIENCE, || {
        let log = daemon.log();
        assert!(daemon.ended().is_none(), "{state}: {log}");
        log.contains("stuck").then_some(())
    });
    daemon
}

fn kill(mut daemon: Daemon) {
    daemon.signal(libc::SIGKILL);
    daemon.stop();
}

#[test]
fn programs_are_killed_in_every_state_and_leave_nothing_behind() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (first, address) = Service::start_member(&a, &lan, &network);
    let (second, _) = Service::start_member(&b, &lan, &network);
    let _server = serve(&first, &network);
    let mut neighbour = Neighbour::start(&second, &network, &address);
    // Each state once, so that what services keep for ever (peers, pages) is there.
    let mut before = None;
    for round in 0..3 {
        let absent = stuck(&second, &network, "connecting", Some(("10.147.20.77", "9")));
        let listening = stuck(&first, &network, "listening", Some(("0.0.0.0", "24010")));
        let filling = stuck(&second, &network, "filling", Some((&address, "24010")));
        let half_open = stuck(&second, &network, "half-open", Some((&address, PORT)));
        let reading = stuck(&second, &network, "reading", Some((&address, PORT)));
        let unread = stuck(&first, &network, "unread", Some(("0.0.0.0", "24011")));
        let sending = stuck(&second, &network, "sending", Some((&address, "24011")));
        // In one round those who wait die first, in the next those whom they wait for.
        let mut programs = vec![
            absent, filling, half_open, reading, sending, listening, unread,
        ];
        if round % 2 == 1 {
            programs.reverse();
        }
        programs.into_iter().for_each(kill);
        neighbour.assert_undisturbed();
        match before {
            None => {
                // As with `come_back`: what is being closed is not held for ever.
                let settled = |pid| {
                    let mut last = usize::MAX;
                    wait_for("the first round's end", PATIENCE, || {
                        std::thread::sleep(Duration::from_secs(1));
                        let now = open_descriptors(pid);
                        (std::mem::replace(&mut last, now) == now).then(|| Holdings::of(pid))
                    })
                };
                before = Some((settled(first.pid()), settled(second.pid())));
            }
            Some((of_first, of_second)) => {
                of_first.come_back("the first service's holdings", first.pid());
                of_second.come_back("the second service's holdings", second.pid());
            }
        }
    }
}

/// Plays `limits.py` and returns what it prints: connections and the end of each round.
fn limits(mut python: Command, address: &str, count: &str) -> Vec<(usize, String)> {
    python
        .arg(program("limits.py"))
        .args([address, PORT, count]);
    let text = run(python, Duration::from_secs(120)).expect_ok("limits.py");
    let rounds = text.lines().map(|line| {
        let (count, end) = line.split_once(' ').expect("two words");
        (count.parse().expect("a number"), end.to_owned())
    });
    rounds.collect()
}

#[test]
fn descriptors_run_out_on_either_side_and_come_back() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (mut first, address) = Service::start_member(&a, &lan, &network);
    let (rich, rich_address) = Service::start_member(&b, &lan, &network);
    let outward = || first.intercepted(&network, "/usr/bin/python3");
    let inward = || rich.intercepted(&network, "/usr/bin/python3");
    let (mut server_a, mut server_b) = (serve(&first, &network), serve(&rich, &network));

    // The program's own limit.
    let mut limited = rich.intercepted(&network, "prlimit");
    limited.args(["--nofile=40:40", "/usr/bin/python3"]);
    for (count, end) in limits(limited, &rich_address, "100") {
        assert!(
            (20..40).contains(&count) && end == "EMFILE",
            "{count} {end}"
        );
    }

    // The service's limit, as it starts with it: for connections that its programs make, and for those that they take.
    let (outward, talker) = (outward(), outward());
    first.daemon().stop();
    drop(first);
    let poor = Mortal::start_with(&a, "96");
    let mut talker = role(
        talker,
        &a.dir().join("talk.log"),
        &["talk", &rich_address, PORT],
    );
    served_again(&talker, 0);
    talker.stop();
    for (count, end) in limits(outward, &rich_address, "100") {
        println!("the poor service's programs made {count}, then {end}");
        assert!((5..100).contains(&count) && end != "all", "{count} {end}");
    }
    // Those that find no room wait in the backlog until there is some.
    let mut talker = role(
        inward(),
        &b.dir().join("talk.log"),
        &["talk", &address, PORT],
    );
    served_again(&talker, 0);
    talker.stop();
    for (count, end) in limits(inward(), &address, "8") {
        assert!(count == 8 && end == "all", "{count} {end}");
    }
    let before = open_descriptors(poor.daemon.pid());
    let mut crowd = role(
        inward(),
        &b.dir().join("crowd.log"),
        &["crowd", &address, PORT, "100"],
    );
    let ended = wait_for("everybody's turn", PATIENCE * 2, || crowd.ended());
    assert!(ended.success(), "{}", crowd.log());
    wait_for("the poor service's descriptors", PATIENCE, || {
        (open_descriptors(poor.daemon.pid()) <= before).then_some(())
    });
    assert_well(&mut [&mut server_a, &mut server_b]);
}

#[test]
fn a_flooded_control_socket_serves_the_others() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (service, address) = Service::start_member(&a, &lan, &network);
    let (other, _) = Service::start_member(&b, &lan, &network);
    let mut server = serve(&service, &network);
    let mut neighbour = Neighbour::start(&other, &network, &address);
    let before = Holdings::of(service.pid());
    let mut flood = a.command_as_nobody("/usr/bin/python3");
    flood.arg(program("flood.py"));
    flood
        .arg(service.home().join(format!("nc_{network}")))
        .arg("8");
    let mut flood = Daemon::start(flood, &a.dir().join("flood.log"));
    // Programs of another user go on opening connections, by the very service.
    let python = service.intercepted(&network, "/usr/bin/python3");
    let mut talker = role(
        python,
        &a.dir().join("talk.log"),
        &["talk", &address, PORT, "3"],
    );
    served_again(&talker, 0);
    neighbour.assert_undisturbed();
    let ended = wait_for("the end of the flood", PATIENCE, || flood.ended());
    assert!(ended.success(), "{}", flood.log());
    assert!(flood.log().contains("asked"), "{}", flood.log());
    let talked = wait_for("the end of the talk", PATIENCE, || talker.ended());
    assert!(talked.success(), "{}", talker.log());
    before.come_back("the service's holdings", service.pid());
    assert_well(&mut [&mut server]);
}
