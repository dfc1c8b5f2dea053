//! Connections between two programs of one service.

use super::*;
use zt_socket_rpc::{Kind as SocketKind, Name};

/// The name that a program sees on the other side of its descriptor.
fn seen(stream: &UnixStream) -> Name {
    let peer = rustix::net::getpeername(stream).unwrap().unwrap();
    let peer = rustix::net::SocketAddrUnix::try_from(peer).unwrap();
    let path = [&[0], peer.abstract_name().unwrap()].concat();
    Name::from_path(&path).unwrap()
}

#[test]
fn two_programs_hold_the_ends_of_one_pair() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 4);
    let (connection, control) = rig.program.connect_here(at(OURS, 8080), true);
    rig.settle();
    let Ok((Reply::Done { local }, _)) = within(|| reply(&control)) else {
        panic!("not connected");
    };
    let (record, fd) = listening.accept().unwrap();
    assert_eq!((record.peer, record.local), (local, at(OURS, 8080)));
    assert_eq!(record.origin, Origin::Lan);
    let served = UnixStream::from(fd);
    assert!(
        !rustix::fs::fcntl_getfl(&served)
            .unwrap()
            .contains(rustix::fs::OFlags::NONBLOCK)
    );
    // Nobody else is needed to carry bytes, nor any part of the plug.
    (&connection.stream).write_all(b"question").unwrap();
    assert_eq!(read_now(&served).unwrap(), b"question");
    (&served).write_all(b"answer").unwrap();
    assert_eq!(read_now(&connection.stream).unwrap(), b"answer");

    let client = rig.entry(connection.id).unwrap();
    assert_eq!(
        (client.state, client.local),
        (State::Connected, Some(local))
    );
    assert_eq!(client.remote, Some(at(OURS, 8080)));
    let name = seen(&served);
    assert_eq!(name.kind, SocketKind::Stream);
    let server = rig.entry(name.id).unwrap();
    assert_eq!((server.local, server.remote), (client.remote, client.local));
    assert_eq!(seen(&connection.stream).id, connection.id);
    assert_eq!(rig.broker.sockets(), (0, 1));

    // One end lives on when the other is closed.
    drop(served);
    assert_eq!((&connection.stream).read(&mut [0]).unwrap(), 0);
    rig.broker.disposal.finish();
    rig.broker.sweep_direct();
    assert!(rig.entry(connection.id).is_some() && rig.entry(name.id).is_none());
    drop((connection, listening));
    rig.nothing_is_left();
}

#[test]
fn options_are_kept_for_whoever_asks() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 4);
    let (connection, _) = rig.program.connect_here(at(OURS, 8080), false);
    rig.settle();
    let no_delay = Request::SetOption(SetOption {
        id: connection.id,
        level: 6,
        name: 1,
        value: zt_socket_rpc::OptionValue::new(&1_i32.to_ne_bytes()),
    });
    let _ = rig.program.request(&no_delay, &[]);
    let query = rig
        .program
        .request(&Request::Query { id: connection.id }, &[]);
    rig.settle();
    let Some(Ok((Reply::State(entry), _))) = reply(&query) else {
        panic!("not known");
    };
    assert!(entry.options.no_delay);
    assert_eq!(rig.entry(connection.id), Some(entry));
    drop((connection, listening));
    rig.nothing_is_left();
}

#[test]
fn a_full_queue_and_a_missing_listener_are_the_hosts_to_answer() {
    let mut rig = Rig::new();
    let (refused, control) = rig.program.connect_here(at(OURS, 8081), true);
    rig.settle();
    let errno = Errno::CONNREFUSED.raw_os_error();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Failed { errno });
    drop(refused);

    let listening = rig.listening(8080, 1);
    let connections: Vec<_> = (0..400)
        .map(|_| {
            let connection = rig.program.connect_here(at(OURS, 8080), false).0;
            rig.settle();
            connection
        })
        .collect();
    let waiting = |connections: &[Connection]| {
        let is_up = |one: &Connection| readiness(&one.stream).contains(PollFlags::OUT);
        connections.iter().filter(|one| !is_up(one)).count()
    };
    assert!(waiting(&connections) > 0, "no queue takes them all");
    let mut accepted = 0;
    while accepted < connections.len() {
        while listening.accept().is_some() {
            accepted += 1;
        }
        rig.pass(Duration::from_millis(500));
    }
    assert_eq!(waiting(&connections), 0);
    drop((connections, listening));
    rig.nothing_is_left();
}

#[test]
fn a_listener_that_closes_resets_who_waited() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 4);
    // More than fit into the program's queue, so that some are still here.
    let connections: Vec<_> = (0..300)
        .map(|_| {
            let connection = rig.program.connect_here(at(OURS, 8080), false).0;
            rig.settle();
            connection
        })
        .collect();
    let direct = |connection: &&Connection| {
        rig.entry(connection.id)
            .is_some_and(|entry| entry.state == State::Connected)
    };
    let before = connections.iter().filter(direct).count();
    assert!(before > 0);
    drop(listening);
    // Those of the host hear of it when they ask again.
    rig.pass(Duration::from_secs(5));
    let states: Vec<_> = connections
        .iter()
        .filter_map(|connection| rig.entry(connection.id))
        .map(|entry| entry.state)
        .collect();
    assert!(states.contains(&State::Reset));
    assert!(!states.contains(&State::Connecting));
    drop(connections);
    rig.nothing_is_left();
}

#[test]
fn a_second_descriptor_that_is_not_the_other_half_is_refused() {
    let mut rig = Rig::new();
    let _listening = rig.listening(8080, 4);
    let id = program::fresh_id();
    let (_stream, half) =
        program::named_pair(rustix::net::SocketType::STREAM, SocketKind::Stream, id);
    let (stranger, _other) = UnixStream::pair().unwrap();
    let request = Request::Connect(zt_socket_rpc::Connect {
        id,
        remote: at(OURS, 8080),
        local: None,
        family: zt_socket_rpc::Family::V4,
        wait: true,
        plug: 0,
        options: Options::default(),
    });
    let control = rig
        .program
        .request(&request, &[half.as_fd(), stranger.as_fd()]);
    rig.settle();
    assert!(reply(&control).unwrap().is_err());
    assert_eq!(rig.broker.counters().wrong_descriptors, 1);
}
