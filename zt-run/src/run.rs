//! `zt-run run`: image, container, sidecar, address, program; in this order, and back again.

mod attach;
mod program;

use std::{
    io::{IsTerminal, Read, stdin},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bollard::{
    Docker,
    models::ImageConfig,
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, StartContainerOptions,
    },
};
use futures_util::StreamExt;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    Context,
    authorize::Controller,
    cli::{Run, values},
    engine::{failed, is_missing, said, status},
    entry::{Entry, Reach},
    failure::Failure,
    guard::{self, Guard, Made},
    inject, lifecycle, membership,
    names::{self, Role},
    network::{self, Target},
    sidecar::{self, Sidecar, control::Control},
};
use program::Program;

/// What was said on the command line, checked before anything is made.
struct Wanted<'a> {
    options: &'a Run,
    image: &'a str,
    arguments: &'a [String],
    environment: Vec<String>,
    controller: Option<Controller>,
}

/// A container that is ready to start its program.
struct Ready {
    name: String,
    program: String,
    target: Target,
    node: String,
    addresses: Vec<String>,
}

/// Runs a container and returns the exit code.
pub(crate) async fn run(context: &mut Context, options: Run) -> Result<u8> {
    let (image, arguments) = options
        .image_and_command
        .split_first()
        .context("an image is needed")?;
    if let Some(name) = &options.name {
        names::check_program(name)?;
    }
    network::check(&options.network)?;
    let wanted = Wanted {
        options: &options,
        image,
        arguments,
        environment: values::environment(&options.env_file, &options.env)?,
        controller: Controller::chosen(&options)?,
    };
    if options.tty && options.interactive && !options.detach && !stdin().is_terminal() {
        bail!("-t needs a terminal as standard input: leave -t out when something is piped in");
    }

    let docker = context.docker().await?;
    let mut guard = Guard::default();
    let outcome = go(context, &docker, &wanted, &mut guard).await;
    let keep = options.detach && outcome.is_ok();
    if keep {
        guard.keep();
        return outcome;
    }
    let removed = guard.undo(&docker).await;
    let (outcome, left) = guard::settle(outcome, removed);
    if let Some(left) = left {
        context.progress.warn(&left);
    }
    outcome
}

async fn go(
    context: &mut Context,
    docker: &Docker,
    wanted: &Wanted<'_>,
    guard: &mut Guard,
) -> Result<u8> {
    let Wanted {
        options,
        image,
        arguments,
        environment,
        controller,
    } = wanted;
    lifecycle::reap(docker, &mut context.progress).await;
    let target = network::resolve(docker, &options.network).await?;
    let config = program_image(context, docker, image).await?;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => random_name()?,
    };
    context.interrupt.check()?;

    let mut labels = names::labels(
        Role::Program,
        [(names::NAME, &*name), (names::NETWORK, &*target.id)],
    );
    if let Some(lan) = &target.lan {
        labels.insert(names::LAN.to_owned(), lan.clone());
    }
    if options.rm || !options.detach {
        labels.insert(names::REMOVE.to_owned(), "true".to_owned());
    }
    let program = Program {
        options,
        image,
        arguments,
        config: &config,
        environment,
        name: &name,
        network: &target.id,
        labels,
    };
    let id = container(docker, &program, guard).await?;
    context.interrupt.check()?;

    let ready = bring_up(
        context,
        docker,
        &program,
        id,
        target.clone(),
        controller.as_ref(),
        guard,
    )
    .await?;
    start(context, docker, options, &ready).await
}

/// Creates the program's container and sees that the LAN gets into it.
async fn container(docker: &Docker, program: &Program<'_>, guard: &mut Guard) -> Result<String> {
    let first = program.first_reach();
    let mut id = create(docker, program, first, guard).await?;
    let needed = Entry::new(docker, &id, program.path(), program.directory())
        .reach(&program.command(), program.options.launch)
        .await?;
    if needed != first && needed != Reach::File {
        // Environment and command line are fixed when a container is created.
        let options = bollard::query_parameters::RemoveContainerOptionsBuilder::default()
            .v(true)
            .build();
        docker
            .remove_container(&id, Some(options))
            .await
            .map_err(|error| failed("creating the container again", &error))?;
        id = create(docker, program, needed, guard).await?;
    } else if first == Reach::File {
        inject::preload_file(docker, &id).await?;
    }
    Ok(id)
}

