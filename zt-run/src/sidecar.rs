//! The sidecar: a container with the service, beside a program or as the root and controller of a LAN.

pub(crate) mod control;

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, bail};
use bollard::{
    Docker,
    models::{
        ContainerCreateBody, HealthConfig, HostConfig, Mount, MountType, MountVolumeOptions,
        NetworkConnectRequest, PortBinding, RestartPolicy, RestartPolicyNameEnum,
    },
    query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions},
};
use tokio::time::{Instant, sleep};

use crate::{
    engine::{failed, said, status},
    interrupt::Interrupt,
    lan, names,
};
use control::{Control, Status};

/// The network that every engine has: the way out for UDP, and to a LAN's root on the same engine.
const DEFAULT_NETWORK: &str = "bridge";

/// What to start a service with.
pub(crate) struct Sidecar {
    /// The container's name.
    pub name: String,
    /// The sidecar image.
    pub image: String,
    /// Labels of the container and of its volumes.
    pub labels: HashMap<String, String>,
    /// `KEY=value`.
    pub environment: Vec<String>,
    /// The volume for the identity.
    pub home: String,
    /// More volumes: source, target, read-only.
    pub volumes: Vec<(String, &'static str, bool)>,
    /// Networks of the engine to be on besides the default one.
    pub networks: Vec<String>,
    /// UDP port of the engine's host to publish the service's port on.
    pub port: Option<u16>,
    /// Another health check than the image's.
    pub health: Option<Vec<String>>,
    /// Comes back when it ends or the engine restarts.
    pub restart: bool,
}

impl Sidecar {
    /// Creates the container and returns its id.
    pub(crate) async fn create(self, docker: &Docker) -> Result<String> {
        let mut mounts = vec![volume(&self.home, names::HOME, false, &self.labels)];
        mounts.extend(
            self.volumes.iter().map(|(source, target, read_only)| {
                volume(source, target, *read_only, &self.labels)
            }),
        );
        let udp = format!("{}/udp", lan::PORT);
        let ports = self.port.map(|port| {
            let binding = PortBinding {
                host_ip: None,
                host_port: Some(port.to_string()),
            };
            HashMap::from([(udp.clone(), Some(vec![binding]))])
        });
        let restart = RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        };
        let body = ContainerCreateBody {
            image: Some(self.image),
            env: Some(self.environment),
            labels: Some(self.labels),
            healthcheck: self.health.map(|test| HealthConfig {
                test: Some(test),
                ..HealthConfig::default()
            }),
            exposed_ports: ports.is_some().then(|| vec![udp]),
            host_config: Some(HostConfig {
                network_mode: Some(DEFAULT_NETWORK.to_owned()),
                mounts: Some(mounts),
                port_bindings: ports,
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                readonly_rootfs: Some(true),
                restart_policy: self.restart.then_some(restart),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default()
            .name(&self.name)
            .build();
        let id = match docker.create_container(Some(options), body).await {
            Ok(created) => created.id,
            Err(error) if status(&error) == Some(409) => bail!("{}", taken(&self.name)),
            Err(error) => return Err(failed(&format!("creating {}", self.name), &error)),
        };
        for network in self
            .networks
            .iter()
            .filter(|network| *network != DEFAULT_NETWORK)
        {
            let request = NetworkConnectRequest {
                container: id.clone(),
                ..NetworkConnectRequest::default()
            };
            docker
                .connect_network(network, request)
                .await
                .map_err(|error| {
                    failed(&format!("connecting {} to {network}", self.name), &error)
                })?;
        }
        Ok(id)
    }
}

/// The words for a name that another container has.
pub(crate) fn taken(name: &str) -> String {
    format!(
        "the name `{name}` is taken by another container: choose another one with --name, or remove it (`zt-run rm {name}`)"
    )
}

/// A mount of a named volume, which is made with the labels if it does not exist.
pub(crate) fn volume(
    source: &str,
    target: &str,
    read_only: bool,
    labels: &HashMap<String, String>,
) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions {
            labels: Some(labels.clone()),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

/// Starts a created container of ours.
pub(crate) async fn start(docker: &Docker, id: &str, name: &str) -> Result<()> {
    let result = docker
        .start_container(id, None::<StartContainerOptions>)
        .await;
    result.map_err(|error| anyhow::anyhow!("starting {name}: {}", said(&error)))
}

/// Waits until the service answers, and returns its status. The first start makes an identity, which takes a while.
pub(crate) async fn answers(
    control: &Control<'_>,
    interrupt: &mut Interrupt,
    until: Instant,
) -> Result<Status> {
    loop {
        let error = match control.status().await {
            Ok(status) => return Ok(status),
            Err(error) => error,
        };
        interrupt.check()?;
        if let Some(reason) = control.ended().await? {
            bail!("the service does not run: {reason}");
        }
        if Instant::now() >= until {
            return Err(error.context("the service does not answer in time"));
        }
        interrupt.or(sleep(Duration::from_millis(30))).await?;
    }
}
