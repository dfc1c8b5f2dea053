//! The daemon: brings up a home, a data plane and a control API, and keeps the files in step until
//! it is told to stop.
//!
//! Two threads: the data plane ([`crate::engine`]), and this one with signals, API and files on a
//! single-threaded runtime. Whatever ends the service goes through the data plane: when it stops,
//! its news end, and so does the loop here.

mod environment;
mod options;
mod ports;
mod signals;
mod world;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;
use tracing::{error, info, warn};
use zt_protocol::NetworkId;

pub use options::{Invocation, Options, help, parse};

use crate::api::{self, Listeners};
use crate::broker::socket_path;
use crate::daemon;
use crate::engine::EngineConfig;
use crate::home::{self, Home, LocalConf};
use crate::keeper::{Keeper, RETRY};
use crate::news::{News, Notice, Places};
use crate::shell::{Facts, Shell};
use environment::Environment;
use signals::Stop;
use world::Worlds;

/// What fits into the address of a Unix socket, with its terminating zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// At the end a full disk gets this many more chances.
const LAST_RETRIES: usize = 3;

/// Runs the service with the arguments after the program's name.
pub fn run(program: &str, arguments: &[String]) -> ExitCode {
    let options = match parse(arguments) {
        Invocation::Run(options) => options,
        Invocation::Version => {
            let _ = writeln!(std::io::stdout(), "{}", crate::VERSION);
            return ExitCode::SUCCESS;
        }
        Invocation::Help => {
            let _ = write!(std::io::stdout(), "{}", help(program));
            return ExitCode::SUCCESS;
        }
        Invocation::Misused(problem) => {
            eprintln!("{program}: {problem}\n\n{}", help(program));
            return ExitCode::FAILURE;
        }
    };
    let result = if options.background && !daemon::is_background() {
        daemon::start(program, arguments).context("starting in the background")
    } else {
        run_here(&options).map(|()| ExitCode::SUCCESS)
    };
    result.unwrap_or_else(|error| {
        // In the background this goes to whoever started it, or once up to the log.
        eprintln!("{program}: fatal error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run_here(options: &Options) -> Result<()> {
    let environment = Environment::read()?;
    // A path from where we were started, before that is left.
    let directory = std::path::absolute(&options.home).context("finding the home directory")?;
    if daemon::is_background() {
        daemon::detach().context("leaving the terminal")?;
    }
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    LocalSet::new().block_on(&runtime, serve(options, &environment, &directory))
}

async fn serve(options: &Options, environment: &Environment, directory: &Path) -> Result<()> {
    let stop = Stop::watch().context("watching signals")?;
    let home = Home::open(directory)?;
    let log = home.path(home::LOG_FILE);
    environment.start_log(daemon::is_background().then_some(log.as_path()))?;

    let token = home::load_or_create_token(&home.path(home::TOKEN_FILE))?;
    let identity = home::load_or_generate(home.directory())?;
    info!(address = %identity.address(), home = %home.directory().display(), "node");
    let conf = LocalConf::load(&home.path(home::LOCAL_CONF))?;
    for warning in &conf.warnings {
        warn!(file = home::LOCAL_CONF, "{warning}");
    }
    let controller = conf
        .controller_directory
        .clone()
        .unwrap_or_else(|| home.path(home::CONTROLLER));
    let records = home::records(&controller)?;
    let saved = home::joined(home.directory())?;
    let keeper = Rc::new(Keeper::default());
    let persistent = Rc::clone(&keeper);
    spawn_local(async move { persistent.persist().await });
    let mut worlds = Worlds::open(&home, environment, &conf, identity.public()).await?;

    let wish = ports::Wish {
        first: options.port.or(conf.primary_port),
        second: conf.secondary_port,
    };
    let sockets = socket_directory(environment, &home)?;
    let up = ports::bring_up(wish, |udp| {
        Ok(EngineConfig {
            identity: identity.clone(),
            planet: worlds.current(udp.port, &keeper)?,
            udp,
            socket_directory: sockets.clone(),
            name: environment.name.clone(),
            interface_prefix_blacklist: conf.interface_prefix_blacklist.clone(),
            controller_records: records.clone(),
        })
    })?;
    stop.guard(&up.engine);
    let places = Places {
        home: home.directory().to_owned(),
        controller,
    };
    let news = Rc::new(News::new(
        up.events,
        identity.address(),
        places,
        Rc::clone(&keeper),
    ));
    let facts = Facts {
        identity: *identity.public(),
        home: home.directory().to_owned(),
        token,
        local_conf: conf.raw,
    };
    let shell = Rc::new(Shell::new(
        facts,
        up.engine.clone(),
        Rc::clone(&keeper),
        Rc::clone(&news),
    ));
    let wanted = environment
        .networks
        .iter()
        .copied()
        .filter(|id| !saved.iter().any(|network| network.id == *id));
    let wanted: Vec<NetworkId> = wanted.collect();
    for network in saved {
        shell.resume(network).await?;
    }
    for network in wanted {
        shell
            .join(network, home::NetworkSettings::default())
            .await?;
    }
    open_api(up.listeners, &home, &shell)?;
    let port = up.engine.primary_port();
    info!(port, "up");
    keeper.store(
        &home.path(home::PORT_FILE),
        port.to_string().into_bytes(),
        0o644,
    );
    keeper.store(
        &home.path(home::PID_FILE),
        std::process::id().to_string().into_bytes(),
        0o644,
    );
    if daemon::is_background() {
        daemon::report_up(&log).context("going to the background")?;
    }

    let mut collided = false;
    loop {
        // Without a planet to watch there is nothing to wake up for.
        let notice = match worlds.interval() {
            Some(interval) => timeout(interval, news.next()).await.ok(),
            None => Some(news.next().await),
        };
        match notice {
            Some(Notice::Addresses(addresses)) => {
                worlds.moved(&addresses, &up.engine, &keeper).await
            }
            Some(Notice::Collision) => {
                collided = true;
                up.engine.stop();
            }
            Some(Notice::Ended) => break,
            None => worlds.look(&up.engine, &keeper).await,
        }
    }
    close(&home, &keeper).await?;
    anyhow::ensure!(
        !collided,
        "a root says that the address {} belongs to another identity; if this home is a copy, delete {} and {} in it \
         to get an address of its own",
        identity.address(),
        home::IDENTITY_SECRET,
        home::IDENTITY_PUBLIC
    );
    anyhow::ensure!(
        stop.was_asked(),
        "the data plane ended unexpectedly; the log has the reason"
    );
    info!("stopped");
    Ok(())
}

/// Where the sockets for programs are made: somebody else's directory must be there, ours is.
fn socket_directory(environment: &Environment, home: &Home) -> Result<PathBuf> {
    let directory = match &environment.sockets {
        Some(directory) => {
            anyhow::ensure!(
                directory.is_dir(),
                "ZT_NC_DIR: {} is not a directory; create or mount it first",
                directory.display()
            );
            directory.clone()
        }
        None => home.directory().to_owned(),
    };
    let longest = socket_path(&directory, NetworkId(u64::MAX));
    anyhow::ensure!(
        longest.as_os_str().len() <= LONGEST_SOCKET_PATH,
        "{} is too long: with the name of a socket it must not exceed {LONGEST_SOCKET_PATH} bytes; use a shorter home, \
         or ZT_NC_DIR",
        directory.display()
    );
    Ok(directory)
}

fn open_api(mut listeners: Listeners, home: &Home, shell: &Rc<Shell>) -> Result<()> {
    let socket = home.path(home::API_SOCKET);
    if let Err(error) = listeners.bind_socket(&socket) {
        // The port is there; the path may be too long for a socket.
        warn!(socket = %socket.display(), %error, "no control API on the Unix socket");
    }
    api::serve(listeners, shell).context("opening the control API")
}

async fn close(home: &Home, keeper: &Keeper) -> Result<()> {
    for _ in 0..LAST_RETRIES {
        if keeper.retry() {
            break;
        }
        tokio::time::sleep(RETRY).await;
    }
    if !keeper.is_idle() {
        error!("some files could not be written before the end");
    }
    for name in [home::PID_FILE, home::API_SOCKET] {
        home::remove_if_present(&home.path(name)).with_context(|| format!("removing {name}"))?;
    }
    Ok(())
}
