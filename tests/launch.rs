//! `zt-launch`: static programs and Go programs on the LAN, both ways and between each other.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use zt_tests::{
    Daemon, Host, Lab, Service, ServiceOptions, build_dir, go_program, program, run, wait_for,
};

const LIMIT: Duration = Duration::from_secs(30);

/// A LAN with two members, and their addresses.
macro_rules! lan {
    ($lab:ident, $network:ident, $a:ident $a_address:ident, $b:ident $b_address:ident) => {
        let $lab = Lab::new();
        let (root, a_host, b_host) = ($lab.host(), $lab.host(), $lab.host());
        let (lan, $network) = Service::start_lan(&root, "10.147.20");
        let ($a, $a_address) = Service::start_member(&a_host, &lan, &$network);
        let ($b, $b_address) = Service::start_member(&b_host, &lan, &$network);
    };
}

/// The Go program, built without a C library.
fn web(host: &Host) -> PathBuf {
    go_program(host, "web")
}

fn says(daemon: &Daemon, text: &str) {
    wait_for(text, Duration::from_secs(10), || {
        daemon.log().contains(text).then_some(())
    });
}

#[test]
fn static_busybox_serves_and_fetches() {
    lan!(lab, network, a address, b _client_address);
    let dir = a.host().dir().join("www");
    fs::create_dir_all(&dir).expect("folder");
    let page: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    fs::write(dir.join("page"), &page).expect("page");
    let mut httpd = a.launched(&network, "busybox");
    httpd.args(["httpd", "-f", "-p", "8080", "-h"]).arg(&dir);
    let httpd = Daemon::start(httpd, &a.host().dir().join("httpd.log"));
    let url = format!("http://{address}:8080/page");
    wait_for("the first page", LIMIT, || {
        let mut wget = b.launched(&network, "busybox");
        wget.args(["wget", "-q", "-O", "-", &url]);
        let output = run(wget, LIMIT);
        (output.code == 0).then(|| assert_eq!(output.stdout, page))
    });
    // The preload library's programs are on the same LAN, and the container's own network is served too.
    let mut curl = b.intercepted(&network, "curl");
    curl.args(["-sS", "-m", "10", &url]);
    assert_eq!(run(curl, LIMIT).expect_ok("curl"), page);
    let mut near = a.host().command("curl");
    near.args(["-sS", "-m", "10", "http://127.0.0.1:8080/page"]);
    assert_eq!(run(near, LIMIT).expect_ok("curl on loopback"), page);
    assert_eq!(httpd.log(), "");

    let mut refused = b.launched(&network, "busybox");
    refused.args(["wget", "-O", "-", &format!("http://{address}:8081/")]);
    let refused = run(refused, LIMIT);
    assert!(refused.stderr.contains("Connection refused"), "{refused:?}");
}

#[test]
fn go_serves_and_fetches() {
    lan!(lab, network, a address, b client_address);
    let web = web(a.host());
    let mut server = a.launched(&network, &web);
    server.args(["server", ":8080"]);
    let server = Daemon::start(server, &a.host().dir().join("web.log"));
    says(&server, "listening on [::]:8080");

    let mut client = b.launched(&network, &web);
    client.args(["client", &format!("http://{address}:8080/"), "500"]);
    let answers = run(client, Duration::from_secs(60)).expect_ok("the client");
    assert_eq!(answers, format!("500 {client_address} to {address}:8080\n"));

    let mut child = b.launched(&network, &web);
    child.args(["child", &format!("http://{address}:8080/")]);
    let answer = run(child, LIMIT).expect_ok("the client's child");
    assert_eq!(answer, format!("1 {client_address} to {address}:8080\n"));

    let mut refused = b.launched(&network, &web);
    refused.args(["client", &format!("http://{address}:8081/"), "1"]);
    let refused = run(refused, LIMIT);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("connection refused"), "{refused:?}");
}

#[test]
fn go_speaks_in_datagrams() {
    lan!(lab, network, a address, b client_address);
    let web = web(a.host());
    let mut server = a.launched(&network, &web);
    server.args(["datagrams", ":8053"]);
    let server = Daemon::start(server, &a.host().dir().join("datagrams.log"));
    says(&server, "listening on [::]:8053");
    let mut ask = b.launched(&network, &web);
    ask.args(["ask", &format!("{address}:8053"), "200"]);
    assert_eq!(
        run(ask, LIMIT).expect_ok("the questions"),
        format!("200 answers for {client_address} from {address}:8053\n")
    );
    // The container's own network is served by the same socket, and loopback stays loopback.
    let mut near = a.launched(&network, &web);
    near.args(["ask", "127.0.0.1:8053", "20"]);
    assert_eq!(
        run(near, LIMIT).expect_ok("questions on loopback"),
        "20 answers for 127.0.0.1 from 127.0.0.1:8053\n"
    );
}

