//! The wire form of rules (VL2 §4.9): kind and flags in one byte, a length, and data.

use super::{Action, Match, Rule, Side, TagTest, Target, Unknown};
use crate::address::{Address, Mac};
use crate::wire::{Emit, Malformed, Reader, Sink};
use std::net::{Ipv4Addr, Ipv6Addr};

const NOT: u8 = 0x80;
const OR: u8 = 0x40;
const KIND: u8 = 0x3f;
const LAST_ACTION: u8 = 15;

impl Rule {
    /// Reads one rule.
    pub fn read(reader: &mut Reader<'_>) -> Result<Rule, Malformed> {
        let kind = reader.u8()?;
        let length = reader.u8()?;
        let data = reader.bytes(length.into())?;
        let (flags, kind) = (kind & !KIND, kind & KIND);
        let unknown = || Unknown {
            kind,
            data: data.to_vec(),
        };
        // A known kind of the wrong length is not understood either.
        let mut fields = Reader::new(data, "rule");
        if kind <= LAST_ACTION {
            let action = Action::read(kind, &mut fields).filter(|_| fields.is_empty());
            return Ok(Rule::Action(
                action.unwrap_or_else(|| Action::Unknown(unknown())),
            ));
        }
        let test = Match::read(kind, &mut fields).filter(|_| fields.is_empty());
        Ok(Rule::Match {
            not: flags & NOT != 0,
            or: flags & OR != 0,
            test: test.unwrap_or_else(|| Match::Unknown(unknown())),
        })
    }
}

impl Emit for Rule {
    fn write<S: Sink>(&self, out: &mut S) {
        let mut data = Fields::default();
        let kind = match self {
            Rule::Action(action) => action.write(&mut data),
            Rule::Match { not, or, test } => {
                test.write(&mut data) | if *not { NOT } else { 0 } | if *or { OR } else { 0 }
            }
        };
        out.u8(kind);
        out.u8(data.length);
        out.put(&data.bytes[..data.length.into()]);
    }
}

/// Parses a whole rule list.
pub fn parse_list(bytes: &[u8]) -> Result<Vec<Rule>, Malformed> {
    let mut reader = Reader::new(bytes, "rule list");
    let mut rules = Vec::new();
    while !reader.is_empty() {
        rules.push(Rule::read(&mut reader)?);
    }
    Ok(rules)
}

/// Passes over `count` rules and returns their bytes.
pub(crate) fn skip<'a>(reader: &mut Reader<'a>, count: usize) -> Result<&'a [u8], Malformed> {
    let start = reader.rest();
    for _ in 0..count {
        reader.u8()?;
        let length = reader.u8()?;
        reader.bytes(length.into())?;
    }
    Ok(&start[..start.len() - reader.rest().len()])
}

/// The data of one rule while it is written: their length comes before them.
struct Fields {
    bytes: [u8; 255],
    length: u8,
}

impl Default for Fields {
    fn default() -> Self {
        Fields {
            bytes: [0; 255],
            length: 0,
        }
    }
}

impl Sink for Fields {
    fn put(&mut self, bytes: &[u8]) {
        let start = usize::from(self.length);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len() as u8;
    }
}

impl Action {
    fn read(kind: u8, fields: &mut Reader<'_>) -> Option<Action> {
        Some(match kind {
            0 => Action::Drop,
            1 => Action::Accept,
            2 => Action::Tee(Target::read(fields)?),
            3 => Action::Watch(Target::read(fields)?),
            4 => Action::Redirect(Target::read(fields)?),
            5 => Action::Break,
            6 => Action::Priority,
            _ => return None,
        })
    }

    fn write(&self, out: &mut Fields) -> u8 {
        match self {
            Action::Drop => 0,
            Action::Accept => 1,
            Action::Tee(target) => target.write(out, 2),
            Action::Watch(target) => target.write(out, 3),
            Action::Redirect(target) => target.write(out, 4),
            Action::Break => 5,
            Action::Priority => 6,
            Action::Unknown(unknown) => unknown.write(out),
        }
    }
}

impl Target {
    fn read(fields: &mut Reader<'_>) -> Option<Target> {
        let address = Address::new(fields.u64().ok()?);
        Some(Target {
            address,
            flags: fields.u32().ok()?,
            max_length: fields.u16().ok()?,
        })
    }

    fn write(&self, out: &mut Fields, kind: u8) -> u8 {
        out.u64(self.address.to_u64());
        out.u32(self.flags);
        out.u16(self.max_length);
        kind
    }
}

impl Side {
    /// Of two adjacent kinds the first is about the source.
    fn of(kind: u8, source: u8) -> Side {
        if kind == source {
            Side::Source
        } else {
            Side::Destination
        }
    }

