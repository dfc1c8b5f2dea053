//! Which planet this node lives in, and how it follows one that moves.
//!
//! Three sources: the planet in the home or the public one; a file that somebody else keeps
//! (`ZT_PLANET`), for members of a LAN whose root changes its address; and a planet of this node's
//! own (`ZT_ROOT`), signed anew when its addresses change and published at `ZT_PLANET`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tracing::{error, info, warn};
use zt_protocol::inet::may_be_path;
use zt_protocol::{Emit, Identity, Time, World};

use super::environment::Environment;
use crate::engine::EngineHandle;
use crate::home::{self, Home, LocalConf, OwnPlanet};
use crate::keeper::Keeper;
use crate::udp::interfaces::{self, InterfaceAddress};

/// How often a planet file is looked at: one `stat`.
const FILE_INTERVAL: Duration = Duration::from_secs(1);
/// A planet file that does not exist yet is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where planets come from here.
pub(super) struct Worlds {
    home_file: PathBuf,
    source: Source,
}

enum Source {
    Home,
    File(Watched),
    Own(Box<Root>),
}

/// A file that somebody else replaces.
struct Watched {
    path: PathBuf,
    seen: Option<Stamp>,
}

/// Tells one content of a file from another without reading it.
type Stamp = (u64, u64, i64, i64);

/// This node as a root.
struct Root {
    planet: OwnPlanet,
    identity: Identity,
    port: u16,
    blacklist: Vec<String>,
    publish_at: Option<PathBuf>,
    signed: Option<u64>,
}

impl Worlds {
    /// Chooses the source; waits for a planet file that is not there yet.
    pub(super) async fn open(
        home: &Home,
        environment: &Environment,
        conf: &LocalConf,
        identity: &Identity,
    ) -> Result<Self> {
        let source = if environment.root || conf.root {
            Source::Own(Box::new(Root {
                planet: OwnPlanet::open(home.directory())?,
                identity: *identity,
                port: 0,
                blacklist: conf.interface_prefix_blacklist.clone(),
                publish_at: environment.planet.clone(),
                signed: None,
            }))
        } else if let Some(path) = &environment.planet {
            wait_for(path).await;
            Source::File(Watched {
                path: path.clone(),
                seen: None,
            })
        } else {
            Source::Home
        };
        Ok(Self {
            home_file: home.path(home::PLANET_FILE),
            source,
        })
    }

    /// The planet to start with, for a node at this port.
    pub(super) fn current(&mut self, port: u16, keeper: &Keeper) -> Result<World> {
        match &mut self.source {
            Source::Home => {
                Ok(home::load_planet(&self.home_file)?.unwrap_or_else(World::default_planet))
            }
            Source::File(watched) => {
                watched.seen = stamp(&watched.path);
                let given = home::load_planet(&watched.path)?
                    .with_context(|| format!("{} has gone", watched.path.display()))?;
                // An update may have reached us through the network before the file.
                let known = home::load_planet(&self.home_file)?
                    .filter(|known| given.check_update(known).is_ok());
                let planet = known.unwrap_or(given);
                keeper.store(&self.home_file, planet.to_bytes(), 0o644);
                Ok(planet)
            }
            Source::Own(root) => {
                root.port = port;
                let addresses =
                    interfaces::addresses().context("looking at this machine's addresses")?;
                Ok(root.sign(&addresses, &self.home_file, keeper).0)
            }
        }
    }

    /// How often to [`look`](Self::look); `None` when nothing can change.
    pub(super) fn interval(&self) -> Option<Duration> {
        matches!(self.source, Source::File(_)).then_some(FILE_INTERVAL)
    }

    /// Offers the node the file's planet when that changed since the last look.
    pub(super) async fn look(&mut self, engine: &EngineHandle, keeper: &Keeper) {
        if let Source::File(watched) = &mut self.source
            && let Some(planet) = watched.look(engine).await
        {
            keeper.store(&self.home_file, planet.to_bytes(), 0o644);
        }
    }

    /// This host's addresses are these now: a root signs anew.
    pub(super) async fn moved(
        &mut self,
        addresses: &[InterfaceAddress],
        engine: &EngineHandle,
        keeper: &Keeper,
    ) {
        let Source::Own(root) = &mut self.source else {
            return;
        };
        let (planet, is_new) = root.sign(addresses, &self.home_file, keeper);
        if is_new && let Ok(Err(reason)) = engine.offer_planet(planet).await {
            error!(%reason, "this node does not adopt its own planet");
        }
    }
}

impl Watched {
    /// The planet that the file changed to, if the node adopted it.
    async fn look(&mut self, engine: &EngineHandle) -> Option<World> {
        let now = stamp(&self.path);
        if now.is_none() || now == self.seen {
            return None;
        }
        self.seen = now;
        let planet = match home::load_planet(&self.path) {
            Ok(planet) => planet?,
            Err(problem) => {
                error!(%problem, "planet not adopted");
                return None;
            }
        };
        match engine.offer_planet(planet.clone()).await.ok()? {
            Ok(()) => {
                info!(planet = %format_args!("{:016x}", planet.id()), timestamp = planet.timestamp(), "newer planet");
                Some(planet)
            }
            Err(reason) => {
                warn!(file = %self.path.display(), %reason, "planet not adopted");
                None
            }
        }
    }
}

impl Root {
    /// The planet for these addresses, kept and published if it is new, and whether it is.
    fn sign(
        &mut self,
        addresses: &[InterfaceAddress],
        home_file: &Path,
        keeper: &Keeper,
    ) -> (World, bool) {
        let endpoints = endpoints(addresses, &self.blacklist, self.port);
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let planet = self
            .planet
            .sign(Time(since.as_millis() as i64), &self.identity, endpoints)
            .clone();
        let is_new = self.signed.replace(planet.timestamp()) != Some(planet.timestamp());
        if is_new {
            let endpoints: Vec<String> = planet
                .roots()
                .iter()
                .flat_map(|root| &root.endpoints)
                .map(SocketAddr::to_string)
                .collect();
            info!(planet = %format_args!("{:016x}", planet.id()), endpoints = endpoints.join(","), "root of a planet");
            keeper.store(home_file, planet.to_bytes(), 0o644);
            if let Some(path) = &self.publish_at {
                keeper.store(path, planet.to_bytes(), 0o644);
            }
        }
        (planet, is_new)
    }
}

/// Where others can reach this root: what may be a path of theirs (VL1 §4.12).
fn endpoints(addresses: &[InterfaceAddress], blacklist: &[String], port: u16) -> Vec<SocketAddr> {
    let usable = addresses.iter().filter(|address| {
        may_be_path(address.ip)
            && !blacklist
                .iter()
                .any(|prefix| address.interface.starts_with(prefix.as_str()))
    });
    usable
        .map(|address| SocketAddr::new(address.ip, port))
        .collect()
}

async fn wait_for(path: &Path) {
    if !path.exists() {
        info!(file = %path.display(), "waiting for the planet of the LAN; its root writes this file");
        while !path.exists() {
            tokio::time::sleep(PATIENCE).await;
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    ))
}
