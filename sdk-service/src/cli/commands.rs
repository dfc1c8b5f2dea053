//! The commands of `zerotier-cli`: which request each makes and what its answer means.

use std::io::Read;

use serde_json::{Value, json};

use super::client::{Reply, Transport};
use super::options::Options;
use super::text;
use crate::home::HOST_NAME;

/// What a call prints and the code it leaves with.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// 0 done, 1 the service refused or is away, 2 used wrongly (VL2 §6.5).
    pub code: u8,
}

impl Outcome {
    /// Success with this text.
    pub fn printed(stdout: String) -> Self {
        Self {
            stdout,
            ..Self::default()
        }
    }

    fn misused(stderr: impl Into<String>) -> Self {
        Self {
            stdout: String::new(),
            stderr: stderr.into(),
            code: 2,
        }
    }
}

/// Carries out one command. `now` is what the ages of paths are measured against.
pub fn execute(program: &str, options: &Options, service: &mut dyn Transport, now: i64) -> Outcome {
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    let call = &mut Call {
        service,
        command: words.first().copied().unwrap_or_default(),
        json: options.json,
    };
    match words.as_slice() {
        ["info" | "status", ..] => call.show("/status", text::info),
        ["listnetworks", ..] => call.show("/network", |all| text::networks(list(all), now)),
        ["listpeers", ..] => call.show("/peer", |all| text::listpeers(list(all), now)),
        ["peers", ..] => call.show("/peer", |all| text::peers(list(all), now)),
        // Stock prints the moons as JSON in either mode.
        ["listmoons", ..] => call.show("/moon", text::pretty),
        ["join", rest @ ..] => call.join(rest),
        ["leave", rest @ ..] => call.leave(rest),
        ["get", rest @ ..] => call.get(rest),
        ["set", rest @ ..] => call.set(program, rest),
        ["api", rest @ ..] => call.api(rest),
        ["health", rest @ ..] => call.health(rest),
        [path, ..] if path.starts_with('/') => match call.request("GET", path, None) {
            Ok(reply) => Outcome::printed(reply.body),
            Err(outcome) => outcome,
        },
        // Stock: help on standard error, and a success.
        _ => Outcome {
            stdout: String::new(),
            stderr: super::help(program),
            code: 0,
        },
    }
}

struct Call<'a> {
    service: &'a mut dyn Transport,
    command: &'a str,
    json: bool,
}

impl<'a> Call<'a> {
    /// Makes a request; anything but 200 is already the outcome.
    fn request(&mut self, method: &str, path: &str, body: Option<&str>) -> Result<Reply, Outcome> {
        match self.service.request(method, path, body) {
            Ok(reply) if (200..300).contains(&reply.status) => Ok(reply),
            Ok(reply) => Err(Outcome {
                stdout: format!("{} {} {}\n", reply.status, self.command, reply.body),
                stderr: String::new(),
                code: 1,
            }),
            Err(error) => Err(Outcome {
                stdout: format!(
                    "Error connecting to the ZeroTier service: {error}\n\n\
                     Is the service running, and is this its home directory (-D)? Start it with\n\
                     `zerotier-sdk-service -d HOME`; its own message says why when it does not come up.\n"
                ),
                stderr: String::new(),
                code: 1,
            }),
        }
    }

    fn parsed(&mut self, reply: &Reply) -> Result<Value, Outcome> {
        serde_json::from_str(&reply.body).map_err(|error| Outcome {
            stdout: format!(
                "{} {} invalid JSON response ({error})\n",
                reply.status, self.command
            ),
            stderr: String::new(),
            code: 1,
        })
    }

    fn show(&mut self, path: &str, text: impl Fn(&Value) -> String) -> Outcome {
        let shown = self
            .request("GET", path, None)
            .and_then(|reply| self.parsed(&reply))
            .map(|value| {
                Outcome::printed(if self.json {
                    text::pretty(&value)
                } else {
                    text(&value)
                })
            });
        shown.unwrap_or_else(|outcome| outcome)
    }

    fn join(&mut self, words: &[&str]) -> Outcome {
        let network = words.first().copied().unwrap_or_default();
        if network.len() != 16 {
            return bad_network_id(network);
        }
        self.change("POST", network, Some("{}"))
    }

    fn leave(&mut self, words: &[&str]) -> Outcome {
        let network = words.first().copied().unwrap_or_default();
        if network.len() != 16 {
            return bad_network_id(network);
        }
        self.change("DELETE", network, None)
    }

    fn change(&mut self, method: &str, network: &str, body: Option<&str>) -> Outcome {
        match self.request(method, &format!("/network/{network}"), body) {
            Ok(reply) if self.json => Outcome::printed(reply.body),
            Ok(_) => Outcome::printed(format!("200 {} OK\n", self.command)),
            Err(outcome) => outcome,
        }
    }

