//! Talking to a service: its own `zerotier-cli` run inside its container by the engine. This works with remote engines, needs
//! no port, and the authentication token never leaves the container.

use anyhow::{Context, Result, bail};
use bollard::{
    Docker,
    container::LogOutput,
    exec::{CreateExecOptions, StartExecResults},
    query_parameters::{InspectContainerOptions, LogsOptionsBuilder},
};
use futures_util::StreamExt;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    engine::{failed, is_missing},
    image::CLI,
};

/// `zerotier-cli -j info`: the part that is used here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    /// The node's address, 10 hex digits.
    pub address: String,
}

/// One of `zerotier-cli -j listnetworks`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Network {
    /// The network id, 16 hex digits.
    pub id: String,
    /// `OK`, `REQUESTING_CONFIGURATION`, `ACCESS_DENIED`, `NOT_FOUND` …
    pub status: String,
    /// Addresses with prefix length.
    #[serde(default)]
    pub assigned_addresses: Vec<String>,
}

impl Network {
    /// The addresses, IPv4 first, without the prefix length; empty unless the network is up.
    pub(crate) fn addresses(&self) -> Vec<String> {
        if self.status != "OK" {
            return Vec::new();
        }
        let plain = |address: &String| address.split('/').next().unwrap_or_default().to_owned();
        let (v6, v4): (Vec<String>, Vec<String>) = self
            .assigned_addresses
            .iter()
            .map(plain)
            .partition(|a| a.contains(':'));
        v4.into_iter().chain(v6).collect()
    }
}

/// One of `zerotier-cli -j listpeers`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Peer {
    /// The peer's address, 10 hex digits.
    pub address: String,
    /// `LEAF`, `PLANET` or `MOON`.
    pub role: String,
    /// Known paths.
    #[serde(default)]
    pub paths: Vec<Path>,
}

/// One path of a peer.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Path {
    /// `IP/port`.
    pub address: String,
    /// Something was received on it recently.
    #[serde(default)]
    pub active: bool,
    /// It is the one in use.
    #[serde(default)]
    pub preferred: bool,
    /// It is too old to be used.
    #[serde(default)]
    pub expired: bool,
}

impl Peer {
    /// The physical address in use; `None` means relayed.
    pub(crate) fn direct(&self) -> Option<&str> {
        let usable = || {
            self.paths
                .iter()
                .filter(|path| path.active && !path.expired)
        };
        usable()
            .find(|path| path.preferred)
            .or_else(|| usable().next())
            .map(|path| path.address.as_str())
    }
}

/// The controller's view of a network: the part that is used here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ControllerNetwork {
    /// Members must be authorised.
    #[serde(default)]
    pub private: bool,
    /// Managed routes.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// A managed route.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Route {
    /// The prefix.
    pub target: String,
}

/// The service in one container.
pub(crate) struct Control<'a> {
    docker: &'a Docker,
    container: &'a str,
}

/// What a command printed, and its exit code.
struct Output {
    code: i64,
    stdout: String,
    stderr: String,
}

impl<'a> Control<'a> {
    /// The service in `container`, by name or id.
    pub(crate) fn new(docker: &'a Docker, container: &'a str) -> Self {
        Self { docker, container }
    }

    /// The node's status.
    pub(crate) async fn status(&self) -> Result<Status> {
        self.read(&["-j", "info"]).await
    }

    /// All joined networks.
    pub(crate) async fn networks(&self) -> Result<Vec<Network>> {
        self.read(&["-j", "listnetworks"]).await
    }

    /// All known peers.
    pub(crate) async fn peers(&self) -> Result<Vec<Peer>> {
        self.read(&["-j", "listpeers"]).await
    }

    /// Joins a network.
    pub(crate) async fn join(&self, network: &str) -> Result<()> {
        self.run(&["join", network]).await.map(drop)
    }

    /// The networks that this node is the controller of.
    pub(crate) async fn controlled(&self) -> Result<Vec<String>> {
        self.read(&["api", "GET", "/controller/network"]).await
    }

    /// One of them.
    pub(crate) async fn controlled_network(&self, network: &str) -> Result<ControllerNetwork> {
        self.read(&["api", "GET", &format!("/controller/network/{network}")])
            .await
    }

    /// The addresses of a network's members.
    pub(crate) async fn members(&self, network: &str) -> Result<Vec<String>> {
        let members: serde_json::Map<String, Value> = self
            .read(&[
                "api",
                "GET",
                &format!("/controller/network/{network}/member"),
            ])
            .await?;
        Ok(members.into_iter().map(|(address, _)| address).collect())
    }

    /// Makes a network of this controller, whose address is given, and returns its id.
    pub(crate) async fn create_network(
        &self,
        controller: &str,
        settings: &Value,
    ) -> Result<String> {
        #[derive(Deserialize)]
        struct Created {
            id: String,
        }
        let path = format!("/controller/network/{controller}______");
        let created: Created = self
            .read(&["api", "POST", &path, &settings.to_string()])
            .await?;
        Ok(created.id)
    }