    fn kind(self, source: u8) -> u8 {
        source + u8::from(self == Side::Destination)
    }
}

impl TagTest {
    const FIRST_KIND: u8 = 44;
    const BY_KIND: [TagTest; 7] = [
        TagTest::Difference,
        TagTest::And,
        TagTest::Or,
        TagTest::Xor,
        TagTest::Equal,
        TagTest::Sender,
        TagTest::Receiver,
    ];
}

impl Match {
    fn read(kind: u8, fields: &mut Reader<'_>) -> Option<Match> {
        let f = fields;
        Some(match kind {
            24 | 25 => Match::Node(Side::of(kind, 24), Address::read(f).ok()?),
            26 => Match::VlanId(f.u16().ok()?),
            27 => Match::VlanPriority(f.u8().ok()?),
            28 => Match::VlanDropEligible(f.u8().ok()?),
            29 | 30 => Match::Mac(Side::of(kind, 29), Mac::read(f).ok()?),
            31 | 32 => Match::Ipv4(
                Side::of(kind, 31),
                Ipv4Addr::from(f.array::<4>().ok()?),
                f.u8().ok()?,
            ),
            33 | 34 => Match::Ipv6(
                Side::of(kind, 33),
                Ipv6Addr::from(f.array::<16>().ok()?),
                f.u8().ok()?,
            ),
            35 => Match::TypeOfService {
                mask: f.u8().ok()?,
                first: f.u8().ok()?,
                last: f.u8().ok()?,
            },
            36 => Match::IpProtocol(f.u8().ok()?),
            37 => Match::EtherType(f.u16().ok()?),
            38 => {
                let [kind, code, flags] = f.array().ok()?;
                match (flags, code) {
                    (1, _) => Match::Icmp(kind, Some(code)),
                    (0, 0) => Match::Icmp(kind, None),
                    _ => return None,
                }
            }
            39 | 40 => Match::Port(Side::of(kind, 39), f.u16().ok()?, f.u16().ok()?),
            41 => Match::Characteristics(f.u64().ok()?),
            42 => Match::FrameSize(f.u16().ok()?, f.u16().ok()?),
            43 => Match::Random(f.u32().ok()?),
            44..=50 => Match::Tag {
                test: TagTest::BY_KIND[usize::from(kind - TagTest::FIRST_KIND)],
                id: f.u32().ok()?,
                value: f.u32().ok()?,
            },
            51 => Match::Integer {
                first: f.u64().ok()?,
                last: f.u64().ok()?,
                index: f.u16().ok()?,
                format: f.u8().ok()?,
            },
            _ => return None,
        })
    }

    fn write(&self, out: &mut Fields) -> u8 {
        match self {
            Match::Node(side, address) => {
                Emit::write(address, out);
                side.kind(24)
            }
            Match::VlanId(id) => {
                out.u16(*id);
                26
            }
            Match::VlanPriority(priority) => {
                out.u8(*priority);
                27
            }
            Match::VlanDropEligible(eligible) => {
                out.u8(*eligible);
                28
            }
            Match::Mac(side, mac) => {
                Emit::write(mac, out);
                side.kind(29)
            }
            Match::Ipv4(side, address, bits) => {
                out.put(&address.octets());
                out.u8(*bits);
                side.kind(31)
            }
            Match::Ipv6(side, address, bits) => {
                out.put(&address.octets());
                out.u8(*bits);
                side.kind(33)
            }
            Match::TypeOfService { mask, first, last } => {
                out.put(&[*mask, *first, *last]);
                35
            }
            Match::IpProtocol(protocol) => {
                out.u8(*protocol);
                36
            }
            Match::EtherType(ethertype) => {
                out.u16(*ethertype);
                37
            }
            Match::Icmp(kind, code) => {
                out.put(&[*kind, code.unwrap_or(0), u8::from(code.is_some())]);
                38
            }
            Match::Port(side, first, last) => {
                out.u16(*first);
                out.u16(*last);
                side.kind(39)
            }
            Match::Characteristics(mask) => {
                out.u64(*mask);
                41
            }
            Match::FrameSize(first, last) => {
                out.u16(*first);
                out.u16(*last);
                42
            }
            Match::Random(probability) => {
                out.u32(*probability);
                43
            }
            Match::Tag { test, id, value } => {
                out.u32(*id);
                out.u32(*value);
                TagTest::FIRST_KIND + *test as u8
            }
            Match::Integer {
                first,
                last,
                index,
                format,
            } => {
                out.u64(*first);
                out.u64(*last);
                out.u16(*index);
                out.u8(*format);
                51
            }
            Match::Unknown(unknown) => unknown.write(out),
        }
    }
}

impl Unknown {
    fn write(&self, out: &mut Fields) -> u8 {
        out.put(&self.data);
        self.kind
    }
}
