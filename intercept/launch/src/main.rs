//! `zt-launch`: the front end for programs without a dynamic loader, and for Go.
//!
//! The program runs under a seccomp filter that hands its socket calls to this process, its parent ([`filter`],
//! [`notify`]). The operations are those of the preload library (`zt-intercept`), made for another process ([`caller`]):
//! on sockets that this process has made for it ([`sockets`]), with the result put into its descriptor table. Nothing that
//! carries data is trapped, and no privilege, `ptrace` or `pidfd_getfd` is used: the filter of a usual container refuses
//! those.

mod caller;
mod calls;
mod crew;
mod epoll;
mod filter;
mod inherit;
mod later;
mod log;
mod memory;
mod messages;
mod notify;
mod options;
mod relay;
mod sockets;
mod start;
mod supervisor;
mod sweep;
mod sys;
mod target;
mod watch;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use zt_intercept::{Errno, Mode, Settings};

use crate::inherit::Inherited;
use crate::log::{Level, Log};
use crate::notify::Listener;
use crate::options::Request;
use crate::supervisor::Supervisor;

/// Exit status when the program cannot be put on the LAN.
const NOT_POSSIBLE: i32 = 125;

fn main() -> ExitCode {
    let log = Log(Level::Off);
    let status = match options::parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => {
            print!("{}", options::HELP);
            0
        }
        Ok(Request::Version) => {
            println!("zt-launch {}", env!("CARGO_PKG_VERSION"));
            0
        }
        Ok(Request::Run {
            level,
            program,
            arguments,
        }) => launch(level, &program, &arguments),
        Err(text) => {
            log.always(format_args!("{text}"));
            NOT_POSSIBLE
        }
    };
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

fn launch(level: Level, program: &OsString, arguments: &[OsString]) -> i32 {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let asked = variable("ZT_NC_LOG");
    let log = Log(level.max(Level::from_environment(
        asked.as_ref().map(|value| value.as_bytes()),
    )));
    let Some(path) = variable("ZT_NC_NETWORK") else {
        log.at(
            Level::Lan,
            format_args!("ZT_NC_NETWORK is not set: the program keeps its own network"),
        );
        let error = Command::new(program).args(arguments).exec();
        log.always(format_args!("cannot run {}: {error}", program.display()));
        return start::status_of(&error);
    };
    let mode = if variable("ZT_NC_MODE").is_some_and(|mode| mode == "isolated") {
        Mode::Isolated
    } else {
        Mode::Split
    };
    let settings = Settings::new(path.as_bytes(), mode).map(Settings::watching_questions);
    let Some(settings) = settings else {
        log.always(format_args!(
            "ZT_NC_NETWORK is not a usable path: {}",
            path.display()
        ));
        return NOT_POSSIBLE;
    };
    let inherited = Inherited::look();
    let signals = match watch::prepare() {
        Ok(signals) => signals,
        Err(Errno(errno)) => {
            log.always(format_args!("cannot take signals: errno {errno}"));
            return NOT_POSSIBLE;
        }
    };
    match start::start(program, arguments, signals.inherited()) {
        Ok((child, listener)) => {
            // One for every thread that makes calls and every call that waits. The program has its own limit already.
            sys::raise_descriptor_limit();
            match Supervisor::new(Listener::new(listener), settings, log) {
                Ok(supervisor) => {
                    let child = child.id().cast_signed();
                    inherited.hand_over(&supervisor, child);
                    supervisor.start();
                    watch::until_the_end(&supervisor, &signals, child)
                }
                Err(Errno(errno)) => {
                    log.always(format_args!("cannot supervise: errno {errno}"));
                    NOT_POSSIBLE
                }
            }
        }
        Err(error) => {
            log.always(format_args!("{}", error.text(program)));
            error.status()
        }
    }
}
