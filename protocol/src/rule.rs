//! Rules: what a network lets pass (VL2 §4.9, §4.10). Here are the rules themselves; [`parse_list`]
//! reads them, and [`evaluate`] applies them to a frame.
//!
//! Rules that we do not understand are kept as they are, and evaluation then errs on the side
//! of denying.

mod characteristics;
mod codec;
mod evaluate;
mod layers;

pub use codec::parse_list;
pub(crate) use codec::skip;
pub use evaluate::{Copy, Evidence, Frame, NoEvidence, Outcome, Verdict, evaluate};

use crate::address::{Address, Mac};
use std::net::{Ipv4Addr, Ipv6Addr};

/// One entry of a rule list. Matches gather into a set; the action after them applies if the
/// set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Ends a set.
    Action(Action),
    /// Adds to a set.
    Match {
        /// The result is inverted, unless it is a hard one.
        not: bool,
        /// Combined with what came before by "or" instead of "and".
        or: bool,
        /// What is compared.
        test: Match,
    },
}

/// What happens to a frame whose set of matches holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The frame is dropped.
    Drop,
    /// The frame may pass.
    Accept,
    /// A copy goes to an observer.
    Tee(Target),
    /// A copy goes to an observer, who acknowledges it.
    Watch(Target),
    /// The frame goes to another node instead.
    Redirect(Target),
    /// No more rules of this list are considered.
    Break,
    /// The frame may pass; its priority does not travel.
    Priority,
    /// Not understood.
    Unknown(Unknown),
}

/// Where a copy or a redirected frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub address: Address,
    /// None are defined.
    pub flags: u32,
    /// The most bytes of a copy; zero for all.
    pub max_length: u16,
}

/// Which end of a frame is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
}

/// How a tag of ours and a tag of the peer are compared with a value (VL2 §4.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagTest {
    /// They differ by at most the value.
    Difference,
    /// Their bits in common are the value.
    And,
    /// Their bits together are the value.
    Or,
    /// The bits in which they differ are the value.
    Xor,
    /// Both are the value.
    Equal,
    /// The sender's is the value.
    Sender,
    /// The receiver's is the value.
    Receiver,
}

/// What a match compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// A node's address.
    Node(Side, Address),
    /// The VLAN id, which is always zero.
    VlanId(u16),
    /// The VLAN priority, which is always zero.
    VlanPriority(u8),
    /// The VLAN drop eligibility, which is always zero.
    VlanDropEligible(u8),
    /// An Ethernet address.
    Mac(Side, Mac),
    /// An IPv4 prefix.
    Ipv4(Side, Ipv4Addr, u8),
    /// An IPv6 prefix.
    Ipv6(Side, Ipv6Addr, u8),
    /// The masked type of service, in a range.
    TypeOfService {
        /// Bits that count.
        mask: u8,
        /// The least value.
        first: u8,
        /// The greatest value.
        last: u8,
    },
    /// The IP protocol.
    IpProtocol(u8),
    /// The Ethernet type.
    EtherType(u16),
    /// The type of an ICMP message, and its code if given.
    Icmp(u8, Option<u8>),
    /// A port, in a range.
    Port(Side, u16, u16),
    /// Any of these properties of the frame.
    Characteristics(u64),
    /// The length of the Ethernet payload, in a range.
    FrameSize(u16, u16),
    /// Holds with a probability out of 2³².
    Random(u32),
    /// Tags.
    Tag {
        /// How they are compared.
        test: TagTest,
        /// Which tag.
        id: u32,
        /// What they are compared with.
        value: u32,
    },
    /// An integer inside the payload, in a range.
    Integer {
        /// The least value.
        first: u64,
        /// The greatest value.
        last: u64,
        /// Where it is.
        index: u16,
        /// Its width in bits less one, and 0x80 if it is little-endian.
        format: u8,
    },
    /// Not understood.
    Unknown(Unknown),
}

/// A rule that is not understood, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    kind: u8,
    data: Vec<u8>,
}

impl Rule {
    /// Lets everything pass.
    pub const ACCEPT: Rule = Rule::Action(Action::Accept);

    /// A match that is neither inverted nor an alternative.
    pub const fn when(test: Match) -> Rule {
        Rule::Match {
            not: false,
            or: false,
            test,
        }
    }

    /// An inverted match.
    pub const fn unless(test: Match) -> Rule {
        Rule::Match {
            not: true,
            or: false,
            test,
        }
    }
}
