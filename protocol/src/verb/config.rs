//! Getting a configuration from a controller (VL2 §2.1, §2.2, §2.4): the request, the signed
//! chunks of the answer, and the acknowledgement of a pushed one.

use crate::address::NetworkId;
use crate::identity::{Identity, SIGNATURE_LEN, SecretIdentity, SignatureBytes};
use crate::wire::{Emit, Malformed, Reader, Sink};

/// NETWORK_CONFIG_REQUEST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkConfigRequest<'a> {
    /// The network.
    pub network: NetworkId,
    /// What the requester can do: a [`Dictionary`](crate::Dictionary).
    pub metadata: &'a [u8],
    /// Revision of the configuration held; zero if none.
    pub revision: u64,
    /// Timestamp of the configuration held; zero if none.
    pub timestamp: u64,
}

impl<'a> NetworkConfigRequest<'a> {
    /// Parses the body; revision and timestamp are optional.
    pub fn parse(body: &'a [u8]) -> Result<NetworkConfigRequest<'a>, Malformed> {
        let mut reader = Reader::new(body, "NETWORK_CONFIG_REQUEST");
        let network = NetworkId::read(&mut reader)?;
        let length = reader.u16()?;
        let metadata = reader.bytes(length.into())?;
        let revision = reader.u64().unwrap_or(0);
        let timestamp = reader.u64().unwrap_or(0);
        Ok(NetworkConfigRequest {
            network,
            metadata,
            revision,
            timestamp,
        })
    }
}

impl Emit for NetworkConfigRequest<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        out.u16(self.metadata.len() as u16);
        out.put(self.metadata);
        out.u64(self.revision);
        out.u64(self.timestamp);
    }
}

/// One chunk of a configuration: the body of NETWORK_CONFIG and the payload of
/// OK(NETWORK_CONFIG_REQUEST).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigChunk<'a> {
    /// The network.
    pub network: NetworkId,
    /// A piece of the dictionary.
    pub data: &'a [u8],
    /// Where the piece belongs, and who says so. Without it the chunk is a whole
    /// configuration, which only the controller itself may deliver.
    pub placement: Option<Placement>,
}

/// Where a chunk belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    flags: u8,
    /// The same for all chunks of one configuration; not zero.
    pub update: u64,
    /// Length of the whole dictionary.
    pub total: u32,
    /// Where the data begin in it.
    pub offset: u32,
    signature: SignatureBytes,
}

impl Placement {
    const FAST_PROPAGATE: u8 = 0x01;

    /// Whether the chunk should be passed on to every member.
    pub fn propagates(&self) -> bool {
        self.flags & Self::FAST_PROPAGATE != 0
    }

    /// Tells chunks apart: the first half of the signature, folded.
    pub fn chunk_id(&self) -> u64 {
        let word = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| self.signature[at + i]));
        word(0) ^ word(8)
    }
}

impl<'a> ConfigChunk<'a> {
    /// The most data that a controller puts into a chunk.
    pub const MAX_DATA: usize = 9740;
    const ED25519: u8 = 1;

    /// Parses a body or payload.
    pub fn parse(body: &'a [u8]) -> Result<ConfigChunk<'a>, Malformed> {
        let mut reader = Reader::new(body, "network configuration chunk");
        let network = NetworkId::read(&mut reader)?;
        let length = reader.u16()?;
        let data = reader.bytes(length.into())?;
        if reader.is_empty() {
            return Ok(ConfigChunk {
                network,
                data,
                placement: None,
            });
        }
        let flags = reader.u8()?;
        let update = reader.u64()?;
        let total = reader.u32()?;
        let offset = reader.u32()?;
        let kind = reader.u8()?;
        let signature_length = usize::from(reader.u16()?);
        let signature = reader.array()?;
        let end = u64::from(offset) + u64::from(length);
        reader.require(
            kind == Self::ED25519 && signature_length == SIGNATURE_LEN && end <= u64::from(total),
        )?;
        let placement = Placement {
            flags,
            update,
            total,
            offset,
            signature,
        };
        Ok(ConfigChunk {
            network,
            data,
            placement: Some(placement),
        })
    }

    /// The signed chunks of `dictionary`, in order. `update` must not be zero nor used before.
    pub fn sign_all(
        controller: &SecretIdentity,
        network: NetworkId,
        dictionary: &'a [u8],
        update: u64,
    ) -> impl Iterator<Item = ConfigChunk<'a>> {
        let total = dictionary.len() as u32;
        dictionary
            .chunks(Self::MAX_DATA)
            .enumerate()
            .map(move |(index, data)| {
                let offset = (index * Self::MAX_DATA) as u32;
                let unsigned = Placement {
                    flags: 0,
                    update,
                    total,
                    offset,
                    signature: [0; SIGNATURE_LEN],
                };
                let mut chunk = ConfigChunk {
                    network,
                    data,
                    placement: None,
                };
                let signature = controller.sign(&chunk.signed_message(&unsigned));
                chunk.placement = Some(Placement {
                    signature,
                    ..unsigned
                });
                chunk
            })
    }

    /// Whether the network's controller, whose identity is `controller`, signed it. False for
    /// a chunk without placement.
    pub fn verify(&self, controller: &Identity) -> bool {
        self.network.controller() == controller.address()
            && self.placement.is_some_and(|placement| {
                controller.verify(&self.signed_message(&placement), &placement.signature)
            })
    }

    fn write_signed<S: Sink>(&self, placement: &Placement, out: &mut S) {
        self.write_unplaced(out);
        out.u8(placement.flags);
        out.u64(placement.update);
        out.u32(placement.total);
        out.u32(placement.offset);
    }

    fn write_unplaced<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        out.u16(self.data.len() as u16);
        out.put(self.data);
    }

    fn signed_message(&self, placement: &Placement) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.data.len() + 27);
        self.write_signed(placement, &mut message);
        message
    }
}

impl Emit for ConfigChunk<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        match &self.placement {
            None => self.write_unplaced(out),
            Some(placement) => {
                self.write_signed(placement, out);
                out.u8(Self::ED25519);
                out.u16(SIGNATURE_LEN as u16);
                out.put(&placement.signature);
            }
        }
    }
}

/// The payload of the OK to a NETWORK_CONFIG. Stock sends it as OK(ECHO) (VL2 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OkNetworkConfig {
    /// The network.
    pub network: NetworkId,
    /// The update that was accepted.
    pub update: u64,
}

impl OkNetworkConfig {
    /// Parses the payload.
    pub fn parse(payload: &[u8]) -> Result<OkNetworkConfig, Malformed> {
        let mut reader = Reader::new(payload, "OK(NETWORK_CONFIG)");
        Ok(OkNetworkConfig {
            network: NetworkId::read(&mut reader)?,
            update: reader.u64()?,
        })
    }
}

impl Emit for OkNetworkConfig {
    fn write<S: Sink>(&self, out: &mut S) {
        self.network.write(out);
        out.u64(self.update);
    }
}
