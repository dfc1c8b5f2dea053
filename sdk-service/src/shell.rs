//! The running service as the control API sees it: the data plane, and the files that go with it.
//!
//! Joining a network is two things, a command to the data plane and a file that remembers it;
//! this is the one place where both happen.

use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Map, Value};
use zt_controller::{Method, Response};
use zt_protocol::vl1::PeerInfo;
use zt_protocol::{Identity, NetworkId};

use crate::engine::{EngineGone, EngineHandle, NetworkView, NodeView};
use crate::home::{
    NetworkSettings, SavedNetwork, network_configuration_path, network_settings_path,
};
use crate::keeper::Keeper;
use crate::news::News;

/// What does not change while the service runs.
#[derive(Debug)]
pub struct Facts {
    /// Who we are.
    pub identity: Identity,
    /// The home directory.
    pub home: PathBuf,
    /// Token of the control API.
    pub token: String,
    /// `local.conf` as it was read.
    pub local_conf: Map<String, Value>,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShellError {
    /// The data plane has ended.
    #[error("the service is stopping")]
    Stopping(#[from] EngineGone),
    /// The socket for programs cannot be made.
    #[error("cannot make the socket of network {network}: {source}")]
    Socket {
        /// Which.
        network: NetworkId,
        /// What the system said.
        source: std::io::Error,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Shell {
    facts: Facts,
    engine: EngineHandle,
    keeper: Rc<Keeper>,
    news: Rc<News>,
}

impl Shell {
    /// A shell around a running data plane.
    pub fn new(facts: Facts, engine: EngineHandle, keeper: Rc<Keeper>, news: Rc<News>) -> Self {
        Self {
            facts,
            engine,
            keeper,
            news,
        }
    }

    /// What does not change.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// UDP port and port of the control API.
    pub fn port(&self) -> u16 {
        self.engine.primary_port()
    }

    /// Joins a network of an earlier run.
    pub async fn resume(&self, saved: SavedNetwork) -> Result<(), ShellError> {
        let network = saved.id;
        let joined = self
            .engine
            .join(network, saved.configuration, saved.settings)
            .await?;
        joined
            .map(drop)
            .map_err(|source| ShellError::Socket { network, source })
    }

    /// Joins a network, or changes the settings of one that is joined, and remembers that.
    pub async fn join(
        &self,
        network: NetworkId,
        settings: NetworkSettings,
    ) -> Result<NetworkView, ShellError> {
        let file = settings.to_file();
        let joined = self.engine.join(network, None, settings).await?;
        let view = joined.map_err(|source| ShellError::Socket { network, source })?;
        let configuration = network_configuration_path(&self.facts.home, network);
        if !configuration.exists() {
            // An empty line means "join"; the configuration takes its place when it comes.
            self.keeper.store(&configuration, b"\n".to_vec(), 0o600);
        }
        let path = network_settings_path(&self.facts.home, network);
        self.keeper.store(&path, file.into_bytes(), 0o600);
        Ok(view)
    }

    /// Leaves a network and forgets it; `false` if it was not joined.
    pub async fn leave(&self, network: NetworkId) -> Result<bool, ShellError> {
        let left = self.engine.leave(network).await?;
        // A configuration that arrived just before must not come to its file just after.
        self.news.settle();
        self.keeper
            .remove(&network_configuration_path(&self.facts.home, network));
        self.keeper
            .remove(&network_settings_path(&self.facts.home, network));
        Ok(left)
    }

    /// All joined networks by id.
    pub async fn networks(&self) -> Result<Vec<NetworkView>, ShellError> {
        Ok(self.engine.networks().await?)
    }

    /// One joined network.
    pub async fn network(&self, network: NetworkId) -> Result<Option<NetworkView>, ShellError> {
        Ok(self
            .networks()
            .await?
            .into_iter()
            .find(|view| view.status.id == network))
    }

    /// All known peers by address.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, ShellError> {
        let mut peers = self.engine.peers().await?;
        peers.sort_by_key(|peer| peer.address);
        Ok(peers)
    }

    /// The node.
    pub async fn node(&self) -> Result<NodeView, ShellError> {
        Ok(self.engine.node().await?)
    }

    /// A request to the controller; a change is on disk when this returns, unless the disk
    /// refuses it.
    pub async fn controller(
        &self,
        method: Method,
        path: String,
        body: Option<Value>,
    ) -> Result<Response, ShellError> {
        let response = self.engine.controller(method, path, body).await?;
        self.news.settle();
        Ok(response)
    }
}
