//! What the service takes from its environment, read once and checked.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tracing::level_filters::LevelFilter;
use zt_netstack::names::host_label;
use zt_protocol::NetworkId;

/// The variables of the help text.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// `ZT_NETWORK`: networks to join.
    pub(super) networks: Vec<NetworkId>,
    /// `ZT_NC_DIR`: where the sockets for programs are made.
    pub(super) sockets: Option<PathBuf>,
    /// `ZT_ROOT`: be the root of a planet of one's own.
    pub(super) root: bool,
    /// `ZT_NAME`: the name to publish on the networks, without `.local`.
    pub(super) name: Option<String>,
    /// `ZT_PLANET`: planet file to follow, or for a root to publish.
    pub(super) planet: Option<PathBuf>,
    log: Option<LevelFilter>,
}

impl Environment {
    /// Reads the variables of this process.
    pub(super) fn read() -> Result<Self> {
        Self::from(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from(value: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let networks = value("ZT_NETWORK").unwrap_or_default();
        let networks = networks.split([',', ' ']).filter(|id| !id.is_empty()).map(|id| {
            id.parse().map_err(|_| anyhow::anyhow!("ZT_NETWORK: \"{id}\" is not a network id: 16 hexadecimal digits, like 8056c2e21c000001"))
        });
        Ok(Self {
            networks: networks.collect::<Result<_>>()?,
            sockets: value("ZT_NC_DIR").map(absolute).transpose()?,
            root: match value("ZT_ROOT").as_deref() {
                None | Some("0" | "false") => false,
                Some("1" | "true") => true,
                Some(other) => bail!("ZT_ROOT is 0 or 1, not \"{other}\""),
            },
            name: match value("ZT_NAME") {
                Some(name) => Some(host_label(&name).with_context(|| {
                    format!("ZT_NAME: \"{name}\" has no letter or digit for a host's name")
                })?),
                None => None,
            },
            planet: value("ZT_PLANET").map(absolute).transpose()?,
            log: match value("ZT_LOG") {
                Some(level) => Some(level.parse().ok().with_context(|| {
                    format!("ZT_LOG is error, warn, info, debug or trace, not \"{level}\"")
                })?),
                None => None,
            },
        })
    }

    /// Begins the log: on standard error, or in a file for a service in the background.
    pub(super) fn start_log(&self, file: Option<&Path>) -> Result<()> {
        let log = tracing_subscriber::fmt()
            .with_max_level(self.log.unwrap_or(LevelFilter::INFO))
            .with_target(false);
        match file {
            Some(path) => {
                let file = crate::daemon::open_log(path)
                    .with_context(|| format!("opening {}", path.display()))?;
                log.with_ansi(false)
                    .with_writer(std::sync::Mutex::new(file))
                    .init();
            }
            None => log.with_ansi(false).with_writer(std::io::stderr).init(),
        }
        Ok(())
    }
}

/// The daemon changes its directory: a relative path must be understood before that.
fn absolute(path: String) -> Result<PathBuf> {
    std::path::absolute(&path).with_context(|| format!("\"{path}\" is not a path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment> {
        Environment::from(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn networks_are_separated_by_commas_or_blanks() {
        let environment = read(&[("ZT_NETWORK", "8056c2e21c000001, 1122334455667788")]).unwrap();
        assert_eq!(
            environment.networks,
            [NetworkId(0x8056c2e21c000001), NetworkId(0x1122334455667788)]
        );
        assert!(read(&[]).unwrap().networks.is_empty());
    }

    #[test]
    fn a_name_becomes_one_that_a_host_may_have() {
        let environment = read(&[("ZT_NAME", "My_Web.example")]).unwrap();
        assert_eq!(environment.name.as_deref(), Some("my-web"));
        assert_eq!(read(&[]).unwrap().name, None);
    }

    #[test]
    fn mistakes_are_named() {
        for (name, value) in [
            ("ZT_NETWORK", "8056c2e21c00000"),
            ("ZT_ROOT", "yes"),
            ("ZT_LOG", "loud"),
            ("ZT_NAME", "---"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
