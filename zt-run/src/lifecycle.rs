//! `stop`, `start` and `rm` of a pair, and finding what a removed program has left behind.

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, bail};
use bollard::{
    Docker,
    models::{ContainerSummary, ContainerSummaryStateEnum},
    query_parameters::{
        InspectContainerOptions, ListContainersOptionsBuilder, StartContainerOptions,
        StopContainerOptionsBuilder,
    },
};
use tokio::time::Instant;

use crate::{
    Context, containers,
    engine::{failed, is_missing, said},
    entry,
    guard::{Guard, Made},
    membership,
    names::{self, Role},
    network::Target,
    progress::Progress,
    sidecar::{self, control::Control},
};

/// What is known of a pair.
struct Pair {
    name: String,
    program: Option<ContainerSummary>,
    sidecar: Option<ContainerSummary>,
}

impl Pair {
    async fn find(docker: &Docker, name: &str) -> Result<Self> {
        let of_name = |list: Vec<ContainerSummary>| {
            list.into_iter()
                .find(|one| containers::label(one, names::NAME) == name)
        };
        let program = of_name(containers::with_role(docker, Role::Program).await?);
        let sidecar = of_name(containers::with_role(docker, Role::Sidecar).await?);
        if program.is_none() && sidecar.is_none() {
            bail!("no container of zt-run is called `{name}`; `zt-run ps` lists them");
        }
        Ok(Self {
            name: name.to_owned(),
            program,
            sidecar,
        })
    }

    /// A label that both containers carry.
    fn label(&self, key: &str) -> &str {
        self.program
            .as_ref()
            .or(self.sidecar.as_ref())
            .map_or("", |container| containers::label(container, key))
    }

    fn runs(&self) -> bool {
        self.program
            .as_ref()
            .is_some_and(|program| program.state == Some(ContainerSummaryStateEnum::RUNNING))
    }

    /// Everything that belongs to it, to be removed.
    async fn into_guard(self, docker: &Docker) -> Guard {
        let mut guard = Guard::default();
        let lan = self.label(names::LAN);
        if !lan.is_empty() && is_gone(docker, &names::lan(lan)).await {
            guard.made(Made::SharedVolume(names::lan_volume(lan)));
        } else if !lan.is_empty()
            && let Some(sidecar) = &self.sidecar
            && let Some(address) =
                address_of(docker, sidecar.id.as_deref().unwrap_or_default()).await
        {
            guard.made(Made::Member {
                lan: names::lan(lan),
                network: self.label(names::NETWORK).to_owned(),
                address,
            });
        }
        guard.made(Made::Volume(names::home_volume(&self.name)));
        guard.made(Made::Volume(names::socket_volume(&self.name)));
        if let Some(id) = self.sidecar.and_then(|sidecar| sidecar.id) {
            guard.made(Made::Sidecar(id));
        }
        if let Some(id) = self.program.and_then(|program| program.id) {
            guard.made(Made::Program(id));
        }
        guard
    }
}

/// True when there is no such container.
async fn is_gone(docker: &Docker, name: &str) -> bool {
    let found = docker
        .inspect_container(name, None::<InspectContainerOptions>)
        .await;
    found.is_err_and(|error| is_missing(&error))
}

/// The node's address out of its public identity, which can be read while the sidecar is stopped, too.
async fn address_of(docker: &Docker, sidecar: &str) -> Option<String> {
    let path = format!("{}/identity.public", names::HOME);
    let identity = entry::read(docker, sidecar, &path, 1024)
        .await
        .ok()
        .flatten()?;
    let address = String::from_utf8_lossy(identity.get(..10)?).into_owned();
    address
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(address)
}

/// `zt-run stop`
pub(crate) async fn stop(docker: &Docker, names: &[String], time: Duration) -> Result<()> {
    for name in names {
        let pair = Pair::find(docker, name).await?;
        let seconds = i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
        for container in [&pair.program, &pair.sidecar].into_iter().flatten() {
            let options = StopContainerOptionsBuilder::default().t(seconds).build();
            match docker
                .stop_container(container.id.as_deref().unwrap_or_default(), Some(options))
                .await
            {
                Ok(()) => {}
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(failed(&format!("stopping {name}"), &error)),
            }
        }
        if pair.label(names::REMOVE) == "true" {
            pair.into_guard(docker).await.undo(docker).await?;
        }
        println!("{name}");
    }
    Ok(())
}

