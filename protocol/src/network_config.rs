//! The configuration that a controller gives to a member (VL2 §2.7–§2.9): a dictionary with
//! typed values.

mod assembly;
mod parts;

pub use assembly::{Added, Assembly};
pub use parts::{Dns, Role, Route, SingleSignOn, Specialist};

use crate::address::{Address, NetworkId};
use crate::credential::{Capability, CertificateOfMembership, CertificateOfOwnership, Tag};
use crate::dictionary::Dictionary;
use crate::inet::IpPrefix;
use crate::rule::{self, Rule};
use crate::wire::{Emit, Malformed, Reader};

/// The version of the format that we write.
pub const VERSION: u64 = 7;
/// Older formats are not understood.
const MIN_VERSION: u64 = 6;

/// The MTU of a network that does not say.
pub const DEFAULT_MTU: u16 = 2800;
const MIN_MTU: u64 = 1280;
const MAX_MTU: u64 = 10_000;

// VL2 §8: what is beyond these limits is ignored.
const MAX_RULES: usize = 1024;
const MAX_CAPABILITIES: usize = 128;
const MAX_TAGS: usize = 128;
const MAX_OWNERSHIPS: usize = 4;
const MAX_SPECIALISTS: usize = 256;
const MAX_ROUTES: usize = 128;
const MAX_ADDRESSES: usize = 32;
const MAX_NAME: usize = 127;

/// What a member must know about its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The network.
    pub network: NetworkId,
    /// When it was issued, by the controller's clock, in milliseconds.
    pub timestamp: u64,
    /// How far apart the timestamps of credentials may be, in milliseconds.
    pub credential_max_delta: u64,
    /// Counts the changes of the network.
    pub revision: u64,
    /// The member.
    pub issued_to: Address,
    /// Who gets diagnostics; nil if nobody.
    pub trace_target: Address,
    /// How much it gets.
    pub trace_level: u64,
    /// See [`NetworkConfig::ENABLE_BROADCAST`] and its fellows.
    pub flags: u64,
    /// To how many members a multicast goes; zero forbids multicast.
    pub multicast_limit: u32,
    /// Whether anybody may join.
    pub is_public: bool,
    /// The network's name.
    pub name: String,
    /// The largest Ethernet payload.
    pub mtu: u16,
    /// The member's certificate of membership.
    pub membership: Option<CertificateOfMembership>,
    /// The member's capabilities, by ascending id.
    pub capabilities: Vec<Capability>,
    /// The member's tags, by ascending id.
    pub tags: Vec<Tag>,
    /// What the member owns.
    pub ownerships: Vec<CertificateOfOwnership>,
    /// Members with special roles.
    pub specialists: Vec<Specialist>,
    /// Routes to set up.
    pub routes: Vec<Route>,
    /// The member's addresses.
    pub addresses: Vec<IpPrefix>,
    /// What may pass.
    pub rules: Vec<Rule>,
    /// Name servers.
    pub dns: Dns,
    /// How the user logs in.
    pub sign_on: SingleSignOn,
}

impl NetworkConfig {
    /// Flag: frames to the broadcast address are sent.
    pub const ENABLE_BROADCAST: u64 = 0x2;
    /// Flag: neighbour solicitations for derived addresses are answered on the spot.
    pub const NDP_EMULATION: u64 = 0x4;
    /// Flag: rule matches that are not understood count as true.
    pub const UNKNOWN_MATCHES_HOLD: u64 = 0x8;
    /// Flag: multicast frames are not compressed.
    pub const DISABLE_COMPRESSION: u64 = 0x10;

    /// A private network without anything, to be filled in.
    pub fn new(network: NetworkId, issued_to: Address, timestamp: u64) -> NetworkConfig {
        NetworkConfig {
            network,
            timestamp,
            credential_max_delta: 0,
            revision: 0,
            issued_to,
            trace_target: Address::NIL,
            trace_level: 0,
            flags: 0,
            multicast_limit: 0,
            is_public: false,
            name: String::new(),
            mtu: DEFAULT_MTU,
            membership: None,
            capabilities: Vec::new(),
            tags: Vec::new(),
            ownerships: Vec::new(),
            specialists: Vec::new(),
            routes: Vec::new(),
            addresses: Vec::new(),
            rules: Vec::new(),
            dns: Dns::default(),
            sign_on: SingleSignOn::default(),
        }
    }

    /// Whether all bits of `flag` are set.
    pub fn has(&self, flag: u64) -> bool {
        self.flags & flag == flag
    }

    /// Parses the text of a configuration's dictionary.
    pub fn parse(text: &[u8]) -> Result<NetworkConfig, Malformed> {
        NetworkConfig::from_dictionary(&Dictionary::parse(text))
    }

