//! `networks.d`: which networks to join, their last configuration and the local settings.

use std::fs;
use std::path::{Path, PathBuf};

use zt_netstack::names::host_label;
use zt_protocol::NetworkId;
use zt_protocol::inet::{IpPrefix, Scope};

use super::{HomeError, NETWORKS, file};

/// What a person allows a network to do here (VL2 §7.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSettings {
    /// Addresses and routes of the controller are used at all.
    pub allow_managed: bool,
    /// Also those in the public Internet's ranges.
    pub allow_global: bool,
    /// Also a default route.
    pub allow_default: bool,
    /// The network's name servers.
    pub allow_dns: bool,
    /// The name to publish there, without `.local`, instead of the service's own: a host's label.
    pub host_name: Option<String>,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            allow_managed: true,
            allow_global: false,
            allow_default: false,
            allow_dns: false,
            host_name: None,
        }
    }
}

impl NetworkSettings {
    /// Sets the name to publish; one without a letter or digit takes it back.
    pub fn set_host_name(&mut self, name: &str) {
        self.host_name = host_label(name);
    }

    /// Sets one of the four switches by its name in the API and in the file; `false` for another name.
    pub fn set(&mut self, name: &str, value: bool) -> bool {
        match name {
            "allowManaged" => self.allow_managed = value,
            "allowGlobal" => self.allow_global = value,
            "allowDefault" => self.allow_default = value,
            "allowDNS" => self.allow_dns = value,
            _ => return false,
        }
        true
    }

    /// Whether this managed address or route of a network is used (VL2 §7.3). What is routed is the
    /// whole prefix, so all of it has to be private, not just the address it is named by.
    pub fn allows(&self, prefix: &IpPrefix) -> bool {
        if !self.allow_managed {
            return false;
        }
        if prefix.bits() == 0 && prefix.address().is_unspecified() {
            return self.allow_default;
        }
        let [address, network, last] =
            [prefix.address(), prefix.network(), prefix.last()].map(Scope::of);
        let usable = |scope| {
            !matches!(
                scope,
                Scope::None | Scope::Multicast | Scope::Loopback | Scope::LinkLocal
            )
        };
        let private =
            |scope| matches!(scope, Scope::Private | Scope::Shared | Scope::PseudoPrivate);
        usable(address)
            && usable(network)
            && (self.allow_global || [address, network, last].into_iter().all(private))
    }

    /// The `<network id>.local.conf` form.
    pub fn to_file(&self) -> String {
        let digit = u8::from;
        let switches = format!(
            "allowManaged={}\nallowGlobal={}\nallowDefault={}\nallowDNS={}\n",
            digit(self.allow_managed),
            digit(self.allow_global),
            digit(self.allow_default),
            digit(self.allow_dns)
        );
        match &self.host_name {
            Some(name) => format!("{switches}{HOST_NAME}={name}\n"),
            None => switches,
        }
    }

    fn from_file(content: &[u8]) -> Self {
        let mut settings = Self::default();
        for line in String::from_utf8_lossy(content).lines() {
            if let Some((name, value)) = line.split_once('=') {
                if name.trim() == HOST_NAME {
                    settings.set_host_name(value.trim());
                    continue;
                }
                // `allowManaged` may hold a list of prefixes: then it is on.
                settings.set(name.trim(), !matches!(value.trim(), "" | "0"));
            }
        }
        settings
    }
}

/// The key of the published name, in the API and in the file.
pub const HOST_NAME: &str = "hostName";

/// A network that this home has joined.
#[derive(Debug, PartialEq, Eq)]
pub struct SavedNetwork {
    /// Its id.
    pub id: NetworkId,
    /// The last configuration that was accepted, as the controller sent it; `None` before that.
    pub configuration: Option<Vec<u8>>,
    /// The local settings.
    pub settings: NetworkSettings,
}

/// Path of the cached configuration.
pub fn configuration_path(home: &Path, network: NetworkId) -> PathBuf {
    home.join(NETWORKS).join(format!("{network}.conf"))
}

/// Path of the local settings.
pub fn settings_path(home: &Path, network: NetworkId) -> PathBuf {
    home.join(NETWORKS).join(format!("{network}.local.conf"))
}

