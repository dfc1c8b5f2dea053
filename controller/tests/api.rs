//! The JSON API against answers recorded from a stock controller of version 1.14.1.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use zt_controller::{Controller, Effect, MemoryStore, Method, Records, Response, Store};
use zt_protocol::node::ConfigAnswer;
use zt_protocol::{Identity, NetworkConfig, NetworkId, SecretIdentity, Time};

const CONTROLLER: &str = "e5d9900be8:0:46521cef75d60ea14cb68c2bd486c238dbe5276b1958d8f10a988be3ffe5a20954163ceecb796b5b2c47bc285caff3e7a661bff6f6aa4c3cd93fc1a9f343c308:bcdf0c635d114b232278288a3c8d098092711261e67f9634c7acd46a7636fc7dfc914a1b48431de757b6d5283c34b3cdb4c3070c1919d066efc47f54ba75bdcb";
/// The members of the recording, in whose answers their identities appear.
const MEMBERS: [&str; 2] = [
    "ae942bac06:0:0de94c75ab3125c38dd7ff73d1b132ceb72765d8efa5927f087927a4a492195f5a58a4c2c113672c9d4bea1334bd54d29b304d8318f03195dd8eb82ae439f894",
    "c5eec596b9:0:fb7e31785722e116b16bb7a7202e1d43410215b74b4bc31466969560321d691a50ffac66bb76f5b8122b317acc8e31ee6ea70e9f5dfc8c5f6f570d43928a707d",
];
/// Metadata of a 1.14.1 client, as far as a controller looks at them.
const METADATA: &[u8] = b"v=7\npv=c\nmajv=1\nminv=e\nrevv=1\nrevr=1";
const NOW: Time = Time(1_795_335_269_663);

fn controller() -> Controller {
    controller_with(Records::default(), MemoryStore::default())
}

fn controller_with(records: Records, store: impl Store + 'static) -> Controller {
    let identity: SecretIdentity = CONTROLLER.parse().unwrap();
    Controller::new(identity, [1; 32], records, Box::new(store))
}

fn call(controller: &mut Controller, method: Method, path: &str, body: Value) -> Response {
    controller.api(NOW, method, path, Some(&body))
}

fn get(controller: &mut Controller, path: &str) -> Value {
    let response = controller.api(NOW, Method::Get, path, None);
    assert_eq!(response.status, 200, "{path}");
    response.body.unwrap()
}

fn post(controller: &mut Controller, path: &str, body: Value) -> Value {
    let response = call(controller, Method::Post, path, body);
    assert_eq!(response.status, 200, "{path}: {response:?}");
    response.body.unwrap()
}

/// The request that made the network of the recording.
fn lab_request() -> Value {
    json!({
        "name": "lab",
        "routes": [{ "target": "10.147.20.0/24" }],
        "ipAssignmentPools": [{ "ipRangeStart": "10.147.20.10", "ipRangeEnd": "10.147.20.250" }],
        "rules": [{ "type": "ACTION_ACCEPT" }],
        "v4AssignMode": { "zt": true },
        "v6AssignMode": { "6plane": false, "rfc4193": true, "zt": false },
    })
}

#[test]
fn the_controller_describes_itself() {
    let mut controller = controller();
    assert_eq!(
        get(&mut controller, "/controller"),
        json!({ "controller": true, "apiVersion": 4, "clock": NOW.0, "databaseReady": true })
    );
    assert_eq!(get(&mut controller, "/controller/network"), json!([]));
}

#[test]
fn a_network_with_defaults_looks_as_recorded() {
    let recorded = r#"{"authTokens":[null],"authorizationEndpoint":"","capabilities":[],"clientId":"","creationTime":1795335269663,"dns":[],"enableBroadcast":true,"id":"e5d9900be8000001","ipAssignmentPools":[],"mtu":2800,"multicastLimit":32,"name":"second","nwid":"e5d9900be8000001","objtype":"network","private":true,"remoteTraceLevel":0,"remoteTraceTarget":null,"revision":1,"routes":[],"rules":[{"not":false,"or":false,"type":"ACTION_ACCEPT"}],"rulesSource":"","ssoEnabled":false,"tags":[],"v4AssignMode":{"zt":false},"v6AssignMode":{"6plane":false,"rfc4193":false,"zt":false}}"#;
    let mut controller = controller();
    let path = "/controller/network/e5d9900be8000001";
    assert_eq!(
        post(&mut controller, path, json!({ "name": "second" })).to_string(),
        recorded
    );
    assert_eq!(get(&mut controller, path).to_string(), recorded);
    assert_eq!(
        get(&mut controller, "/controller/network"),
        json!(["e5d9900be8000001"])
    );
}

