use std::time::{Duration, Instant};

use super::*;

fn edge(offload: bool) -> UdpEdge {
    UdpEdge::open(&UdpConfig {
        port: 0,
        secondary_port: None,
        offload,
    })
    .unwrap()
}

fn loopback(edge: &UdpEdge, v6: bool) -> SocketAddr {
    let ip: IpAddr = if v6 { "::1" } else { "127.0.0.1" }.parse().unwrap();
    (ip, edge.primary_port()).into()
}

fn index_of(edge: &UdpEdge, v6: bool) -> Option<usize> {
    edge.sockets.iter().position(|socket| socket.v6 == v6)
}

/// Receives until `count` datagrams are there, as (id, remote, bytes).
fn collect(edge: &mut UdpEdge, v6: bool, count: usize) -> Vec<(SocketId, SocketAddr, Vec<u8>)> {
    let socket = index_of(edge, v6).unwrap();
    let mut got = Vec::new();
    let end = Instant::now() + Duration::from_secs(5);
    while got.len() < count && Instant::now() < end {
        match edge.receive(socket, |id, remote, bytes| {
            got.push((id, remote, bytes.to_vec()))
        }) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    got
}

fn batch_of(count: usize, size: usize, last: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|i| vec![i as u8; if i + 1 == count { last } else { size }])
        .collect()
}

fn send_all(
    from: &mut UdpEdge,
    local: Option<SocketId>,
    remote: SocketAddr,
    size: usize,
    datagrams: &[Vec<u8>],
) {
    let batch = Outgoing {
        local,
        remote,
        segment_size: size,
        payload: &datagrams.concat(),
        ttl: None,
    };
    while from.send(&batch) == SendOutcome::WouldBlock {
        std::thread::yield_now();
    }
}

#[test]
fn batches_arrive_whole_on_every_mix_of_offloads() {
    for v6 in [false, true] {
        for (sends, receives) in [(true, true), (true, false), (false, true), (false, false)] {
            let (mut from, mut to) = (edge(sends), edge(receives));
            if index_of(&to, v6).is_none() {
                continue;
            }
            let datagrams = batch_of(44, 1432, 700);
            send_all(&mut from, None, loopback(&to, v6), 1432, &datagrams);
            let got: Vec<Vec<u8>> = collect(&mut to, v6, 44)
                .into_iter()
                .map(|(_, _, bytes)| bytes)
                .collect();
            assert_eq!(
                got, datagrams,
                "v6 {v6}, sends {sends}, receives {receives}"
            );
        }
    }
}

#[test]
fn the_sender_is_the_primary_port() {
    let (mut from, mut to) = (edge(true), edge(true));
    send_all(
        &mut from,
        Some(SocketId(0)),
        loopback(&to, false),
        100,
        &[vec![1; 100]],
    );
    let got = collect(&mut to, false, 1);
    assert_eq!(got[0].1, loopback(&from, false));
}

#[test]
fn a_batch_to_every_socket_leaves_once_a_port() {
    let mut from = UdpEdge::open(&UdpConfig {
        port: 0,
        secondary_port: Some(0),
        offload: true,
    })
    .unwrap();
    assert_eq!(from.ports().len(), 2);
    let mut to = edge(true);
    send_all(&mut from, None, loopback(&to, false), 50, &[vec![7; 50]]);
    let mut ports: Vec<u16> = collect(&mut to, false, 2)
        .iter()
        .map(|(_, remote, _)| remote.port())
        .collect();
    ports.sort_unstable();
    let mut expected = from.ports();
    expected.sort_unstable();
    assert_eq!(ports, expected);
}

#[test]
fn a_reply_leaves_from_the_address_that_was_spoken_to() {
    let (mut asker, mut host) = (edge(true), edge(true));
    // All of 127/8 is this host's: two "interfaces" without any privilege.
    let addresses: [IpAddr; 2] = ["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()];
    host.set_addresses(&addresses);
    host.multihomed = [true; 2];
    for ip in addresses {
        let there = SocketAddr::new(ip, host.primary_port());
        send_all(&mut asker, None, there, 10, &[vec![1; 10]]);
        let (id, remote, _) = collect(&mut host, false, 1).remove(0);
        assert!(
            id.0 as usize >= host.sockets.len(),
            "an id of its own for {ip}"
        );
        send_all(&mut host, Some(id), remote, 10, &[vec![2; 10]]);
        assert_eq!(collect(&mut asker, false, 1)[0].1, there);
    }
    // An address that went away leaves the choice to the kernel.
    host.set_addresses(&[]);
    let id = SocketId(host.sockets.len() as u32);
    let there = loopback(&asker, false);
    send_all(&mut host, Some(id), there, 10, &[vec![3; 10]]);
    assert_eq!(collect(&mut asker, false, 1)[0].1, loopback(&host, false));
}

#[test]
fn an_unroutable_destination_is_counted_and_done() {
    let mut from = edge(true);
    let remote = "255.255.255.255:0".parse().unwrap();
    let batch = Outgoing {
        local: None,
        remote,
        segment_size: 10,
        payload: &[0; 10],
        ttl: Some(2),
    };
    assert_eq!(from.send(&batch), SendOutcome::Done);
    assert_eq!(from.traffic().refused, 1);
}

#[test]
fn a_full_socket_resumes_where_it_stopped() {
    let (mut from, mut to) = (edge(false), edge(false));
    let there = loopback(&to, false);
    let socket = index_of(&from, false).unwrap();
    let datagrams = batch_of(60, 1000, 1000);
    let payload = datagrams.concat();
    let batch = Outgoing {
        local: None,
        remote: there,
        segment_size: 1000,
        payload: &payload,
        ttl: None,
    };
    // Pretend that the kernel took the first forty and then had no room.
    from.progress = Progress {
        socket,
        datagrams: 40,
    };
    assert_eq!(from.send(&batch), SendOutcome::Done);
    let got: Vec<Vec<u8>> = collect(&mut to, false, 20)
        .into_iter()
        .map(|(_, _, bytes)| bytes)
        .collect();
    assert_eq!(got, datagrams[40..]);
    assert_eq!(from.progress.datagrams, 0);
}

#[test]
fn a_taken_primary_port_is_an_error() {
    let first = edge(true);
    let config = UdpConfig {
        port: first.primary_port(),
        ..UdpConfig::default()
    };
    let error = UdpEdge::open(&config).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}
