//! Real programs under the preload library, against a stand-in for the service (`stand_in.rs`).

mod build;
mod inert;
mod semantics;
mod servers;
mod stand_in;
mod symbols;
mod unix;
