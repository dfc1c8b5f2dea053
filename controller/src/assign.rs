//! Which addresses a member has: derived from its node address, given by hand, or taken from the
//! network's pools (VL2 §5.4 step 11).
//!
//! From a pool the lowest free address is taken, in the order of the pools; an address belongs to
//! at most one member. Assignments are part of the member's record and so outlive a restart.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zt_protocol::inet::IpPrefix;

use crate::member::Member;
use crate::network::{Network, Pool};

/// Most addresses that one configuration carries (VL2 §8).
const MAX_ADDRESSES: usize = 32;
/// Prefix lengths of derived addresses (VL2 §1.3).
const RFC4193_BITS: u8 = 88;
const SIXPLANE_BITS: u8 = 40;

/// Gives `member` an address from a pool for each family that wants one and has none. `taken`
/// holds every address of the network's members. Whether the record changed.
pub(crate) fn assign_from_pools(
    network: &Network,
    member: &mut Member,
    taken: &HashSet<IpAddr>,
) -> bool {
    if member.no_auto_assign {
        return false;
    }
    let managed = |v4: bool| {
        let mut addresses = member.addresses.iter();
        addresses.any(|&ip| ip.is_ipv4() == v4 && network.route_to(ip).is_some())
    };
    let wanted = [
        (network.v6.pools && !managed(false), false),
        (network.v4_from_pools && !managed(true), true),
    ];
    let before = member.addresses.len();
    for (_, v4) in wanted.into_iter().filter(|(wanted, _)| *wanted) {
        let mut pools = network
            .pools
            .iter()
            .filter(|pool| pool.start.is_ipv4() == v4);
        member
            .addresses
            .extend(pools.find_map(|pool| lowest_free(network, pool, taken)));
    }
    member.addresses.len() != before
}

/// The addresses of `member` with prefix lengths, as they go into its configuration, and whether
/// its node must answer for others' derived addresses (NDP emulation).
pub(crate) fn assigned(network: &Network, member: &Member) -> (Vec<IpPrefix>, bool) {
    let mut addresses = Vec::new();
    if !member.no_auto_assign {
        if network.v6.rfc4193 {
            let address = network.id.rfc4193_address(member.address);
            addresses.extend(IpPrefix::new(address.into(), RFC4193_BITS));
        }
        if network.v6.sixplane {
            let address = network.id.six_plane_address(member.address);
            addresses.extend(IpPrefix::new(address.into(), SIXPLANE_BITS));
        }
    }
    let emulate_ndp = !addresses.is_empty();
    // What no route covers is not sent.
    let by_hand = member.addresses.iter().filter_map(|&address| {
        network
            .route_to(address)
            .and_then(|route| IpPrefix::new(address, route.bits()))
    });
    addresses.extend(by_hand);
    addresses.truncate(MAX_ADDRESSES);
    (addresses, emulate_ndp)
}

