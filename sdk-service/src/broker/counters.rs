//! What happened at the programs' edge, counted by reason.

/// Counts since the network was joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that were understood.
    pub requests: u64,
    /// Messages that are no request.
    pub malformed: u64,
    /// Requests with the wrong number or kind of descriptors.
    pub wrong_descriptors: u64,
    /// Requests that name a socket that exists already, or one that does not.
    pub wrong_id: u64,
    /// Requests refused because too many descriptors are held already.
    pub refused: u64,
    /// Control connections that never sent a request.
    pub silent: u64,
    /// Connections made for programs.
    pub connected: u64,
    /// Connections that came to nothing.
    pub failed: u64,
    /// Connections taken from the LAN.
    pub accepted: u64,
    /// Connections taken from programs' own networks.
    pub accepted_native: u64,
}
