//! A blocking HTTP client, small enough for one request to one service on this machine.
//!
//! It speaks HTTP/1.1 with `Connection: close`, over the Unix socket of the home or over TCP.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::options::Options;

/// An answer that takes longer than this does not come (VL2 §6.5).
const TIMEOUT: Duration = Duration::from_secs(60);

/// More than any answer of a service: an endless one is cut off.
const LONGEST_ANSWER: u64 = 256 << 20;

/// Why a request could not even be made; the texts are those of zerotier-one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Neither a socket nor a port file.
    #[error("missing port and zerotier-one.port not found in {}", home.display())]
    NoPort {
        /// The home that was looked at.
        home: PathBuf,
    },
    /// No token at hand.
    #[error("authtoken.secret not found or readable in {} (try again as root)", home.display())]
    NoToken {
        /// The home that was looked at.
        home: PathBuf,
    },
}

/// Status and body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body as it came.
    pub body: String,
}

/// Something that can carry out a request: the service, or a table in a test.
pub trait Transport {
    /// Sends one request and waits for its answer.
    fn request(&mut self, method: &str, path: &str, body: Option<&str>) -> io::Result<Reply>;
}

/// The way to one service.
#[derive(Debug)]
pub struct Client {
    socket: Option<PathBuf>,
    tcp: Option<(String, u16)>,
    token: String,
}

impl Client {
    /// Finds the service and its token as the options and the home directory say.
    pub fn for_options(options: &Options) -> Result<Self, ClientError> {
        let home = &options.home;
        let socket = home.join(crate::home::API_SOCKET);
        let socket = (options.port.is_none() && socket.exists()).then_some(socket);
        let port = options
            .port
            .or_else(|| read_word(&home.join(crate::home::PORT_FILE))?.parse().ok());
        if socket.is_none() && port.is_none() {
            return Err(ClientError::NoPort { home: home.clone() });
        }
        let token = options
            .token
            .clone()
            .or_else(|| read_word(&home.join(crate::home::TOKEN_FILE)))
            .or_else(|| {
                read_word(&Path::new(&std::env::var_os("HOME")?).join(".zeroTierOneAuthToken"))
            })
            .ok_or_else(|| ClientError::NoToken { home: home.clone() })?;
        Ok(Self {
            socket,
            tcp: port.map(|port| (options.host.clone(), port)),
            token,
        })
    }

    fn exchange(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut failure = None;
        if let Some(path) = &self.socket {
            match UnixStream::connect(path) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(TIMEOUT))?;
                    stream.set_write_timeout(Some(TIMEOUT))?;
                    return converse(stream, request);
                }
                // A socket file that nobody listens on, or one of another user: try the port.
                Err(error) => failure = Some(error),
            }
        }
        if let Some((host, port)) = &self.tcp {
            for address in (host.as_str(), *port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, TIMEOUT) {
                    Ok(stream) => {
                        stream.set_read_timeout(Some(TIMEOUT))?;
                        stream.set_write_timeout(Some(TIMEOUT))?;
                        return converse(stream, request);
                    }
                    Err(error) => failure = Some(error),
                }
            }
        }
        Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }
}

impl Transport for Client {
    fn request(&mut self, method: &str, path: &str, body: Option<&str>) -> io::Result<Reply> {
        // Nothing that a person types may break out of its header line.
        let clean =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !clean(method) || !clean(path) || !clean(&self.token) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "method, path or token with blanks or control characters",
            ));
        }
        let body = body.unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-ZT1-Auth: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        parse_answer(&self.exchange(request.as_bytes())?)
    }
}

fn read_word(path: &Path) -> Option<String> {
    let word = fs::read_to_string(path).ok()?.trim().to_owned();
    (!word.is_empty()).then_some(word)
}

fn converse(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse_answer(answer: &[u8]) -> io::Result<Reply> {
    let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let head_end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| bad("the answer is not HTTP"))?;
    let (head, rest) = answer.split_at(head_end);
    let body = rest.get(4..).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| bad("the answer is not HTTP"))?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| bad("the answer is not HTTP"))?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    let body = match length {
        Some(length) => body
            .get(..length)
            .ok_or_else(|| bad("the answer ends early"))?,
        None => body,
    };
    let body = String::from_utf8(body.to_vec()).map_err(|_| bad("the answer is not UTF-8"))?;
    Ok(Reply { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_by_its_length() {
        let reply =
            parse_answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}rest").unwrap();
        assert_eq!(
            reply,
            Reply {
                status: 404,
                body: "{}".into()
            }
        );
        assert_eq!(
            parse_answer(b"HTTP/1.0 200\r\n\r\nall").unwrap(),
            Reply {
                status: 200,
                body: "all".into()
            }
        );
    }

    #[test]
    fn anything_else_is_an_error() {
        for bad in [
            &b""[..],
            b"hello",
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        ] {
            assert!(
                parse_answer(bad).is_err(),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
    }

    #[test]
    fn a_path_cannot_smuggle_a_header() {
        let mut client = Client {
            socket: None,
            tcp: None,
            token: "t".into(),
        };
        let error = client
            .request("GET", "/status HTTP/1.1\r\nX: y", None)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
