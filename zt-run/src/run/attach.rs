//! The program's terminal: its output here, our input and signals there, its exit code in the end.

use std::{
    io::{IsTerminal, Write, stderr, stdin, stdout},
    os::fd::AsFd,
    pin::Pin,
    time::Duration,
};

use anyhow::{Result, bail};
use bollard::{
    Docker,
    container::{AttachContainerResults, LogOutput},
    errors::Error,
    query_parameters::{
        AttachContainerOptionsBuilder, KillContainerOptionsBuilder,
        ResizeContainerTTYOptionsBuilder, WaitContainerOptions,
    },
};
use futures_util::{Stream, StreamExt};
use nix::{
    libc::{SIGINT, SIGKILL},
    sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
};
use tokio::{
    io::{AsyncWriteExt, copy},
    signal::unix::{SignalKind, signal},
    sync::mpsc::UnboundedReceiver,
    time::{Instant, timeout},
};

use super::DRAIN;
use crate::engine::failed;

/// Within how long the third Ctrl-C kills.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection to the standard streams of a created container.
pub(crate) struct Attached<'a> {
    docker: &'a Docker,
    container: &'a str,
    streams: AttachContainerResults,
    interactive: bool,
    tty: bool,
}

impl<'a> Attached<'a> {
    /// Attaches before the program starts, so that nothing is lost.
    pub(crate) async fn to(
        docker: &'a Docker,
        container: &'a str,
        interactive: bool,
        tty: bool,
    ) -> Result<Self> {
        let options = AttachContainerOptionsBuilder::default()
            .stdin(interactive)
            .stdout(true)
            .stderr(true)
            .stream(true)
            .build();
        let streams = docker.attach_container(container, Some(options)).await;
        let streams = streams.map_err(|error| failed("attaching to the container", &error))?;
        Ok(Self {
            docker,
            container,
            streams,
            interactive,
            tty,
        })
    }

    /// Passes everything through until the started program ends, and returns its exit code.
    pub(crate) async fn follow(self, mut signals: UnboundedReceiver<i32>) -> Result<u8> {
        let Self {
            docker,
            container,
            streams,
            interactive,
            tty,
        } = self;
        let AttachContainerResults {
            mut output,
            mut input,
        } = streams;
        let _raw = if tty && interactive {
            RawTerminal::enter()
        } else {
            None
        };
        if tty {
            resize(docker, container).await;
        }
        if interactive {
            tokio::spawn(async move {
                // Either side may close first; both ways the program sees the end of its input.
                let _ = copy(&mut tokio::io::stdin(), &mut input).await;
                let _ = input.shutdown().await;
            });
        }
        let mut window = signal(SignalKind::window_change())?;
        let mut wait =
            std::pin::pin!(docker.wait_container(container, None::<WaitContainerOptions>));
        let mut open = true;
        let mut patience = Patience::default();
        let code = loop {
            tokio::select! {
                ended = wait.next() => break exit_code(ended)?,
                chunk = output.next(), if open => open = pass(chunk),
                Some(number) = signals.recv() => {
                    let number = patience.signal(number, Instant::now());
                    let options = KillContainerOptionsBuilder::default().signal(&number.to_string()).build();
                    // It may have ended in the meantime; then the wait tells.
                    let _ = docker.kill_container(container, Some(options)).await;
                }
                _ = window.recv(), if tty => resize(docker, container).await,
            }
        };
        if open {
            // The stream may stay open after the end: what is still on the way gets a moment.
            let _ = timeout(DRAIN, drain(output)).await;
        }
        Ok(code)
    }
}

/// Tells a Ctrl-C for the program from those of a person who wants it gone. Process 1 ignores signals that it does not handle,
/// so asking would never end it; but a debugger or a database's client handles many a Ctrl-C, so one or two are not enough.
#[derive(Default)]
struct Patience {
    /// The last two interrupts, the older one first.
    interrupts: [Option<Instant>; 2],
}

