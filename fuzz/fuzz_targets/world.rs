//! Worlds, from a file or from an OK(HELLO).
#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_fuzz::round_trip;
use zt_protocol::World;

fuzz_target!(|data: &[u8]| {
    round_trip(data, World::parse);
    if let Ok(world) = World::parse(data) {
        let _ = World::default_planet().check_update(&world);
    }
});
