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
    /// Connections between two programs of this service.
    direct,
    /// Connections that came to nothing.
    failed,
    /// Connections taken from the LAN.
    accepted,
    /// Connections taken from programs' own networks.
    accepted_native,
    /// Names and addresses that programs asked for.
    lookups,
    /// UDP sockets opened for programs.
    datagram_sockets,
    /// Messages of UDP sockets that are no frame.
    malformed_frames,
    /// Datagrams of programs to the LAN.
    datagrams_out,
    /// Datagrams of programs to their own networks.
    datagrams_out_native,
    /// Datagrams from the LAN to programs.
    datagrams_in,
    /// Datagrams from programs' own networks to programs.
    datagrams_in_native,
    /// Datagrams of programs to which no route leads.
    datagrams_unroutable,
    /// Datagrams of programs that a network did not take.
    datagrams_refused,
}
