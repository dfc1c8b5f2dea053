//! Load on one service: many short connections, many open ones, hostile neighbours.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;
use zt_tests::{
    Daemon, Host, Lab, Service, open_descriptors, program, resident_kib, run, wait_for,
};

const PORT: u16 = 8080;

/// A real nginx on the LAN, in the foreground, logging the client's address.
fn nginx(mut command: Command, host: &Host) -> Daemon {
    let dir = host.dir().join("nginx");
    fs::create_dir_all(dir.join("html")).expect("folder");
    fs::write(dir.join("html/index.html"), "hello from the LAN\n").expect("page");
    let mut conf = String::from("daemon off; worker_processes 1; user root; pid nginx.pid;\n");
    let _ = write!(
        conf,
        "error_log error.log; worker_rlimit_nofile 8192; events {{ worker_connections 4096; }}\n\
         http {{ access_log access.log; keepalive_timeout 120;\n\
         client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;\n\
         scgi_temp_path t5; server {{ listen {PORT} backlog=1024; root html; }} }}\n"
    );
    fs::write(dir.join("nginx.conf"), conf).expect("nginx.conf");
    command.args(["-p".as_ref(), dir.as_os_str()]);
    command.args(["-c", "nginx.conf", "-e", "error.log"]);
    let daemon = Daemon::start(command, &host.dir().join("nginx.log"));
    wait_for("nginx", Duration::from_secs(5), || {
        fs::read_to_string(dir.join("nginx.pid")).ok()
    });
    daemon
}

/// Waits until a service holds no more descriptors than at `before`.
fn descriptors_return(what: &str, pid: u32, before: usize) {
    wait_for(what, Duration::from_secs(20), || {
        (open_descriptors(pid) <= before).then_some(())
    });
}

#[test]
fn twenty_thousand_short_connections_and_a_thousand_open_ones() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (server, address) = Service::start_member(&a, &lan, &network);
    let (client, client_address) = Service::start_member(&b, &lan, &network);
    let _nginx = nginx(server.intercepted(&network, "nginx"), &a);
    let url = format!("http://{address}:{PORT}/");

    let mut first = client.intercepted(&network, "curl");
    first.args(["-sS", "-m", "10", &url]);
    assert_eq!(
        run(first, Duration::from_secs(15)).expect_ok("the first page"),
        "hello from the LAN\n"
    );
    let log = fs::read_to_string(a.dir().join("nginx/access.log")).expect("access log");
    assert!(
        log.starts_with(&format!("{client_address} ")),
        "nginx logged {log}"
    );

    let before = [
        open_descriptors(server.pid()),
        open_descriptors(client.pid()),
    ];
    for at_once in ["10", "100"] {
        let mut ab = client.intercepted(&network, "ab");
        ab.args(["-q", "-n", "20000", "-c", at_once, &url]);
        let report = run(ab, Duration::from_secs(240)).expect_ok("ab");
        println!("{report}");
        assert!(report.contains("Complete requests:      20000"), "{report}");
        assert!(report.contains("Failed requests:        0"), "{report}");
    }
    descriptors_return("the server's descriptors", server.pid(), before[0]);
    descriptors_return("the client's descriptors", client.pid(), before[1]);

    let mut hold = client.intercepted(&network, "python3");
    hold.arg(program("hold.py"))
        .args([&address, "8080", "1000"]);
    let hold = Daemon::start(hold, &b.dir().join("hold.log"));
    wait_for("1,000 served connections", Duration::from_secs(60), || {
        hold.log().contains("served 1000").then_some(())
    });
    for (who, pid) in [("server", server.pid()), ("client", client.pid())] {
        let resident = resident_kib(pid);
        println!("{who} with 1,000 open connections: {resident} KiB resident");
        assert!(
            resident <= 64 << 10,
            "{who} service: {resident} KiB resident"
        );
    }
    drop(hold);
    descriptors_return("the server's descriptors", server.pid(), before[0]);
    descriptors_return("the client's descriptors", client.pid(), before[1]);
}

#[test]
fn garbage_on_the_control_socket_disturbs_nobody() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (server, address) = Service::start_member(&a, &lan, &network);
    let (client, _) = Service::start_member(&b, &lan, &network);
    let _nginx = nginx(server.intercepted(&network, "nginx"), &a);
    let before = open_descriptors(server.pid());

    let mut garbage = a.command("python3");
    garbage.arg(program("garbage.py"));
    garbage.arg(server.home().join(format!("nc_{network}")));
    let mut garbage = Daemon::start(garbage, &a.dir().join("garbage.log"));

    let mut ab = client.intercepted(&network, "ab");
    ab.args([
        "-q",
        "-n",
        "2000",
        "-c",
        "10",
        &format!("http://{address}:{PORT}/"),
    ]);
    let report = run(ab, Duration::from_secs(60)).expect_ok("ab");
    assert!(report.contains("Failed requests:        0"), "{report}");
    let status = wait_for("the end of the garbage", Duration::from_secs(60), || {
        garbage.ended()
    });
    assert!(status.success(), "{}", garbage.log());
    assert!(garbage.log().contains("disconnected"), "{}", garbage.log());
    descriptors_return("the server's descriptors", server.pid(), before);
}
