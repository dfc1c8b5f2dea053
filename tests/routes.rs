//! Routes of a network that lead through a gateway, and what remains the container's own.

use serde_json::json;
use std::time::Duration;
use zt_tests::{Daemon, Host, Lab, Service, program, run, wait_for};

const POOL: &str = "10.147.20";
/// An address of the gateway that is on no link of the LAN.
const BEHIND: &str = "192.168.9.9";

/// What curl says about a URL: its exit code, and the page.
fn fetch(service: &Service<'_>, network: &str, url: &str) -> (i32, String) {
    let mut curl = service.intercepted(network, "curl");
    curl.args(["-sS", "-m", "5", url]);
    let output = run(curl, Duration::from_secs(30));
    (output.code, output.stdout)
}

fn serve(mut python: std::process::Command, host: &Host, name: &str) -> Daemon {
    python.arg(program("whoami.py")).arg("8081");
    let server = Daemon::start(python, &host.dir().join(name));
    wait_for("a web server", Duration::from_secs(10), || {
        server.log().contains("listening").then_some(())
    });
    server
}

fn set_routes(lan: &Service<'_>, network: &str, others: &[(&str, &str)]) {
    let pool = format!("{POOL}.0/24");
    let mut routes = vec![json!({"target": pool, "via": null})];
    routes.extend(
        others
            .iter()
            .map(|(target, via)| json!({"target": target, "via": via})),
    );
    let path = format!("/controller/network/{network}");
    let _ = lan.api("POST", &path, Some(&json!({ "routes": routes })));
}

/// Waits until a member has been told of as many routes.
fn has_routes(service: &Service<'_>, network: &str, count: usize) {
    wait_for("the routes", Duration::from_secs(20), || {
        let state = service.api("GET", &format!("/network/{network}"), None);
        (state["routes"].as_array()?.len() == count).then_some(())
    });
}

#[test]
fn a_route_leads_through_its_gateway() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, POOL);
    let (gateway, gateway_address) = Service::start_member(&a, &lan, &network);
    let (member, address) = Service::start_member(&b, &lan, &network);
    let _server = serve(gateway.intercepted(&network, "python3"), &a, "server.log");
    set_routes(&lan, &network, &[("192.168.0.0/16", &gateway_address)]);
    let path = format!("/controller/network/{network}/member/{}", gateway.address());
    let addresses = json!({"ipAssignments": [gateway_address, BEHIND]});
    let _ = lan.api("POST", &path, Some(&addresses));
    has_routes(&member, &network, 2);
    wait_for("the second address", Duration::from_secs(20), || {
        let state = gateway.api("GET", &format!("/network/{network}"), None);
        let addresses = state["assignedAddresses"].to_string();
        addresses.contains(BEHIND).then_some(())
    });
    let url = format!("http://{BEHIND}:8081/");
    let said = (0, format!("8081: {address} for None\n"));
    assert_eq!(fetch(&member, &network, &url), said);
}

#[test]
fn a_default_route_is_used_where_it_is_allowed_and_leaves_the_container_its_neighbours() {
    let lab = Lab::new();
    let (root, a, b, c) = (lab.host(), lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, POOL);
    let (_gateway, gateway_address) = Service::start_member(&a, &lan, &network);
    let (member, _) = Service::start_member(&b, &lan, &network);
    let _neighbour = serve(a.command("python3"), &a, "neighbour.log");
    let of_neighbour = format!("http://{}:8081/", a.address());
    let said = (0, format!("8081: {} for None\n", b.address()));
    set_routes(&lan, &network, &[("0.0.0.0/0", &gateway_address)]);
    has_routes(&member, &network, 2);

    // Not connected: the container has no route to there.
    let elsewhere = "http://198.51.100.1/";
    assert_eq!(fetch(&member, &network, elsewhere).0, 7);
    assert_eq!(fetch(&member, &network, &of_neighbour), said);
    let _ = member.cli(&["set", &network, "allowDefault=1"]);
    wait_for("the default route", Duration::from_secs(20), || {
        // No answer: the LAN's gateway, which knows no way either, is silent.
        (fetch(&member, &network, elsewhere).0 == 28).then_some(())
    });
    assert_eq!(fetch(&member, &network, &of_neighbour), said);
    // The node itself goes on by the container's own network: it finds the way to another that comes now.
    let (newcomer, newcomer_address) = Service::start_member(&c, &lan, &network);
    let _server = serve(newcomer.intercepted(&network, "python3"), &c, "server.log");
    let url = format!("http://{newcomer_address}:8081/");
    assert_eq!(fetch(&member, &network, &url).0, 0);
    wait_for("a direct path", Duration::from_secs(10), || {
        let peer = member.api("GET", &format!("/peer/{}", newcomer.address()), None);
        let paths = peer["paths"].to_string();
        paths.contains(c.address()).then_some(())
    });
}