    /// Reads a configuration out of its dictionary.
    pub fn from_dictionary(d: &Dictionary) -> Result<NetworkConfig, Malformed> {
        const MALFORMED: Malformed = Malformed("network configuration");
        if d.integer("v").unwrap_or(0) < MIN_VERSION {
            return Err(Malformed("network configuration version"));
        }
        let network = d
            .integer("nwid")
            .filter(|&id| id != 0)
            .map(NetworkId)
            .ok_or(MALFORMED)?;
        let issued_to = d.address("id").filter(|id| !id.is_nil()).ok_or(MALFORMED)?;
        let integer = |key| d.integer(key).unwrap_or(0);
        let blob = |key| d.get(key).unwrap_or_default();

        let mut rules = rule::parse_list(blob("R"))?;
        rules.truncate(MAX_RULES);
        let mut capabilities = lenient_list(blob("CAP"), MAX_CAPABILITIES, Capability::read);
        capabilities.sort_by_key(|capability| capability.id);
        let mut tags = lenient_list(blob("TAG"), MAX_TAGS, Tag::read);
        tags.sort_by_key(|tag| tag.id);

        Ok(NetworkConfig {
            network,
            timestamp: integer("ts"),
            credential_max_delta: integer("ctmd"),
            revision: integer("r"),
            issued_to,
            trace_target: d.address("tt").unwrap_or_default(),
            trace_level: integer("tl"),
            flags: integer("f"),
            multicast_limit: integer("ml").try_into().unwrap_or(u32::MAX),
            is_public: integer("t") == 1,
            name: shortened(d.text("n").unwrap_or_default(), MAX_NAME),
            mtu: d
                .integer("mtu")
                .map_or(DEFAULT_MTU, |mtu| mtu.clamp(MIN_MTU, MAX_MTU) as u16),
            membership: match d.get("C") {
                None | Some([]) => None,
                Some(bytes) => Some(CertificateOfMembership::parse(bytes)?),
            },
            capabilities,
            tags,
            ownerships: list(blob("COO"), MAX_OWNERSHIPS, CertificateOfOwnership::read)?,
            specialists: lenient_list(blob("S"), MAX_SPECIALISTS, Specialist::read),
            routes: list(blob("RT"), MAX_ROUTES, Route::read)?,
            addresses: list(blob("I"), MAX_ADDRESSES, IpPrefix::read)?,
            rules,
            dns: Dns::parse(blob("DNS"))?,
            sign_on: SingleSignOn::from_dictionary(d),
        })
    }

    /// The dictionary, with its keys in the controller's order.
    pub fn to_dictionary(&self) -> Dictionary {
        let mut d = Dictionary::new();
        d.push_integer("v", VERSION);
        d.push_integer("nwid", self.network.0);
        d.push_integer("ts", self.timestamp);
        d.push_integer("ctmd", self.credential_max_delta);
        d.push_integer("r", self.revision);
        d.push_address("id", self.issued_to);
        d.push_address("tt", self.trace_target);
        d.push_integer("tl", self.trace_level);
        d.push_integer("f", self.flags);
        d.push_integer("ml", self.multicast_limit.into());
        d.push_integer("t", self.is_public.into());
        d.push("n", &self.name);
        d.push_integer("mtu", self.mtu.into());
        d.push_list("C", self.membership.as_slice());
        d.push_list("CAP", &self.capabilities);
        d.push_list("TAG", &self.tags);
        d.push_list("COO", &self.ownerships);
        d.push_list("S", &self.specialists);
        d.push_list("RT", &self.routes);
        d.push_list("I", &self.addresses);
        d.push_list("R", &self.rules);
        d.push("DNS", self.dns.to_bytes());
        self.sign_on.push_to(&mut d);
        d
    }
}

/// A list that must be whole; entries beyond `limit` are ignored.
fn list<'a, T>(
    bytes: &'a [u8],
    limit: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut reader = Reader::new(bytes, "list in a network configuration");
    let mut items = Vec::new();
    while !reader.is_empty() {
        let item = read(&mut reader)?;
        if items.len() < limit {
            items.push(item);
        }
    }
    Ok(items)
}

/// A list that counts up to its first malformed entry.
fn lenient_list<'a, T>(
    bytes: &'a [u8],
    limit: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Vec<T> {
    let mut reader = Reader::new(bytes, "list in a network configuration");
    std::iter::from_fn(|| read(&mut reader).ok())
        .take(limit)
        .collect()
}

/// At most `limit` bytes of `text`, cut between characters.
fn shortened(mut text: String, limit: usize) -> String {
    text.truncate(text.floor_char_boundary(limit));
    text
}
