//! The home directory: everything of a service that outlives it.
//!
//! Names and formats are those of zerotier-one (VL1 §6.4, VL2 §7.1), so a home can move from one
//! to the other. A home belongs to one service at a time. Files are replaced whole or not at all,
//! and a file that cannot be understood is named in the error and left as it is.

mod controller;
mod file;
mod identity;
mod local_conf;
mod lock;
mod networks;
mod own_planet;
mod planet;
mod token;

use std::path::{Path, PathBuf};

pub use controller::{record_path, records};
pub use file::{read_if_present, remove_if_present, write_atomically};
pub use identity::load_or_generate;
pub use local_conf::LocalConf;
pub use lock::Lock;
pub use networks::{
    HOST_NAME, NetworkSettings, SavedNetwork, configuration_path as network_configuration_path,
    joined, settings_path as network_settings_path,
};
pub use own_planet::{OwnPlanet, load_or_create_key as planet_key, new_id as new_planet_id};
pub use planet::load as load_planet;
pub use token::load_or_create as load_or_create_token;

/// Public part of the identity.
pub const IDENTITY_PUBLIC: &str = "identity.public";
/// Identity with its private part.
pub const IDENTITY_SECRET: &str = "identity.secret";
/// Token of the control API.
pub const TOKEN_FILE: &str = "authtoken.secret";
/// Process id of the running service.
pub const PID_FILE: &str = "zerotier-one.pid";
/// Primary port of the running service.
pub const PORT_FILE: &str = "zerotier-one.port";
/// The control API's Unix socket.
pub const API_SOCKET: &str = "zerotier.sock";
/// The world to live in; the public planet when absent.
pub const PLANET_FILE: &str = "planet";
/// Key that signs the planet of a node that is its own root.
pub const PLANET_SECRET: &str = "planet.secret";
/// One `<network id>.conf` for each joined network.
pub const NETWORKS: &str = "networks.d";
/// Records of the networks that this node controls.
pub const CONTROLLER: &str = "controller.d";
/// Settings of the node.
pub const LOCAL_CONF: &str = "local.conf";
/// What `-d` writes its log into.
pub const LOG_FILE: &str = "zerotier-sdk-service.log";

/// Why a home cannot be used. Every text names the file and says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// The system refused.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// `read`, `write` …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Another service has it.
    #[error(
        "the home directory {} is in use by another service{}; stop that one or give this one a home of its own",
        path.display(),
        pid.map_or(String::new(), |pid| format!(" (pid {pid})"))
    )]
    InUse {
        /// The home.
        path: PathBuf,
        /// The holder, when it said so.
        pid: Option<u32>,
    },
    /// A file with content that means nothing.
    #[error("{} {problem}; {advice} (nothing was changed)", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What a person can do.
        advice: &'static str,
    },
}

impl HomeError {
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io {
            action,
            path,
            error,
        }
    }
}

/// A home directory that this process holds.
#[derive(Debug)]
pub struct Home {
    directory: PathBuf,
    // Held for as long as the home is.
    _lock: Lock,
}

impl Home {
    /// Creates the directory if need be and takes its lock.
    pub fn open(directory: &Path) -> Result<Self, HomeError> {
        if let Some(parent) = directory.parent() {
            file::create_directory(parent, 0o755)?;
        }
        // Whoever reaches the networks' sockets speaks on the LAN as this node. To let others do so
        // is its owner's decision: a directory that is there keeps its mode.
        file::create_directory(directory, 0o700)?;
        let directory = directory
            .canonicalize()
            .map_err(HomeError::io("find", directory))?;
        let lock = Lock::take(&directory)?;
        file::create_directory(&directory.join(NETWORKS), 0o700)?;
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    /// The directory, absolute.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of a file in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }
}

/// Where a service lives when nobody says: `ZEROTIER_HOME`, else `/var/lib/zerotier-one`.
pub fn default_directory() -> PathBuf {
    std::env::var_os("ZEROTIER_HOME")
        .filter(|home| !home.is_empty())
        .map_or_else(|| crate::DEFAULT_HOME.into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_home_that_is_made_is_its_users_alone_and_one_that_was_there_keeps_its_mode() {
        let place = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let home = place.path().join("parent/home");
        drop(Home::open(&home).unwrap());
        assert_eq!(mode(&home), 0o700);
        assert_eq!(mode(home.parent().unwrap()), 0o755);

        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        drop(Home::open(&home).unwrap());
        assert_eq!(mode(&home), 0o755);
    }
}
