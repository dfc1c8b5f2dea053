//! The sidecar image: made here from the carried binaries, loaded into the engine when it lacks it, and found again by a tag
//! that is the digest of its content.

pub(crate) mod hybrid;

use anyhow::{Context, Result, bail};
use bollard::{
    Docker, body_full,
    query_parameters::{ImportImageOptionsBuilder, TagImageOptionsBuilder},
};
use futures_util::StreamExt;
use serde_json::json;

use crate::{
    engine::{is_missing, said},
    names,
    payload::Payload,
};
use hybrid::{Entry, Image};

/// The repository part of the sidecar image's name.
pub(crate) const REPOSITORY: &str = "zt-sidecar";
/// The user and group that the service runs as.
pub(crate) const USER: u32 = 9993;
/// The control tool inside the image.
pub(crate) const CLI: &str = "/usr/bin/zerotier-cli";

/// The sidecar image of a payload.
pub(crate) struct SidecarImage {
    image: Image,
}

impl SidecarImage {
    /// Lays the image out. `architecture` is the engine's, in the terms of OCI (`amd64`).
    pub(crate) fn new(payload: &Payload, architecture: &str) -> Result<Self> {
        let passwd = format!(
            "root:x:0:0::/:/\nzerotier:x:{USER}:{USER}::{}:/\n",
            names::HOME
        );
        let group = format!("root:x:0:\nzerotier:x:{USER}:\n");
        let directory = |path, owner| Entry::Directory {
            path,
            owner,
            mode: 0o755,
        };
        let entries = [
            directory("etc/", 0),
            Entry::File {
                path: "etc/passwd",
                mode: 0o644,
                data: passwd.as_bytes(),
            },
            Entry::File {
                path: "etc/group",
                mode: 0o644,
                data: group.as_bytes(),
            },
            // The owners of the mount points are copied up to fresh volumes, so that a normal user can write there.
            directory("lan/", USER),
            directory("run/", 0),
            directory("run/zt/", USER),
            Entry::File {
                path: "run/zt/libztintercept.so",
                mode: 0o755,
                data: &payload.library,
            },
            Entry::File {
                path: "run/zt/zt-launch",
                mode: 0o755,
                data: &payload.launcher,
            },
            Entry::Directory {
                path: "tmp/",
                owner: 0,
                mode: 0o1777,
            },
            directory("usr/", 0),
            directory("usr/bin/", 0),
            Entry::File {
                path: "usr/bin/zerotier-sdk-service",
                mode: 0o755,
                data: &payload.service,
            },
            Entry::Link {
                path: "usr/bin/zerotier-cli",
                target: "zerotier-sdk-service",
            },
            Entry::Link {
                path: "usr/bin/zerotier-idtool",
                target: "zerotier-sdk-service",
            },
            directory("var/", 0),
            directory("var/lib/", 0),
            Entry::Directory {
                path: "var/lib/zerotier-one/",
                owner: USER,
                mode: 0o700,
            },
        ];
        let second = 1_000_000_000u64;
        let config = json!({
            "User": format!("{USER}:{USER}"),
            "Env": [
                "PATH=/usr/bin",
                format!("ZEROTIER_HOME={}", names::HOME),
                format!("ZT_NC_DIR={}", names::SOCKET_DIR),
            ],
            "Entrypoint": ["/usr/bin/zerotier-sdk-service", names::HOME],
            "WorkingDir": "/",
            "Healthcheck": {
                "Test": ["CMD", CLI, "health"],
                "Interval": 10 * second,
                "Timeout": 5 * second,
                "StartPeriod": 30 * second,
                "Retries": 3,
            },
            "Labels": { "org.opencontainers.image.title": "ZeroTier sidecar", (names::VERSION): env!("CARGO_PKG_VERSION") },
        });
        Ok(Self {
            image: Image::new(architecture, &config, &entries)
                .context("laying out the sidecar image")?,
        })
    }

    /// `zt-sidecar:<version>-<12 hex digits of its content>`.
    pub(crate) fn name(&self) -> String {
        let id = self.image.id();
        let content = id.get(..12).unwrap_or_default();
        format!("{REPOSITORY}:{}-{content}", env!("CARGO_PKG_VERSION"))
    }

    /// Loads the image unless the engine has it, and returns its name.
    pub(crate) async fn ensure(&self, docker: &Docker) -> Result<String> {
        let name = self.name();
        match docker.inspect_image(&name).await {
            Ok(_) => return Ok(name),
            Err(error) if is_missing(&error) => {}
            Err(error) => bail!("looking for the image {name}: {}", said(&error)),
        }
        let archive = self
            .image
            .archive(&[&name])
            .context("writing the sidecar image")?;
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let mut progress =
            std::pin::pin!(docker.import_image(options, body_full(archive.into()), None));
        while let Some(step) = progress.next().await {
            step.map_err(|error| anyhow::anyhow!("loading the image {name}: {}", said(&error)))?;
        }
        Ok(name)
    }

    /// Gives the loaded image one more name.
    pub(crate) async fn tag(&self, docker: &Docker, repository: &str, tag: &str) -> Result<()> {
        let options = TagImageOptionsBuilder::default()
            .repo(repository)
            .tag(tag)
            .build();
        let result = docker.tag_image(&self.name(), Some(options)).await;
        result.map_err(|error| {
            anyhow::anyhow!("naming the image {repository}:{tag}: {}", said(&error))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn payload(service: &'static [u8]) -> Payload {
        Payload {
            service: Cow::Borrowed(service),
            library: Cow::Borrowed(b"library"),
            launcher: Cow::Borrowed(b"launcher"),
        }
    }

    #[test]
    fn the_name_changes_with_the_content_only() {
        let name = |service| {
            SidecarImage::new(&payload(service), "amd64")
                .unwrap()
                .name()
        };
        assert_eq!(name(b"one"), name(b"one"));
        assert_ne!(name(b"one"), name(b"two"));
        assert!(name(b"one").starts_with("zt-sidecar:"));
    }
}
