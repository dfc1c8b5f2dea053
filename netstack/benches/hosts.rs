//! Two hosts in one thread, joined by a queue: what the stack alone costs, without a network or cipher.
//!
//! All figures are CPU time of the thread, so a shared machine disturbs them less. Ratios within one run count.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use zt_netstack::{
    Burst, FlowId, FrameSink, Host, HostConfig, HostEvent, Instant, ListenAddr, SendOptions,
    Sharing, Taken, UdpEvent,
};

/// CPU time of this thread.
#[derive(Clone, Copy)]
struct Clock(Duration);

impl Clock {
    fn now() -> Clock {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Clock(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    fn elapsed(self) -> Duration {
        Clock::now().0 - self.0
    }
}

/// Frames in one buffer, as a datagram socket would hand them over in a batch.
#[derive(Default)]
struct Link {
    bytes: Vec<u8>,
    frames: VecDeque<([u8; 6], u16, usize, usize)>,
}

impl FrameSink for Link {
    fn ready(&self) -> bool {
        self.bytes.len() < 256 << 10
    }

    fn frame(&mut self, dst: [u8; 6], ethertype: u16, payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.frames
            .push_back((dst, ethertype, start, payload.len()));
    }

    fn burst(&mut self, dst: [u8; 6], ethertype: u16, burst: &Burst<'_>) {
        for i in 0..burst.count() {
            let (start, len) = (self.bytes.len(), burst.len(i));
            self.bytes.resize(start + len, 0);
            burst.write(i, &mut self.bytes[start..]);
            self.frames.push_back((dst, ethertype, start, len));
        }
    }
}

fn mac(host: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, host as u8 + 1]
}

fn address(host: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 0, 0, host as u8 + 1]), 80)
}

struct Pair {
    hosts: [Host; 2],
    links: [Link; 2],
    epoch: Clock,
    skipped: Duration,
    packets: u64,
}

impl Pair {
    fn new(mtu: usize) -> Pair {
        let host = |i: usize| {
            let addresses = vec![(address(i).ip(), 24)];
            Host::new(
                HostConfig {
                    mac: mac(i),
                    mtu,
                    addresses,
                    routes: Vec::new(),
                },
                i as u64,
            )
        };
        Pair {
            hosts: [host(0), host(1)],
            links: [Link::default(), Link::default()],
            epoch: Clock::now(),
            skipped: Duration::ZERO,
            packets: 0,
        }
    }

    fn now(&self) -> Instant {
        Instant(1_000_000 + (self.epoch.elapsed() + self.skipped).as_micros() as i64)
    }

    /// One batch in each direction. Returns whether anything moved.
    fn turn(&mut self, mut program: impl FnMut(&mut Host, usize, HostEvent)) -> bool {
        let mut moved = false;
        for from in 0..2 {
            let now = self.now();
            if self.hosts[from].deadline().is_some_and(|at| at <= now) {
                self.hosts[from].handle_timeout(now);
            }
            self.hosts[from].poll_transmit(now, &mut self.links[from]);
            let to = 1 - from;
            while let Some((dst, ethertype, start, len)) = self.links[from].frames.pop_front() {
                moved = true;
                self.packets += 1;
                let frame = &self.links[from].bytes[start..start + len];
                self.hosts[to].handle_frame(now, mac(from), dst, ethertype, frame);
            }
            self.links[from].bytes.clear();
            while let Some(event) = self.hosts[to].poll_event() {
                moved = true;
                program(&mut self.hosts[to], to, event);
            }
        }
        moved
    }

    fn connect(&mut self, flows: usize) -> Vec<(FlowId, FlowId)> {
        self.hosts[1]
            .listen(ListenAddr { ip: None, port: 80 }, flows)
            .expect("a free port");
        let mut pairs = Vec::new();
        while pairs.len() < flows {
            let now = self.now();
            let batch = 100.min(flows - pairs.len());
            let clients: Vec<_> = (0..batch)
                .map(|_| {
                    self.hosts[0]
                        .connect(now, address(1), None)
                        .expect("a port")
                })
                .collect();
            let mut servers = Vec::new();
            while servers.len() < batch {
                self.turn(|_, _, event| {
                    if let HostEvent::Accepted { flow, .. } = event {
                        servers.push(flow);
                    }
                });
            }
            while self.turn(|_, _, _| ()) {}
            pairs.extend(clients.into_iter().zip(servers));
        }
        pairs
    }
}

fn take_all(host: &mut Host, flow: FlowId) -> usize {
    let mut total = 0;
    if let Some(mut flow) = host.flow(flow) {
        loop {
            let taken = flow.recv_with(|bytes| bytes.len());
            if taken == 0 {
                break;
            }
            total += taken;
        }
    }
    total
}

fn fill(host: &mut Host, flow: FlowId, source: &[u8]) {
    if let Some(mut flow) = host.flow(flow) {
        let copy = |room: &mut [u8]| {
            let len = room.len().min(source.len());
            room[..len].copy_from_slice(&source[..len]);
            len
        };
        while flow.send_with(copy) > 0 {}
    }
}

