//! The same socket program on the kernel's network and on the LAN: the two traces must be equal.

use zt_tests::traces::{Way, assert_same_traces};

const SCRIPT: &str = "semantics.py";
const ABSENT: u8 = 77;

#[test]
fn a_program_sees_on_the_lan_what_it_sees_on_the_kernels_network() {
    assert_same_traces(SCRIPT, Way::Library, Some(ABSENT), &[]);
}

#[test]
fn two_programs_of_one_service_see_it_too() {
    assert_same_traces(SCRIPT, Way::OneService, Some(ABSENT), &[]);
}

/// What the library sees and `zt-launch` does not, for the most part in the calls that carry data, which it does not trap.
const UNTRAPPED: [&str; 4] = [
    // A receive on a listener waits where the kernel says `ENOTCONN`.
    "listener_names_its_errors",
    // `zt-launch` has programs fall back to plain TCP.
    "multipath",
    // A reset with nothing unread is an end of file.
    "reset_after_data",
    "reset_is_reported",
];

#[test]
fn a_launched_program_sees_it_too() {
    assert_same_traces(SCRIPT, Way::Launcher, Some(ABSENT), &UNTRAPPED);
}
