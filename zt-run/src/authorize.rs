//! Letting a member in at a controller that is not ours, by its control API and token.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::cli::{Run, controller::Token};

/// How long the controller may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any answer that is read here.
const MAX_ANSWER: u64 = 64 * 1024;

/// A controller, and the token that it wants to see.
#[derive(Debug)]
pub(crate) struct Controller {
    address: SocketAddr,
    token: Token,
}

impl Controller {
    /// The one that the options name, if they name one.
    pub(crate) fn chosen(options: &Run) -> Result<Option<Self>> {
        let Some(url) = options.controller else {
            return Ok(None);
        };
        let address = url.0;
        ensure!(
            url.is_private() || options.token_in_clear,
            "the token would go unencrypted to the public address {}: reach the controller by a tunnel \
             (`ssh -L 9993:127.0.0.1:{} HOST`, then --controller http://127.0.0.1:9993), or insist with --token-in-clear",
            address.ip(),
            address.port()
        );
        // What stands on the command line comes before the environment.
        let token = match (&options.token_file, &options.token) {
            (Some(path), _) => Token::read(path)?,
            (None, Some(token)) => token.clone(),
            (None, None) => bail!("the controller wants a token: give --token-file"),
        };
        Ok(Some(Self { address, token }))
    }

    /// Asks it to authorise `member` on `network`.
    pub(crate) async fn authorize(&self, network: &str, member: &str) -> Result<()> {
        let Self { address, token } = self;
        let answer = timeout(
            PATIENCE,
            ask(*address, &request(*address, token, network, member)),
        )
        .await
        .with_context(|| {
            format!(
                "the controller at {address} did not answer within {} s",
                PATIENCE.as_secs()
            )
        })?
        .with_context(|| format!("asking the controller at {address} to authorise {member}"))?;
        match status_of(&answer) {
            Some(200) => Ok(()),
            Some(401 | 403) => bail!(
                "the controller at {address} refuses the token: it is in its authtoken.secret"
            ),
            Some(404) => bail!("the controller at {address} does not have the network {network}"),
            Some(code) => bail!(
                "the controller at {address} answered with code {code} when asked to authorise {member}"
            ),
            None => bail!("what listens at {address} does not speak HTTP"),
        }
    }
}

fn request(address: SocketAddr, token: &Token, network: &str, member: &str) -> String {
    let body = r#"{"authorized":true}"#;
    format!(
        "POST /controller/network/{network}/member/{member} HTTP/1.1\r\nHost: {address}\r\nX-ZT1-Auth: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        token.secret(),
        body.len()
    )
}

async fn ask(address: SocketAddr, request: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?;
    line.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A controller that gives one answer, and the request that it got.
    async fn conversation(answer: &'static str) -> (Result<()>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let controller = Controller {
            address: listener.local_addr().unwrap(),
            token: "secret".parse().unwrap(),
        };
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            request.truncate(length);
            String::from_utf8(request).unwrap()
        });
        let result = controller.authorize("8056c2e21c000001", "89e92ceee5").await;
        (result, server.await.unwrap())
    }

    #[tokio::test]
    async fn the_controller_is_asked_with_the_token() {
        let (result, request) = conversation("HTTP/1.1 200 OK\r\n\r\n{}").await;
        result.unwrap();
        assert!(request.starts_with(
            "POST /controller/network/8056c2e21c000001/member/89e92ceee5 HTTP/1.1\r\n"
        ));
        assert!(request.contains("X-ZT1-Auth: secret\r\n"));
        assert!(request.ends_with("\r\n\r\n{\"authorized\":true}"));
    }

    #[tokio::test]
    async fn a_refused_token_is_said() {
        let (result, _) = conversation("HTTP/1.1 401 Unauthorized\r\n\r\n").await;
        assert!(result.unwrap_err().to_string().contains("authtoken.secret"));
        let (result, _) = conversation("SSH-2.0-x\r\n").await;
        assert!(result.unwrap_err().to_string().contains("HTTP"));
    }
}