#[test]
fn a_datagram_socket_is_one_to_every_call() {
    lan!(lab, network, a address, b client_address);
    let mut echo = a.launched(&network, "python3");
    echo.arg("-u")
        .arg(program("launch.py"))
        .args(["echo", "8080"]);
    let echo = Daemon::start(echo, &a.host().dir().join("echo.log"));
    says(&echo, "listening");
    let mut client = b.launched(&network, "python3");
    client
        .arg(program("launch.py"))
        .args(["calls", "8080", &address]);
    let said = run(client, LIMIT).expect_ok("the calls");
    assert_eq!(
        said,
        format!(
            "write one {client_address}\nsendto two {client_address}\nsendmsg three {client_address}\n\
             recv four {client_address}\ncut fi True\nempty  {client_address}\nlarge 60000\n\
             nothing True\nrefused True\nstill six {client_address}\n"
        )
    );
}

/// A Python program of `launch.py` that listens.
fn waiting(service: &Service<'_>, network: &str, case: &str, rest: &[&str]) -> Daemon {
    let mut command = service.launched(network, "python3");
    command
        .arg("-u")
        .arg(program("launch.py"))
        .args([case, "8080"]);
    command.args(rest);
    let log = service.host().dir().join(format!("{case}.log"));
    let daemon = Daemon::start(command, &log);
    says(&daemon, "listening");
    daemon
}

/// What a server says to a client of the other host.
fn hear(client: &Service<'_>, network: &str, address: &str) -> String {
    let mut nc = client.launched(network, "busybox");
    nc.args(["nc", address, "8080"]);
    run(nc, LIMIT).expect_ok("nc")
}

fn end_of(daemon: &mut Daemon) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    let status = wait_for("the end", Duration::from_secs(5), || daemon.ended());
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

const FAST_OPEN: &str = "import socket, sys; s = socket.socket(); \
    print(s.sendto(b'hello', socket.MSG_FASTOPEN, (sys.argv[1], 8080)), s.recv(100).decode(), end='')";

#[test]
fn threads_and_processes_share_a_listener() {
    lan!(lab, network, a address, b client_address);
    let mut threads = waiting(&a, &network, "threads", &["100"]);
    for _ in 0..100 {
        assert!(hear(&b, &network, &address).starts_with(&client_address));
    }
    says(&threads, "done");
    assert_eq!(end_of(&mut threads), 0);

    let prefork = waiting(&a, &network, "prefork", &[]);
    let heard: std::collections::BTreeSet<String> =
        (0..40).map(|_| hear(&b, &network, &address)).collect();
    assert!(heard.len() > 1, "one process had all of them: {heard:?}");
    let mut fast = b.launched(&network, "python3");
    fast.args(["-c", FAST_OPEN, &address]);
    let answer = run(fast, LIMIT).expect_ok("fast open");
    assert!(
        answer.starts_with(&format!("5 {client_address} ")),
        "{answer}"
    );
    drop(prefork);
}

#[test]
fn signals_reach_a_program_that_waits() {
    lan!(lab, network, a address, b _client_address);
    let mut alarm = waiting(&a, &network, "alarm", &["10.147.20.77"]);
    says(&alarm, "still accepting");
    std::thread::sleep(Duration::from_millis(500));
    let _ = hear(&b, &network, &address);
    assert_eq!(end_of(&mut alarm), 0, "{}", alarm.log());
    assert_eq!(
        alarm.log(),
        "listening\naccept True\nconnect True\nstill accepting\nrang\naccepted\ntimed out True\n"
    );

    let mut graceful = waiting(&a, &network, "graceful", &[]);
    graceful.signal(libc::SIGTERM);
    assert_eq!(end_of(&mut graceful), 3);
    let mut killed = waiting(&a, &network, "threads", &["100"]);
    killed.signal(libc::SIGTERM);
    assert_eq!(end_of(&mut killed), 128 + libc::SIGTERM);
}

