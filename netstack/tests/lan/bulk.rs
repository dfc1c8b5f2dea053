//! Many bytes: through good and bad wires, against slow readers and full sinks.

use std::time::Duration;

use zt_netstack::{Buffers, Host, HostEvent};

use crate::wire::{Conditions, Wire};

/// Sends a known sequence of words in one direction and checks it in the other.
struct Stream {
    len: usize,
    sent: usize,
    received: usize,
}

/// Writes the known bytes from `position` on.
fn pattern(position: usize, out: &mut [u8]) {
    for (byte, at) in out.iter_mut().zip(position..) {
        *byte = (at as u32 >> 3).wrapping_mul(0x9e37_79b9).to_le_bytes()[at & 3] ^ at as u8;
    }
}

impl Stream {
    fn new(len: usize) -> Stream {
        Stream {
            len,
            sent: 0,
            received: 0,
        }
    }

    fn fill(&mut self, host: &mut Host, flow: zt_netstack::FlowId) {
        let Some(mut flow) = host.flow(flow) else {
            return;
        };
        while self.sent < self.len {
            let (start, left) = (self.sent, self.len - self.sent);
            let written = flow.send_with(|room| {
                let len = room.len().min(left);
                pattern(start, &mut room[..len]);
                len
            });
            if written == 0 {
                return;
            }
            self.sent += written;
        }
        flow.finish();
    }

    fn drain(&mut self, host: &mut Host, flow: zt_netstack::FlowId, limit: usize) {
        let Some(mut flow) = host.flow(flow) else {
            return;
        };
        let mut left = limit;
        while left > 0 {
            let taken = flow.recv_with(|bytes| {
                let len = bytes.len().min(left);
                let mut expected = vec![0; len];
                pattern(self.received, &mut expected);
                assert!(bytes[..len] == expected, "at byte {}", self.received);
                len
            });
            if taken == 0 {
                return;
            }
            self.received += taken;
            left -= taken;
        }
    }
}

/// Both directions at once; returns the virtual time it took.
fn exchange(wire: &mut Wire, len: usize, span: Duration) -> Duration {
    let (client, server) = wire.pair(80);
    let (mut up, mut down) = (Stream::new(len), Stream::new(len));
    up.fill(&mut wire.hosts[0], client);
    down.fill(&mut wire.hosts[1], server);
    let began = wire.now;
    wire.run_until(
        span,
        |host, i, event| match (i, event) {
            (0, HostEvent::Readable(flow)) => down.drain(host, flow, usize::MAX),
            (1, HostEvent::Readable(flow)) => up.drain(host, flow, usize::MAX),
            (0, HostEvent::Writable(flow)) => up.fill(host, flow),
            (1, HostEvent::Writable(flow)) => down.fill(host, flow),
            _ => {}
        },
        |wire| {
            wire.log
                .iter()
                .filter(|(_, _, event)| matches!(event, HostEvent::Closed(_)))
                .count()
                == 2
        },
    );
    let took = wire.now.saturating_since(began);
    assert_eq!((up.received, down.received), (len, len));
    took
}

#[test]
fn sixty_four_mebibytes_each_way_arrive_unharmed() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    exchange(&mut wire, 64 << 20, Duration::from_secs(60));
}

#[test]
fn a_wire_without_loss_sees_no_retransmission() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let len = 16 << 20;
    exchange(&mut wire, len, Duration::from_secs(60));
    let data: usize = wire.payload_bytes;
    assert_eq!(data, 2 * len, "every byte crosses the wire once");
}

#[test]
fn loss_and_reordering_are_repaired() {
    for (seed, loss) in [(1, 1_000), (2, 10_000), (3, 50_000)] {
        let conditions = Conditions {
            loss,
            jitter: Duration::from_micros(30),
            ..Conditions::default()
        };
        let mut wire = Wire::new(2, seed, conditions);
        let took = exchange(&mut wire, 2 << 20, Duration::from_secs(600));
        println!("seed {seed}, loss {loss} of a million: {took:?}");
    }
}

/// All acknowledgements of a moment are lost, and both ends begin to repeat what the other has already.
#[test]
fn both_ends_repeat_themselves_and_go_on() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let mut acknowledgements = 0;
    wire.filter = Some(Box::new(move |frame| {
        let is_bare = frame.ethertype == 0x0800 && frame.payload.len() <= 60;
        acknowledgements += u32::from(is_bare);
        // Not those of the handshake.
        !is_bare || !(4..40).contains(&acknowledgements)
    }));
    exchange(&mut wire, 256 << 10, Duration::from_secs(600));
}

