//! From the start to the end, and every way of not starting.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::place::{Place, is_alive, text, wait_for};

#[test]
fn a_service_in_the_background_is_up_when_its_starter_returns_and_leaves_in_order() {
    let place = Place::new();
    let home = place.home("home");
    let service = place.start(&home, &["-p0"]);
    assert!(service.ask(&["info"]).ends_with(" 1.14.1 ONLINE\n"));
    let mode = |name: &str| fs::metadata(home.join(name)).unwrap().permissions().mode() & 0o777;
    for (name, expected) in [
        ("identity.public", 0o644),
        ("authtoken.secret", 0o600),
        ("planet.secret", 0o600),
        ("zerotier-one.port", 0o644),
        ("zerotier.sock", 0o600),
        ("networks.d", 0o700),
    ] {
        assert_eq!(mode(name), expected, "{name}");
    }
    // The first line of the log says who this is.
    let first = service.log().lines().next().unwrap().to_owned();
    assert!(first.contains("address=e5d9900be8"), "{first}");
    service.stop();
    assert!(!home.join("zerotier-one.pid").exists());
    assert!(!home.join("zerotier.sock").exists());
}

#[test]
fn a_relative_home_is_the_one_the_starter_meant() {
    let place = Place::new();
    let home = place.home("home");
    let binary = env!("CARGO_BIN_EXE_zerotier-sdk-service");
    place.shell(&format!(
        "cd {} && ZT_ROOT=1 {binary} -d -p0 home",
        place.path("").display()
    ));
    let pid: u32 = fs::read_to_string(home.join("zerotier-one.pid"))
        .unwrap()
        .parse()
        .unwrap();
    assert!(is_alive(pid));
    place.shell(&format!("kill {pid}"));
    wait_for("the end", || !is_alive(pid));
}

