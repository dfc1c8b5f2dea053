//! Identities in binary and in text form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_fuzz::round_trip;
use zt_protocol::{Identity, SecretIdentity};

fuzz_target!(|data: &[u8]| {
    round_trip(data, Identity::parse);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(identity) = text.parse::<Identity>() {
        assert_eq!(identity.to_string().parse(), Ok(identity));
    }
    if let Ok(secret) = text.parse::<SecretIdentity>() {
        let again: SecretIdentity = secret
            .to_secret_text()
            .parse()
            .expect("written text parses");
        assert_eq!(again.public(), secret.public());
    }
});
