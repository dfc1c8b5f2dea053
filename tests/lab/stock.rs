//! A stock zerotier-one in a host of the laboratory, where the tester has one (`ZT_ONE`).

use crate::build_dir;
use crate::host::Host;
use crate::process::{Daemon, run, wait_for};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The stock binary that `ZT_ONE` names.
///
/// # Panics
/// When the variable names no file.
#[must_use]
pub fn stock_binary() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("ZT_ONE").filter(|v| !v.is_empty())?);
    assert!(path.is_file(), "ZT_ONE={}: no such file", path.display());
    Some(path)
}

/// A running stock node with its kernel TAP, ended when dropped.
#[derive(Debug)]
pub struct Stock<'a> {
    binary: PathBuf,
    host: &'a Host,
    home: PathBuf,
    daemon: Daemon,
}

impl<'a> Stock<'a> {
    /// Makes an identity and a planet that has it as its only root, and starts the root.
    #[must_use]
    pub fn start_root(binary: &Path, host: &'a Host) -> Self {
        let home = host.dir().join("stock");
        std::fs::create_dir_all(&home).expect("home");
        let idtool = |arguments: &[&str]| {
            let mut command = host.command(build_dir().join("zerotier-idtool"));
            command.current_dir(&home).args(arguments);
            run(command, Duration::from_secs(20)).expect_ok("zerotier-idtool")
        };
        let _ = idtool(&["generate", "identity.secret", "identity.public"]);
        let endpoint = format!("{}/9993", host.address());
        let _ = idtool(&[
            "makeplanet",
            "planet",
            "planet.secret",
            "identity.public",
            &endpoint,
        ]);
        Self::start(binary, host, &home.join("planet"))
    }

    /// Starts a node on `planet` and waits until its control API answers.
    #[must_use]
    pub fn start(binary: &Path, host: &'a Host, planet: &Path) -> Self {
        let home = host.dir().join("stock");
        std::fs::create_dir_all(&home).expect("home");
        if planet != home.join("planet") {
            std::fs::copy(planet, home.join("planet")).expect("planet file");
        }
        let mut command = host.command(binary);
        command.arg("-p9993").arg(&home);
        let daemon = Daemon::start(command, &host.dir().join("stock.log"));
        let node = Self {
            binary: binary.to_owned(),
            host,
            home,
            daemon,
        };
        wait_for("the stock node", Duration::from_secs(20), || {
            let status = node.try_api("GET", "/status", None)?;
            status["address"].is_string().then_some(())
        });
        node
    }

    fn try_api(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let token = std::fs::read_to_string(self.home.join("authtoken.secret")).ok()?;
        let mut command = self.host.command("curl");
        command.args(["-sS", "-m", "10", "-X", method, "-H"]);
        command.arg(format!("X-ZT1-Auth: {}", token.trim()));
        if let Some(body) = body {
            command.arg("-d").arg(body.to_string());
        }
        command.arg(format!("http://127.0.0.1:9993{path}"));
        serde_json::from_str(&run(command, Duration::from_secs(15)).stdout).ok()
    }

    /// A call of the control API.
    ///
    /// # Panics
    /// When it is not answered with JSON.
    #[must_use]
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_api(method, path, body)
            .unwrap_or_else(|| panic!("{method} {path}: no answer from the stock node"))
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The binary that runs.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// The node's ZeroTier address.
    #[must_use]
    pub fn address(&self) -> String {
        self.api("GET", "/status", None)["address"]
            .as_str()
            .expect("address")
            .to_owned()
    }

    /// Makes a private network with one pool, like [`crate::Service::create_network`].
    #[must_use]
    pub fn create_network(&self, pool: &str) -> String {
        let path = format!("/controller/network/{}______", self.address());
        let body = crate::service::network_settings("lan", pool);
        self.api("POST", &path, Some(&body))["id"]
            .as_str()
            .expect("network id")
            .to_owned()
    }

    /// Authorises `member` on a network of this controller.
    pub fn authorize(&self, network: &str, member: &str) {
        let path = format!("/controller/network/{network}/member/{member}");
        let _ = self.api(
            "POST",
            &path,
            Some(&serde_json::json!({"authorized": true})),
        );
    }

    /// Joins `network`.
    pub fn join(&self, network: &str) {
        let body = serde_json::json!({});
        let _ = self.api("POST", &format!("/network/{network}"), Some(&body));
    }

    /// Waits until the network is OK with an IPv4 address.
    #[must_use]
    pub fn wait_address(&self, network: &str) -> String {
        wait_for(
            "an address of the stock node",
            Duration::from_secs(40),
            || {
                let state = self.try_api("GET", &format!("/network/{network}"), None)?;
                crate::service::assigned_ipv4(&state)
            },
        )
    }
}