async fn create(
    docker: &Docker,
    program: &Program<'_>,
    reach: Reach,
    guard: &mut Guard,
) -> Result<String> {
    let name = program.name;
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    match docker
        .create_container(Some(options), program.body(reach))
        .await
    {
        Ok(created) => {
            guard.made(Made::Program(created.id.clone()));
            // The engine makes the volume with the container; whoever has the name has the volumes.
            guard.made(Made::Volume(names::socket_volume(name)));
            Ok(created.id)
        }
        Err(error) if status(&error) == Some(409) => bail!("{}", sidecar::taken(name)),
        Err(error) => Err(failed(&format!("creating {name}"), &error)),
    }
}

/// Starts the sidecar and waits until the container has its address.
async fn bring_up(
    context: &mut Context,
    docker: &Docker,
    program: &Program<'_>,
    id: String,
    target: Target,
    controller: Option<&Controller>,
    guard: &mut Guard,
) -> Result<Ready> {
    let options = program.options;
    let name = program.name.to_owned();
    context.progress.phase("starting the sidecar", "");
    let image = context.sidecar_image(docker).await?;
    let mut labels = program.labels.clone();
    labels.insert(names::ROLE.to_owned(), Role::Sidecar.to_string());
    let mut volumes = vec![(names::socket_volume(&name), names::SOCKET_DIR, false)];
    // Found on the LAN by the name that it has for itself.
    let published = options.hostname.as_deref().unwrap_or(&name);
    let mut environment = vec![format!("ZT_NAME={published}")];
    if let Some(lan) = &target.lan {
        volumes.push((names::lan_volume(lan), names::LAN_DIR, true));
        environment.push(format!("ZT_PLANET={}", names::PLANET));
    }
    let sidecar_name = names::sidecar(&name);
    let sidecar = Sidecar {
        name: sidecar_name.clone(),
        image,
        labels,
        environment,
        home: names::home_volume(&name),
        volumes,
        networks: usable_networks(options.docker_network.as_deref()),
        port: None,
        health: None,
        restart: options.detach,
    };
    let sidecar_id = sidecar.create(docker).await?;
    guard.made(Made::Sidecar(sidecar_id.clone()));
    guard.made(Made::Volume(names::home_volume(&name)));
    sidecar::start(docker, &sidecar_id, &sidecar_name).await?;
    context.interrupt.check()?;

    let until = Instant::now() + options.timeout.0;
    let control = Control::new(docker, &sidecar_id);
    let node = sidecar::answers(&control, &mut context.interrupt, until)
        .await?
        .address;
    if let Some(lan) = &target.lan {
        let lan = names::lan(lan);
        guard.made(Made::Member {
            lan: lan.clone(),
            network: target.id.clone(),
            address: node.clone(),
        });
        Control::new(docker, &lan)
            .authorize(&target.id, &node)
            .await?;
    } else if let Some(controller) = controller {
        controller.authorize(&target.id, &node).await?;
    }
    context.interrupt.check()?;
    control.join(&target.id).await?;
    let addresses = membership::wait(context, &control, &target, &node, until).await?;
    Ok(Ready {
        name,
        program: id,
        target,
        node,
        addresses,
    })
}

/// Says the address, then starts the program.
async fn start(context: &mut Context, docker: &Docker, options: &Run, ready: &Ready) -> Result<u8> {
    context.progress.clear();
    let attached = match options.detach {
        true => None,
        false => Some(
            attach::Attached::to(docker, &ready.program, options.interactive, options.tty).await?,
        ),
    };
    let address = ready.addresses.first().map_or("", String::as_str);
    if context.json {
        let report = json!({
            "name": ready.name, "id": ready.program, "network": ready.target.id, "lan": ready.target.lan,
            "node": ready.node, "addresses": ready.addresses,
        });
        println!("{report}");
    } else if options.detach {
        println!("{address}");
        context.progress.say(&format!(
            "{} is {address} on {}",
            ready.name,
            ready.target.title()
        ));
    } else {
        context.progress.say(&format!(
            "{} is {address} on {}",
            ready.name,
            ready.target.title()
        ));
    }
    context.interrupt.check()?;
    let signals = attached.as_ref().map(|_| context.forward.begin());
    if let Err(error) = docker
        .start_container(&ready.program, None::<StartContainerOptions>)
        .await
    {
        context.forward.end();
        return Err(not_started(docker, &ready.name, &said(&error)).await.into());
    }
    let (Some(attached), Some(signals)) = (attached, signals) else {
        return Ok(0);
    };
    let code = attached.follow(signals).await;
    context.forward.end();
    code
}

