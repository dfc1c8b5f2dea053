//! Conversations between hosts: how connections begin, carry bytes and end.

use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::{Conditions, Frame, Wire, ip, ip6, mac, read, write};
use zt_netstack::{
    ConnectError, ConnectFailure, FlowState, Host, HostEvent, ListenAddr, ListenError, ResetReason,
};

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn wire() -> Wire {
    Wire::new(2, 1, Conditions::default())
}

fn at(host: usize, port: u16) -> SocketAddr {
    SocketAddr::new(ip(host), port)
}

#[test]
fn bytes_are_echoed() {
    let mut wire = wire();
    let (client, server) = wire.pair(7);
    assert_eq!(write(&mut wire.hosts[0], client, b"hello"), 5);
    let mut answer = Vec::new();
    wire.run(seconds(1), |host, i, event| match event {
        HostEvent::Readable(flow) if i == 1 => {
            assert_eq!(flow, server);
            let bytes = read(host, flow);
            write(host, flow, &bytes);
        }
        HostEvent::Readable(flow) => answer.extend(read(host, flow)),
        _ => {}
    });
    assert_eq!(answer, b"hello");
    let flow = wire.hosts[1].flow(server).expect("a flow");
    assert_eq!(flow.local(), at(1, 7));
    assert_eq!(flow.remote().ip(), ip(0));
    assert_eq!(flow.info().state, FlowState::Open);
    let tally = flow.info().tally;
    assert_eq!((tally.written, tally.received), (5, 5));
    assert_eq!((tally.data_segments_out, tally.data_segments_in), (1, 1));
    assert!(tally.segments_out >= 2 && tally.segments_in >= 2);
    assert_eq!(tally.repeated, 0);
}

#[test]
fn what_is_sent_again_is_counted() {
    let mut wire = wire();
    let (client, server) = wire.pair(7);
    let mut lost = false;
    wire.filter = Some(Box::new(move |frame| {
        let first = !lost && frame.payload.ends_with(b"hello");
        lost |= first;
        !first
    }));
    assert_eq!(write(&mut wire.hosts[0], client, b"hello"), 5);
    wire.idle(seconds(5));
    let tally = |host: &mut Host, flow| host.flow(flow).expect("a flow").info().tally;
    let sender = tally(&mut wire.hosts[0], client);
    assert!(sender.repeated >= 1, "{sender:?}");
    assert_eq!(sender.data_segments_out, 1 + sender.repeated);
    assert_eq!(sender.written, 5);
    assert_eq!(tally(&mut wire.hosts[1], server).received, 5);
}

#[test]
fn ipv6_works_alike() {
    let mut wire = wire();
    wire.listen(1, 7, 1);
    let client = wire.connect(0, SocketAddr::new(ip6(1), 7));
    let sent: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
    let mut received = Vec::new();
    wire.run(seconds(1), |host, _, event| match event {
        HostEvent::Connected(flow) => {
            assert_eq!(write(host, flow, &sent), sent.len());
        }
        HostEvent::Readable(flow) => received.extend(read(host, flow)),
        _ => {}
    });
    assert!(received == sent);
    assert_eq!(
        wire.hosts[0].flow(client).expect("a flow").local().ip(),
        ip6(0)
    );
}

#[test]
fn a_closed_port_refuses_at_once() {
    let mut wire = wire();
    let began = wire.now;
    let client = wire.connect(0, at(1, 81));
    wire.idle(seconds(1));
    let [(0, when, event)] = wire.log[..] else {
        panic!("{:?}", wire.log)
    };
    assert_eq!(
        event,
        HostEvent::ConnectFailed(client, ConnectFailure::Refused)
    );
    assert!(when.saturating_since(began) < Duration::from_millis(1));
    wire.hosts[0]
        .flow(client)
        .expect("still the owner's")
        .close();
    assert_eq!(wire.hosts[0].flow_count(), 0);
}