impl Patience {
    /// The signal to send instead of `number`: that one, or SIGKILL for the third SIGINT within [`PATIENCE`].
    fn signal(&mut self, number: i32, now: Instant) -> i32 {
        if number != SIGINT {
            return number;
        }
        let [first, second] = self.interrupts;
        self.interrupts = [second, Some(now)];
        match first {
            Some(first) if now.duration_since(first) <= PATIENCE => SIGKILL,
            _ => SIGINT,
        }
    }
}

async fn drain(mut output: Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>) {
    while pass(output.next().await) {}
}

/// Writes one piece of output; false when there will be no more.
fn pass(chunk: Option<Result<LogOutput, Error>>) -> bool {
    // A closed standard output is the reader's choice; the program goes on, as under the engine's own client.
    let _ = match chunk {
        Some(Ok(LogOutput::StdErr { message })) => stderr().write_all(&message),
        Some(Ok(other)) => {
            let mut out = stdout().lock();
            out.write_all(&other.into_bytes())
                .and_then(|()| out.flush())
        }
        Some(Err(_)) | None => return false,
    };
    true
}

fn exit_code(ended: Option<Result<bollard::models::ContainerWaitResponse, Error>>) -> Result<u8> {
    let code = match ended {
        Some(Ok(response)) => response.status_code,
        // The client library makes an error of every code but 0.
        Some(Err(Error::DockerContainerWaitError { code, .. })) => code,
        Some(Err(error)) => return Err(failed("waiting for the program", &error)),
        None => bail!("the engine went away while the program ran"),
    };
    Ok(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

/// Tells the engine how large this terminal is; it does not matter if it cannot.
async fn resize(docker: &Docker, container: &str) {
    if let Some((height, width)) = window_size() {
        let options = ResizeContainerTTYOptionsBuilder::default()
            .h(height.into())
            .w(width.into())
            .build();
        let _ = docker.resize_container_tty(container, options).await;
    }
}

/// Height and width of this terminal.
pub(crate) fn window_size() -> Option<(u16, u16)> {
    let size = terminal_size::terminal_size_of(stdout())
        .or_else(|| terminal_size::terminal_size_of(stdin()))?;
    Some((size.1.0, size.0.0))
}

/// The terminal passes every key on until this is dropped.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Option<Self> {
        if !stdin().is_terminal() {
            return None;
        }
        let before = tcgetattr(stdin().as_fd()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin().as_fd(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin().as_fd(), SetArg::TCSANOW, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use nix::libc::SIGTERM;

    use super::*;

    /// What is sent for signals that come at these milliseconds.
    fn sent(signals: &[(u64, i32)]) -> Vec<i32> {
        let (mut patience, start) = (Patience::default(), Instant::now());
        signals
            .iter()
            .map(|(at, number)| patience.signal(*number, start + Duration::from_millis(*at)))
            .collect()
    }

    #[test]
    fn a_program_that_handles_ctrl_c_gets_two_in_a_row() {
        assert_eq!(sent(&[(0, SIGINT), (100, SIGINT)]), [SIGINT, SIGINT]);
    }

    #[test]
    fn the_third_ctrl_c_kills_only_when_it_comes_soon() {
        assert_eq!(
            sent(&[(0, SIGINT), (900, SIGINT), (2000, SIGINT)]),
            [SIGINT, SIGINT, SIGKILL]
        );
        assert_eq!(
            sent(&[(0, SIGINT), (900, SIGINT), (2100, SIGINT), (2800, SIGINT)]),
            [SIGINT, SIGINT, SIGINT, SIGKILL]
        );
    }

    #[test]
    fn other_signals_do_not_count() {
        assert_eq!(
            sent(&[(0, SIGTERM), (1, SIGTERM), (2, SIGTERM), (3, SIGINT)]),
            [SIGTERM, SIGTERM, SIGTERM, SIGINT]
        );
    }
}
