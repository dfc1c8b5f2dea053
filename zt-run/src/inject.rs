//! Puts the library into a created container: `/etc/ld.so.preload` is uploaded, merged with what the image has there. No
//! rebuild and no host path is needed, so it works with a remote engine.

use anyhow::Result;
use bollard::{Docker, body_full, query_parameters::UploadToContainerOptionsBuilder};
use tar::{Builder, EntryType};

use crate::{engine::failed, entry, image::hybrid::append, names};

const PRELOAD_FILE: &str = "/etc/ld.so.preload";
/// More than any sensible file has; the rest of a longer one would be lost, so it is refused.
const MAX_PRELOAD_FILE: usize = 64 * 1024;

/// Uploads the merged file.
pub(crate) async fn preload_file(docker: &Docker, container: &str) -> Result<()> {
    let existing = entry::read(docker, container, PRELOAD_FILE, MAX_PRELOAD_FILE)
        .await?
        .unwrap_or_default();
    anyhow::ensure!(
        existing.len() < MAX_PRELOAD_FILE,
        "{PRELOAD_FILE} of the image is too long"
    );
    let mut tar = Builder::new(Vec::new());
    append(
        &mut tar,
        EntryType::Regular,
        "etc/ld.so.preload",
        0o644,
        0,
        merged(&existing).as_bytes(),
    )?;
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    let result = docker
        .upload_to_container(
            container,
            Some(options),
            body_full(tar.into_inner()?.into()),
        )
        .await;
    result.map_err(|error| failed("putting the library into the container", &error))
}

/// The library first, then whatever the image preloads itself. `ld.so` takes blanks and colons as separators.
fn merged(existing: &[u8]) -> String {
    let existing = String::from_utf8_lossy(existing);
    let others = existing.lines().filter(|line| {
        !line
            .split([' ', '\t', ':'])
            .any(|word| word == names::LIBRARY)
    });
    std::iter::once(names::LIBRARY)
        .chain(others)
        .filter(|line| !line.trim().is_empty())
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The value of `LD_PRELOAD` for programs that are reached by the environment.
pub(crate) fn preload_variable(existing: Option<&str>) -> String {
    match existing.map(str::trim).filter(|value| !value.is_empty()) {
        Some(existing)
            if existing
                .split([' ', ':'])
                .any(|word| word == names::LIBRARY) =>
        {
            existing.to_owned()
        }
        Some(existing) => format!("{}:{existing}", names::LIBRARY),
        None => names::LIBRARY.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_image_preloads_is_kept() {
        assert_eq!(merged(b""), "/run/zt/libztintercept.so\n");
        assert_eq!(
            merged(b"/lib/a.so /lib/b.so\n\n/lib/c.so"),
            "/run/zt/libztintercept.so\n/lib/a.so /lib/b.so\n/lib/c.so\n"
        );
        assert_eq!(
            merged(merged(b"/lib/a.so").as_bytes()),
            merged(b"/lib/a.so")
        );
    }

    #[test]
    fn the_variable_is_merged_too() {
        assert_eq!(preload_variable(None), "/run/zt/libztintercept.so");
        assert_eq!(
            preload_variable(Some("/lib/a.so")),
            "/run/zt/libztintercept.so:/lib/a.so"
        );
        assert_eq!(
            preload_variable(Some("/run/zt/libztintercept.so:/a.so")),
            "/run/zt/libztintercept.so:/a.so"
        );
    }
}
