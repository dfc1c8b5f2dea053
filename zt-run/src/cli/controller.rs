//! How to reach a controller that is not ours: the address of its control API, and the token that it wants to see.

use std::{
    fmt, fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::Path,
    str::FromStr,
};

use anyhow::{Context, Result};

/// The port where a service's control API usually is.
const PORT: u16 = 9993;

/// `--controller`: plain HTTP, as the control API speaks it, at a literal address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ControllerUrl(pub SocketAddr);

impl ControllerUrl {
    /// True for addresses of this machine and of networks that are somebody's own, where a token in clear is not for all to
    /// read.
    pub(crate) fn is_private(self) -> bool {
        match self.0.ip().to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
        }
    }
}

impl FromStr for ControllerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || "write it as http://ADDRESS:PORT".to_owned();
        let authority = text.strip_prefix("http://").ok_or_else(usage)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if let Ok(address) = authority.parse() {
            return Ok(Self(address));
        }
        let v6 = authority
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let ip = match v6 {
            Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            None => authority.parse().ok().filter(IpAddr::is_ipv4),
        };
        if let Some(ip) = ip {
            return Ok(Self((ip, PORT).into()));
        }
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        let is_name = host.contains(|c: char| c.is_ascii_alphabetic())
            && host
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
        Err(if is_name {
            format!(
                "`{host}` is a name, and zt-run, a static program, does not look names up: \
                 write its address, for example http://127.0.0.1:{PORT}"
            )
        } else {
            usage()
        })
    }
}

/// The secret that lets one use a control API.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// Reads it from a file, where it stands alone.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let reading = || format!("reading the token in {}", path.display());
        let text = fs::read_to_string(path).with_context(reading)?;
        text.trim()
            .parse()
            .map_err(anyhow::Error::msg)
            .with_context(reading)
    }

    /// The secret itself, to be sent.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // It becomes a line of HTTP.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the token must be one word of ASCII characters".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<String, String> {
        text.parse::<ControllerUrl>().map(|url| url.0.to_string())
    }

    #[test]
    fn a_controller_has_the_usual_port() {
        for (text, address) in [
            ("http://10.0.0.1/", "10.0.0.1:9993"),
            ("http://10.0.0.1:80", "10.0.0.1:80"),
            ("http://[fd00::1]", "[fd00::1]:9993"),
            ("http://[fd00::1]:80/", "[fd00::1]:80"),
        ] {
            assert_eq!(url(text).as_deref(), Ok(address), "{text}");
        }
        for bad in [
            "10.0.0.1",
            "https://10.0.0.1",
            "http://",
            "http://10.0.0.1/b",
            "http://u@10.0.0.1",
            "http://10.0.0.1:70000",
            "http://fd00::1",
        ] {
            assert!(url(bad).unwrap_err().contains("ADDRESS:PORT"), "{bad}");
        }
    }

    #[test]
    fn a_name_is_refused_with_the_reason() {
        for text in ["http://localhost", "http://my.host:9993/"] {
            assert!(url(text).unwrap_err().contains("is a name"), "{text}");
        }
    }

    #[test]
    fn networks_of_ones_own_are_told_from_public_ones() {
        let is_private =
            |ip: &str| ControllerUrl((ip.parse::<IpAddr>().unwrap(), 9993).into()).is_private();
        for own in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(own), "{own}");
        }
        for public in ["8.8.8.8", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!is_private(public), "{public}");
        }
    }

    #[test]
    fn a_token_is_read_without_its_line_end_and_never_printed() {
        let file = std::env::temp_dir().join(format!("zt-run-token-{}", std::process::id()));
        fs::write(&file, "s3cret\n").unwrap();
        let token = Token::read(&file).unwrap();
        assert_eq!(token.secret(), "s3cret");
        assert_eq!(format!("{token:?}"), "[secret]");
        for bad in ["", "two words", "a\r\nb"] {
            fs::write(&file, bad).unwrap();
            let error = format!("{:#}", Token::read(&file).unwrap_err());
            assert!(error.contains("one word"), "{bad:?}: {error}");
        }
        fs::remove_file(&file).unwrap();
        assert!(Token::read(&file).is_err());
    }
}
