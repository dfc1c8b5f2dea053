//! Programs in containers of Podman, under its default seccomp profile: by the library and by `zt-launch`, as a normal user
//! without any capability on a read-only root.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;
use zt_tests::{Daemon, Host, Lab, Service, ServiceOptions, build_dir, go_program, run, wait_for};

const LIMIT: Duration = Duration::from_secs(60);

/// Answers one connection; gives up in time, for nobody else ends the container.
const SERVER: &str = "
import socket
listener = socket.create_server(('', 8081))
listener.settimeout(30)
print('listening', flush=True)
connection, peer = listener.accept()
connection.recv(10000)
connection.sendall(peer[0].encode())
";

/// A container whose programs are this machine's, with no network but loopback.
fn podman(host: &Host, service: &Service<'_>, network: &str) -> Command {
    let root = host.dir().join("root");
    if !root.exists() {
        for name in ["usr", "etc", "run/zt", "build", "host"] {
            std::fs::create_dir_all(root.join(name)).expect("folder");
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.join(name)).expect("link");
        }
    }
    let sockets = service.socket(network);
    let directory = sockets.parent().expect("folder of the sockets");
    // The container has a network of its own anyway.
    let mut podman = Command::new("podman");
    for (option, name) in [
        ("--root", "store"),
        ("--runroot", "state"),
        ("--tmpdir", "scratch"),
    ] {
        podman.arg(option).arg(host.dir().join(name));
    }
    podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
    podman.args(["--events-backend", "none", "run", "--rm", "-i"]);
    podman.args(["--network", "none", "--user", "1000", "--cap-drop", "ALL"]);
    podman.args(["--security-opt", "no-new-privileges", "--read-only"]);
    // What it would ask for by itself may be more than this machine has.
    podman.args([
        "--ulimit",
        "nofile=1024:1024",
        "--ulimit",
        "nproc=1000:1000",
    ]);
    for (from, to) in [
        ("/usr".as_ref(), "/usr"),
        (directory, "/run/zt"),
        (&build_dir(), "/build"),
        (host.dir(), "/host"),
    ] {
        podman.arg("-v").arg(format!("{}:{to}:ro", from.display()));
    }
    podman
        .arg("-e")
        .arg(format!("ZT_NC_NETWORK=/run/zt/nc_{network}"));
    podman.arg("--rootfs").arg(&root);
    podman
}

const LAUNCHER: &[&str] = &["/build/zt-launch"];
const LIBRARY: &[&str] = &["/usr/bin/env", "LD_PRELOAD=/build/libztintercept.so"];

#[test]
fn programs_in_containers_of_podman_are_on_the_lan() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (member, member_address) = Service::start_member(&a, &lan, &network);
    let options = ServiceOptions {
        for_every_user: true,
        ..ServiceOptions::default()
    };
    let (service, address) = Service::start_member_with(&b, &lan, &network, options);
    let podman = |words: &[&str]| {
        let mut podman = podman(&b, &service, &network);
        podman.args(words);
        podman
    };
    // The engine's filter is there.
    let status = run(
        podman(&["/bin/grep", "Seccomp:", "/proc/self/status"]),
        LIMIT,
    );
    assert_eq!(status.expect_ok("podman").trim(), "Seccomp:\t2");

    let _ = go_program(&b, "web");
    let mut server = member.launched(&network, go_program(&a, "web"));
    server.args(["server", ":8080"]);
    let server = Daemon::start(server, &a.dir().join("web.log"));
    wait_for("the server", Duration::from_secs(10), || {
        server.log().contains("listening").then_some(())
    });
    let url = format!("http://{member_address}:8080/");
    let said = format!("{address} to {member_address}:8080\n");
    let client = podman(&[LAUNCHER, &["/host/web", "client", &url, "20"]].concat());
    assert_eq!(run(client, LIMIT).expect_ok("web"), format!("20 {said}"));
    for way in [LIBRARY, LAUNCHER] {
        let curl = podman(&[way, &["/usr/bin/curl", "-sS", "-m", "20", &url]].concat());
        assert_eq!(run(curl, LIMIT).expect_ok("curl"), said);
    }

    for (way, log) in [(LIBRARY, "library.log"), (LAUNCHER, "launcher.log")] {
        let python = podman(&[way, &["/usr/bin/python3", "-c", SERVER]].concat());
        let mut server = Daemon::start(python, &b.dir().join(log));
        wait_for("the server", LIMIT, || {
            server.log().contains("listening").then_some(())
        });
        let mut curl = member.intercepted(&network, "curl");
        curl.args(["--http0.9", "-sS", "-m", "20"]);
        curl.arg(format!("http://{address}:8081/"));
        assert_eq!(run(curl, LIMIT).expect_ok("curl"), member_address);
        wait_for("the container's end", LIMIT, || server.ended());
    }
}
