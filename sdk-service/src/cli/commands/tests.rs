//! The texts against the recorded ones of zerotier-one 1.14.1, and every outcome of a command.

use std::collections::BTreeMap;
use std::io;

use super::*;
use crate::cli::options::{Invocation, parse};

/// A service that gives prepared answers and remembers the requests.
#[derive(Default)]
struct Prepared {
    answers: BTreeMap<String, Reply>,
    requests: Vec<String>,
    away: bool,
}

impl Prepared {
    fn answering(request: &str, status: u16, body: &str) -> Self {
        let mut prepared = Self::default();
        prepared.answers.insert(
            request.to_owned(),
            Reply {
                status,
                body: body.to_owned(),
            },
        );
        prepared
    }
}

impl Transport for Prepared {
    fn request(&mut self, method: &str, path: &str, body: Option<&str>) -> io::Result<Reply> {
        let request = format!("{method} {path}");
        self.requests.push(
            format!("{request} {}", body.unwrap_or_default())
                .trim_end()
                .to_owned(),
        );
        if self.away {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(self.answers.get(&request).cloned().unwrap_or(Reply {
            status: 404,
            body: String::new(),
        }))
    }
}

fn call_at(service: &mut Prepared, line: &str, now: i64) -> Outcome {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    match parse(&words) {
        Invocation::Run(options) => execute("zerotier-cli", &options, service, now),
        other => panic!("{line}: {other:?}"),
    }
}

fn call(service: &mut Prepared, line: &str) -> Outcome {
    call_at(service, line, 0)
}

/// What stock printed for one command in a recorded session.
fn recorded<'a>(session: &'a str, command: &str) -> &'a str {
    let title = format!("### zerotier-cli -D<home> {command}\n");
    let start = session
        .find(&title)
        .unwrap_or_else(|| panic!("{command} is not in the session"))
        + title.len();
    let rest = &session[start..];
    &rest[..rest.find("### ").unwrap_or(rest.len())]
}

#[test]
fn every_recorded_text_is_reproduced_byte_for_byte() {
    let sessions = [
        // The moments at which stock took the ages of `listpeers` and of `peers`.
        (
            include_str!("../../../tests/recorded/zta-cli.txt"),
            1795336629060,
            1795336629117,
        ),
        (
            include_str!("../../../tests/recorded/ztroot-cli.txt"),
            1795336629431,
            1795336629511,
        ),
    ];
    for (session, listpeers_at, peers_at) in sessions {
        for (command, path, now) in [
            ("info", "/status", 0),
            ("listnetworks", "/network", 0),
            ("listpeers", "/peer", listpeers_at),
            ("peers", "/peer", peers_at),
        ] {
            let json = recorded(session, &format!("-j {command}"));
            let mut service = Prepared::answering(&format!("GET {path}"), 200, json);
            let text = call_at(&mut service, command, now);
            assert_eq!(
                text,
                Outcome::printed(recorded(session, command).to_owned()),
                "{command}"
            );
            let text = call(&mut service, &format!("-j {command}"));
            assert_eq!(text, Outcome::printed(json.to_owned()), "-j {command}");
        }
        let mut service = Prepared::answering("GET /moon", 200, "[]");
        assert_eq!(
            call(&mut service, "listmoons").stdout,
            recorded(session, "listmoons")
        );
    }
}

#[test]
fn networks_without_name_or_address_keep_their_columns() {
    let body = r#"[{"nwid":"4a803948f0e90b44","name":"","mac":"46:cb:17:10:36:ec","status":"REQUESTING_CONFIGURATION","type":"PRIVATE","portDeviceName":"ztajynaq5u","assignedAddresses":[]}]"#;
    let mut service = Prepared::answering("GET /network", 200, body);
    assert_eq!(
        call(&mut service, "listnetworks").stdout,
        "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n\
         200 listnetworks 4a803948f0e90b44  46:cb:17:10:36:ec REQUESTING_CONFIGURATION PRIVATE ztajynaq5u -\n"
    );
}

