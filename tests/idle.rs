//! What a service costs that has nothing to do, and how soon it is there.

use std::time::{Duration, Instant};
use zt_tests::{Lab, Service, ServiceOptions, cpu_time, resident_kib};

#[test]
fn an_idle_member_is_small_and_silent() {
    let lab = Lab::new();
    let (root, a) = (lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let (member, _) = Service::start_member(&a, &lan, &network);
    std::thread::sleep(Duration::from_secs(3));
    let before = cpu_time(member.pid());
    std::thread::sleep(Duration::from_secs(10));
    let spent = cpu_time(member.pid()) - before;
    // Two ticks of the clock that counts it: a thousandth of a processor.
    assert!(spent <= Duration::from_millis(20), "{spent:?} in 10 s");
    let resident = resident_kib(member.pid());
    assert!(resident <= 12 << 10, "{resident} KiB");
}

#[test]
fn an_authorised_member_has_its_address_within_two_seconds() {
    let lab = Lab::new();
    let (root, a) = (lab.host(), lab.host());
    let (lan, network) = Service::start_lan(&root, "10.147.20");
    let planet = Some(lan.home().join("planet"));
    let (member, address) = Service::start_member(&a, &lan, &network);
    drop(member);
    // Nothing kept but the identity: the configuration must come from the controller.
    let kept = a.dir().join(format!("home/networks.d/{network}.conf"));
    std::fs::remove_file(&kept).expect("the kept configuration");
    let started = Instant::now();
    let options = ServiceOptions {
        planet,
        environment: vec![("ZT_NETWORK".into(), network.clone())],
        ..ServiceOptions::default()
    };
    let member = Service::start(&a, &options);
    assert_eq!(member.wait_address(&network), address);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}
