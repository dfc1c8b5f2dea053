//! One number for everything: the primary UDP port is the port of the control API too.

use std::io;

use anyhow::{Context, Result, bail};

use crate::api::Listeners;
use crate::engine::{self, EngineConfig, EngineHandle, Events};
use crate::udp::UdpConfig;

/// Port when neither the command line nor `local.conf` names one.
const DEFAULT_PORT: u16 = 9993;

/// How often a free port that turned out not to be free for everything is replaced by another.
const ATTEMPTS: usize = 64;

/// The ports that were asked for; 0 is any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) first: Option<u16>,
    pub(super) second: Option<u16>,
}

/// A data plane with its ports.
pub(super) struct Up {
    pub(super) listeners: Listeners,
    pub(super) engine: EngineHandle,
    pub(super) events: Events,
}

/// Starts a data plane on the wished port, or on one that is free for UDP and TCP alike.
/// `configure` is asked with the ports that will be tried.
pub(super) fn bring_up(
    wish: Wish,
    mut configure: impl FnMut(UdpConfig) -> Result<EngineConfig>,
) -> Result<Up> {
    let wished = wish.first.unwrap_or(DEFAULT_PORT);
    for _ in 0..ATTEMPTS {
        let listeners = match Listeners::bind_port(wished) {
            Err(error) if in_use(&error) && wished == 0 => continue,
            other => other.with_context(|| taken("TCP", wished, "for the control API"))?,
        };
        let port = listeners
            .port()
            .context("asking for the port of the control API")?;
        let udp = UdpConfig {
            port,
            secondary_port: wish.second,
            ..UdpConfig::default()
        };
        match engine::spawn(configure(udp)?) {
            Ok((engine, events)) => {
                return Ok(Up {
                    listeners,
                    engine,
                    events,
                });
            }
            Err(error) if in_use(&error) && wished == 0 => {}
            Err(error) if in_use(&error) => {
                return Err(error).with_context(|| taken("UDP", port, ""));
            }
            Err(error) => return Err(error).context("starting the data plane"),
        }
    }
    bail!("no port is free for both UDP and TCP after {ATTEMPTS} attempts; name one with -p");
}

fn in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn taken(kind: &str, port: u16, purpose: &str) -> String {
    let purpose = if purpose.is_empty() {
        String::new()
    } else {
        format!(" {purpose}")
    };
    format!(
        "cannot bind {kind} port {port}{purpose}; another service may have it: choose one with -p PORT, or any with -p0"
    )
}
