//! Verbs and their messages (VL1 §3, VL2 §4). Bodies begin after the verb byte.

mod config;
mod credentials;
mod frame;
mod hello;
mod multicast;
mod path;
mod reply;

pub use config::{ConfigChunk, NetworkConfigRequest, OkNetworkConfig, Placement};
pub use credentials::NetworkCredentials;
pub use frame::{ExtFrame, Frame};
pub use hello::{Hello, OkHello, Version, WorldRevision};
pub use multicast::{
    GatherResults, MulticastFrame, MulticastGather, MulticastLike, OkMulticastFrame,
    OkMulticastGather,
};
pub use path::{PushDirectPaths, PushedPath, Rendezvous, whois_addresses, whois_identities};
pub use reply::{ErrorCode, ErrorReply, Reply, UnwantedMulticast};

use std::fmt;

/// What a packet asks for: the low five bits of its verb byte. Unknown verbs are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verb(u8);

impl Verb {
    /// Nothing; keeps a path alive.
    pub const NOP: Verb = Verb(0x00);
    /// Introduces the sender.
    pub const HELLO: Verb = Verb(0x01);
    /// Something was wrong with a packet.
    pub const ERROR: Verb = Verb(0x02);
    /// The answer to a packet.
    pub const OK: Verb = Verb(0x03);
    /// Asks for identities.
    pub const WHOIS: Verb = Verb(0x04);
    /// Introduces two peers to each other.
    pub const RENDEZVOUS: Verb = Verb(0x05);
    /// A frame between two members.
    pub const FRAME: Verb = Verb(0x06);
    /// A frame with its MACs.
    pub const EXT_FRAME: Verb = Verb(0x07);
    /// Asks for its payload back.
    pub const ECHO: Verb = Verb(0x08);
    /// Announces multicast groups.
    pub const MULTICAST_LIKE: Verb = Verb(0x09);
    /// Carries credentials.
    pub const NETWORK_CREDENTIALS: Verb = Verb(0x0a);
    /// Asks a controller for a configuration.
    pub const NETWORK_CONFIG_REQUEST: Verb = Verb(0x0b);
    /// A configuration that was not asked for.
    pub const NETWORK_CONFIG: Verb = Verb(0x0c);
    /// Asks for members of a multicast group.
    pub const MULTICAST_GATHER: Verb = Verb(0x0d);
    /// A frame to a multicast group.
    pub const MULTICAST_FRAME: Verb = Verb(0x0e);
    /// Tells the sender's physical addresses.
    pub const PUSH_DIRECT_PATHS: Verb = Verb(0x10);
    /// Bonding; ignored.
    pub const ACK: Verb = Verb(0x12);
    /// Bonding; ignored.
    pub const QOS_MEASUREMENT: Verb = Verb(0x13);
    /// Application data; ignored.
    pub const USER_MESSAGE: Verb = Verb(0x14);
    /// Diagnostics; ignored.
    pub const REMOTE_TRACE: Verb = Verb(0x15);
    /// Bonding; ignored.
    pub const PATH_NEGOTIATION_REQUEST: Verb = Verb(0x16);

    /// The verb of a packet's verb byte, whose upper bits are flags.
    pub const fn from_byte(byte: u8) -> Verb {
        Verb(byte & 0x1f)
    }

    /// The verb byte, without flags.
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// Whether the verb may come in suite 0 (VL1 §2.6).
    pub fn may_be_clear(self) -> bool {
        matches!(
            self,
            Verb::HELLO | Verb::ACK | Verb::QOS_MEASUREMENT | Verb::PATH_NEGOTIATION_REQUEST
        )
    }

    /// The name in the protocol documents, if the verb is known.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Verb::NOP => "NOP",
            Verb::HELLO => "HELLO",
            Verb::ERROR => "ERROR",
            Verb::OK => "OK",
            Verb::WHOIS => "WHOIS",
            Verb::RENDEZVOUS => "RENDEZVOUS",
            Verb::FRAME => "FRAME",
            Verb::EXT_FRAME => "EXT_FRAME",
            Verb::ECHO => "ECHO",
            Verb::MULTICAST_LIKE => "MULTICAST_LIKE",
            Verb::NETWORK_CREDENTIALS => "NETWORK_CREDENTIALS",
            Verb::NETWORK_CONFIG_REQUEST => "NETWORK_CONFIG_REQUEST",
            Verb::NETWORK_CONFIG => "NETWORK_CONFIG",
            Verb::MULTICAST_GATHER => "MULTICAST_GATHER",
            Verb::MULTICAST_FRAME => "MULTICAST_FRAME",
            Verb::PUSH_DIRECT_PATHS => "PUSH_DIRECT_PATHS",
            Verb::ACK => "ACK",
            Verb::QOS_MEASUREMENT => "QOS_MEASUREMENT",
            Verb::USER_MESSAGE => "USER_MESSAGE",
            Verb::REMOTE_TRACE => "REMOTE_TRACE",
            Verb::PATH_NEGOTIATION_REQUEST => "PATH_NEGOTIATION_REQUEST",
            _ => return None,
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#04x}", self.0),
        }
    }
}

impl fmt::Debug for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
