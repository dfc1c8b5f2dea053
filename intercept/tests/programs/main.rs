//! Real programs under the preload library, against a stand-in for the service (`stand_in.rs`).

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod build;
mod cost;
mod inert;
mod semantics;
mod servers;
mod stand_in;
mod symbols;
mod unix;
