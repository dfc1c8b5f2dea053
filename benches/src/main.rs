//! `make bench`: the whole path, measured beside the bare link and stock zerotier-one in one run.
//!
//! Every carrier gets the same two hosts on one switch and the same program (`zt-load`). Figures
//! of one run are comparable with each other and with nothing else: quote ratios.

mod carrier;
mod measure;
mod report;

use carrier::Carrier;
use measure::{Figures, Neighbours};
use std::time::Duration;
use zt_tests::{Lab, Service, Stock, stock_binary};

const POOL: &str = "10.147.20";

fn bare(rounds: u32) -> Figures {
    let lab = Lab::new();
    let (a, b) = (lab.host(), lab.host());
    let carrier = Carrier {
        name: "bare link",
        server: &|program| a.command(program),
        client: &|program| b.command(program),
        address: a.address().to_owned(),
        ping: true,
        services: vec![],
        scratch: a.dir().to_owned(),
    };
    measure::all(&carrier, rounds)
}

/// The name of the peer that ratios are told against.
const STOCK: &str = "zerotier-one";

/// How programs get onto the LAN.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Library,
    Launcher,
}

fn ours(rounds: u32, way: Way) -> Figures {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, POOL);
    let (server, address) = Service::start_member(&a, &lan, &network);
    let (client, _) = Service::start_member(&b, &lan, &network);
    let command = |service: &Service<'_>, program: &str| match way {
        Way::Library => service.intercepted(&network, program),
        Way::Launcher => service.launched(&network, program),
    };
    let carrier = Carrier {
        name: match way {
            Way::Library => "this toolkit",
            Way::Launcher => "by zt-launch",
        },
        server: &|program| command(&server, program),
        client: &|program| command(&client, program),
        address,
        ping: false,
        services: vec![server.pid(), client.pid()],
        scratch: a.dir().to_owned(),
    };
    carrier.warm_up();
    measure::all(&carrier, rounds)
}

fn neighbours(rounds: u32) -> Neighbours {
    let lab = Lab::new();
    let (root, a) = (lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, POOL);
    let (service, address) = Service::start_member(&a, &lan, &network);
    let carrier = Carrier {
        name: "one service",
        server: &|program| service.intercepted(&network, program),
        client: &|program| service.intercepted(&network, program),
        address,
        ping: false,
        services: vec![service.pid()],
        scratch: a.dir().to_owned(),
    };
    measure::neighbours(&carrier, rounds)
}

fn stock(binary: &std::path::Path, rounds: u32) -> Figures {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let root = Stock::start_root(binary, &root);
    let network = root.create_network(POOL);
    let planet = root.home().join("planet");
    let nodes = [&a, &b].map(|host| {
        let node = Stock::start(binary, host, &planet);
        root.authorize(&network, &node.address());
        node.join(&network);
        node
    });
    let addresses = nodes.each_ref().map(|node| node.wait_address(&network));
    let carrier = Carrier {
        name: STOCK,
        server: &|program| a.command(program),
        client: &|program| b.command(program),
        address: addresses[0].clone(),
        ping: true,
        services: nodes.iter().map(Stock::pid).collect(),
        scratch: a.dir().to_owned(),
    };
    carrier.warm_up();
    measure::all(&carrier, rounds)
}

fn main() {
    let rounds = std::env::var("ROUNDS")
        .ok()
        .and_then(|r| r.parse().ok())
        .unwrap_or(3);
    let mut carriers = vec![bare(rounds)];
    std::thread::sleep(Duration::from_secs(1));
    carriers.push(ours(rounds, Way::Library));
    std::thread::sleep(Duration::from_secs(1));
    carriers.push(ours(rounds, Way::Launcher));
    match stock_binary() {
        Some(binary) => {
            std::thread::sleep(Duration::from_secs(1));
            carriers.push(stock(&binary, rounds));
        }
        None => eprintln!("ZT_ONE is unset: measured without stock zerotier-one beside us"),
    }
    report::print(&carriers, &neighbours(rounds));
}
