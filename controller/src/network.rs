//! The record of a network: what an administrator may set, and its JSON form (VL2 §5.2).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};
use zt_protocol::inet::IpPrefix;
use zt_protocol::{Address, NetworkId, Time};

use crate::json::{
    Invalid, array_field, as_bool, as_u32, as_u64, bool_field, elements, text_field, u64_field,
};
use crate::rules::RuleSet;

/// Most addresses, names and the like that fit into a configuration (VL2 §8).
const MAX_NAME: usize = 127;
const MAX_ROUTES: usize = 128;
const MAX_DNS_SERVERS: usize = 4;
/// Virtual MTU of a network (VL2 §2.7).
const MTU: std::ops::RangeInclusive<u64> = 1280..=10_000;
/// How far the certificates of two members may lie apart, milliseconds (VL2 §5.2).
const CERTIFICATE_WINDOW: std::ops::RangeInclusive<u64> = 300_000..=7_200_000;
const DEFAULT_CERTIFICATE_WINDOW: u64 = 1_800_000;

/// A network of this controller.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Network {
    pub(crate) id: NetworkId,
    pub(crate) revision: u64,
    pub(crate) creation_time: Time,
    pub(crate) name: String,
    pub(crate) private: bool,
    pub(crate) enable_broadcast: bool,
    pub(crate) multicast_limit: u32,
    pub(crate) mtu: u16,
    pub(crate) v4_from_pools: bool,
    pub(crate) v6: V6Modes,
    pub(crate) pools: Vec<Pool>,
    pub(crate) routes: Vec<Route>,
    pub(crate) rules: RuleSet,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) tags: Vec<Tag>,
    /// Join tokens and when they expire; [`Time::NEVER`] for never.
    pub(crate) tokens: Option<BTreeMap<String, Time>>,
    pub(crate) dns: Option<Dns>,
    pub(crate) trace_target: Option<Address>,
    pub(crate) trace_level: u64,
    /// How far certificates may lie apart when the record says so.
    pub(crate) certificate_window: Option<u64>,
    /// Text that user interfaces keep with the network.
    pub(crate) rules_source: String,
    /// Fields of single sign-on, kept but without effect.
    pub(crate) client_id: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) sso_enabled: bool,
}

/// How members get IPv6 addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct V6Modes {
    pub(crate) sixplane: bool,
    pub(crate) rfc4193: bool,
    pub(crate) pools: bool,
}

/// A range of addresses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) start: IpAddr,
    pub(crate) end: IpAddr,
}

/// A managed route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) target: IpPrefix,
    pub(crate) via: Option<IpAddr>,
}

/// A bundle of rules that members can be given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Capability {
    pub(crate) id: u32,
    pub(crate) default: bool,
    pub(crate) rules: RuleSet,
}

/// A tag that members carry, and the value of those who were given none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) id: u32,
    pub(crate) default: Option<u32>,
}

/// The name servers of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dns {
    pub(crate) domain: String,
    pub(crate) servers: Vec<IpAddr>,
}

impl Network {
    /// A network with the defaults of VL2 §5.2.
    pub(crate) fn new(id: NetworkId, now: Time) -> Self {
        Self {
            id,
            revision: 0,
            creation_time: now,
            name: String::new(),
            private: true,
            enable_broadcast: true,
            multicast_limit: 32,
            mtu: 2800,
            v4_from_pools: false,
            v6: V6Modes::default(),
            pools: Vec::new(),
            routes: Vec::new(),
            rules: RuleSet::accept_all(),
            capabilities: Vec::new(),
            tags: Vec::new(),
            tokens: None,
            dns: None,
            trace_target: None,
            trace_level: 0,
            certificate_window: None,
            rules_source: String::new(),
            client_id: String::new(),
            authorization_endpoint: String::new(),
            sso_enabled: false,
        }
    }

