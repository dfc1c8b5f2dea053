//! Many flows at once, and many after each other.

use std::net::SocketAddr;
use std::time::Duration;

use zt_netstack::{FlowId, HostEvent};

use crate::wire::{Conditions, Wire, ip, read, write};

#[test]
fn ten_thousand_flows_live_together() {
    const FLOWS: usize = 10_000;
    let mut wire = Wire::new(
        2,
        1,
        Conditions {
            queue: usize::MAX,
            ..Conditions::default()
        },
    );
    wire.listen(1, 80, FLOWS);
    let mut clients: Vec<FlowId> = Vec::new();
    for chunk in 0..FLOWS / 100 {
        clients.extend((0..100).map(|_| wire.connect(0, SocketAddr::new(ip(1), 80))));
        wire.idle(Duration::from_millis(5));
        assert_eq!(wire.hosts[1].flow_count(), (chunk + 1) * 100);
    }
    assert_eq!(wire.log.len(), 2 * FLOWS);
    wire.log.clear();
    for client in &clients {
        assert_eq!(write(&mut wire.hosts[0], *client, b"ping"), 4);
    }
    let mut answered = 0;
    wire.run(Duration::from_secs(1), |host, i, event| match event {
        HostEvent::Readable(flow) if i == 1 => {
            let bytes = read(host, flow);
            write(host, flow, &bytes);
        }
        HostEvent::Readable(flow) => {
            assert_eq!(read(host, flow), b"ping");
            answered += 1;
        }
        _ => {}
    });
    assert_eq!(answered, FLOWS);
    for client in clients {
        wire.hosts[0].flow(client).expect("a flow").close();
    }
    wire.run(Duration::from_secs(10), |host, _, event| {
        if let HostEvent::RemoteFinished(flow) = event {
            host.flow(flow).expect("a flow").close();
        }
    });
    assert_eq!(
        (wire.hosts[0].flow_count(), wire.hosts[1].flow_count()),
        (0, 0)
    );
}

#[test]
fn twenty_thousand_short_connections_follow_each_other() {
    const CONNECTIONS: usize = 20_000;
    let mut wire = Wire::new(2, 1, Conditions::default());
    wire.listen(1, 80, 100);
    let (mut begun, mut done) = (0, 0);
    while done < CONNECTIONS {
        let now = wire.now;
        while begun < CONNECTIONS && begun - done < 100 {
            wire.hosts[0]
                .connect(now, SocketAddr::new(ip(1), 80), None)
                .expect("a port");
            begun += 1;
        }
        let before = done;
        wire.run_until(
            Duration::from_secs(1),
            |host, i, event| match (i, event) {
                (0, HostEvent::Connected(flow)) => {
                    write(host, flow, b"GET / HTTP/1.0\r\n\r\n");
                }
                (1, HostEvent::Readable(flow)) => {
                    read(host, flow);
                    write(host, flow, &[b'x'; 600]);
                    host.flow(flow).expect("a flow").close();
                }
                (0, HostEvent::RemoteFinished(flow)) => {
                    assert_eq!(read(host, flow).len(), 600);
                    host.flow(flow).expect("a flow").close();
                    done += 1;
                }
                (0, HostEvent::ConnectFailed(..) | HostEvent::Reset(..)) => panic!("{event:?}"),
                _ => {}
            },
            |wire| {
                wire.log
                    .iter()
                    .any(|(i, _, event)| *i == 0 && matches!(event, HostEvent::RemoteFinished(_)))
            },
        );
        wire.log.clear();
        assert!(done > before);
    }
    wire.idle(Duration::from_secs(5));
    assert_eq!(
        (wire.hosts[0].flow_count(), wire.hosts[1].flow_count()),
        (0, 0)
    );
}

#[test]
fn half_open_connections_are_bounded_and_go_away() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    wire.listen(1, 80, 10_000);
    // A flood from ports that never answer.
    wire.filter = Some(Box::new(|frame| {
        frame.dst != crate::wire::mac(0) || frame.ethertype == 0x0806
    }));
    for port in 1..6000u16 {
        let now = wire.now;
        let local = Some(SocketAddr::new(ip(0), port));
        wire.hosts[0]
            .connect(now, SocketAddr::new(ip(1), 80), local)
            .expect("a port");
    }
    wire.idle(Duration::from_millis(500));
    assert_eq!(wire.hosts[1].flow_count(), 4096);
    assert!(wire.hosts[1].counters().backlog_full > 0);
    wire.filter = Some(Box::new(|_| false));
    wire.idle(Duration::from_secs(200));
    assert_eq!(wire.hosts[1].flow_count(), 0);
}