#[test]
fn a_long_path_is_filled() {
    let conditions = Conditions {
        delay: Duration::from_millis(10),
        ..Conditions::default()
    };
    let mut wire = Wire::new(2, 1, conditions);
    let took = exchange(&mut wire, 32 << 20, Duration::from_secs(60));
    println!("32 MiB each way at 20 ms: {took:?}");
    // A window of 1 MiB a round trip of 20 ms is 50 MiB a second.
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn the_second_connection_on_a_long_path_has_larger_rings() {
    let conditions = Conditions {
        delay: Duration::from_millis(10),
        ..Conditions::default()
    };
    let mut wire = Wire::new(2, 1, conditions);
    let rooms = [80, 81].map(|port| {
        let (client, server) = wire.pair(port);
        let mut room = |host: usize, flow| wire.hosts[host].flow(flow).expect("a flow").send_room();
        (room(0, client), room(1, server))
    });
    assert_eq!(rooms, [(1 << 20, 1 << 20), (4 << 20, 4 << 20)]);
}

#[test]
fn a_full_sink_holds_the_stack_back_and_loses_nothing() {
    let conditions = Conditions {
        queue: 3,
        ..Conditions::default()
    };
    let mut wire = Wire::new(2, 1, conditions);
    exchange(&mut wire, 4 << 20, Duration::from_secs(600));
    assert_eq!(wire.hosts[0].counters().replies_dropped, 0);
}

#[test]
fn a_slow_reader_stops_the_sender_and_lets_it_go_on() {
    for window in [
        Buffers::default(),
        Buffers {
            receive: 65_536,
            ..Buffers::default()
        },
    ] {
        let mut wire = Wire::new(2, 1, Conditions::default());
        wire.hosts[1].set_buffers(window);
        let (client, server) = wire.pair(80);
        let len = 6 << 20;
        let mut up = Stream::new(len);
        up.fill(&mut wire.hosts[0], client);
        // Nobody reads: the window closes, and stays closed for long.
        wire.idle(Duration::from_secs(300));
        let queued = wire.hosts[1].flow(server).expect("a flow").recv_len();
        assert!(
            queued > window.receive - 8192 && queued <= window.receive,
            "{queued}"
        );
        while up.received < len {
            up.fill(&mut wire.hosts[0], client);
            up.drain(&mut wire.hosts[1], server, 5000);
            wire.idle(Duration::from_micros(300));
        }
    }
}

#[test]
fn small_pieces_wait_for_each_other_unless_told_not_to() {
    for (nodelay, expected) in [(false, 2), (true, 10)] {
        let mut wire = Wire::new(2, 1, Conditions::default());
        let (client, _) = wire.pair(80);
        wire.hosts[0]
            .flow(client)
            .expect("a flow")
            .set_nodelay(nodelay);
        let before = wire.hosts[0].counters().packets_out;
        for _ in 0..10 {
            crate::wire::write(&mut wire.hosts[0], client, b"x");
            wire.transmit();
        }
        wire.idle(Duration::from_secs(1));
        assert_eq!(
            wire.hosts[0].counters().packets_out - before,
            expected,
            "nodelay {nodelay}"
        );
    }
}

#[test]
fn a_request_is_acknowledged_by_its_answer() {
    let mut wire = Wire::new(2, 1, Conditions::default());
    let (client, _) = wire.pair(80);
    let before = wire.hosts[1].counters().packets_out;
    for _ in 0..100 {
        crate::wire::write(&mut wire.hosts[0], client, b"request");
        let mut answered = false;
        wire.run_until(
            Duration::from_millis(1),
            |host, i, event| {
                if let HostEvent::Readable(flow) = event {
                    crate::wire::read(host, flow);
                    if i == 1 {
                        crate::wire::write(host, flow, b"answer");
                    } else {
                        answered = true;
                    }
                }
            },
            |wire| wire.log.len() % 2 == 0 && wire.log.last().is_some_and(|(i, ..)| *i == 0),
        );
        wire.log.clear();
    }
    assert_eq!(wire.hosts[1].counters().packets_out - before, 100);
}
