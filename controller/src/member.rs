//! The record of a member: what an administrator may set and what the controller learns, and its
//! JSON form (VL2 §5.3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Value, json};
use zt_protocol::{Address, Identity, NetworkId, Time};

use crate::json::{Invalid, as_u32, bool_field, elements, text_field, u64_field};
use crate::network::{read_trace_target, time_field};

/// A node that asked to join a network, or that an administrator named beforehand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) network: NetworkId,
    pub(crate) address: Address,
    pub(crate) revision: u64,
    pub(crate) creation_time: Time,
    /// Learned at the first request; every later one must come from the same.
    pub(crate) identity: Option<Identity>,
    pub(crate) name: Option<String>,
    pub(crate) authorized: bool,
    pub(crate) last_authorized: Time,
    pub(crate) last_deauthorized: Time,
    pub(crate) authorized_by: Option<AuthorizedBy>,
    pub(crate) active_bridge: bool,
    pub(crate) no_auto_assign: bool,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) tags: BTreeMap<u32, u32>,
    pub(crate) capabilities: BTreeSet<u32>,
    pub(crate) trace_target: Option<Address>,
    pub(crate) trace_level: u64,
    pub(crate) authentication_expiry: u64,
    pub(crate) sso_exempt: bool,
    /// Software version of the node, once it had a configuration.
    pub(crate) version: Option<Version>,
}

/// What made a member authorised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuthorizedBy {
    Api,
    PublicNetwork,
    Token(String),
}

/// Version numbers as a node reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) revision: u32,
    pub(crate) protocol: u32,
}

impl Member {
    /// A member without any right.
    pub(crate) fn new(network: NetworkId, address: Address, now: Time) -> Self {
        Self {
            network,
            address,
            revision: 0,
            creation_time: now,
            identity: None,
            name: None,
            authorized: false,
            last_authorized: Time::NEVER,
            last_deauthorized: Time::NEVER,
            authorized_by: None,
            active_bridge: false,
            no_auto_assign: false,
            addresses: Vec::new(),
            tags: BTreeMap::new(),
            capabilities: BTreeSet::new(),
            trace_target: None,
            trace_level: 0,
            authentication_expiry: 0,
            sso_exempt: false,
            version: None,
        }
    }

    /// Reads a stored record.
    pub(crate) fn from_record(
        network: NetworkId,
        address: Address,
        record: &Value,
    ) -> Result<Self, Invalid> {
        let mut member = Self::new(network, address, Time::NEVER);
        member.update(record)?;
        member.revision = u64_field(record, "revision")?.unwrap_or(0);
        member.creation_time = time_field(record, "creationTime")?;
        member.authorized = bool_field(record, "authorized")?.unwrap_or(false);
        member.last_authorized = time_field(record, "lastAuthorizedTime")?;
        member.last_deauthorized = time_field(record, "lastDeauthorizedTime")?;
        member.sso_exempt = bool_field(record, "ssoExempt")?.unwrap_or(false);
        member.identity = match record.get("identity") {
            None | Some(Value::Null) => None,
            // Stock takes this for a member that has not been there yet.
            Some(Value::String(text)) if text.is_empty() => None,
            Some(value) => {
                let identity = value
                    .as_str()
                    .and_then(|text| text.parse::<Identity>().ok());
                Some(identity.ok_or_else(|| Invalid::new("identity", "no identity"))?)
            }
        };
        let text = |field| record.get(field).and_then(Value::as_str);
        member.authorized_by = match text("lastAuthorizedCredentialType") {
            Some("api") => Some(AuthorizedBy::Api),
            Some("public") => Some(AuthorizedBy::PublicNetwork),
            Some("token") => {
                let token = text("lastAuthorizedCredential").unwrap_or_default();
                Some(AuthorizedBy::Token(token.to_owned()))
            }
            _ => None,
        };
        // −1 stands for unknown and is no u32.
        let number = |field| record.get(field).and_then(as_u32);
        member.version = (|| {
            Some(Version {
                major: number("vMajor")?,
                minor: number("vMinor")?,
                revision: number("vRev")?,
                protocol: number("vProto")?,
            })
        })();
        Ok(member)
    }