/// `zt-run start`
pub(crate) async fn start(
    context: &mut Context,
    docker: &Docker,
    names: &[String],
    time: Duration,
) -> Result<()> {
    for name in names {
        let pair = Pair::find(docker, name).await?;
        let (Some(program), Some(sidecar)) = (&pair.program, &pair.sidecar) else {
            bail!("`{name}` is not whole any more: remove it with `zt-run rm {name}`");
        };
        let (program, sidecar) = (
            program.id.clone().unwrap_or_default(),
            sidecar.id.clone().unwrap_or_default(),
        );
        sidecar::start(docker, &sidecar, &names::sidecar(name)).await?;
        let until = Instant::now() + time;
        let control = Control::new(docker, &sidecar);
        let node = sidecar::answers(&control, &mut context.interrupt, until)
            .await?
            .address;
        let lan = Some(pair.label(names::LAN))
            .filter(|lan| !lan.is_empty())
            .map(str::to_owned);
        let target = Target {
            id: pair.label(names::NETWORK).to_owned(),
            lan,
        };
        let addresses = membership::wait(context, &control, &target, &node, until).await?;
        let started = docker
            .start_container(&program, None::<StartContainerOptions>)
            .await;
        started.map_err(|error| anyhow::anyhow!("starting {name}: {}", said(&error)))?;
        context.progress.clear();
        println!("{}", addresses.first().map_or("", String::as_str));
    }
    Ok(())
}

/// `zt-run rm`
pub(crate) async fn rm(docker: &Docker, names: &[String], force: bool) -> Result<()> {
    for name in names {
        let pair = Pair::find(docker, name).await?;
        if pair.runs() && !force {
            bail!("`{name}` is running: stop it first, or use `zt-run rm --force {name}`");
        }
        pair.into_guard(docker).await.undo(docker).await?;
        println!("{name}");
    }
    Ok(())
}

/// Removes the sidecars, volumes and members of programs that are gone: ended ones of `-d --rm`, and those that were removed
/// with the engine's own client. What others have left must not stand in this command's way: what fails is only said.
pub(crate) async fn reap(docker: &Docker, progress: &mut Progress) {
    if let Err(error) = sweep(docker).await {
        progress.warn(&format!(
            "sweeping up after programs that are gone: {error:#}"
        ));
    }
}

async fn sweep(docker: &Docker) -> Result<()> {
    // In this order: a program is made before its sidecar, so the second list has it, unless it is gone.
    let sidecars = containers::with_role(docker, Role::Sidecar).await?;
    let programs = containers::with_role(docker, Role::Program).await?;
    let mut left = Vec::new();
    for sidecar in sidecars {
        let name = containers::label(&sidecar, names::NAME).to_owned();
        // By label, not by name: a container may be renamed, its labels stay.
        let lives = programs
            .iter()
            .any(|program| containers::label(program, names::NAME) == name);
        if lives || name.is_empty() {
            continue;
        }
        let pair = Pair {
            name: name.clone(),
            program: None,
            sidecar: Some(sidecar),
        };
        if let Err(error) = pair.into_guard(docker).await.undo(docker).await {
            left.push(format!("{name}: {error:#}"));
        }
    }
    anyhow::ensure!(left.is_empty(), "{}", left.join("\n"));
    Ok(())
}

/// The container that publishes a port, given as `port N`.
pub(crate) async fn owner_of_port(docker: &Docker, port: &str) -> Option<String> {
    let number = port.rsplit(' ').next()?;
    let filters = HashMap::from([("publish".to_owned(), vec![number.to_owned()])]);
    let options = ListContainersOptionsBuilder::default()
        .filters(&filters)
        .build();
    let containers = docker.list_containers(Some(options)).await.ok()?;
    let name = containers.into_iter().next()?.names?.into_iter().next()?;
    Some(name.trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::fake::FakeEngine;

    /// An engine with the sidecar of `web`, whose program has the given label, if there is one. The volumes are in use.
    async fn engine(program: Option<&'static str>) -> FakeEngine {
        FakeEngine::start(move |request| {
            let pair =
                |id: &str, name: &str| json!([{ "Id": id, "Labels": { names::NAME: name } }]);
            let (status, body) = if request.contains("sidecar") {
                (200, pair("s1", "web"))
            } else if request.contains("/containers/json") {
                (200, program.map_or(json!([]), |name| pair("p1", name)))
            } else if request.starts_with("DELETE") && request.contains("/containers/") {
                (204, json!(null))
            } else if request.starts_with("DELETE") {
                (409, json!({ "message": "volume is in use" }))
            } else {
                (404, json!({ "message": "no such container" }))
            };
            (status, body.to_string())
        })
        .await
    }

    #[tokio::test]
    async fn a_renamed_program_keeps_its_sidecar_and_identity() {
        let engine = engine(Some("web")).await;
        sweep(&engine.docker).await.unwrap();
        assert!(engine.removed().is_empty(), "{:?}", engine.removed());
    }

    #[tokio::test]
    async fn what_a_removed_program_left_is_swept_up_as_far_as_possible() {
        let engine = engine(None).await;
        let left = sweep(&engine.docker).await.unwrap_err().to_string();
        assert_eq!(engine.removed(), ["s1", "web-zt-home", "web-zt-run"]);
        assert!(left.contains("web-zt-home"), "{left}");
    }
}
