//! One image as one tar that every engine loads: an OCI layout, plus the `manifest.json` that the classic store wants and
//! the annotations by which the containerd store finds the name. The same input gives the same bytes.

use std::io::{self, Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// One file of a layer.
pub(crate) enum Entry<'a> {
    /// A directory with its owner and mode.
    Directory {
        path: &'a str,
        owner: u32,
        mode: u32,
    },
    /// A regular file that belongs to root.
    File {
        path: &'a str,
        mode: u32,
        data: &'a [u8],
    },
    /// A symbolic link.
    Link { path: &'a str, target: &'a str },
}

/// An image of one layer.
pub(crate) struct Image {
    /// The layer, an uncompressed tar: its digest is its diff id too.
    layer: Vec<u8>,
    /// The configuration, JSON.
    config: Vec<u8>,
}

impl Image {
    /// `config` is the `config` object of an image configuration (user, environment, entry point …).
    pub(crate) fn new(
        architecture: &str,
        config: &Value,
        entries: &[Entry<'_>],
    ) -> io::Result<Self> {
        let layer = layer(entries)?;
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
            "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "zt-run" }],
        });
        Ok(Self {
            layer,
            config: config.to_string().into_bytes(),
        })
    }

    /// The image's id: the digest of its configuration, hex digits only.
    pub(crate) fn id(&self) -> String {
        hex(&Sha256::digest(&self.config))
    }

    /// The tar for `docker load`; the image gets the given `name:tag`s.
    pub(crate) fn archive(&self, names: &[&str]) -> io::Result<Vec<u8>> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &self.config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &self.layer)],
        })
        .to_string()
        .into_bytes();
        let manifests: Vec<Value> = names
            .iter()
            .map(|name| {
                let mut descriptor =
                    descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
                descriptor["annotations"] = json!({
                    "io.containerd.image.name": format!("docker.io/library/{name}"),
                    "org.opencontainers.image.ref.name": name.rsplit(':').next(),
                });
                descriptor
            })
            .collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        });
        let classic = json!([{
            "Config": blob_path(&self.config),
            "RepoTags": names,
            "Layers": [blob_path(&self.layer)],
        }]);

        let mut tar = Builder::new(Vec::with_capacity(self.layer.len() + 16 * 1024));
        append(
            &mut tar,
            EntryType::Regular,
            "oci-layout",
            0o644,
            0,
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        append(
            &mut tar,
            EntryType::Regular,
            "index.json",
            0o644,
            0,
            index.to_string().as_bytes(),
        )?;
        append(
            &mut tar,
            EntryType::Regular,
            "manifest.json",
            0o644,
            0,
            classic.to_string().as_bytes(),
        )?;
        append(&mut tar, EntryType::Directory, "blobs/", 0o755, 0, &[])?;
        append(
            &mut tar,
            EntryType::Directory,
            "blobs/sha256/",
            0o755,
            0,
            &[],
        )?;
        for blob in [&manifest, &self.config, &self.layer] {
            append(
                &mut tar,
                EntryType::Regular,
                &blob_path(blob),
                0o644,
                0,
                blob,
            )?;
        }
        tar.into_inner()
    }
}

fn layer(entries: &[Entry<'_>]) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for entry in entries {
        match entry {
            Entry::Directory { path, owner, mode } => {
                append(&mut tar, EntryType::Directory, path, *mode, *owner, &[])?
            }
            Entry::File { path, mode, data } => {
                append(&mut tar, EntryType::Regular, path, *mode, 0, data)?
            }
            Entry::Link { path, target } => {
                let mut header = header(EntryType::Symlink, 0o777, 0, 0);
                tar.append_link(&mut header, path, target)?;
            }
        }
    }
    tar.into_inner()
}

/// Appends one entry whose owner and group are `owner` and whose time is the epoch.
pub(crate) fn append<W: Write>(
    tar: &mut Builder<W>,
    kind: EntryType,
    path: &str,
    mode: u32,
    owner: u32,
    data: &[u8],
) -> io::Result<()> {
    tar.append_data(
        &mut header(kind, mode, owner, data.len() as u64),
        path,
        data,
    )
}

fn header(kind: EntryType, mode: u32, owner: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.into());
    header.set_gid(owner.into());
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

fn blob_path(blob: &[u8]) -> String {
    format!("blobs/sha256/{}", hex(&Sha256::digest(blob)))
}

fn digest(blob: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(blob)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, io::Read};

    use super::*;

    fn image() -> Image {
        let entries = [
            Entry::Directory {
                path: "run/",
                owner: 0,
                mode: 0o755,
            },
            Entry::Directory {
                path: "run/zt/",
                owner: 9993,
                mode: 0o755,
            },
            Entry::File {
                path: "run/zt/lib.so",
                mode: 0o755,
                data: b"library",
            },
            Entry::Link {
                path: "cli",
                target: "service",
            },
        ];
        Image::new("amd64", &json!({ "User": "9993" }), &entries).unwrap()
    }

    fn files(archive: &[u8]) -> HashMap<String, Vec<u8>> {
        let mut tar = tar::Archive::new(archive);
        tar.entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().to_str().unwrap().to_owned();
                let mut data = Vec::new();
                entry.read_to_end(&mut data).unwrap();
                (path, data)
            })
            .collect()
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let (first, second) = (image(), image());
        assert_eq!(first.id(), second.id());
        assert_eq!(
            first.archive(&["a:1"]).unwrap(),
            second.archive(&["a:1"]).unwrap()
        );
    }

    #[test]
    fn every_digest_names_a_blob_that_is_there() {
        let image = image();
        let files = files(&image.archive(&["zt:1", "zt:2"]).unwrap());
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"]
                .as_str()
                .unwrap()
                .strip_prefix("sha256:")
                .unwrap()
                .to_owned();
            let data = &files[&format!("blobs/sha256/{digest}")];
            assert_eq!(hex(&Sha256::digest(data)), digest);
            assert_eq!(descriptor["size"], data.len());
            data
        };
        assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
        assert_eq!(
            index["manifests"][1]["annotations"]["io.containerd.image.name"],
            "docker.io/library/zt:2"
        );
        let manifest: Value = serde_json::from_slice(blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(blob(&manifest["config"])).unwrap();
        let layer = blob(&manifest["layers"][0]);
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(layer));
        assert_eq!(config["config"]["User"], "9993");
        assert_eq!(
            manifest["config"]["digest"],
            format!("sha256:{}", image.id())
        );
    }

    #[test]
    fn the_classic_manifest_points_at_the_same_blobs() {
        let image = image();
        let files = files(&image.archive(&["zt:1"]).unwrap());
        let classic: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(classic[0]["RepoTags"][0], "zt:1");
        assert_eq!(classic[0]["Config"], format!("blobs/sha256/{}", image.id()));
        assert!(files.contains_key(classic[0]["Layers"][0].as_str().unwrap()));
    }

    #[test]
    fn owners_and_modes_are_in_the_layer() {
        let image = image();
        let mut tar = tar::Archive::new(image.layer.as_slice());
        let entries: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                (
                    entry.path().unwrap().to_str().unwrap().to_owned(),
                    header.uid().unwrap(),
                    header.mode().unwrap(),
                )
            })
            .collect();
        assert_eq!(entries[1], ("run/zt/".to_owned(), 9993, 0o755));
        assert_eq!(entries[2], ("run/zt/lib.so".to_owned(), 0, 0o755));
    }
}
