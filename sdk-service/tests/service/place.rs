//! A namespace with one interface, a directory, and the programs of this crate in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The binary under test; `-q` and `-i` make it the other two programs.
const BINARY: &str = env!("CARGO_BIN_EXE_zerotier-sdk-service");

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// An identity that needs no seconds of proof of work.
pub(crate) const IDENTITY: &str = include_str!("../recorded/identity.secret");

/// See the module. Everything in it ends with it.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    keeper: Child,
}

impl Place {
    /// A namespace with `lo` and `eth0` (10.5.0.1/24) and no way out.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("zt-service-")
            .tempdir()
            .unwrap();
        // Others must be able to look in: a test runs the service as nobody.
        fs::set_permissions(
            directory.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let mut keeper = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                SET_UP,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare: these tests need root and util-linux");
        let mut ready = [0; 6];
        let read = std::io::Read::read_exact(keeper.stdout.as_mut().unwrap(), &mut ready);
        assert!(
            read.is_ok() && &ready == b"ready\n",
            "no namespace: these tests need root and iproute2"
        );
        Self { directory, keeper }
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A home that has an identity already and is its own planet's root unless the test says
    /// otherwise.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        let home = self.path(name);
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("identity.secret"), IDENTITY).unwrap();
        home
    }

    /// A command inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.keeper.id()))
            .args(["--net", "--mount", "--", program]);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a shell line inside, which must succeed.
    pub(crate) fn shell(&self, line: &str) -> String {
        let output = self.command("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        text(&output.stdout)
    }

    /// The service, as a root of its own planet.
    pub(crate) fn service(&self) -> Command {
        let mut command = self.command(BINARY);
        command.env("ZT_ROOT", "1");
        command
    }

    /// Starts a service in the background; it must come up.
    pub(crate) fn start<'a>(&'a self, home: &Path, arguments: &[&str]) -> Running<'a> {
        self.start_with(home, self.service().arg("-d").args(arguments))
    }

    /// Starts a service with a command of the test's own.
    pub(crate) fn start_with<'a>(&'a self, home: &Path, command: &mut Command) -> Running<'a> {
        let output = command.arg(home).output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            text(&output.stderr),
            log_of(home)
        );
        Running {
            place: self,
            home: home.to_owned(),
            pid: pid_of(home),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that failed half-way leaves nothing running: whatever is in the namespace ends.
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let ours = namespace(self.keeper.id());
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            if ours.is_some() && ours != namespace(std::process::id()) && namespace(pid) == ours {
                let _ = Command::new("kill")
                    .args(["-KILL", &pid.to_string()])
                    .status();
            }
        }
        let _ = self.keeper.wait();
    }
}

/// A service in the background, ended with this value.
pub(crate) struct Running<'a> {
    place: &'a Place,
    pub(crate) home: PathBuf,
    pub(crate) pid: u32,
}

impl Running<'_> {
    /// Runs `zerotier-cli` for this service.
    pub(crate) fn cli(&self, words: &[&str]) -> Output {
        let mut command = self.place.command(BINARY);
        command
            .arg("-q")
            .arg(format!("-D{}", self.home.display()))
            .args(words)
            .output()
            .unwrap()
    }

    /// What `zerotier-cli` prints; it must succeed.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let output = self.cli(words);
        assert!(
            output.status.success(),
            "{words:?}: {output:?}\n{}",
            self.log()
        );
        text(&output.stdout)
    }

    /// What the control API answers.
    pub(crate) fn json(&self, method: &str, path: &str, body: Option<&str>) -> Value {
        let answer = self.ask(
            &["api", method, path]
                .into_iter()
                .chain(body)
                .collect::<Vec<_>>(),
        );
        serde_json::from_str(&answer)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}: {answer}"))
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        log_of(&self.home)
    }

    /// Whether the process is still there.
    pub(crate) fn is_alive(&self) -> bool {
        is_alive(self.pid)
    }

    /// Sends TERM and waits for the end.
    pub(crate) fn stop(self) {
        self.signal("TERM");
        wait_for("the service to stop", || !self.is_alive());
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid.to_string())
            .status()
            .unwrap();
        assert!(sent.success(), "{}", self.log());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = Command::new("kill")
                .arg("-KILL")
                .arg(self.pid.to_string())
                .status();
        }
    }
}

/// Waits until something holds.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A process that has ended and was not waited for by its parent is not alive.
pub(crate) fn is_alive(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn pid_of(home: &Path) -> u32 {
    fs::read_to_string(home.join("zerotier-one.pid"))
        .unwrap()
        .parse()
        .unwrap()
}

fn log_of(home: &Path) -> String {
    fs::read_to_string(home.join("zerotier-sdk-service.log")).unwrap_or_default()
}

/// Ends with its standard input. No route leaves the namespace.
const SET_UP: &str = "
set -e
ip link set lo up
ip link add eth0 type veth peer name eth1
ip address add 10.5.0.1/24 dev eth0
ip link set eth0 up
ip link set eth1 up
echo ready
exec cat > /dev/null
";