    fn get(&mut self, words: &[&str]) -> Outcome {
        let (network, name) = match words {
            [network, name, ..] if is_network_id(network) => (*network, *name),
            [network, ..] if is_network_id(network) => {
                return Outcome::misused("invalid format: include a property name to get\n");
            }
            _ => return Outcome::misused("invalid format: must be a 16-digit (network) ID\n"),
        };
        let networks = match self
            .request("GET", "/network", None)
            .and_then(|reply| self.parsed(&reply))
        {
            Ok(networks) => networks,
            Err(outcome) => return outcome,
        };
        let wanted = network.to_ascii_lowercase();
        match list(&networks)
            .iter()
            .find(|candidate| candidate["id"] == wanted.as_str())
        {
            Some(found) => Outcome::printed(
                text::property(found, name)
                    .unwrap_or_else(|| "error, unknown property name\n".to_owned()),
            ),
            None => Outcome {
                stderr: "unknown network ID, check that you are a member of the network\n"
                    .to_owned(),
                ..Outcome::default()
            },
        }
    }

    fn set(&mut self, program: &str, words: &[&str]) -> Outcome {
        let (network, assignment) = match words {
            [network, assignment, ..] if is_network_id(network) => (*network, *assignment),
            [network, ..] if is_network_id(network) => {
                return Outcome::misused("invalid format: include a property name to set\n");
            }
            _ => return Outcome::misused("invalid format: must be a 16-digit (network) ID\n"),
        };
        let Some((name, value)) = assignment.split_once('=') else {
            return Outcome::misused(super::help(program));
        };
        let body = match name {
            "allowManaged" | "allowGlobal" | "allowDefault" | "allowDNS" => {
                json!({ name: value.starts_with('t') || value.starts_with('1') })
            }
            HOST_NAME => json!({ name: value }),
            _ => return Outcome::default(),
        };
        let body = body.to_string();
        match self.request("POST", &format!("/network/{network}"), Some(&body)) {
            Ok(reply) => Outcome::printed(reply.body),
            Err(outcome) => outcome,
        }
    }

    fn api(&mut self, words: &[&'a str]) -> Outcome {
        let [method, path, rest @ ..] = words else {
            return Outcome::misused(
                "usage: api METHOD PATH [JSON], for example: api GET /status\n",
            );
        };
        let mut from_input = String::new();
        let body = match rest.first() {
            Some(&"-") => {
                if let Err(error) = std::io::stdin().read_to_string(&mut from_input) {
                    return Outcome::misused(format!(
                        "cannot read the JSON from standard input: {error}\n"
                    ));
                }
                Some(from_input.as_str())
            }
            other => other.copied(),
        };
        if let Some(Err(error)) = body.map(serde_json::from_str::<serde::de::IgnoredAny>) {
            return Outcome::misused(format!(
                "the argument after the path is not JSON: {error}\n"
            ));
        }
        self.command = path;
        match self.request(&method.to_ascii_uppercase(), path, body) {
            Ok(reply) => Outcome::printed(reply.body),
            // Standard output is for answers alone: it goes into a pipe.
            Err(Outcome { stdout, code, .. }) => Outcome {
                stdout: String::new(),
                stderr: stdout,
                code,
            },
        }
    }

    /// Whether every joined network, or the one that is named, can be used: for health checks.
    fn health(&mut self, words: &[&str]) -> Outcome {
        let networks = match self
            .request("GET", "/network", None)
            .and_then(|reply| self.parsed(&reply))
        {
            Ok(networks) => networks,
            Err(outcome) => return outcome,
        };
        let wanted = words.first().map(|id| id.to_ascii_lowercase());
        let networks: Vec<&Value> = list(&networks)
            .iter()
            .filter(|network| {
                wanted
                    .as_ref()
                    .is_none_or(|id| network["id"] == id.as_str())
            })
            .collect();
        if networks.is_empty() {
            return Outcome {
                stdout: "not joined\n".into(),
                stderr: String::new(),
                code: 1,
            };
        }
        let states: Vec<(bool, String)> = networks.into_iter().map(text::health).collect();
        Outcome {
            stdout: states.iter().map(|(_, line)| line.as_str()).collect(),
            stderr: String::new(),
            code: u8::from(!states.iter().all(|(healthy, _)| *healthy)),
        }
    }
}

fn bad_network_id(given: &str) -> Outcome {
    Outcome {
        stdout: "invalid network id\n".to_owned(),
        stderr: format!(
            "a network id has 16 hexadecimal digits, like 8056c2e21c000001; \"{given}\" has {}\n",
            given.chars().count()
        ),
        code: 2,
    }
}

fn is_network_id(word: &str) -> bool {
    word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