/// The lowest address of `pool` that is on a managed route, names a host and is not taken.
///
/// Every step of the search but two per route meets a taken address, so its length is bounded by
/// their number however large the pool is.
fn lowest_free(network: &Network, pool: &Pool, taken: &HashSet<IpAddr>) -> Option<IpAddr> {
    let on_link = network
        .routes
        .iter()
        .filter(|route| route.via.is_none() && route.target.bits() > 0);
    let candidates =
        on_link.filter_map(
            |route| match (route.target.address(), pool.start, pool.end) {
                (IpAddr::V4(target), IpAddr::V4(start), IpAddr::V4(end)) => {
                    let hosts = u32::MAX
                        .checked_shr(u32::from(route.target.bits()))
                        .unwrap_or(0);
                    let first = start.to_bits().max(target.to_bits() & !hosts);
                    let last = end.to_bits().min(target.to_bits() | hosts);
                    // The ends of a subnet name itself and everybody in it, but not of the smallest ones.
                    let is_host = |ip: u32| {
                        hosts <= 1 || !matches!(ip & hosts, host if host == 0 || host == hosts)
                    };
                    let free = |ip: &u32| {
                        is_host(*ip) && !taken.contains(&Ipv4Addr::from_bits(*ip).into())
                    };
                    (first..=last)
                        .find(free)
                        .map(|ip| Ipv4Addr::from_bits(ip).into())
                }
                (IpAddr::V6(target), IpAddr::V6(start), IpAddr::V6(end)) => {
                    let hosts = u128::MAX
                        .checked_shr(u32::from(route.target.bits()))
                        .unwrap_or(0);
                    let first = start.to_bits().max(target.to_bits() & !hosts);
                    let last = end.to_bits().min(target.to_bits() | hosts);
                    // The first address of a subnet is every router's (RFC 4291 §2.6.1).
                    let is_host = |ip: u128| hosts <= 1 || ip & hosts != 0;
                    let free = |ip: &u128| {
                        is_host(*ip) && !taken.contains(&Ipv6Addr::from_bits(*ip).into())
                    };
                    (first..=last)
                        .find(free)
                        .map(|ip| Ipv6Addr::from_bits(ip).into())
                }
                _ => None,
            },
        );
    candidates.min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use zt_protocol::{Address, NetworkId, Time};

    use super::*;

    const ID: NetworkId = NetworkId(0x8056_c2e2_1c00_0001);

    fn network(body: serde_json::Value) -> Network {
        let mut network = Network::new(ID, Time(1));
        network.update(&body).unwrap();
        network
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_lowest_free_host_of_the_first_pool_with_room_is_taken() {
        let network = network(json!({
            "v4AssignMode": {"zt": true},
            "routes": [{"target": "10.147.20.0/24"}, {"target": "10.9.0.0/16", "via": "10.147.20.1"}],
            "ipAssignmentPools": [
                {"ipRangeStart": "10.9.0.1", "ipRangeEnd": "10.9.0.9"},
                {"ipRangeStart": "10.0.0.0", "ipRangeEnd": "10.147.20.2"},
                {"ipRangeStart": "10.147.20.253", "ipRangeEnd": "10.147.20.255"},
            ],
        }));
        let mut taken = HashSet::new();
        for expected in [
            "10.147.20.1",
            "10.147.20.2",
            "10.147.20.253",
            "10.147.20.254",
        ] {
            let mut member = Member::new(ID, Address::new(7), Time(1));
            assert!(assign_from_pools(&network, &mut member, &taken));
            assert_eq!(member.addresses, [ip(expected)]);
            taken.insert(ip(expected));
        }
        let mut late = Member::new(ID, Address::new(8), Time(1));
        assert!(
            !assign_from_pools(&network, &mut late, &taken),
            "the pools are exhausted"
        );
    }

    #[test]
    fn a_member_with_an_address_on_a_route_needs_none_from_a_pool() {
        let network = network(json!({
            "v4AssignMode": {"zt": true},
            "routes": [{"target": "10.147.20.0/24"}],
            "ipAssignmentPools": [{"ipRangeStart": "10.147.20.1", "ipRangeEnd": "10.147.20.9"}],
        }));
        let mut member = Member::new(ID, Address::new(7), Time(1));
        member.addresses = vec![ip("10.147.20.77")];
        assert!(!assign_from_pools(&network, &mut member, &HashSet::new()));
        member.addresses = vec![ip("192.168.1.1")];
        assert!(assign_from_pools(&network, &mut member, &HashSet::new()));
        let (sent, _) = assigned(&network, &member);
        let sent: Vec<_> = sent.iter().map(IpPrefix::to_string).collect();
        assert_eq!(
            sent,
            ["10.147.20.1/24"],
            "an address off every route is not sent"
        );
    }

    #[test]
    fn pools_give_ipv6_addresses_too() {
        let network = network(json!({
            "v6AssignMode": {"zt": true},
            "routes": [{"target": "fd00:1::/64"}],
            "ipAssignmentPools": [{"ipRangeStart": "fd00:1::", "ipRangeEnd": "fd00:1::ffff"}],
        }));
        let mut member = Member::new(ID, Address::new(7), Time(1));
        let taken = [ip("fd00:1::1")].into();
        assert!(assign_from_pools(&network, &mut member, &taken));
        assert_eq!(member.addresses, [ip("fd00:1::2")]);
    }
}
