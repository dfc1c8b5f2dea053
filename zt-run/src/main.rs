//! `zt-run`: runs unmodified containers on a ZeroTier LAN.
//!
//! It talks to a container engine, and to the services in containers by `zerotier-cli` through that engine; it holds no
//! protocol code. See `names` for what it makes, `run` for the order of things, and `guard` for how everything goes again.

#![forbid(unsafe_code)]

mod authorize;
mod cli;
mod containers;
mod elf;
mod engine;
mod entry;
mod failure;
mod guard;
mod image;
mod inject;
mod interrupt;
mod lan;
mod lifecycle;
mod membership;
mod names;
mod network;
mod payload;
mod progress;
mod ps;
mod run;
mod sidecar;
mod table;

use std::{env, path::Path, process::exit};

use anyhow::{Context as _, Result, bail};
use bollard::Docker;
use clap::Parser;
use serde_json::{Value, json};

use cli::{Cli, Command, Global, Lan, with_run};
use engine::failed;
use failure::Failure;
use image::SidecarImage;
use interrupt::{Forward, Interrupt};
use payload::Payload;
use progress::Progress;
use table::Table;

/// What every command needs.
struct Context {
    host: Option<String>,
    json: bool,
    progress: Progress,
    interrupt: Interrupt,
    forward: Forward,
}

impl Context {
    fn new(global: &Global) -> Result<Self> {
        let (interrupt, forward) = Interrupt::listen().context("listening for signals")?;
        let progress = Progress::new(global.quiet);
        Ok(Self {
            host: global.host.clone(),
            json: global.json,
            progress,
            interrupt,
            forward,
        })
    }

    /// Connects to the engine.
    async fn docker(&mut self) -> Result<Docker> {
        let host = self.host.clone();
        self.interrupt.or(engine::connect(host.as_deref())).await?
    }

    /// The name of the sidecar image, which is loaded if the engine lacks it.
    async fn sidecar_image(&self, docker: &Docker) -> Result<String> {
        sidecar_image(docker).await?.ensure(docker).await
    }

    /// Prints a table, or its rows as JSON.
    fn print<const N: usize>(&self, table: &Table<N>, rows: Vec<Value>) {
        match self.json {
            true => println!("{}", Value::Array(rows)),
            false => print!("{table}"),
        }
    }
}

/// The sidecar image for this engine.
async fn sidecar_image(docker: &Docker) -> Result<SidecarImage> {
    let dir = env::var_os("ZT_PAYLOAD_DIR");
    let payload = Payload::load(dir.as_deref().map(Path::new))?;
    let version = docker
        .version()
        .await
        .map_err(|error| failed("asking the engine for its version", &error))?;
    let architecture = version.arch.unwrap_or_default();
    let ours = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    if architecture != ours {
        bail!("the engine runs on {architecture}, but this zt-run carries binaries for {ours}");
    }
    SidecarImage::new(&payload, ours)
}

async fn command(cli: Cli) -> Result<u8> {
    let mut context = Context::new(&cli.global)?;
    match cli.command {
        Command::Run(options) => return run::run(&mut context, *options).await,
        Command::Lan(Lan::Create {
            name,
            pool,
            public,
            port,
        }) => lan::create(&mut context, &name, pool, public, port).await?,
        Command::Lan(Lan::Authorize { name, members }) => {
            lan::authorize(&mut context, &name, &members).await?;
        }
        Command::Lan(Lan::Ls) => lan::list(&mut context).await?,
        Command::Lan(Lan::Rm { name, force }) => lan::remove(&mut context, &name, force).await?,
        Command::Ps => ps::list(&mut context).await?,
        Command::Stop { names, time } => {
            lifecycle::stop(&context.docker().await?, &names, time.0).await?
        }
        Command::Start { names, timeout } => {
            let docker = context.docker().await?;
            lifecycle::start(&mut context, &docker, &names, timeout.0).await?;
        }
        Command::Rm { names, force } => {
            lifecycle::rm(&context.docker().await?, &names, force).await?
        }
        Command::BuildSidecar { tag } => build_sidecar(&mut context, &tag).await?,
        Command::Version => version(&mut context).await?,
    }
    Ok(0)
}

async fn build_sidecar(context: &mut Context, name: &str) -> Result<()> {
    let docker = context.docker().await?;
    let image = sidecar_image(&docker).await?;
    image.ensure(&docker).await?;
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    };
    image.tag(&docker, repository, tag).await?;
    println!("{repository}:{tag}");
    Ok(())
}

async fn version(context: &mut Context) -> Result<()> {
    let ours = env!("CARGO_PKG_VERSION");
    let docker = context.docker().await?;
    let engine = docker
        .version()
        .await
        .map_err(|error| failed("asking the engine for its version", &error))?;
    let (version, api) = (
        engine.version.unwrap_or_default(),
        engine.api_version.unwrap_or_default(),
    );
    match context.json {
        true => println!(
            "{}",
            json!({ "zt-run": ours, "engine": version, "api": api })
        ),
        false => println!("zt-run {ours}\nengine {version} (API {api})"),
    }
    Ok(())
}

fn main() {
    let cli = Cli::try_parse_from(with_run(env::args().collect())).unwrap_or_else(|error| {
        // Help and version are no errors; a wrong option is one of the tool, as for `docker run`.
        let code = if error.use_stderr() { Failure::TOOL } else { 0 };
        let _ = error.print();
        exit(code.into())
    });
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
        .and_then(|runtime| {
            let result = runtime.block_on(command(cli));
            // A read of the terminal that nobody waits for any more must not hold us up.
            runtime.shutdown_background();
            result
        });
    exit(match result {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("zt-run: {error:#}");
            Failure::code_of(&error).into()
        }
    });
}
