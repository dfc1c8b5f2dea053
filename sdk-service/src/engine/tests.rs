//! Whole data planes against each other: a root with a controller and two members, in a network
//! namespace of their own.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use getrandom::SysRng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::json;
use zt_controller::{Method, Records};
use zt_protocol::identity::SecretKey;
use zt_protocol::rand_core::UnwrapErr;
use zt_protocol::vl2::Status;
use zt_protocol::world::Root;
use zt_protocol::{NetworkId, SecretIdentity, World};
use zt_socket_rpc::Options;

use super::*;
use crate::broker::tests::program::Program;
use crate::home::NetworkSettings;
use crate::udp::UdpConfig;

/// Paths over loopback addresses are not permitted, so the namespace gets an interface of its own.
const HOST: &str = "10.66.0.1";
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` in a fresh network namespace, which ends with its thread and processes.
fn in_a_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        // SAFETY: only the network namespace of this thread changes; descriptors stay shared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace (needs root)");
        for arguments in [
            "link set lo up",
            "link add d0 type veth peer name d1",
            "addr add 10.66.0.1/24 dev d0",
            "link set d0 up",
            "link set d1 up",
        ] {
            let status = Command::new("ip")
                .args(arguments.split(' '))
                .status()
                .expect("iproute2 is installed");
            assert!(status.success(), "ip {arguments}");
        }
        test();
    };
    thread::spawn(run).join().unwrap();
}

struct Node {
    handle: EngineHandle,
    events: Events,
    directory: tempfile::TempDir,
    address: zt_protocol::Address,
}

impl Node {
    fn start(identity: SecretIdentity, planet: World, port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = identity.address();
        let config = EngineConfig {
            identity,
            planet,
            udp: UdpConfig {
                port,
                ..UdpConfig::default()
            },
            socket_directory: directory.path().to_owned(),
            name: None,
            interface_prefix_blacklist: Vec::new(),
            controller_records: Records::default(),
        };
        let (handle, events) = spawn(config).unwrap();
        Self {
            handle,
            events,
            directory,
            address,
        }
    }

    fn join(&self, network: NetworkId) -> Program {
        let view = self
            .handle
            .join(network, None, NetworkSettings::default())
            .wait()
            .unwrap()
            .unwrap();
        assert_eq!(
            view.socket,
            self.directory.path().join(format!("nc_{network}"))
        );
        Program::new(&view.socket)
    }

    /// The address on a network, once there is one.
    fn lan_address(&mut self, network: NetworkId) -> IpAddr {
        wait_for("an address", || {
            let views = self.handle.networks().wait().unwrap();
            let view = views.iter().find(|view| view.status.id == network)?;
            view.addresses
                .first()
                .map(|prefix| prefix.address())
                .filter(|_| view.status.status == Status::Ok)
        })
    }

    fn stop(mut self) {
        self.handle.stop();
        while self.events.blocking_recv().is_some() {}
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no {what} in time");
        thread::sleep(Duration::from_millis(5));
    }
}

fn wait_until_ready(fd: impl AsFd, flags: PollFlags) {
    let timeout = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&fd, flags)];
    assert_eq!(
        poll(&mut fds, Some(&timeout)).unwrap(),
        1,
        "{flags:?} in time"
    );
}

/// A root that is a controller too, with a public network.
fn start_lan() -> (Node, World, NetworkId) {
    let rng = &mut UnwrapErr(SysRng);
    let identity = SecretIdentity::generate(rng);
    let endpoint: SocketAddr = (HOST.parse::<IpAddr>().unwrap(), 9990).into();
    let root = Root {
        identity: *identity.public(),
        endpoints: vec![endpoint],
    };
    let planet = World::make_planet(&SecretKey::generate(rng), 7, 1, vec![root]);
    let node = Node::start(identity, planet.clone(), 9990);
    let settings = json!({
        "private": false,
        "v4AssignMode": {"zt": true},
        "ipAssignmentPools": [{"ipRangeStart": "10.147.20.1", "ipRangeEnd": "10.147.20.250"}],
        "routes": [{"target": "10.147.20.0/24", "via": null}],
    });
    let path = format!("/controller/network/{}______", node.address);
    let made = node
        .handle
        .controller(Method::Post, path, Some(settings))
        .wait()
        .unwrap();
    let id = made.body.unwrap()["id"].as_str().unwrap().parse().unwrap();
    (node, planet, id)
}

fn start_member(planet: &World, network: NetworkId, port: u16) -> (Node, Program, IpAddr) {
    let identity = SecretIdentity::generate(&mut UnwrapErr(SysRng));
    let mut node = Node::start(identity, planet.clone(), port);
    let program = node.join(network);
    let address = node.lan_address(network);
    (node, program, address)
}

#[test]
fn members_join_and_programs_exchange_bytes() {
    in_a_namespace(|| {
        let (root, planet, network) = start_lan();
        let (a, client, _) = start_member(&planet, network, 9991);
        let (b, server, address) = start_member(&planet, network, 9992);

        let (listening, control) = server.listen((address, 80).into(), 8, None);
        wait_until_ready(&control, PollFlags::IN);
        let (connection, _) = client.connect((address, 80).into(), false, Options::default());
        wait_until_ready(&connection.stream, PollFlags::OUT);
        wait_until_ready(&listening.fd, PollFlags::IN);
        let served = UnixStream::from(listening.accept().unwrap().1);

        // Both ways at once, more than every queue on the way holds.
        let pattern = |i: usize| (i * 7 % 253) as u8;
        let size = 24 << 20;
        let transfers = [(&connection.stream, &served), (&served, &connection.stream)];
        thread::scope(|scope| {
            for (from, to) in transfers {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                scope.spawn(move || {
                    let bytes: Vec<u8> = (0..size).map(pattern).collect();
                    from.write_all(&bytes).unwrap();
                    from.shutdown(std::net::Shutdown::Write).unwrap();
                });
                scope.spawn(move || {
                    let mut got = Vec::new();
                    to.read_to_end(&mut got).unwrap();
                    assert_eq!(got.len(), size);
                    assert!(got.iter().enumerate().all(|(i, &byte)| byte == pattern(i)));
                });
            }
        });

        let peers = a.handle.peers().wait().unwrap();
        let peer = peers
            .iter()
            .find(|peer| peer.address == b.address)
            .expect("the other member");
        assert!(
            peer.paths
                .iter()
                .any(|path| path.remote.ip().to_string() == HOST),
            "a direct path"
        );

        drop((connection, served, listening));
        for node in [&a, &b] {
            wait_for("end of every connection", || {
                let views = node.handle.networks().wait().unwrap();
                views
                    .iter()
                    .all(|view| (view.connections, view.listeners) == (0, 0))
                    .then_some(())
            });
        }
        let socket = a.directory.path().join(format!("nc_{network}"));
        assert!(a.handle.leave(network).wait().unwrap());
        assert!(!socket.exists());
        assert!(!a.handle.leave(network).wait().unwrap(), "not twice");
        [a, b, root].into_iter().for_each(Node::stop);
    });
}

#[test]
fn a_controller_tells_what_to_keep_and_settings_decide_what_is_used() {
    in_a_namespace(|| {
        let (mut root, planet, network) = start_lan();
        let (member, _, _) = start_member(&planet, network, 9991);
        let mut keys = Vec::new();
        while let Ok(event) = root.events.try_recv() {
            if let EngineEvent::ControllerPut { key, .. } = event {
                keys.push(key);
            }
        }
        assert!(keys.contains(&format!("network/{network}")));
        assert!(keys.contains(&format!("network/{network}/member/{}", member.address)));

        let settings = NetworkSettings {
            allow_managed: false,
            ..NetworkSettings::default()
        };
        let view = member
            .handle
            .join(network, None, settings)
            .wait()
            .unwrap()
            .unwrap();
        assert!(view.addresses.is_empty() && !view.status.addresses.is_empty());
        [member, root].into_iter().for_each(Node::stop);
    });
}

#[test]
fn a_service_that_stops_resets_its_connections() {
    in_a_namespace(|| {
        let (root, planet, network) = start_lan();
        let (a, client, _) = start_member(&planet, network, 9991);
        let (b, server, address) = start_member(&planet, network, 9992);
        let (listening, control) = server.listen((address, 80).into(), 8, None);
        wait_until_ready(&control, PollFlags::IN);
        let (connection, _) = client.connect((address, 80).into(), false, Options::default());
        wait_until_ready(&connection.stream, PollFlags::OUT);
        wait_until_ready(&listening.fd, PollFlags::IN);
        let served = UnixStream::from(listening.accept().unwrap().1);
        let socket = b.directory.path().join(format!("nc_{network}"));
        b.stop();
        assert!(!socket.exists());
        for mut end in [&served, &connection.stream] {
            wait_until_ready(end, PollFlags::IN);
            assert_eq!(end.read(&mut [0; 1]).unwrap(), 0, "the end on both sides");
        }
        [a, root].into_iter().for_each(Node::stop);
    });
}

#[test]
fn a_taken_port_comes_back_from_the_start() {
    in_a_namespace(|| {
        let (root, planet, _) = start_lan();
        let identity = SecretIdentity::generate(&mut UnwrapErr(SysRng));
        let config = EngineConfig {
            identity,
            planet,
            udp: UdpConfig {
                port: 9990,
                ..UdpConfig::default()
            },
            socket_directory: root.directory.path().to_owned(),
            name: None,
            interface_prefix_blacklist: Vec::new(),
            controller_records: Records::default(),
        };
        let error = spawn(config).expect_err("the port is taken");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        root.stop();
    });
}