    /// Reads a stored record.
    pub(crate) fn from_record(id: NetworkId, record: &Value) -> Result<Self, Invalid> {
        let mut network = Self::new(id, Time::NEVER);
        network.update(record)?;
        network.revision = u64_field(record, "revision")?.unwrap_or(0);
        network.creation_time = time_field(record, "creationTime")?;
        network.rules_source = text_field(record, "rulesSource")?.unwrap_or_default();
        network.client_id = text_field(record, "clientId")?.unwrap_or_default();
        network.authorization_endpoint =
            text_field(record, "authorizationEndpoint")?.unwrap_or_default();
        network.sso_enabled = bool_field(record, "ssoEnabled")?.unwrap_or(false);
        network.certificate_window = u64_field(record, "certificateTimeoutWindowSize")?;
        Ok(network)
    }

    /// Takes the writable fields of `body`; on a complaint some of them may have been taken, so
    /// callers update a copy.
    pub(crate) fn update(&mut self, body: &Value) -> Result<(), Invalid> {
        if let Some(name) = text_field(body, "name")? {
            if name.len() > MAX_NAME {
                return Err(Invalid::new(
                    "name",
                    format_args!("more than {MAX_NAME} bytes"),
                ));
            }
            self.name = name;
        }
        if let Some(private) = bool_field(body, "private")? {
            self.private = private;
        }
        if let Some(enable) = bool_field(body, "enableBroadcast")? {
            self.enable_broadcast = enable;
        }
        if let Some(limit) = u64_field(body, "multicastLimit")? {
            self.multicast_limit = u32::try_from(limit).unwrap_or(u32::MAX);
        }
        if let Some(mtu) = u64_field(body, "mtu")? {
            self.mtu = mtu.clamp(*MTU.start(), *MTU.end()) as u16;
        }
        if let Some(modes) = body.get("v4AssignMode") {
            self.v4_from_pools = modes_of(modes, "v4AssignMode")?.pools;
        }
        if let Some(modes) = body.get("v6AssignMode") {
            self.v6 = modes_of(modes, "v6AssignMode")?;
        }
        if let Some(pools) = elements(body, "ipAssignmentPools", Pool::read)? {
            self.pools = pools;
        }
        if let Some(routes) = elements(body, "routes", Route::read)? {
            if routes.len() > MAX_ROUTES {
                return Err(Invalid::new(
                    "routes",
                    format_args!("more than {MAX_ROUTES}"),
                ));
            }
            self.routes = routes;
        }
        if let Some(rules) = array_field(body, "rules")? {
            self.rules = RuleSet::read_base(rules)?;
        }
        if let Some(capabilities) = elements(body, "capabilities", Capability::read)? {
            // The last of several with one id wins, and they are listed by id.
            let by_id: BTreeMap<_, _> = capabilities.into_iter().map(|c| (c.id, c)).collect();
            self.capabilities = by_id.into_values().collect();
        }
        if let Some(tags) = elements(body, "tags", Tag::read)? {
            let by_id: BTreeMap<_, _> = tags.into_iter().map(|tag| (tag.id, tag)).collect();
            self.tags = by_id.into_values().collect();
        }
        if let Some(tokens) = body.get("authTokens") {
            self.tokens = read_tokens(tokens)?;
        }
        if let Some(dns) = body.get("dns") {
            self.dns = Dns::read(dns)?;
        }
        if let Some(target) = body.get("remoteTraceTarget") {
            self.trace_target = read_trace_target(target)?;
        }
        // The original resets the level with every update that does not name it.
        self.trace_level = u64_field(body, "remoteTraceLevel")?.unwrap_or(0);
        Ok(())
    }

