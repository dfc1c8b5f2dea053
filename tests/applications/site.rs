//! Two hosts on a LAN, and what the cases do with them.

use crate::table::Application;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use zt_tests::{Daemon, Host, Lab, Service, ServiceOptions, run, wait_for};

/// For whatever ends by itself; never a measure.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// For whatever comes by itself.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// One host of the LAN with its service.
pub(crate) struct Site<'a> {
    service: Service<'a>,
    network: String,
    address: String,
}

/// Plays `case` on a LAN of its own, between two hosts; then the application's row must say so.
pub(crate) fn on_a_lan(application: &Application, case: impl FnOnce(&Site<'_>, &Site<'_>)) {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    lan.assign_rfc4193(&network);
    let member = |host| {
        let options = ServiceOptions {
            for_every_user: true,
            ..ServiceOptions::default()
        };
        let (service, address) = Service::start_member_with(host, &lan, &network, options);
        Site {
            service,
            network: network.clone(),
            address,
        }
    };
    let (a, b) = (member(&a), member(&b));
    case(&a, &b);
    application.shown();
}

impl Site<'_> {
    /// The address on the LAN.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn host(&self) -> &Host {
        self.service.host()
    }

    /// The IPv6 address on the LAN, which comes a moment after the other.
    pub(crate) fn ipv6_address(&self) -> String {
        self.service.wait_ipv6_address(&self.network)
    }

    /// The service's socket for programs.
    pub(crate) fn socket(&self) -> PathBuf {
        self.service.socket(&self.network)
    }

    /// A file or folder of this host.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.host().dir().join(name)
    }

    /// Makes a folder that every user may write to.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).expect("folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("chmod");
        folder
    }

    /// Writes a file of this host.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// Reads a file of this host; empty when it is not there yet.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read(self.path(name)).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// A command line, split at spaces, with its sockets on the LAN by the library.
    pub(crate) fn with(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        let mut command = self.service.intercepted(&self.network, program);
        command.args(words);
        command
    }

    /// The same by `zt-launch`, as a user without rights.
    pub(crate) fn launched(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        let mut command = self.service.launched(&self.network, program);
        command.args(words);
        command
    }

    /// The same on the host's own network only.
    pub(crate) fn plain(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let mut command = self.host().command(words.next().expect("a program"));
        command.args(words);
        command
    }

    /// Runs a command line by the library; it must succeed. Returns its standard output.
    pub(crate) fn say(&self, line: &str) -> String {
        run(self.with(line), LIMIT).expect_ok(line)
    }

    /// Starts a daemon that stays in the foreground; what it prints goes to `NAME.log`.
    pub(crate) fn start(&self, name: &str, command: Command) -> Daemon {
        Daemon::start(command, &self.path(&format!("{name}.log")))
    }

    /// Waits until `port` of `server` takes connections from here.
    pub(crate) fn reaches(&self, server: &Site<'_>, port: u16) {
        let probe = format!("exec 3<>/dev/tcp/{}/{port}", server.address);
        wait_for(&format!("port {port}"), SOON, || {
            let mut shell = self.with("bash -c");
            shell.arg(&probe);
            (run(shell, LIMIT).code == 0).then_some(())
        });
    }

    /// What curl fetches from `server`.
    pub(crate) fn curl(&self, server: &Site<'_>, port_and_path: &str) -> String {
        self.say(&format!(
            "curl -sS -f -m 50 http://{}:{port_and_path}",
            server.address
        ))
    }

    /// Fetches a big file from `server`; it must be equal to `original`.
    pub(crate) fn downloads(&self, server: &Site<'_>, port_and_path: &str, original: &Path) {
        let copy = self.path("download");
        let url = format!("http://{}:{port_and_path}", server.address);
        let _ = self.say(&format!("curl -sS -f -m 50 -o {} {url}", copy.display()));
        assert_eq!(digest(&copy), digest(original), "{url}");
    }

    /// `count` requests by `ab`, ten at a time, with and without keep-alive.
    pub(crate) fn ab(&self, server: &Site<'_>, port_and_path: &str, count: u32) {
        for keep in ["", "-k"] {
            let report = self.say(&format!(
                "ab -q {keep} -n {count} -c 10 http://{}:{port_and_path}",
                server.address
            ));
            let complete = format!("Complete requests:      {count}");
            assert!(report.contains(&complete), "{report}");
            assert!(report.contains("Failed requests:        0"), "{report}");
            assert!(!report.contains("Non-2xx"), "{report}");
        }
    }

    /// Sends a signal to the daemon of a pid file of this host, and waits for the file's end.
    pub(crate) fn end(&self, pid_file: &str, signal: i32) {
        let pid = self.read(pid_file);
        let pid: i32 = pid.trim().parse().expect("a pid");
        // SAFETY: a plain system call; the pid is that of a daemon that the test has started.
        unsafe { libc::kill(pid, signal) };
        vanishes(&self.path(pid_file));
    }

    /// Waits until a log of this host has a line with all of `words`.
    pub(crate) fn logs(&self, name: &str, words: &[&str]) {
        wait_for(&format!("{words:?} in {name}"), SOON, || {
            let text = self.read(name);
            text.lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
                .then_some(())
        });
    }
}

/// The SHA-256 digest of a file.
pub(crate) fn digest(file: &Path) -> String {
    let mut command = Command::new("sha256sum");
    command.arg(file);
    let line = run(command, LIMIT).expect_ok("sha256sum");
    line.split(' ').next().expect("a digest").to_owned()
}

/// Bytes that no accident makes equal: the numbers of a small generator.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Waits until a daemon has printed `text`.
pub(crate) fn prints(daemon: &Daemon, text: &str) {
    wait_for(text, SOON, || daemon.log().contains(text).then_some(()));
}

/// Waits until a file is gone: the pid file of a daemon that has ended.
pub(crate) fn vanishes(file: &Path) {
    wait_for(&format!("the end of {}", file.display()), SOON, || {
        (!file.exists()).then_some(())
    });
}

/// Runs `command` with `input` on its standard input; it must succeed.
pub(crate) fn feed(mut command: Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let mut pipe = child.stdin.take().expect("standard input");
    pipe.write_all(input.as_bytes()).expect("input");
    drop(pipe);
    let output = child.wait_with_output().expect("output");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A number of a JSON answer.
pub(crate) fn number(value: &serde_json::Value, path: &str) -> f64 {
    value
        .pointer(path)
        .and_then(serde_json::Value::as_f64)
        .unwrap_or_else(|| panic!("no number at {path} of {value}"))
}

/// Fails when two files differ.
pub(crate) fn same_file(copy: &Path, original: &Path) {
    assert_eq!(
        digest(copy),
        digest(original),
        "{} is no copy of {}",
        copy.display(),
        original.display()
    );
}