#[test]
fn peers_without_a_path_or_a_version_are_shown_as_relayed() {
    let body = r#"[{"address":"778cde7190","latency":-1,"paths":[],"role":"PLANET","tunneled":false,"version":"-1.-1.-1"},
        {"address":"778cde7191","latency":63,"paths":[{"address":"1.2.3.4/9993","lastReceive":100,"lastSend":0,"preferred":true}],"role":"LEAF","tunneled":true,"version":"1.14.1"}]"#;
    let mut service = Prepared::answering("GET /peer", 200, body);
    insta::assert_snapshot!(call_at(&mut service, "peers", 300).stdout, @r"
    200 peers
    <ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>
    778cde7190 -      PLANET    -1 RELAY
    778cde7191 1.14.1 LEAF      63 RELAY    -1       200      1.2.3.4/9993
    NOTE: at least one peer is reached through the TCP relay, which is slow: let UDP out
    ");
    insta::assert_snapshot!(call_at(&mut service, "listpeers", 300).stdout, @r"
    200 listpeers <ztaddr> <path> <latency> <version> <role>
    200 listpeers 778cde7190 - -1 - PLANET
    200 listpeers 778cde7191 1.2.3.4/9993;-1;200 63 1.14.1 LEAF
    ");
}

#[test]
fn join_and_leave_say_ok_or_give_the_answer_as_json() {
    let mut service = Prepared::answering(
        "POST /network/8056c2e21c000001",
        200,
        r#"{"id":"8056c2e21c000001"}"#,
    );
    assert_eq!(
        call(&mut service, "join 8056c2e21c000001"),
        Outcome::printed("200 join OK\n".into())
    );
    assert_eq!(service.requests, ["POST /network/8056c2e21c000001 {}"]);
    // As in stock: the raw body, no line feed.
    assert_eq!(
        call(&mut service, "-j join 8056c2e21c000001").stdout,
        r#"{"id":"8056c2e21c000001"}"#
    );
    let mut service = Prepared::answering("DELETE /network/8056c2e21c000001", 200, "{}");
    assert_eq!(
        call(&mut service, "leave 8056c2e21c000001"),
        Outcome::printed("200 leave OK\n".into())
    );
}

#[test]
fn a_malformed_network_id_is_refused_without_asking_the_service() {
    let mut service = Prepared::default();
    for line in ["join", "join 8056c2e21c00001", "leave 8056c2e21c0000011"] {
        let outcome = call(&mut service, line);
        assert_eq!(
            (outcome.stdout.as_str(), outcome.code),
            ("invalid network id\n", 2),
            "{line}"
        );
    }
    assert!(service.requests.is_empty());
    insta::assert_snapshot!(
        call(&mut service, "join 8056c2e21c00001").stderr,
        @r#"a network id has 16 hexadecimal digits, like 8056c2e21c000001; "8056c2e21c00001" has 15"#
    );
}

#[test]
fn refusals_and_broken_answers_have_stocks_form() {
    let mut service = Prepared::answering("GET /status", 401, "{}");
    let refused = call(&mut service, "info");
    assert_eq!(
        (refused.stdout.as_str(), refused.code),
        ("401 info {}\n", 1)
    );
    let mut service = Prepared::answering("GET /status", 200, "<html>");
    let broken = call(&mut service, "status");
    assert!(
        broken
            .stdout
            .starts_with("200 status invalid JSON response ("),
        "{}",
        broken.stdout
    );
    assert_eq!(broken.code, 1);
    let mut service = Prepared {
        away: true,
        ..Prepared::default()
    };
    let away = call(&mut service, "peers");
    assert_eq!(away.code, 1);
    insta::assert_snapshot!(away.stdout, @r"
    Error connecting to the ZeroTier service: connection refused

    Is the service running, and is this its home directory (-D)? Start it with
    `zerotier-sdk-service -d HOME`; its own message says why when it does not come up.
    ");
}

#[test]
fn get_reads_scalars_and_addresses() {
    let all = format!(
        "[{}]",
        include_str!("../../../tests/recorded/join-leave.txt")
            .lines()
            .last()
            .unwrap()
    );
    let mut service = Prepared::answering("GET /network", 200, &all);
    let mut get = |name: &str| call(&mut service, &format!("get 4a803948f0fea9de {name}"));
    for (name, text) in [
        (
            "ip",
            "fd4a:8039:48f0:fea9:de99:93c0:fee0:7ed5\n10.147.20.47\n",
        ),
        ("ip4", "10.147.20.47\n"),
        ("ip6", "fd4a:8039:48f0:fea9:de99:93c0:fee0:7ed5\n"),
        ("ip6plane", ""),
        ("status", "OK\n"),
        ("mtu", "2800\n"),
        ("allowManaged", "1\n"),
        ("bridge", "0\n"),
        ("routes", "error, unknown property name\n"),
        ("nothing", "error, unknown property name\n"),
    ] {
        assert_eq!(get(name), Outcome::printed(text.into()), "{name}");
    }
    let outcome = call(&mut service, "get 4a803948f0ffffff ip");
    assert_eq!(
        outcome.stderr,
        "unknown network ID, check that you are a member of the network\n"
    );
    assert_eq!(outcome.code, 0);
    assert_eq!(
        call(&mut service, "get 4a80 ip").stderr,
        "invalid format: must be a 16-digit (network) ID\n"
    );
}

#[test]
fn set_posts_one_of_the_four_settings() {
    let mut service = Prepared::answering("POST /network/4a803948f0fea9de", 200, "{}");
    for (assignment, body) in [
        ("allowDefault=1", "true"),
        ("allowDefault=true", "true"),
        ("allowDefault=0", "false"),
    ] {
        assert_eq!(
            call(&mut service, &format!("set 4a803948f0fea9de {assignment}")),
            Outcome::printed("{}".into())
        );
        let expected = format!(r#"POST /network/4a803948f0fea9de {{"allowDefault":{body}}}"#);
        assert_eq!(service.requests.pop().unwrap(), expected);
    }
    assert_eq!(
        call(&mut service, "set 4a803948f0fea9de allowAll=1"),
        Outcome::default()
    );
    assert_eq!(call(&mut service, "set 4a803948f0fea9de").code, 2);
    assert_eq!(call(&mut service, "set 4a803948f0fea9de allowDNS").code, 2);
    assert!(service.requests.is_empty());
}

#[test]
fn api_passes_requests_through() {
    let mut service = Prepared::answering("POST /controller/network", 200, r#"{"id":"1"}"#);
    let outcome = call(
        &mut service,
        r#"api post /controller/network {"name":"lan"}"#,
    );
    assert_eq!(outcome, Outcome::printed(r#"{"id":"1"}"#.into()));
    assert_eq!(
        service.requests,
        [r#"POST /controller/network {"name":"lan"}"#]
    );
    let outcome = call(&mut service, "api GET /controller/network/0000000000000000");
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("", 1));
    assert_eq!(
        outcome.stderr,
        "404 /controller/network/0000000000000000 \n"
    );
    let outcome = call(&mut service, "api POST /controller/network {name");
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("is not JSON"), "{}", outcome.stderr);
    assert_eq!(call(&mut service, "api GET").code, 2);
}

#[test]
fn a_path_is_fetched_as_it_is() {
    let mut service = Prepared::answering("GET /health", 200, "{}");
    assert_eq!(call(&mut service, "/health"), Outcome::printed("{}".into()));
    let refused = call(&mut service, "/nothing");
    assert_eq!(
        (refused.stdout.as_str(), refused.code),
        ("404 /nothing \n", 1)
    );
}

#[test]
fn no_command_is_help_on_standard_error_and_a_success() {
    let outcome = execute("zerotier-cli", &options(""), &mut Prepared::default(), 0);
    assert!(outcome.stderr.contains("Usage: zerotier-cli"));
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("", 0));
}

fn options(line: &str) -> Options {
    match parse(
        &line
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    ) {
        Invocation::Run(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn health_wants_every_network_with_an_address_and_its_socket() {
    let socket = tempfile::NamedTempFile::new().unwrap();
    let network = |status: &str, addresses: &str, device: &str| {
        format!(
            r#"{{"id":"8056c2e21c000001","nwid":"8056c2e21c000001","status":"{status}","assignedAddresses":[{addresses}],"portDeviceName":"{device}"}}"#
        )
    };
    let device = socket.path().to_str().unwrap();
    let good = network("OK", "\"10.0.0.1/24\"", device);
    for (body, line, code) in [
        (format!("[{good}]"), "health", 0),
        (format!("[{good}]"), "health 8056c2e21c000001", 0),
        (format!("[{good}]"), "health 8056c2e21c000002", 1),
        ("[]".to_owned(), "health", 1),
        (format!("[{}]", network("OK", "", device)), "health", 1),
        (
            format!("[{}]", network("ACCESS_DENIED", "", device)),
            "health",
            1,
        ),
        (
            format!("[{}]", network("OK", "\"10.0.0.1/24\"", "/nonexistent")),
            "health",
            1,
        ),
        (
            format!("[{good},{}]", network("NOT_FOUND", "", device)),
            "health",
            1,
        ),
    ] {
        let mut service = Prepared::answering("GET /network", 200, &body);
        let outcome = call(&mut service, line);
        assert_eq!(outcome.code, code, "{line} {body} {outcome:?}");
    }
    let mut service = Prepared::answering(
        "GET /network",
        200,
        &format!("[{}]", network("ACCESS_DENIED", "", device)),
    );
    insta::assert_snapshot!(call(&mut service, "health").stdout, @"8056c2e21c000001 ACCESS_DENIED: the controller 8056c2e21c must authorise this node");
}