#[test]
fn a_dead_program_leaves_nothing() {
    lan!(lab, network, a address, b _client_address);
    let descriptors = |service: &Service<'_>| {
        fs::read_dir(format!("/proc/{}/fd", service.pid()))
            .expect("descriptors")
            .count()
    };
    let before = descriptors(&a);
    let mut program = waiting(&a, &network, "threads", &["1000"]);
    let _ = hear(&b, &network, &address);
    program.signal(libc::SIGTERM);
    assert_eq!(end_of(&mut program), 128 + libc::SIGTERM);
    wait_for("the service's descriptors", Duration::from_secs(5), || {
        (descriptors(&a) <= before).then_some(())
    });
}

#[test]
fn a_closed_listener_is_closed() {
    lan!(lab, network, a address, b _client_address);
    let _program = waiting(&a, &network, "again", &[]);
    wait_for("a refusal", LIMIT, || {
        let mut curl = b.intercepted(&network, "curl");
        curl.args(["-sS", "-m", "5", &format!("http://{address}:8080/")]);
        // 7: nobody answers there.
        (run(curl, LIMIT).code == 7).then_some(())
    });
}

#[test]
fn a_socket_is_registered_before_it_connects() {
    lan!(lab, network, a address, b _client_address);
    let _server = waiting(&a, &network, "threads", &["1000"]);
    let mut client = b.launched(&network, "python3");
    client
        .arg(program("launch.py"))
        .args(["registered", "8080", &address]);
    let said = run(client, LIMIT).expect_ok("the client");
    let once = "[(True, 4)]\n";
    assert_eq!(said, format!("True\n{once}{once}{once}True\n0\n"));
}

#[test]
fn many_register_sockets_before_they_connect() {
    lan!(lab, network, a address, b _client_address);
    let _server = waiting(&a, &network, "threads", &["1000"]);
    let mut client = b.launched(&network, "python3");
    client
        .arg(program("launch.py"))
        .args(["registrations", "8080", &address]);
    assert_eq!(run(client, LIMIT).expect_ok("the clients"), "[0]\n");
}

/// A connection is handed down, and one process after the other works on it.
#[test]
fn a_connection_survives_exec() {
    lan!(lab, network, a address, b client_address);
    let _server = waiting(&a, &network, "threads", &["1000"]);
    let mut client = b.launched(&network, "python3");
    let script = "import os, socket, sys; s = socket.create_connection((sys.argv[1], 8080)); \
        os.set_inheritable(s.fileno(), True); \
        os.execvp(sys.argv[2], [sys.argv[2], 'python3', '-c', sys.argv[3], str(s.fileno())])";
    let heir = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); \
        print(s.getpeername()[0], s.getsockname()[0], s.recv(100).split()[0].decode())";
    client.args(["-c", script, &address, "env", heir]);
    assert_eq!(
        run(client, LIMIT).expect_ok("the heir"),
        format!("{address} {client_address} {client_address}\n")
    );
}

/// Without its supervisor a program gets errors, and does not hang.
#[test]
fn a_supervisors_death_is_an_error() {
    lan!(lab, network, a _address, b _client_address);
    let orphan = waiting(&a, &network, "orphan", &[]);
    orphan.signal(libc::SIGKILL);
    says(&orphan, "ended with ENOSYS\nended with ENOSYS\n");
    drop(b);
}

#[test]
fn many_processes_do_not_meet() {
    lan!(lab, network, a address, b _client_address);
    let mut forks = a.launched(&network, "python3");
    forks
        .arg(program("launch.py"))
        .args(["forks", "9000", "40", &address]);
    assert_eq!(run(forks, LIMIT).expect_ok("the processes"), "[0]\n");
    drop(b);
}

#[test]
fn a_listener_goes_over_to_a_new_service() {
    lan!(lab, network, a address, b client_address);
    let host = a.host();
    let _program = waiting(&a, &network, "threads", &["1000"]);
    let web = web(host);
    let mut server = a.launched(&network, &web);
    server.args(["server", ":8090"]);
    let server = Daemon::start(server, &host.dir().join("web.log"));
    says(&server, "listening");
    assert!(hear(&b, &network, &address).starts_with(&client_address));
    drop(a);
    let a = Service::start(host, &ServiceOptions::default());
    assert_eq!(a.wait_address(&network), address);
    wait_for("an answer of the blocking server", LIMIT, || {
        let mut nc = b.launched(&network, "busybox");
        nc.args(["nc", "-w", "2", &address, "8080"]);
        run(nc, LIMIT)
            .stdout
            .starts_with(&client_address)
            .then_some(())
    });
    wait_for("an answer of the Go server", LIMIT, || {
        let mut client = b.launched(&network, &web);
        client.args(["client", &format!("http://{address}:8090/"), "1"]);
        (run(client, LIMIT).code == 0).then_some(())
    });
}

