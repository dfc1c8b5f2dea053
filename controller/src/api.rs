//! The `/controller` part of the control API as a pure function (VL2 §5.7).
//!
//! A request either takes effect whole or is refused with the name of the field at fault.

use serde_json::{Map, Value, json};
use zt_protocol::{Address, NetworkId, Time};

use crate::controller::{Controller, Hosted, Refused};

/// API version that the original of this protocol version reports.
const API_VERSION: u32 = 4;

/// What a request does to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Show.
    Get,
    /// Create or change.
    Post,
    /// The same as [`Post`](Self::Post).
    Put,
    /// Remove.
    Delete,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// JSON body; `None` is an empty body.
    pub body: Option<Value>,
}

impl Response {
    fn ok(body: Value) -> Self {
        Self {
            status: 200,
            body: Some(body),
        }
    }

    fn not_found() -> Self {
        Self {
            status: 404,
            body: None,
        }
    }

    fn bad_request(description: impl ToString) -> Self {
        let body = json!({ "error": 400, "description": description.to_string() });
        Self {
            status: 400,
            body: Some(body),
        }
    }
}

impl Controller {
    /// Serves one request below `/controller` or `/unstable/controller`. `path` is without query.
    pub fn api(&mut self, now: Time, method: Method, path: &str, body: Option<&Value>) -> Response {
        let empty = Value::Object(Map::new());
        let body = body.filter(|body| !body.is_null()).unwrap_or(&empty);
        if !body.is_object() {
            return Response::bad_request("a JSON object expected");
        }
        let segments: Vec<_> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        let get = method == Method::Get;
        let write = matches!(method, Method::Post | Method::Put);
        match segments.as_slice() {
            ["controller"] if get => Response::ok(json!({
                "controller": true,
                "apiVersion": API_VERSION,
                "clock": now.0,
                "databaseReady": true,
            })),
            ["controller", "network"] if get => {
                let ids: Value = self
                    .networks()
                    .map(|hosted| hosted.network.id.to_string())
                    .collect();
                Response::ok(ids)
            }
            ["controller", "network"] if write => self.create_network(now, body),
            ["controller", "network", id] => match id.strip_suffix("______") {
                Some(address) if write => match address.parse() {
                    Ok(address) if self.address() == address => self.create_network(now, body),
                    _ => Response::bad_request("not the address of this controller"),
                },
                _ => match id.parse() {
                    Ok(id) => self.network_request(now, method, id, body),
                    Err(_) => Response::not_found(),
                },
            },
            ["controller", "network", id, "member"] if get => match self.hosted_by(id) {
                Some(hosted) => {
                    let members = hosted.members.values();
                    let revisions = members.map(|m| (m.address.to_string(), json!(m.revision)));
                    Response::ok(revisions.collect::<Map<_, _>>().into())
                }
                None => Response::not_found(),
            },
            ["controller", "network", id, "member", address] => match (id.parse(), address.parse())
            {
                (Ok(id), Ok(address)) => self.member_request(now, method, id, address, body),
                _ => Response::not_found(),
            },
            ["unstable", "controller", "network"] if get => Response::ok(self.network_table()),
            ["unstable", "controller", "network", id, "member"] if get => {
                match self.hosted_by(id) {
                    Some(hosted) => Response::ok(member_table(hosted)),
                    None => Response::not_found(),
                }
            }
            _ => Response::not_found(),
        }
    }

    fn hosted_by(&self, id: &str) -> Option<&Hosted> {
        self.hosted(id.parse().ok()?)
    }

    fn create_network(&mut self, now: Time, body: &Value) -> Response {
        let id = self.unused_network_id();
        self.network_request(now, Method::Post, id, body)
    }

    fn network_request(
        &mut self,
        now: Time,
        method: Method,
        id: NetworkId,
        body: &Value,
    ) -> Response {
        match method {
            Method::Get => {}
            Method::Post | Method::Put => {
                if let Err(refused) = self.put_network(now, id, body) {
                    return refused.into();
                }
            }
            Method::Delete => {
                return self
                    .delete_network(now, id)
                    .map_or_else(Response::not_found, Response::ok);
            }
        }
        let hosted = self.hosted(id);
        hosted.map_or_else(Response::not_found, |hosted| {
            Response::ok(hosted.network.to_json())
        })
    }

    fn member_request(
        &mut self,
        now: Time,
        method: Method,
        id: NetworkId,
        address: Address,
        body: &Value,
    ) -> Response {
        match method {
            Method::Get => {}
            Method::Post | Method::Put => {
                if let Err(refused) = self.put_member(now, id, address, body) {
                    return refused.into();
                }
            }
            Method::Delete => {
                let deleted = self.delete_member(now, id, address);
                return deleted.map_or_else(Response::not_found, Response::ok);
            }
        }
        let member = self
            .hosted(id)
            .and_then(|hosted| hosted.members.get(&address));
        member.map_or_else(Response::not_found, |member| Response::ok(member.to_json()))
    }

    fn network_table(&self) -> Value {
        let rows: Vec<_> = self
            .networks()
            .map(|hosted| {
                let mut row = hosted.network.to_json();
                let authorized = hosted
                    .members
                    .values()
                    .filter(|member| member.authorized)
                    .count();
                if let Some(row) = row.as_object_mut() {
                    let meta = json!({
                        "authorizedMemberCount": authorized,
                        "totalMemberCount": hosted.members.len(),
                    });
                    row.insert("meta".to_owned(), meta);
                }
                row
            })
            .collect();
        json!({ "meta": { "networkCount": rows.len() }, "data": rows })
    }
}

fn member_table(hosted: &Hosted) -> Value {
    let authorized = hosted
        .members
        .values()
        .filter(|member| member.authorized)
        .count();
    let rows: Vec<_> = hosted
        .members
        .values()
        .map(crate::member::Member::to_json)
        .collect();
    json!({
        "meta": { "authorizedCount": authorized, "totalCount": rows.len() },
        "data": rows,
    })
}

impl From<Refused> for Response {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound => Self::not_found(),
            Refused::Invalid(invalid) => Self::bad_request(invalid),
        }
    }
}
