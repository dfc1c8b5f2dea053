//! What the service answers.

use core::net::SocketAddr;

use crate::address::{decode_address, encode_address};
use crate::lost::Lost;
use crate::names::{Addresses, DnsMessage, HostName};
use crate::progress::Progress;
use crate::table::Entry;
use crate::wire::{Malformed, Reader, Writer};
use crate::{MAX_MESSAGE, VERSION};

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nothing is allocated here, and a reply lives for a moment"
)]
pub enum Reply {
    /// To a hello: the state table's memory file is attached.
    Hello {
        /// Another one after every start of the service, never zero.
        instance: u64,
    },
    /// It is done; the socket's local address now.
    Done {
        /// The bound or connecting address.
        local: SocketAddr,
    },
    /// It failed with this errno.
    Failed {
        /// A positive Linux errno.
        errno: i32,
    },
    /// To a query: what the state table would say.
    State(Entry),
    /// The addresses of a name.
    Addresses(Addresses),
    /// The name of an address.
    NameOf(HostName),
    /// The records of a name.
    Message(DnsMessage),
    /// The oldest loss of the error queue.
    Lost(Lost),
    /// How a connection is getting on.
    Progress(Progress),
}

impl Reply {
    /// Reads one reply.
    ///
    /// # Errors
    /// The bytes are not exactly one reply of this version.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader::new(message);
        if input.u8()? != VERSION {
            return Err(Malformed::because("unknown version"));
        }
        let reply = match input.u8()? {
            HELLO => Self::Hello {
                instance: input.u64()?,
            },
            DONE => Self::Done {
                local: decode_address(&input.array()?)?
                    .ok_or(Malformed::because("reply without an address"))?,
            },
            FAILED => match input.i32()? {
                errno @ 1..=4095 => Self::Failed { errno },
                _ => return Err(Malformed::because("errno out of range")),
            },
            STATE => Self::State(Entry::decode(&input.array()?)?),
            ADDRESSES => Self::Addresses(Addresses::read(&mut input)?),
            NAME_OF => Self::NameOf(HostName::read(&mut input)?),
            MESSAGE => Self::Message(DnsMessage::read(&mut input)?),
            LOST => Self::Lost(Lost::decode(&input.array()?)?),
            PROGRESS => Self::Progress(Progress::read(&mut input)?),
            _ => return Err(Malformed::because("unknown reply")),
        };
        input.end()?;
        Ok(reply)
    }

    /// Writes the reply and returns its length.
    pub fn emit(&self, out: &mut [u8; MAX_MESSAGE]) -> usize {
        let mut out = Writer::new(out);
        out.u8(VERSION);
        match self {
            Self::Hello { instance } => {
                out.u8(HELLO);
                out.u64(*instance);
            }
            Self::Done { local } => {
                out.u8(DONE);
                out.bytes(&encode_address(Some(*local)));
            }
            Self::Failed { errno } => {
                out.u8(FAILED);
                out.i32(*errno);
            }
            Self::State(entry) => {
                out.u8(STATE);
                out.bytes(&entry.encode());
            }
            Self::Addresses(addresses) => {
                out.u8(ADDRESSES);
                addresses.write(&mut out);
            }
            Self::NameOf(name) => {
                out.u8(NAME_OF);
                name.write(&mut out);
            }
            Self::Message(message) => {
                out.u8(MESSAGE);
                message.write(&mut out);
            }
            Self::Lost(lost) => {
                out.u8(LOST);
                lost.encode(&mut out);
            }
            Self::Progress(progress) => {
                out.u8(PROGRESS);
                progress.write(&mut out);
            }
        }
        out.len()
    }
}

const HELLO: u8 = 0x81;
const DONE: u8 = 0x82;
const FAILED: u8 = 0x83;
const STATE: u8 = 0x84;
const ADDRESSES: u8 = 0xa0;
const NAME_OF: u8 = 0xa1;
const MESSAGE: u8 = 0xa2;
const LOST: u8 = 0x85;
const PROGRESS: u8 = 0x86;
