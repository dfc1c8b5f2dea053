//! The ZeroTier service of a container, as a library: the binary only looks at its own name.
//!
//! Two halves meet here. The *data plane* (`engine`, `udp`, `broker`) is one thread that owns the
//! node, the network stacks, the programs' sockets and the UDP edge. The *shell* around it owns
//! everything a person touches: the home directory, the control API, `zerotier-cli` and
//! `zerotier-idtool`.

pub mod api;
pub mod broker;
pub mod cli;
pub mod daemon;
pub mod engine;
pub mod home;
pub mod idtool;
pub mod keeper;
pub mod news;
pub mod service;
pub mod shell;
pub mod udp;

/// The release of zerotier-one whose behaviour this service follows, on the command line and in
/// the control API.
pub const VERSION: &str = "1.14.1";

/// Where a service lives when nobody says otherwise.
pub const DEFAULT_HOME: &str = "/var/lib/zerotier-one";
