//! Listeners: ports, queues, and the container's own network.

use super::*;

#[test]
fn accept_gives_the_true_addresses_and_a_descriptor_of_its_own() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 16);
    assert!(listening.accept().is_none());
    let flow = rig.peer_connects(8080);
    let (record, fd) = listening.accept().unwrap();
    assert_eq!(record.origin, Origin::Lan);
    assert_eq!(record.peer, rig.peer.flow(flow).unwrap().local());
    assert_eq!(record.local, at(OURS, 8080));
    let stream = UnixStream::from(fd);
    assert!(
        !rustix::fs::fcntl_getfl(&stream)
            .unwrap()
            .contains(rustix::fs::OFlags::NONBLOCK)
    );
    rig.peer_sends(flow, b"GET /");
    assert_eq!(read_now(&stream).unwrap(), b"GET /");
    (&stream).write_all(b"200 OK").unwrap();
    drop(stream);
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"200 OK");
    assert!(rig.peer_saw_end(flow));
    drop(listening);
    rig.nothing_is_left();
}

#[test]
fn a_program_that_does_not_accept_is_not_sent_more_than_its_backlog() {
    let mut rig = Rig::with_budget(4096);
    let listening = rig.listening(8080, 4);
    let mut flows = Vec::new();
    for _ in 0..400 {
        flows.push(rig.peer_connects(8080));
    }
    rig.pass(Duration::from_millis(100));
    let up = rig
        .peer_events
        .iter()
        .filter(|event| matches!(event, HostEvent::Connected(_)))
        .count();
    assert!(
        up < 350,
        "the queue of the pair and the backlog, not all: {up}"
    );
    // Once it accepts, the others come in by themselves.
    let mut accepted = Vec::new();
    for _ in 0..200 {
        accepted.extend(std::iter::from_fn(|| listening.accept()));
        rig.pass(Duration::from_millis(100));
    }
    assert_eq!(accepted.len(), 400);
    drop((accepted, listening));
    rig.nothing_is_left();
}

#[test]
fn a_closed_listener_refuses_and_resets_what_it_did_not_accept() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 4);
    let flow = rig.peer_connects(8080);
    drop(listening);
    rig.settle();
    assert!(rig.peer_was_reset(flow) || rig.peer_saw_end(flow));
    rig.peer_connects(8080);
    let refused = |event: &HostEvent| matches!(event, HostEvent::ConnectFailed(..));
    assert!(rig.peer_events.iter().any(refused));
    rig.nothing_is_left();
}

#[test]
fn a_taken_port_is_refused() {
    let mut rig = Rig::new();
    let _listening = rig.listening(8080, 4);
    let (_, control) = rig.program.listen(at("0.0.0.0", 8080), 4, None);
    rig.settle();
    let errno = Errno::ADDRINUSE.raw_os_error();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Failed { errno });
    assert_eq!(rig.broker.sockets(), (0, 1));
}

#[test]
fn a_bound_socket_gets_a_port_refuses_and_then_listens() {
    let mut rig = Rig::new();
    let (bound, control) = rig.program.bind(at(OURS, 0));
    rig.settle();
    let Ok((Reply::Done { local }, _)) = reply(&control).unwrap() else {
        panic!("bound")
    };
    assert_ne!(local.port(), 0);
    assert_eq!(rig.entry(bound.id).unwrap().state, State::Bound);
    rig.peer_connects(local.port());
    let refused = |event: &HostEvent| matches!(event, HostEvent::ConnectFailed(..));
    assert!(rig.peer_events.iter().any(refused));

    let listen = zt_socket_rpc::Listen {
        id: bound.id,
        local,
        family: zt_socket_rpc::Family::V4,
        backlog: 8,
        kernel_listener: false,
        options: Options::default(),
    };
    let control = rig.program.request(&Request::Listen(listen), &[]);
    rig.settle();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Done { local });
    rig.peer_connects(local.port());
    assert!(bound.accept().is_some());
}

