//! Finds the binaries that `zt-run` carries: `ZT_PAYLOAD_DIR` names a directory with a static `zerotier-sdk-service`, a
//! `libztintercept.so` and a static `zt-launch`. Without it the tool builds with an empty payload and says so when a sidecar image is needed.

use std::{env, fs, path::PathBuf};

const PAYLOAD: [&str; 3] = ["zerotier-sdk-service", "libztintercept.so", "zt-launch"];

fn main() {
    println!("cargo:rerun-if-env-changed=ZT_PAYLOAD_DIR");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let dir = env::var_os("ZT_PAYLOAD_DIR").map(PathBuf::from);
    for name in PAYLOAD {
        let bytes = match &dir {
            Some(dir) => {
                let path = dir.join(name);
                println!("cargo:rerun-if-changed={}", path.display());
                fs::read(&path)
                    .unwrap_or_else(|error| panic!("ZT_PAYLOAD_DIR: {}: {error}", path.display()))
            }
            None => Vec::new(),
        };
        fs::write(out.join(name), bytes).unwrap_or_else(|error| panic!("writing {name}: {error}"));
    }
}
