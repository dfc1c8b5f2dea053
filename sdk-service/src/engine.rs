//! The data plane: one thread that carries every byte the whole way.
//!
//! It owns the node, the hosts of the joined networks, the programs' sockets and the UDP edge, and
//! does one thing after the other: take what arrived, hand it to programs, take what programs wrote,
//! hand it to the network, sleep until something happens or a deadline passes. There is no periodic
//! tick. A full queue stops the step before it, so back-pressure reaches the program's own `write`, and
//! nothing is dropped inside.
//!
//! It touches no file but the sockets `nc_<network id>`: what must be kept comes out as an
//! [`EngineEvent`], what it must know goes in by [`EngineConfig`] and the methods of [`EngineHandle`].

mod addresses;
mod clock;
mod controller;
mod event;
mod handle;
mod linger;
mod network;
pub(crate) mod reactor;
mod requests;
mod run;
mod sink;
pub(crate) mod slots;
mod view;

pub use event::EngineEvent;
pub use handle::{Answer, EngineConfig, EngineGone, EngineHandle, Events, spawn};
pub use view::{NetworkView, NodeView};

#[cfg(test)]
mod tests;
