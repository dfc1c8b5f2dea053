//! Networks without a controller: their configuration follows from their id (VL2 §1.6).

use std::net::Ipv4Addr;

use crate::inet::IpPrefix;
use crate::rule::{Action, Match, Rule, Side};
use crate::{Address, NetworkConfig, NetworkId, Time};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 0x3a;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const TCP_SYN: u64 = 0x02;
const TCP_ACK: u64 = 0x10;

/// The configuration of an ad-hoc network; `None` if its id does not describe one.
pub(super) fn configuration(network: NetworkId, own: Address, now: Time) -> Option<NetworkConfig> {
    let [top, a, b, c, d, .., low] = network.0.to_be_bytes();
    if top != 0xff {
        return None;
    }
    let mut config = NetworkConfig::new(network, own, now.as_millis());
    config.revision = 1;
    config.credential_max_delta = 7_200_000;
    config.flags = NetworkConfig::NDP_EMULATION;
    config.is_public = true;
    config
        .addresses
        .extend(IpPrefix::new(network.six_plane_address(own).into(), 40));
    if network.0 & 0xff_ffff == 0 {
        let (first, last) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if last < first {
            return None;
        }
        config.name = format!("adhoc-{first:04x}-{last:04x}");
        config.rules = port_range_rules(first, last);
    } else if low == 0x01 {
        let [_, _, x, y, z] = own.to_bytes();
        config.name = format!("adhoc-{a}.0.0.0");
        config.multicast_limit = 1024;
        config
            .addresses
            .extend(IpPrefix::new(Ipv4Addr::new(a, x, y, z).into(), 8));
        config.rules = vec![Rule::ACCEPT];
    } else {
        return None;
    }
    Some(config)
}

/// IPv6 only: pings, datagrams and connections to these ports, and what belongs to connections.
fn port_range_rules(first: u16, last: u16) -> Vec<Rule> {
    let or = |test| Rule::Match {
        not: false,
        or: true,
        test,
    };
    vec![
        Rule::unless(Match::EtherType(ETHERTYPE_IPV6)),
        Rule::Action(Action::Drop),
        Rule::when(Match::IpProtocol(ICMPV6)),
        Rule::ACCEPT,
        Rule::when(Match::IpProtocol(UDP)),
        or(Match::IpProtocol(TCP)),
        Rule::when(Match::Port(Side::Destination, first, last)),
        Rule::ACCEPT,
        Rule::unless(Match::Characteristics(TCP_SYN)),
        Rule::ACCEPT,
        Rule::when(Match::Characteristics(TCP_SYN)),
        Rule::when(Match::Characteristics(TCP_ACK)),
        Rule::ACCEPT,
        Rule::Action(Action::Drop),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(network: u64, own: u64) -> Option<(String, Vec<String>)> {
        let config = configuration(NetworkId(network), Address::new(own), Time(1))?;
        Some((
            config.name,
            config.addresses.iter().map(ToString::to_string).collect(),
        ))
    }

    #[test]
    fn ids_give_the_names_and_addresses_of_the_document() {
        let (name, list) = addresses(0xff00_1600_1600_0000, 0x11_2233_4455).unwrap();
        assert_eq!(
            (name.as_str(), list),
            (
                "adhoc-0016-0016",
                vec!["fce9:16:11:2233:4455::1/40".to_owned()]
            )
        );
        let (name, list) = addresses(0xff1c_1122_3344_5501, 0x34_f65e_212f).unwrap();
        assert_eq!(name, "adhoc-28.0.0.0");
        assert_eq!(list, ["fccc:5844:2334:f65e:212f::1/40", "28.94.33.47/8"]);
    }

    #[test]
    fn other_ids_describe_nothing() {
        for network in [
            0xff00_1700_1600_0000,
            0xff00_1122_3344_5502,
            0x8056_c2e2_1c00_0001,
        ] {
            assert_eq!(addresses(network, 0x11_2233_4455), None, "{network:x}");
        }
    }
}
