//! Our node among stock zerotier-one nodes, where `ZT_ONE` names a stock binary.
//!
//! Stock software is not part of this project and its package is not in Debian: these tests belong to
//! the feature `stock`, which `make test` switches on where the variable is set.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use zt_tests::{
    Daemon, Host, Lab, Service, ServiceOptions, Stock, program, run, stock_binary, wait_for,
};

const POOL: &str = "10.147.20";
const SIZE: usize = 64 << 20;

/// A folder with a page and 64 MiB of noise, and the noise's digest.
fn content(host: &Host) -> String {
    let noise: Vec<u8> = (0..SIZE / 8)
        .flat_map(|i| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    std::fs::write(host.dir().join("noise"), noise).expect("noise");
    std::fs::write(host.dir().join("index.html"), "hello from the LAN\n").expect("page");
    sha256(&mut host.command("sha256sum"), &host.dir().join("noise"))
}

fn sha256(command: &mut Command, file: &Path) -> String {
    let mut command = std::mem::replace(command, Command::new("true"));
    command.arg(file);
    let text = run(command, Duration::from_secs(30)).expect_ok("sha256sum");
    text.split_whitespace().next().expect("digest").to_owned()
}

fn http_server(mut python: Command, host: &Host) -> Daemon {
    python.args(["-u", "-m", "http.server", "80", "--directory"]);
    python.arg(host.dir());
    let server = Daemon::start(python, &host.dir().join("http.log"));
    wait_for("the web server", Duration::from_secs(5), || {
        server.log().contains("Serving").then_some(())
    });
    server
}

/// Fetches the page and the noise with `curl` (made anew for each by the closure).
fn fetch(curl: &dyn Fn() -> Command, host: &Host, address: &str, digest: &str) {
    let mut page = curl();
    page.args(["-sS", "-m", "20", &format!("http://{address}/")]);
    let page = run(page, Duration::from_secs(30)).expect_ok("fetching the page");
    assert_eq!(page, "hello from the LAN\n");
    let file = host.dir().join("fetched");
    let mut noise = curl();
    noise.args(["-sS", "-m", "100", &format!("http://{address}/noise"), "-o"]);
    noise.arg(&file);
    let _ = run(noise, Duration::from_secs(110)).expect_ok("fetching 64 MiB");
    assert_eq!(sha256(&mut host.command("sha256sum"), &file), digest);
}

/// Asserts that a packet from `from` sealed with AES-GMAC-SIV (suite 3, VL1 §2.1) and long enough
/// to be a frame passes by while `traffic` runs.
fn sees_suite_3(host: &Host, from: &str, traffic: impl FnOnce()) {
    let mut tcpdump = host.command("tcpdump");
    let filter = format!("src host {from} and udp and udp[26] & 0x38 = 0x18 and udp[4:2] > 100");
    tcpdump.args(["-i", "eth0", "-n", "-c", "1", "--immediate-mode", &filter]);
    let mut tcpdump = Daemon::start(tcpdump, &host.dir().join("tcpdump.log"));
    wait_for("tcpdump", Duration::from_secs(5), || {
        tcpdump.log().contains("listening").then_some(())
    });
    traffic();
    wait_for("a frame in suite 3", Duration::from_secs(5), || {
        tcpdump.ended()
    });
}

fn ping(command: Command, address: &str) {
    let mut command = command;
    command.args(["-c", "3", "-i", "0.2", "-W", "5", address]);
    let _ = run(command, Duration::from_secs(30)).expect_ok("ping");
}

/// Everything that a stock member and ours do with each other once both have an address.
fn exchange(stock: &Stock<'_>, ours: &Service<'_>, hosts: (&Host, &Host), network: &str) {
    let (stock_host, our_host) = hosts;
    let stock_address = stock.wait_address(network);
    let our_address = ours.wait_address(network);

    let started = Instant::now();
    ping(stock_host.command("ping"), &our_address);
    wait_for("a direct path", Duration::from_secs(5), || {
        let peer = ours.api("GET", &format!("/peer/{}", stock.address()), None);
        let paths = peer["paths"].as_array()?;
        paths
            .iter()
            .any(|p| {
                p["address"]
                    .as_str()
                    .is_some_and(|a| a.starts_with(stock_host.address()))
            })
            .then_some(())
    });
    let took = started.elapsed();
    println!("direct after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");

    let digest = content(our_host);
    assert_eq!(content(stock_host), digest);
    {
        let _server = http_server(ours.intercepted(network, "python3"), our_host);
        sees_suite_3(our_host, our_host.address(), || {
            fetch(
                &|| stock_host.command("curl"),
                stock_host,
                &our_address,
                &digest,
            );
        });
    }
    let _server = http_server(stock_host.command("python3"), stock_host);
    sees_suite_3(our_host, stock_host.address(), || {
        fetch(
            &|| ours.intercepted(network, "curl"),
            our_host,
            &stock_address,
            &digest,
        );
    });
}

/// One of two members with its address: how it starts a program, and where the program's output goes.
struct End<'a> {
    start: &'a dyn Fn(&str) -> Command,
    host: &'a Host,
    address: String,
}

