//! What the data plane shows of itself.

use super::interface::EngineStatus;
use super::run::Engine;

impl Engine {
    pub(super) fn status(&self) -> EngineStatus {
        let vl1 = self.node.vl1();
        let (planet_id, planet_timestamp) = vl1
            .planet()
            .map_or((0, 0), |planet| (planet.id(), planet.timestamp()));
        EngineStatus {
            online: vl1.is_online(),
            planet_id,
            planet_timestamp,
            listening_on: self.local_addresses.clone(),
            surface_addresses: vl1.surface_addresses().collect(),
            secondary_port: self.edge.ports().get(1).copied(),
            counters: self.counters(),
        }
    }

    /// Every count of every room, by name.
    fn counters(&self) -> Vec<(String, u64)> {
        let traffic = self.edge.traffic();
        let udp = [
            ("udp_datagrams_received", traffic.received),
            ("udp_bytes_received", traffic.received_bytes),
            ("udp_batches_sent", traffic.batches),
            ("udp_bytes_sent", traffic.sent_bytes),
            ("udp_batches_refused", traffic.refused),
            ("program_descriptors", self.budget.held() as u64),
        ];
        let mut counters: Vec<(String, u64)> = udp
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        counters.extend(
            self.node
                .vl2()
                .counters()
                .iter()
                .map(|(name, count)| (format!("vl2_{name}"), count)),
        );
        let mut programs = std::collections::BTreeMap::new();
        for network in self.networks.iter().flatten() {
            for (name, count) in network.broker.counters().iter() {
                *programs.entry(name).or_insert(0) += count;
            }
            let (connections, listeners) = network.broker.sockets();
            *programs.entry("connections").or_insert(0) += connections as u64;
            *programs.entry("listeners").or_insert(0) += listeners as u64;
        }
        counters.extend(
            programs
                .into_iter()
                .map(|(name, count)| (format!("program_{name}"), count)),
        );
        counters
    }
}
