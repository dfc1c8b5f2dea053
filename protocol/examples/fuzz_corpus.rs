//! Writes the seed corpora of the fuzz targets from the recorded session:
//! `cargo run -p zt-protocol --example fuzz_corpus`. Needs the shared vectors.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use support::Session;
use zt_protocol::network_config::{Added, Assembly};
use zt_protocol::packet::{self, HEADER_LEN, MAX_BODY, decompress};
use zt_protocol::verb::{ConfigChunk, NetworkCredentials, Reply};
use zt_protocol::{Emit, NetworkConfig, Verb, World};

/// Enough of each kind to show the fuzzer the shapes.
const SEEDS_PER_KIND: usize = 2;

fn main() -> std::io::Result<()> {
    let mut corpus = Corpus::default();
    let mut session = Session::load();
    for packet in session.reassemble() {
        let mut bytes = packet.bytes;
        let header = packet::Header::parse(&bytes).expect("a recorded packet has a header");
        let keys = session.keys(header.destination, header.source);
        let opened = packet::open(&keys, &mut bytes).expect("a recorded packet opens");
        // The seed begins with the verb byte, whose flag tells whether the rest is compressed.
        let mut kind = opened.verb.to_string();
        let mut body = bytes[HEADER_LEN..].to_vec();
        if opened.compressed {
            kind += "_lz4";
            let mut whole = vec![0; MAX_BODY];
            let length = decompress(&body, &mut whole).expect("a recorded body decompresses");
            body = whole[..length].to_vec();
        }
        if let (Verb::OK, Ok(reply)) = (opened.verb, Reply::parse(&body)) {
            kind = format!("{kind}_{}", reply.verb);
            if reply.verb == Verb::NETWORK_CONFIG_REQUEST {
                add_config(&mut corpus, reply.payload)?;
            }
        }
        corpus.add("packet", &kind, &bytes[HEADER_LEN - 1..])?;
        match opened.verb {
            Verb::NETWORK_CONFIG => add_config(&mut corpus, &body)?,
            Verb::NETWORK_CREDENTIALS => add_credentials(&mut corpus, &body)?,
            _ => {}
        }
    }
    for identity in session.identities.values() {
        corpus.add("identity", "binary", &identity.public().to_bytes())?;
        corpus.add("identity", "text", identity.public().to_string().as_bytes())?;
    }
    corpus.add("world", "planet", &World::default_planet().to_bytes())?;
    corpus.add(
        "world",
        "planet",
        &support::read("zerotier-one-1.14.1/planet"),
    )
}

fn add_config(corpus: &mut Corpus, payload: &[u8]) -> std::io::Result<()> {
    let chunk = ConfigChunk::parse(payload).expect("a recorded chunk parses");
    let Ok(Added::Complete(text)) = Assembly::default().add(&chunk) else {
        return Ok(());
    };
    NetworkConfig::parse(&text).expect("a recorded configuration parses");
    corpus.add("network_config", "config", &text)?;
    corpus.add("dictionary", "config", &text)
}

fn add_credentials(corpus: &mut Corpus, body: &[u8]) -> std::io::Result<()> {
    let all = NetworkCredentials::parse(body).expect("recorded credentials parse");
    let tagged = |kind: u8, bytes: Vec<u8>| [vec![kind], bytes].concat();
    for certificate in &all.memberships {
        corpus.add(
            "credentials",
            "membership",
            &tagged(0, certificate.to_bytes()),
        )?;
    }
    for certificate in &all.ownerships {
        corpus.add(
            "credentials",
            "ownership",
            &tagged(3, certificate.to_bytes()),
        )?;
    }
    for revocation in &all.revocations {
        corpus.add(
            "credentials",
            "revocation",
            &tagged(4, revocation.to_bytes()),
        )?;
    }
    Ok(())
}

/// The seeds written so far, counted by target and kind.
#[derive(Default)]
struct Corpus(HashMap<String, usize>);

impl Corpus {
    fn add(&mut self, target: &str, kind: &str, seed: &[u8]) -> std::io::Result<()> {
        let count = self.0.entry(format!("{target}/{kind}")).or_default();
        if *count == SEEDS_PER_KIND {
            return Ok(());
        }
        let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/corpus")
            .join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(
            folder.join(format!("{}_{count}", kind.to_lowercase())),
            seed,
        )?;
        *count += 1;
        Ok(())
    }
}