#[test]
fn an_absent_host_is_unreachable_after_three_seconds() {
    let mut wire = wire();
    let began = wire.now;
    let client = wire.connect(0, at(9, 80));
    wire.idle(seconds(10));
    let [(0, when, event)] = wire.log[..] else {
        panic!("{:?}", wire.log)
    };
    assert_eq!(
        event,
        HostEvent::ConnectFailed(client, ConnectFailure::Unreachable)
    );
    assert_eq!(when.saturating_since(began), seconds(3));
}

#[test]
fn a_silent_host_times_out_as_late_as_on_linux() {
    let mut wire = wire();
    let (mut syns, start) = (Vec::new(), wire.now);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(0));
    let count = seen.clone();
    // ARP passes, TCP does not.
    wire.filter = Some(Box::new(move |frame: &Frame| {
        *count.borrow_mut() += u32::from(frame.ethertype == 0x0800);
        frame.ethertype == 0x0806
    }));
    let client = wire.connect(0, at(1, 80));
    let mut before = 0;
    while wire.log.is_empty() {
        assert!(wire.step(start + seconds(200), &mut |_, _, _| ()));
        wire.transmit();
        if *seen.borrow() != before {
            before = *seen.borrow();
            syns.push(wire.now.saturating_since(start).as_secs());
        }
    }
    let (_, when, event) = wire.log[0];
    assert_eq!(
        event,
        HostEvent::ConnectFailed(client, ConnectFailure::TimedOut)
    );
    assert_eq!(when.saturating_since(start), seconds(127));
    assert_eq!(syns[..6], [0, 1, 3, 7, 15, 31]);
}

#[test]
fn connecting_without_a_route_or_address_fails_at_once() {
    let mut wire = wire();
    let now = wire.now;
    let host = &mut wire.hosts[0];
    let elsewhere: SocketAddr = "8.8.8.8:53".parse().expect("an address");
    assert_eq!(
        host.connect(now, elsewhere, None),
        Err(ConnectError::NoRoute)
    );
    assert!(!host.routes_to(elsewhere.ip()));
    assert!(host.routes_to(ip(9)));
    assert_eq!(
        host.connect(now, at(1, 0), None),
        Err(ConnectError::Invalid)
    );
    assert_eq!(
        host.connect(now, at(1, 80), Some(at(5, 0))),
        Err(ConnectError::AddrNotAvailable)
    );
    let first = host.connect(now, at(1, 80), Some(at(0, 4000)));
    assert!(first.is_ok());
    assert_eq!(
        host.connect(now, at(1, 80), Some(at(0, 4000))),
        Err(ConnectError::AddrInUse)
    );
    assert!(host.connect(now, at(1, 81), Some(at(0, 4000))).is_ok());
}

#[test]
fn a_bound_port_refuses_until_it_listens() {
    let mut wire = wire();
    let (listener, _) = wire.hosts[1]
        .bind(ListenAddr { ip: None, port: 80 })
        .expect("a free port");
    let refused = wire.connect(0, at(1, 80));
    wire.idle(seconds(1));
    wire.hosts[1].set_backlog(listener, 1);
    let accepted = wire.connect(0, at(1, 80));
    wire.idle(seconds(1));
    assert_eq!(
        wire.events(0),
        [
            HostEvent::ConnectFailed(refused, ConnectFailure::Refused),
            HostEvent::Connected(accepted)
        ]
    );
}

#[test]
fn a_port_has_one_listener() {
    let mut wire = wire();
    let host = &mut wire.hosts[0];
    let any = |port| ListenAddr { ip: None, port };
    let (listener, bound) = host.listen(any(0), 5).expect("a free port");
    assert_ne!(bound.port(), 0);
    assert_eq!(
        host.listen(any(bound.port()), 5),
        Err(ListenError::AddrInUse)
    );
    assert_eq!(
        host.listen(
            ListenAddr {
                ip: Some(ip(7)),
                port: 1
            },
            5
        ),
        Err(ListenError::AddrNotAvailable)
    );
    host.unlisten(listener);
    assert!(host.listen(any(bound.port()), 5).is_ok());
}

