//! Values of options: parsed once, with errors that show what is meant.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, absolute},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// A whole or fractional number of seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seconds(pub Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = text.strip_suffix('s').unwrap_or(text).parse().ok();
        let duration = seconds
            .filter(|seconds| *seconds <= 1e9)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration
            .map(Self)
            .ok_or_else(|| "a number of seconds is needed".to_owned())
    }
}

/// `-v`: as the engine wants it, or the path of an anonymous volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    /// `SOURCE:TARGET[:OPTIONS]`
    Bind(String),
    /// `TARGET`
    Anonymous(String),
}

impl FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let target = |path: &str| {
            if path.starts_with('/') {
                Ok(())
            } else {
                Err(format!(
                    "`{path}` must be an absolute path in the container"
                ))
            }
        };
        match parts.as_slice() {
            [path] => target(path).map(|()| Self::Anonymous((*path).to_owned())),
            [source, path] | [source, path, _] if !source.is_empty() => {
                target(path)?;
                let rest = parts.get(1..).unwrap_or_default().join(":");
                if !source.starts_with('.') {
                    return Ok(Self::Bind(text.to_owned()));
                }
                let source =
                    absolute(Path::new(source)).map_err(|error| format!("`{source}`: {error}"))?;
                Ok(Self::Bind(format!("{}:{rest}", source.display())))
            }
            _ => Err("write it as SOURCE:TARGET or SOURCE:TARGET:ro".to_owned()),
        }
    }
}

/// `-p`: a published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// Address on the engine's host.
    pub ip: Option<IpAddr>,
    /// Port there; any if `None`.
    pub host: Option<u16>,
    /// `PORT/tcp` in the container.
    pub container: String,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |port: &str| {
            let parsed = port.parse::<u16>().ok().filter(|port| *port != 0);
            parsed.ok_or_else(|| format!("`{port}` is no port: use a number from 1 to 65535"))
        };
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        if !matches!(protocol, "tcp" | "udp" | "sctp") {
            return Err(format!("`{protocol}` is no protocol: use tcp, udp or sctp"));
        }
        let (front, container) = ports
            .rsplit_once(':')
            .map_or((None, ports), |(front, port)| (Some(front), port));
        let (ip, host) = match front {
            None => (None, None),
            Some(front) => match front.rsplit_once(':') {
                None => (None, Some(number(front)?)),
                Some((ip, host)) => {
                    let plain = ip
                        .strip_prefix('[')
                        .and_then(|ip| ip.strip_suffix(']'))
                        .unwrap_or(ip);
                    let ip = plain
                        .parse()
                        .map_err(|_| format!("`{ip}` is no IP address"))?;
                    (
                        Some(ip),
                        if host.is_empty() {
                            None
                        } else {
                            Some(number(host)?)
                        },
                    )
                }
            },
        };
        Ok(Self {
            ip,
            host,
            container: format!("{}/{protocol}", number(container)?),
        })
    }
}

/// `--restart`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    No,
    Always,
    UnlessStopped,
    /// At most so often; 0 means without end.
    OnFailure(u32),
}

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "0")) {
            ("no", "0") => Ok(Self::No),
            ("always", "0") => Ok(Self::Always),
            ("unless-stopped", "0") => Ok(Self::UnlessStopped),
            ("on-failure", count) if count.parse::<u32>().is_ok() => {
                Ok(Self::OnFailure(count.parse().unwrap_or(0)))
            }
            _ => Err("use no, on-failure, on-failure:N, always or unless-stopped".to_owned()),
        }
    }
}

/// `--launch`
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Launch {
    /// For static programs, Go, and loaders that the library does not know.
    Auto,
    /// Whatever the program is: also for scripts that start static programs or Go.
    Always,
    /// Programs that the library cannot reach are refused.
    Never,
}

/// `--pool`: the addresses of a LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    network: Ipv4Addr,
    prefix: u8,
}

impl Pool {
    /// The pool of a LAN that named none: one of 254, told by `seed`.
    pub(crate) fn usual(seed: u8) -> Self {
        Self {
            network: Ipv4Addr::new(10, 147, seed.clamp(1, 254), 0),
            prefix: 24,
        }
    }

    /// The first address that is given out.
    pub(crate) fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + 1)
    }

    /// The last one; the broadcast address is not given out.
    pub(crate) fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits((self.network.to_bits() | (u32::MAX >> self.prefix)) - 1)
    }
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Pool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || "write it as ADDRESS/PREFIX, for example 10.147.20.0/24".to_owned();
        let (address, prefix) = text.split_once('/').ok_or_else(usage)?;
        let address: Ipv4Addr = address.parse().map_err(|_| usage())?;
        let prefix: u8 = prefix.parse().map_err(|_| usage())?;
        if !(8..=30).contains(&prefix) {
            return Err(format!("/{prefix} is no useful size: use /8 to /30"));
        }
        let network = Ipv4Addr::from_bits(address.to_bits() & !(u32::MAX >> prefix));
        if network != address {
            return Err(format!(
                "{address} is an address inside {network}/{prefix}: write that"
            ));
        }
        if network.is_loopback()
            || network.is_multicast()
            || network.is_unspecified()
            || network.octets().first() == Some(&0)
        {
            return Err(format!("{network}/{prefix} cannot be used for hosts"));
        }
        Ok(Self { network, prefix })
    }
}

