//! Connections that begin at the streams socket.

use super::program::fresh_id;
use super::*;

#[test]
fn it_comes_up_and_carries_bytes_both_ways() {
    let mut rig = Rig::new();
    let everywhere = ListenAddr { ip: None, port: 80 };
    rig.peer.listen(everywhere, 16).unwrap();
    let connection = rig.program.connect_straight(at(THEIRS, 80), fresh_id(), 0);
    rig.settle();
    let entry = rig.entry(connection.id).unwrap();
    assert_eq!(
        (entry.state, entry.remote),
        (State::Connected, Some(at(THEIRS, 80)))
    );
    let flow = rig.peer_accepted();
    (&connection.stream).write_all(b"question").unwrap();
    rig.settle();
    assert_eq!(
        rig.peer_takes(flow),
        b"question",
        "and neither request nor plug"
    );
    rig.peer_sends(flow, b"answer");
    assert_eq!(read_now(&connection.stream).unwrap(), b"answer");
    drop(connection);
    rig.settle();
    assert!(rig.peer_saw_end(flow));
    assert_eq!(rig.broker.counters().requests, 1);
}

#[test]
fn a_refusal_leaves_its_errno_and_an_error() {
    let mut rig = Rig::new();
    let connection = rig.program.connect_straight(at(THEIRS, 81), fresh_id(), 0);
    rig.settle();
    let entry = rig.entry(connection.id).unwrap();
    let errno = Errno::CONNREFUSED.raw_os_error();
    assert_eq!((entry.state, entry.errno), (State::Failed, errno));
    within(|| {
        readiness(&connection.stream)
            .contains(PollFlags::OUT)
            .then_some(())
    });
    assert_eq!(
        rustix::net::sockopt::socket_error(&connection.stream).unwrap(),
        Err(Errno::CONNRESET)
    );
    rig.nothing_is_left();
}

#[test]
fn requests_about_it_come_after_it() {
    let mut rig = Rig::new();
    // More than are taken in one turn.
    let connections: Vec<_> = (0..3 * REQUESTS_A_TURN)
        .map(|_| {
            rig.program
                .connect_straight(at("10.1.0.77", 80), fresh_id(), 0)
        })
        .collect();
    let last = connections.last().unwrap().id;
    let option = SetOption {
        id: last,
        level: 6,
        name: 1,
        value: zt_socket_rpc::OptionValue::new(&1_i32.to_le_bytes()),
    };
    rig.program.request(&Request::SetOption(option), &[]);
    rig.settle();
    assert!(rig.entry(last).unwrap().options.no_delay);
    assert_eq!(rig.broker.counters().wrong_id, 0);
}

#[test]
fn a_late_request_comes_before_questions_about_it() {
    let mut rig = Rig::new();
    let id = fresh_id();
    let stream = rig.program.dial_streams(id);
    rig.settle();
    Program::begin_straight(&stream, at(THEIRS, 80), id, 0);
    let query = rig.program.request(&Request::Query { id }, &[]);
    rig.hear(Kind::Control);
    rig.settle();
    assert!(matches!(reply(&query), Some(Ok((Reply::State(_), _)))));
}

#[test]
fn what_is_no_request_disturbs_nobody() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    let before = rig.broker.counters();
    // Cut short, or with the name of somebody else.
    let cut = rig
        .program
        .connect_straight(at(THEIRS, 80), fresh_id(), 5_001);
    let stranger = rig.program.dial_streams(fresh_id());
    let request = Request::Connect(zt_socket_rpc::Connect {
        id: connection.id,
        remote: at(THEIRS, 80),
        local: None,
        family: zt_socket_rpc::Family::V4,
        wait: false,
        plug: 0,
        options: Options::default(),
    });
    let mut bytes = [0; zt_socket_rpc::MAX_MESSAGE];
    let length = request.emit(&mut bytes);
    super::descriptor::send_message(&stranger, &bytes[..length], None).unwrap();
    // A descriptor that nobody asked for.
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let gift = rig.program.dial_streams(fresh_id());
    super::descriptor::send_message(&gift, &bytes[..length], Some(write_end.as_fd())).unwrap();
    drop(write_end);
    rig.settle();
    for ended in [cut.stream.as_fd(), stranger.as_fd(), gift.as_fd()] {
        within(|| readiness(ended).contains(PollFlags::HUP).then_some(()));
    }
    let after = rig.broker.counters();
    assert_eq!(after.malformed, before.malformed + 1);
    assert_eq!(after.wrong_id, before.wrong_id + 1);
    assert_eq!(after.wrong_descriptors, before.wrong_descriptors + 1);
    within(|| (rustix::io::read(&read_end, &mut [0_u8; 1]) == Ok(0)).then_some(()));
    rig.peer_sends(flow, b"undisturbed");
    assert_eq!(read_now(&connection.stream).unwrap(), b"undisturbed");
}

#[test]
fn one_that_says_nothing_ends_in_time() {
    let mut rig = Rig::new();
    let silent = rig.program.dial_streams(fresh_id());
    rig.settle();
    rig.pass(Duration::from_secs(6));
    assert!(readiness(&silent).contains(PollFlags::HUP));
    assert_eq!(rig.broker.counters().silent, 1);
    assert!(rig.broker.deadline().is_none(), "nothing to wake up for");
}
