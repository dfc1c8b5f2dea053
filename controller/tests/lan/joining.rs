//! From the first request to an address.

use std::time::Duration;

use serde_json::json;
use zt_controller::Method;
use zt_protocol::NetworkId;
use zt_protocol::vl2::Status;

use crate::make_network;
use crate::net::{A, B, C, Lan, ROOT, random};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_authorised_member_has_its_address_a_few_round_trips_after_the_start() {
    let mut lan = Lan::new(1);
    let network = make_network(&mut lan);
    lan.authorize(network, A, true);
    lan.join(A, network);
    let took = lan.run_until(2 * SECOND, |lan| lan.is_up(A, network));
    assert!(took <= Duration::from_millis(20), "{took:?}");
    let status = lan.status(A, network);
    assert_eq!(status.name, "lab");
    assert_eq!(status.addresses[0].to_string(), "10.147.20.1/24");
    assert_eq!(status.routes[0].target.to_string(), "10.147.20.0/24");
    assert_eq!(status.mtu, 2800);
    assert!(status.broadcast && !status.public && !status.bridge);
}

#[test]
fn losing_a_tenth_of_the_datagrams_leaves_the_address_within_two_seconds() {
    for seed in 1..40 {
        let mut lan = Lan::new(1);
        let network = make_network(&mut lan);
        lan.authorize(network, A, true);
        let mut state = seed;
        lan.lose = Box::new(move |_, _, _| random(&mut state).is_multiple_of(10));
        lan.join(A, network);
        let took = lan.run_until(10 * SECOND, |lan| lan.is_up(A, network));
        assert!(took <= 2 * SECOND, "seed {seed}: {took:?}");
    }
}

#[test]
fn the_controller_is_asked_once_when_nothing_is_lost() {
    let mut lan = Lan::new(1);
    let network = make_network(&mut lan);
    lan.authorize(network, A, true);
    lan.join(A, network);
    lan.run(10 * SECOND);
    assert_eq!(lan.requests, 1);
}

#[test]
fn a_stranger_is_denied_until_authorised_and_then_configured_at_once() {
    let mut lan = Lan::new(1);
    let network = make_network(&mut lan);
    lan.join(A, network);
    assert_eq!(
        lan.status(A, network).status,
        Status::RequestingConfiguration
    );
    lan.run_until(SECOND, |lan| {
        lan.status(A, network).status == Status::AccessDenied
    });
    lan.run(10 * SECOND);
    let path = format!("/controller/network/{network}/member/{}", lan.address(A));
    let member = lan.api(Method::Get, &path, json!({})).body.unwrap();
    assert_eq!(member["authorized"], json!(false));
    assert_eq!(member["vMajor"], json!(-1));

    lan.authorize(network, A, true);
    let took = lan.run_until(SECOND, |lan| lan.is_up(A, network));
    assert!(
        took <= Duration::from_millis(5),
        "pushed, not polled: {took:?}"
    );
    let member = lan.api(Method::Get, &path, json!({})).body.unwrap();
    assert_eq!(member["ipAssignments"], json!(["10.147.20.1"]));
    assert!(
        member["identity"]
            .as_str()
            .unwrap()
            .starts_with("66d93e6ed9:0:")
    );
}

#[test]
fn a_network_that_is_not_there_is_not_found() {
    let mut lan = Lan::new(1);
    let network = NetworkId(lan.controller.address().to_u64() << 24 | 0xff_ffff);
    lan.join(A, network);
    lan.run_until(SECOND, |lan| {
        lan.status(A, network).status == Status::NotFound
    });
}

#[test]
fn a_public_network_takes_everybody() {
    let mut lan = Lan::new(2);
    let network = make_network(&mut lan);
    lan.post(
        &format!("/controller/network/{network}"),
        json!({ "private": false }),
    );
    lan.join(A, network);
    lan.join(B, network);
    lan.run_until(SECOND, |lan| lan.is_up(A, network) && lan.is_up(B, network));
    assert!(lan.status(A, network).public);
    assert_ne!(lan.ipv4(A, network), lan.ipv4(B, network));
}

#[test]
fn a_token_opens_a_private_network() {
    let mut lan = Lan::new(2);
    let network = make_network(&mut lan);
    let path = format!("/controller/network/{network}");
    lan.post(&path, json!({ "authTokens": { "sesame": 0 } }));
    for (who, token) in [(A, "sesame"), (B, "barley")] {
        lan.join(who, network);
        lan.run(3 * SECOND);
        assert_eq!(lan.status(who, network).status, Status::AccessDenied);
        let now = lan.now;
        lan.node(who)
            .set_join_token(now, network, Some(token.to_owned()));
        lan.run(SECOND);
    }
    assert!(lan.is_up(A, network));
    assert_eq!(lan.status(B, network).status, Status::AccessDenied);
}