#[test]
fn without_a_network_the_program_is_run_as_it_is() {
    let run_plain = |arguments: &[&str]| {
        let mut command = Command::new(build_dir().join("zt-launch"));
        command.env_remove("ZT_NC_NETWORK").args(arguments);
        run(command, LIMIT)
    };
    assert_eq!(run_plain(&["busybox", "echo", "-v"]).stdout, "-v\n");
    assert_eq!(run_plain(&["sh", "-c", "exit 7"]).code, 7);
    assert_eq!(run_plain(&["/nonexistent"]).code, 127);
    assert_eq!(run_plain(&["/etc/passwd"]).code, 126);
    assert_eq!(run_plain(&[]).code, 125);
    assert!(run_plain(&["--help"]).stdout.contains("ZT_NC_NETWORK"));
}

/// There is nothing left of it to look into.
#[test]
fn a_program_may_end_at_once() {
    for _ in 0..100 {
        let mut command = launcher_of_nobody();
        command.args(["busybox", "true"]);
        let ended = run(command, LIMIT);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    }
}

/// The filter of a usual container refuses every call by which one process looks into another.
#[test]
fn a_containers_filter_is_no_obstacle() {
    lan!(lab, network, a address, b client_address);
    let _server = waiting(&a, &network, "threads", &["1000"]);
    let mut nc = b.host().command_as_nobody("env");
    nc.arg(format!(
        "ZT_NC_NETWORK={}",
        b.home().join(format!("nc_{network}")).display()
    ))
    .arg("python3")
    .arg(program("deny.py"))
    .arg("looks")
    .arg(build_dir().join("zt-launch"))
    .args(["busybox", "nc", &address, "8080"]);
    let heard = run(nc, LIMIT).expect_ok("nc");
    assert!(heard.starts_with(&client_address), "{heard}");
}

#[test]
fn what_cannot_work_is_said() {
    let launcher = build_dir().join("zt-launch");
    let run_denied = |arguments: &[&std::ffi::OsStr]| {
        let mut command = Command::new(&launcher);
        command
            .env("ZT_NC_NETWORK", "/nonexistent/nc_0")
            .args(arguments);
        run(command, LIMIT)
    };
    let nested = run_denied(&[launcher.as_os_str(), "true".as_ref()]);
    assert_eq!(nested.code, 125);
    assert!(nested.stderr.contains("seccomp EBUSY"), "{nested:?}");

    // A ring would make socket calls that no filter sees.
    let mut ring = launcher_of_nobody();
    ring.arg("python3").arg(program("deny.py")).arg("ring");
    assert_eq!(
        run(ring, LIMIT).expect_ok("the ring"),
        format!("{}\n", libc::ENOSYS)
    );

    // A privileged supervisor may look into any process; this one has no more than its program needs to change its user.
    let mut changing = launcher_with(&["--inh-caps=-all", "--bounding-set=-all,+setuid"]);
    changing.arg("python3").arg(program("deny.py")).arg("user");
    let mut protected = launcher_of_nobody();
    protected
        .arg("python3")
        .arg(program("deny.py"))
        .arg("dumpable");
    for mut hidden in [changing, protected] {
        hidden.args(["127.0.0.1", "1"]);
        let hidden = run(hidden, LIMIT);
        // It keeps the kernel's network.
        let refused = format!("{}\n", libc::ECONNREFUSED);
        assert_eq!(hidden.stdout, refused, "{hidden:?}");
        let why = "cannot be put on the LAN: it has changed its user or protected itself";
        assert!(hidden.stderr.contains(why), "{hidden:?}");
    }
}

/// Without a service, as the user nobody: a privileged supervisor may look into any process.
fn launcher_of_nobody() -> Command {
    launcher_with(&[
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ])
}

/// Without a service, as `setpriv` makes it.
fn launcher_with(privileges: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(privileges)
        .arg(build_dir().join("zt-launch"))
        .env("ZT_NC_NETWORK", "/nonexistent/nc_0");
    command
}
