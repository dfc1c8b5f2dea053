//! Planet files: the world that a node lives in (VL1 §5).

use std::path::Path;

use zt_protocol::World;
use zt_protocol::world::WorldKind;

use super::{HomeError, file};

/// The planet in this file, or `None` when there is no file.
pub fn load(path: &Path) -> Result<Option<World>, HomeError> {
    let Some(content) = file::read_if_present(path)? else {
        return Ok(None);
    };
    match World::parse(&content) {
        Ok(world) if world.kind() == WorldKind::Planet && !world.roots().is_empty() => {
            Ok(Some(world))
        }
        _ => Err(HomeError::Corrupt {
            path: path.to_owned(),
            problem: "is not a planet".into(),
            advice: "put the planet file of your network there, or delete it to use the public planet",
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use zt_protocol::Emit;

    use super::*;

    #[test]
    fn a_planet_comes_back_and_absence_is_none() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("planet");
        assert_eq!(load(&path).unwrap(), None);
        let world = World::default_planet();
        fs::write(&path, world.to_bytes()).unwrap();
        assert_eq!(load(&path).unwrap(), Some(world));
    }

    #[test]
    fn anything_else_is_named_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("planet");
        let mut moon = World::default_planet().to_bytes();
        moon[0] = 127;
        for content in [
            &b""[..],
            b"hello",
            &World::default_planet().to_bytes()[..300],
            &moon,
        ] {
            fs::write(&path, content).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains("planet is not a planet"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }
}
