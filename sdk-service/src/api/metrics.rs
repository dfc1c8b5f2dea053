//! `/metrics`: the node in Prometheus' text form.
//!
//! Names that zerotier-one has too mean the same here (VL2 §6.4); those about programs are ours.

use std::fmt::{Display, Write};

use zt_protocol::vl1::PeerInfo;

use crate::engine::{NetworkView, NodeView};

/// The whole page.
pub(super) fn page(node: &NodeView, networks: &[NetworkView], peers: &[PeerInfo]) -> String {
    let mut page = Page::default();
    let count = |wanted: &str| {
        node.counters
            .iter()
            .find(|(name, _)| name == wanted)
            .map_or(0, |(_, count)| *count)
    };
    page.family(
        "zt_data",
        "counter",
        "number of bytes ZeroTier has transmitted or received",
    );
    page.sample(
        &[("protocol", "udp"), ("direction", "rx")],
        count("udp_bytes_received"),
    );
    page.sample(
        &[("protocol", "udp"), ("direction", "tx")],
        count("udp_bytes_sent"),
    );
    page.family(
        "zt_events",
        "counter",
        "what happened, by kind; drops by their reason",
    );
    for (name, count) in &node.counters {
        page.sample(&[("event", name)], count);
    }
    page.family("zt_online", "gauge", "whether a root answers");
    page.sample(&[], u8::from(node.online));
    page.family("zt_num_networks", "gauge", "number of joined networks");
    page.sample(&[], networks.len());
    page.family(
        "zt_network_multicast_groups_subscribed",
        "gauge",
        "number of multicast groups subscribed to",
    );
    for network in networks {
        page.sample(
            &[("network_id", &network.status.id.to_string())],
            network.status.groups.len(),
        );
    }
    page.family("zt_program_connections", "gauge", "connections of programs");
    for network in networks {
        page.sample(
            &[("network_id", &network.status.id.to_string())],
            network.connections,
        );
    }
    page.family(
        "zt_program_listeners",
        "gauge",
        "listening sockets of programs",
    );
    for network in networks {
        page.sample(
            &[("network_id", &network.status.id.to_string())],
            network.listeners,
        );
    }
    page.family("zt_peer_path_count", "gauge", "number of paths to peer");
    for peer in peers {
        let alive = peer.paths.iter().filter(|path| !path.expired).count();
        let address = peer.address.to_string();
        page.sample(&[("node_id", &address), ("status", "alive")], alive);
        page.sample(
            &[("node_id", &address), ("status", "dead")],
            peer.paths.len() - alive,
        );
    }
    page.family(
        "zt_peer_latency_milliseconds",
        "gauge",
        "round trip to peer",
    );
    for peer in peers {
        if let Some(latency) = peer.latency {
            page.sample(&[("node_id", &peer.address.to_string())], latency);
        }
    }
    page.text
}

/// The text so far, and whose samples come now.
#[derive(Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.text, "{}{labels} {value}", self.family);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_follow_their_family() {
        let mut page = Page::default();
        page.family("zt_data", "counter", "bytes");
        page.sample(&[("protocol", "udp"), ("direction", "rx")], 7);
        page.family("zt_num_networks", "gauge", "networks");
        page.sample(&[], 1);
        insta::assert_snapshot!(page.text, @r#"
        # HELP zt_data bytes
        # TYPE zt_data counter
        zt_data{protocol="udp",direction="rx"} 7
        # HELP zt_num_networks networks
        # TYPE zt_num_networks gauge
        zt_num_networks 1
        "#);
    }
}
