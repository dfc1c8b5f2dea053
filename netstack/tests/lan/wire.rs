//! Hosts on a simulated wire with virtual time: no sleep, no clock, the same run for the same seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use zt_netstack::{
    Burst, FlowId, FrameSink, Host, HostConfig, HostEvent, Instant, ListenAddr, ListenerId,
};

/// How the wire treats frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) delay: Duration,
    /// Added at random, so that frames overtake each other.
    pub(crate) jitter: Duration,
    /// Frames lost of a million.
    pub(crate) loss: u64,
    /// Bytes a microsecond that a host sends; 0 has no limit.
    pub(crate) rate: u64,
    /// Frames a host may have sent and not yet delivered; the sink is not ready beyond.
    pub(crate) queue: usize,
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions {
            delay: Duration::from_micros(50),
            jitter: Duration::ZERO,
            loss: 0,
            rate: 0,
            queue: 4096,
        }
    }
}

/// Frames kept in [`Wire::seen`].
const SEEN: usize = 2000;

/// One frame under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    pub(crate) src: [u8; 6],
    pub(crate) dst: [u8; 6],
    pub(crate) ethertype: u16,
    pub(crate) payload: Vec<u8>,
}

/// A sink that collects frames up to a limit.
pub(crate) struct Collector {
    pub(crate) src: [u8; 6],
    pub(crate) frames: Vec<Frame>,
    pub(crate) limit: usize,
}

impl FrameSink for Collector {
    fn ready(&self) -> bool {
        self.frames.len() < self.limit
    }

    fn frame(&mut self, dst: [u8; 6], ethertype: u16, payload: &[u8]) {
        assert!(self.ready(), "a frame for a sink that is not ready");
        self.frames.push(Frame {
            src: self.src,
            dst,
            ethertype,
            payload: payload.to_vec(),
        });
    }

    fn burst(&mut self, dst: [u8; 6], ethertype: u16, burst: &Burst<'_>) {
        assert!(self.ready(), "a burst for a sink that is not ready");
        for i in 0..burst.count() {
            let mut payload = vec![0; burst.len(i)];
            burst.write(i, &mut payload);
            self.frames.push(Frame {
                src: self.src,
                dst,
                ethertype,
                payload,
            });
        }
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Decides which frames are delivered.
pub(crate) type Filter = Box<dyn FnMut(&Frame) -> bool>;

/// Two or more hosts on one link.
pub(crate) struct Wire {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    macs: Vec<[u8; 6]>,
    pub(crate) conditions: Conditions,
    random: Random,
    flying: BinaryHeap<Reverse<(Instant, u64, Frame)>>,
    sequence: u64,
    /// Frames each host sent that are still under way.
    under_way: BTreeMap<[u8; 6], usize>,
    /// When the transmitter of each host is free again, in nanoseconds.
    free_at: BTreeMap<[u8; 6], i64>,
    /// When set, frames are seen here before they are delivered; `false` loses one.
    pub(crate) filter: Option<Filter>,
    /// The first frames that were launched.
    pub(crate) seen: Vec<Frame>,
    /// TCP payload over IPv4 that was launched.
    pub(crate) payload_bytes: usize,
    pub(crate) log: Vec<(usize, Instant, HostEvent)>,
}

pub(crate) fn mac(host: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, host as u8 + 1]
}

pub(crate) fn ip(host: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, host as u8 + 1])
}

pub(crate) fn ip6(host: usize) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host as u16 + 1])
}

pub(crate) fn config(host: usize) -> HostConfig {
    HostConfig {
        mac: mac(host),
        mtu: 2800,
        addresses: vec![(ip(host), 24), (ip6(host), 64)],
        routes: Vec::new(),
    }
}

