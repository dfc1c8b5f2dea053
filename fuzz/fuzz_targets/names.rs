//! DNS messages of neighbours and servers: parsed, written again, and taken in by a host that has a name.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use zt_netstack::Instant;
use zt_netstack::names::{Message, Names, PORT, Question};

fuzz_target!(|data: &[u8]| {
    if let Ok(message) = Message::parse(data) {
        assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
    }
    let own: IpAddr = [10, 0, 0, 1].into();
    let peer = SocketAddr::from(([10, 0, 0, 2], PORT));
    let mut names = Names::new(1);
    names.set_addresses(Instant(0), &[(own, 24)]);
    names.set_servers("example".parse().ok(), vec![peer.ip()]);
    names.publish(Instant(0), Some("web".to_owned()));
    for name in ["db.local", "db.example"] {
        if let Ok(name) = name.parse() {
            let (v4, v6) = (true, true);
            names.ask(Instant(0), Question::Addresses { name, v4, v6 });
        }
    }
    let mut now = Instant(0);
    for second in 0..3 {
        now = Instant(second * 1_000_000);
        names.handle_timeout(now);
        names.handle_multicast(now, peer, data);
        names.handle_answer(now, SocketAddr::new(peer.ip(), 53), data);
    }
    names.handle_timeout(now);
    while let Some(letter) = names.poll_transmit() {
        assert!(Message::parse(&letter.payload).is_ok());
    }
    assert!(names.deadline().is_none_or(|deadline| deadline > now));
});