#[test]
fn a_home_in_use_is_refused_with_the_holders_pid() {
    let place = Place::new();
    let home = place.home("home");
    let service = place.start(&home, &["-p0"]);
    let before = listing(&home);
    for arguments in [&["-d", "-p0"][..], &["-p0"]] {
        let second = place.service().args(arguments).arg(&home).output().unwrap();
        assert_eq!(second.status.code(), Some(1));
        let message = text(&second.stderr);
        assert!(
            message.contains("is in use by another service"),
            "{message}"
        );
        assert!(
            message.contains(&format!("(pid {})", service.pid)),
            "{message}"
        );
    }
    assert_eq!(listing(&home), before);
    assert!(service.ask(&["info"]).contains("ONLINE"));
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let place = Place::new();
    let _first = place.start(&place.home("first"), &["-p9993"]);
    let second = place
        .service()
        .args(["-d", "-p9993"])
        .arg(place.home("second"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = text(&second.stderr);
    assert!(message.contains("cannot bind TCP port 9993"), "{message}");
    assert!(message.contains("-p0"), "{message}");

    // Only the UDP half is taken.
    let script = "import socket,time; s=socket.socket(2,2); s.bind(('0.0.0.0',9994)); print(flush=True); time.sleep(60)";
    let mut holder = place
        .command("python3")
        .args(["-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let third = place
        .service()
        .args(["-d", "-p9994"])
        .arg(place.home("third"))
        .output()
        .unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(third.status.code(), Some(1));
    assert!(
        text(&third.stderr).contains("cannot bind UDP port 9994"),
        "{}",
        text(&third.stderr)
    );
}

#[test]
fn it_runs_as_any_user() {
    let place = Place::new();
    let home = place.home("home");
    for path in [home.clone(), home.join("identity.secret")] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let binary = env!("CARGO_BIN_EXE_zerotier-sdk-service");
    let reachable = place.path("zerotier-sdk-service");
    fs::copy(binary, &reachable).unwrap();
    let mut command = place.command("setpriv");
    command
        .env("ZT_ROOT", "1")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--no-new-privs",
            "--bounding-set=-all",
        ])
        .arg(&reachable)
        .args(["-d", "-U", "-p9993"]);
    let service = place.start_with(&home, &mut command);
    assert!(service.ask(&["info"]).contains("ONLINE"));
    service.stop();
}

#[test]
fn a_signal_ends_a_service_that_still_waits_for_its_planet() {
    let place = Place::new();
    let home = place.home("home");
    let mut command = place.service();
    command
        .env_remove("ZT_ROOT")
        .env("ZT_PLANET", place.path("planet"));
    let mut waiting = command
        .arg("-p0")
        .arg(&home)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the token", || home.join("authtoken.secret").exists());
    // `nsenter` has become the service.
    place.shell(&format!("kill {}", waiting.id()));
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
}

#[test]
fn what_a_killed_service_left_behind_is_no_obstacle() {
    let place = Place::new();
    let home = place.home("home");
    let service = place.start(&home, &["-p9993"]);
    service.signal("KILL");
    wait_for("the end", || !service.is_alive());
    assert!(home.join("zerotier.sock").exists() && home.join("zerotier-one.pid").exists());
    let away = service.cli(&["info"]);
    assert_eq!(away.status.code(), Some(1));
    assert!(text(&away.stdout).starts_with("Error connecting to the ZeroTier service: "));
    let service = place.start(&home, &["-p9993"]);
    assert!(service.ask(&["info"]).contains("ONLINE"));
}

#[test]
fn the_programs_name_decides_what_it_is() {
    let place = Place::new();
    // A directory's name does not.
    let directory = place.path("zerotier-cli");
    fs::create_dir(&directory).unwrap();
    for (name, words, expected) in [
        ("zerotier-cli", "-h", "zerotier-cli 1.14.1:"),
        ("zerotier-idtool", "2>&1; true", "zerotier-idtool 1.14.1:"),
        ("zerotier-sdk-service", "-h", "zerotier-sdk-service 1.14.1:"),
    ] {
        let path = directory.join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zerotier-sdk-service"), &path).unwrap();
        let said = place.shell(&format!("{} {words}", path.display()));
        assert!(said.starts_with(expected), "{name}: {said}");
    }
}

#[test]
fn a_place_for_sockets_must_exist_and_have_a_short_name() {
    let place = Place::new();
    let refused = |sockets: &std::path::Path| {
        let mut command = place.service();
        let output = command
            .arg("-p0")
            .arg(place.home("home"))
            .env("ZT_NC_DIR", sockets)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    let message = refused(&place.path("nowhere"));
    assert!(
        message.contains("is not a directory; create or mount it first"),
        "{message}"
    );
    let long = place.path(&"x".repeat(100));
    fs::create_dir(&long).unwrap();
    let message = refused(&long);
    assert!(
        message.contains("is too long: with the name of a socket it must not exceed 107 bytes"),
        "{message}"
    );
}

#[test]
fn hangup_does_nothing() {
    let place = Place::new();
    let service = place.start(&place.home("home"), &["-p0"]);
    service.signal("HUP");
    assert!(service.ask(&["info"]).contains("ONLINE"));
}

#[test]
fn help_version_and_mistakes_need_no_home() {
    let place = Place::new();
    let run = |arguments: &[&str]| place.service().args(arguments).output().unwrap();
    let help = run(&["-h"]);
    assert!(help.status.success());
    insta::assert_snapshot!("service_help", name_left_out(&help.stdout));
    assert_eq!(text(&run(&["-v"]).stdout), "1.14.1\n");
    let mistake = run(&["-x"]);
    assert_eq!(mistake.status.code(), Some(1));
    assert!(text(&mistake.stderr).contains("there is no option -x"));
    let help = run(&["-q", "-h"]);
    assert!(help.status.success());
    insta::assert_snapshot!("cli_help", name_left_out(&help.stdout));
    let help = run(&["-i"]);
    assert_eq!(help.status.code(), Some(1));
    insta::assert_snapshot!("idtool_help", name_left_out(&help.stderr));
}

fn name_left_out(help: &[u8]) -> String {
    text(help).replace(env!("CARGO_BIN_EXE_zerotier-sdk-service"), "PROGRAM")
}

fn listing(home: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(home)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| {
            entry.file_type().unwrap().is_file()
                && !entry.file_name().to_string_lossy().ends_with(".log")
        })
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}
