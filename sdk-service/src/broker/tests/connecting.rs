//! How attempts to connect end.

use super::*;

#[test]
fn a_connection_becomes_writable_when_it_is_up_and_carries_bytes_both_ways() {
    let mut rig = Rig::new();
    rig.peer
        .listen(ListenAddr { ip: None, port: 80 }, 16)
        .unwrap();
    let (connection, control) = rig
        .program
        .connect(at(THEIRS, 80), true, Options::default());
    assert!(
        !readiness(&connection.stream).contains(PollFlags::OUT),
        "plugged"
    );
    rig.settle();
    assert!(
        readiness(&connection.stream).contains(PollFlags::OUT),
        "connected"
    );
    let entry = rig.entry(connection.id).unwrap();
    assert_eq!(
        (entry.state, entry.remote),
        (State::Connected, Some(at(THEIRS, 80)))
    );
    let Ok((Reply::Done { local }, _)) = reply(&control).unwrap() else {
        panic!("an answer")
    };
    assert_eq!(Some(local), entry.local);
    assert_eq!(local.ip(), OURS.parse::<IpAddr>().unwrap());

    let flow = rig.peer_accepted();
    assert_eq!(rig.peer.flow(flow).unwrap().remote(), local);
    (&connection.stream).write_all(b"question").unwrap();
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"question", "and not the plug");
    rig.peer_sends(flow, b"answer");
    assert_eq!(read_now(&connection.stream).unwrap(), b"answer");
}

#[test]
fn a_refused_connection_tells_the_errno_and_leaves_an_error_on_the_descriptor() {
    let mut rig = Rig::new();
    let (connection, control) = rig
        .program
        .connect(at(THEIRS, 81), true, Options::default());
    rig.settle();
    let errno = Errno::CONNREFUSED.raw_os_error();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Failed { errno });
    let entry = rig.entry(connection.id).unwrap();
    assert_eq!((entry.state, entry.errno), (State::Failed, errno));
    let all = PollFlags::IN | PollFlags::OUT | PollFlags::ERR | PollFlags::HUP;
    assert!(readiness(&connection.stream).contains(all));
    assert_eq!(
        rustix::net::sockopt::socket_error(&connection.stream).unwrap(),
        Err(Errno::CONNRESET)
    );
    rig.nothing_is_left();
}

#[test]
fn a_silent_neighbour_is_an_unreachable_host() {
    let mut rig = Rig::new();
    let (connection, _) = rig
        .program
        .connect(at("10.1.0.77", 80), false, Options::default());
    rig.settle();
    assert_eq!(rig.entry(connection.id).unwrap().state, State::Connecting);
    rig.pass(Duration::from_secs(5));
    let entry = rig.entry(connection.id).unwrap();
    assert_eq!(
        (entry.state, entry.errno),
        (State::Failed, Errno::HOSTUNREACH.raw_os_error())
    );
    rig.nothing_is_left();
}

#[test]
fn without_a_route_the_network_is_unreachable_at_once() {
    let mut rig = Rig::new();
    let (connection, _) = rig
        .program
        .connect(at("10.9.9.9", 80), false, Options::default());
    rig.settle();
    assert_eq!(
        rig.entry(connection.id).unwrap().errno,
        Errno::NETUNREACH.raw_os_error()
    );
    rig.nothing_is_left();
}

#[test]
fn a_program_that_gives_up_connecting_leaves_nothing() {
    let mut rig = Rig::new();
    let (connection, _) = rig
        .program
        .connect(at("10.1.0.77", 80), true, Options::default());
    rig.settle();
    assert_eq!(rig.broker.sockets().0, 1);
    drop(connection);
    rig.nothing_is_left();
}

#[test]
fn beyond_the_budget_connections_fail_honestly_and_recover() {
    let mut rig = Rig::with_budget(8);
    rig.peer
        .listen(ListenAddr { ip: None, port: 80 }, 64)
        .unwrap();
    let connections: Vec<_> = (0..10)
        .map(|_| {
            rig.program
                .connect(at(THEIRS, 80), false, Options::default())
                .0
        })
        .collect();
    rig.settle();
    let failed = connections
        .iter()
        .filter(|c| rig.entry(c.id).unwrap().state == State::Failed)
        .count();
    assert_eq!(failed, 3, "seven of eight are one user's share");
    assert_eq!(rig.broker.counters().refused, 3);
    drop(connections);
    rig.nothing_is_left();
    let (connection, _) = rig
        .program
        .connect(at(THEIRS, 80), false, Options::default());
    rig.settle();
    assert_eq!(rig.entry(connection.id).unwrap().state, State::Connected);
}

#[test]
fn a_connection_that_was_waited_for_costs_no_more_than_another() {
    let mut rig = Rig::with_budget(8);
    let everywhere = ListenAddr { ip: None, port: 80 };
    rig.peer.listen(everywhere, 64).unwrap();
    let connections: Vec<_> = (0..6)
        .map(|_| {
            let to = at(THEIRS, 80);
            let connection = rig.program.connect(to, true, Options::default());
            rig.settle();
            connection
        })
        .collect();
    for (connection, _) in &connections {
        assert_eq!(rig.entry(connection.id).unwrap().state, State::Connected);
    }
}

#[test]
fn a_connection_to_ourselves_is_in_the_queue_before_it_is_up() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 4);
    let (connection, _) = rig
        .program
        .connect(at(OURS, 8080), false, Options::default());
    let mut accepted = None;
    while !readiness(&connection.stream).contains(PollFlags::OUT) {
        rig.turn();
        accepted = accepted.or_else(|| listening.accept());
    }
    let (record, fd) = accepted.expect("accepted first");
    assert_eq!(Some(record.peer), rig.entry(connection.id).unwrap().local);
    (&connection.stream).write_all(b"to myself").unwrap();
    rig.settle();
    let served = UnixStream::from(fd);
    assert_eq!(read_now(&served).unwrap(), b"to myself");
    drop((served, connection, listening));
    rig.nothing_is_left();
}
