//! Signals: TERM, INT and QUIT end the service in order, HUP does nothing to it.

use std::cell::OnceCell;
use std::io;
use std::process;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_local;
use tracing::{error, info};

use crate::engine::EngineHandle;

/// A service that has not stopped by then is ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a signal stops: the data plane, once there is one.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    engine: Rc<OnceCell<EngineHandle>>,
    asked: Rc<OnceCell<()>>,
}

impl Stop {
    /// Watches from now on. As process 1 of a container a service has no default actions, so this
    /// comes before anything that takes time.
    pub(super) fn watch() -> io::Result<Self> {
        let stop = Self::default();
        for kind in [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::quit(),
        ] {
            let mut signals = signal(kind)?;
            let stop = stop.clone();
            spawn_local(async move {
                signals.recv().await;
                stop.now().await;
            });
        }
        // A terminal that goes away is no reason to stop.
        let mut hangups = signal(SignalKind::hangup())?;
        spawn_local(async move { while hangups.recv().await.is_some() {} });
        Ok(stop)
    }

    /// From now on a signal stops this data plane.
    pub(super) fn guard(&self, engine: &EngineHandle) {
        let _ = self.engine.set(engine.clone());
    }

    /// Whether a signal asked for the end.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.get().is_some()
    }

    async fn now(self) {
        let _ = self.asked.set(());
        match self.engine.get() {
            Some(engine) => engine.stop(),
            // Nothing is up yet, so nothing is to be taken down.
            None => process::exit(0),
        }
        info!("stopping");
        tokio::time::sleep(PATIENCE).await;
        error!("the service does not stop by itself");
        process::exit(1);
    }
}
