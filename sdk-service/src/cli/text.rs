//! The text forms of `zerotier-cli`, byte for byte those of zerotier-one 1.14 (VL2 §6.5).
//!
//! Input is the JSON of the control API, of this service or of stock; a missing field prints as
//! empty, zero or false.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

/// JSON as the `-j` option prints it: one space per level, a line feed at the end.
pub(super) fn pretty(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // A value in memory always serialises.
    let _ = value.serialize(&mut serializer);
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

/// `info` and `status`.
pub(super) fn info(status: &Value) -> String {
    let state = if flag(status, "tcpFallbackActive") {
        "TUNNELED"
    } else if flag(status, "online") {
        "ONLINE"
    } else {
        "OFFLINE"
    };
    format!(
        "200 info {} {} {state}\n",
        string(status, "address"),
        string(status, "version")
    )
}

/// `listnetworks`.
pub(super) fn networks(networks: &[Value], now: i64) -> String {
    let mut out =
        "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n".to_owned();
    for network in networks {
        let addresses: Vec<&str> = items(network, "assignedAddresses")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let addresses = if addresses.is_empty() {
            "-".to_owned()
        } else {
            addresses.join(",")
        };
        out += &format!(
            "200 listnetworks {} {} {} {} {} {} {addresses}\n",
            string(network, "nwid"),
            string(network, "name"),
            string(network, "mac"),
            string(network, "status"),
            string(network, "type"),
            string(network, "portDeviceName"),
        );
        if flag(network, "ssoEnabled") {
            let left = integer(network, "authenticationExpiryTime").saturating_sub(now);
            if string(network, "status") == "AUTHENTICATION_REQUIRED" || left <= 0 {
                out += &format!(
                    "    AUTH EXPIRED, URL: {}\n",
                    string(network, "authenticationURL")
                );
            } else {
                out += &format!("    AUTH OK, expires in: {} seconds\n", left / 1000);
            }
        }
    }
    out
}

/// `listpeers`.
pub(super) fn listpeers(peers: &[Value], now: i64) -> String {
    let mut out = "200 listpeers <ztaddr> <path> <latency> <version> <role>\n".to_owned();
    for peer in peers {
        let path = match preferred_path(peer) {
            Some(path) => {
                format!(
                    "{};{};{}",
                    string(path, "address"),
                    age(path, "lastSend", now),
                    age(path, "lastReceive", now)
                )
            }
            None => "-".to_owned(),
        };
        out += &format!(
            "200 listpeers {} {path} {} {} {}\n",
            string(peer, "address"),
            integer(peer, "latency"),
            version(peer),
            string(peer, "role"),
        );
    }
    out
}

/// `peers`.
pub(super) fn peers(peers: &[Value], now: i64) -> String {
    let mut out =
        "200 peers\n<ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>\n".to_owned();
    let mut any_tunnelled = false;
    for peer in peers {
        let tunnelled = flag(peer, "tunneled");
        any_tunnelled |= tunnelled;
        let link = match preferred_path(peer) {
            Some(path) => format!(
                "{:<8} {:<8} {:<8} {}",
                if tunnelled { "RELAY" } else { "DIRECT" },
                age(path, "lastSend", now),
                age(path, "lastReceive", now),
                string(path, "address"),
            ),
            None => "RELAY".to_owned(),
        };
        out += &format!(
            "{} {:<6} {:<6} {:>5} {link}\n",
            string(peer, "address"),
            version(peer),
            string(peer, "role"),
            integer(peer, "latency"),
        );
    }
    if any_tunnelled {
        out += "NOTE: at least one peer is reached through the TCP relay, which is slow: let UDP out\n";
    }
    out
}

/// `get`: one property of a network, or `None` when it has no such scalar.
pub(super) fn property(network: &Value, name: &str) -> Option<String> {
    let addresses: Vec<&str> = items(network, "assignedAddresses")
        .iter()
        .filter_map(Value::as_str)
        .map(|address| address.split('/').next().unwrap_or(address))
        .collect();
    let chosen = |keep: &dyn Fn(&&&str) -> bool| {
        Some(
            addresses
                .iter()
                .filter(keep)
                .map(|address| format!("{address}\n"))
                .collect::<String>(),
        )
    };
    match name {
        "ip" => chosen(&|_| true),
        "ip4" => chosen(&|address| !address.contains(':')),
        "ip6" => chosen(&|address| address.contains(':')),
        "ip6plane" => chosen(&|address| address.starts_with("fc")),
        "ip6prefix" => {
            let sixplane = addresses.iter().filter(|address| address.starts_with("fc"));
            Some(
                sixplane
                    .map(|address| format!("{}\n", address.get(..24).unwrap_or(address)))
                    .collect(),
            )
        }
        _ => match network.get(name)? {
            Value::Bool(value) => Some(format!("{}\n", u8::from(*value))),
            Value::String(value) => Some(format!("{value}\n")),
            Value::Number(value) => Some(format!("{value}\n")),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        },
    }
}

/// `health`: whether a network can be used, and in a line why not.
pub(super) fn health(network: &Value) -> (bool, String) {
    let id = string(network, "nwid");
    let status = string(network, "status");
    let addresses = items(network, "assignedAddresses");
    let device = string(network, "portDeviceName");
    let problem = match status {
        "OK" if addresses.is_empty() => "the controller has assigned no address yet".to_owned(),
        "OK" if !Path::new(device).exists() => format!("the socket {device} is missing"),
        "OK" => {
            let first = addresses
                .first()
                .and_then(Value::as_str)
                .unwrap_or_default();
            return (true, format!("{id} OK {first}\n"));
        }
        "ACCESS_DENIED" => {
            format!(
                "the controller {} must authorise this node",
                id.get(..10).unwrap_or_default()
            )
        }
        "NOT_FOUND" => format!(
            "the controller {} knows no such network",
            id.get(..10).unwrap_or_default()
        ),
        _ => "no configuration from the controller yet".to_owned(),
    };
    (false, format!("{id} {status}: {problem}\n"))
}

fn string<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn integer(object: &Value, key: &str) -> i64 {
    object.get(key).and_then(Value::as_i64).unwrap_or_default()
}

fn flag(object: &Value, key: &str) -> bool {
    object.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn items<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn preferred_path(peer: &Value) -> Option<&Value> {
    items(peer, "paths")
        .iter()
        .find(|path| flag(path, "preferred"))
}

/// Milliseconds since a moment; −1 for "never".
fn age(path: &Value, key: &str, now: i64) -> i64 {
    match integer(path, key) {
        0 => -1,
        moment => now.saturating_sub(moment).max(0),
    }
}

fn version(peer: &Value) -> &str {
    match string(peer, "version") {
        "-1.-1.-1" => "-",
        version => version,
    }
}
