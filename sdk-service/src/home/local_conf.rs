//! `local.conf`: the settings of a node, as JSON (VL1 §6.5, VL2 §7.5).
//!
//! A setting of the wrong type is an error, an unknown one is a warning: a misspelt name must not
//! pass in silence, and a home that comes from stock must not be refused.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{HomeError, file};

/// What stock has and this service has no use for: no TAP, no relay over TCP, no port mapping, no
/// updater, no bonding.
const WITHOUT_EFFECT: [&str; 16] = [
    "allowManagementFrom",
    "allowSecondaryPort",
    "allowTcpFallbackRelay",
    "bind",
    "concurrency",
    "cpuPinningEnabled",
    "defaultBondingPolicy",
    "enableWebServer",
    "forceTcpRelay",
    "multicoreEnabled",
    "peerSpecificBonds",
    "policies",
    "portMappingEnabled",
    "softwareUpdateChannel",
    "tcpFallbackRelay",
    "tertiaryPort",
];

/// The settings, checked.
#[derive(Debug, Default)]
pub struct LocalConf {
    /// The file as it was read; `/config` and `/status` show it.
    pub raw: Map<String, Value>,
    /// UDP port and TCP port of the control API.
    pub primary_port: Option<u16>,
    /// A second UDP port, for NATs that treat the first one badly.
    pub secondary_port: Option<u16>,
    /// Interfaces whose names begin so are not told to peers.
    pub interface_prefix_blacklist: Vec<String>,
    /// Another place for `controller.d`.
    pub controller_directory: Option<PathBuf>,
    /// This node is the root of a planet of its own.
    pub root: bool,
    /// What a person should hear about.
    pub warnings: Vec<String>,
}

impl LocalConf {
    /// Reads the file; absent is empty.
    pub fn load(path: &Path) -> Result<Self, HomeError> {
        let Some(content) = file::read_if_present(path)? else {
            return Ok(Self::default());
        };
        Self::parse(&content).map_err(|problem| HomeError::Corrupt {
            path: path.to_owned(),
            problem,
            advice: "correct the file or delete it",
        })
    }

    fn parse(content: &[u8]) -> Result<Self, String> {
        let value: Value = match content.trim_ascii() {
            [] => json!({}),
            content => {
                serde_json::from_slice(content).map_err(|error| format!("is not JSON: {error}"))?
            }
        };
        let Value::Object(raw) = value else {
            return Err("is not a JSON object".into());
        };
        let mut conf = Self::default();
        for (section, value) in &raw {
            match (section.as_str(), value) {
                ("settings", Value::Object(settings)) => conf.read_settings(settings)?,
                ("physical" | "virtual", Value::Object(entries)) => {
                    if !entries.is_empty() {
                        conf.warnings
                            .push(format!("\"{section}\" has no effect in this service"));
                    }
                }
                ("settings" | "physical" | "virtual", _) => {
                    return Err(format!("has a \"{section}\" that is not an object"));
                }
                _ => conf.warnings.push(format!("\"{section}\" is not known")),
            }
        }
        conf.raw = raw;
        Ok(conf)
    }

    fn read_settings(&mut self, settings: &Map<String, Value>) -> Result<(), String> {
        for (name, value) in settings {
            let wrong = |expected: &str| {
                format!("has settings.{name} = {value}, but {expected} is expected there")
            };
            match name.as_str() {
                "primaryPort" => {
                    self.primary_port =
                        Some(port(value).ok_or_else(|| wrong("a port from 0 to 65535"))?)
                }
                "secondaryPort" => {
                    let second = port(value).ok_or_else(|| wrong("a port from 0 to 65535"))?;
                    self.secondary_port = Some(second).filter(|port| *port != 0);
                }
                "interfacePrefixBlacklist" => {
                    self.interface_prefix_blacklist = strings(value)
                        .ok_or_else(|| wrong("a list of interface names or their beginnings"))?;
                }
                "controllerDbPath" => {
                    let path = value.as_str().filter(|path| path.starts_with('/'));
                    self.controller_directory =
                        Some(path.ok_or_else(|| wrong("an absolute path"))?.into());
                }
                "root" => self.root = value.as_bool().ok_or_else(|| wrong("true or false"))?,
                "softwareUpdate" => {
                    if value != "disable" {
                        self.warnings.push(
                            "settings.softwareUpdate: this service never updates itself".into(),
                        );
                    }
                }
                known if WITHOUT_EFFECT.contains(&known) => {
                    // Switched off is what this service does anyway.
                    let idle = matches!(value, Value::Bool(false))
                        || *value == json!(0)
                        || *value == json!([]);
                    if !idle {
                        self.warnings
                            .push(format!("settings.{known} has no effect in this service"));
                    }
                }
                unknown => self
                    .warnings
                    .push(format!("settings.{unknown} is not known")),
            }
        }
        Ok(())
    }
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| port.try_into().ok())
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_the_lab_are_taken_without_a_word() {
        let conf = LocalConf::parse(
            br#"{"settings":{"portMappingEnabled":false,"allowTcpFallbackRelay":false,"softwareUpdate":"disable","interfacePrefixBlacklist":["lo"],"primaryPort":9994}}"#,
        )
        .unwrap();
        assert_eq!(conf.warnings, Vec::<String>::new());
        assert_eq!(conf.primary_port, Some(9994));
        assert_eq!(conf.interface_prefix_blacklist, ["lo"]);
    }

    #[test]
    fn unknown_and_useless_settings_are_warned_of() {
        let conf = LocalConf::parse(
            br#"{"settings":{"primaryport":1,"forceTcpRelay":true},"virtual":{"0123456789":{}},"extra":1}"#,
        )
        .unwrap();
        insta::assert_snapshot!(conf.warnings.join("\n"), @r#"
        "extra" is not known
        settings.forceTcpRelay has no effect in this service
        settings.primaryport is not known
        "virtual" has no effect in this service
        "#);
    }

    #[test]
    fn an_empty_file_is_no_settings() {
        assert!(LocalConf::parse(b" \n").unwrap().raw.is_empty());
    }

    #[test]
    fn wrong_types_are_named() {
        let problem = |text: &str| LocalConf::parse(text.as_bytes()).unwrap_err();
        insta::assert_snapshot!(problem(r#"{"settings":{"primaryPort":"9993"}}"#), @r#"has settings.primaryPort = "9993", but a port from 0 to 65535 is expected there"#);
        insta::assert_snapshot!(problem(r#"{"settings":{"primaryPort":65536}}"#), @"has settings.primaryPort = 65536, but a port from 0 to 65535 is expected there");
        insta::assert_snapshot!(problem(r#"{"settings":{"interfacePrefixBlacklist":"lo"}}"#), @r#"has settings.interfacePrefixBlacklist = "lo", but a list of interface names or their beginnings is expected there"#);
        insta::assert_snapshot!(problem(r#"{"settings":{"root":1}}"#), @"has settings.root = 1, but true or false is expected there");
        insta::assert_snapshot!(problem(r#"{"settings":[]}"#), @r#"has a "settings" that is not an object"#);
        insta::assert_snapshot!(problem("[1]"), @"is not a JSON object");
        insta::assert_snapshot!(problem("{"), @"is not JSON: EOF while parsing an object at line 1 column 1");
    }
}
