//! `zt-run lan`: a LAN of one's own is one container with the service as root of its own planet and controller of one network.

use std::time::Duration;

use anyhow::{Result, bail};
use bollard::{Docker, models::ContainerSummaryStateEnum};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Context,
    cli::values::Pool,
    containers,
    guard::{self, Guard, Made},
    image::CLI,
    names::{self, Role},
    network,
    sidecar::{self, Sidecar, control::Control},
    table::Table,
};

/// How long the root may take to make its identity and answer.
const START: Duration = Duration::from_secs(60);
/// The usual UDP port of a root.
pub(crate) const PORT: u16 = 9993;

/// `zt-run lan create`
pub(crate) async fn create(
    context: &mut Context,
    name: &str,
    pool: Option<Pool>,
    public: bool,
    port: Option<u16>,
) -> Result<()> {
    names::check(name)?;
    if network::is_id(name) {
        bail!("`{name}` looks like a network id: choose a name that does not");
    }
    let docker = context.docker().await?;
    let mut guard = Guard::default();
    match bring_up(context, &docker, name, pool, public, port, &mut guard).await {
        Ok((network, pool)) => {
            guard.keep();
            context.progress.clear();
            if context.json {
                println!(
                    "{}",
                    json!({ "name": name, "network": network, "pool": pool.to_string(), "public": public })
                );
            } else {
                println!("{network}");
                context.progress.say(&format!(
                    "the LAN {name} ({pool}) is up: zt-run --network {name} IMAGE"
                ));
            }
            Ok(())
        }
        Err(error) => {
            let removed = guard.undo(&docker).await;
            guard::settle(Err(error), removed).0
        }
    }
}

async fn bring_up(
    context: &mut Context,
    docker: &Docker,
    name: &str,
    pool: Option<Pool>,
    public: bool,
    port: Option<u16>,
    guard: &mut Guard,
) -> Result<(String, Pool)> {
    let container = names::lan(name);
    let lans = containers::with_role(docker, Role::Lan).await?;
    if lans
        .iter()
        .any(|lan| containers::label(lan, names::LAN) == name)
    {
        bail!(
            "there is a LAN called `{name}` already: choose another name, or remove it with `zt-run lan rm {name}`"
        );
    }
    context
        .progress
        .phase(&format!("starting the LAN {name}"), "");
    let sidecar = Sidecar {
        name: container.clone(),
        image: context.sidecar_image(docker).await?,
        labels: names::labels(Role::Lan, [(names::LAN, name)]),
        environment: vec![
            "ZT_ROOT=1".to_owned(),
            format!("ZT_PLANET={}", names::PLANET),
        ],
        home: names::lan_home_volume(name),
        volumes: vec![(names::lan_volume(name), names::LAN_DIR, false)],
        networks: Vec::new(),
        port,
        // It has joined nothing: it is well when it answers.
        health: Some(vec!["CMD".to_owned(), CLI.to_owned(), "info".to_owned()]),
        restart: true,
    };
    let id = sidecar.create(docker).await?;
    guard.made(Made::Lan(id.clone()));
    guard.made(Made::Volume(names::lan_home_volume(name)));
    guard.made(Made::Volume(names::lan_volume(name)));
    if let Err(error) = sidecar::start(docker, &id, &container).await {
        let port = port
            .map(|port| format!(" (is UDP port {port} free on the engine's host?)"))
            .unwrap_or_default();
        return Err(error.context(format!("the LAN {name} did not start{port}")));
    }
    context.interrupt.check()?;
    let control = Control::new(docker, &id);
    let status = sidecar::answers(&control, &mut context.interrupt, Instant::now() + START).await?;
    // Told by the root's address: two LANs of one engine hardly ever share a pool.
    let seed = u64::from_str_radix(&status.address, 16).unwrap_or_default() % 254 + 1;
    let pool = pool.unwrap_or_else(|| Pool::usual(u8::try_from(seed).unwrap_or(1)));
    let settings = json!({
        "name": name,
        "private": !public,
        "ipAssignmentPools": [{ "ipRangeStart": pool.first().to_string(), "ipRangeEnd": pool.last().to_string() }],
        "routes": [{ "target": pool.to_string(), "via": null }],
        "v4AssignMode": { "zt": true },
    });
    let network = control.create_network(&status.address, &settings).await?;
    context.interrupt.check()?;
    Ok((network, pool))
}