impl Wire {
    pub(crate) fn new(hosts: usize, seed: u64, conditions: Conditions) -> Wire {
        Wire {
            now: Instant(1_000_000_000),
            hosts: (0..hosts)
                .map(|i| Host::new(config(i), seed * 31 + i as u64))
                .collect(),
            macs: (0..hosts).map(mac).collect(),
            conditions,
            random: Random(seed),
            flying: BinaryHeap::new(),
            sequence: 0,
            under_way: BTreeMap::new(),
            free_at: BTreeMap::new(),
            filter: None,
            seen: Vec::new(),
            payload_bytes: 0,
            log: Vec::new(),
        }
    }

    fn launch(&mut self, frame: Frame) {
        if frame.ethertype == 0x0800 && frame.payload.get(9) == Some(&6) {
            let header =
                20 + usize::from(frame.payload.get(32).map_or(5, |offset| offset >> 4)) * 4;
            self.payload_bytes += frame.payload.len().saturating_sub(header);
        }
        if self.seen.len() < SEEN {
            self.seen.push(frame.clone());
        }
        if let Some(filter) = &mut self.filter
            && !filter(&frame)
        {
            return;
        }
        if self.random.next() % 1_000_000 < self.conditions.loss {
            return;
        }
        let jitter = self.conditions.jitter.as_micros() as u64;
        let extra = if jitter > 0 {
            self.random.next() % jitter
        } else {
            0
        };
        let mut at = self.now + self.conditions.delay + Duration::from_micros(extra);
        if let Some(nanoseconds) =
            (frame.payload.len() as u64 * 1000).checked_div(self.conditions.rate)
        {
            // The frame follows the one before it.
            let free = self.free_at.entry(frame.src).or_default();
            let start = (*free).max(self.now.0 * 1000);
            *free = start + nanoseconds as i64;
            at += Duration::from_micros((*free / 1000 - self.now.0) as u64);
        }
        self.sequence += 1;
        *self.under_way.entry(frame.src).or_default() += 1;
        self.flying.push(Reverse((at, self.sequence, frame)));
    }

    /// Puts a frame on the wire as if a station had sent it.
    pub(crate) fn inject(&mut self, frame: Frame) {
        self.launch(frame);
    }

    /// Lets every host send what its queue has room for.
    pub(crate) fn transmit(&mut self) {
        for i in 0..self.hosts.len() {
            let used = self.under_way.get(&self.macs[i]).copied().unwrap_or(0);
            let mut sink = Collector {
                src: self.macs[i],
                frames: Vec::new(),
                limit: self.conditions.queue.saturating_sub(used),
            };
            self.hosts[i].poll_transmit(self.now, &mut sink);
            sink.frames.into_iter().for_each(|frame| self.launch(frame));
        }
    }

    fn next_time(&self) -> Option<Instant> {
        let frame = self.flying.peek().map(|Reverse((at, ..))| *at);
        self.hosts
            .iter()
            .filter_map(Host::deadline)
            .chain(frame)
            .min()
    }

    /// One turn of everybody's loop: due frames, timers, `program` for every host, transmission.
    /// Returns `false` when nothing will ever happen again before `until`.
    pub(crate) fn step(
        &mut self,
        until: Instant,
        program: &mut dyn FnMut(&mut Host, usize, HostEvent),
    ) -> bool {
        let all: Vec<_> = (0..self.hosts.len()).collect();
        self.step_some(until, &all, program)
    }

