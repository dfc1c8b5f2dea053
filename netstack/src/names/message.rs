//! DNS messages (RFC 1035 §4, with the class bits of RFC 6762 §10.2 and §5.4).
//!
//! Parsing is total: any bytes give a message or [`Malformed`], in time proportional to their number. Names are written
//! uncompressed: our messages are short.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::Name;

/// Types of records.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const NSEC: u16 = 47;
    pub(crate) const ANY: u16 = 255;
}

const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;
/// In a question: an answer to the asker alone is welcome. In a record: others of its name and type are wrong now.
const TOP_BIT: u16 = 0x8000;

const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const OPCODE: u16 = 0x7800;
const RCODE: u16 = 0x000f;

/// Records and questions that a message may have: what is beyond is nothing that we need.
const MAX_PARTS: usize = 1024;
/// The first two bits of a length byte that is a pointer.
const POINTER: u8 = 0xc0;

/// The bytes are no DNS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a DNS message")]
pub struct Malformed;

/// The two bytes of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// A question for a server that looks further.
    pub(crate) const RECURSIVE: Flags = Flags(RECURSION_DESIRED);
    /// An answer by who decides.
    pub(crate) const ANSWER: Flags = Flags(RESPONSE | AUTHORITATIVE);
    /// An answer by who has looked.
    pub(crate) const LOOKED_UP: Flags = Flags(RESPONSE | RECURSION_DESIRED | RECURSION_AVAILABLE);

    pub(crate) fn is_response(self) -> bool {
        self.0 & RESPONSE != 0
    }

    pub(crate) fn is_truncated(self) -> bool {
        self.0 & TRUNCATED != 0
    }

    pub(crate) fn is_plain_query(self) -> bool {
        self.0 & (RESPONSE | OPCODE) == 0
    }

    pub(crate) fn code(self) -> u16 {
        self.0 & RCODE
    }

    pub(crate) fn with_code(self, code: u16) -> Flags {
        Flags(self.0 & !RCODE | code & RCODE)
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name.
    pub name: Name,
    /// The type of records.
    pub kind: u16,
    /// An answer to the asker alone is welcome.
    pub unicast: bool,
}

/// A record of the Internet class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub name: Name,
    /// Seconds that it may be believed.
    pub ttl: u32,
    /// There are no others of its name and type.
    pub flush: bool,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The name of an address.
    Ptr(Name),
    /// The true name.
    Cname(Name),
    /// Which types there are (RFC 4034 §4).
    Nsec {
        /// The next name; the same one in multicast DNS.
        next: Name,
        /// Bitmaps of types.
        types: Vec<u8>,
    },
    /// Anything else.
    Other {
        /// The type.
        kind: u16,
        /// The bytes.
        data: Vec<u8>,
    },
}

impl Data {
    pub(crate) fn kind(&self) -> u16 {
        match self {
            Data::A(_) => kind::A,
            Data::Aaaa(_) => kind::AAAA,
            Data::Ptr(_) => kind::PTR,
            Data::Cname(_) => kind::CNAME,
            Data::Nsec { .. } => kind::NSEC,
            Data::Other { kind, .. } => *kind,
        }
    }

    pub(crate) fn of_address(ip: IpAddr) -> Data {
        match ip {
            IpAddr::V4(ip) => Data::A(ip),
            IpAddr::V6(ip) => Data::Aaaa(ip),
        }
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self {
            Data::A(ip) => Some((*ip).into()),
            Data::Aaaa(ip) => Some((*ip).into()),
            _ => None,
        }
    }

    /// Says that `name` has records of these types, below 256, and no others.
    pub(crate) fn only(name: Name, kinds: &[u16]) -> Data {
        let mut types = Vec::new();
        if let Some(last) = kinds.iter().max() {
            let len = usize::from(last / 8) + 1;
            types = vec![0; 2 + len];
            types[1] = len as u8;
            for kind in kinds {
                types[2 + usize::from(kind / 8)] |= 0x80 >> (kind % 8);
            }
        }
        Data::Nsec { next: name, types }
    }

    /// Whether it denies that there are records of a type.
    pub(crate) fn denies(&self, kind: u16) -> bool {
        let Data::Nsec { types, .. } = self else {
            return false;
        };
        let mut rest = &types[..];
        while let [window, len, tail @ ..] = rest {
            let len = usize::from(*len).min(tail.len());
            let (bits, next) = tail.split_at(len);
            if u16::from(*window) == kind >> 8 {
                let byte = bits.get(usize::from(kind & 0xff) / 8);
                return byte.is_none_or(|byte| byte & 0x80 >> (kind % 8) == 0);
            }
            rest = next;
        }
        true
    }

    /// The bytes of the record, names uncompressed.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Data::A(ip) => ip.octets().to_vec(),
            Data::Aaaa(ip) => ip.octets().to_vec(),
            Data::Ptr(name) | Data::Cname(name) => name.as_wire().to_vec(),
            Data::Nsec { next, types } => [next.as_wire(), types].concat(),
            Data::Other { data, .. } => data.clone(),
        }
    }
}

/// A whole message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Which question is answered; 0 in multicast.
    pub id: u16,
    /// What kind of message it is.
    pub flags: Flags,
    /// Questions.
    pub questions: Vec<Asked>,
    /// Answers; in a multicast question those that are known already.
    pub answers: Vec<Record>,
    /// In a multicast question, what the asker is about to use.
    pub authorities: Vec<Record>,
    /// What may be asked next.
    pub additionals: Vec<Record>,
}