/// `zt-run lan ls`
pub(crate) async fn list(context: &mut Context) -> Result<()> {
    let docker = context.docker().await?;
    let mut table = Table::new([
        "NAME",
        "NETWORK",
        "ADDRESSES",
        "ACCESS",
        "MEMBERS",
        "STATUS",
    ]);
    let mut rows = Vec::new();
    for lan in containers::with_role(&docker, Role::Lan).await? {
        let name = containers::label(&lan, names::LAN);
        let state = lan.state.map(|state| state.to_string()).unwrap_or_default();
        let known = match lan.state {
            Some(ContainerSummaryStateEnum::RUNNING) => {
                describe(&docker, &names::lan(name)).await.ok()
            }
            _ => None,
        };
        let known = known.unwrap_or_default();
        let access = if known.network.is_empty() {
            "-"
        } else if known.private {
            "private"
        } else {
            "public"
        };
        let members = known.members.map(|members| members.to_string());
        table.row([
            name,
            &known.network,
            &known.routes,
            access,
            members.as_deref().unwrap_or(""),
            &state,
        ]);
        rows.push(json!({
            "name": name, "network": known.network, "addresses": known.routes, "private": known.private,
            "members": known.members, "status": state,
        }));
    }
    context.print(&table, rows);
    Ok(())
}

#[derive(Default)]
struct Known {
    network: String,
    routes: String,
    private: bool,
    members: Option<usize>,
}

async fn describe(docker: &Docker, container: &str) -> Result<Known> {
    let control = Control::new(docker, container);
    let Some(id) = control.controlled().await?.into_iter().next() else {
        return Ok(Known::default());
    };
    let network = control.controlled_network(&id).await?;
    let members = control.members(&id).await?.len();
    let routes: Vec<String> = network
        .routes
        .into_iter()
        .map(|route| route.target)
        .collect();
    Ok(Known {
        network: id,
        routes: routes.join(","),
        private: network.private,
        members: Some(members),
    })
}

/// `zt-run lan authorize`
pub(crate) async fn authorize(context: &mut Context, name: &str, members: &[String]) -> Result<()> {
    for member in members {
        let address = member.len() == 10 && member.bytes().all(|byte| byte.is_ascii_hexdigit());
        anyhow::ensure!(
            address,
            "`{member}` is no member's address: those have 10 hex digits"
        );
    }
    let docker = context.docker().await?;
    let target = network::resolve(&docker, name).await?;
    let Some(lan) = target.lan.as_deref().map(names::lan) else {
        bail!(
            "{name} is no LAN of this engine: authorise members at its controller {}",
            target.controller()
        );
    };
    let control = Control::new(&docker, &lan);
    for member in members {
        control
            .authorize(&target.id, &member.to_ascii_lowercase())
            .await?;
        println!("{member}");
    }
    Ok(())
}

/// `zt-run lan rm`
pub(crate) async fn remove(context: &mut Context, name: &str, force: bool) -> Result<()> {
    let docker = context.docker().await?;
    let lans = containers::with_role(&docker, Role::Lan).await?;
    let Some(lan) = lans
        .iter()
        .find(|lan| containers::label(lan, names::LAN) == name)
    else {
        bail!("no LAN is called `{name}`; `zt-run lan ls` lists them");
    };
    let programs = containers::with_role(&docker, Role::Program).await?;
    let on_it: Vec<&str> = programs
        .iter()
        .filter(|program| containers::label(program, names::LAN) == name)
        .map(|program| containers::label(program, names::NAME))
        .collect();
    if !on_it.is_empty() && !force {
        bail!(
            "containers are on the LAN {name}: {}; remove them first (`zt-run rm -f …`), or use --force",
            on_it.join(", ")
        );
    }
    let mut guard = Guard::default();
    guard.made(Made::Lan(lan.id.clone().unwrap_or_default()));
    guard.made(Made::Volume(names::lan_home_volume(name)));
    guard.made(Made::SharedVolume(names::lan_volume(name)));
    guard.undo(&docker).await?;
    println!("{name}");
    Ok(())
}
