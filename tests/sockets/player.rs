//! Kinds of programs, and the way each is put on the LAN.

use crate::build::{Compiler, go, once, sources};
use std::ffi::OsString;
use std::fmt;
use zt_tests::traces::Way;

/// A kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Player {
    /// C with the machine's glibc (Debian 12: 2.36), by the library.
    Glibc,
    /// C with glibc 2.31, of Debian 11, by the library.
    OldGlibc,
    /// C with musl's dynamic loader, by the library.
    Musl,
    /// C with musl, static, by `zt-launch`.
    StaticMusl,
    /// The machine's Python, by the library.
    Python,
    /// Go without a C library, static, by `zt-launch`.
    Go,
}

/// Those that the library carries.
pub(crate) const BY_LIBRARY: &[Player] = &[
    Player::Glibc,
    Player::OldGlibc,
    Player::Musl,
    Player::Python,
];

/// Those that `zt-launch` carries.
pub(crate) const BY_LAUNCHER: &[Player] = &[Player::StaticMusl, Player::Go];

impl Player {
    /// How it comes onto the LAN.
    pub(crate) const fn way(self) -> Way {
        match self {
            Self::Glibc | Self::OldGlibc | Self::Musl | Self::Python => Way::Library,
            Self::StaticMusl | Self::Go => Way::Launcher,
        }
    }

    /// What is executed, with its first arguments.
    pub(crate) fn program(self) -> Vec<OsString> {
        let cases = |name, compiler: fn() -> Compiler| {
            let program = once(name, |output| {
                compiler().compile(output, |file| file != "peer.c");
            });
            vec![program.into_os_string()]
        };
        match self {
            Self::Glibc => cases("c-glibc", Compiler::glibc),
            Self::OldGlibc => cases("c-old-glibc", Compiler::old_glibc),
            Self::Musl => cases("c-musl", || Compiler::musl("-dynamic")),
            Self::StaticMusl => cases("c-static-musl", || Compiler::musl("-static")),
            Self::Python => vec![
                "python3".into(),
                sources("python").join("cases.py").into_os_string(),
            ],
            Self::Go => vec![once("go", go).into_os_string()],
        }
    }
}

impl fmt::Display for Player {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Glibc => "C, glibc 2.36",
            Self::OldGlibc => "C, glibc 2.31",
            Self::Musl => "C, musl",
            Self::StaticMusl => "C, static musl (zt-launch)",
            Self::Python => "Python 3",
            Self::Go => "Go (zt-launch)",
        })
    }
}