#[test]
fn networks_and_members_look_as_recorded() {
    let recorded_networks = r#"{"data":[{"authTokens":[null],"authorizationEndpoint":"","capabilities":[],"clientId":"","creationTime":1795335269663,"dns":[],"enableBroadcast":true,"id":"e5d9900be88d55a5","ipAssignmentPools":[{"ipRangeEnd":"10.147.20.250","ipRangeStart":"10.147.20.10"}],"meta":{"authorizedMemberCount":2,"totalMemberCount":2},"mtu":2800,"multicastLimit":32,"name":"lab","nwid":"e5d9900be88d55a5","objtype":"network","private":true,"remoteTraceLevel":0,"remoteTraceTarget":null,"revision":1,"routes":[{"target":"10.147.20.0/24","via":null}],"rules":[{"type":"ACTION_ACCEPT"}],"rulesSource":"","ssoEnabled":false,"tags":[],"v4AssignMode":{"zt":true},"v6AssignMode":{"6plane":false,"rfc4193":true,"zt":false}}],"meta":{"networkCount":1}}"#;
    // Addresses differ from the recording: ours come lowest first. So do the times.
    let recorded_members = r#"{"data":[{"activeBridge":false,"address":"ae942bac06","authenticationExpiryTime":0,"authorized":true,"capabilities":[],"creationTime":1795335269663,"id":"ae942bac06","identity":"ae942bac06:0:0de94c75ab3125c38dd7ff73d1b132ceb72765d8efa5927f087927a4a492195f5a58a4c2c113672c9d4bea1334bd54d29b304d8318f03195dd8eb82ae439f894","ipAssignments":["10.147.20.10"],"lastAuthorizedCredential":null,"lastAuthorizedCredentialType":"api","lastAuthorizedTime":1795335269663,"lastDeauthorizedTime":0,"noAutoAssignIps":false,"nwid":"e5d9900be88d55a5","objtype":"member","remoteTraceLevel":0,"remoteTraceTarget":null,"revision":2,"ssoExempt":false,"tags":[],"vMajor":1,"vMinor":14,"vProto":12,"vRev":1},{"activeBridge":false,"address":"c5eec596b9","authenticationExpiryTime":0,"authorized":true,"capabilities":[],"creationTime":1795335269663,"id":"c5eec596b9","identity":"c5eec596b9:0:fb7e31785722e116b16bb7a7202e1d43410215b74b4bc31466969560321d691a50ffac66bb76f5b8122b317acc8e31ee6ea70e9f5dfc8c5f6f570d43928a707d","ipAssignments":["10.147.20.11"],"lastAuthorizedCredential":null,"lastAuthorizedCredentialType":"api","lastAuthorizedTime":1795335269663,"lastDeauthorizedTime":0,"noAutoAssignIps":false,"nwid":"e5d9900be88d55a5","objtype":"member","remoteTraceLevel":0,"remoteTraceTarget":null,"revision":2,"ssoExempt":false,"tags":[],"vMajor":1,"vMinor":14,"vProto":12,"vRev":1}],"meta":{"authorizedCount":2,"totalCount":2}}"#;
    let mut controller = controller();
    let network = "/controller/network/e5d9900be88d55a5";
    post(&mut controller, network, lab_request());
    for text in MEMBERS {
        let member: Identity = text.parse().unwrap();
        let path = format!("{network}/member/{}", member.address());
        post(&mut controller, &path, json!({ "authorized": true }));
        let id = NetworkId(0xe5d9_900b_e88d_55a5);
        let answer = controller.handle_request(NOW, &member, id, METADATA);
        assert!(matches!(answer, ConfigAnswer::Config(_)));
    }
    let networks = get(&mut controller, "/unstable/controller/network");
    assert_eq!(networks.to_string(), recorded_networks);
    let members = get(
        &mut controller,
        "/unstable/controller/network/e5d9900be88d55a5/member",
    );
    assert_eq!(members.to_string(), recorded_members);
    let revisions = get(&mut controller, &format!("{network}/member"));
    assert_eq!(revisions, json!({ "ae942bac06": 2, "c5eec596b9": 2 }));
    let member = get(&mut controller, &format!("{network}/member/ae942bac06"));
    assert_eq!(member, members["data"][0]);
}