/// Every network in `networks.d`, by id. An empty file means "join" (VL2 §7.2).
pub fn joined(home: &Path) -> Result<Vec<SavedNetwork>, HomeError> {
    let directory = home.join(NETWORKS);
    let entries = fs::read_dir(&directory).map_err(HomeError::io("read", &directory))?;
    let mut networks = Vec::new();
    for entry in entries {
        let name = entry
            .map_err(HomeError::io("read", &directory))?
            .file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(".conf"))
            .and_then(|id| id.parse().ok());
        let Some(id) = id else { continue };
        let configuration = file::read_if_present(&configuration_path(home, id))?
            .filter(|content| content.len() > 1);
        let settings = file::read_if_present(&settings_path(home, id))?;
        networks.push(SavedNetwork {
            id,
            configuration,
            settings: settings.map_or_else(NetworkSettings::default, |content| {
                NetworkSettings::from_file(&content)
            }),
        });
    }
    networks.sort_by_key(|network| network.id.0);
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_come_back_with_their_configuration_and_settings() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(NETWORKS);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("8056c2e21c000001.conf"), "nwid=1").unwrap();
        fs::write(
            directory.join("8056c2e21c000001.local.conf"),
            "allowManaged=10.0.0.0/8\nallowDefault=1\nx=y\n",
        )
        .unwrap();
        fs::write(directory.join("1122334455667788.conf"), "\n").unwrap();
        fs::write(directory.join("not-a-network.conf"), "").unwrap();
        fs::write(directory.join("11223344556677.conf"), "").unwrap();
        let networks = joined(home.path()).unwrap();
        assert_eq!(
            networks,
            [
                SavedNetwork {
                    id: NetworkId(0x1122334455667788),
                    configuration: None,
                    settings: NetworkSettings::default()
                },
                SavedNetwork {
                    id: NetworkId(0x8056c2e21c000001),
                    configuration: Some(b"nwid=1".to_vec()),
                    settings: NetworkSettings {
                        allow_default: true,
                        ..NetworkSettings::default()
                    },
                },
            ]
        );
    }

    #[test]
    fn a_prefix_is_as_private_as_all_of_its_addresses() {
        let ordinary = NetworkSettings::default();
        let global = NetworkSettings {
            allow_global: true,
            ..ordinary.clone()
        };
        let default = NetworkSettings {
            allow_default: true,
            ..ordinary.clone()
        };
        let nothing = NetworkSettings {
            allow_managed: false,
            ..global.clone()
        };
        for (text, ordinarily, globally) in [
            ("10.147.20.5/24", true, true),
            ("10.0.0.1/8", true, true),
            ("28.0.0.1/8", true, true),
            ("fd12::1/40", true, true),
            ("8.8.8.8/32", false, true),
            ("2001:db8::1/64", false, true),
            ("128.0.0.0/1", false, true),
            // Named by a private address, but not only that.
            ("10.0.0.1/6", false, true),
            ("172.16.0.1/8", false, true),
            ("192.168.0.0/15", false, true),
            ("10.0.0.1/1", false, false),
            ("10.0.0.1/0", false, false),
            ("fd00::1/1", false, true),
            ("fd00::1/0", false, false),
            ("0.0.0.0/1", false, false),
            ("169.254.1.1/16", false, false),
            ("127.0.0.1/8", false, false),
            ("224.0.0.0/4", false, false),
            ("0.0.0.0/0", false, false),
            ("::/0", false, false),
        ] {
            let prefix: IpPrefix = text.parse().unwrap();
            assert_eq!(ordinary.allows(&prefix), ordinarily, "{text}");
            assert_eq!(global.allows(&prefix), globally, "{text}");
            let is_default = matches!(text, "0.0.0.0/0" | "::/0");
            assert_eq!(default.allows(&prefix), ordinarily || is_default, "{text}");
            assert!(!nothing.allows(&prefix), "{text}");
        }
    }

    #[test]
    fn settings_survive_their_file() {
        for bits in 0..16u8 {
            let mut settings = NetworkSettings::default();
            for (bit, name) in ["allowManaged", "allowGlobal", "allowDefault", "allowDNS"]
                .iter()
                .enumerate()
            {
                assert!(settings.set(name, bits >> bit & 1 == 1));
            }
            for name in ["", "Web"] {
                settings.set_host_name(name);
                let read = NetworkSettings::from_file(settings.to_file().as_bytes());
                assert_eq!(read, settings);
            }
        }
        assert!(!NetworkSettings::default().set("allowAll", true));
    }
}
