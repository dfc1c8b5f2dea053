//! The two networks that a case is played on, and the peer on each.

use crate::build;
use crate::trace::{Traces, parse};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use zt_tests::traces::Way;
use zt_tests::{Daemon, Host, Lab, Service, run, wait_for};

/// The addresses that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn of(self, address: &str) -> bool {
        address.contains(':') == (self == Self::V6)
    }

    const fn loopback(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.1",
            Self::V6 => "::1",
        }
    }
}

/// The cases that `ZT_CASES` names, for who works on them; none are all.
pub(crate) fn chosen() -> Vec<String> {
    let chosen = std::env::var("ZT_CASES").unwrap_or_default();
    chosen.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Longer than any run: a case that hangs is ended and told by the program itself.
const LIMIT: Duration = Duration::from_secs(150);

/// Starts a peer that serves cases by the returned Unix socket.
fn start_peer(mut command: Command, host: &Host, address: &str) -> (Daemon, PathBuf) {
    let family = if address.contains(':') { 6 } else { 4 };
    let socket = host.dir().join(format!("peer{family}"));
    command.arg(&socket).arg(address);
    let daemon = Daemon::start(command, &host.dir().join(format!("peer{family}.log")));
    wait_for("the peer", Duration::from_secs(10), || {
        daemon.log().contains("ready").then_some(())
    });
    (daemon, socket)
}

fn play(mut command: Command, program: &[OsString], arguments: [OsString; 3]) -> Traces {
    command
        .args(&program[1..])
        .args(arguments)
        .args(chosen())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = run(command, LIMIT);
    assert!(output.code == 0, "{output:?}");
    parse(&output.stdout)
}

/// The kernel's loopback of a host without a service.
pub(crate) struct Kernel {
    host: Host,
    way: Way,
    family: Family,
    _lab: Lab,
}

impl Kernel {
    pub(crate) fn new(way: Way, family: Family) -> Self {
        let lab = Lab::new();
        Self {
            host: lab.host(),
            way,
            family,
            _lab: lab,
        }
    }

    /// Plays the cases, as the user that they will have on the LAN.
    pub(crate) fn play(&self, program: &[OsString]) -> Traces {
        let address = self.family.loopback();
        let (_peer, socket) = start_peer(self.host.command(build::peer()), &self.host, address);
        let command = match self.way {
            Way::Library | Way::OneService => self.host.command(&program[0]),
            Way::Launcher => self.host.command_as_nobody(&program[0]),
        };
        play(
            command,
            program,
            [socket.into(), address.into(), address.into()],
        )
    }
}

/// Two members of a LAN, with addresses of both families.
pub(crate) struct Lan<'a> {
    network: String,
    ours: Service<'a>,
    theirs: Service<'a>,
}

impl Lan<'_> {
    pub(crate) fn with<T>(then: impl FnOnce(&Lan<'_>) -> T) -> T {
        let lab = Lab::new();
        let (root, a, b) = (lab.host(), lab.host(), lab.host());
        let (lan, network) = Service::start_lan(&root, "10.147.20");
        let path = format!("/controller/network/{network}");
        let modes = json!({"v6AssignMode": {"rfc4193": true}});
        let _ = lan.api("POST", &path, Some(&modes));
        let (ours, _) = Service::start_member(&a, &lan, &network);
        let (theirs, _) = Service::start_member(&b, &lan, &network);
        then(&Lan {
            network,
            ours,
            theirs,
        })
    }

    fn address(&self, service: &Service<'_>, family: Family) -> String {
        let path = format!("/network/{}", self.network);
        wait_for("an address", Duration::from_secs(20), || {
            let state = service.api("GET", &path, None);
            let all = state["assignedAddresses"].as_array()?;
            let all = all.iter().filter_map(Value::as_str);
            let bare = all.filter_map(|address| address.split('/').next());
            bare.into_iter()
                .find(|address| family.of(address))
                .map(ToOwned::to_owned)
        })
    }

    /// Plays the cases by one service, with the peer by the other.
    pub(crate) fn play(&self, way: Way, family: Family, program: &[OsString]) -> Traces {
        let own = self.address(&self.ours, family);
        let far = self.address(&self.theirs, family);
        let peer = self.theirs.intercepted(&self.network, build::peer());
        let (_peer, socket) = start_peer(peer, self.theirs.host(), &far);
        let command = match way {
            Way::Library | Way::OneService => self.ours.intercepted(&self.network, &program[0]),
            Way::Launcher => self.ours.launched(&self.network, &program[0]),
        };
        play(command, program, [socket.into(), far.into(), own.into()])
    }
}
