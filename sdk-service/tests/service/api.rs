//! The control API over HTTP, and its shapes beside the recorded ones of zerotier-one.

use std::fs;

use serde_json::{Value, json};

use crate::place::Place;

/// One request as `curl` would make it, from inside.
fn http(place: &Place, method: &str, url: &str, header: &str, body: &str) -> (u16, String) {
    let script = r#"
import sys, http.client, urllib.parse
method, url, header, body = sys.argv[1:]
parts = urllib.parse.urlsplit(url)
connection = http.client.HTTPConnection(parts.netloc, timeout=10)
headers = dict([header.split(': ', 1)]) if header else {}
connection.request(method, urllib.parse.urlunsplit(('', '', parts.path, parts.query, '')), body or None, headers)
answer = connection.getresponse()
print(answer.status, answer.getheader('content-type'))
print(answer.read().decode(), end='')
"#;
    let output = place
        .command("python3")
        .args(["-c", script, method, url, header, body])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once('\n').unwrap();
    let (status, kind) = head.split_once(' ').unwrap();
    assert_eq!(kind, "application/json");
    (status.parse().unwrap(), body.to_owned())
}

#[test]
fn the_token_opens_both_loopback_addresses_and_nothing_else_does() {
    let place = Place::new();
    let home = place.home("home");
    let _service = place.start(&home, &["-p9993"]);
    let token = fs::read_to_string(home.join("authtoken.secret")).unwrap();
    let header = format!("X-ZT1-Auth: {token}");
    for host in ["127.0.0.1", "[::1]"] {
        let url = |path: &str| format!("http://{host}:9993{path}");
        assert_eq!(http(&place, "GET", &url("/status"), &header, "").0, 200);
        assert_eq!(
            http(
                &place,
                "GET",
                &url(&format!("/status?auth={token}")),
                "",
                ""
            )
            .0,
            200
        );
        assert_eq!(
            http(
                &place,
                "GET",
                &url("/status"),
                &format!("Authorization: Bearer {token}"),
                ""
            )
            .0,
            200
        );
        assert_eq!(
            http(&place, "GET", &url("/status"), "", ""),
            (401, "{}".into())
        );
        assert_eq!(
            http(&place, "GET", &url("/status"), "X-ZT1-Auth: bad", ""),
            (401, "{}".into())
        );
        assert_eq!(http(&place, "GET", &url("/health"), "", "").0, 200);
    }
    // Nobody listens for other machines.
    assert!(
        !place.shell("ss -Hltn").contains("10.5.0.1"),
        "{}",
        place.shell("ss -Hltn")
    );
    let listening = place.shell("ss -Hltn | awk '{print $4}'");
    assert!(
        listening
            .lines()
            .all(|line| line.starts_with("127.0.0.1:") || line.starts_with("[::1]:")),
        "{listening}"
    );
}

#[test]
fn refusals_have_stocks_status_and_words_for_people() {
    let place = Place::new();
    let home = place.home("home");
    let _service = place.start(&home, &["-p9993"]);
    let header = format!(
        "X-ZT1-Auth: {}",
        fs::read_to_string(home.join("authtoken.secret")).unwrap()
    );
    let ask = |method: &str, path: &str, body: &str| {
        http(
            &place,
            method,
            &format!("http://127.0.0.1:9993{path}"),
            &header,
            body,
        )
    };
    assert_eq!(
        ask("GET", "/network/1234567890abcdef", ""),
        (404, "{}".into())
    );
    assert_eq!(
        ask("DELETE", "/network/1234567890abcdef", ""),
        (200, "{}".into())
    );
    assert_eq!(ask("GET", "/peer/1234567890", ""), (200, "{}".into()));
    assert_eq!(ask("GET", "/moon", ""), (200, "[]".into()));
    for (method, path, body, status, words) in [
        ("GET", "/nothing", "", 404, "nothing at this path"),
        (
            "POST",
            "/network/12345",
            "{}",
            400,
            "\\\"12345\\\" is not a network id",
        ),
        (
            "GET",
            "/controller/network/1234567890abcdef",
            "",
            404,
            "no such network or member",
        ),
        (
            "POST",
            "/controller/network",
            "{",
            500,
            "the body is not JSON",
        ),
    ] {
        let (got, text) = ask(method, path, body);
        assert_eq!(got, status, "{method} {path}: {text}");
        assert!(text.contains(words), "{method} {path}: {text}");
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap()["error"],
            json!(status)
        );
    }
    // Invalid JSON in a join changes nothing and joins all the same; PUT is POST.
    let (status, text) = ask("PUT", "/network/1234567890abcdef", "{\"allowDNS\": 1, ");
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap()["allowDNS"],
        json!(false)
    );
    assert_eq!(
        ask("DELETE", "/network/1234567890abcdef", ""),
        (200, r#"{"result":true}"#.into())
    );
}

