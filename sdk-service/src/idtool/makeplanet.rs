//! `makeplanet`: a planet file for a ZeroTier universe of one's own.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use zt_protocol::world::Root;
use zt_protocol::{Emit, Identity, World};

use super::{Outcome, read_identity};
use crate::home::{load_planet, new_planet_id, planet_key, write_atomically};

/// `FILE KEY IDENTITY ENDPOINTS [IDENTITY ENDPOINTS]...`
pub(super) fn run(words: &[&str]) -> Result<Outcome, String> {
    let [file, key, roots @ ..] = words else {
        return Err("makeplanet needs FILE KEY IDENTITY ADDRESS/PORT\n".to_owned());
    };
    let (pairs, rest) = roots.as_chunks::<2>();
    if pairs.is_empty() || pairs.len() > 4 || !rest.is_empty() {
        return Err(
            "makeplanet needs one to four roots, each as IDENTITY ADDRESS/PORT[,ADDRESS/PORT]...\n"
                .to_owned(),
        );
    }
    let roots = pairs
        .iter()
        .map(|[identity, endpoints]| root(identity, endpoints))
        .collect::<Result<Vec<_>, _>>()?;

    let path = Path::new(file);
    let readable = |error: crate::home::HomeError| format!("{error}\n");
    // Over an existing planet we write its next revision: same id, later timestamp, same key.
    let previous = load_planet(path).map_err(readable)?;
    let key = planet_key(Path::new(key)).map_err(readable)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let world = match previous {
        Some(previous) if *previous.update_key() != key.public() => {
            return Err(format!(
                "{file} is a planet that another key must sign; choose another file or the right key\n"
            ));
        }
        Some(previous) => World::make_planet(
            &key,
            previous.id(),
            now.max(previous.timestamp() + 1),
            roots,
        ),
        None => World::make_planet(&key, new_planet_id(), now, roots),
    };
    write_atomically(path, &world.to_bytes(), 0o644)
        .map_err(|error| format!("cannot write {file}: {error}\n"))?;
    Ok(Outcome::done(format!(
        "{file} written (planet {:016x} with timestamp {})\n",
        world.id(),
        world.timestamp()
    )))
}

fn root(identity: &str, endpoints: &str) -> Result<Root, String> {
    let identity: Identity = read_identity(identity)?;
    let endpoints = endpoints
        .split(',')
        .map(|text| {
            endpoint(text)
                .ok_or_else(|| format!("\"{text}\" is not an endpoint like 192.0.2.1/9993\n"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if endpoints.len() > 32 {
        return Err("a root has at most 32 endpoints\n".to_owned());
    }
    Ok(Root {
        identity,
        endpoints,
    })
}

fn endpoint(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once('/')?;
    let (ip, port): (IpAddr, u16) = (ip.parse().ok()?, port.parse().ok()?);
    (port != 0).then(|| SocketAddr::new(ip, port))
}