#[test]
fn the_client_may_finish_first_and_still_get_its_answer() {
    let mut wire = wire();
    let (client, server) = wire.pair(80);
    write(&mut wire.hosts[0], client, b"request");
    wire.hosts[0].flow(client).expect("a flow").finish();
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    wire.run(seconds(5), |host, i, event| match event {
        HostEvent::Readable(flow) if i == 1 => request.extend(read(host, flow)),
        HostEvent::RemoteFinished(flow) if i == 1 => {
            assert!(host.flow(flow).expect("a flow").at_end());
            write(host, flow, b"answer");
            host.flow(flow).expect("a flow").close();
        }
        HostEvent::Readable(flow) => answer.extend(read(host, flow)),
        _ => {}
    });
    assert_eq!(
        (&request[..], &answer[..]),
        (&b"request"[..], &b"answer"[..])
    );
    assert_eq!(
        wire.events(0),
        [
            HostEvent::Readable(client),
            HostEvent::RemoteFinished(client),
            HostEvent::Closed(client)
        ]
    );
    assert!(wire.hosts[1].flow(server).is_none());
    wire.hosts[0].flow(client).expect("a flow").close();
    wire.idle(seconds(5));
    assert_eq!(
        (wire.hosts[0].flow_count(), wire.hosts[1].flow_count()),
        (0, 0)
    );
}

#[test]
fn the_server_may_finish_first_and_still_be_sent_to() {
    let mut wire = wire();
    let (client, server) = wire.pair(80);
    wire.hosts[1].flow(server).expect("a flow").finish();
    wire.idle(seconds(1));
    assert_eq!(wire.events(0), [HostEvent::RemoteFinished(client)]);
    write(&mut wire.hosts[0], client, &[5; 300_000]);
    wire.hosts[0].flow(client).expect("a flow").finish();
    let mut got = 0;
    wire.run(seconds(5), |host, _, event| {
        if let HostEvent::Readable(flow) = event {
            got += read(host, flow).len();
        }
    });
    assert_eq!(got, 300_000);
    assert!(wire.events(1).contains(&HostEvent::Closed(server)));
    assert!(wire.events(0).contains(&HostEvent::Closed(client)));
}

#[test]
fn an_abort_is_a_reset_at_the_peer_and_what_came_before_can_be_read() {
    let mut wire = wire();
    let (client, server) = wire.pair(80);
    write(&mut wire.hosts[1], server, b"last words");
    wire.idle(seconds(1));
    wire.hosts[1].flow(server).expect("a flow").abort();
    wire.idle(seconds(1));
    assert_eq!(
        wire.events(0),
        [
            HostEvent::Readable(client),
            HostEvent::Reset(client, ResetReason::Peer)
        ]
    );
    assert_eq!(read(&mut wire.hosts[0], client), b"last words");
    assert_eq!(write(&mut wire.hosts[0], client, b"x"), 0);
    wire.hosts[0].flow(client).expect("a flow").close();
    assert_eq!(
        (wire.hosts[0].flow_count(), wire.hosts[1].flow_count()),
        (0, 0)
    );
}

#[test]
fn closing_with_unread_bytes_is_a_reset() {
    let mut wire = wire();
    let (client, server) = wire.pair(80);
    write(&mut wire.hosts[0], client, b"nobody reads this");
    wire.idle(seconds(1));
    wire.hosts[1].flow(server).expect("a flow").close();
    wire.idle(seconds(1));
    assert_eq!(
        wire.events(0),
        [HostEvent::Reset(client, ResetReason::Peer)]
    );
}

#[test]
fn bytes_for_a_program_that_is_gone_are_answered_with_a_reset() {
    let mut wire = wire();
    let (client, server) = wire.pair(80);
    wire.hosts[1].flow(server).expect("a flow").close();
    wire.idle(seconds(1));
    write(&mut wire.hosts[0], client, b"are you there");
    wire.idle(seconds(1));
    assert_eq!(
        wire.events(0),
        [
            HostEvent::RemoteFinished(client),
            HostEvent::Reset(client, ResetReason::Peer)
        ]
    );
    assert_eq!(wire.hosts[1].flow_count(), 0);
}

