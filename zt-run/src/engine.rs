//! The connection to the engine: which sockets are tried, and the engine's errors in words that a person can act on.

#[cfg(test)]
pub(crate) mod fake;

use std::{env, path::Path};

use anyhow::{Result, anyhow, bail};
use bollard::{Docker, errors::Error};

/// Connects to the engine at `host` (`DOCKER_HOST` or `-H`), or else to the first of the usual sockets that answers.
pub(crate) async fn connect(host: Option<&str>) -> Result<Docker> {
    let candidates = match host {
        Some(host) if !host.is_empty() => vec![host.to_owned()],
        _ => usual_sockets(
            env::var("XDG_RUNTIME_DIR").ok().as_deref(),
            env::var("HOME").ok().as_deref(),
        ),
    };
    let mut tried = String::new();
    for candidate in &candidates {
        match open(candidate).await {
            Ok(docker) => return Ok(docker),
            Err(reason) => tried.push_str(&format!("\n  {candidate}: {reason}")),
        }
    }
    bail!(
        "no container engine answers; tried{tried}\n\
         start one (`systemctl start docker`), or say where it is with DOCKER_HOST or -H"
    );
}

async fn open(host: &str) -> Result<Docker, String> {
    if let Some(path) = host.strip_prefix("unix://")
        && !Path::new(path).exists()
    {
        return Err("no such socket".to_owned());
    }
    let docker = match Docker::connect_with_host(host) {
        Ok(docker) => docker,
        Err(Error::UnsupportedURISchemeError { .. }) => {
            return Err("use unix:///PATH or tcp://ADDRESS:PORT".to_owned());
        }
        Err(error) => return Err(said(&error)),
    };
    docker
        .negotiate_version()
        .await
        .map_err(|error| said(&error))
}

/// Docker's socket, then those of rootless Docker, Docker Desktop and Podman.
fn usual_sockets(runtime_dir: Option<&str>, home: Option<&str>) -> Vec<String> {
    let mut sockets = vec!["unix:///var/run/docker.sock".to_owned()];
    if let Some(dir) = runtime_dir {
        sockets.push(format!("unix://{dir}/docker.sock"));
    }
    if let Some(home) = home {
        sockets.push(format!("unix://{home}/.docker/run/docker.sock"));
    }
    sockets.push("unix:///run/podman/podman.sock".to_owned());
    if let Some(dir) = runtime_dir {
        sockets.push(format!("unix://{dir}/podman/podman.sock"));
    }
    sockets
}

/// What the engine itself said, without the wrapping of the client library.
pub(crate) fn said(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            text
        }
    }
}

/// The engine's status code, when it answered.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// True when the thing asked for does not exist.
pub(crate) fn is_missing(error: &Error) -> bool {
    status(error) == Some(404)
}

/// True when the engine is already removing the thing.
pub(crate) fn is_going(error: &Error) -> bool {
    status(error) == Some(409) && said(error).contains("already in progress")
}

/// An error of the engine, after what was being done.
pub(crate) fn failed(doing: &str, error: &Error) -> anyhow::Error {
    anyhow!("{doing}: {}", said(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_sockets_are_named_in_order() {
        assert_eq!(
            usual_sockets(Some("/run/user/1000"), Some("/home/me")),
            [
                "unix:///var/run/docker.sock",
                "unix:///run/user/1000/docker.sock",
                "unix:///home/me/.docker/run/docker.sock",
                "unix:///run/podman/podman.sock",
                "unix:///run/user/1000/podman/podman.sock",
            ]
        );
        assert_eq!(usual_sockets(None, None).len(), 2);
    }

    #[test]
    fn only_the_words_of_the_engine_are_passed_on() {
        let error = Error::DockerResponseServerError {
            status_code: 404,
            message: "No such image: x\n".to_owned(),
        };
        assert_eq!(said(&error), "No such image: x");
        assert!(is_missing(&error));
        assert!(!is_going(&error));
    }
}
