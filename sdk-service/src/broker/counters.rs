//! What happened at the programs' edge, counted by reason.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the network was joined.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: u64,)*
        }

        impl Counters {
            /// Every counter with its name.
            pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Requests that were understood.
    requests,
    /// Messages that are no request.
    malformed,
    /// Requests with the wrong number or kind of descriptors.
    wrong_descriptors,
    /// Descriptors that programs attached to bytes of a connection.
    stray_descriptors,
    /// Requests that name a socket that exists already, or one that does not.
    wrong_id,
    /// Requests refused because too many descriptors are held already.
    refused,
    /// Control connections that never sent a request.
    silent,
    /// Connections made for programs.
    connected,
    /// Connections that came to nothing.
    failed,
    /// Connections taken from the LAN.
    accepted,
    /// Connections taken from programs' own networks.
    accepted_native,
}
