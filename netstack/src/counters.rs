//! What happened to packets, counted by reason.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Packets and connections counted by what became of them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Name and value of every counter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// IP packets taken in.
    packets_in,
    /// IP packets handed out, each packet of a burst counted.
    packets_out,
    /// Frames of an EtherType that the host does not speak.
    unknown_ethertype,
    /// Frames that were too short, or whose lengths contradict each other.
    malformed,
    /// IP, ICMP or UDP packets with a wrong checksum.
    bad_checksum,
    /// Packets for an address that is not ours.
    not_ours,
    /// Packets whose source cannot be answered, or is ourselves.
    bad_source,
    /// IP fragments taken in.
    fragments,
    /// Packets joined from fragments.
    reassembled,
    /// Fragments dropped because they overlap others, or belong to a packet in which some did.
    fragments_overlapping,
    /// Packets given up because fragments of them did not come in time.
    reassembly_timeout,
    /// Packets given up because there were too many of which fragments were missing.
    reassembly_full,
    /// Datagrams handed to sockets, each socket counted.
    datagrams_in,
    /// Datagrams that sockets sent.
    datagrams_out,
    /// Datagrams lost because the receive queue of their socket was full.
    receive_full,
    /// Datagrams lost because too many waited for the link address of their next hop, or it did not answer.
    hop_lost,
    /// Packets of a transport protocol that the host does not speak.
    unknown_protocol,
    /// Datagrams and segments for a port where nobody listens.
    port_closed,
    /// SYNs left unanswered because the backlog of the listener was full.
    backlog_full,
    /// SYNs and connects that found no memory for their rings.
    no_memory,
    /// Answers that were dropped because the sink was not ready for long.
    replies_dropped,
    /// Answers suppressed by the ICMP rate limit.
    icmp_limited,
    /// ARP or neighbour discovery packets that were ignored.
    neighbour_ignored,
    /// Neighbours that did not answer.
    neighbour_failed,
    /// Connections made by this side.
    connected,
    /// Connections taken from peers.
    accepted,
    /// Connections that ended by a reset of the peer.
    reset_by_peer,
}