#[test]
fn queued_bytes_are_delivered_after_close() {
    let mut wire = wire();
    let (client, server) = wire.pair(80);
    assert_eq!(write(&mut wire.hosts[0], client, &[9; 500_000]), 500_000);
    wire.hosts[0].flow(client).expect("a flow").close();
    let mut got = 0;
    wire.run(seconds(5), |host, _, event| {
        if let HostEvent::Readable(flow) = event {
            got += read(host, flow).len();
        }
    });
    assert_eq!(got, 500_000);
    wire.hosts[1].flow(server).expect("a flow").close();
    wire.idle(seconds(5));
    // The side that finished first rests in TIME-WAIT, without a flow.
    assert_eq!(
        (wire.hosts[0].flow_count(), wire.hosts[1].flow_count()),
        (0, 0)
    );
}

#[test]
fn unread_bytes_survive_the_end_of_the_connection_however_long_it_takes() {
    let mut wire = wire();
    let (client, server) = wire.pair(80);
    write(&mut wire.hosts[1], server, &[3; 40_000]);
    wire.hosts[1].flow(server).expect("a flow").close();
    wire.hosts[0].flow(client).expect("a flow").finish();
    wire.idle(seconds(300));
    assert_eq!(read(&mut wire.hosts[0], client), [3; 40_000]);
    assert!(wire.hosts[0].flow(client).expect("a flow").at_end());
    wire.hosts[0].flow(client).expect("a flow").close();
    wire.idle(seconds(1));
    assert_eq!(wire.hosts[0].flow_count(), 0);
}

#[test]
fn the_backlog_is_bounded_and_drains() {
    let mut wire = wire();
    wire.listen(1, 80, 3);
    let clients: Vec<_> = (0..200).map(|_| wire.connect(0, at(1, 80))).collect();
    // Nobody takes events: the accept queue of the program is full.
    let until = wire.now + seconds(20);
    while wire.step_some(until, &[0], &mut |_, _, _| ()) {}
    assert_eq!(wire.hosts[1].counters().accepted, 128);
    // As soon as they are taken, the repeated SYNs get through.
    let mut accepted = 0;
    wire.run(seconds(120), |_, _, event| {
        accepted += u32::from(matches!(event, HostEvent::Accepted { .. }))
    });
    assert_eq!(accepted as usize, clients.len());
}

#[test]
fn a_full_listener_answers_no_syn() {
    let mut wire = wire();
    let listener = wire.listen(1, 80, 10);
    wire.hosts[1].set_listener_full(listener, true);
    let client = wire.connect(0, at(1, 80));
    wire.idle(seconds(2));
    assert_eq!(wire.log, []);
    wire.hosts[1].set_listener_full(listener, false);
    wire.idle(seconds(3));
    assert_eq!(wire.events(0), [HostEvent::Connected(client)]);
}

#[test]
fn unlisten_resets_who_was_not_reported() {
    let mut wire = wire();
    let listener = wire.listen(1, 80, 10);
    let client = wire.connect(0, at(1, 80));
    let until = wire.now + seconds(1);
    while wire.step_some(until, &[0], &mut |_, _, _| ()) {}
    wire.hosts[1].unlisten(listener);
    wire.idle(seconds(1));
    assert_eq!(
        wire.events(0),
        [
            HostEvent::Connected(client),
            HostEvent::Reset(client, ResetReason::Peer)
        ]
    );
    assert_eq!(wire.hosts[1].flow_count(), 0);
}

