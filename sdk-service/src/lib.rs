//! The ZeroTier service of a container, as a library: the binary only looks at its own name.
//!
//! Two halves meet here. The *data plane* (`engine`, `udp`, `broker`) is one thread that owns the
//! node, the network stacks, the programs' sockets and the UDP edge. The *shell* around it owns
//! everything a person touches: the home directory, the control API, `zerotier-cli` and
//! `zerotier-idtool`.
