//! The switch and the hosts plugged into it.

use crate::process::run;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static LABS: AtomicU32 = AtomicU32::new(0);

/// One Ethernet switch in a namespace of its own, and a scratch folder.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    dir: PathBuf,
    hosts: Cell<u8>,
}

/// A network namespace with `eth0` on the lab's switch and no default route.
#[derive(Debug)]
pub struct Host {
    number: u8,
    namespace: String,
    address: String,
    dir: PathBuf,
}

fn ip(args: &str) {
    let mut command = Command::new("ip");
    command.args(args.split_whitespace());
    let _ = run(command, Duration::from_secs(10)).expect_ok(&format!("ip {args}"));
}

impl Lab {
    /// Makes the switch.
    ///
    /// # Panics
    /// Without the right to make namespaces (root) or without iproute2.
    #[must_use]
    pub fn new() -> Self {
        let prefix = format!(
            "zt{}-{}",
            std::process::id(),
            LABS.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(format!("{prefix}-lab"));
        fs::create_dir_all(&dir).expect("scratch folder");
        // Services run as a normal user and must reach their homes below.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("chmod");
        ip(&format!("netns add {prefix}"));
        ip(&format!(
            "-n {prefix} link add br0 type bridge forward_delay 0"
        ));
        ip(&format!("-n {prefix} link set br0 up"));
        Self {
            prefix,
            dir,
            hosts: Cell::new(0),
        }
    }

    /// Plugs one more host in: 10.77.0.1, 10.77.0.2, …
    #[must_use]
    pub fn host(&self) -> Host {
        let number = self.hosts.get() + 1;
        self.hosts.set(number);
        let (switch, namespace) = (&self.prefix, format!("{}-{number}", self.prefix));
        let address = format!("10.77.0.{number}");
        ip(&format!("netns add {namespace}"));
        ip(&format!("-n {namespace} link set lo up"));
        // Both ends are made inside namespaces: nothing appears in the caller's.
        ip(&format!(
            "-n {namespace} link add eth0 type veth peer name p{number} netns {switch}"
        ));
        ip(&format!("-n {switch} link set p{number} master br0 up"));
        ip(&format!("-n {namespace} addr add {address}/24 dev eth0"));
        ip(&format!("-n {namespace} link set eth0 up"));
        let dir = self.dir.join(number.to_string());
        fs::create_dir(&dir).expect("scratch folder of a host");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("chmod");
        Host {
            number,
            namespace,
            address,
            dir,
        }
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// Ends whatever still runs in `namespace`: daemons that have left their parents.
fn end_all(namespace: &str) {
    let running = || -> Vec<i32> {
        let pids = Command::new("ip")
            .args(["netns", "pids", namespace])
            .output();
        let pids = pids.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&pids)
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    };
    let started = Instant::now();
    loop {
        let pids = running();
        if pids.is_empty() || started.elapsed() > Duration::from_secs(10) {
            return;
        }
        for pid in pids {
            // SAFETY: a plain system call; only what the test started is in its namespace.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let numbered = (1..=self.hosts.get()).map(|n| format!("{}-{n}", self.prefix));
        for namespace in numbered.chain([self.prefix.clone()]) {
            end_all(&namespace);
            let _ = Command::new("ip")
                .args(["netns", "del", &namespace])
                .status();
        }
        if std::thread::panicking() {
            eprintln!("the laboratory's files are kept in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Host {
    /// Which host of its lab it is, from 1.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// The address on the switch.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of the namespace, for `ip netns exec`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A scratch folder that any user may write to.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `program`, to be run in this host.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(program)
            .current_dir(&self.dir);
        command
    }

    /// `program`, to be run in this host by the user nobody without any capability.
    #[must_use]
    pub fn command_as_nobody(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.command("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"])
            .arg(program);
        command
    }
}
