//! Our own node in a host of the laboratory.

use crate::build_dir;
use crate::host::Host;
use crate::process::{Daemon, run, wait_for};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How a service is started.
#[derive(Debug, Default, Clone)]
pub struct ServiceOptions {
    /// The node keeps a planet of its own and is its root.
    pub root: bool,
    /// A planet file to copy into the home before the start.
    pub planet: Option<PathBuf>,
    /// Further environment.
    pub environment: Vec<(String, String)>,
    /// Beside another service of this host: with a home, a port and an identity of its own.
    pub second: bool,
    /// The sockets of programs lie where programs of every user reach them, as in a container.
    pub for_every_user: bool,
}

/// A private network with one pool of /24 size, like `10.147.20`.
pub(crate) fn network_settings(name: &str, pool: &str) -> Value {
    serde_json::json!({
        "name": name,
        "private": true,
        "v4AssignMode": {"zt": true},
        "ipAssignmentPools": [
            {"ipRangeStart": format!("{pool}.1"), "ipRangeEnd": format!("{pool}.250")}
        ],
        "routes": [{"target": format!("{pool}.0/24"), "via": null}],
    })
}

/// The first IPv4 address of a network that is OK, without its prefix length.
pub(crate) fn assigned_ipv4(state: &Value) -> Option<String> {
    let address = state["assignedAddresses"].as_array()?.iter().find_map(|a| {
        let address = a.as_str()?.split('/').next()?;
        address.contains('.').then(|| address.to_owned())
    });
    address.filter(|_| state["status"] == "OK")
}

/// Identities for private planets only: everybody knows them. To find one of one's own may take a busy machine seconds.
const IDENTITIES: &str = include_str!("identities.txt");

/// Gives the home the identity of this host's number if there is one and none is there yet.
fn give_identity(host: &Host, home: &Path) {
    let secret = home.join("identity.secret");
    let identity = IDENTITIES.lines().nth(usize::from(host.number()) - 1);
    let (Some(identity), false) = (identity, secret.exists()) else {
        return;
    };
    std::fs::write(&secret, identity).expect("identity");
    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("chmod");
    chown_to_nobody(&secret);
}

fn chown_to_nobody(path: &Path) {
    std::os::unix::fs::chown(path, Some(65534), Some(65534)).expect("chown");
}

/// A running `zerotier-sdk-service`, ended when dropped.
#[derive(Debug)]
pub struct Service<'a> {
    host: &'a Host,
    home: PathBuf,
    sockets: PathBuf,
    daemon: Daemon,
}

impl<'a> Service<'a> {
    /// Starts the service as the user nobody and waits until its control API answers.
    #[must_use]
    pub fn start(host: &'a Host, options: &ServiceOptions) -> Self {
        let (name, port) = if options.second {
            ("second", "-p9994")
        } else {
            ("service", "-p9993")
        };
        let home = host
            .dir()
            .join(if options.second { "second" } else { "home" });
        std::fs::create_dir_all(&home).expect("home");
        chown_to_nobody(&home);
        if !options.second {
            give_identity(host, &home);
        }
        if let Some(planet) = &options.planet {
            std::fs::copy(planet, home.join("planet")).expect("planet file");
            chown_to_nobody(&home.join("planet"));
        }
        assert!(
            options.root || home.join("planet").exists(),
            "a test never uses the public planet"
        );
        let mut command = host.command_as_nobody(build_dir().join("zerotier-sdk-service"));
        command.arg(port).arg(&home);
        if options.root {
            command.env("ZT_ROOT", "1");
        }
        let sockets = if options.for_every_user {
            let sockets = host.dir().join(format!("{name}-sockets"));
            std::fs::create_dir_all(&sockets).expect("folder of the sockets");
            chown_to_nobody(&sockets);
            command.env("ZT_NC_DIR", &sockets);
            sockets
        } else {
            home.clone()
        };
        command.envs(options.environment.iter().cloned());
        let daemon = Daemon::start(command, &host.dir().join(format!("{name}.log")));
        let mut service = Self {
            host,
            home,
            sockets,
            daemon,
        };
        wait_for("the control API", Duration::from_secs(40), || {
            if let Some(status) = service.daemon.ended() {
                panic!("the service ended with {status}:\n{}", service.daemon.log());
            }
            service
                .try_cli(&["-j", "info"])
                .filter(|o| o.starts_with('{'))
        });
        service
    }

    /// A root and controller with a network of its own; returns the network's id too.
    #[must_use]
    pub fn start_lan(host: &'a Host, pool: &str) -> (Self, String) {
        let service = Self::start(
            host,
            &ServiceOptions {
                root: true,
                ..ServiceOptions::default()
            },
        );
        let network = service.create_network("lan", pool);
        (service, network)
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The host that it runs in.
    #[must_use]
    pub fn host(&self) -> &'a Host {
        self.host
    }

    /// The process.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Gives the members of `network`, one of this controller's, an address of RFC 4193 too.
    pub fn assign_rfc4193(&self, network: &str) {
        let path = format!("/controller/network/{network}");
        let body = serde_json::json!({"v6AssignMode": {"rfc4193": true}});
        let _ = self.api("POST", &path, Some(&body));
    }

