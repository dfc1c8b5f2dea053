//! `zerotier-cli`: asks the control API of a running service and prints the answer.
//!
//! Options, words, texts and exit codes are those of zerotier-one 1.14 (VL2 §6.5), so scripts
//! written for it go on working. What is ours is the way to the service (the Unix socket in the
//! home first, TCP on loopback otherwise), the `api` command, and a hint on standard error where
//! stock leaves a person alone. This module holds no state of the service and never writes into
//! its home.

mod client;
mod commands;
mod options;
mod text;

use std::io::Write;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

pub use client::{Client, ClientError, Reply, Transport};
pub use commands::{Outcome, execute};
pub use options::{Invocation, Options, parse};

/// The version that we answer to `-v` and announce on the wire: the release whose behaviour this
/// service follows.
pub use crate::VERSION;

/// Runs `zerotier-cli` with the arguments after the program's name.
pub fn run(program: &str, arguments: &[String]) -> ExitCode {
    let outcome = match parse(arguments) {
        Invocation::Help { code } => Outcome {
            stdout: help(program),
            stderr: String::new(),
            code,
        },
        Invocation::Version => Outcome::printed(format!("{VERSION}\n")),
        Invocation::Run(options) => match Client::for_options(&options) {
            Ok(mut client) => execute(program, &options, &mut client, now()),
            Err(error) => Outcome {
                stdout: String::new(),
                stderr: format!("{program}: {error}\n"),
                code: 2,
            },
        },
    };
    // A reader that went away (`zerotier-cli peers | head -1`) is no error of ours.
    let _ = std::io::stdout().write_all(outcome.stdout.as_bytes());
    let _ = std::io::stderr().write_all(outcome.stderr.as_bytes());
    ExitCode::from(outcome.code)
}

/// The help text.
pub fn help(program: &str) -> String {
    format!(
        "\
zerotier-cli {VERSION}: asks a running zerotier-sdk-service (or zerotier-one)

Usage: {program} [OPTION]... COMMAND [ARGUMENT]...

Options (a value may stand right behind its letter or in the next word):
  -h            this help
  -v            the version
  -j            JSON instead of text
  -D HOME       home directory of the service (default {})
  -p PORT       port of the control API (default: HOME/zerotier.sock, else HOME/zerotier-one.port)
  -T TOKEN      token of the control API (default: HOME/authtoken.secret)

Commands:
  info, status              address, version and whether the node is online
  listnetworks              joined networks; <dev> is the socket for ZT_NC_NETWORK
  join NETWORK              join a network by its 16-digit id
  leave NETWORK             leave a network
  get NETWORK NAME          one property; ip, ip4 and ip6 give the addresses
  set NETWORK NAME=VALUE    allowManaged, allowGlobal, allowDefault, allowDNS, or hostName=web
  listpeers, peers          known nodes and the paths to them
  listmoons                 moons
  health [NETWORK]          succeeds when every network (or this one) can be used
  /PATH                     GET that path of the control API
  api METHOD PATH [JSON]    call the control API; JSON of `-` is read from standard input
",
        crate::DEFAULT_HOME
    )
}

/// The time that ages of paths are measured against.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