#[test]
fn the_controller_is_a_member_of_its_own_network() {
    let mut lan = Lan::new(1);
    let network = make_network(&mut lan);
    lan.join(ROOT, network);
    lan.run(SECOND);
    assert_eq!(lan.status(ROOT, network).status, Status::AccessDenied);
    lan.authorize(network, ROOT, true);
    lan.run(Duration::ZERO);
    assert!(lan.is_up(ROOT, network));
    lan.authorize(network, ROOT, false);
    lan.run(SECOND);
    assert_eq!(lan.status(ROOT, network).status, Status::AccessDenied);
}

#[test]
fn a_long_configuration_arrives_in_several_chunks() {
    let mut lan = Lan::new(1);
    let network = make_network(&mut lan);
    let mut rules: Vec<_> = (0..1000)
        .map(|n| json!({ "type": "MATCH_IPV6_SOURCE", "ip": format!("fd00::{n:x}/128"), "or": true }))
        .collect();
    rules.push(json!({ "type": "ACTION_DROP" }));
    rules.push(json!({ "type": "ACTION_ACCEPT" }));
    lan.post(
        &format!("/controller/network/{network}"),
        json!({ "rules": rules }),
    );
    lan.authorize(network, A, true);
    lan.join(A, network);
    lan.run_until(2 * SECOND, |lan| lan.is_up(A, network));
    let stored = lan.stored_config(A).unwrap();
    assert!(stored.len() > 20_000, "{}", stored.len());
}

#[test]
fn a_change_of_the_network_reaches_its_members_at_once() {
    let mut lan = Lan::new(1);
    let network = make_network(&mut lan);
    lan.authorize(network, A, true);
    lan.join(A, network);
    lan.run_until(SECOND, |lan| lan.is_up(A, network));
    lan.run(5 * SECOND);
    let routes =
        json!([{ "target": "10.147.20.0/24" }, { "target": "0.0.0.0/0", "via": "10.147.20.1" }]);
    lan.post(
        &format!("/controller/network/{network}"),
        json!({ "name": "new", "routes": routes }),
    );
    lan.run(Duration::from_millis(5));
    let status = lan.status(A, network);
    assert_eq!((status.name.as_str(), status.routes.len()), ("new", 2));
    assert_eq!(status.revision, 2);
}

#[test]
fn a_stored_configuration_serves_until_the_controller_answers() {
    let mut lan = Lan::new(2);
    let network = make_network(&mut lan);
    lan.authorize(network, A, true);
    lan.join(A, network);
    lan.run_until(SECOND, |lan| lan.is_up(A, network));
    let stored = lan.stored_config(A).unwrap().to_vec();

    let now = lan.now;
    assert!(lan.node(A).leave(network));
    assert!(!lan.node(A).leave(network));
    lan.node(A).join(now, network, Some(&stored));
    assert!(lan.is_up(A, network), "before any packet");
    lan.node(B).join(now, network, Some(&stored));
    assert!(!lan.is_up(B, network), "it is not B's");
}

#[test]
fn members_refresh_once_a_minute_and_denied_ones_ask_every_few_seconds() {
    let mut lan = Lan::new(2);
    let network = make_network(&mut lan);
    lan.authorize(network, A, true);
    lan.join(A, network);
    lan.run(10 * SECOND);
    let first = lan.stored_config(A).unwrap().to_vec();
    lan.run(45 * SECOND);
    assert_eq!(lan.stored_config(A).unwrap(), first);
    lan.run(10 * SECOND);
    assert_ne!(lan.stored_config(A).unwrap(), first);
    lan.join(B, network);
    lan.run(10 * SECOND);
    assert_eq!(lan.status(B, network).status, Status::AccessDenied);
}

#[test]
fn no_two_members_get_one_address_and_a_freed_one_is_used_again() {
    let mut lan = Lan::new(3);
    let network = make_network(&mut lan);
    for who in [A, B, C] {
        lan.authorize(network, who, true);
        lan.join(who, network);
        lan.run(SECOND);
    }
    let addresses = [A, B, C].map(|who| lan.ipv4(who, network).octets()[3]);
    assert_eq!(addresses, [1, 2, 3]);
    let b = lan.address(B);
    let path = format!("/controller/network/{network}/member/{b}");
    assert_eq!(lan.api(Method::Delete, &path, json!({})).status, 200);
    let taken = format!("/controller/network/{network}/member/{}", lan.address(C));
    let clash = lan.api(
        Method::Post,
        &taken,
        json!({ "ipAssignments": ["10.147.20.1"] }),
    );
    assert_eq!(clash.status, 400);
    lan.post(&taken, json!({ "ipAssignments": ["10.147.20.2"] }));
    lan.run(SECOND);
    assert_eq!(lan.ipv4(C, network).octets()[3], 2);
}
