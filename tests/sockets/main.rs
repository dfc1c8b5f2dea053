//! The differential suite: small programs in C, Python and Go, each played on the kernel's loopback and on the LAN.
//!
//! A case makes socket calls and prints what they answer; its other end is a *peer* that obeys it ([`world`]). A
//! [`player`] is a kind of program with the way it is put on the LAN. The two traces of a case must be equal, but for
//! what [`differences`] lists with a reason; a listed difference that does not occur fails too.

mod build;
mod differences;
mod player;
mod trace;
mod world;

use player::Player;
use world::{Family, Kernel, Lan};

/// Plays every case of `player` on both networks, with IPv4 and with IPv6.
fn compare(player: Player) {
    let program = player.program();
    let failures = Lan::with(|lan| {
        let judged = Family::BOTH.map(|family| {
            let kernel = Kernel::new(player.way(), family).play(&program);
            let lan = lan.play(player.way(), family, &program);
            differences::judge(player, family, &kernel, &lan)
        });
        judged.concat()
    });
    assert!(failures.is_empty(), "{player}:\n{}", failures.join("\n"));
}

#[test]
fn c_with_glibc() {
    compare(Player::Glibc);
}

#[test]
fn c_with_glibc_of_debian_11() {
    compare(Player::OldGlibc);
}

#[test]
fn c_with_musl() {
    compare(Player::Musl);
}

#[test]
fn c_with_static_musl() {
    compare(Player::StaticMusl);
}

#[test]
fn python() {
    compare(Player::Python);
}

#[test]
fn go() {
    compare(Player::Go);
}