#[test]
fn a_dead_peer_is_noticed_by_keepalive() {
    let mut wire = wire();
    let (client, _) = wire.pair(80);
    let keepalive = zt_netstack::KeepAlive {
        idle: seconds(10),
        interval: seconds(2),
        count: 3,
    };
    wire.hosts[0]
        .flow(client)
        .expect("a flow")
        .set_keepalive(Some(keepalive));
    wire.idle(seconds(100));
    assert_eq!(wire.log, [], "a living peer answers");
    let cut = wire.now;
    wire.filter = Some(Box::new(|frame: &Frame| frame.src == mac(0)));
    wire.idle(seconds(100));
    let [(0, when, event), ..] = wire.log[..] else {
        panic!("{:?}", wire.log)
    };
    assert_eq!(event, HostEvent::Reset(client, ResetReason::TimedOut));
    let took = when.saturating_since(cut);
    assert!(took > seconds(6) && took <= seconds(26), "{took:?}");
}

#[test]
fn bytes_that_nobody_acknowledges_end_the_flow_after_a_quarter_of_an_hour() {
    let mut wire = wire();
    let (client, _) = wire.pair(80);
    wire.idle(seconds(3600));
    wire.filter = Some(Box::new(|_: &Frame| false));
    write(&mut wire.hosts[0], client, b"hello?");
    let cut = wire.now;
    wire.idle(seconds(2000));
    let [(0, when, event)] = wire.log[..] else {
        panic!("{:?}", wire.log)
    };
    assert_eq!(event, HostEvent::Reset(client, ResetReason::TimedOut));
    assert_eq!(when.saturating_since(cut).as_secs(), 924);
}