/// The image's settings; pulls the image if the engine lacks it.
async fn program_image(context: &mut Context, docker: &Docker, image: &str) -> Result<ImageConfig> {
    for pulled in [false, true] {
        match docker.inspect_image(image).await {
            Ok(found) => return Ok(found.config.unwrap_or_default()),
            Err(error) if is_missing(&error) && !pulled => {}
            Err(error) => return Err(failed(&format!("looking for the image {image}"), &error)),
        }
        let reference = if has_tag(image) {
            image.to_owned()
        } else {
            format!("{image}:latest")
        };
        let options = CreateImageOptionsBuilder::default()
            .from_image(&reference)
            .build();
        let mut steps = std::pin::pin!(docker.create_image(Some(options), None, None));
        context.progress.phase(&format!("pulling {image}"), "");
        while let Some(step) = context.interrupt.or(steps.next()).await? {
            let step = step.map_err(|error| {
                anyhow::anyhow!(
                    "the image {image} is not in the engine and cannot be pulled: {}\n\
                     build or load it first; `docker images` lists what is there",
                    said(&error)
                )
            })?;
            let text = step.status.unwrap_or_default();
            context
                .progress
                .phase(&format!("pulling {image}"), &format!(": {text}"));
        }
    }
    bail!("the image {image} was pulled, but the engine does not have it");
}

fn has_tag(image: &str) -> bool {
    image.contains('@')
        || image
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains(':'))
}

/// The networks of the program that a sidecar can be on, too.
fn usable_networks(network: Option<&str>) -> Vec<String> {
    let usable = |network: &&str| {
        !matches!(*network, "" | "none" | "host" | "default") && !network.starts_with("container:")
    };
    network
        .filter(usable)
        .map(str::to_owned)
        .into_iter()
        .collect()
}

/// A name for a container whose user gave none.
fn random_name() -> Result<String> {
    let mut bytes = [0; 4];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(format!("zt-{:08x}", u32::from_ne_bytes(bytes)))
}

/// Why the engine did not start the program, with docker's exit code.
async fn not_started(docker: &Docker, name: &str, said: &str) -> Failure {
    if said.contains("port is already allocated") || said.contains("address already in use") {
        let port = said.split(':').find_map(|part| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            part.contains("failed")
                .then_some(digits)
                .filter(|digits| !digits.is_empty())
        });
        let port = port.map_or_else(
            || "a published port".to_owned(),
            |port| format!("port {port}"),
        );
        let owner = match lifecycle::owner_of_port(docker, &port).await {
            Some(owner) => format!("by the container `{owner}`"),
            None => "by something else on the engine's host".to_owned(),
        };
        return Failure::new(
            Failure::TOOL,
            format!(
                "{port} is already used {owner}: choose another one with -p, or leave -p out (the LAN needs no published port)"
            ),
        );
    }
    let code = match said {
        _ if said.contains("executable file not found")
            || said.contains("no such file or directory") =>
        {
            Failure::NOT_FOUND
        }
        _ if said.contains("permission denied") => Failure::NOT_RUNNABLE,
        _ => Failure::TOOL,
    };
    Failure::new(code, format!("starting {name}: {said}"))
}

/// How long output may trickle after the program has ended.
const DRAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_not_a_registrys_port() {
        assert!(has_tag("nginx:1"));
        assert!(has_tag("localhost:5000/nginx@sha256:00"));
        assert!(!has_tag("localhost:5000/nginx"));
        assert!(!has_tag("nginx"));
    }

    #[test]
    fn a_sidecar_joins_real_networks_only() {
        assert_eq!(usable_networks(Some("backend")), ["backend"]);
        for other in [
            None,
            Some("none"),
            Some("host"),
            Some("container:x"),
            Some("default"),
        ] {
            assert!(usable_networks(other).is_empty(), "{other:?}");
        }
    }

    #[test]
    fn names_are_made_when_none_is_given() {
        let name = random_name().unwrap();
        assert!(names::check(&name).is_ok());
        assert_ne!(name, random_name().unwrap());
    }
}
