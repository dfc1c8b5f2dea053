//! What the control API shows, in the shape of zerotier-one 1.14 (VL2 §6.3).

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use zt_protocol::World;
use zt_protocol::inet::IpPrefix;
use zt_protocol::vl1::{PathInfo, PeerInfo};

use crate::engine::{NetworkView, NodeView};
use crate::home::HOST_NAME;
use crate::shell::Facts;

/// The node: `/status`.
pub(super) fn status(facts: &Facts, port: u16, node: &NodeView) -> Value {
    let mut config = facts.local_conf.clone();
    let settings = config.entry("settings").or_insert_with(|| json!({}));
    // What stock fills in: the truth about this service, whatever the file asks for.
    for (name, value) in [
        ("allowTcpFallbackRelay", json!(false)),
        ("forceTcpRelay", json!(false)),
        ("homeDir", json!(facts.home)),
        (
            "listeningOn",
            node.local_addresses.iter().map(endpoint).collect(),
        ),
        ("portMappingEnabled", json!(false)),
        ("primaryPort", json!(port)),
        (
            "secondaryPort",
            json!(node.ports.get(1).copied().unwrap_or(0)),
        ),
        ("softwareUpdate", json!("disable")),
        ("softwareUpdateChannel", json!("release")),
        (
            "surfaceAddresses",
            node.surface_addresses.iter().map(endpoint).collect(),
        ),
        ("tertiaryPort", json!(0)),
    ] {
        settings[name] = value;
    }
    let mut status = short_status(node);
    status.extend([
        (
            "address".to_owned(),
            json!(facts.identity.address().to_string()),
        ),
        ("config".to_owned(), Value::Object(config)),
        (
            "planetWorldId".to_owned(),
            json!(node.planet.as_ref().map_or(0, World::id)),
        ),
        (
            "planetWorldTimestamp".to_owned(),
            json!(node.planet.as_ref().map_or(0, World::timestamp)),
        ),
        (
            "publicIdentity".to_owned(),
            json!(facts.identity.to_string()),
        ),
        ("tcpFallbackActive".to_owned(), json!(false)),
    ]);
    Value::Object(status)
}

/// What anybody may know: `/health`.
pub(super) fn health(node: &NodeView) -> Value {
    Value::Object(short_status(node))
}

fn short_status(node: &NodeView) -> Map<String, Value> {
    let mut parts = crate::VERSION
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or_default());
    let mut part = || json!(parts.next().unwrap_or_default());
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    [
        ("clock", json!(clock)),
        ("online", json!(node.online)),
        ("version", json!(crate::VERSION)),
        ("versionMajor", part()),
        ("versionMinor", part()),
        ("versionRev", part()),
        ("versionBuild", json!(0)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

/// One peer.
pub(super) fn peer(peer: &PeerInfo) -> Value {
    let [major, minor, revision] = match &peer.version {
        Some(version) => [
            i32::from(version.major),
            i32::from(version.minor),
            i32::from(version.revision),
        ],
        None => [-1; 3],
    };
    json!({
        "address": peer.address.to_string(),
        "isBonded": false,
        "latency": peer.latency.map_or(-1, i64::from),
        "paths": peer.paths.iter().map(path).collect::<Vec<_>>(),
        "role": if peer.is_root { "PLANET" } else { "LEAF" },
        "tunneled": false,
        "version": format!("{major}.{minor}.{revision}"),
        "versionMajor": major,
        "versionMinor": minor,
        "versionRev": revision,
    })
}

fn path(path: &PathInfo) -> Value {
    json!({
        "active": path.active,
        "address": endpoint(&path.remote),
        "expired": path.expired,
        "lastReceive": path.last_receive.0,
        "lastSend": path.last_send.0,
        "localPort": 0,
        "localSocket": path.local.0,
        "preferred": path.preferred,
        "trustedPathId": 0,
    })
}

/// One network.
pub(super) fn network(network: &NetworkView) -> Value {
    let NetworkView {
        status,
        settings,
        socket,
        name,
        ..
    } = network;
    let mut view = json!({
        "allowDNS": settings.allow_dns,
        "allowDefault": settings.allow_default,
        "allowGlobal": settings.allow_global,
        "allowManaged": settings.allow_managed,
        "assignedAddresses": status.addresses.iter().map(IpPrefix::to_string).collect::<Vec<_>>(),
        "bridge": status.bridge,
        "broadcastEnabled": status.broadcast,
        "dhcp": false,
        "dns": {
            "domain": status.dns.domain,
            "servers": status.dns.servers.iter().map(IpAddr::to_string).collect::<Vec<_>>(),
        },
        "id": status.id.to_string(),
        "mac": status.mac.to_string(),
        "mtu": status.mtu,
        "multicastSubscriptions": status
            .groups
            .iter()
            .map(|group| json!({ "adi": group.adi, "mac": group.mac.to_string() }))
            .collect::<Vec<_>>(),
        "name": status.name,
        "netconfRevision": status.revision,
        "nwid": status.id.to_string(),
        // Stock names its TAP device here; ours is the socket for `ZT_NC_NETWORK`.
        "portDeviceName": socket,
        "portError": 0,
        "routes": status
            .routes
            .iter()
            .map(|route| json!({
                "flags": route.flags,
                "metric": route.metric,
                "target": route.target.to_string(),
                "via": route.via.map(|via| via.to_string()),
            }))
            .collect::<Vec<_>>(),
        "status": status.status.as_str(),
        "type": if status.public { "PUBLIC" } else { "PRIVATE" },
    });
    // Beyond stock, and only where there are such: the name that was asked for, and the one that is published.
    for (key, value) in [(HOST_NAME, &settings.host_name), ("publishedName", name)] {
        if let Some(value) = value {
            view[key] = json!(value);
        }
    }
    view
}

/// `ip/port`, as every socket address is printed.
fn endpoint(address: &SocketAddr) -> String {
    format!("{}/{}", address.ip(), address.port())
}
