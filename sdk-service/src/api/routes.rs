//! The paths of the control API and what each does (VL2 §6.2, §5.7).

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use zt_protocol::{Address, NetworkId};

use super::{metrics, view};
use crate::home::{HOST_NAME, NetworkSettings};
use crate::shell::{Shell, ShellError};

/// Status and body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Answer {
    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        Self {
            status,
            kind: "application/json",
            body: value.to_string(),
        }
    }

    /// A refusal that a person can read, in the form of stock's errors.
    pub(super) fn problem(status: StatusCode, description: &str) -> Self {
        Self::json(
            status,
            &json!({ "error": status.as_u16(), "description": description }),
        )
    }

    fn ok(value: &Value) -> Self {
        Self::json(StatusCode::OK, value)
    }

    fn not_found(description: &str) -> Self {
        Self::problem(StatusCode::NOT_FOUND, description)
    }
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let mut response = Self::new(Full::new(Bytes::from(answer.body)));
        *response.status_mut() = answer.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(answer.kind));
        response
    }
}

/// Answers one request whose sender may ask.
pub(super) async fn answer(shell: &Shell, method: &Method, path: &str, body: &[u8]) -> Answer {
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    // PUT is POST, everywhere.
    let method = if *method == Method::PUT {
        &Method::POST
    } else {
        method
    };
    match route(shell, method, path, &segments, body).await {
        Ok(answer) => answer,
        Err(error @ ShellError::Stopping(_)) => {
            Answer::problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
        }
        Err(error) => Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn route(
    shell: &Shell,
    method: &Method,
    path: &str,
    segments: &[&str],
    body: &[u8],
) -> Result<Answer, ShellError> {
    const GET: &Method = &Method::GET;
    const POST: &Method = &Method::POST;
    const DELETE: &Method = &Method::DELETE;
    Ok(match (method, segments) {
        (GET, ["status"]) => Answer::ok(&view::status(
            shell.facts(),
            shell.port(),
            &shell.node().await?,
        )),
        (GET, ["health"]) => Answer::ok(&view::health(&shell.node().await?)),
        (GET, ["metrics"]) => {
            let (node, networks, peers) = (
                shell.node().await?,
                shell.networks().await?,
                shell.peers().await?,
            );
            Answer {
                status: StatusCode::OK,
                kind: "text/plain",
                body: metrics::page(&node, &networks, &peers),
            }
        }
        (GET, ["config"]) => Answer::ok(&Value::Object(shell.facts().local_conf.clone())),
        (GET, ["peer"]) => Answer::ok(&shell.peers().await?.iter().map(view::peer).collect()),
        (GET, ["peer", address]) => match address.parse::<Address>() {
            Ok(address) => {
                let peers = shell.peers().await?;
                let found = peers.iter().find(|peer| peer.address == address);
                Answer::ok(&found.map_or_else(|| json!({}), view::peer))
            }
            Err(_) => bad_request(address, "an address: 10 hexadecimal digits"),
        },
        (GET, ["network"]) => {
            let networks = shell.networks().await?;
            Answer::ok(&networks.iter().map(view::network).collect())
        }
        (_, ["network", id]) => match id.parse::<NetworkId>() {
            Ok(id) => network(shell, method, id, body).await?,
            Err(_) => bad_request(
                id,
                "a network id: 16 hexadecimal digits, like 8056c2e21c000001",
            ),
        },
        (GET, ["moon"]) => Answer::ok(&json!([])),
        (GET, ["moon", _]) => Answer::ok(&json!({})),
        (POST | DELETE, ["moon", _]) => Answer::problem(
            StatusCode::NOT_IMPLEMENTED,
            "this service does not orbit moons",
        ),
        (_, ["controller", ..] | ["unstable", "controller", ..]) => {
            controller(shell, method, path, body).await?
        }
        _ => Answer::not_found("there is nothing at this path"),
    })
}

async fn network(
    shell: &Shell,
    method: &Method,
    id: NetworkId,
    body: &[u8],
) -> Result<Answer, ShellError> {
    match *method {
        Method::GET => Ok(match shell.network(id).await? {
            Some(network) => Answer::ok(&view::network(&network)),
            None => Answer::json(StatusCode::NOT_FOUND, &json!({})),
        }),
        Method::POST => {
            let before = shell
                .network(id)
                .await?
                .map_or_else(NetworkSettings::default, |network| network.settings);
            let network = shell.join(id, settings_in(body, before)).await?;
            Ok(Answer::ok(&view::network(&network)))
        }
        Method::DELETE => Ok(Answer::ok(&if shell.leave(id).await? {
            json!({ "result": true })
        } else {
            json!({})
        })),
        _ => Ok(Answer::not_found("there is nothing at this path")),
    }
}

/// The settings after a request: what is no boolean, or no JSON at all, changes nothing.
fn settings_in(body: &[u8], mut settings: NetworkSettings) -> NetworkSettings {
    if let Ok(Value::Object(wanted)) = serde_json::from_slice(body) {
        for (name, value) in &wanted {
            match value {
                Value::Bool(value) => {
                    settings.set(name, *value);
                }
                Value::String(value) if name == HOST_NAME => settings.set_host_name(value),
                _ => {}
            }
        }
    }
    settings
}

async fn controller(
    shell: &Shell,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Result<Answer, ShellError> {
    let body = match body.trim_ascii() {
        [] => None,
        body => match serde_json::from_slice::<Value>(body) {
            Ok(value) => Some(value),
            // Stock answers 500 to malformed JSON.
            Err(error) => {
                let problem = format!("the body is not JSON: {error}");
                return Ok(Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, &problem));
            }
        },
    };
    let method = match *method {
        Method::GET => zt_controller::Method::Get,
        Method::POST => zt_controller::Method::Post,
        Method::DELETE => zt_controller::Method::Delete,
        _ => return Ok(Answer::not_found("there is nothing at this path")),
    };
    let zt_controller::Response {
        status,
        body: value,
    } = shell.controller(method, path.to_owned(), body).await?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(match value {
        Some(value) => Answer::json(status, &value),
        None if status == StatusCode::NOT_FOUND => {
            Answer::not_found("this controller has no such network or member")
        }
        None if status.is_success() => Answer::json(status, &json!({})),
        None => Answer::problem(status, status.canonical_reason().unwrap_or("refused")),
    })
}

fn bad_request(given: &str, expected: &str) -> Answer {
    Answer::problem(
        StatusCode::BAD_REQUEST,
        &format!("\"{given}\" is not {expected}"),
    )
}
