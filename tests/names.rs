//! Names on the LAN as programs see them, with both C libraries.

use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use zt_tests::{Daemon, Host, Lab, Service, ServiceOptions, go_program, program, run, wait_for};

const POOL: &str = "10.147.20";

/// `names.c`, built by this compiler.
fn build(host: &Host, compiler: &str) -> PathBuf {
    build_with(host, compiler, &[])
}

fn build_with(host: &Host, compiler: &str, options: &[&str]) -> PathBuf {
    let built = host.dir().join(format!("names-{compiler}"));
    let mut command = Command::new(compiler);
    command
        .args(["-O2", "-Wall", "-Wextra", "-Werror"])
        .args(options)
        .arg("-o")
        .arg(&built)
        .arg(program("names.c"));
    let _ = run(command, Duration::from_secs(60)).expect_ok(compiler);
    built
}

/// A member of the LAN that publishes a name.
fn start_named<'a>(
    host: &'a Host,
    lan: &Service<'_>,
    network: &str,
    name: &str,
) -> (Service<'a>, String) {
    let options = ServiceOptions {
        planet: Some(lan.home().join("planet")),
        environment: vec![("ZT_NAME".to_owned(), name.to_owned())],
        ..ServiceOptions::default()
    };
    let service = Service::start(host, &options);
    lan.authorize(network, &service.address());
    let _ = service.cli(&["join", network]);
    let address = service.wait_address(network);
    (service, address)
}

/// Waits until a member has a name of its own.
fn published(service: &Service<'_>, network: &str) -> String {
    wait_for("a published name", Duration::from_secs(20), || {
        let state = service.api("GET", &format!("/network/{network}"), None);
        state["publishedName"].as_str().map(ToOwned::to_owned)
    })
}

/// What `names.c` says on a member of the LAN.
fn say(service: &Service<'_>, network: &str, built: &PathBuf, words: [&str; 2]) -> String {
    let mut command = service.intercepted(network, built);
    command.args(words);
    run(command, Duration::from_secs(60)).expect_ok("names.c")
}

#[test]
fn members_find_each_other_by_name() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, POOL);
    let (web, web_address) = start_named(&a, &lan, &network, "web");
    let (db, db_address) = start_named(&b, &lan, &network, "db");
    assert_eq!(published(&web, &network), "web.local");
    assert_eq!(published(&db, &network), "db.local");
    for compiler in ["cc", "musl-gcc"] {
        let built = build(&a, compiler);
        for (service, name, address) in [
            (&db, "web.local", &web_address),
            (&web, "db.local", &db_address),
            // Its own.
            (&web, "web.local", &web_address),
        ] {
            let text = say(service, &network, &built, ["look_up", name]);
            // Musl gives the true name unasked.
            let is = if compiler == "cc" {
                String::new()
            } else {
                format!(" is {name}")
            };
            let expected = format!(
                "getaddrinfo 0 0: {address}/80 is {name}\n\
                 getaddrinfo 4 0: {address}/80{is}\n\
                 getaddrinfo 6 0: ::ffff:{address}/80{is}\n\
                 gethostbyname 0: {name} {address}\n\
                 gethostbyname2 0: {name} {address}\n\
                 gethostbyname_r 0: {name} {address}\n\
                 no room 34 1\n\
                 res_querydomain 1 {address}\n\
                 res_query 1 {address}\n"
            );
            assert_eq!(text, expected, "{compiler}");
            let text = say(service, &network, &built, ["reverse", address]);
            let expected = format!(
                "getnameinfo 0 {name} 80\nno room 1\nnumeric 0 {address}\n\
                 gethostbyaddr 0: {name} {address}\n"
            );
            assert_eq!(text, expected, "{compiler}");
        }
    }

    // Ordinary programs.
    let mut getent = db.intercepted(&network, "getent");
    getent.args(["hosts", "WEB.local"]);
    let text = run(getent, Duration::from_secs(20)).expect_ok("getent");
    assert!(text.starts_with(&web_address), "{text}");
    std::fs::write(a.dir().join("index.html"), "by name\n").expect("page");
    let mut python = web.intercepted(&network, "python3");
    python.args(["-u", "-m", "http.server", "80", "--directory"]);
    python.arg(a.dir());
    let server = Daemon::start(python, &a.dir().join("http.log"));
    wait_for("the web server", Duration::from_secs(10), || {
        server.log().contains("Serving").then_some(())
    });
    let mut curl = db.intercepted(&network, "curl");
    curl.args(["-sS", "-m", "20", "http://web.local/"]);
    let page = run(curl, Duration::from_secs(30)).expect_ok("curl");
    assert_eq!(page, "by name\n");

    // What is not of the LAN stays the program's own affair, and what nobody has is not found.
    let mut getent = db.intercepted(&network, "getent");
    getent.args(["hosts", "localhost"]);
    let _ = run(getent, Duration::from_secs(20)).expect_ok("getent");
    let mut getent = db.intercepted(&network, "getent");
    getent.args(["hosts", "nobody.local"]);
    assert_eq!(run(getent, Duration::from_secs(60)).code, 2);
}

