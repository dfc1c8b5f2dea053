//! The data plane: one thread that carries every byte the whole way.
//!
//! It owns the node, the hosts of the joined networks, the programs' sockets and the UDP edge, and
//! does one thing after the other: take what arrived, hand it to programs, take what programs wrote,
//! hand it to the network, sleep until something happens or a deadline passes. There is no periodic
//! tick. A full queue stops the step before it, so back-pressure reaches the program's own `write`, and
//! nothing is dropped inside.
//!
//! It touches no file but the sockets `nc_<network id>`: what must be kept comes out as an
//! [`EngineEvent`], what it must know goes in by [`EngineConfig`] and the commands of an [`EngineHandle`].

mod addresses;
mod clock;
mod controller;
mod interface;
mod network;
pub(crate) mod reactor;
mod requests;
mod run;
mod sink;
pub(crate) mod slots;
mod status;

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};

use crate::udp::UdpEdge;
pub use interface::*;
use run::Engine;

/// Starts the data plane in a thread of its own. Its events end when it has ended.
///
/// # Errors
/// A port is taken, or the system gives no descriptor or thread.
pub fn spawn(config: EngineConfig) -> io::Result<(EngineHandle, mpsc::Receiver<EngineEvent>)> {
    let edge = UdpEdge::open(&config.udp)?;
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    // shell ──commands──▶ engine
    let (commands_tx, commands_rx) = mpsc::channel();
    // engine ──events──▶ shell; the engine never waits for the shell.
    let (events_tx, events_rx) = mpsc::channel();
    let mut engine = Engine::new(config, edge, wake.clone(), commands_rx, events_tx)?;
    thread::Builder::new()
        .name("data-plane".into())
        .spawn(move || engine.run())?;
    Ok((EngineHandle::new(commands_tx, wake), events_rx))
}

#[cfg(test)]
mod tests;