/// Asks a group and the whole subnet, and sees that the other end answers.
fn ask_everybody(asker: &End<'_>, member: &End<'_>) {
    let role = |end: &End<'_>, role: &str| {
        let mut python = (end.start)("python3");
        python.args(["-u".as_ref(), program("groups.py").as_os_str()]);
        python.args([role, &end.address, "23000"]);
        python
    };
    let log = member.host.dir().join("member.log");
    let server = Daemon::start(role(member, "member"), &log);
    wait_for("the member", Duration::from_secs(10), || {
        server.log().contains("listening").then_some(())
    });
    let answers = run(role(asker, "asker"), Duration::from_secs(150)).expect_ok("groups.py");
    let expected = format!("[\"{0}\", \"{0}\"]", member.address);
    assert_eq!(answers.trim(), expected);
    let ping_program = asker.host.dir().join("ping");
    // A copy has no capability of the file: with one, no library would be loaded.
    let _ = std::fs::copy("/usr/bin/ping", &ping_program).expect("/usr/bin/ping");
    ping(
        (asker.start)(&ping_program.to_string_lossy()),
        &member.address,
    );
}

#[test]
fn groups_broadcast_and_ping_reach_stock_members_and_come_from_them() {
    let binary = stock_binary().expect("ZT_ONE names a stock zerotier-one");
    let lab = Lab::new();
    let (root_host, stock_host, our_host) = (lab.host(), lab.host(), lab.host());
    let (root, network) = Service::start_lan(&root_host, POOL);
    let stock = Stock::start(&binary, &stock_host, &root.home().join("planet"));
    root.authorize(&network, &stock.address());
    stock.join(&network);
    let (ours, our_address) = Service::start_member(&our_host, &root, &network);
    let theirs = End {
        start: &|program| stock_host.command(program),
        host: &stock_host,
        address: stock.wait_address(&network),
    };
    let ours = End {
        start: &|program| ours.intercepted(&network, program),
        host: &our_host,
        address: our_address,
    };
    ask_everybody(&ours, &theirs);
    ask_everybody(&theirs, &ours);
}

/// A stock root that is the controller too, its network, and two members: a stock node and ours.
fn stock_lan<'a>(
    binary: &Path,
    (root_host, stock_host, our_host): (&'a Host, &'a Host, &'a Host),
    options: ServiceOptions,
) -> (Stock<'a>, String, Stock<'a>, Service<'a>) {
    let root = Stock::start_root(binary, root_host);
    let network = root.create_network(POOL);
    let planet = Some(root.home().join("planet"));
    let stock = Stock::start(binary, stock_host, &root.home().join("planet"));
    let ours = Service::start(our_host, &ServiceOptions { planet, ..options });
    root.authorize(&network, &stock.address());
    root.authorize(&network, &ours.address());
    stock.join(&network);
    let _ = ours.cli(&["join", &network]);
    (root, network, stock, ours)
}

#[test]
fn a_member_of_a_stock_root_and_controller() {
    let binary = stock_binary().expect("ZT_ONE names a stock zerotier-one");
    let lab = Lab::new();
    let (root_host, stock_host, our_host) = (lab.host(), lab.host(), lab.host());
    let (_root, network, stock, ours) = stock_lan(
        &binary,
        (&root_host, &stock_host, &our_host),
        ServiceOptions::default(),
    );
    exchange(&stock, &ours, (&stock_host, &our_host), &network);
}

