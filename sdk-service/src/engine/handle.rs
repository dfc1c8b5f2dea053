//! The shell's end of the data plane: starting it, asking it, ending it.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};
use serde_json::Value;
use tokio::sync::{mpsc as async_mpsc, oneshot};
use zt_controller::{Method, Records, Response};
use zt_protocol::vl1::PeerInfo;
use zt_protocol::world::UpdateRefused;
use zt_protocol::{NetworkId, SecretIdentity, World};

use super::event::EngineEvent;
use super::requests::Command;
use super::run::Engine;
use super::view::{NetworkView, NodeView};
use crate::home::NetworkSettings;
use crate::udp::{UdpConfig, UdpEdge};

/// Everything that the data plane has to know before it starts.
#[derive(Debug)]
pub struct EngineConfig {
    /// Who we are.
    pub identity: SecretIdentity,
    /// Whose roots to ask.
    pub planet: World,
    /// How to open the UDP sockets.
    pub udp: UdpConfig,
    /// Where the sockets `nc_<network id>` are made. The directory exists.
    pub socket_directory: PathBuf,
    /// Published on the networks as `<name>.local`, unless a network's settings name another: a host's label.
    pub name: Option<String>,
    /// Interfaces whose names begin so are not told to peers.
    pub interface_prefix_blacklist: Vec<String>,
    /// The controller's records, as [`EngineEvent::ControllerPut`] gave them.
    pub controller_records: Records,
}

/// What the data plane tells; ends when it has ended.
pub type Events = async_mpsc::UnboundedReceiver<EngineEvent>;

/// Starts the data plane in a thread of its own.
///
/// # Errors
/// A port is taken, or the system gives no descriptor or thread.
pub fn spawn(config: EngineConfig) -> io::Result<(EngineHandle, Events)> {
    let edge = UdpEdge::open(&config.udp)?;
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    // shell ──commands──▶ engine
    let (commands_tx, commands_rx) = mpsc::channel();
    // engine ──events──▶ shell; the engine never waits for the shell.
    let (events_tx, events_rx) = async_mpsc::unbounded_channel();
    let primary_port = edge.primary_port();
    let mut engine = Engine::new(config, edge, wake.clone(), commands_rx, events_tx)?;
    let thread = thread::Builder::new()
        .name("engine".into())
        .spawn(move || engine.run())?;
    drop(thread);
    Ok((
        EngineHandle {
            commands: commands_tx,
            wake,
            primary_port,
        },
        events_rx,
    ))
}

/// Asks the data plane from any thread. The last handle that is dropped does not end it;
/// [`stop`](Self::stop) does.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    commands: mpsc::Sender<Command>,
    wake: Arc<OwnedFd>,
    primary_port: u16,
}

/// The data plane has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data plane has ended")]
pub struct EngineGone;

/// An answer on its way: a future, or to be waited for outside of any runtime.
#[derive(Debug)]
#[must_use = "the request is carried out in any case, but its outcome is in the answer"]
pub struct Answer<T>(oneshot::Receiver<T>);

impl<T> Answer<T> {
    /// Blocks until the answer is there. Not for asynchronous code.
    pub fn wait(self) -> Result<T, EngineGone> {
        self.0.blocking_recv().map_err(|_| EngineGone)
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, EngineGone>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|result| result.map_err(|_| EngineGone))
    }
}

impl EngineHandle {
    /// The UDP port in use, also the port of the control API.
    pub fn primary_port(&self) -> u16 {
        self.primary_port
    }

    /// Joins a network, or changes the settings of a joined one. `cached` is its stored configuration.
    /// Fails if the network's socket cannot be made.
    pub fn join(
        &self,
        network: NetworkId,
        cached: Option<Vec<u8>>,
        settings: NetworkSettings,
    ) -> Answer<io::Result<NetworkView>> {
        self.ask(|done| Command::Join {
            network,
            cached,
            settings,
            done,
        })
    }

    /// Leaves a network; `false` if it was not joined.
    pub fn leave(&self, network: NetworkId) -> Answer<bool> {
        self.ask(|done| Command::Leave { network, done })
    }

    /// The joined networks, by ascending id.
    pub fn networks(&self) -> Answer<Vec<NetworkView>> {
        self.ask(|done| Command::Networks { done })
    }

    /// The known peers.
    pub fn peers(&self) -> Answer<Vec<PeerInfo>> {
        self.ask(|done| Command::Peers { done })
    }

    /// The node itself.
    pub fn node(&self) -> Answer<NodeView> {
        self.ask(|done| Command::Node { done })
    }

    /// One request below `/controller`.
    pub fn controller(
        &self,
        method: Method,
        path: String,
        body: Option<Value>,
    ) -> Answer<Response> {
        self.ask(|done| Command::Controller {
            method,
            path,
            body,
            done,
        })
    }

    /// Offers a planet, which is taken if it is a newer one of the same world.
    pub fn offer_planet(&self, planet: World) -> Answer<Result<(), UpdateRefused>> {
        self.ask(|done| Command::OfferPlanet { planet, done })
    }

    /// Ends the data plane. Its events end when it has.
    pub fn stop(&self) {
        self.send(Command::Stop);
    }

    fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Answer<T> {
        let (done_tx, done_rx) = oneshot::channel();
        self.send(command(done_tx));
        Answer(done_rx)
    }

    fn send(&self, command: Command) {
        // A dropped command drops its answer's sender, which the asker sees.
        if self.commands.send(command).is_ok() {
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }
}