/// Bytes of one direction a second, over `streams` connections.
fn bulk(mtu: usize, streams: usize) {
    let mut pair = Pair::new(mtu);
    let flows = pair.connect(streams);
    let source = vec![0x5a; 256 << 10];
    let run = |pair: &mut Pair, span: Duration| {
        let mut received = 0;
        let began = Clock::now();
        for (client, _) in &flows {
            fill(&mut pair.hosts[0], *client, &source);
        }
        while began.elapsed() < span {
            pair.turn(|host, _, event| match event {
                HostEvent::Readable(flow) => received += take_all(host, flow),
                HostEvent::Writable(flow) => fill(host, flow, &source),
                _ => {}
            });
        }
        (received as f64, began.elapsed().as_secs_f64())
    };
    run(&mut pair, Duration::from_millis(300));
    let packets = pair.packets;
    let (bytes, seconds) = run(&mut pair, Duration::from_secs(2));
    let per_packet = seconds * 1e9 / (pair.packets - packets) as f64;
    println!(
        "bulk, MTU {mtu:5}, {streams} stream(s)     {:6.2} GB/s ({:5.1} Gbit/s), {:4.0} ns a packet both ends",
        bytes / seconds / 1e9,
        bytes * 8.0 / seconds / 1e9,
        per_packet
    );
}

/// A one-byte request and answer on each of many flows in turn.
fn packets(flows: usize) {
    let mut pair = Pair::new(2800);
    let before = resident();
    let open = pair.connect(flows);
    let each = (resident().saturating_sub(before)) / (2 * flows);
    let mut exchanged = 0;
    let began = Clock::now();
    while began.elapsed() < Duration::from_secs(2) {
        for batch in open.chunks(64) {
            for (client, _) in batch {
                fill_small(&mut pair.hosts[0], *client);
            }
            while pair.turn(|host, i, event| {
                if let HostEvent::Readable(flow) = event {
                    take_all(host, flow);
                    if i == 1 {
                        fill_small(host, flow);
                    } else {
                        exchanged += 1;
                    }
                }
            }) {}
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let nanoseconds = seconds * 1e9 / f64::from(exchanged);
    let used = (resident().saturating_sub(before)) / (2 * flows);
    pair.skipped += Duration::from_secs(10);
    while pair.turn(|_, _, _| ()) {}
    let quiet = (resident().saturating_sub(before)) / (2 * flows);
    println!(
        "request and answer, {flows:6} flows  {nanoseconds:6.0} ns ({:.0} a segment and end); {each} bytes a flow idle, {used} after use, {quiet} when quiet again",
        nanoseconds / 4.0
    );
}

/// Datagrams of one direction, as many as the receiver takes.
fn datagrams(len: usize) {
    let mut pair = Pair::new(2800);
    let any = |port| ListenAddr { ip: None, port };
    let mut bind = |host: usize, port| {
        pair.hosts[host]
            .udp_bind(any(port), Sharing::default())
            .expect("a free port")
            .0
    };
    let (client, server) = (bind(0, 0), bind(1, 80));
    let payload = vec![0x5a; len];
    let mut received = 0u32;
    let began = Clock::now();
    while began.elapsed() < Duration::from_secs(2) {
        let now = pair.now();
        for _ in 0..64.min(100_000 / len) {
            let options = SendOptions::default();
            let _ = pair.hosts[0].udp_send(now, client, None, address(1), &payload, options);
        }
        pair.turn(|host, _, event| {
            if let HostEvent::Udp(id, UdpEvent::Readable) = event
                && id == server
            {
                received += host.udp_receive(id, |_| Taken::Yes) as u32;
            }
        });
    }
    let nanoseconds = began.elapsed().as_secs_f64() * 1e9 / f64::from(received);
    println!(
        "datagrams of {len:5} bytes              {nanoseconds:6.0} ns each, both ends ({:.2} GB/s)",
        len as f64 / nanoseconds
    );
}

fn fill_small(host: &mut Host, flow: FlowId) {
    if let Some(mut flow) = host.flow(flow) {
        flow.send_with(|room| {
            room[0] = 1;
            1
        });
    }
}

/// Connect, request, answer, close.
fn short() {
    let mut pair = Pair::new(2800);
    pair.hosts[1]
        .listen(ListenAddr { ip: None, port: 80 }, 1000)
        .expect("a free port");
    let (mut begun, mut done) = (0u32, 0u32);
    let began = Clock::now();
    while began.elapsed() < Duration::from_secs(2) {
        let now = pair.now();
        while begun - done < 100 {
            if pair.hosts[0].connect(now, address(1), None).is_err() {
                break;
            }
            begun += 1;
        }
        pair.turn(|host, i, event| match (i, event) {
            (0, HostEvent::Connected(flow)) => fill_small(host, flow),
            (1, HostEvent::Readable(flow)) => {
                take_all(host, flow);
                fill_small(host, flow);
            }
            (0, HostEvent::Readable(flow)) => {
                take_all(host, flow);
                host.flow(flow).expect("a flow").close();
                done += 1;
            }
            (1, HostEvent::RemoteFinished(flow)) => host.flow(flow).expect("a flow").close(),
            _ => {}
        });
        // The rest of a minute in TIME-WAIT would end the run with the ports.
        if begun % 20_000 < 100 && begun >= 20_000 {
            pair.skipped += Duration::from_secs(61);
            begun += 100;
            done += 100;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "connect, request, answer, close      {:6.1} µs a connection, both ends",
        seconds * 1e6 / f64::from(done)
    );
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .expect("pages")
        * 4096
}

fn main() {
    for (mtu, streams) in [(2800, 1), (2800, 4), (1394, 1), (9890, 1)] {
        bulk(mtu, streams);
    }
    for flows in [10, 1000, 10_000] {
        packets(flows);
    }
    short();
    for len in [100, 1400, 60_000] {
        datagrams(len);
    }
}
