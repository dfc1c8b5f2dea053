//! A ZeroTier network controller without input or output.
//!
//! It keeps networks and members, answers configuration requests with signed certificates, gives
//! addresses from pools, and serves the `/controller` JSON API. Records are kept by a [`Store`];
//! what must be sent as a consequence of a change comes out of [`Controller::poll_effect`]. It
//! sends nothing itself and never reads a clock. Sections cited as "VL2 §n" are of the protocol
//! document.
#![forbid(unsafe_code)]

mod api;
mod assign;
mod controller;
mod issue;
mod json;
mod member;
mod metadata;
mod network;
mod records;
mod rules;
mod session;
mod store;

pub use api::{Method, Response};
pub use controller::{Controller, Effect};
pub use json::Invalid;
pub use records::{Records, Unreadable};
pub use store::{MemoryStore, Store};
