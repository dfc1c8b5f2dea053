//! The binaries that this program carries, so that nothing else is needed on a machine with an engine.

use std::{borrow::Cow, fs, path::Path};

use anyhow::{Context, Result, bail};

const SERVICE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zerotier-sdk-service"));
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libztintercept.so"));
const LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zt-launch"));

/// What goes into the sidecar image.
pub(crate) struct Payload {
    /// The static service, which is `zerotier-cli` and `zerotier-idtool` under those names.
    pub service: Cow<'static, [u8]>,
    /// The preload library, the same file for glibc and musl.
    pub library: Cow<'static, [u8]>,
    /// `zt-launch`, static, for programs that the library cannot reach.
    pub launcher: Cow<'static, [u8]>,
}

impl Payload {
    /// The built-in binaries, or those in `dir` when it is given (`ZT_PAYLOAD_DIR` at run time).
    pub(crate) fn load(dir: Option<&Path>) -> Result<Self> {
        if let Some(dir) = dir {
            let read = |name: &str| {
                let path = dir.join(name);
                fs::read(&path)
                    .map(Cow::Owned)
                    .with_context(|| format!("ZT_PAYLOAD_DIR: reading {}", path.display()))
            };
            return Ok(Self {
                service: read("zerotier-sdk-service")?,
                library: read("libztintercept.so")?,
                launcher: read("zt-launch")?,
            });
        }
        if SERVICE.is_empty() || LIBRARY.is_empty() || LAUNCHER.is_empty() {
            bail!(
                "this zt-run was built without the service, the library and the launcher, so it cannot make the sidecar image\n\
                 build it with `make dist`, or set ZT_PAYLOAD_DIR to a directory with zerotier-sdk-service, libztintercept.so and zt-launch"
            );
        }
        Ok(Self {
            service: Cow::Borrowed(SERVICE),
            library: Cow::Borrowed(LIBRARY),
            launcher: Cow::Borrowed(LAUNCHER),
        })
    }
}