#[test]
fn an_icmp_error_ends_a_connect() {
    let mut wire = wire();
    // Host 1 is replaced by a router that says no.
    let client = wire.connect(0, at(1, 80));
    let syn = std::rc::Rc::new(std::cell::RefCell::new(None));
    let kept = syn.clone();
    wire.filter = Some(Box::new(move |frame: &Frame| {
        if frame.ethertype == 0x0800 && frame.src == mac(0) {
            kept.borrow_mut()
                .get_or_insert_with(|| frame.payload.clone());
            return false;
        }
        true
    }));
    wire.idle(Duration::from_millis(10));
    let syn = syn.borrow_mut().take().expect("a SYN");
    let mut error = vec![
        0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1,
    ];
    error.extend([3, 1, 0, 0, 0, 0, 0, 0]);
    error.extend(&syn[..28]);
    let len = (error.len() as u16).to_be_bytes();
    error[2..4].copy_from_slice(&len);
    let sum = checksum(&error[..20]);
    error[10..12].copy_from_slice(&sum);
    let sum = checksum(&error[20..]);
    error[22..24].copy_from_slice(&sum);
    wire.inject(Frame {
        src: mac(1),
        dst: mac(0),
        ethertype: 0x0800,
        payload: error,
    });
    wire.idle(Duration::from_millis(10));
    assert_eq!(
        wire.events(0),
        [HostEvent::ConnectFailed(
            client,
            ConnectFailure::Unreachable
        )]
    );
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[test]
fn a_host_reaches_itself() {
    let mut wire = wire();
    wire.listen(0, 80, 5);
    let client = wire.connect(0, at(0, 80));
    let sent = vec![7; 3_000_000];
    let (mut written, mut got) = (0, 0);
    wire.run(seconds(5), |host, _, event| match event {
        HostEvent::Connected(flow) | HostEvent::Writable(flow) => {
            written += write(host, flow, &sent[written..])
        }
        HostEvent::Readable(flow) => got += read(host, flow).len(),
        _ => {}
    });
    assert_eq!(got, sent.len());
    let refused = wire.connect(0, at(0, 81));
    wire.idle(seconds(1));
    assert!(
        wire.events(0)
            .contains(&HostEvent::ConnectFailed(refused, ConnectFailure::Refused))
    );
    assert!(wire.hosts[0].flow(client).is_some());
}

#[test]
fn ports_in_time_wait_are_reopened_by_the_peer() {
    let mut wire = wire();
    wire.listen(1, 80, 5);
    for round in 0..5 {
        let now = wire.now;
        let client = wire.hosts[0]
            .connect(now, at(1, 80), Some(at(0, 5000)))
            .expect("a port");
        let mut server = None;
        wire.run(seconds(4), |host, i, event| match event {
            // The server closes first and rests.
            HostEvent::Accepted { flow, .. } => {
                server = Some(flow);
                host.flow(flow).expect("a flow").close();
            }
            HostEvent::RemoteFinished(flow) if i == 0 => host.flow(flow).expect("a flow").close(),
            _ => {}
        });
        assert!(server.is_some(), "round {round}");
        assert!(wire.hosts[0].flow(client).is_none());
        assert_eq!(wire.hosts[0].flow_count(), 0);
    }
}

/// A host that vanished without a word connects again as it did before: its peer still holds the old connection.
#[test]
fn a_host_that_comes_back_gets_through_from_the_same_port() {
    for established in [true, false] {
        let mut wire = wire();
        wire.listen(1, 7, 8);
        let connect = |wire: &mut Wire| {
            let now = wire.now;
            let flow = wire.hosts[0].connect(now, at(1, 7), Some(at(0, 40_000)));
            let flow = flow.expect("a way");
            wire.log.clear();
            flow
        };
        let first = connect(&mut wire);
        if established {
            wire.idle(seconds(1));
            assert!(
                wire.log
                    .contains(&(0, wire.log[0].1, HostEvent::Connected(first)))
            );
        } else {
            wire.idle(Duration::from_millis(1));
        }
        wire.hosts[0] = zt_netstack::Host::new(crate::wire::config(0), 99);
        wire.idle(seconds(3));
        let again = connect(&mut wire);
        wire.idle(seconds(5));
        let log = &wire.log;
        let connected =
            |it: &&(usize, _, HostEvent)| (it.0, it.2) == (0, HostEvent::Connected(again));
        assert!(
            log.iter().find(connected).is_some(),
            "{established}: {log:?}"
        );
    }
}

/// Its programs need a moment to listen again: who connects meanwhile waits and is not refused.
#[test]
fn a_host_that_comes_back_refuses_nobody_at_first() {
    let mut wire = wire();
    let everything = crate::wire::config(1);
    let nothing = zt_netstack::HostConfig {
        addresses: Vec::new(),
        routes: Vec::new(),
        ..everything.clone()
    };
    let now = wire.now;
    wire.hosts[1] = zt_netstack::Host::new(nothing, 99);
    wire.hosts[1].returns();
    wire.hosts[1].configure(now, everything);
    let (early, never) = (wire.connect(0, at(1, 7)), wire.connect(0, at(1, 9)));
    wire.idle(Duration::from_millis(500));
    wire.listen(1, 7, 8);
    wire.idle(seconds(5));
    let events = wire.events(0);
    assert!(events.contains(&HostEvent::Connected(early)), "{events:?}");
    let refused = HostEvent::ConnectFailed(never, ConnectFailure::Refused);
    assert!(events.contains(&refused), "{events:?}");
    let late = wire.connect(0, at(1, 9));
    let asked = wire.now;
    wire.idle(seconds(5));
    let (_, when, event) = wire.log[wire.log.len() - 1];
    assert_eq!(
        event,
        HostEvent::ConnectFailed(late, ConnectFailure::Refused)
    );
    assert!(when.saturating_since(asked) < Duration::from_millis(1));
}

/// A service that starts again must not use the ports of its last life in the same order.
#[test]
fn a_host_begins_with_any_of_the_free_ports() {
    let first_port = |seed| {
        let mut wire = Wire::new(2, seed, Conditions::default());
        wire.listen(1, 7, 8);
        let flow = wire.connect(0, at(1, 7));
        wire.hosts[0].flow(flow).expect("a flow").local().port()
    };
    let ports: std::collections::BTreeSet<u16> = (0..100).map(first_port).collect();
    assert!(ports.len() > 90, "{ports:?}");
}
