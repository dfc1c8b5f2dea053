//! The real daemon in an empty network namespace: its life, its files, its control API.
//!
//! Every service here runs without a default route and in a planet of its own, so nothing can
//! leave this machine. The tests need root, for the namespaces.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod api;
mod files;
mod life;
mod place;
mod planet;
