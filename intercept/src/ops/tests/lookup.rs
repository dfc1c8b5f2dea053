//! Which names go to the service, and what becomes of its answers.

use core::net::IpAddr;

use zt_socket_rpc::table::Interface;
use zt_socket_rpc::{Addresses, HostName};

use super::*;

fn found() -> Addresses {
    Addresses::new(["10.77.0.9".parse::<IpAddr>().unwrap()])
}

/// A program whose service knows `db.local` and `db.corp.example`, and sees the network's domain.
fn world(mode: Mode) -> World {
    let world = World::new(mode);
    world.kernel.publish_interface(&Interface {
        name: *b"ztmjfmfyq5\0\0\0\0\0\0",
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 2800,
        domain: HostName::new(b"corp.example"),
    });
    world.kernel.serve(|request| {
        Some(match request {
            Request::Resolve { name, v4: true, .. } => match name.as_str() {
                "db.local" | "db.corp.example" => Reply::Addresses(found()),
                "slow.local" => Reply::Failed { errno: EAGAIN },
                _ => Reply::Failed { errno: ENOENT },
            },
            Request::NameOf { .. } => Reply::NameOf(HostName::new(b"db.local").unwrap()),
            _ => return None,
        })
    });
    world
}

fn resolve(world: &World, name: &str) -> Outcome<Addresses> {
    world.program().resolve(name.as_bytes(), true, false)
}

#[test]
fn names_of_the_lan_are_asked_from_the_service() {
    let world = world(Mode::Split);
    for name in ["db.local", "db.corp.example"] {
        assert_eq!(resolve(&world, name), Outcome::Done(found()), "{name}");
    }
    assert_eq!(resolve(&world, "slow.local"), Outcome::Fail(Errno(EAGAIN)));
}

#[test]
fn other_names_are_the_c_librarys_own() {
    let world = world(Mode::Split);
    let pass = Outcome::PassThrough(Reason::NotAName);
    for name in ["www.example", "local.example", "localhost", "a b.local", ""] {
        assert_eq!(resolve(&world, name), pass, "{name}");
    }
}

#[test]
fn a_name_that_the_lan_does_not_know_is_asked_elsewhere_in_split_mode_only() {
    let nobody = "nobody.local";
    assert_eq!(
        resolve(&world(Mode::Split), nobody),
        Outcome::PassThrough(Reason::NotAName)
    );
    assert_eq!(
        resolve(&world(Mode::Isolated), nobody),
        Outcome::Fail(Errno(ENOENT))
    );
}

#[test]
fn addresses_of_the_lan_have_names_and_others_are_not_asked_for() {
    let world = world(Mode::Split);
    let name_of = |ip: &str| world.program().name_of(ip.parse().unwrap());
    let name = HostName::new(b"db.local").unwrap();
    assert_eq!(name_of("10.77.0.9"), Outcome::Done(name));
    assert_eq!(
        name_of("192.0.2.1"),
        Outcome::PassThrough(Reason::NotOnTheLan)
    );
}

#[test]
fn without_a_service_names_are_as_they_were() {
    let world = world(Mode::Split);
    world.kernel.stop_service(false);
    let away = Outcome::PassThrough(Reason::ServiceAway);
    assert_eq!(resolve(&world, "db.corp.example"), away);
    assert!(world.program().interface().is_none());
}

#[test]
fn the_interface_is_what_the_service_published() {
    let world = world(Mode::Split);
    let lan = world.program().interface().unwrap();
    assert!(lan.is_named(b"ztmjfmfyq5") && !lan.is_named(b"zt"));
    assert_eq!((lan.mtu(), lan.mac()), (2800, [2, 0, 0, 0, 0, 1]));
    let addresses: Vec<IpAddr> = lan.addresses().map(|prefix| prefix.address).collect();
    assert_eq!(addresses, ["10.77.0.1".parse::<IpAddr>().unwrap()]);
}