impl Message {
    /// Reads one message. Questions and records of other classes than the Internet's are left out.
    ///
    /// # Errors
    /// The bytes end too early, or a name is none.
    pub fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags) = (reader.u16()?, Flags(reader.u16()?));
        let mut counts = [0; 4];
        for count in &mut counts {
            *count = usize::from(reader.u16()?);
        }
        if counts.iter().sum::<usize>() > MAX_PARTS {
            return Err(Malformed);
        }
        let [questions, answers, authorities, additionals] = counts;
        let mut message = Message {
            id,
            flags,
            ..Message::default()
        };
        for _ in 0..questions {
            message.questions.extend(reader.question()?);
        }
        for (count, to) in [
            (answers, &mut message.answers),
            (authorities, &mut message.authorities),
            (additionals, &mut message.additionals),
        ] {
            for _ in 0..count {
                to.extend(reader.record()?);
            }
        }
        Ok(message)
    }

    /// The message on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let sections = [&self.answers, &self.authorities, &self.additionals];
        put(
            &mut out,
            &[self.id, self.flags.0, self.questions.len() as u16],
        );
        for section in sections {
            put(&mut out, &[section.len() as u16]);
        }
        for asked in &self.questions {
            out.extend_from_slice(asked.name.as_wire());
            put(&mut out, &[asked.kind, class(asked.unicast)]);
        }
        for record in sections.into_iter().flatten() {
            out.extend_from_slice(record.name.as_wire());
            put(&mut out, &[record.data.kind(), class(record.flush)]);
            out.extend_from_slice(&record.ttl.to_be_bytes());
            let data = record.data.to_bytes();
            put(&mut out, &[data.len() as u16]);
            out.extend_from_slice(&data);
        }
        out
    }

    /// The answer to this question that says no more than how it went.
    #[must_use]
    pub fn refusal(&self, code: u16) -> Message {
        Message {
            id: self.id,
            flags: Flags::LOOKED_UP.with_code(code),
            questions: self.questions.clone(),
            ..Message::default()
        }
    }

    /// Whether it is a plain question, as a resolver sends it.
    #[must_use]
    pub fn is_question(&self) -> bool {
        self.flags.is_plain_query() && self.questions.len() == 1
    }

    /// All records but those that are only announced.
    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        self.answers.into_iter().chain(self.additionals)
    }
}

fn class(top_bit: bool) -> u16 {
    CLASS_IN | if top_bit { TOP_BIT } else { 0 }
}

fn put(out: &mut Vec<u8>, words: &[u16]) {
    words
        .iter()
        .for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.take(1)? else {
            return Err(Malformed);
        };
        Ok(*byte)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A name, which may go on elsewhere: always further to the front, so that it ends.
    fn name(&mut self) -> Result<Name, Malformed> {
        let mut labels: Vec<&[u8]> = Vec::new();
        let mut part = Reader {
            bytes: self.bytes,
            at: self.at,
        };
        let mut start = self.at;
        let mut jumped = false;
        loop {
            let len = part.u8()?;
            if len & POINTER == POINTER {
                let target = usize::from(len & !POINTER) << 8 | usize::from(part.u8()?);
                if !jumped {
                    self.at = part.at;
                    jumped = true;
                }
                if target >= start {
                    return Err(Malformed);
                }
                start = target;
                part.at = target;
            } else if len == 0 {
                break;
            } else {
                labels.push(part.take(usize::from(len))?);
                // A longest name has no more labels.
                if labels.len() > 127 {
                    return Err(Malformed);
                }
            }
        }
        if !jumped {
            self.at = part.at;
        }
        Name::of_labels(labels).map_err(|_| Malformed)
    }

    fn question(&mut self) -> Result<Option<Asked>, Malformed> {
        let (name, kind, class) = (self.name()?, self.u16()?, self.u16()?);
        Ok(is_internet(class).then_some(Asked {
            name,
            kind,
            unicast: class & TOP_BIT != 0,
        }))
    }

    fn record(&mut self) -> Result<Option<Record>, Malformed> {
        let (name, kind, class) = (self.name()?, self.u16()?, self.u16()?);
        let ttl = self.u32()?;
        let len = usize::from(self.u16()?);
        let start = self.at;
        let bytes = self.take(len)?;
        let inner = Reader {
            bytes: self.bytes.get(..self.at).unwrap_or_default(),
            at: start,
        };
        let data = inner.data(kind, bytes)?;
        Ok((class & !TOP_BIT == CLASS_IN).then_some(Record {
            name,
            ttl,
            flush: class & TOP_BIT != 0,
            data,
        }))
    }

    /// The data of a record: what is left in the reader.
    fn data(mut self, kind: u16, bytes: &[u8]) -> Result<Data, Malformed> {
        let data = match kind {
            kind::A => {
                let octets: [u8; 4] = bytes.try_into().map_err(|_| Malformed)?;
                return Ok(Data::A(octets.into()));
            }
            kind::AAAA => {
                let octets: [u8; 16] = bytes.try_into().map_err(|_| Malformed)?;
                return Ok(Data::Aaaa(octets.into()));
            }
            kind::PTR => Data::Ptr(self.name()?),
            kind::CNAME => Data::Cname(self.name()?),
            kind::NSEC => {
                let next = self.name()?;
                let types = self.bytes.get(self.at..).unwrap_or_default().to_vec();
                return Ok(Data::Nsec { next, types });
            }
            kind => {
                let data = bytes.to_vec();
                return Ok(Data::Other { kind, data });
            }
        };
        if self.at == self.bytes.len() {
            Ok(data)
        } else {
            Err(Malformed)
        }
    }
}

fn is_internet(class: u16) -> bool {
    matches!(class & !TOP_BIT, CLASS_IN | CLASS_ANY)
}

#[cfg(test)]
mod tests;
