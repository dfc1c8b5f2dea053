//! Applying rules to a frame (VL2 §4.10, §4.11).

use super::layers::{self, ICMP, ICMPV6, SCTP, TCP, UDP, UDP_LITE};
use super::{Action, Match, Rule, Side, TagTest, Target, characteristics};
use crate::address::{Address, Mac};
use std::net::IpAddr;

/// A frame on its way through a rule list.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Whether we receive it.
    pub inbound: bool,
    /// Our own address.
    pub own: Address,
    /// The node that sends it.
    pub source_node: Address,
    /// The node that gets it; nil in the first pass of a multicast.
    pub destination_node: Address,
    /// The Ethernet source.
    pub source: Mac,
    /// The Ethernet destination.
    pub destination: Mac,
    /// The Ethernet type.
    pub ethertype: u16,
    /// What follows the Ethernet header.
    pub payload: &'a [u8],
}

/// What is known about the two ends of a frame beside its bytes. The defaults know nothing.
pub trait Evidence {
    /// Our own tag.
    fn own_tag(&self, id: u32) -> Option<u32> {
        let _ = id;
        None
    }

    /// The peer's tag, if we hold it and it is valid.
    fn peer_tag(&self, id: u32) -> Option<u32> {
        let _ = id;
        None
    }

    /// Whether the sender proved that it owns `ip`.
    fn sender_owns_ip(&self, ip: IpAddr) -> bool {
        let _ = ip;
        false
    }

    /// Whether the sender proved that it owns `mac`.
    fn sender_owns_mac(&self, mac: Mac) -> bool {
        let _ = mac;
        false
    }

    /// A fresh random number.
    fn random(&self) -> u32 {
        u32::MAX
    }
}

/// Knows nothing about anybody.
#[derive(Clone, Copy, Debug)]
pub struct NoEvidence;

impl Evidence for NoEvidence {}

/// What a rule list says about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: capabilities are asked next, and then the frame is denied.
    NoMatch,
    /// It must not pass.
    Drop,
    /// It goes to this node instead.
    Redirect(Address),
    /// It may pass.
    Accept,
    /// It may pass even where it would not belong: we are its observer.
    SuperAccept,
}

/// A copy for an observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The observer.
    pub to: Address,
    /// How many bytes of the payload.
    pub length: usize,
    /// Whether the observer is to acknowledge it.
    pub is_watch: bool,
}

/// A verdict, and the copy to be made if the frame passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the frame may pass.
    pub verdict: Verdict,
    /// A copy for an observer.
    pub copy: Option<Copy>,
}

/// Applies `rules` to `frame`. `trust_unknown` is the network's choice that matches which we do
/// not understand hold; without it they neither hold nor fail, and what depends on them is
/// denied: they cannot make a set accept, but they can make it drop.
pub fn evaluate(
    rules: &[Rule],
    frame: &Frame<'_>,
    trust_unknown: bool,
    evidence: &impl Evidence,
) -> Outcome {
    let mut state = Evaluation {
        frame,
        evidence,
        skip_drop: false,
        super_accept: false,
        copy: None,
    };
    let verdict = state.run(rules, trust_unknown);
    Outcome {
        verdict,
        copy: state.copy,
    }
}

/// The matches so far. The two differ only after a match that is not understood.
#[derive(Clone, Copy)]
struct Set {
    certain: bool,
    possible: bool,
}

impl Set {
    const FRESH: Set = Set {
        certain: true,
        possible: true,
    };
}

/// The result of a match: a hard one is not inverted.
enum Hit {
    Plain(bool),
    Hard(bool),
}

struct Evaluation<'a, E> {
    frame: &'a Frame<'a>,
    evidence: &'a E,
    /// The set holds only because the peer may have a tag that we have not learned: its drop
    /// is left to the other side.
    skip_drop: bool,
    /// We are an observer of the frame.
    super_accept: bool,
    copy: Option<Copy>,
}

