//! What VL2 dropped, and why: a bad packet is an outcome, not an error.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Packets and frames by what became of them, counted since the start.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Frames lent to the owner.
    frames_in,
    /// Frames of the owner sent, copies to several members not counted.
    frames_out,
    /// Packets whose body could not be parsed.
    malformed,
    /// Packets for networks that are not joined.
    not_joined,
    /// Frames of nodes that did not prove their membership.
    not_a_member,
    /// Frames refused by the rules on arrival.
    rules_in,
    /// Frames refused by the rules before sending.
    rules_out,
    /// Frames with a source or destination that their sender or we have no right to.
    foreign_mac,
    /// Frames of the owner with nobody to send them to.
    no_destination,
    /// Multicast frames on networks without multicast.
    multicast_off,
    /// Configuration chunks with a wrong signature, from a stranger, or of another network.
    bad_config,
    /// Credentials that are void, stale or not signed by the controller.
    bad_credential,
    /// Packets of peers that cost too much.
    over_limit,
    /// Announcements and gathers of nodes with no right to them.
    unauthorized,
}
