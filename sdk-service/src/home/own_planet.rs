//! A planet of one's own, with this node as its only root.
//!
//! The endpoints in a planet are part of what is signed. A root whose addresses change, as those
//! of a container do when its engine restarts, therefore signs its planet anew with a later
//! timestamp; members that hear of it follow by the ordinary update rule (VL1 §5.2).

use std::net::SocketAddr;
use std::path::Path;

use getrandom::SysRng;
use zt_protocol::identity::SecretKey;
use zt_protocol::rand_core::UnwrapErr;
use zt_protocol::wire::{from_hex, to_hex};
use zt_protocol::world::Root;
use zt_protocol::{Identity, Time, World};

use super::{HomeError, PLANET_FILE, PLANET_SECRET, file, planet};

/// No root may name more (VL1 §5.1).
const MAX_ENDPOINTS: usize = 32;

/// The key of a planet and the planet as last signed.
#[derive(Debug)]
pub struct OwnPlanet {
    key: SecretKey,
    current: Option<World>,
}

impl OwnPlanet {
    /// Reads key and planet of this home; makes a key when there is none.
    pub fn open(home: &Path) -> Result<Self, HomeError> {
        let planet_file = home.join(PLANET_FILE);
        let current = planet::load(&planet_file)?;
        let key = load_or_create_key(&home.join(PLANET_SECRET))?;
        if current
            .as_ref()
            .is_some_and(|current| *current.update_key() != key.public())
        {
            return Err(HomeError::Corrupt {
                path: planet_file,
                problem: format!("is a planet whose key is not the one in {PLANET_SECRET}"),
                advice: "restore its key, or move the planet away to begin one of your own",
            });
        }
        Ok(Self { key, current })
    }

    /// The planet that names this root at these endpoints: the current one if it does already, a
    /// newer one otherwise. A root that has no address at the moment keeps the last ones.
    pub fn sign(&mut self, now: Time, root: &Identity, mut endpoints: Vec<SocketAddr>) -> &World {
        endpoints.sort();
        endpoints.dedup();
        endpoints.truncate(MAX_ENDPOINTS);
        let has_none = endpoints.is_empty();
        let roots = vec![Root {
            identity: *root,
            endpoints,
        }];
        let world = match self.current.take() {
            Some(current) if current.roots() == roots || has_none => current,
            Some(current) => {
                // A clock that was set back must not make the planet look older.
                let timestamp = now.as_millis().max(current.timestamp() + 1);
                World::make_planet(&self.key, current.id(), timestamp, roots)
            }
            None => World::make_planet(&self.key, new_id(), now.as_millis(), roots),
        };
        self.current.insert(world)
    }
}

/// The planet key in this file; a new one when there is none.
pub fn load_or_create_key(path: &Path) -> Result<SecretKey, HomeError> {
    if let Some(content) = file::read_if_present(path)? {
        let key = std::str::from_utf8(&content)
            .ok()
            .and_then(|text| from_hex(text.trim()));
        return key.map(SecretKey::from_bytes).ok_or_else(|| HomeError::Corrupt {
            path: path.to_owned(),
            problem: "is not the key of a planet".into(),
            advice: "restore it from a backup, or move it and the planet away to begin a new one",
        });
    }
    let key = SecretKey::generate(&mut UnwrapErr(SysRng));
    file::store(path, to_hex(&*key.to_bytes()).as_bytes(), 0o600)?;
    Ok(key)
}

/// A world id that nobody else has; never the public planet's.
pub fn new_id() -> u64 {
    use zt_protocol::rand_core::Rng;
    loop {
        let id = UnwrapErr(SysRng).next_u64();
        if id > u64::from(u32::MAX) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use zt_protocol::{Emit, SecretIdentity};

    use super::*;

    fn root() -> SecretIdentity {
        include_str!("../../tests/recorded/identity.secret")
            .parse()
            .unwrap()
    }

    fn endpoints(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_root_that_moved_signs_a_newer_planet_that_members_accept() {
        let home = tempfile::tempdir().unwrap();
        let root = root();
        let mut own = OwnPlanet::open(home.path()).unwrap();
        let first = own
            .sign(
                Time(1000),
                root.public(),
                endpoints(&["10.0.0.2:9993", "10.0.0.1:9993"]),
            )
            .clone();
        assert_eq!(
            first.roots()[0].endpoints,
            endpoints(&["10.0.0.1:9993", "10.0.0.2:9993"])
        );
        fs::write(home.path().join(PLANET_FILE), first.to_bytes()).unwrap();

        // After a restart, with the clock set back.
        let mut own = OwnPlanet::open(home.path()).unwrap();
        let same = own
            .sign(
                Time(500),
                root.public(),
                endpoints(&["10.0.0.2:9993", "10.0.0.1:9993"]),
            )
            .clone();
        assert_eq!(same, first);
        let moved = own.sign(Time(500), root.public(), endpoints(&["10.0.0.7:9993"]));
        first.check_update(moved).unwrap();
        let moved = moved.clone();
        assert_eq!(own.sign(Time(2000), root.public(), Vec::new()), &moved);
    }

    #[test]
    fn a_foreign_planet_is_not_overwritten() {
        let home = tempfile::tempdir().unwrap();
        fs::write(
            home.path().join(PLANET_FILE),
            World::default_planet().to_bytes(),
        )
        .unwrap();
        let error = OwnPlanet::open(home.path()).unwrap_err().to_string();
        assert!(
            error.contains("planet is a planet whose key is not the one in planet.secret"),
            "{error}"
        );
    }

    #[test]
    fn a_damaged_key_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(PLANET_SECRET), "abc").unwrap();
        let error = OwnPlanet::open(home.path()).unwrap_err().to_string();
        assert!(
            error.contains("planet.secret is not the key of a planet"),
            "{error}"
        );
    }
}