    /// The same, but only some hosts take their events.
    pub(crate) fn step_some(
        &mut self,
        until: Instant,
        takers: &[usize],
        program: &mut dyn FnMut(&mut Host, usize, HostEvent),
    ) -> bool {
        self.transmit();
        let Some(next) = self.next_time().filter(|next| *next <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        while let Some(Reverse((at, ..))) = self.flying.peek()
            && *at <= self.now
        {
            let Some(Reverse((_, _, frame))) = self.flying.pop() else {
                break;
            };
            *self.under_way.entry(frame.src).or_default() -= 1;
            for i in 0..self.hosts.len() {
                let reaches = frame.dst == self.macs[i] || frame.dst[0] & 1 == 1;
                if reaches && frame.src != self.macs[i] {
                    self.hosts[i].handle_frame(
                        self.now,
                        frame.src,
                        frame.dst,
                        frame.ethertype,
                        &frame.payload,
                    );
                }
            }
        }
        for i in 0..self.hosts.len() {
            if self.hosts[i]
                .deadline()
                .is_some_and(|deadline| deadline <= self.now)
            {
                self.hosts[i].handle_timeout(self.now);
            }
            while takers.contains(&i)
                && let Some(event) = self.hosts[i].poll_event()
            {
                self.log.push((i, self.now, event));
                program(&mut self.hosts[i], i, event);
            }
        }
        true
    }

    /// Runs for a span of virtual time, or until nothing happens any more.
    pub(crate) fn run(
        &mut self,
        span: Duration,
        mut program: impl FnMut(&mut Host, usize, HostEvent),
    ) {
        let until = self.now + span;
        while self.step(until, &mut program) {}
    }

    /// Runs until `done`, at most `span`. Panics if the time is over first.
    pub(crate) fn run_until(
        &mut self,
        span: Duration,
        mut program: impl FnMut(&mut Host, usize, HostEvent),
        mut done: impl FnMut(&mut Wire) -> bool,
    ) {
        let until = self.now + span;
        while !done(self) {
            assert!(
                self.step(until, &mut program),
                "not done after {span:?} of virtual time; {:?}",
                self.log.last()
            );
        }
    }

    pub(crate) fn idle(&mut self, span: Duration) {
        self.run(span, |_, _, _| ());
    }

    pub(crate) fn listen(&mut self, host: usize, port: u16, backlog: usize) -> ListenerId {
        self.hosts[host]
            .listen(ListenAddr { ip: None, port }, backlog)
            .expect("a free port")
            .0
    }

    pub(crate) fn connect(&mut self, from: usize, to: SocketAddr) -> FlowId {
        let now = self.now;
        self.hosts[from].connect(now, to, None).expect("a way")
    }

    /// A connection from host 0 to a listener of host 1: both ends.
    pub(crate) fn pair(&mut self, port: u16) -> (FlowId, FlowId) {
        let listener = self.listen(1, port, 8);
        let client = self.connect(0, SocketAddr::new(ip(1), port));
        let mut server = None;
        self.run_until(
            Duration::from_secs(10),
            |_, _, event| {
                if let HostEvent::Accepted { flow, .. } = event {
                    server = Some(flow);
                }
            },
            |wire| {
                wire.log
                    .iter()
                    .any(|(_, _, event)| matches!(event, HostEvent::Accepted { .. }))
            },
        );
        self.hosts[1].unlisten(listener);
        self.log.clear();
        (client, server.expect("accepted"))
    }

    pub(crate) fn events(&self, host: usize) -> Vec<HostEvent> {
        self.log
            .iter()
            .filter(|(i, ..)| *i == host)
            .map(|(_, _, event)| *event)
            .collect()
    }
}

/// Reads all that is there.
pub(crate) fn read(host: &mut Host, flow: FlowId) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Some(mut flow) = host.flow(flow) else {
        return bytes;
    };
    while flow.recv_with(|chunk| {
        bytes.extend_from_slice(chunk);
        chunk.len()
    }) > 0
    {}
    bytes
}

/// Writes as much as there is room for; returns how much.
pub(crate) fn write(host: &mut Host, flow: FlowId, mut bytes: &[u8]) -> usize {
    let Some(mut flow) = host.flow(flow) else {
        return 0;
    };
    let all = bytes.len();
    while !bytes.is_empty() {
        let written = flow.send_with(|room| {
            let len = room.len().min(bytes.len());
            room[..len].copy_from_slice(&bytes[..len]);
            len
        });
        if written == 0 {
            break;
        }
        bytes = &bytes[written..];
    }
    all - bytes.len()
}