#[test]
fn everything_that_can_be_set_is_shown_normalised() {
    let mut controller = controller();
    let shown = post(
        &mut controller,
        "/controller/network/e5d9900be8______",
        json!({
            "name": "lab", "private": "false", "mtu": 100, "multicastLimit": "64", "enableBroadcast": 0,
            "v4AssignMode": "zt", "v6AssignMode": "6plane,rfc4193",
            "routes": [{ "target": "10.147.20.0/24" }, { "target": "0.0.0.0/0", "via": "10.147.20.1" }, { "target": "fd00::/8", "via": "10.0.0.1" }],
            "rules": [{ "type": "MATCH_ETHERTYPE", "etherType": 2048, "not": true }, { "type": "ACTION_DROP" }, { "type": "ACTION_ACCEPT" }],
            "tags": [{ "id": 1000, "default": 7 }, { "id": 3, "default": null }],
            "capabilities": [{ "id": 2000, "default": true, "rules": [{ "type": "ACTION_ACCEPT" }] }],
            "dns": { "domain": "lab.internal", "servers": ["10.147.20.1"] },
            "authTokens": { "secret1": 0 },
            "id": "0000000000000000", "somethingElse": 1,
        }),
    );
    assert_eq!(shown["private"], json!(false));
    assert_eq!(shown["mtu"], json!(1280));
    assert_eq!(
        (&shown["multicastLimit"], &shown["enableBroadcast"]),
        (&json!(64), &json!(false))
    );
    assert_eq!(shown["v4AssignMode"], json!({ "zt": true }));
    assert_eq!(
        shown["v6AssignMode"],
        json!({ "6plane": true, "rfc4193": true, "zt": false })
    );
    assert_eq!(
        shown["routes"][1],
        json!({ "target": "0.0.0.0/0", "via": "10.147.20.1" })
    );
    assert_eq!(
        shown["routes"][2],
        json!({ "target": "fd00::/8", "via": null })
    );
    assert_eq!(
        shown["rules"][0],
        json!({ "etherType": 2048, "not": true, "or": false, "type": "MATCH_ETHERTYPE" })
    );
    assert_eq!(
        shown["tags"],
        json!([{ "default": null, "id": 3 }, { "default": 7, "id": 1000 }])
    );
    assert_eq!(
        shown["capabilities"][0]["rules"],
        json!([{ "type": "ACTION_ACCEPT" }])
    );
    assert_eq!(
        shown["dns"],
        json!({ "domain": "lab.internal", "servers": ["10.147.20.1"] })
    );
    assert_eq!(shown["authTokens"], json!({ "secret1": 0 }));
    assert!(shown["id"].as_str().unwrap().starts_with("e5d9900be8"));
    assert!(shown.get("somethingElse").is_none());
}

