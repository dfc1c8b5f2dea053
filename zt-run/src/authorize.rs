//! Letting a member in at a controller that is not ours, by its control API and token.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::cli::values::ControllerUrl;

/// How long the controller may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any answer that is read here.
const MAX_ANSWER: u64 = 64 * 1024;

/// Asks the controller at `url` to authorise `member` on `network`.
pub(crate) async fn authorize(
    url: &ControllerUrl,
    token: &str,
    network: &str,
    member: &str,
) -> Result<()> {
    anyhow::ensure!(
        token.bytes().all(|byte| byte.is_ascii_graphic()),
        "the token must be one word of ASCII characters"
    );
    let answer = timeout(
        PATIENCE,
        ask(
            &url.authority,
            &request(&url.authority, token, network, member),
        ),
    )
    .await
    .with_context(|| {
        format!(
            "the controller at {} did not answer within {} s",
            url.authority,
            PATIENCE.as_secs()
        )
    })?
    .with_context(|| {
        format!(
            "asking the controller at {} to authorise {member}",
            url.authority
        )
    })?;
    match status_of(&answer) {
        Some(200) => Ok(()),
        Some(401 | 403) => bail!(
            "the controller at {} refuses the token: it is in its authtoken.secret",
            url.authority
        ),
        Some(404) => bail!(
            "the controller at {} does not have the network {network}",
            url.authority
        ),
        Some(code) => bail!(
            "the controller at {} answered with code {code} when asked to authorise {member}",
            url.authority
        ),
        None => bail!("what listens at {} does not speak HTTP", url.authority),
    }
}

fn request(authority: &str, token: &str, network: &str, member: &str) -> String {
    let body = r#"{"authorized":true}"#;
    format!(
        "POST /controller/network/{network}/member/{member} HTTP/1.1\r\nHost: {authority}\r\nX-ZT1-Auth: {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn ask(authority: &str, request: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(authority).await?;
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
        let url = ControllerUrl {
            authority: listener.local_addr().unwrap().to_string(),
        };
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            request.truncate(length);
            String::from_utf8(request).unwrap()
        });
        let result = authorize(&url, "secret", "8056c2e21c000001", "89e92ceee5").await;
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
