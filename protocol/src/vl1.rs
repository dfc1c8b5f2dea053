//! VL1.
#![allow(missing_docs, dead_code)]
mod outbox;
mod reassembly;
mod replies;
mod table;
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalSocket(pub u32);
