//! What is in the home: damaged, kept, and not lost when the disk is full.

use std::fs;

use serde_json::json;

use crate::place::{IDENTITY, Place, text, wait_for};

#[test]
fn a_damaged_file_is_named_and_nothing_is_changed() {
    let place = Place::new();
    let cases: [(&str, &[u8], &str); 11] = [
        (
            "identity.secret",
            b"e5d9900be8:0:00",
            "is not an identity with its private key",
        ),
        ("identity.secret", b"", "is empty"),
        ("authtoken.secret", b"\n", "holds no token"),
        ("planet", b"not a planet", "is not a planet"),
        ("planet.secret", b"00", "is not the key of a planet"),
        (
            "local.conf",
            b"{\"settings\": {\"primaryPort\": \"9993\"}}",
            "settings.primaryPort",
        ),
        ("local.conf", b"{", "is not JSON"),
        (
            "controller.d/network/e5d9900be8000001.json",
            b"{}",
            "is not the record of e5d9900be8000001",
        ),
        (
            "controller.d/network/e5d9900be8000001.json",
            b"{\"id\":\"e5d9900be8000001\",\"mtu\":[]}",
            "is not a record of the controller: mtu",
        ),
        (
            "controller.d/network/e5d9900be8000002/member/ae942bac06.json",
            b"{\"id\":\"ae942bac06\",\"identity\":\"x\"}",
            "is not a record of the controller: identity",
        ),
        (
            "controller.d/network/e5d9900be8000003/member/ae942bac06.json",
            b"{\"id\":\"ae942bac06\"}",
            "is not a record of the controller: its network has none",
        ),
    ];
    for (number, (name, content, problem)) in cases.into_iter().enumerate() {
        let home = place.home(&format!("home{number}"));
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.starts_with("controller.d/network/e5d9900be8000002/") {
            let network = home.join("controller.d/network/e5d9900be8000002.json");
            fs::write(network, br#"{"id":"e5d9900be8000002"}"#).unwrap();
        }
        fs::write(&path, content).unwrap();
        for arguments in [&["-p0"][..], &["-d", "-p0"]] {
            let output = place.service().args(arguments).arg(&home).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{name}");
            let message = text(&output.stderr);
            assert!(
                message.contains(&format!("fatal error: {} ", path.display())),
                "{message}"
            );
            assert!(
                message.contains(problem) && message.contains("nothing was changed"),
                "{message}"
            );
            assert_eq!(fs::read(&path).unwrap(), content, "{name}");
        }
    }
}

#[test]
fn a_home_that_cannot_be_made_is_an_error() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    let output = place
        .service()
        .arg("-p0")
        .arg(place.path("file/home"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("cannot create the directory"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn networks_settings_and_the_controller_survive_a_restart() {
    let place = Place::new();
    let home = place.home("home");
    let service = place.start(&home, &["-p0"]);
    let network = service.json("POST", "/controller/network/e5d9900be8______", Some(POOL))["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let member = format!("/controller/network/{network}/member/e5d9900be8");
    service.json("POST", &member, Some(r#"{"authorized":true}"#));
    // On disk when the answer is there.
    let record = fs::read_to_string(home.join(format!(
        "controller.d/network/{network}/member/e5d9900be8.json"
    )))
    .unwrap();
    assert!(record.contains(r#""authorized":true"#), "{record}");
    assert_eq!(service.ask(&["join", &network]), "200 join OK\n");
    service.ask(&["set", &network, "allowDefault=1"]);
    wait_for("an address", || {
        !service.ask(&["get", &network, "ip4"]).is_empty()
    });
    let address = service.ask(&["get", &network, "ip4"]);
    assert_eq!(service.cli(&["health"]).status.code(), Some(0));
    let planet = fs::read(home.join("planet")).unwrap();
    service.stop();

    let service = place.start(&home, &["-p0"]);
    assert_eq!(
        service.json("GET", "/controller/network", None),
        json!([network])
    );
    assert_eq!(
        service.json("GET", &format!("/network/{network}"), None)["allowDefault"],
        json!(true)
    );
    wait_for("the address", || {
        service.ask(&["get", &network, "ip4"]) == address
    });
    assert_eq!(service.ask(&["leave", &network]), "200 leave OK\n");
    assert_eq!(service.json("GET", "/network", None), json!([]));
    assert_eq!(fs::read_dir(home.join("networks.d")).unwrap().count(), 0);
    service.json("DELETE", &format!("/controller/network/{network}"), None);
    assert!(!home.join("controller.d/network").exists());
    // With -p0 the port is another one, so the planet is too; its world is the same.
    assert_eq!(fs::read(home.join("planet")).unwrap()[..9], planet[..9]);
}

#[test]
fn the_environment_joins_networks_and_places_their_sockets() {
    let place = Place::new();
    let home = place.home("home");
    let sockets = place.path("sockets");
    fs::create_dir(&sockets).unwrap();
    let mut command = place.service();
    command
        .args(["-d", "-p0"])
        .env("ZT_NETWORK", "1122334455667788")
        .env("ZT_NC_DIR", &sockets);
    let service = place.start_with(&home, &mut command);
    let socket = sockets.join("nc_1122334455667788");
    assert!(socket.exists());
    assert_eq!(
        service.json("GET", "/network/1122334455667788", None)["portDeviceName"],
        json!(socket)
    );
    let wrong = place
        .service()
        .env("ZT_NETWORK", "home")
        .arg("-p0")
        .arg(place.home("other"))
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr).contains("ZT_NETWORK: \"home\" is not a network id"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn a_full_disk_delays_files_and_loses_none() {
    let place = Place::new();
    let home = place.path("home");
    fs::create_dir(&home).unwrap();
    place.shell(&format!(
        "mount -t tmpfs -o size=256k,mode=755 tmpfs {}",
        home.display()
    ));
    fs::write(place.path("identity"), IDENTITY).unwrap();
    place.shell(&format!(
        "cp {} {}/identity.secret",
        place.path("identity").display(),
        home.display()
    ));
    // The mount is seen inside only.
    let mut command = place.service();
    let output = command.args(["-d", "-p0"]).arg(&home).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let cli = |words: &str| {
        place.shell(&format!(
            "{} -q -D{} {words}",
            env!("CARGO_BIN_EXE_zerotier-sdk-service"),
            home.display()
        ))
    };
    let inside = |line: &str| place.shell(&format!("cd {}; {line}", home.display()));

    inside("dd if=/dev/zero of=ballast bs=1k 2>/dev/null || true");
    cli("join 1122334455667788");
    let created = cli("api POST /controller/network/e5d9900be8aaaaaa '{\"name\":\"kept\"}'");
    assert!(created.contains("\"name\":\"kept\""), "{created}");
    assert_eq!(inside("find networks.d controller.d -type f"), "");
    assert!(cli("api GET /controller/network/e5d9900be8aaaaaa").contains("kept"));

    inside("rm ballast");
    wait_for("the files", || {
        inside("cat controller.d/network/e5d9900be8aaaaaa.json 2>/dev/null || true")
            .contains("kept")
    });
    assert_eq!(
        inside("ls networks.d"),
        "1122334455667788.conf\n1122334455667788.local.conf\n"
    );
    assert_eq!(inside("find . -name '*.new'"), "");
    inside("kill $(cat zerotier-one.pid)");
    wait_for("the end", || {
        inside("ls").lines().all(|name| name != "zerotier-one.pid")
    });
}

const POOL: &str = r#"{"name":"lan","v4AssignMode":{"zt":true},"ipAssignmentPools":[{"ipRangeStart":"10.9.0.1","ipRangeEnd":"10.9.0.200"}],"routes":[{"target":"10.9.0.0/24","via":null}]}"#;
