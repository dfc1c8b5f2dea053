//! OK and ERROR (VL1 §3.3, §3.4): which packet they answer, and a payload that depends on it.

use super::Verb;
use crate::address::{MulticastGroup, NetworkId, PacketId};
use crate::wire::{Emit, Malformed, Reader, Sink};
use std::fmt;

/// An OK whose payload is `P`; parsing gives the payload's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<P> {
    /// The verb of the packet that is answered.
    pub verb: Verb,
    /// Its wire id.
    pub id: PacketId,
    /// What depends on the verb.
    pub payload: P,
}

impl<'a> Reply<&'a [u8]> {
    /// Parses the body of an OK.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body, "OK");
        Ok(Reply {
            verb: Verb::from_byte(reader.u8()?),
            id: PacketId::read(&mut reader)?,
            payload: reader.take_rest(),
        })
    }
}

impl<P: Emit> Emit for Reply<P> {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u8(self.verb.to_byte());
        self.id.write(out);
        self.payload.write(out);
    }
}

/// What was wrong. Unknown codes are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u8);

impl ErrorCode {
    /// No such network.
    pub const OBJECT_NOT_FOUND: ErrorCode = ErrorCode(0x03);
    /// Somebody else has the sender's address.
    pub const IDENTITY_COLLISION: ErrorCode = ErrorCode(0x04);
    /// The receiver is no controller.
    pub const UNSUPPORTED_OPERATION: ErrorCode = ErrorCode(0x05);
    /// The sender should push its credentials.
    pub const NEED_MEMBERSHIP_CERTIFICATE: ErrorCode = ErrorCode(0x06);
    /// The sender is not authorised.
    pub const NETWORK_ACCESS_DENIED: ErrorCode = ErrorCode(0x07);
    /// The receiver does not want this group.
    pub const UNWANTED_MULTICAST: ErrorCode = ErrorCode(0x08);
    /// The user must log in.
    pub const NETWORK_AUTHENTICATION_REQUIRED: ErrorCode = ErrorCode(0x09);
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            ErrorCode::OBJECT_NOT_FOUND => "OBJECT_NOT_FOUND",
            ErrorCode::IDENTITY_COLLISION => "IDENTITY_COLLISION",
            ErrorCode::UNSUPPORTED_OPERATION => "UNSUPPORTED_OPERATION",
            ErrorCode::NEED_MEMBERSHIP_CERTIFICATE => "NEED_MEMBERSHIP_CERTIFICATE",
            ErrorCode::NETWORK_ACCESS_DENIED => "NETWORK_ACCESS_DENIED",
            ErrorCode::UNWANTED_MULTICAST => "UNWANTED_MULTICAST",
            ErrorCode::NETWORK_AUTHENTICATION_REQUIRED => "NETWORK_AUTHENTICATION_REQUIRED",
            ErrorCode(code) => return write!(f, "{code:#04x}"),
        })
    }
}

/// An ERROR whose payload is `P`; parsing gives the payload's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorReply<P> {
    /// The verb of the packet at fault.
    pub verb: Verb,
    /// Its wire id.
    pub id: PacketId,
    /// What was wrong.
    pub code: ErrorCode,
    /// What depends on the code.
    pub payload: P,
}

impl<'a> ErrorReply<&'a [u8]> {
    /// Parses the body of an ERROR.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body, "ERROR");
        Ok(ErrorReply {
            verb: Verb::from_byte(reader.u8()?),
            id: PacketId::read(&mut reader)?,
            code: ErrorCode(reader.u8()?),
            payload: reader.take_rest(),
        })
    }

    /// The network that the error is about, with which the payload of most codes begins.
    pub fn network(&self) -> Result<NetworkId, Malformed> {
        NetworkId::read(&mut Reader::new(self.payload, "ERROR about a network"))
    }
}

impl<P: Emit> Emit for ErrorReply<P> {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u8(self.verb.to_byte());
        self.id.write(out);
        out.u8(self.code.0);
        self.payload.write(out);
    }
}

/// The payload of ERROR(UNWANTED_MULTICAST) (VL2 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnwantedMulticast {
    /// The network.
    pub network: NetworkId,
    /// The group that the sender does not want.
    pub group: MulticastGroup,
}

impl UnwantedMulticast {
    /// Parses the payload.
    pub fn parse(payload: &[u8]) -> Result<UnwantedMulticast, Malformed> {
        let mut reader = Reader::new(payload, "ERROR(UNWANTED_MULTICAST)");
        Ok(UnwantedMulticast {
            network: NetworkId::read(&mut reader)?,
            group: MulticastGroup::read(&mut reader)?,
        })
    }
}

impl Emit for UnwantedMulticast {
    fn write<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        self.group.write(out);
    }
}
