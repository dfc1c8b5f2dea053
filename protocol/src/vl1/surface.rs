//! Our own address as others see it, and what to do when it changes (VL1 §4.11).

use super::outbox::Target;
use super::receive::Arrival;
use super::{LocalSocket, Vl1};
use crate::inet::Scope;
use crate::{Address, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// Reports older than this are forgotten.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Reports kept at most; the oldest goes first.
const MAX_REPORTS: usize = 1024;

/// One peer's report of our address.
struct Report {
    reporter: Address,
    local: LocalSocket,
    reporter_at: SocketAddr,
    scope: Scope,
    surface: SocketAddr,
    time: Time,
}

/// All reports.
#[derive(Default)]
pub(super) struct Surface {
    reports: Vec<Report>,
}

impl Surface {
    /// Our addresses as others see them, each once.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let first = |index: usize, surface| {
            self.reports[..index]
                .iter()
                .all(|earlier| earlier.surface != surface)
        };
        let reports = self.reports.iter().enumerate();
        reports
            .filter(move |(i, r)| first(*i, r.surface))
            .map(|(_, report)| report.surface)
    }

    /// Takes a report in; true if it shows that our address changed.
    fn report(
        &mut self,
        now: Time,
        reporter: Address,
        trusted: bool,
        arrival: Arrival,
        surface: SocketAddr,
    ) -> bool {
        let scope = Scope::of(surface.ip());
        let Arrival {
            local,
            remote: reporter_at,
        } = arrival;
        let known = self.reports.iter_mut().find(|report| {
            (
                report.reporter,
                report.local,
                report.reporter_at,
                report.scope,
            ) == (reporter, local, reporter_at, scope)
        });
        let Some(known) = known else {
            if self.reports.len() >= MAX_REPORTS {
                self.reports.remove(0);
            }
            let report = Report {
                reporter,
                local,
                reporter_at,
                scope,
                surface,
                time: now,
            };
            self.reports.push(report);
            return false;
        };
        let changed =
            trusted && now.since(known.time) < TIMEOUT && known.surface.ip() != surface.ip();
        (known.surface, known.time) = (surface, now);
        if changed {
            self.reports
                .retain(|report| report.scope != scope || report.reporter_at == reporter_at);
        }
        changed
    }

    /// Forgets old reports.
    pub(super) fn expire(&mut self, now: Time) {
        self.reports
            .retain(|report| now.since(report.time) < TIMEOUT);
    }
}

impl Vl1 {
    /// Our physical addresses as our peers see them.
    pub fn surface_addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.surface.addresses()
    }

    /// A peer told under which address it sees us.
    pub(super) fn on_surface_report(
        &mut self,
        now: Time,
        reporter: Address,
        arrival: Arrival,
        surface: SocketAddr,
    ) {
        let scope = Scope::of(surface.ip());
        let unusable = matches!(scope, Scope::None | Scope::Loopback | Scope::Multicast);
        if unusable || scope != Scope::of(arrival.remote.ip()) {
            return;
        }
        let trusted = self.is_upstream(reporter);
        if self
            .surface
            .report(now, reporter, trusted, arrival, surface)
        {
            self.surface_changed(now, scope, surface.is_ipv6());
        }
    }

    /// Our address in a scope changed, so peers may not reach us any more where they think we
    /// are: every path of that scope must prove itself anew.
    fn surface_changed(&mut self, now: Time, scope: Scope, is_v6: bool) {
        let mut suspects = Vec::new();
        for (&address, peer) in &mut self.peers {
            let ids: Vec<_> = peer.paths().iter().map(|entry| entry.id).collect();
            for id in ids {
                let Some(path) = self.paths.get(id) else {
                    continue;
                };
                if path.scope == scope && path.remote.is_ipv6() == is_v6 {
                    peer.suspend(id);
                    suspects.push((address, path.local, path.remote));
                }
            }
        }
        suspects.sort_unstable();
        for (peer, local, remote) in suspects {
            self.probe(
                now,
                peer,
                Target {
                    local: Some(local),
                    remote,
                    ttl: None,
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(remote: &str) -> Arrival {
        Arrival {
            local: LocalSocket(0),
            remote: remote.parse().unwrap(),
        }
    }

    #[test]
    fn only_an_upstreams_second_opinion_is_a_change() {
        let mut surface = Surface::default();
        let root = arrival("8.8.8.8:9993");
        let mut report = |trusted, ip: &str| {
            surface.report(Time(1), Address::new(1), trusted, root, ip.parse().unwrap())
        };
        assert!(!report(true, "1.1.1.1:1"), "the first report is no change");
        assert!(!report(true, "1.1.1.1:2"), "another port is no change");
        assert!(!report(false, "2.2.2.2:2"), "a leaf is not believed");
        assert!(report(true, "3.3.3.3:2"));
        assert_eq!(surface.addresses().count(), 1);
    }

    #[test]
    fn every_address_is_told_once_and_old_ones_are_forgotten() {
        let mut surface = Surface::default();
        for (n, ip) in ["1.1.1.1:1", "1.1.1.1:1", "2.2.2.2:2"]
            .into_iter()
            .enumerate()
        {
            let reporter = Address::new(1 + n as u64);
            surface.report(
                Time(1000),
                reporter,
                false,
                arrival("8.8.8.8:1"),
                ip.parse().unwrap(),
            );
        }
        assert_eq!(surface.addresses().count(), 2);
        surface.expire(Time(1000) + TIMEOUT);
        assert_eq!(surface.addresses().count(), 0);
    }
}
