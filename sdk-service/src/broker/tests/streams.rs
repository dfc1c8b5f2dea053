//! Bytes, ends and resets of connections.

use super::*;

#[test]
fn a_plain_close_is_a_fin() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    (&connection.stream).write_all(b"last words").unwrap();
    drop(connection);
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"last words");
    assert!(rig.peer_saw_end(flow));
    assert!(!rig.peer_was_reset(flow));
    rig.nothing_is_left();
}

#[test]
fn closing_with_bytes_unread_is_a_reset_after_what_was_written() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    rig.peer_sends(flow, b"never read");
    (&connection.stream).write_all(b"reply").unwrap();
    drop(connection);
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"reply");
    assert!(rig.peer_was_reset(flow));
    rig.nothing_is_left();
}

#[test]
fn linger_of_zero_is_a_reset() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected_with(Options {
        lingers: true,
        ..Options::default()
    });
    drop(connection);
    rig.settle();
    assert!(rig.peer_was_reset(flow));
    rig.nothing_is_left();
}

#[test]
fn half_close_keeps_the_reply() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    (&connection.stream).write_all(b"question").unwrap();
    connection.stream.shutdown(Shutdown::Write).unwrap();
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"question");
    assert!(rig.peer_saw_end(flow));
    rig.peer_sends(flow, b"long answer");
    assert_eq!(read_now(&connection.stream).unwrap(), b"long answer");
    rig.peer.flow(flow).unwrap().finish();
    rig.settle();
    assert_eq!(read_now(&connection.stream).unwrap(), b"", "end of file");
    drop(connection);
    rig.peer.flow(flow).unwrap().close();
    rig.nothing_is_left();
}

#[test]
fn a_peers_half_close_comes_after_its_bytes_and_leaves_our_direction_open() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    rig.peer_sends(flow, &[7; 100_000]);
    rig.peer.flow(flow).unwrap().finish();
    rig.pass(Duration::from_millis(50));
    let got = read_now(&connection.stream).unwrap();
    assert!(
        got.len() == 100_000 && got.iter().all(|&byte| byte == 7),
        "then end of file"
    );
    (&connection.stream).write_all(b"still here").unwrap();
    rig.settle();
    assert_eq!(rig.peer_takes(flow), b"still here");
}

#[test]
fn a_peers_reset_is_in_the_table_and_ends_the_pair_after_the_bytes() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    rig.peer_sends(flow, b"before");
    rig.peer.flow(flow).unwrap().abort();
    rig.settle();
    let entry = rig.entry(connection.id).unwrap();
    assert_eq!(
        (entry.state, entry.errno),
        (State::Reset, Errno::CONNRESET.raw_os_error())
    );
    assert_eq!(
        read_now(&connection.stream).unwrap(),
        b"before",
        "then the end"
    );
    drop(connection);
    rig.nothing_is_left();
}

#[test]
fn a_program_that_stops_reading_stops_the_peer_and_loses_nothing() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    let mut sent = 0_usize;
    loop {
        let room = rig.peer.flow(flow).unwrap().send_with(|room| {
            for (i, byte) in room.iter_mut().enumerate() {
                *byte = ((sent + i) % 251) as u8;
            }
            room.len()
        });
        sent += room;
        rig.settle();
        rig.pass(Duration::from_millis(20));
        if room == 0 {
            break;
        }
    }
    assert!(sent > 2 << 20, "both rings and the pair are full: {sent}");
    rig.peer.flow(flow).unwrap().finish();
    let mut got = Vec::new();
    for _ in 0..10_000 {
        match read_now(&connection.stream) {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => got.extend(bytes),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        rig.pass(Duration::from_millis(10));
    }
    assert_eq!(got.len(), sent);
    assert!(
        got.iter()
            .enumerate()
            .all(|(i, &byte)| byte == (i % 251) as u8)
    );
}

#[test]
fn a_peer_that_stops_reading_stops_the_program_and_loses_nothing() {
    let mut rig = Rig::new();
    let (connection, flow) = rig.connected();
    connection.stream.set_nonblocking(true).unwrap();
    let mut sent = 0_usize;
    let mut stuck = 0;
    while stuck < 10 {
        let chunk: Vec<u8> = (sent..sent + 65_536).map(|i| (i % 251) as u8).collect();
        match (&connection.stream).write(&chunk) {
            Ok(count) => {
                sent += count;
                stuck = 0;
            }
            Err(_) => stuck += 1,
        }
        rig.pass(Duration::from_millis(10));
    }
    assert!(sent > 2 << 20, "both rings and the pair are full: {sent}");
    connection.stream.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    for _ in 0..10_000 {
        got.extend(rig.peer_takes(flow));
        if got.len() == sent {
            break;
        }
        rig.pass(Duration::from_millis(10));
    }
    assert_eq!(got.len(), sent);
    assert!(
        got.iter()
            .enumerate()
            .all(|(i, &byte)| byte == (i % 251) as u8)
    );
    rig.pass(Duration::from_millis(50));
    assert!(rig.peer_saw_end(flow));
}

#[test]
fn descriptors_in_a_stream_end_it() {
    let mut rig = Rig::new();
    let (connection, _flow) = rig.connected();
    let file = std::fs::File::open("/dev/null").unwrap();
    descriptor::send_message(&connection.stream, b"x", Some(file.as_fd())).unwrap();
    rig.settle();
    assert_eq!(rig.broker.counters().stray_descriptors, 1);
    rig.nothing_is_left();
}