    /// Waits until the network has an IPv6 address.
    #[must_use]
    pub fn wait_ipv6_address(&self, network: &str) -> String {
        wait_for("an IPv6 address", Duration::from_secs(20), || {
            let state = self.api("GET", &format!("/network/{network}"), None);
            let mut addresses = state["assignedAddresses"].as_array()?.iter();
            addresses.find_map(|address| {
                let address = address.as_str()?.split('/').next()?;
                address.contains(':').then(|| address.to_owned())
            })
        })
    }

    /// The process id of the service itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        std::fs::read_to_string(self.home.join("zerotier-one.pid"))
            .ok()
            .and_then(|pid| pid.trim().parse().ok())
            .unwrap_or_else(|| self.daemon.pid())
    }

    fn try_cli(&self, arguments: &[&str]) -> Option<String> {
        let mut command = self.host.command(build_dir().join("zerotier-cli"));
        command
            .arg(format!("-D{}", self.home.display()))
            .args(arguments);
        let output = run(command, Duration::from_secs(15));
        (output.code == 0).then_some(output.stdout)
    }

    /// What `zerotier-cli` prints for `arguments`.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> String {
        let mut command = self.host.command(build_dir().join("zerotier-cli"));
        command
            .arg(format!("-D{}", self.home.display()))
            .args(arguments);
        run(command, Duration::from_secs(15)).expect_ok(&format!("zerotier-cli {arguments:?}"))
    }

    /// A raw call of the control API.
    #[must_use]
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let text = body.map(ToString::to_string);
        let mut arguments = vec!["api", method, path];
        arguments.extend(text.as_deref());
        let answer = self.cli(&arguments);
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{method} {path}: {e}: {answer}"))
    }

    /// The node's ZeroTier address.
    #[must_use]
    pub fn address(&self) -> String {
        self.api("GET", "/status", None)["address"]
            .as_str()
            .expect("address")
            .to_owned()
    }

    /// Makes a private network with one pool of /24 size, like `10.147.20`.
    #[must_use]
    pub fn create_network(&self, name: &str, pool: &str) -> String {
        let path = format!("/controller/network/{}______", self.address());
        let body = network_settings(name, pool);
        self.api("POST", &path, Some(&body))["id"]
            .as_str()
            .expect("network id")
            .to_owned()
    }

    /// Authorises `member` on a network of this controller.
    pub fn authorize(&self, network: &str, member: &str) {
        let path = format!("/controller/network/{network}/member/{member}");
        let answer = self.api(
            "POST",
            &path,
            Some(&serde_json::json!({"authorized": true})),
        );
        assert_eq!(answer["authorized"], true, "{answer}");
    }

    /// Starts a node on the planet of `lan`, joins it to `network`, has it authorised and waits
    /// for its first IPv4 address, which is returned without the prefix length.
    #[must_use]
    pub fn start_member(host: &'a Host, lan: &Service<'_>, network: &str) -> (Self, String) {
        Self::start_member_with(host, lan, network, ServiceOptions::default())
    }

    /// As [`Self::start_member`], with options; the planet is `lan`'s.
    #[must_use]
    pub fn start_member_with(
        host: &'a Host,
        lan: &Service<'_>,
        network: &str,
        options: ServiceOptions,
    ) -> (Self, String) {
        let service = Self::start(
            host,
            &ServiceOptions {
                planet: Some(lan.home.join("planet")),
                ..options
            },
        );
        lan.authorize(network, &service.address());
        let _ = service.cli(&["join", network]);
        let address = service.wait_address(network);
        (service, address)
    }

    /// Waits until the network is OK with an IPv4 address.
    #[must_use]
    pub fn wait_address(&self, network: &str) -> String {
        wait_for("an address on the network", Duration::from_secs(20), || {
            let state = self.api("GET", &format!("/network/{network}"), None);
            assigned_ipv4(&state)
        })
    }

    /// The socket for programs on `network`.
    #[must_use]
    pub fn socket(&self, network: &str) -> PathBuf {
        self.sockets.join(format!("nc_{network}"))
    }

    /// The environment variable that puts programs on `network`.
    fn network_variable(&self, network: &str) -> String {
        format!("ZT_NC_NETWORK={}", self.socket(network).display())
    }

    /// `program` in this host with its sockets on `network`.
    #[must_use]
    pub fn intercepted(&self, network: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.with_library(self.host.command("env"), network, program)
    }

    /// The same as the user nobody, without any capability.
    #[must_use]
    pub fn intercepted_as_nobody(
        &self,
        network: &str,
        program: impl AsRef<std::ffi::OsStr>,
    ) -> Command {
        self.with_library(self.host.command_as_nobody("env"), network, program)
    }

    fn with_library(
        &self,
        mut command: Command,
        network: &str,
        program: impl AsRef<std::ffi::OsStr>,
    ) -> Command {
        command
            .arg(format!(
                "LD_PRELOAD={}",
                build_dir().join("libztintercept.so").display()
            ))
            .arg(self.network_variable(network))
            .arg(program);
        command
    }

    /// `program` in this host with its sockets on `network` by way of `zt-launch`, as the user nobody.
    #[must_use]
    pub fn launched(&self, network: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.host.command_as_nobody("env");
        command
            .arg(self.network_variable(network))
            .arg(build_dir().join("zt-launch"))
            .arg(program);
        command
    }
}