    /// The record as it is stored and shown.
    pub(crate) fn to_json(&self) -> Value {
        let mut record = json!({
            "id": self.id.to_string(),
            "nwid": self.id.to_string(),
            "objtype": "network",
            "revision": self.revision,
            "creationTime": self.creation_time.0,
            "name": self.name,
            "private": self.private,
            "enableBroadcast": self.enable_broadcast,
            "multicastLimit": self.multicast_limit,
            "mtu": self.mtu,
            "v4AssignMode": { "zt": self.v4_from_pools },
            "v6AssignMode": {
                "6plane": self.v6.sixplane,
                "rfc4193": self.v6.rfc4193,
                "zt": self.v6.pools,
            },
            "ipAssignmentPools": self.pools.iter().copied().map(Pool::to_json).collect::<Value>(),
            "routes": self.routes.iter().copied().map(Route::to_json).collect::<Value>(),
            "rules": self.rules.to_json(),
            "capabilities": self.capabilities.iter().map(Capability::to_json).collect::<Value>(),
            "tags": self.tags.iter().copied().map(Tag::to_json).collect::<Value>(),
            "authTokens": match &self.tokens {
                None => json!([null]),
                Some(tokens) if tokens.is_empty() => Value::Null,
                Some(tokens) => tokens.iter().map(|(token, expiry)| (token.clone(), json!(expiry.0))).collect::<Map<_, _>>().into(),
            },
            "dns": self.dns.as_ref().map_or_else(|| json!([]), Dns::to_json),
            "remoteTraceTarget": self.trace_target.map(|target| target.to_string()),
            "remoteTraceLevel": self.trace_level,
            "rulesSource": self.rules_source,
            "clientId": self.client_id,
            "authorizationEndpoint": self.authorization_endpoint,
            "ssoEnabled": self.sso_enabled,
        });
        if let (Some(window), Some(record)) = (self.certificate_window, record.as_object_mut()) {
            record.insert("certificateTimeoutWindowSize".to_owned(), window.into());
        }
        record
    }

    /// How far the certificates of two members may lie apart, in milliseconds.
    pub(crate) fn credential_window(&self) -> u64 {
        self.certificate_window
            .unwrap_or(DEFAULT_CERTIFICATE_WINDOW)
            .clamp(*CERTIFICATE_WINDOW.start(), *CERTIFICATE_WINDOW.end())
    }

    /// The longest route target that contains `address`.
    pub(crate) fn route_to(&self, address: IpAddr) -> Option<IpPrefix> {
        let targets = self.routes.iter().map(|route| route.target);
        targets
            .filter(|target| target.contains(address))
            .max_by_key(IpPrefix::bits)
    }

    /// Whether `token` opens the network now.
    pub(crate) fn accepts_token(&self, token: &str, now: Time) -> bool {
        let expiry = self.tokens.as_ref().and_then(|tokens| tokens.get(token));
        expiry.is_some_and(|&expiry| expiry == Time::NEVER || expiry > now)
    }
}

impl Pool {
    fn read(value: &Value) -> Result<Self, Invalid> {
        let pool = Self {
            start: ip_field(value, "ipRangeStart")?,
            end: ip_field(value, "ipRangeEnd")?,
        };
        if pool.start.is_ipv4() != pool.end.is_ipv4() || pool.start > pool.end {
            return Err(Invalid::new(
                "ipRangeEnd",
                "must follow ipRangeStart, in the same family",
            ));
        }
        Ok(pool)
    }

    fn to_json(self) -> Value {
        json!({ "ipRangeStart": self.start.to_string(), "ipRangeEnd": self.end.to_string() })
    }
}

impl Route {
    fn read(value: &Value) -> Result<Self, Invalid> {
        let target = value.get("target").and_then(Value::as_str);
        let target = target.ok_or_else(|| Invalid::new("target", "address/bits expected"))?;
        let target: IpPrefix = target
            .parse()
            .map_err(|reason| Invalid::new("target", reason))?;
        let via = match value.get("via") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(_) => Some(ip_field(value, "via")?),
        };
        // A gateway of the other family is no gateway (VL2 §5.2).
        let via = via.filter(|via| via.is_ipv4() == target.address().is_ipv4());
        Ok(Self { target, via })
    }

    fn to_json(self) -> Value {
        json!({ "target": self.target.to_string(), "via": self.via.map(|via| via.to_string()) })
    }
}

impl Capability {
    fn read(value: &Value) -> Result<Self, Invalid> {
        let rules = array_field(value, "rules")?.unwrap_or(&[]);
        Ok(Self {
            id: id_field(value)?,
            default: bool_field(value, "default")?.unwrap_or(false),
            rules: RuleSet::read_capability(rules)?,
        })
    }

    fn to_json(&self) -> Value {
        json!({ "id": self.id, "default": self.default, "rules": self.rules.to_json() })
    }
}

