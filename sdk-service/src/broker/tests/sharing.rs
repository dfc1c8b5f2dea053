//! Listeners that share a port by `SO_REUSEPORT`.

use zt_netstack::HostEvent;
use zt_socket_rpc::{Options, Reply};

use super::program::{Listening, reply};
use super::{Errno, Rig, at};

/// A listener; `None` when the port was refused.
fn listening(rig: &mut Rig, reuse_port: bool, backlog: u16) -> Option<Listening> {
    let options = Options {
        reuse_port,
        ..Options::default()
    };
    let (listening, control) = rig
        .program
        .listen_with(at("0.0.0.0", 8080), backlog, None, options);
    rig.settle();
    match reply(&control).unwrap().unwrap().0 {
        Reply::Done { .. } => Some(listening),
        Reply::Failed { errno } => {
            assert_eq!(errno, Errno::ADDRINUSE.raw_os_error());
            None
        }
        other => panic!("{other:?}"),
    }
}

fn accepted(listening: &Listening) -> usize {
    std::iter::from_fn(|| listening.accept()).count()
}

#[test]
fn those_that_share_a_port_take_turns() {
    let mut rig = Rig::new();
    let first = listening(&mut rig, true, 16).unwrap();
    let second = listening(&mut rig, true, 16).unwrap();
    for _ in 0..6 {
        rig.peer_connects(8080);
    }
    assert_eq!((accepted(&first), accepted(&second)), (3, 3));
    drop(first);
    rig.settle();
    for _ in 0..4 {
        rig.peer_connects(8080);
    }
    assert_eq!(accepted(&second), 4);
    drop(second);
    rig.settle();
    rig.peer_connects(8080);
    let refused = |event: &HostEvent| matches!(event, HostEvent::ConnectFailed(..));
    assert!(rig.peer_events.iter().any(refused));
    rig.nothing_is_left();
}

#[test]
fn a_port_is_shared_only_if_all_want_it() {
    for (one, other) in [(true, false), (false, true), (false, false)] {
        let mut rig = Rig::new();
        let _first = listening(&mut rig, one, 16).unwrap();
        assert!(listening(&mut rig, other, 16).is_none());
    }
}

#[test]
fn a_full_listener_leaves_its_turn_to_the_other() {
    let mut rig = Rig::with_budget(4096);
    let idle = listening(&mut rig, true, 1).unwrap();
    let busy = listening(&mut rig, true, 16).unwrap();
    let mut taken = 0;
    for _ in 0..800 {
        rig.peer_connects(8080);
        taken += accepted(&busy);
    }
    let up = rig
        .peer_events
        .iter()
        .filter(|event| matches!(event, HostEvent::Connected(_)))
        .count();
    assert_eq!(up, 800, "nobody waits for the idle one");
    // What waits behind the queue of the pair comes as soon as there is room.
    for _ in 0..3 {
        taken += accepted(&idle);
        rig.settle();
    }
    assert_eq!(taken, 800);
}