#[test]
fn a_request_is_taken_whole_or_not_at_all() {
    let mut controller = controller();
    let path = "/controller/network/e5d9900be8000001";
    let before = post(&mut controller, path, lab_request());
    for (bad, field) in [
        (json!({ "name": "x", "mtu": "wide" }), "mtu"),
        (
            json!({ "name": "x", "ipAssignmentPools": [{ "ipRangeStart": "10.0.0.9", "ipRangeEnd": "10.0.0.1" }] }),
            "ipAssignmentPools[0]",
        ),
        (
            json!({ "name": "x", "ipAssignmentPools": [{ "ipRangeStart": "10.0.0.9", "ipRangeEnd": "::1" }] }),
            "ipAssignmentPools[0]",
        ),
        (
            json!({ "name": "x", "routes": [{ "target": "10.0.0.0/33" }] }),
            "routes[0].target",
        ),
        (
            json!({ "name": "x", "rules": [{ "type": "ACTION_ACCEPT" }, { "type": "MATCH_WEATHER" }] }),
            "rules[1].type",
        ),
        (json!({ "name": "x", "tags": [{ "id": -1 }] }), "tags[0].id"),
        (json!({ "name": ["x"] }), "name"),
        (json!({ "name": "x".repeat(128) }), "name"),
        (
            json!({ "name": "x", "routes": vec![json!({ "target": "10.0.0.0/8" }); 129] }),
            "routes",
        ),
        (json!([1, 2]), "a JSON object expected"),
    ] {
        let response = call(&mut controller, Method::Post, path, bad.clone());
        assert_eq!(response.status, 400, "{bad}");
        let description = response.body.unwrap()["description"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(description.starts_with(field), "{description}");
    }
    let member = format!("{path}/member/1122334455");
    let response = call(
        &mut controller,
        Method::Post,
        &member,
        json!({ "authorized": true, "ipAssignments": ["10.0.0.300"] }),
    );
    assert_eq!(response.status, 400);
    assert_eq!(
        call(&mut controller, Method::Get, &member, json!({})).status,
        404
    );
    assert_eq!(get(&mut controller, path), before, "nothing changed");
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut controller = controller();
    post(
        &mut controller,
        "/controller/network/e5d9900be8000001",
        json!({}),
    );
    for path in [
        "/controller/network/e5d9900be8000002",
        "/controller/network/e5d9900be8000002/member",
        "/controller/network/e5d9900be8000001/member/1122334455",
        "/controller/network/nonsense",
        "/controller/network/e5d9900be8000001/member/nonsense",
        "/controller/weather",
        "/unstable/controller/network/e5d9900be8000002/member",
    ] {
        for method in [Method::Get, Method::Delete] {
            let response = call(&mut controller, method, path, json!({}));
            assert_eq!(
                (response.status, response.body),
                (404, None),
                "{method:?} {path}"
            );
        }
    }
    let foreign = "/controller/network/1122334455000001";
    assert_eq!(
        call(&mut controller, Method::Post, foreign, json!({})).status,
        400
    );
    let foreign = "/controller/network/1122334455______";
    assert_eq!(
        call(&mut controller, Method::Post, foreign, json!({})).status,
        400
    );
    let orphan = "/controller/network/e5d9900be8000002/member/1122334455";
    assert_eq!(
        call(&mut controller, Method::Post, orphan, json!({})).status,
        404
    );
}

#[test]
fn created_networks_have_ids_of_their_own() {
    let mut controller = controller();
    let mut ids: Vec<_> = (0..50)
        .map(|_| {
            post(&mut controller, "/controller/network", json!({}))["id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
    assert!(
        ids.iter()
            .all(|id| id.starts_with("e5d9900be8") && !id.ends_with("000000"))
    );
}

#[test]
fn a_restart_changes_nothing() {
    use std::sync::{Arc, Mutex};

    /// A store that outlives its controller.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<MemoryStore>>);

    impl Store for Shared {
        fn put(&mut self, key: &str, record: &Value) {
            self.0.lock().unwrap().put(key, record);
        }
        fn delete(&mut self, key: &str) {
            self.0.lock().unwrap().delete(key);
        }
    }

    let store = Shared::default();
    let mut before = controller_with(Records::default(), store.clone());
    let network = "/controller/network/e5d9900be88d55a5";
    post(&mut before, network, lab_request());
    post(
        &mut before,
        network,
        json!({ "authTokens": { "secret": 0 }, "tags": [{ "id": 1, "default": 2 }], "dns": { "domain": "x", "servers": [] } }),
    );
    let id = NetworkId(0xe5d9_900b_e88d_55a5);
    let members = MEMBERS.map(|text| text.parse::<Identity>().unwrap());
    before.handle_request(NOW, &members[0], id, METADATA);
    let path = format!("{network}/member/{}", members[0].address());
    post(
        &mut before,
        &path,
        json!({ "authorized": true, "name": "laptop" }),
    );
    assert!(
        matches!(before.poll_effect(), Some(Effect::PushConfig { .. })),
        "it had asked"
    );
    let tables = [
        "/unstable/controller/network",
        "/unstable/controller/network/e5d9900be88d55a5/member",
    ];
    let shown = tables.map(|table| get(&mut before, table));

    let records = store.0.lock().unwrap().records.clone();
    let mut after = controller_with(Records::read(records).unwrap(), store.clone());
    assert_eq!(tables.map(|table| get(&mut after, table)), shown);
    // The second member joins by token, and does not get the first one's address.
    let metadata = [METADATA, b"\na=token:secret"].concat();
    let ConfigAnswer::Config(dictionary) = after.handle_request(NOW, &members[1], id, &metadata)
    else {
        panic!("the token opens the network")
    };
    let config = NetworkConfig::parse(&dictionary).unwrap();
    let addresses: Vec<_> = config.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(
        addresses,
        [
            "fde5:d990:be8:8d55:a599:93c5:eec5:96b9/88",
            "10.147.20.11/24"
        ]
    );
    assert_eq!(config.tags[0].value, 2);

    assert_eq!(after.api(NOW, Method::Delete, network, None).status, 200);
    assert_eq!(store.0.lock().unwrap().records.len(), 0);
}

#[test]
fn a_record_that_cannot_be_understood_is_named_and_no_controller_starts_without_it() {
    let network = "network/e5d9900be8000009";
    let member = "network/e5d9900be8000009/member/ae942bac06";
    let orphan = "network/e5d9900be8000008/member/ae942bac06";
    for (key, record, reason) in [
        (network, json!({ "mtu": [] }), "mtu: "),
        (member, json!({ "identity": "x" }), "identity: "),
        (member, json!({ "identity": 7 }), "identity: "),
        (orphan, json!({}), "its network has none"),
        ("network/9", json!({}), "its name is not that of a record"),
    ] {
        let records = [(network, json!({})), (key, record)];
        let records = records.map(|(key, record)| (key.to_owned(), record));
        let unreadable = Records::read(records).unwrap_err();
        assert_eq!(unreadable.key, key);
        assert!(unreadable.reason.starts_with(reason), "{unreadable:?}");
    }
    for nobody in [
        json!({}),
        json!({ "identity": null }),
        json!({ "identity": "" }),
    ] {
        let records = [(network, json!({})), (member, nobody)];
        Records::read(records.map(|(key, record)| (key.to_owned(), record))).unwrap();
    }
}

#[test]
fn another_identity_at_the_same_address_is_denied() {
    let mut controller = controller();
    let network = "/controller/network/e5d9900be88d55a5";
    post(&mut controller, network, lab_request());
    let id = NetworkId(0xe5d9_900b_e88d_55a5);
    let genuine: Identity = MEMBERS[0].parse().unwrap();
    post(
        &mut controller,
        &format!("{network}/member/{}", genuine.address()),
        json!({ "authorized": true }),
    );
    assert!(matches!(
        controller.handle_request(NOW, &genuine, id, METADATA),
        ConfigAnswer::Config(_)
    ));
    let other: Identity = MEMBERS[1]
        .replace("c5eec596b9", "ae942bac06")
        .parse()
        .unwrap();
    assert_eq!(
        controller.handle_request(NOW, &other, id, METADATA),
        ConfigAnswer::AccessDenied
    );
    let elsewhere = NetworkId(0x1122_3344_5500_0001);
    assert_eq!(
        controller.handle_request(NOW, &genuine, elsewhere, METADATA),
        ConfigAnswer::Ignore
    );
}

#[test]
fn a_member_that_asks_too_often_is_ignored_until_it_calms_down() {
    let mut controller = controller();
    post(
        &mut controller,
        "/controller/network/e5d9900be88d55a5",
        lab_request(),
    );
    let id = NetworkId(0xe5d9_900b_e88d_55a5);
    let member: Identity = MEMBERS[0].parse().unwrap();
    let answers: Vec<_> = (0..8)
        .map(|_| controller.handle_request(NOW, &member, id, METADATA))
        .collect();
    assert_eq!(
        answers
            .iter()
            .filter(|answer| **answer == ConfigAnswer::Ignore)
            .count(),
        3
    );
    let later = Time(NOW.0 + 1_000);
    assert_eq!(
        controller.handle_request(later, &member, id, METADATA),
        ConfigAnswer::AccessDenied
    );
}
