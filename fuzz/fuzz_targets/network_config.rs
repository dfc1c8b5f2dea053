//! Network configurations, as a controller may send them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_protocol::rule::{Frame, NoEvidence, evaluate};
use zt_protocol::{Address, Emit, Mac, NetworkConfig};

fuzz_target!(|data: &[u8]| {
    let Ok(config) = NetworkConfig::parse(data) else {
        return;
    };
    let again = NetworkConfig::parse(&config.to_dictionary().to_bytes());
    let again = again.expect("what was written parses");
    assert_eq!(again.rules, config.rules);
    assert_eq!(again.addresses, config.addresses);
    // Its rules are applied to whatever comes: here to the configuration itself.
    for ethertype in [0x0800, 0x0806, 0x86dd] {
        let frame = Frame {
            inbound: true,
            own: config.issued_to,
            source_node: Address::new(1),
            destination_node: config.issued_to,
            source: Mac::of(Address::new(1), config.network),
            destination: Mac::of(config.issued_to, config.network),
            ethertype,
            payload: data,
        };
        evaluate(
            &config.rules,
            &frame,
            config.has(NetworkConfig::UNKNOWN_MATCHES_HOLD),
            &NoEvidence,
        );
    }
});