#[test]
fn a_request_that_is_no_http_or_never_ends_disturbs_nobody() {
    let place = Place::new();
    let service = place.start(&place.home("home"), &["-p9993"]);
    place.shell(
        r#"python3 -c "
import socket
held = []
for n in range(100):
    s = socket.create_connection(('127.0.0.1', 9993)); held.append(s)
    s.sendall([b'', b'\x00\xff' * 500, b'GET /status HTTP/1.1\r\nX: ', b'POST /network/1 HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n{'][n % 4])
""#,
    );
    assert!(service.ask(&["info"]).contains("ONLINE"));
    assert!(service.is_alive());
}

#[test]
fn metrics_are_prometheus_text() {
    let place = Place::new();
    let service = place.start(&place.home("home"), &["-p9993"]);
    service.ask(&["join", "1122334455667788"]);
    let page = service.ask(&["/metrics"]);
    for line in [
        "zt_online 1",
        "zt_num_networks 1",
        r#"zt_program_connections{network_id="1122334455667788"} 0"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line}: {page}");
    }
    // Every sample belongs to the family announced before it.
    let mut family = String::new();
    for line in page.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(kind) => family = kind.split(' ').next().unwrap().to_owned(),
            None => assert!(
                line.starts_with("# HELP ") || line.starts_with(&family),
                "{line}"
            ),
        }
    }
}

/// The shape of a value: its keys and the kinds of their values; lists by their first item.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => items
            .first()
            .map_or_else(|| json!([]), |item| json!([shape(item)])),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect(),
    }
}

#[test]
fn status_network_and_peer_have_stocks_shapes() {
    let place = Place::new();
    let home = place.home("home");
    let conf =
        json!({"settings": {"interfacePrefixBlacklist": ["lo"], "allowTcpFallbackRelay": false}});
    fs::write(home.join("local.conf"), conf.to_string()).unwrap();
    let service = place.start(&home, &["-p9993"]);
    let recorded = |text: &str| serde_json::from_str::<Value>(text).unwrap();

    let mut stock = recorded(include_str!("../recorded/zta-status.json"));
    let mut ours = service.json("GET", "/status", None);
    // Lists whose length is a matter of the machine.
    for list in ["listeningOn", "surfaceAddresses"] {
        for status in [&mut stock, &mut ours] {
            status["config"]["settings"][list]
                .as_array_mut()
                .unwrap()
                .clear();
        }
    }
    assert_eq!(shape(&ours), shape(&stock));

    let network = service.json("POST", "/controller/network/e5d9900be8000001", Some(LAB))["id"]
        .as_str()
        .unwrap()
        .to_owned();
    service.json(
        "POST",
        &format!("/controller/network/{network}/member/e5d9900be8"),
        Some(r#"{"authorized":true}"#),
    );
    service.json("POST", &format!("/network/{network}"), None);
    crate::place::wait_for("the network", || {
        service.json("GET", &format!("/network/{network}"), None)["status"] == "OK"
    });
    let ours = service.json("GET", "/network", None);
    assert_eq!(
        shape(&ours),
        shape(&recorded(include_str!("../recorded/zta-network.json")))
    );

    let session = include_str!("../recorded/controller-and-errors.txt");
    let answers = |path: &str| {
        let start = session.find(&format!("{path}\n")).unwrap() + path.len() + 1;
        recorded(session[start..].lines().next().unwrap())
    };
    let ours = service.json("GET", &format!("/controller/network/{network}"), None);
    assert_eq!(
        shape(&ours),
        shape(&answers("/controller/network/519e4827288d55a5"))
    );
    let ours = service.json(
        "GET",
        &format!("/controller/network/{network}/member/e5d9900be8"),
        None,
    );
    assert_eq!(
        shape(&ours),
        shape(&answers(
            "/controller/network/519e4827288d55a5/member/c5eec596b9"
        ))
    );
    let ours = service.json("GET", "/unstable/controller/network", None);
    assert_eq!(
        shape(&ours),
        shape(&answers("/unstable/controller/network"))
    );
    let mut ours = service.json("GET", "/health", None);
    let mut stock = recorded(
        session
            .lines()
            .skip_while(|line| !line.ends_with("/health"))
            .nth(1)
            .unwrap(),
    );
    for health in [&mut ours, &mut stock] {
        health["clock"] = json!(0);
        health["online"] = json!(true);
    }
    assert_eq!(ours, stock);
}

const LAB: &str = r#"{"name":"lab","private":true,"v4AssignMode":{"zt":true},"v6AssignMode":{"zt":false,"rfc4193":true,"6plane":false},"ipAssignmentPools":[{"ipRangeStart":"10.147.20.10","ipRangeEnd":"10.147.20.250"}],"routes":[{"target":"10.147.20.0/24","via":null}],"rules":[{"type":"ACTION_ACCEPT"}]}"#;