impl<E: Evidence> Evaluation<'_, E> {
    fn run(&mut self, rules: &[Rule], trust_unknown: bool) -> Verdict {
        let mut set = Set::FRESH;
        for rule in rules {
            match rule {
                Rule::Action(action) if set.possible => match self.act(action, set.certain) {
                    Some(verdict) => return verdict,
                    // An action that does not decide leaves its set as it is.
                    None if set.certain => {}
                    None => set = Set::FRESH,
                },
                Rule::Action(action) => {
                    self.super_accept |= self.frame.inbound && self.is_observed_by_us(action);
                    set = Set::FRESH;
                }
                Rule::Match { or: false, .. } if !set.possible => {}
                Rule::Match { not, or, test } => {
                    let result = match test {
                        Match::Unknown(_) => Set {
                            certain: trust_unknown,
                            possible: true,
                        },
                        known => {
                            let holds = match self.test(known) {
                                Hit::Plain(holds) => holds != *not,
                                Hit::Hard(holds) => holds,
                            };
                            Set {
                                certain: holds,
                                possible: holds,
                            }
                        }
                    };
                    set = if *or {
                        Set {
                            certain: set.certain | result.certain,
                            possible: set.possible | result.possible,
                        }
                    } else {
                        Set {
                            certain: set.certain & result.certain,
                            possible: set.possible & result.possible,
                        }
                    };
                }
            }
        }
        Verdict::NoMatch
    }

    /// Carries out an action whose set holds, or may hold if not `certain`.
    fn act(&mut self, action: &Action, certain: bool) -> Option<Verdict> {
        match action {
            Action::Drop if self.skip_drop => {
                self.skip_drop = false;
                None
            }
            Action::Drop | Action::Unknown(_) => Some(Verdict::Drop),
            Action::Break => Some(if certain {
                Verdict::NoMatch
            } else {
                Verdict::Drop
            }),
            _ if !certain => None,
            Action::Accept if self.super_accept => Some(Verdict::SuperAccept),
            Action::Accept | Action::Priority => Some(Verdict::Accept),
            Action::Tee(target) | Action::Watch(target) | Action::Redirect(target) => {
                self.divert(action, target)
            }
        }
    }

    fn divert(&mut self, action: &Action, target: &Target) -> Option<Verdict> {
        let frame = self.frame;
        if target.address == frame.source_node {
            return None;
        }
        if target.address == frame.own {
            return frame.inbound.then_some(Verdict::SuperAccept);
        }
        if target.address == frame.destination_node {
            return None;
        }
        if let Action::Redirect(_) = action {
            return Some(Verdict::Redirect(target.address));
        }
        let whole = frame.payload.len();
        let length = match target.max_length {
            0 => whole,
            limit => whole.min(limit.into()),
        };
        let is_watch = matches!(action, Action::Watch(_));
        self.copy = Some(Copy {
            to: target.address,
            length,
            is_watch,
        });
        None
    }

    fn is_observed_by_us(&self, action: &Action) -> bool {
        match action {
            Action::Tee(target) | Action::Watch(target) | Action::Redirect(target) => {
                target.address == self.frame.own
            }
            _ => false,
        }
    }

    fn test(&mut self, test: &Match) -> Hit {
        use Hit::{Hard, Plain};
        let frame = self.frame;
        let (ethertype, payload) = (frame.ethertype, frame.payload);
        match *test {
            Match::Node(Side::Source, address) => Plain(address == frame.source_node),
            Match::Node(Side::Destination, address) => {
                Plain(address == frame.destination_node && !address.is_nil())
            }
            Match::VlanId(id) => Plain(id == 0),
            Match::VlanPriority(value) | Match::VlanDropEligible(value) => Plain(value == 0),
            Match::Mac(Side::Source, mac) => Plain(mac == frame.source),
            Match::Mac(Side::Destination, mac) => Plain(mac == frame.destination),
            Match::Ipv4(side, network, bits) => match layers::ipv4(ethertype, payload) {
                Some(header) => {
                    let at = if side == Side::Source { 12 } else { 16 };
                    let address = u32::from_be_bytes(std::array::from_fn(|i| header[at + i]));
                    let mask = u32::MAX
                        .checked_shl(32u32.saturating_sub(bits.into()))
                        .unwrap_or(0);
                    Plain((address ^ network.to_bits()) & mask == 0)
                }
                None => Hard(false),
            },
            Match::Ipv6(side, network, bits) => match layers::ipv6(ethertype, payload) {
                Some(header) => {
                    let at = if side == Side::Source { 8 } else { 24 };
                    let address = u128::from_be_bytes(std::array::from_fn(|i| header[at + i]));
                    let mask = u128::MAX
                        .checked_shl(128u32.saturating_sub(bits.into()))
                        .unwrap_or(0);
                    // The rule's own host bits are not masked: if it has any, it never holds.
                    Plain(address & mask == network.to_bits())
                }
                None => Hard(false),
            },
            Match::TypeOfService { mask, first, last } => {
                let value = match layers::ipv4(ethertype, payload) {
                    Some(header) => Some(header[1]),
                    None => layers::ipv6(ethertype, payload).map(|h| h[0] << 4 | h[1] >> 4),
                };
                value.map_or(Hard(false), |value| {
                    Plain((first..=last).contains(&(value & mask)))
                })
            }
            Match::IpProtocol(protocol) => match layers::transport(ethertype, payload) {
                Some((found, _)) => Plain(found == protocol),
                None => Hard(false),
            },
            Match::EtherType(wanted) => Plain(wanted == ethertype),
            Match::Icmp(kind, code) => icmp(frame, kind, code),
            Match::Port(side, first, last) => port(frame, side, first, last),
            Match::Characteristics(mask) => {
                Plain(characteristics::of(frame, self.evidence) & mask != 0)
            }
            Match::FrameSize(first, last) => {
                Plain((usize::from(first)..=usize::from(last)).contains(&payload.len()))
            }
            Match::Random(probability) => Plain(self.evidence.random() <= probability),
            Match::Tag {
                test: TagTest::Sender,
                id,
                value,
            } => self.end_tag(!frame.inbound, id, value),
            Match::Tag {
                test: TagTest::Receiver,
                id,
                value,
            } => self.end_tag(frame.inbound, id, value),
            Match::Tag { test, id, value } => self.both_tags(test, id, value),
            Match::Integer {
                first,
                last,
                index,
                format,
            } => Plain((first..=last).contains(&integer(payload, index, format))),
            // Decided by the caller, who knows the network's choice.
            Match::Unknown(_) => Hard(false),
        }
    }

    fn both_tags(&mut self, test: TagTest, id: u32, value: u32) -> Hit {
        let Some(own) = self.evidence.own_tag(id) else {
            return Hit::Hard(false);
        };
        let Some(peer) = self.evidence.peer_tag(id) else {
            let denied = self.frame.inbound && !self.super_accept;
            self.skip_drop |= !denied;
            return Hit::Hard(!denied);
        };
        Hit::Plain(match test {
            TagTest::Difference => own.abs_diff(peer) <= value,
            TagTest::And => own & peer == value,
            TagTest::Or => own | peer == value,
            TagTest::Xor => own ^ peer == value,
            TagTest::Equal | TagTest::Sender | TagTest::Receiver => own == value && peer == value,
        })
    }

    /// The tag of one end, which is ours or the peer's.
    fn end_tag(&mut self, ours: bool, id: u32, value: u32) -> Hit {
        if self.super_accept {
            self.skip_drop = true;
            return Hit::Hard(true);
        }
        if ours {
            return self
                .evidence
                .own_tag(id)
                .map_or(Hit::Hard(false), |tag| Hit::Plain(tag == value));
        }
        match self.evidence.peer_tag(id) {
            Some(tag) => Hit::Plain(tag == value),
            None if self.frame.inbound => Hit::Hard(false),
            None => {
                self.skip_drop = true;
                Hit::Hard(true)
            }
        }
    }
}

