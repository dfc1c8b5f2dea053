//! The names that `zt-run` gives to things in the engine, and the labels by which it finds them again.
//!
//! For a program `web`: container `web`, sidecar `web-zt`, volumes `web-zt-home` (identity) and `web-zt-run` (sockets).
//! For a LAN `home`: container `zt-lan-home`, volumes `zt-lan-home-home` (identity, controller) and
//! `zt-lan-home-planet`.

use std::{collections::HashMap, fmt};

use anyhow::{Result, bail};

/// `program`, `sidecar` or `lan`.
pub(crate) const ROLE: &str = "zt-run.role";
/// The name of the program that a container or volume belongs to.
pub(crate) const NAME: &str = "zt-run.name";
/// The network id, 16 hex digits.
pub(crate) const NETWORK: &str = "zt-run.network";
/// The name of the LAN, when it is one of ours.
pub(crate) const LAN: &str = "zt-run.lan";
/// `true`: nothing is kept once the program has ended.
pub(crate) const REMOVE: &str = "zt-run.rm";
/// The version of `zt-run` that made the container.
pub(crate) const VERSION: &str = "zt-run.version";

/// Where the socket volume is mounted, in the sidecar and in the program's container.
pub(crate) const SOCKET_DIR: &str = "/run/zt";
/// The preload library as the program's container sees it: part of the socket volume.
pub(crate) const LIBRARY: &str = "/run/zt/libztintercept.so";
/// The launcher, likewise.
pub(crate) const LAUNCHER: &str = "/run/zt/zt-launch";
/// The service's home in the sidecar.
pub(crate) const HOME: &str = "/var/lib/zerotier-one";
/// Where the planet of a LAN of one's own is mounted.
pub(crate) const LAN_DIR: &str = "/lan";
/// That planet's file.
pub(crate) const PLANET: &str = "/lan/planet";

/// The role of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The user's container.
    Program,
    /// The service beside it.
    Sidecar,
    /// The root and controller of a LAN of one's own.
    Lan,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Program => "program",
            Self::Sidecar => "sidecar",
            Self::Lan => "lan",
        })
    }
}

/// The labels that everything of `zt-run` carries, plus the given ones.
pub(crate) fn labels<const N: usize>(
    role: Role,
    more: [(&str, &str); N],
) -> HashMap<String, String> {
    let mut labels = HashMap::from([
        (ROLE.to_owned(), role.to_string()),
        (VERSION.to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    labels.extend(
        more.into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    labels
}

/// The sidecar of a program.
pub(crate) fn sidecar(name: &str) -> String {
    format!("{name}-zt")
}

/// The volume with a sidecar's identity.
pub(crate) fn home_volume(name: &str) -> String {
    format!("{name}-zt-home")
}

/// The volume with the sockets and the library, shared by a program and its sidecar.
pub(crate) fn socket_volume(name: &str) -> String {
    format!("{name}-zt-run")
}

/// What the names of LANs' containers begin with.
const LAN_PREFIX: &str = "zt-lan-";

/// The container of a LAN.
pub(crate) fn lan(name: &str) -> String {
    format!("{LAN_PREFIX}{name}")
}

/// The volume with a LAN's identity and controller state.
pub(crate) fn lan_home_volume(name: &str) -> String {
    format!("zt-lan-{name}-home")
}

/// The volume through which members read a LAN's planet.
pub(crate) fn lan_volume(name: &str) -> String {
    format!("zt-lan-{name}-planet")
}

/// Checks a name before it is used: the engine's own rule, said in our words.
pub(crate) fn check(name: &str) -> Result<()> {
    let mut chars = name.chars();
    let fine = chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && name.len() >= 2
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if !fine || name.len() > 120 {
        bail!(
            "`{name}` cannot be a name: use 2 to 120 letters, digits, `_`, `.` and `-`, starting with a letter or digit"
        );
    }
    Ok(())
}

/// Checks the name of a program's container.
pub(crate) fn check_program(name: &str) -> Result<()> {
    check(name)?;
    if name.starts_with(LAN_PREFIX) {
        bail!("names that begin with `{LAN_PREFIX}` are those of LANs: choose another one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_of_the_engine() {
        for good in ["web", "a1", "my.app_2-x"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "-web", "a b", "a/b", "ü1", &"x".repeat(121)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_of_different_lans_and_programs_never_meet() {
        let mut all = Vec::new();
        for name in ["x", "x-home", "x-planet", "x-zt", "x-zt-home"] {
            all.extend([
                lan_home_volume(name),
                lan_volume(name),
                home_volume(name),
                socket_volume(name),
            ]);
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "{all:?}");
        assert!(check_program("zt-lan-x").is_err());
    }

    #[test]
    fn labels_name_role_and_version() {
        let labels = labels(Role::Sidecar, [(NAME, "web")]);
        assert_eq!(labels[ROLE], "sidecar");
        assert_eq!(labels[NAME], "web");
        assert!(labels.contains_key(VERSION));
    }
}