#[test]
fn a_root_and_controller_of_stock_members() {
    let binary = stock_binary().expect("ZT_ONE names a stock zerotier-one");
    let lab = Lab::new();
    let (root_host, stock_host, our_host) = (lab.host(), lab.host(), lab.host());
    let (root, network) = Service::start_lan(&root_host, POOL);
    let stock = Stock::start(&binary, &stock_host, &root.home().join("planet"));
    root.authorize(&network, &stock.address());
    stock.join(&network);
    let (ours, _) = Service::start_member(&our_host, &root, &network);
    exchange(&stock, &ours, (&stock_host, &our_host), &network);
}

/// Names by multicast DNS, between a kernel behind a stock node and programs behind ours.
#[test]
fn names_are_asked_and_answered_among_stock_hosts() {
    let binary = stock_binary().expect("ZT_ONE names a stock zerotier-one");
    let lab = Lab::new();
    let (root_host, stock_host, our_host) = (lab.host(), lab.host(), lab.host());
    let (_root, network, stock, ours) = stock_lan(
        &binary,
        (&root_host, &stock_host, &our_host),
        ServiceOptions {
            environment: vec![("ZT_NAME".to_owned(), "web".to_owned())],
            ..ServiceOptions::default()
        },
    );
    let stock_address = stock.wait_address(&network);
    let our_address = ours.wait_address(&network);
    let mdns = |mode: &str, name: &str| {
        let mut python = stock_host.command("python3");
        python.arg("-u").arg(program("mdns.py"));
        python.args([mode, &stock_address, name]);
        python
    };
    for mode in ["ask", "legacy"] {
        let found = run(mdns(mode, "web.local"), Duration::from_secs(60)).expect_ok("mdns.py");
        assert_eq!(found.trim(), our_address, "{mode}");
    }
    let answerer = Daemon::start(
        mdns("answer", "printer.local"),
        &stock_host.dir().join("mdns.log"),
    );
    wait_for("the answerer", Duration::from_secs(10), || {
        answerer.log().contains("listening").then_some(())
    });
    // The first question may come before the network knows who listens.
    let text = wait_for("the name", Duration::from_secs(60), || {
        let mut getent = ours.intercepted(&network, "getent");
        getent.args(["ahostsv4", "printer.local"]);
        let output = run(getent, Duration::from_secs(30));
        (output.code == 0).then_some(output.stdout)
    });
    assert!(text.starts_with(&stock_address), "{text}");
}

/// A gateway that is a stock node, with an address beyond the LAN behind it.
#[test]
fn a_default_route_leads_through_a_stock_gateway() {
    const BEYOND: &str = "198.51.100.1";
    let binary = stock_binary().expect("ZT_ONE names a stock zerotier-one");
    let lab = Lab::new();
    let (root_host, stock_host, our_host) = (lab.host(), lab.host(), lab.host());
    let (root, network) = Service::start_lan(&root_host, POOL);
    let stock = Stock::start(&binary, &stock_host, &root.home().join("planet"));
    root.authorize(&network, &stock.address());
    stock.join(&network);
    let gateway = stock.wait_address(&network);
    let mut ip = stock_host.command("ip");
    ip.args(["address", "add", &format!("{BEYOND}/32"), "dev", "lo"]);
    let _ = run(ip, Duration::from_secs(10)).expect_ok("ip address add");
    let _ = content(&stock_host);
    let _server = http_server(stock_host.command("python3"), &stock_host);
    let (ours, _) = Service::start_member(&our_host, &root, &network);
    let routes = serde_json::json!({"routes": [
        {"target": format!("{POOL}.0/24"), "via": null},
        {"target": "0.0.0.0/0", "via": gateway},
    ]});
    let _ = root.api(
        "POST",
        &format!("/controller/network/{network}"),
        Some(&routes),
    );
    let _ = ours.cli(&["set", &network, "allowDefault=1"]);
    let page = wait_for("a page from beyond", Duration::from_secs(30), || {
        let mut curl = ours.intercepted(&network, "curl");
        curl.args(["-sS", "-m", "5", &format!("http://{BEYOND}/")]);
        let output = run(curl, Duration::from_secs(30));
        (output.code == 0).then_some(output.stdout)
    });
    assert_eq!(page, "hello from the LAN\n");
    let mut ping_program = ours.intercepted(&network, "ping");
    ping_program.arg("-n");
    ping(ping_program, BEYOND);
}
