//! How the shell talks to the data plane: commands in, answers and events out.
//!
//! Commands go through a channel and an eventfd that wakes the engine's thread; every command
//! brings the place for its answer with it, so the engine never waits for anybody.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use serde_json::Value;
use tokio::sync::oneshot;
use zt_protocol::vl1::PeerInfo;
use zt_protocol::vl2::NetworkStatus;
use zt_protocol::{NetworkId, SecretIdentity, World};

use crate::home::NetworkSettings;
use crate::udp::UdpConfig;

/// What a data plane is started with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Who this node is.
    pub identity: SecretIdentity,
    /// The world it lives in.
    pub planet: World,
    /// The UDP sockets to open.
    pub udp: UdpConfig,
    /// Where the sockets `nc_<network>` for programs are made.
    pub socket_directory: PathBuf,
    /// Interfaces whose names begin so are not told to peers.
    pub interface_prefix_blacklist: Vec<String>,
    /// Every record of the controller by its key; see [`crate::home::records`].
    pub controller_records: Vec<(String, Value)>,
}

/// The state of the node as a whole.
#[derive(Debug, Clone)]
pub struct EngineStatus {
    /// Whether an upstream was heard of lately, or we are one.
    pub online: bool,
    /// The planet in force.
    pub planet_id: u64,
    /// Its revision.
    pub planet_timestamp: u64,
    /// Our UDP sockets as hosts on our links reach them.
    pub listening_on: Vec<std::net::SocketAddr>,
    /// How peers beyond address translation see us.
    pub surface_addresses: Vec<std::net::SocketAddr>,
    /// The second UDP port, if there is one.
    pub secondary_port: Option<u16>,
    /// Packets and programs by outcome, for the metrics: name and value.
    pub counters: Vec<(String, u64)>,
}

/// What the shell asks for. Dropping an answer's sender says that the engine stops.
#[derive(Debug)]
#[non_exhaustive]
pub enum Command {
    /// Join a network, or change the settings of one that is joined.
    Join {
        /// Which.
        network: NetworkId,
        /// The configuration that the last run accepted.
        cached: Option<Vec<u8>>,
        /// What a person allows it to do here.
        settings: NetworkSettings,
        /// Its state right after.
        answer: oneshot::Sender<NetworkStatus>,
    },
    /// Leave a network; `false` if it was not joined.
    Leave {
        /// Which.
        network: NetworkId,
        /// Whether it was joined.
        answer: oneshot::Sender<bool>,
    },
    /// All joined networks by id.
    Networks(oneshot::Sender<Vec<NetworkStatus>>),
    /// All known peers by address.
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    /// The node.
    Status(oneshot::Sender<EngineStatus>),
    /// A request below `/controller`.
    Controller {
        /// HTTP method.
        method: zt_controller::Method,
        /// The whole path.
        path: String,
        /// The body as JSON.
        body: Option<Value>,
        /// Its answer.
        answer: oneshot::Sender<zt_controller::Response>,
    },
    /// A planet to adopt by the update rule.
    SetPlanet {
        /// The candidate.
        planet: World,
        /// Whether it was adopted, and why not.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Emit [`EngineEvent::Barrier`] with this sender: all events before it were handled then.
    Barrier(oneshot::Sender<()>),
    /// End the thread: pairs and sockets are closed and the event channel ends.
    Stop,
}

/// What the data plane tells the shell. Files are the shell's: the engine never writes one.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineEvent {
    /// An upstream answers, or none does any more.
    Online(bool),
    /// Status, name or addresses of a network changed; also the first time.
    NetworkChanged(NetworkStatus),
    /// A configuration was accepted: to be kept for the next start.
    NetworkStored {
        /// Of which network.
        network: NetworkId,
        /// The dictionary as the controller sent it.
        configuration: Vec<u8>,
    },
    /// A newer planet is in force: to be kept.
    PlanetUpdated(World),
    /// A record of the controller is new or changed.
    ControllerPut {
        /// `network/<id>` or `network/<id>/member/<address>`.
        key: String,
        /// The record.
        record: Value,
    },
    /// A record of the controller is gone.
    ControllerDelete {
        /// Its key.
        key: String,
    },
    /// An upstream says that our address belongs to another identity: a person must look.
    IdentityCollision,
    /// The answer to [`Command::Barrier`]: pass it on when everything before it is done.
    Barrier(oneshot::Sender<()>),
}

/// The engine stops or has stopped: nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the service is stopping")]
pub struct Stopped;

/// The shell's end. Copies are the same engine.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    commands: mpsc::Sender<Command>,
    wake: Arc<OwnedFd>,
}

impl EngineHandle {
    /// `wake` is the eventfd that the engine waits on beside its sockets.
    pub fn new(commands: mpsc::Sender<Command>, wake: Arc<OwnedFd>) -> Self {
        Self { commands, wake }
    }

    /// Joins a network, with the configuration of the last run if there is one, or changes the
    /// settings of one that is joined.
    pub async fn join(
        &self,
        network: NetworkId,
        cached: Option<Vec<u8>>,
        settings: NetworkSettings,
    ) -> Result<NetworkStatus, Stopped> {
        self.ask(|answer| Command::Join {
            network,
            cached,
            settings,
            answer,
        })
        .await
    }

    /// Leaves a network; `false` if it was not joined.
    pub async fn leave(&self, network: NetworkId) -> Result<bool, Stopped> {
        self.ask(|answer| Command::Leave { network, answer }).await
    }

    /// All joined networks by id.
    pub async fn networks(&self) -> Result<Vec<NetworkStatus>, Stopped> {
        self.ask(Command::Networks).await
    }

    /// All known peers by address.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Stopped> {
        self.ask(Command::Peers).await
    }

    /// The node as a whole.
    pub async fn status(&self) -> Result<EngineStatus, Stopped> {
        self.ask(Command::Status).await
    }

    /// A request to the controller. When this returns, what it changed was handed to whoever
    /// writes the files.
    pub async fn controller(
        &self,
        method: zt_controller::Method,
        path: String,
        body: Option<Value>,
    ) -> Result<zt_controller::Response, Stopped> {
        self.ask(|answer| Command::Controller {
            method,
            path,
            body,
            answer,
        })
        .await
    }

    /// Offers a planet; the error says why it was not adopted.
    pub async fn set_planet(&self, planet: World) -> Result<Result<(), String>, Stopped> {
        self.ask(|answer| Command::SetPlanet { planet, answer })
            .await
    }

    /// Returns when every event before this call was handled.
    pub async fn barrier(&self) -> Result<(), Stopped> {
        self.ask(Command::Barrier).await
    }

    /// Ends the engine; it does so even if nobody waits.
    pub fn stop(&self) {
        // Gone is as good as stopped.
        let _ = self.tell(Command::Stop);
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.tell(command(answer))?;
        answered.await.map_err(|_| Stopped)
    }

    fn tell(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).map_err(|_| Stopped)?;
        rustix::io::write(&self.wake, &1u64.to_ne_bytes()).map_err(|_| Stopped)?;
        Ok(())
    }
}
