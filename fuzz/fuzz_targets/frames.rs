//! Frames from the LAN to a host that listens: ARP, IPv4, IPv6, ICMP, TCP, UDP, groups, echo. Nothing may panic.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use zt_netstack::{
    Burst, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FrameSink, Host, HostConfig, Instant,
    ListenAddr, SendOptions, Sharing, Taken,
};

/// Makes every packet of a burst, as the owner of a host does, and forgets it.
struct Nowhere;

impl FrameSink for Nowhere {
    fn ready(&self) -> bool {
        true
    }

    fn frame(&mut self, _dst: [u8; 6], _ethertype: u16, _payload: &[u8]) {}

    fn burst(&mut self, _dst: [u8; 6], _ethertype: u16, burst: &Burst<'_>) {
        for index in 0..burst.count() {
            burst.write(index, &mut vec![0; burst.len(index)]);
        }
    }
}

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

fuzz_target!(|frames: Vec<(u8, Vec<u8>)>| {
    let config = HostConfig {
        mac: OURS,
        mtu: 2800,
        addresses: vec![
            ("10.0.0.1".parse().expect("address"), 24),
            ("fd00::1".parse().expect("address"), 64),
        ],
        routes: vec![],
    };
    let mut host = Host::new(config, 7);
    let any = ListenAddr { ip: None, port: 80 };
    let _ = host.listen(any, 16);
    let (udp, _) = host.udp_bind(any, Sharing::default()).expect("a free port");
    host.udp_keep_losses(udp, true);
    let group = "224.0.0.251".parse().expect("group");
    host.multicast_join(udp, group).expect("joined");
    let echo = ListenAddr {
        ip: Some("0.0.0.0".parse().expect("address")),
        port: 80,
    };
    let (echo, _) = host.echo_bind(echo).expect("a free identifier");
    host.udp_keep_losses(echo, true);
    let sockets = [
        (udp, "10.0.0.2:80", &b"a datagram"[..]),
        (echo, "10.0.0.2:0", &[8, 0, 0, 0, 0, 80, 0, 1]),
    ];
    let mut now = Instant(0);
    for (id, to, payload) in sockets {
        let to = to.parse().expect("address");
        let _ = host.udp_send(now, id, None, to, payload, SendOptions::default());
    }
    for (kind, payload) in &frames {
        let ethertype = [ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_ARP][usize::from(kind % 3)];
        host.handle_frame(now, THEIRS, OURS, ethertype, payload);
        now = now + Duration::from_millis(u64::from(kind / 3));
        host.handle_timeout(now);
        while host.poll_event().is_some() {}
        for (id, ..) in sockets {
            host.udp_receive(id, |_| Taken::Yes);
            while host.udp_take_loss(id).is_some() {}
        }
        host.poll_transmit(now, &mut Nowhere);
    }
});