/// Containers come and go, and who has just come gets the address of who has just left: others still know that address by
/// another link address, and must find out, or their answers go where nobody is.
#[test]
fn a_newcomer_at_the_address_of_another_finds_names_and_is_found() {
    let lab = Lab::new();
    let (root, a, b, c) = (lab.host(), lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, POOL);
    let (web, web_address) = start_named(&a, &lan, &network, "web");
    assert_eq!(published(&web, &network), "web.local");
    let look_up = |service: &Service<'_>| {
        let mut getent = service.intercepted(&network, "getent");
        getent.args(["ahostsv4", "web.local"]);
        let text = run(getent, Duration::from_secs(20)).expect_ok("getent");
        assert!(text.starts_with(&web_address), "{text}");
    };
    let (first, address) = Service::start_member(&b, &lan, &network);
    look_up(&first);
    let member = first.address();
    drop(first);
    let path = format!("/controller/network/{network}/member/{member}");
    let _ = lan.api("DELETE", &path, None);
    let (second, same) = Service::start_member(&c, &lan, &network);
    assert_eq!(same, address);
    wait_for("an answer of the newcomer", Duration::from_secs(10), || {
        let mut ping = web.intercepted(&network, "ping");
        ping.args(["-n", "-c", "1", "-W", "1", &address]);
        (run(ping, Duration::from_secs(10)).code == 0).then_some(())
    });
    look_up(&second);
}

#[test]
fn a_name_that_is_taken_gets_a_number_and_settings_name_a_member_too() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, POOL);
    let (first, address) = start_named(&a, &lan, &network, "web");
    assert_eq!(published(&first, &network), "web.local");
    let (second, _) = start_named(&b, &lan, &network, "web");
    assert_eq!(published(&second, &network), "web-2.local");
    let _ = first.cli(&["set", &network, "hostName=Front"]);
    wait_for("the other name", Duration::from_secs(20), || {
        (published(&first, &network) == "front.local").then_some(())
    });
    let built = build(&b, "cc");
    let text = say(&second, &network, &built, ["look_up", "front.local"]);
    assert!(text.contains(&format!("{address}/80")), "{text}");
}

#[test]
fn programs_see_the_interface_of_the_lan() {
    let lab = Lab::new();
    let (root, a) = (lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, POOL);
    let (service, address) = Service::start_member(&a, &lan, &network);
    let state = service.api("GET", &format!("/network/{network}"), None);
    let mac = state["mac"].as_str().expect("mac");
    let mut python = service.intercepted(&network, "python3");
    python.args([
        "-c",
        "import socket; print([n for i, n in socket.if_nameindex() if n[:2] == 'zt'][0])",
    ]);
    let name = run(python, Duration::from_secs(20)).expect_ok("python3");
    let name = name.trim();
    let broadcast = format!("{POOL}.255");
    for compiler in ["cc", "musl-gcc"] {
        let built = build(&a, compiler);
        let text = say(&service, &network, &built, ["interfaces", name]);
        let expected = format!(
            "getifaddrs 11043 1 {mac}\n\
             getifaddrs 11043 {address} 255.255.255.0 {broadcast}\n\
             if_indextoname {name}\n\
             if_nameindex 1 1\n\
             address {address}\n\
             netmask 255.255.255.0\n\
             broadcast {broadcast}\n\
             mtu 2800\n\
             flags 1043\n\
             hardware 1\n\
             index 1\n\
             SIOCGIFCONF 0 1 1\n\
             lo 1\n"
        );
        assert_eq!(text, expected, "{compiler}");
        let of_kernel = |command: &mut Command| {
            let mut command = std::mem::replace(command, Command::new("true"));
            command.args(["interfaces", "lo"]);
            run(command, Duration::from_secs(20)).expect_ok("names.c")
        };
        let plain = of_kernel(&mut a.command(&built));
        let ours = of_kernel(&mut service.intercepted(&network, &built));
        assert_eq!(plain, ours, "{compiler}");
    }
}