impl Tag {
    fn read(value: &Value) -> Result<Self, Invalid> {
        let default = match value.get("default") {
            None | Some(Value::Null) => None,
            Some(number) => Some(
                as_u32(number)
                    .ok_or_else(|| Invalid::new("default", "a 32-bit number expected"))?,
            ),
        };
        Ok(Self {
            id: id_field(value)?,
            default,
        })
    }

    fn to_json(self) -> Value {
        json!({ "id": self.id, "default": self.default })
    }
}

impl Dns {
    fn read(value: &Value) -> Result<Option<Self>, Invalid> {
        if !value.is_object() {
            return Ok(None);
        }
        let within = |invalid: Invalid| invalid.within("dns");
        let domain = text_field(value, "domain")
            .map_err(within)?
            .unwrap_or_default();
        if domain.len() > MAX_NAME {
            return Err(Invalid::new(
                "dns.domain",
                format_args!("more than {MAX_NAME} bytes"),
            ));
        }
        let servers = elements(value, "servers", |server| {
            let text = server.as_str().unwrap_or_default();
            text.parse()
                .map_err(|_| Invalid::new("server", format_args!("no IP address: {server}")))
        });
        let mut servers = servers.map_err(within)?.unwrap_or_default();
        servers.truncate(MAX_DNS_SERVERS);
        Ok(Some(Self { domain, servers }))
    }

    fn to_json(&self) -> Value {
        let servers: Value = self.servers.iter().map(IpAddr::to_string).collect();
        json!({ "domain": self.domain, "servers": servers })
    }
}

/// Assignment modes as an object of booleans or a comma separated list.
fn modes_of(value: &Value, field: &str) -> Result<V6Modes, Invalid> {
    let has = |mode: &str| match value {
        Value::String(list) => Some(list.split(',').any(|listed| listed.trim() == mode)),
        Value::Object(modes) => modes.get(mode).map_or(Some(false), as_bool),
        _ => None,
    };
    let read = || {
        Some(V6Modes {
            sixplane: has("6plane")?,
            rfc4193: has("rfc4193")?,
            pools: has("zt")?,
        })
    };
    read().ok_or_else(|| Invalid::new(field, "an object of true and false expected"))
}

fn read_tokens(value: &Value) -> Result<Option<BTreeMap<String, Time>>, Invalid> {
    let Value::Object(tokens) = value else {
        // `null` is how an empty object is shown.
        return Ok(value.is_null().then(BTreeMap::new));
    };
    let read_one = |(token, expiry): (&String, &Value)| {
        let expiry = as_u64(expiry).and_then(|expiry| i64::try_from(expiry).ok());
        let expiry =
            expiry.ok_or_else(|| Invalid::new("authTokens", "milliseconds or 0 expected"))?;
        Ok((token.clone(), Time(expiry)))
    };
    tokens
        .iter()
        .map(read_one)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// A node that wants to be told about dropped packets, or nobody.
pub(crate) fn read_trace_target(value: &Value) -> Result<Option<Address>, Invalid> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if text.parse::<Address>().is_ok() => Ok(text.parse().ok()),
        _ => Err(Invalid::new(
            "remoteTraceTarget",
            "an address or null expected",
        )),
    }
}

/// A moment of a stored record; [`Time::NEVER`] when it is missing.
pub(crate) fn time_field(record: &Value, field: &str) -> Result<Time, Invalid> {
    let millis = u64_field(record, field)?.unwrap_or(0);
    Ok(Time(i64::try_from(millis).unwrap_or(i64::MAX)))
}

fn ip_field(value: &Value, field: &str) -> Result<IpAddr, Invalid> {
    let text = value.get(field).and_then(Value::as_str).unwrap_or_default();
    text.parse()
        .map_err(|_| Invalid::new(field, format_args!("no IP address: {text:?}")))
}

fn id_field(value: &Value) -> Result<u32, Invalid> {
    let id = value.get("id").and_then(as_u32);
    id.ok_or_else(|| Invalid::new("id", "a 32-bit number expected"))
}