fn icmp(frame: &Frame<'_>, kind: u8, code: Option<u8>) -> Hit {
    let message = match layers::transport(frame.ethertype, frame.payload) {
        Some((ICMP, at)) if frame.ethertype == layers::IPV4 => frame.payload.get(at..at + 2),
        Some((ICMPV6, at)) if frame.ethertype == layers::IPV6 => frame.payload.get(at..at + 2),
        _ => None,
    };
    match (message, code) {
        (Some(message), Some(code)) if message[0] == kind => Hit::Plain(message[1] == code),
        (Some(message), None) if message[0] == kind => Hit::Hard(true),
        _ => Hit::Hard(false),
    }
}

fn port(frame: &Frame<'_>, side: Side, first: u16, last: u16) -> Hit {
    let Some((protocol, at)) = layers::transport(frame.ethertype, frame.payload) else {
        return Hit::Hard(false);
    };
    let field = if side == Side::Source { at } else { at + 2 };
    let bytes = match protocol {
        // The rule asks for more than the ports themselves.
        TCP | UDP | SCTP | UDP_LITE if frame.payload.len() > at + 4 => {
            frame.payload.get(field..field + 2)
        }
        _ => None,
    };
    Hit::Plain(bytes.is_some_and(|bytes| {
        let port = u16::from_be_bytes([bytes[0], bytes[1]]);
        let counts = port != 0 || frame.ethertype == layers::IPV4;
        counts && (first..=last).contains(&port)
    }))
}

/// The integer at `index`; zero if it is not inside the payload.
fn integer(payload: &[u8], index: u16, format: u8) -> u64 {
    const LITTLE_ENDIAN: u8 = 0x80;
    let index = usize::from(index);
    let bits = usize::from(format & 63) + 1;
    let bytes = bits.div_ceil(8);
    let mut word = [0; 8];
    if format & LITTLE_ENDIAN != 0 {
        let Some(field) = payload.get(index..index + bytes) else {
            return 0;
        };
        word[..bytes].copy_from_slice(field);
        u64::from_le_bytes(word) >> (8 * bytes - bits)
    } else {
        let Some(field) = payload.get(index + 8 - bytes..index + 8) else {
            return 0;
        };
        word[8 - bytes..].copy_from_slice(field);
        u64::from_be_bytes(word) & (u64::MAX >> (64 - bits))
    }
}