    /// Takes the writable fields of `body` except `authorized`, which has consequences. On a
    /// complaint some of them may have been taken, so callers update a copy.
    pub(crate) fn update(&mut self, body: &Value) -> Result<(), Invalid> {
        if let Some(name) = text_field(body, "name")? {
            self.name = Some(name);
        }
        if let Some(bridge) = bool_field(body, "activeBridge")? {
            self.active_bridge = bridge;
        }
        if let Some(no_auto_assign) = bool_field(body, "noAutoAssignIps")? {
            self.no_auto_assign = no_auto_assign;
        }
        let ip = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            text.parse()
                .map_err(|_| Invalid::new("address", format_args!("no IP address: {value}")))
        };
        if let Some(addresses) = elements::<IpAddr>(body, "ipAssignments", ip)? {
            self.addresses.clear();
            for address in addresses {
                if !self.addresses.contains(&address) {
                    self.addresses.push(address);
                }
            }
        }
        let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([id, tag]) => as_u32(id).zip(as_u32(tag)),
            _ => None,
        };
        let tag = |value: &Value| {
            pair(value).ok_or_else(|| Invalid::new("tag", "[id, value] expected, 32 bits each"))
        };
        if let Some(tags) = elements(body, "tags", tag)? {
            self.tags = tags.into_iter().collect();
        }
        let id = |value: &Value| {
            as_u32(value).ok_or_else(|| Invalid::new("id", "a 32-bit number expected"))
        };
        if let Some(capabilities) = elements(body, "capabilities", id)? {
            self.capabilities = capabilities.into_iter().collect();
        }
        if let Some(target) = body.get("remoteTraceTarget") {
            self.trace_target = read_trace_target(target)?;
        }
        // The original resets the level with every update that does not name it.
        self.trace_level = u64_field(body, "remoteTraceLevel")?.unwrap_or(0);
        if let Some(expiry) = u64_field(body, "authenticationExpiryTime")? {
            self.authentication_expiry = expiry;
        }
        Ok(())
    }

    /// Gives or takes the right to be on the network. Whether anything changed.
    pub(crate) fn set_authorized(&mut self, now: Time, by: Option<AuthorizedBy>) -> bool {
        let authorized = by.is_some();
        if self.authorized == authorized {
            return false;
        }
        self.authorized = authorized;
        if authorized {
            self.last_authorized = now;
            self.authorized_by = by;
        } else {
            self.last_deauthorized = now;
        }
        true
    }

    /// The record as it is stored and shown.
    pub(crate) fn to_json(&self) -> Value {
        let version = |part: fn(&Version) -> u32| {
            self.version
                .as_ref()
                .map_or(json!(-1), |version| json!(part(version)))
        };
        let (credential_type, credential) = match &self.authorized_by {
            None => (None, None),
            Some(AuthorizedBy::Api) => (Some("api"), None),
            Some(AuthorizedBy::PublicNetwork) => (Some("public"), None),
            Some(AuthorizedBy::Token(token)) => (Some("token"), Some(token)),
        };
        let mut record = json!({
            "id": self.address.to_string(),
            "address": self.address.to_string(),
            "nwid": self.network.to_string(),
            "objtype": "member",
            "revision": self.revision,
            "creationTime": self.creation_time.0,
            "authorized": self.authorized,
            "lastAuthorizedTime": self.last_authorized.0,
            "lastDeauthorizedTime": self.last_deauthorized.0,
            "lastAuthorizedCredentialType": credential_type,
            "lastAuthorizedCredential": credential,
            "activeBridge": self.active_bridge,
            "noAutoAssignIps": self.no_auto_assign,
            "ipAssignments": self.addresses.iter().map(IpAddr::to_string).collect::<Value>(),
            "tags": self.tags.iter().map(|(id, value)| json!([id, value])).collect::<Value>(),
            "capabilities": self.capabilities.iter().copied().collect::<Value>(),
            "remoteTraceTarget": self.trace_target.map(|target| target.to_string()),
            "remoteTraceLevel": self.trace_level,
            "authenticationExpiryTime": self.authentication_expiry,
            "ssoExempt": self.sso_exempt,
            "vMajor": version(|v| v.major),
            "vMinor": version(|v| v.minor),
            "vRev": version(|v| v.revision),
            "vProto": version(|v| v.protocol),
        });
        if let Some(fields) = record.as_object_mut() {
            if let Some(identity) = &self.identity {
                fields.insert("identity".to_owned(), identity.to_string().into());
            }
            if let Some(name) = &self.name {
                fields.insert("name".to_owned(), name.clone().into());
            }
        }
        record
    }
}
