//! An engine for unit tests: answers each request with what the test says, and keeps what was asked.

use std::sync::{Arc, Mutex};

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// It answers as long as the test's runtime lives.
pub(crate) struct FakeEngine {
    pub docker: Docker,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeEngine {
    /// `answer` gets method and path, as in `GET /v1.47/containers/json?all=true`, and gives status code and body.
    pub(crate) async fn start(
        answer: impl Fn(&str) -> (u16, String) + Send + 'static,
    ) -> FakeEngine {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let asked = requests.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let head = String::from_utf8_lossy(&head);
                let line = head.lines().next().unwrap_or_default();
                let request = line.trim_end_matches(" HTTP/1.1").to_owned();
                let (status, body) = answer(&request);
                asked.lock().unwrap().push(request);
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let docker = Docker::connect_with_http(&url, 10, API_DEFAULT_VERSION).unwrap();
        Self { docker, requests }
    }

    /// What it was asked to remove: the last parts of the paths.
    pub(crate) fn removed(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let paths = requests
            .iter()
            .filter_map(|request| request.strip_prefix("DELETE "));
        paths
            .filter_map(|path| path.split('?').next()?.rsplit('/').next())
            .map(str::to_owned)
            .collect()
    }
}
