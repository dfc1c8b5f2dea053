//! Ctrl-C and its kin while nothing of the user's runs yet, and the counting of them while things are removed.
//!
//! A call that changes the engine is never cut off half-way: its outcome would be unknown, and what it made could not be
//! removed. So signals only set a flag; waits end at once, and every step looks at the flag when it is done.

use std::{future::Future, process};

use anyhow::Result;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::failure::Failure;

/// Tells whether the user wants to stop.
#[derive(Clone)]
pub(crate) struct Interrupt {
    seen: watch::Receiver<Option<i32>>,
}

/// How many signals end the program at once, even if something is left behind.
const IMPATIENT: u32 = 3;

impl Interrupt {
    /// Starts to listen for SIGINT, SIGTERM and SIGHUP. `forward` gets each of them while it is `Some`; otherwise they mean
    /// "stop and clean up", and the third one "stop".
    pub(crate) fn listen() -> Result<(Self, Forward)> {
        let (seen_tx, seen) = watch::channel(None);
        let (forward_tx, forward_rx) =
            watch::channel(None::<tokio::sync::mpsc::UnboundedSender<i32>>);
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ] {
            let mut signals = signal(kind)?;
            let number = kind.as_raw_value();
            let (seen_tx, forward_rx) = (seen_tx.clone(), forward_rx.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while signals.recv().await.is_some() {
                    let target = forward_rx.borrow().clone();
                    if let Some(target) = target {
                        let _ = target.send(number);
                        continue;
                    }
                    count += 1;
                    if count >= IMPATIENT {
                        eprintln!(
                            "zt-run: stopped before everything was removed; `zt-run ps` and `zt-run rm` finish it"
                        );
                        process::exit(128 + number);
                    }
                    seen_tx.send_if_modified(|seen| seen.replace(number).is_none());
                }
            });
        }
        Ok((Self { seen }, Forward { target: forward_tx }))
    }

    /// An error if the user wants to stop.
    pub(crate) fn check(&self) -> Result<()> {
        match *self.seen.borrow() {
            Some(signal) => Err(Failure::interrupted(signal).into()),
            None => Ok(()),
        }
    }

    /// Waits for `future`, which changes nothing, or for the user to give up.
    pub(crate) async fn or<T>(&mut self, future: impl Future<Output = T>) -> Result<T> {
        let mut seen = self.seen.clone();
        tokio::select! {
            biased;
            _ = seen.wait_for(Option::is_some) => { self.check()?; std::future::pending().await }
            value = future => Ok(value),
        }
    }
}

/// Where signals go while a program is attached.
pub(crate) struct Forward {
    target: watch::Sender<Option<tokio::sync::mpsc::UnboundedSender<i32>>>,
}

impl Forward {
    /// From now on signals go to the returned receiver; when the receiver's owner is done it calls [`Forward::end`].
    pub(crate) fn begin(&self) -> tokio::sync::mpsc::UnboundedReceiver<i32> {
        let (tx, rx) = tokio::sync::mpsc::unbounded_channel();
        self.target.send_replace(Some(tx));
        rx
    }

    /// Signals mean "clean up" again.
    pub(crate) fn end(&self) {
        self.target.send_replace(None);
    }
}
