//! Worlds (VL1 §5): signed lists of roots. A node has one planet; moons are parsed so that they
//! can be skipped.

mod default_planet;

use crate::address::Address;
use crate::identity::{Identity, PublicKey, SIGNATURE_LEN, SecretKey, SignatureBytes};
use crate::inet::InetAddress;
use crate::wire::{Emit, Malformed, Reader, Sink};
use std::net::SocketAddr;

const PLANET: u8 = 1;
const MOON: u8 = 127;
const MAX_ROOTS: usize = 4;
const MAX_ENDPOINTS: usize = 32;

/// What a world is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorldKind {
    /// Everybody's roots.
    Planet,
    /// Roots that a user adds.
    Moon,
}

/// A root: who it is, and where it always is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Who it is.
    pub identity: Identity,
    /// Where it is; none means anywhere.
    pub endpoints: Vec<SocketAddr>,
}

/// A signed list of roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    kind: WorldKind,
    id: u64,
    timestamp: u64,
    update_key: PublicKey,
    signature: SignatureBytes,
    roots: Vec<Root>,
}

/// Why a world was not adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateRefused {
    /// It is another world.
    #[error("another world")]
    OtherWorld,
    /// It is not newer than what we have.
    #[error("world is not newer")]
    NotNewer,
    /// It is not signed by the key that must sign updates.
    #[error("world is not signed by the update key")]
    BadSignature,
}

impl World {
    /// The most bytes that stock accepts for a world (VL1 §5.1).
    pub const MAX_LEN: usize = 8480;

    /// The public planet, as compiled into zerotier-one 1.14.1 (VL1 §7.7).
    pub fn default_planet() -> World {
        World::parse(&default_planet::BYTES).expect("a test parses these bytes")
    }

    /// Makes a planet whose updates must be signed by the same key.
    ///
    /// # Panics
    /// If there are more than 4 roots or a root has more than 32 endpoints: stock would refuse
    /// the whole world.
    pub fn make_planet(key: &SecretKey, id: u64, timestamp: u64, roots: Vec<Root>) -> World {
        assert!(
            roots.len() <= MAX_ROOTS,
            "a world has at most {MAX_ROOTS} roots"
        );
        assert!(
            roots
                .iter()
                .all(|root| root.endpoints.len() <= MAX_ENDPOINTS),
            "a root has at most {MAX_ENDPOINTS} endpoints"
        );
        let mut world = World {
            kind: WorldKind::Planet,
            id,
            timestamp,
            update_key: key.public(),
            signature: [0; SIGNATURE_LEN],
            roots,
        };
        world.signature = key.sign(&world.signed_message());
        world
    }

    /// Parses a world; bytes after it are ignored. The signature is not checked: a world from
    /// the disk is trusted, one from the network is offered to [`check_update`](World::check_update).
    pub fn parse(bytes: &[u8]) -> Result<World, Malformed> {
        World::read(&mut Reader::new(bytes, "world"))
    }

    /// Reads a world, which delimits itself.
    pub fn read(reader: &mut Reader<'_>) -> Result<World, Malformed> {
        let kind = match reader.u8()? {
            PLANET => WorldKind::Planet,
            MOON => WorldKind::Moon,
            _ => return Err(reader.malformed()),
        };
        let id = reader.u64()?;
        let timestamp = reader.u64()?;
        let update_key = PublicKey::read(reader)?;
        let signature = reader.array()?;
        let count = usize::from(reader.u8()?);
        reader.require(count <= MAX_ROOTS)?;
        let roots = (0..count)
            .map(|_| Root::read(reader))
            .collect::<Result<_, _>>()?;
        if kind == WorldKind::Moon {
            let length = reader.u16()?;
            reader.bytes(length.into())?;
        }
        Ok(World {
            kind,
            id,
            timestamp,
            update_key,
            signature,
            roots,
        })
    }

    /// Planet or moon.
    pub fn kind(&self) -> WorldKind {
        self.kind
    }

    /// Which planet or moon.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its revision: when it was signed, in milliseconds since the epoch.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The key that must sign the next revision.
    pub fn update_key(&self) -> &PublicKey {
        &self.update_key
    }

    /// The roots.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// The root with that address.
    pub fn root(&self, address: Address) -> Option<&Root> {
        self.roots
            .iter()
            .find(|root| root.identity.address() == address)
    }

    /// Whether `candidate` may take this world's place (VL1 §5.2).
    pub fn check_update(&self, candidate: &World) -> Result<(), UpdateRefused> {
        if (candidate.kind, candidate.id) != (self.kind, self.id) {
            return Err(UpdateRefused::OtherWorld);
        }
        if candidate.timestamp <= self.timestamp {
            return Err(UpdateRefused::NotNewer);
        }
        if !candidate.is_signed_by(&self.update_key) {
            return Err(UpdateRefused::BadSignature);
        }
        Ok(())
    }

    /// Whether `key` signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verify(&self.signed_message(), &self.signature)
    }

    /// The wire form without the signature, between two marks.
    fn signed_message(&self) -> Vec<u8> {
        let mut message = vec![0x7f; 8];
        self.write_before_signature(&mut message);
        self.write_after_signature(&mut message);
        message.put(&[0xf7; 8]);
        message
    }

    fn write_before_signature<S: Sink>(&self, out: &mut S) {
        out.u8(match self.kind {
            WorldKind::Planet => PLANET,
            WorldKind::Moon => MOON,
        });
        out.u64(self.id);
        out.u64(self.timestamp);
        self.update_key.write(out);
    }

    fn write_after_signature<S: Sink>(&self, out: &mut S) {
        out.u8(self.roots.len() as u8);
        for root in &self.roots {
            root.write(out);
        }
        if self.kind == WorldKind::Moon {
            out.u16(0);
        }
    }
}

impl Emit for World {
    fn write<S: Sink>(&self, out: &mut S) {
        self.write_before_signature(out);
        out.put(&self.signature);
        self.write_after_signature(out);
    }
}

impl Root {
    fn read(reader: &mut Reader<'_>) -> Result<Root, Malformed> {
        let identity = Identity::read(reader)?;
        let count = usize::from(reader.u8()?);
        reader.require(count <= MAX_ENDPOINTS)?;
        let mut endpoints = Vec::with_capacity(count);
        for _ in 0..count {
            endpoints.extend(InetAddress::read(reader)?.0);
        }
        Ok(Root {
            identity,
            endpoints,
        })
    }
}

impl Emit for Root {
    fn write<S: Sink>(&self, out: &mut S) {
        self.identity.write(out);
        out.u8(self.endpoints.len() as u8);
        for &endpoint in &self.endpoints {
            InetAddress::from(endpoint).write(out);
        }
    }
}