#[test]
fn connections_of_the_programs_own_network_come_through_the_same_queue() {
    let mut rig = Rig::new();
    let kernel = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = kernel.local_addr().unwrap();
    let local = at("0.0.0.0", address.port());
    let (listening, control) = rig.program.listen(local, 16, Some(kernel.as_fd()));
    rig.settle();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Done { local });
    drop(kernel);

    let mut native = TcpStream::connect(address).unwrap();
    let (record, fd) = listening.accept_soon();
    assert_eq!((record.origin, record.local), (Origin::Kernel, address));
    assert_eq!(record.peer, native.local_addr().unwrap());
    native.write_all(b"native").unwrap();
    let mut got = [0; 6];
    TcpStream::from(fd).read_exact(&mut got).unwrap();
    assert_eq!(&got, b"native");

    rig.peer_connects(address.port());
    assert_eq!(listening.accept().unwrap().0.origin, Origin::Lan);
    drop(listening);
    rig.settle();
    // The kernel's listener is closed too.
    within(|| TcpStream::connect(address).err());
    within(|| (rig.budget.held() == 0).then_some(()));
    rig.nothing_is_left();
}

#[test]
fn a_program_that_plays_with_its_listener_stops_nobody_else() {
    let mut rig = Rig::new();
    let kernel = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = at("0.0.0.0", kernel.local_addr().unwrap().port());
    let (listening, _) = rig.program.listen(local, 16, Some(kernel.as_fd()));
    rig.settle();
    // Sooner or later the thread's accept finds the queue empty and the flag off, and waits.
    let stealing = std::time::Instant::now() + Duration::from_millis(300);
    while std::time::Instant::now() < stealing {
        let _client = TcpStream::connect(kernel.local_addr().unwrap()).unwrap();
        kernel.set_nonblocking(true).unwrap();
        drop(kernel.accept());
        kernel.set_nonblocking(false).unwrap();
    }
    while listening.accept().is_some() {}
    rig.peer_connects(local.port());
    assert_eq!(listening.accept().unwrap().0.origin, Origin::Lan);
}

#[test]
fn a_full_accept_queue_takes_up_again_when_the_program_accepts() {
    let mut rig = Rig::with_budget(4096);
    let kernel = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = kernel.local_addr().unwrap();
    let local = at("0.0.0.0", address.port());
    let (listening, _) = rig.program.listen(local, 1024, Some(kernel.as_fd()));
    rig.settle();
    let clients: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    std::thread::sleep(Duration::from_millis(50));
    for _ in &clients {
        listening.accept_soon();
    }
    assert!(listening.accept().is_none());
}

#[test]
fn an_accept_that_finds_no_descriptor_waits_for_one() {
    let mut rig = Rig::with_budget(5);
    let listening = rig.listening(8080, 16);
    let flows: Vec<FlowId> = (0..5).map(|_| rig.peer_connects(8080)).collect();
    let mut accepted: Vec<_> = std::iter::from_fn(|| listening.accept()).collect();
    assert_eq!(
        accepted.len(),
        3,
        "with the two of the listener five of five"
    );
    for _ in 0..3 {
        accepted.remove(0);
        rig.pass(Duration::from_millis(40));
        accepted.extend(listening.accept());
    }
    assert_eq!(accepted.len(), 2, "all five were there");
    assert_eq!(rig.broker.counters().accepted, 5);
    drop(flows);
}

#[test]
fn a_port_is_free_as_soon_as_its_listener_is_closed() {
    let mut rig = Rig::new();
    let listening = rig.listening(8080, 4);
    drop(listening);
    // The service has not looked at the first one yet when the second one asks.
    let (_again, control) = rig.program.listen(at("0.0.0.0", 8080), 4, None);
    rig.settle();
    assert!(matches!(reply(&control), Some(Ok((Reply::Done { .. }, _)))));
    assert_eq!(rig.broker.sockets(), (0, 1));
}

#[test]
fn both_families_listen_on_one_port_side_by_side() {
    let mut rig = Rig::new();
    let _v4 = rig.listening(80, 4);
    let id = program::fresh_id();
    let (_v6, half) = program::named_pair(
        rustix::net::SocketType::SEQPACKET,
        zt_socket_rpc::Kind::Listener,
        id,
    );
    let mut listen = zt_socket_rpc::Listen {
        id,
        local: "[::]:80".parse().unwrap(),
        family: zt_socket_rpc::Family::V6,
        ..listen_request()
    };
    let control = rig
        .program
        .request(&Request::Listen(listen), &[half.as_fd()]);
    rig.settle();
    let errno = Errno::ADDRINUSE.raw_os_error();
    assert_eq!(reply(&control).unwrap().unwrap().0, Reply::Failed { errno });
    listen.options.v6_only = true;
    let control = rig
        .program
        .request(&Request::Listen(listen), &[half.as_fd()]);
    rig.settle();
    assert!(matches!(reply(&control), Some(Ok((Reply::Done { .. }, _)))));
}
