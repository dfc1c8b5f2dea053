//! Programs of the distribution as servers and clients on the LAN.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::build::{Scratch, assert_success, command};
use crate::stand_in::{OWN, StandIn};

/// A server that is ended with the test.
struct Server(Child);

impl Server {
    /// Starts it and waits until it serves the container's own network too (as published ports need).
    fn start(mut command: Command, port: u16) -> Self {
        let server = Self(command.stdin(Stdio::null()).spawn().unwrap());
        let limit = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < limit, "no server at port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program does is heard by the service a moment later.
fn wait_for_sockets(service: &StandIn, wanted: usize) {
    let limit = Instant::now() + Duration::from_secs(10);
    while service.sockets() != wanted {
        assert!(
            Instant::now() < limit,
            "{} sockets, not {wanted}",
            service.sockets()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Debian's own interpreter: a test must not depend on what else is first in the path.
const PYTHON: &str = "/usr/bin/python3";

fn python(script: &str, network: Option<&Path>) -> Command {
    let mut python = command(PYTHON, network);
    python.args(["-c", script]);
    python
}

fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_success(&output, &format!("{command:?}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn python_serves_files_to_curl_and_logs_true_addresses() {
    let scratch = Scratch::new();
    let service = StandIn::start(scratch.path()).unwrap();
    std::fs::write(scratch.path().join("page"), vec![b'x'; 3_000_000]).unwrap();
    let log = scratch.path().join("log");
    let mut server = command(PYTHON, Some(service.path()));
    server
        .args(["-m", "http.server", "22001"])
        .current_dir(scratch.path());
    server.stderr(std::fs::File::create(&log).unwrap());
    let server = Server::start(server, 22_001);
    for host in [OWN.to_string(), "127.0.0.1".to_owned()] {
        // Ten at a time: each a non-blocking connect and an accept.
        let mut curl = command("curl", Some(service.path()));
        curl.args([
            "-sS",
            "--parallel",
            "--fail",
            "-w",
            "%{size_download} %{local_ip} %{remote_ip}\n",
        ]);
        for _ in 0..10 {
            curl.args(["-o", "/dev/null"])
                .arg(format!("http://{host}:22001/page"));
        }
        let lines = run(curl);
        assert_eq!(lines, format!("3000000 {host} {host}\n").repeat(10));
    }
    drop(server);
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(
        log.lines()
            .filter(|line| line.starts_with(&format!("{OWN} ")))
            .count(),
        10,
        "{log}"
    );
    assert_eq!(
        log.lines()
            .filter(|line| line.starts_with("127.0.0.1 "))
            .count(),
        10,
        "{log}"
    );
}

#[test]
fn asyncio_echoes_over_epoll_on_both_families() {
    let scratch = Scratch::new();
    let service = StandIn::start(scratch.path()).unwrap();
    // The server listens on `::` and `0.0.0.0`; a thousand exchanges, fifty at a time; half-close ends each.
    let script = r#"
import asyncio
async def serve(reader, writer):
    data = await reader.read()
    writer.write(data)
    await writer.drain()
    writer.close()
async def talk(limit, host, n):
    async with limit:
        reader, writer = await asyncio.open_connection(host, 22002)
        assert writer.get_extra_info('peername')[0] == host, writer.get_extra_info('peername')
        writer.write(b'%d' % n * 5000)
        writer.write_eof()
        assert await reader.read() == b'%d' % n * 5000
        writer.close()
        await writer.wait_closed()
async def main():
    server = await asyncio.start_server(serve, None, 22002)
    limit = asyncio.Semaphore(50)
    hosts = ['10.77.0.1', 'fd77::1', '127.0.0.1', '::1']
    await asyncio.gather(*(talk(limit, hosts[n % 4], n) for n in range(1000)))
    try:
        await asyncio.open_connection('10.77.0.1', 9)
    except ConnectionRefusedError:
        print('refused')
    server.close()
asyncio.run(main())
"#;
    assert_eq!(run(python(script, Some(service.path()))), "refused\n");
}

#[test]
fn node_serves_on_its_dual_stack_listener() {
    let scratch = Scratch::new();
    let service = StandIn::start(scratch.path()).unwrap();
    let script = "
const net = require('net'), http = require('http');
const server = http.createServer((q, r) => r.end(q.socket.remoteAddress + ' ' + q.socket.localPort));
server.listen(22003, () => http.get('http://10.77.0.1:22003/', r => r.on('data', d => {
    console.log(String(d));
    net.connect(9, '10.77.0.1').on('error', e => { console.log(e.code); server.close(); process.exit(); });
})));";
    let mut node = command("/usr/bin/node", Some(service.path()));
    node.args(["-e", script]);
    assert_eq!(run(node), "::ffff:10.77.0.1 22003\nECONNREFUSED\n");
}

#[test]
fn a_listener_serves_the_own_network_again_after_its_restart() {
    let scratch = Scratch::new();
    let service = StandIn::start(scratch.path()).unwrap();
    for _ in 0..5 {
        let mut server = command(PYTHON, Some(service.path()));
        server
            .args(["-m", "http.server", "22004"])
            .current_dir(scratch.path())
            .stderr(Stdio::null());
        let server = Server::start(server, 22_004);
        wait_for_sockets(&service, 1);
        drop(server);
    }
    wait_for_sockets(&service, 0);
}

#[test]
fn without_its_service_a_program_keeps_its_own_network() {
    let scratch = Scratch::new();
    let service = StandIn::start(scratch.path()).unwrap();
    let script = r#"
import errno, socket, sys
lan = ('10.77.0.98', 80)
s = socket.create_connection(lan)
print('up')
sys.stdout.flush()
sys.stdin.readline()
for _ in range(2):
    try:
        socket.create_connection(lan, 2)
    except OSError as e:
        print(errno.errorcode[e.errno])
try:
    socket.socket().bind(('10.77.0.1', 0))
except OSError as e:
    print(errno.errorcode[e.errno])
l = socket.create_server(('', 0))
c = socket.create_connection(('127.0.0.1', l.getsockname()[1]), 2)
print(l.accept()[1][0])
try:
    print(s.recv(1))
except ConnectionResetError:
    print('reset')
print('away')
sys.stdout.flush()
sys.stdin.readline()
s = socket.create_connection(lan)
s.sendall(b'back')
print(s.recv(4).decode(), s.getpeername()[0])
"#;
    let mut program = python(script, Some(service.path()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (
        program.stdin.take().unwrap(),
        program.stdout.take().unwrap(),
    );
    let mut wait_for = |text: &str| {
        let mut seen = String::new();
        let mut byte = [0];
        while !seen.ends_with(text) && output.read(&mut byte).unwrap() == 1 {
            seen.push(char::from(byte[0]));
        }
        seen
    };
    assert_eq!(wait_for("up\n"), "up\n");
    service.kill();
    input.write_all(b"\n").unwrap();
    let away = "ENETUNREACH\nENETUNREACH\nEADDRNOTAVAIL\n127.0.0.1\nreset\naway\n";
    assert_eq!(wait_for("away\n"), away);
    // Another instance at the same path: its table takes the place of the old one.
    let _again = StandIn::start(scratch.path()).unwrap();
    input.write_all(b"\n").unwrap();
    assert_eq!(wait_for("10.77.0.98\n"), "back 10.77.0.98\n");
    assert!(program.wait().unwrap().success());
}

#[test]
fn listeners_go_over_to_the_next_service() {
    let scratch = Scratch::new();
    let service = StandIn::start(scratch.path()).unwrap();
    // One waits in accept, one in select.
    let script = "
import socket, sys
l = socket.create_server(('', 22006))
while True:
    s, a = l.accept()
    s.sendall(a[0].encode()), s.close()";
    let blocking = Server::start(python(script, Some(service.path())), 22_006);
    let mut server = command(PYTHON, Some(service.path()));
    server
        .args(["-m", "http.server", "22007"])
        .current_dir(scratch.path())
        .stderr(Stdio::null());
    let selecting = Server::start(server, 22_007);
    let mut service = Some(service);
    for _ in 0..3 {
        if let Some(service) = service.take() {
            service.kill();
        }
        std::thread::sleep(Duration::from_millis(300));
        let service = &*service.insert(StandIn::start(scratch.path()).unwrap());
        for host in [OWN.to_string(), "127.0.0.1".to_owned()] {
            let script = format!(
                "import socket, time, urllib.request
for n in range(100):
    try:
        s = socket.create_connection(('{host}', 22006))
        p = urllib.request.urlopen('http://{host}:22007/').status
        break
    except OSError:
        time.sleep(0.1)
print(s.recv(99).decode(), p)"
            );
            assert_eq!(
                run(python(&script, Some(service.path()))),
                format!("{host} 200\n")
            );
        }
        wait_for_sockets(service, 2);
    }
    drop((blocking, selecting));
}

#[test]
fn a_program_that_starts_before_its_service_waits_for_it() {
    let scratch = Scratch::new();
    let path = scratch.path().join("nc_test");
    let script = "
import socket
l = socket.create_server(('', 22005))
s = socket.create_connection(('10.77.0.1', 22005))
print(l.accept()[1][0])";
    let program = python(script, Some(&path))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let _service = StandIn::start(scratch.path()).unwrap();
    let output = program.wait_with_output().unwrap();
    assert_success(&output, "python");
    assert_eq!(output.stdout, b"10.77.0.1\n");
}

#[test]
fn a_normal_user_gets_a_privileged_port_on_the_lan() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let service = StandIn::start(scratch.path()).unwrap();
    for path in [scratch.path(), service.path()] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let script = "
import os, socket
os.setgroups([]), os.setgid(65534), os.setuid(65534)
l = socket.create_server(('', 80))
print(l.getsockname())
s = socket.create_connection(('10.77.0.1', 80))
print(l.accept()[1][0])
try:
    socket.create_connection(('127.0.0.1', 80), 1)
except OSError:
    print('not on the own network')";
    // A network of its own, where port 80 needs a right whatever the host says, and nobody else has it.
    let setting =
        "ip link set lo up && sysctl -q net.ipv4.ip_unprivileged_port_start=1024 && exec \"$@\"";
    let mut program = command("unshare", None);
    program.args(["-n", "sh", "-c", setting, "sh", "env"]);
    program.arg(format!("LD_PRELOAD={}", crate::build::library().display()));
    program.arg(format!("ZT_NC_NETWORK={}", service.path().display()));
    program.args([PYTHON, "-c", script]);
    assert_eq!(
        run(program),
        "('0.0.0.0', 80)\n10.77.0.1\nnot on the own network\n"
    );
}
