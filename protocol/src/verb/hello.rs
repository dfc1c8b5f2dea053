//! HELLO and its answer (VL1 §3.2): who we are, which version we speak, and which address of
//! the other side we see.

use crate::identity::Identity;
use crate::inet::InetAddress;
use crate::wire::{Emit, Malformed, Reader, Sink};

/// A node's protocol and software version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Version of the protocol.
    pub protocol: u8,
    /// Major version of the software.
    pub major: u8,
    /// Minor version of the software.
    pub minor: u8,
    /// Revision of the software.
    pub revision: u16,
}

impl Version {
    /// What we announce.
    pub const OURS: Version = Version {
        protocol: 12,
        major: 1,
        minor: 14,
        revision: 1,
    };
    /// Nodes with an older protocol are ignored.
    pub const MIN_PROTOCOL: u8 = 4;
    /// The first protocol whose speakers can be probed with ECHO.
    pub const ECHO_PROTOCOL: u8 = 5;
    /// The first protocol with suite 3.
    pub const AES_PROTOCOL: u8 = 12;

    fn read(reader: &mut Reader<'_>) -> Result<Version, Malformed> {
        Ok(Version {
            protocol: reader.u8()?,
            major: reader.u8()?,
            minor: reader.u8()?,
            revision: reader.u16()?,
        })
    }
}

impl Emit for Version {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put(&[self.protocol, self.major, self.minor]);
        out.u16(self.revision);
    }
}

/// A world and its revision, as a HELLO names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldRevision {
    /// Which world.
    pub id: u64,
    /// Its timestamp.
    pub timestamp: u64,
}

/// A HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The sender's version.
    pub version: Version,
    /// The sender's clock, echoed in the answer.
    pub timestamp: u64,
    /// Who the sender is.
    pub identity: Identity,
    /// The physical address that the HELLO was sent to.
    pub sent_to: InetAddress,
    /// The sender's planet.
    pub planet: Option<WorldRevision>,
    /// The list of moons, masked (VL1 §2.9). Ours is [`Hello::NO_MOONS`] before masking.
    pub masked_moons: &'a [u8],
}

impl<'a> Hello<'a> {
    /// A list of no moons, before it is masked.
    pub const NO_MOONS: &'static [u8] = &[0, 0];

    /// Parses the body; everything after the identity is optional.
    pub fn parse(body: &'a [u8]) -> Result<Hello<'a>, Malformed> {
        let mut reader = Reader::new(body, "HELLO");
        let version = Version::read(&mut reader)?;
        let timestamp = reader.u64()?;
        let identity = Identity::read(&mut reader)?;
        let sent_to = match reader.is_empty() {
            true => InetAddress(None),
            false => InetAddress::read(&mut reader)?,
        };
        let planet = match reader.rest().len() {
            0..16 => None,
            _ => Some(WorldRevision {
                id: reader.u64()?,
                timestamp: reader.u64()?,
            }),
        };
        let masked_moons = if planet.is_some() {
            reader.take_rest()
        } else {
            &[]
        };
        Ok(Hello {
            version,
            timestamp,
            identity,
            sent_to,
            planet,
            masked_moons,
        })
    }

    /// Where the masked part begins, counted from the start of the body.
    pub fn masked_from(&self) -> usize {
        self.wire_len() - self.masked_moons.len()
    }
}

impl Emit for Hello<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        self.version.write(out);
        out.u64(self.timestamp);
        self.identity.write(out);
        self.sent_to.write(out);
        if let Some(planet) = self.planet {
            out.u64(planet.id);
            out.u64(planet.timestamp);
            out.put(self.masked_moons);
        }
    }
}

/// The payload of OK(HELLO).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OkHello<'a> {
    /// The timestamp of the HELLO.
    pub timestamp: u64,
    /// The responder's version.
    pub version: Version,
    /// The physical address that the HELLO came from.
    pub surface: InetAddress,
    /// Newer worlds, one after the other; read them with [`World::read`](crate::World::read).
    pub worlds: &'a [u8],
}

impl<'a> OkHello<'a> {
    /// Parses the payload; everything after the version is optional.
    pub fn parse(payload: &'a [u8]) -> Result<OkHello<'a>, Malformed> {
        let mut reader = Reader::new(payload, "OK(HELLO)");
        let timestamp = reader.u64()?;
        let version = Version::read(&mut reader)?;
        let surface = match reader.is_empty() {
            true => InetAddress(None),
            false => InetAddress::read(&mut reader)?,
        };
        let worlds = match reader.rest().len() {
            0..2 => &[],
            _ => {
                let length = reader.u16()?;
                reader.bytes(length.into())?
            }
        };
        Ok(OkHello {
            timestamp,
            version,
            surface,
            worlds,
        })
    }
}

impl Emit for OkHello<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u64(self.timestamp);
        self.version.write(out);
        self.surface.write(out);
        out.u16(self.worlds.len() as u16);
        out.put(self.worlds);
    }
}
