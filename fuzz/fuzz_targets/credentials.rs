//! Each kind of credential; the first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_fuzz::round_trip;
use zt_protocol::credential::{
    Capability, CertificateOfMembership, CertificateOfOwnership, Revocation, Tag,
};
use zt_protocol::wire::Reader;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    match kind % 5 {
        0 => round_trip(bytes, |bytes| CertificateOfMembership::parse(bytes)),
        1 => round_trip(bytes, |bytes| {
            let capability = Capability::read(&mut Reader::new(bytes, "capability"))?;
            capability.rules();
            capability.verify(|_| None);
            Ok(capability)
        }),
        2 => round_trip(bytes, |bytes| Tag::read(&mut Reader::new(bytes, "tag"))),
        3 => round_trip(bytes, |bytes| {
            CertificateOfOwnership::read(&mut Reader::new(bytes, "certificate of ownership"))
        }),
        _ => round_trip(bytes, |bytes| {
            Revocation::read(&mut Reader::new(bytes, "revocation"))
        }),
    }
});
