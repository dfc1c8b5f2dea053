//! A root whose address changes, and a member that follows it.

use std::fs;

use serde_json::Value;

use crate::place::{Place, wait_for};

#[test]
fn members_follow_a_root_that_moved() {
    let place = Place::new();
    let planet = place.path("planet");
    let root_home = place.home("root");
    let mut command = place.service();
    command.args(["-d", "-p9993"]).env("ZT_PLANET", &planet);
    let root = place.start_with(&root_home, &mut command);
    assert_eq!(
        fs::read(&planet).unwrap(),
        fs::read(root_home.join("planet")).unwrap()
    );

    // The member makes its own identity: one address, one node.
    let member_home = place.path("member");
    let mut command = place.service();
    command
        .args(["-d", "-p9994"])
        .env_remove("ZT_ROOT")
        .env("ZT_PLANET", &planet);
    let member = place.start_with(&member_home, &mut command);
    wait_for("the member to see its root", || {
        member.ask(&["info"]).contains("ONLINE")
    });
    wait_for("a path", || {
        member.ask(&["listpeers"]).contains("10.5.0.1/9993")
    });
    let stamp = |status: Value| {
        (
            status["planetWorldId"].clone(),
            status["planetWorldTimestamp"].as_u64().unwrap(),
        )
    };
    let (world, before) = stamp(member.json("GET", "/status", None));

    place.shell("ip address del 10.5.0.1/24 dev eth0; ip address add 10.5.0.9/24 dev eth0");
    wait_for("the newer planet", || {
        stamp(member.json("GET", "/status", None)).1 > before
    });
    assert_eq!(stamp(member.json("GET", "/status", None)).0, world);
    wait_for("a path to the new address", || {
        member.ask(&["listpeers"]).contains("10.5.0.9/9993")
    });
    assert_eq!(
        fs::read(member_home.join("planet")).unwrap(),
        fs::read(&planet).unwrap()
    );

    // What the file says outlives both.
    root.stop();
    member.stop();
    let mut command = place.service();
    command
        .args(["-d", "-p9994"])
        .env_remove("ZT_ROOT")
        .env("ZT_PLANET", &planet);
    let member = place.start_with(&member_home, &mut command);
    assert_eq!(stamp(member.json("GET", "/status", None)).0, world);
}

#[test]
fn another_world_in_the_file_is_not_adopted_by_a_running_member() {
    let place = Place::new();
    let planet = place.path("planet");
    let mut command = place.service();
    command.args(["-d", "-p9993"]).env("ZT_PLANET", &planet);
    let root = place.start_with(&place.home("root"), &mut command);
    let before = root.json("GET", "/status", None)["planetWorldId"].clone();
    root.stop();

    let mut command = place.service();
    command
        .args(["-d", "-p9994"])
        .env_remove("ZT_ROOT")
        .env("ZT_PLANET", &planet);
    let member = place.start_with(&place.path("member"), &mut command);
    let other = place.path("other");
    let identity = fs::read_to_string(place.path("member").join("identity.public")).unwrap();
    place.shell(&format!(
        "{} -i makeplanet {} {} {identity} 10.5.0.1/9994 && mv {} {}",
        env!("CARGO_BIN_EXE_zerotier-sdk-service"),
        other.display(),
        place.path("key").display(),
        other.display(),
        planet.display(),
    ));
    wait_for("the warning", || {
        member.log().contains("planet not adopted")
    });
    assert_eq!(member.json("GET", "/status", None)["planetWorldId"], before);
}
