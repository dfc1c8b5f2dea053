//! A packet's body after opening: the first byte is the verb byte, the rest is what an
//! authenticated but hostile peer may send under it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_fuzz::{round_trip, round_trip_borrowed};
use zt_protocol::packet::{Datagram, MAX_BODY, compress, decompress};
use zt_protocol::verb::{
    ConfigChunk, ErrorReply, ExtFrame, Frame, Hello, MulticastFrame, MulticastGather,
    MulticastLike, NetworkConfigRequest, NetworkCredentials, OkHello, OkMulticastFrame,
    OkMulticastGather, OkNetworkConfig, PushDirectPaths, Rendezvous, Reply, UnwantedMulticast,
    whois_addresses, whois_identities,
};
use zt_protocol::{Dictionary, Emit, Verb};

fuzz_target!(|data: &[u8]| {
    let _ = Datagram::classify(data);
    let Some((&verb, body)) = data.split_first() else {
        return;
    };
    let mut whole = vec![0; MAX_BODY];
    let body = match verb & 0x80 {
        0 => body,
        _ => match decompress(body, &mut whole) {
            Ok(length) => &whole[..length],
            Err(_) => return,
        },
    };
    if let Some(block) = compress(body) {
        let mut again = vec![0; MAX_BODY];
        assert_eq!(decompress(&block, &mut again), Ok(body.len()));
    }
    match Verb::from_byte(verb) {
        Verb::HELLO => round_trip_borrowed!(body, Hello::parse),
        Verb::OK => ok(body),
        Verb::ERROR => {
            round_trip_borrowed!(body, ErrorReply::parse);
            if let Ok(error) = ErrorReply::parse(body) {
                let _ = error.network();
                round_trip(error.payload, UnwantedMulticast::parse);
            }
        }
        Verb::WHOIS => assert!(whois_addresses(body).count() <= body.len()),
        Verb::RENDEZVOUS => round_trip(body, Rendezvous::parse),
        Verb::FRAME => round_trip_borrowed!(body, Frame::parse),
        Verb::EXT_FRAME => round_trip_borrowed!(body, ExtFrame::parse),
        Verb::MULTICAST_LIKE => assert!(MulticastLike::parse_all(body).count() <= body.len()),
        Verb::NETWORK_CREDENTIALS => round_trip(body, NetworkCredentials::parse),
        Verb::NETWORK_CONFIG_REQUEST => {
            if let Ok(request) = NetworkConfigRequest::parse(body) {
                Dictionary::parse(request.metadata);
            }
            round_trip_borrowed!(body, NetworkConfigRequest::parse);
        }
        Verb::NETWORK_CONFIG => round_trip_borrowed!(body, ConfigChunk::parse),
        Verb::MULTICAST_GATHER => round_trip(body, MulticastGather::parse),
        Verb::MULTICAST_FRAME => round_trip_borrowed!(body, MulticastFrame::parse),
        Verb::PUSH_DIRECT_PATHS => round_trip(body, PushDirectPaths::parse),
        _ => {}
    }
});

fn ok(body: &[u8]) {
    round_trip_borrowed!(body, Reply::parse);
    let Ok(reply) = Reply::parse(body) else {
        return;
    };
    let payload = reply.payload;
    match reply.verb {
        Verb::HELLO => round_trip_borrowed!(payload, OkHello::parse),
        Verb::WHOIS => assert!(whois_identities(payload).count() <= payload.len()),
        Verb::NETWORK_CONFIG_REQUEST => round_trip_borrowed!(payload, ConfigChunk::parse),
        Verb::ECHO => round_trip(payload, OkNetworkConfig::parse),
        Verb::MULTICAST_GATHER => round_trip(payload, OkMulticastGather::parse),
        Verb::MULTICAST_FRAME => round_trip(payload, OkMulticastFrame::parse),
        _ => {}
    }
}
