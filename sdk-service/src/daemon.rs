//! `-d`: the service in the background, and its word before the shell gets its prompt back.
//!
//! The process in the foreground starts the same program again in a session of its own and stays
//! until that one is up or has failed. So `zerotier-sdk-service -d && next-command` needs no
//! waiting loop, and an error is on the terminal with the right exit code. No `fork` without
//! `exec`: the child begins with one thread and a clean state.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Marks the child; its value says nothing.
const MARK: &str = "ZT_SDK_SERVICE_BACKGROUND";

/// What the child writes on its standard output once it is up.
const UP: &[u8] = b"up\n";

/// A log that has grown beyond this is begun anew at the next start.
const LONGEST_LOG: u64 = 1 << 20;

/// Whether this process is the one in the background.
pub fn is_background() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts the background process with the same arguments and waits until it is up.
pub fn start(program: &str, arguments: &[String]) -> io::Result<ExitCode> {
    let executable = std::env::current_exe()?;
    let mut child = Command::new(executable)
        .arg0(program)
        .args(arguments)
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut said)?;
    }
    if said == UP {
        return Ok(ExitCode::SUCCESS);
    }
    // It closed its output without the word: what it printed is the reason.
    if let Some(mut stderr) = child.stderr.take() {
        io::copy(&mut stderr, &mut io::stderr())?;
    }
    let status = child.wait()?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .filter(|code| *code != 0)
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

/// In the child: leaves the terminal's session.
pub fn detach() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// In the child, once it is up: says so, and lets go of the terminal. Later output goes to `log`.
pub fn report_up(log: &Path) -> io::Result<()> {
    let log = open_log(log)?;
    io::stdout().write_all(UP)?;
    io::stdout().flush()?;
    rustix::stdio::dup2_stderr(&log)?;
    rustix::stdio::dup2_stdout(&log)?;
    Ok(())
}

/// Opens the log of a service in the background, which begins anew when it has grown too long.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    let long = path.metadata().is_ok_and(|log| log.len() > LONGEST_LOG);
    OpenOptions::new()
        .create(true)
        .append(!long)
        .write(true)
        .truncate(long)
        .mode(0o600)
        .open(path)
}