/// The variables of `--env-file`s and `-e`, later ones over earlier ones, in the engine's form.
pub(crate) fn environment(files: &[impl AsRef<Path>], variables: &[String]) -> Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    let mut set = |entry: String| {
        let key = entry.split('=').next().unwrap_or_default().to_owned();
        all.retain(|other| other.split('=').next() != Some(&key));
        all.push(entry);
    };
    for file in files {
        let path = file.as_ref().display();
        let text =
            fs::read_to_string(file).with_context(|| format!("reading the variables in {path}"))?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match variable(line) {
                Ok(Some(entry)) => set(entry),
                Ok(None) => {}
                Err(error) => bail!("{path}, line {}: {error}", number + 1),
            }
        }
    }
    for entry in variables {
        if let Some(entry) = variable(entry)? {
            set(entry);
        }
    }
    Ok(all)
}

/// `KEY=value`, or `KEY` with the value that it has here; `None` if it has none.
fn variable(text: &str) -> Result<Option<String>> {
    let key = text.split('=').next().unwrap_or_default();
    if key.is_empty() || key.contains(char::is_whitespace) {
        bail!("`{text}` is no variable: write KEY=VALUE");
    }
    if text.contains('=') {
        return Ok(Some(text.to_owned()));
    }
    Ok(env::var(key).ok().map(|value| format!("{key}={value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_for_docker() {
        let port = |text: &str| text.parse::<Port>();
        let plain = |host, container: &str| Port {
            ip: None,
            host,
            container: container.to_owned(),
        };
        assert_eq!(port("80"), Ok(plain(None, "80/tcp")));
        assert_eq!(port("8080:80"), Ok(plain(Some(8080), "80/tcp")));
        assert_eq!(port("53:53/udp"), Ok(plain(Some(53), "53/udp")));
        assert_eq!(
            port("127.0.0.1:8080:80").unwrap().ip,
            Some(IpAddr::from([127, 0, 0, 1]))
        );
        assert_eq!(port("127.0.0.1::80").unwrap().host, None);
        assert_eq!(
            port("[::1]:8080:80").unwrap().ip,
            Some("::1".parse().unwrap())
        );
        for bad in ["", "0", "70000", "a:80", "80/icmp", "1.2.3:1:2", "8080:"] {
            assert!(port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_are_written_as_for_docker() {
        let volume = |text: &str| text.parse::<Volume>();
        assert_eq!(
            volume("data:/data:ro"),
            Ok(Volume::Bind("data:/data:ro".into()))
        );
        assert_eq!(volume("/a"), Ok(Volume::Anonymous("/a".into())));
        let here = env::current_dir().unwrap();
        assert_eq!(
            volume("./x:/y"),
            Ok(Volume::Bind(format!("{}/x:/y", here.display())))
        );
        for bad in ["", "a", "a:b", ":/x", "a:/b:ro:z"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pool_leaves_out_network_and_broadcast_address() {
        let pool: Pool = "10.147.20.0/24".parse().unwrap();
        assert_eq!(
            (pool.first().to_string(), pool.last().to_string()),
            ("10.147.20.1".into(), "10.147.20.254".into())
        );
        assert_eq!(pool.to_string(), "10.147.20.0/24");
        assert_eq!(
            "10.0.0.0/30".parse::<Pool>().unwrap().last().to_string(),
            "10.0.0.2"
        );
        assert!(
            "10.147.20.1/24"
                .parse::<Pool>()
                .unwrap_err()
                .contains("10.147.20.0/24")
        );
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/31",
            "10.0.0.0/33",
            "x/8",
            "127.0.0.0/8",
            "224.0.0.0/8",
            "0.0.0.0/8",
        ] {
            assert!(bad.parse::<Pool>().is_err(), "{bad}");
        }
    }

    #[test]
    fn restart_policies_and_seconds() {
        assert_eq!("on-failure:3".parse(), Ok(Restart::OnFailure(3)));
        assert_eq!("unless-stopped".parse(), Ok(Restart::UnlessStopped));
        assert!("sometimes".parse::<Restart>().is_err());
        assert_eq!("1.5".parse(), Ok(Seconds(Duration::from_millis(1500))));
        for bad in ["", "-1", "nan", "inf", "1e300"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }

    #[test]
    fn later_variables_win() {
        let file = std::env::temp_dir().join(format!("zt-run-env-{}", std::process::id()));
        fs::write(&file, "# comment\n\nA=1\nB=x=y\nZT_RUN_SURELY_UNSET\n").unwrap();
        let all = environment(&[&file], &["A=2".to_owned()]).unwrap();
        assert_eq!(all, ["B=x=y", "A=2"]);
        fs::write(&file, "A=1\n=2\n").unwrap();
        assert!(
            environment(&[&file], &[])
                .unwrap_err()
                .to_string()
                .contains("line 2")
        );
        fs::remove_file(&file).unwrap();
    }
}
