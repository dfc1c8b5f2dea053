//! What was received, sent and dropped, by reason. A bad packet is not an error but an outcome.

use crate::Verb;

macro_rules! drops {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why something was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DropReason { $($(#[$doc])* $name,)* }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)*];

            /// A short name for displays.
            pub fn name(self) -> &'static str {
                match self { $(DropReason::$name => $text,)* }
            }
        }
    };
}

drops! {
    /// Too short or malformed to be a packet or a fragment.
    Junk = "junk",
    /// A fragment that came twice.
    DuplicateFragment = "duplicate fragment",
    /// A fragment that contradicts the others.
    InconsistentFragment = "inconsistent fragment",
    /// A packet whose fragments did not all come in time.
    IncompletePacket = "incomplete packet",
    /// Our own packet came back.
    OwnPacket = "own packet",
    /// A suite that we do not speak.
    UnsupportedSuite = "unsupported suite",
    /// A verb that must not come in clear text.
    ClearText = "clear text",
    /// The MAC is wrong.
    NotAuthentic = "not authentic",
    /// Bad compression.
    BadCompression = "bad compression",
    /// The body does not have the shape of its verb.
    MalformedMessage = "malformed message",
    /// The source stayed unknown.
    UnknownSource = "unknown source",
    /// The destination stayed unknown or without a path.
    UnknownDestination = "unknown destination",
    /// A protocol version below 4.
    OldProtocol = "old protocol",
    /// A HELLO whose identity is not that of its source.
    WrongIdentity = "wrong identity",
    /// An identity without its proof of work, or with a weak key.
    InvalidIdentity = "invalid identity",
    /// Another identity with an address that we know already.
    IdentityCollision = "identity collision",
    /// Too many unknown identities from one place.
    IdentityGate = "identity gate",
    /// Too many HELLOs on one path.
    HelloGate = "hello gate",
    /// Too many ECHOs on one path.
    EchoGate = "echo gate",
    /// Too many WHOISes of one peer.
    WhoisGate = "whois gate",
    /// Too many PUSH_DIRECT_PATHS of one peer.
    PushGate = "push gate",
    /// An OK that answers nothing we asked.
    UnexpectedReply = "unexpected reply",
    /// Something that only an upstream may say.
    NotUpstream = "not from an upstream",
    /// A verb without meaning to us.
    Ignored = "ignored verb",
    /// A packet for somebody else, and we are no root.
    NotForUs = "not for us",
    /// A packet for somebody else that has travelled too far.
    TooManyHops = "too many hops",
    /// A datagram for somebody else that its receiver could not read.
    TooLongToRelay = "too long to relay",
    /// A packet for somebody else, and no path there.
    NoRelayPath = "no relay path",
    /// No room in the outbox.
    OutboxFull = "outbox full",
    /// No room among the packets that wait for an identity.
    QueueFull = "queue full",
    /// More paths than can be remembered.
    PathTableFull = "path table full",
}

/// Counts of everything since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Bytes in them.
    pub bytes_received: u64,
    /// Packets relayed for others.
    pub relayed: u64,
    received: [u64; 32],
    sent: [u64; 32],
    dropped: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// Authentic packets received with that verb.
    pub fn received(&self, verb: Verb) -> u64 {
        self.received[usize::from(verb.to_byte() & 0x1f)]
    }

    /// Packets sent with that verb.
    pub fn sent(&self, verb: Verb) -> u64 {
        self.sent[usize::from(verb.to_byte() & 0x1f)]
    }

    /// What was dropped for that reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Every reason for which something was dropped, and how often.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .map(|&reason| (reason, self.dropped(reason)))
            .filter(|&(_, n)| n > 0)
    }

    pub(super) fn count_received(&mut self, verb: Verb) {
        self.received[usize::from(verb.to_byte() & 0x1f)] += 1;
    }

    pub(super) fn count_sent(&mut self, verb: Verb) {
        self.sent[usize::from(verb.to_byte() & 0x1f)] += 1;
    }

    pub(super) fn drop(&mut self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    pub(super) fn drop_many(&mut self, reason: DropReason, count: u64) {
        self.dropped[reason as usize] += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_counted_by_reason() {
        let mut counters = Counters::default();
        assert_eq!(counters.drops().count(), 0);
        for &reason in DropReason::ALL {
            counters.drop(reason);
        }
        counters.drop(DropReason::Junk);
        assert_eq!(counters.dropped(DropReason::Junk), 2);
        assert_eq!(counters.drops().count(), DropReason::ALL.len());
    }
}
