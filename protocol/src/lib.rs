//! The ZeroTier protocol without input or output: identities, cryptography, codecs and the state
//! machines of VL1 (peers, paths, roots) and VL2 (networks, credentials, rules, multicast).
//!
//! Nothing here opens a socket, reads a clock, spawns or awaits. Callers pass bytes, the
//! [`Time`] and randomness in, and take bytes, events and deadlines out.
//!
//! The codec modules share one shape, described in [`wire`]: `parse` is total, `emit` writes
//! exactly `wire_len` bytes. Comments cite the protocol documents as "VL1 §n" and "VL2 §n".
#![forbid(unsafe_code)]

pub mod address;
pub mod credential;
pub mod crypto;
pub mod dictionary;
pub mod identity;
pub mod inet;
pub mod network_config;
pub mod node;
pub mod packet;
pub mod rule;
pub mod time;
pub mod verb;
pub mod vl1;
pub mod vl2;
pub mod wire;
pub mod world;

pub use address::{Address, Mac, MulticastGroup, NetworkId, PacketId};
pub use crypto::{CipherSuite, PeerKeys, SharedSecret};
pub use dictionary::Dictionary;
pub use identity::{Identity, SecretIdentity};
pub use network_config::NetworkConfig;
pub use rand_core;
pub use time::Time;
pub use verb::Verb;
pub use wire::{Emit, Malformed};
pub use world::World;