#[test]
fn names_of_the_networks_domain_are_asked_from_its_servers() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, POOL);
    let (server, server_address) = Service::start_member(&a, &lan, &network);
    let (client, _) = Service::start_member(&b, &lan, &network);
    let mut python = server.intercepted(&network, "python3");
    python
        .args(["-u".as_ref(), program("name_server.py").as_os_str()])
        .arg(&server_address);
    let name_server = Daemon::start(python, &a.dir().join("names.log"));
    wait_for("the name server", Duration::from_secs(10), || {
        name_server.log().contains("listening").then_some(())
    });
    let dns = json!({"dns": {"domain": "corp.example", "servers": [server_address]}});
    let path = format!("/controller/network/{network}");
    let _ = lan.api("POST", &path, Some(&dns));
    let _ = client.cli(&["set", &network, "allowDNS=1"]);
    wait_for("the network's domain", Duration::from_secs(20), || {
        let state = client.api("GET", &format!("/network/{network}"), None);
        (state["dns"]["domain"] == "corp.example").then_some(())
    });
    for compiler in ["cc", "musl-gcc"] {
        let built = build(&b, compiler);
        let text = say(&client, &network, &built, ["look_up", "db.corp.example"]);
        let first = "getaddrinfo 0 0: 192.0.2.7/80 is db.corp.example\n";
        assert!(text.starts_with(first), "{compiler}: {text}");
        assert!(
            text.ends_with("res_query 1 192.0.2.7\n"),
            "{compiler}: {text}"
        );
    }
}

/// A command of a launched program that finds these name servers in its file.
fn with_name_server(host: &Host, launched: &Command, server: &str) -> Command {
    let servers = host.dir().join("resolv.conf");
    std::fs::write(&servers, format!("nameserver {server}\n")).expect("resolv.conf");
    let mut command = host.command("unshare");
    let mount = format!(
        "mount --bind {} /etc/resolv.conf && exec \"$@\"",
        servers.display()
    );
    command.args(["-m", "sh", "-c", &mount, "sh"]);
    command
        .arg(launched.get_program())
        .args(launched.get_args());
    command
}

/// A static program makes DNS messages itself, and knows a name server of the container's own network only. The service
/// answers for it what is the LAN's; all else is asked there.
#[test]
fn static_programs_find_the_names_of_both_networks() {
    let lab = Lab::new();
    let (root, a, b) = (lab.host(), lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, POOL);
    let (web, web_address) = start_named(&a, &lan, &network, "web");
    let (member, _) = Service::start_member(&b, &lan, &network);
    assert_eq!(published(&web, &network), "web.local");
    let mut python = a.command("python3");
    python
        .args(["-u".as_ref(), program("name_server.py").as_os_str()])
        .arg(a.address());
    let name_server = Daemon::start(python, &a.dir().join("names.log"));
    wait_for("the name server", Duration::from_secs(10), || {
        name_server.log().contains("listening").then_some(())
    });

    let go = go_program(&b, "lookup");
    let words = ["web.local", &web_address, "nobody.local", "db.corp.example"];
    let look_up = |server: &str, mode: &str| {
        let mut command = with_name_server(&b, &member.launched(&network, &go), server);
        command.env("ZT_NC_MODE", mode).args(words);
        run(command, Duration::from_secs(120)).expect_ok("lookup")
    };
    let of_lan = format!(
        "web.local [{web_address}] true\n\
         {web_address} [web.local.] true\n\
         nobody.local [] false\n"
    );
    let both = format!("{of_lan}db.corp.example [192.0.2.7] true\n");
    let alone = format!("{of_lan}db.corp.example [] false\n");
    assert_eq!(look_up(a.address(), "split"), both);
    // The service's own address knows the LAN alone, and so does every name server of an isolated program.
    assert_eq!(look_up("169.254.53.53", "split"), alone);
    assert_eq!(look_up(a.address(), "isolated"), alone);

    let built = build_with(&b, "musl-gcc", &["-static"]);
    for (name, address) in [
        ("web.local", web_address.as_str()),
        ("db.corp.example", "192.0.2.7"),
    ] {
        let launched = member.launched(&network, &built);
        let mut command = with_name_server(&b, &launched, a.address());
        command.args(["look_up", name]);
        let text = run(command, Duration::from_secs(60)).expect_ok("names.c");
        let first = format!("getaddrinfo 0 0: {address}/80 is {name}\n");
        assert!(text.starts_with(&first), "{text}");
        assert!(
            text.ends_with(&format!("res_query 1 {address}\n")),
            "{text}"
        );
    }
}