    /// Lets a member in.
    pub(crate) async fn authorize(&self, network: &str, member: &str) -> Result<()> {
        let path = format!("/controller/network/{network}/member/{member}");
        self.run(&[
            "api",
            "POST",
            &path,
            &json!({ "authorized": true }).to_string(),
        ])
        .await
        .map(drop)
    }

    /// Forgets a member.
    pub(crate) async fn remove_member(&self, network: &str, member: &str) -> Result<()> {
        let path = format!("/controller/network/{network}/member/{member}");
        // A member whose authorisation is withdrawn first is cut off at once, not when its certificate ends.
        self.run(&[
            "api",
            "POST",
            &path,
            &json!({ "authorized": false }).to_string(),
        ])
        .await?;
        self.run(&["api", "DELETE", &path]).await.map(drop)
    }

    async fn read<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let text = self.run(arguments).await?;
        serde_json::from_str(&text).with_context(|| {
            format!(
                "the service in {} gave an unexpected answer to {arguments:?}",
                self.container
            )
        })
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.exec(arguments).await?;
        if output.code != 0 {
            let words = [output.stderr.trim(), output.stdout.trim()];
            let said = words
                .into_iter()
                .find(|text| !text.is_empty())
                .unwrap_or("no answer")
                .to_owned();
            bail!("the service in {}: {said}", self.container);
        }
        Ok(output.stdout)
    }

    async fn exec(&self, arguments: &[&str]) -> Result<Output> {
        let doing = || format!("asking the service in {}", self.container);
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(std::iter::once(&CLI).chain(arguments).copied().collect()),
            ..CreateExecOptions::default()
        };
        let exec = self
            .docker
            .create_exec(self.container, options)
            .await
            .map_err(|error| failed(&doing(), &error))?;
        let started = self
            .docker
            .start_exec(&exec.id, None)
            .await
            .map_err(|error| failed(&doing(), &error))?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let StartExecResults::Attached { mut output, .. } = started {
            while let Some(chunk) = output.next().await {
                match chunk.map_err(|error| failed(&doing(), &error))? {
                    LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                    other => stdout.extend_from_slice(&other.into_bytes()),
                }
            }
        }
        let code = self
            .docker
            .inspect_exec(&exec.id)
            .await
            .map_err(|error| failed(&doing(), &error))?
            .exit_code;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output {
            code: code.unwrap_or(-1),
            stdout: text(stdout),
            stderr: text(stderr),
        })
    }

    /// The reason why the service cannot answer, if its container has ended: its last words.
    pub(crate) async fn ended(&self) -> Result<Option<String>> {
        let state = match self
            .docker
            .inspect_container(self.container, None::<InspectContainerOptions>)
            .await
        {
            Ok(container) => container.state.unwrap_or_default(),
            Err(error) if is_missing(&error) => {
                return Ok(Some("its container is gone".to_owned()));
            }
            Err(error) => return Err(failed("looking at the sidecar", &error)),
        };
        if state.running == Some(true) && state.restarting != Some(true) {
            return Ok(None);
        }
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail("5")
            .build();
        let logs: Vec<String> = self
            .docker
            .logs(self.container, Some(options))
            .filter_map(|line| async {
                line.ok().map(|line| {
                    String::from_utf8_lossy(&line.into_bytes())
                        .trim()
                        .to_owned()
                })
            })
            .collect()
            .await;
        let code = state.exit_code.unwrap_or_default();
        Ok(Some(format!(
            "ended with code {code}\n  {}",
            logs.join("\n  ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_a_stock_service_is_understood() {
        let network: Network = serde_json::from_str(
            r#"{"allowDNS":false,"assignedAddresses":["fd4a::1/88","10.147.20.47/24"],"id":"4a803948f0fea9de",
                "name":"lab","status":"OK","type":"PRIVATE"}"#,
        )
        .unwrap();
        assert_eq!(network.addresses(), ["10.147.20.47", "fd4a::1"]);
        let denied = Network {
            status: "ACCESS_DENIED".into(),
            ..network
        };
        assert!(denied.addresses().is_empty());
    }

    #[test]
    fn a_peer_is_direct_by_its_preferred_usable_path() {
        let peer: Peer = serde_json::from_str(
            r#"{"address":"4a803948f0","role":"LEAF","paths":[
                {"active":true,"address":"10.0.0.1/9993","expired":false,"preferred":false},
                {"active":true,"address":"10.0.0.2/9993","expired":false,"preferred":true}]}"#,
        )
        .unwrap();
        assert_eq!(peer.direct(), Some("10.0.0.2/9993"));
        let relayed = Peer {
            paths: Vec::new(),
            ..peer
        };
        assert_eq!(relayed.direct(), None);
    }
}
