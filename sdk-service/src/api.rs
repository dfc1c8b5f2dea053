//! The control API: HTTP on loopback at the primary port and on a Unix socket in the home.
//!
//! Paths, status codes and JSON are those of zerotier-one (VL2 §6.1–§6.3), so its tools and
//! scripts work; where stock leaves an answer empty, ours says what was wrong. This room speaks
//! HTTP and knows who may ask; what is asked goes to the [`Shell`].

mod access;
mod metrics;
mod routes;
mod view;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tracing::{debug, warn};

use crate::shell::Shell;

/// Connections at a time on each listener. A stranger on loopback can take these, but not the
/// descriptors that the programs' sockets need.
const CONNECTIONS: usize = 64;
/// A client must have sent its request by then.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest request: a network's rules and capabilities in full are far below.
const LARGEST_BODY: usize = 4 << 20;

/// The sockets that the API listens on.
#[derive(Debug)]
pub struct Listeners {
    tcp: Vec<std::net::TcpListener>,
    unix: Option<std::os::unix::net::UnixListener>,
}

impl Listeners {
    /// Binds the port, or any for 0, on the loopback addresses of both families. A machine without
    /// IPv6 is fine, a port in use is not.
    pub fn bind_port(port: u16) -> io::Result<Self> {
        let v4 = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        v4.set_nonblocking(true)?;
        let port = v4.local_addr()?.port();
        let mut tcp = vec![v4];
        match std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
            Ok(v6) => {
                v6.set_nonblocking(true)?;
                tcp.push(v6);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => debug!(%error, "no control API on ::1"),
        }
        Ok(Self { tcp, unix: None })
    }

    /// The port.
    pub fn port(&self) -> io::Result<u16> {
        self.tcp
            .first()
            .ok_or(io::ErrorKind::NotConnected)?
            .local_addr()
            .map(|address| address.port())
    }

    /// Adds a Unix socket, for the owner of the home only. One that is left over is replaced: the
    /// home's lock says that nobody uses it.
    pub fn bind_socket(&mut self, path: &Path) -> io::Result<()> {
        crate::home::remove_if_present(path)?;
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        self.unix = Some(listener);
        Ok(())
    }
}

/// Serves until the runtime ends. Must run inside a [`tokio::task::LocalSet`].
pub fn serve(listeners: Listeners, shell: &Rc<Shell>) -> io::Result<()> {
    for listener in listeners.tcp {
        let listener = TcpListener::from_std(listener)?;
        spawn_local(accept(Rc::clone(shell), async move || {
            Ok(listener.accept().await?.0)
        }));
    }
    if let Some(listener) = listeners.unix {
        let listener = UnixListener::from_std(listener)?;
        spawn_local(accept(Rc::clone(shell), async move || {
            Ok(listener.accept().await?.0)
        }));
    }
    Ok(())
}

async fn accept<Stream, Next>(shell: Rc<Shell>, next: Next)
where
    Stream: AsyncRead + AsyncWrite + Unpin + 'static,
    Next: AsyncFn() -> io::Result<Stream>,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        match next().await {
            Ok(stream) => {
                let shell = Rc::clone(&shell);
                spawn_local(async move {
                    if let Err(error) = converse(stream, shell).await {
                        debug!(%error, "control connection");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: they come back.
                warn!(%error, "control API cannot accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    shell: Rc<Shell>,
) -> Result<(), hyper::Error> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let shell = Rc::clone(&shell);
        async move { Ok::<_, std::convert::Infallible>(answer(&shell, request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

async fn answer(shell: &Shell, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if !access::allowed(&head, &shell.facts().token) {
        return routes::Answer::json(StatusCode::UNAUTHORIZED, &serde_json::json!({})).into();
    }
    let body =
        tokio::time::timeout(REQUEST_TIMEOUT, Limited::new(body, LARGEST_BODY).collect()).await;
    let answer = match body {
        Ok(Ok(body)) => {
            routes::answer(shell, &head.method, head.uri.path(), &body.to_bytes()).await
        }
        Ok(Err(_)) => routes::Answer::problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request was broken off or has more than 4 MiB",
        ),
        Err(_) => routes::Answer::problem(
            StatusCode::REQUEST_TIMEOUT,
            "the request did not come to its end",
        ),
    };
    answer.into()
}
