//! The program's container: what the user's options and the image say, as the engine wants it.

use std::{collections::HashMap, str::FromStr};

use bollard::models::{
    ContainerCreateBody, HostConfig, ImageConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use crate::{
    cli::{
        Run,
        values::{Launch, Restart, Volume},
    },
    entry::Reach,
    inject, names,
    sidecar::volume,
};

const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program, its image and its surroundings.
pub(crate) struct Program<'a> {
    /// The options.
    pub options: &'a Run,
    /// The image's name and the command line after it.
    pub image: &'a str,
    /// That command line.
    pub arguments: &'a [String],
    /// The image's own settings.
    pub config: &'a ImageConfig,
    /// The variables of the user.
    pub environment: &'a [String],
    /// The container's name.
    pub name: &'a str,
    /// The network id.
    pub network: &'a str,
    /// Labels.
    pub labels: HashMap<String, String>,
}

impl Program<'_> {
    /// The whole command line that the engine would start.
    pub(crate) fn command(&self) -> Vec<String> {
        let image = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
        // As the engine does it: another entry point drops the image's arguments, too.
        let (entry, usual_arguments) = match &self.options.entrypoint {
            Some(entry) if entry.is_empty() => (Vec::new(), Vec::new()),
            Some(entry) => (vec![entry.clone()], Vec::new()),
            None => (image(&self.config.entrypoint), image(&self.config.cmd)),
        };
        let arguments = if self.arguments.is_empty() {
            usual_arguments
        } else {
            self.arguments.to_vec()
        };
        entry.into_iter().chain(arguments).collect()
    }

    /// A variable as the program will see it.
    pub(crate) fn variable(&self, key: &str) -> Option<&str> {
        let image = self.config.env.as_deref().unwrap_or_default();
        let value = |entry: &'_ String| {
            entry
                .split_once('=')
                .filter(|(name, _)| *name == key)
                .is_some()
        };
        let entry = self
            .environment
            .iter()
            .rfind(|entry| value(entry))
            .or_else(|| image.iter().rfind(|entry| value(entry)));
        entry
            .and_then(|entry| entry.split_once('='))
            .map(|(_, value)| value)
    }

    /// Where programs are looked for.
    pub(crate) fn path(&self) -> &str {
        self.variable("PATH").unwrap_or(USUAL_PATH)
    }

    /// The program's working directory.
    pub(crate) fn directory(&self) -> &str {
        let image = self.config.working_dir.as_deref();
        self.options
            .workdir
            .as_deref()
            .or(image)
            .filter(|dir| !dir.is_empty())
            .unwrap_or("/")
    }

    /// The way that suits most: a read-only root cannot be written to, not even by the engine.
    pub(crate) fn first_reach(&self) -> Reach {
        if self.options.launch == Launch::Always {
            Reach::Launcher
        } else if self.options.read_only {
            Reach::Environment
        } else {
            Reach::File
        }
    }

    /// What the engine is asked to create.
    pub(crate) fn body(&self, reach: Reach) -> ContainerCreateBody {
        let options = self.options;
        let mut env = self.environment.to_vec();
        env.retain(|entry| !entry.starts_with("ZT_NC_NETWORK="));
        env.push(format!(
            "ZT_NC_NETWORK={}/nc_{}",
            names::SOCKET_DIR,
            self.network
        ));
        if options.isolated {
            env.push("ZT_NC_MODE=isolated".to_owned());
        }
        if reach == Reach::Environment {
            let value = inject::preload_variable(self.variable("LD_PRELOAD"));
            env.retain(|entry| !entry.starts_with("LD_PRELOAD="));
            env.push(format!("LD_PRELOAD={value}"));
        }
        let (mut binds, mut anonymous) = (Vec::new(), Vec::new());
        for volume in &options.volume {
            match volume {
                Volume::Bind(bind) => binds.push(bind.clone()),
                Volume::Anonymous(path) => anonymous.push(path.clone()),
            }
        }
        let mut socket = volume(
            &names::socket_volume(self.name),
            names::SOCKET_DIR,
            true,
            &self.labels,
        );
        if let Some(volume) = &mut socket.volume_options {
            // The sidecar's image fills it, not the program's.
            volume.no_copy = Some(true);
        }
        let attached = !options.detach;
        ContainerCreateBody {
            image: Some(self.image.to_owned()),
            cmd: match reach {
                Reach::Launcher => Some(self.command()),
                _ => (!self.arguments.is_empty()).then(|| self.arguments.to_vec()),
            },
            entrypoint: match reach {
                Reach::Launcher => Some(vec![names::LAUNCHER.to_owned(), "--".to_owned()]),
                _ => options.entrypoint.clone().map(|entry| vec![entry]),
            },
            env: Some(env),
            user: options.user.clone(),
            working_dir: options.workdir.clone(),
            hostname: options.hostname.clone(),
            tty: Some(options.tty),
            open_stdin: Some(options.interactive),
            stdin_once: Some(options.interactive && attached),
            attach_stdin: Some(options.interactive && attached),
            attach_stdout: Some(attached),
            attach_stderr: Some(attached),
            labels: Some(self.labels.clone()),
            volumes: (!anonymous.is_empty()).then_some(anonymous),
            exposed_ports: (!options.publish.is_empty()).then(|| {
                options
                    .publish
                    .iter()
                    .map(|port| port.container.clone())
                    .collect()
            }),
            host_config: Some(HostConfig {
                binds: (!binds.is_empty()).then_some(binds),
                mounts: Some(vec![socket]),
                port_bindings: self.port_bindings(),
                network_mode: options.docker_network.clone(),
                // Newer engines make the terminal in its size; older ones ignore this and are told after the start.
                console_size: super::attach::window_size()
                    .filter(|_| options.tty && attached)
                    .map(|(height, width)| vec![height.into(), width.into()]),
                readonly_rootfs: Some(options.read_only),
                auto_remove: Some(options.detach && options.rm),
                restart_policy: options.restart.map(restart_policy),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn port_bindings(&self) -> Option<HashMap<String, Option<Vec<PortBinding>>>> {
        let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
        for port in &self.options.publish {
            bindings
                .entry(port.container.clone())
                .or_default()
                .get_or_insert_default()
                .push(PortBinding {
                    host_ip: port.ip.map(|ip| ip.to_string()),
                    host_port: Some(port.host.map(|port| port.to_string()).unwrap_or_default()),
                });
        }
        (!bindings.is_empty()).then_some(bindings)
    }
}

fn restart_policy(restart: Restart) -> RestartPolicy {
    let (name, count) = match restart {
        Restart::No => ("no", None),
        Restart::Always => ("always", None),
        Restart::UnlessStopped => ("unless-stopped", None),
        Restart::OnFailure(count) => ("on-failure", Some(i64::from(count))),
    };
    RestartPolicy {
        name: RestartPolicyNameEnum::from_str(name).ok(),
        maximum_retry_count: count,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, with_run};

    fn with<T>(line: &str, config: &ImageConfig, look: impl FnOnce(&Program<'_>) -> T) -> T {
        let cli = Cli::try_parse_from(with_run(
            line.split_whitespace().map(str::to_owned).collect(),
        ))
        .unwrap();
        let Command::Run(options) = cli.command else {
            panic!()
        };
        let (image, arguments) = options.image_and_command.split_first().unwrap();
        look(&Program {
            options: &options,
            image,
            arguments,
            config,
            environment: &options.env,
            name: "web",
            network: "8056c2e21c000001",
            labels: HashMap::new(),
        })
    }

    fn config(entrypoint: &[&str], cmd: &[&str]) -> ImageConfig {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        ImageConfig {
            entrypoint: words(entrypoint),
            cmd: words(cmd),
            env: words(&["PATH=/a:/b", "LD_PRELOAD=/x.so"]),
            ..ImageConfig::default()
        }
    }

    #[test]
    fn entry_point_and_arguments_combine_as_in_the_engine() {
        let config = config(&["/entry"], &["serve"]);
        assert_eq!(
            with("zt-run --network n img", &config, |p| p.command()),
            ["/entry", "serve"]
        );
        assert_eq!(
            with("zt-run --network n img a b", &config, |p| p.command()),
            ["/entry", "a", "b"]
        );
        assert_eq!(
            with("zt-run --network n --entrypoint /other img", &config, |p| p
                .command()),
            ["/other"]
        );
        assert_eq!(
            with("zt-run --network n --entrypoint= img sh", &config, |p| p
                .command()),
            ["sh"]
        );
    }

    #[test]
    fn the_library_is_told_its_socket() {
        let body = with(
            "zt-run --network n -e ZT_NC_NETWORK=x --isolated img",
            &config(&[], &[]),
            |p| p.body(Reach::File),
        );
        assert_eq!(
            body.env.unwrap(),
            [
                "ZT_NC_NETWORK=/run/zt/nc_8056c2e21c000001",
                "ZT_NC_MODE=isolated"
            ]
        );
    }

    #[test]
    fn the_environment_keeps_what_was_preloaded() {
        let body = with("zt-run --network n img", &config(&[], &[]), |p| {
            p.body(Reach::Environment)
        });
        assert_eq!(
            body.env.unwrap().last().unwrap(),
            "LD_PRELOAD=/run/zt/libztintercept.so:/x.so"
        );
    }

    #[test]
    fn the_launcher_starts_the_whole_command() {
        let body = with(
            "zt-run --network n img -x",
            &config(&["/entry"], &["serve"]),
            |p| p.body(Reach::Launcher),
        );
        assert_eq!(body.entrypoint.unwrap(), ["/run/zt/zt-launch", "--"]);
        assert_eq!(body.cmd.unwrap(), ["/entry", "-x"]);
        assert!(
            !body
                .env
                .unwrap()
                .iter()
                .any(|entry| entry.contains("LD_PRELOAD"))
        );
    }

    #[test]
    fn nothing_is_published_by_itself() {
        let body = with("zt-run --network n img", &config(&[], &[]), |p| {
            p.body(Reach::File)
        });
        let host = body.host_config.unwrap();
        assert!(
            host.port_bindings.is_none()
                && host.network_mode.is_none()
                && body.exposed_ports.is_none()
        );
        let mount = &host.mounts.unwrap()[0];
        assert_eq!(
            (mount.source.as_deref(), mount.read_only),
            (Some("web-zt-run"), Some(true))
        );
    }

    #[test]
    fn ports_and_volumes_reach_the_engine() {
        let line = "zt-run --network n -d --rm -p 8080:80 -p 127.0.0.1:8081:80 -v data:/data -v /cache img";
        let body = with(line, &config(&[], &[]), |p| p.body(Reach::File));
        assert_eq!(body.volumes.unwrap(), ["/cache"]);
        let host = body.host_config.unwrap();
        assert_eq!(host.auto_remove, Some(true));
        assert_eq!(host.binds.unwrap(), ["data:/data"]);
        let bindings = host.port_bindings.unwrap();
        let ports: Vec<_> = bindings["80/tcp"]
            .iter()
            .flatten()
            .map(|binding| binding.host_port.clone().unwrap())
            .collect();
        assert_eq!(ports, ["8080", "8081"]);
    }

    #[test]
    fn a_read_only_root_is_reached_by_the_environment() {
        assert_eq!(
            with(
                "zt-run --network n --read-only img",
                &config(&[], &[]),
                |p| p.first_reach()
            ),
            Reach::Environment
        );
        assert_eq!(
            with("zt-run --network n img", &config(&[], &[]), |p| p
                .first_reach()),
            Reach::File
        );
    }
}
