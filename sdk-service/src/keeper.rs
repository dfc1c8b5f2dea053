//! Writes what must survive, and does not give up: a full disk delays a file, it loses none.
//!
//! The newest wanted state of every file is held until it is on disk. Nothing is queued beyond
//! that, so a disk that stays full costs memory for one content a file and no more.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{error, info};

use crate::home::{remove_if_present, write_atomically};

/// How soon a write that failed is tried again.
pub const RETRY: Duration = Duration::from_secs(1);

/// What a file should be.
#[derive(Debug)]
enum Wanted {
    Content { bytes: Vec<u8>, mode: u32 },
    Absent,
}

/// The files that still differ from what is wanted.
#[derive(Debug, Default)]
pub struct Keeper {
    pending: RefCell<BTreeMap<PathBuf, Wanted>>,
    failed: Notify,
}

impl Keeper {
    /// Makes this the content of the file, now or as soon as the disk takes it. The directory is
    /// created if need be.
    pub fn store(&self, path: &Path, bytes: Vec<u8>, mode: u32) {
        self.want(path, Wanted::Content { bytes, mode });
    }

    /// Removes the file.
    pub fn remove(&self, path: &Path) {
        self.want(path, Wanted::Absent);
    }

    /// Removes the file, and directories above it that this leaves empty, up to but without `top`.
    pub fn remove_below(&self, path: &Path, top: &Path) {
        self.remove(path);
        for directory in path
            .ancestors()
            .skip(1)
            .take_while(|directory| directory.starts_with(top) && *directory != top)
        {
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
    }

    /// Sleeps until a write fails, then tries until it works, and so on for ever.
    pub async fn persist(&self) {
        loop {
            self.failed.notified().await;
            while !self.retry() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Tries again what failed; `true` when nothing is left to do.
    pub fn retry(&self) -> bool {
        let mut pending = self.pending.borrow_mut();
        pending.retain(|path, wanted| match bring_about(path, wanted) {
            Ok(()) => {
                info!(file = %path.display(), "written at last");
                false
            }
            Err(_) => true,
        });
        pending.is_empty()
    }

    /// Whether everything wanted is on disk.
    pub fn is_idle(&self) -> bool {
        self.pending.borrow_mut().is_empty()
    }

    fn want(&self, path: &Path, wanted: Wanted) {
        let mut pending = self.pending.borrow_mut();
        match bring_about(path, &wanted) {
            Ok(()) => {
                pending.remove(path);
            }
            Err(error) => {
                // Once per file: the retries are silent.
                if pending.insert(path.to_owned(), wanted).is_none() {
                    error!(file = %path.display(), %error, "cannot write, kept in memory and tried again until it works");
                }
                self.failed.notify_one();
            }
        }
    }
}

fn bring_about(path: &Path, wanted: &Wanted) -> io::Result<()> {
    match wanted {
        Wanted::Absent => remove_if_present(path),
        Wanted::Content { bytes, mode } => {
            // An unchanged file is not written again: VL2 §7.1.
            if fs::read(path).is_ok_and(|present| present == *bytes) {
                return Ok(());
            }
            match write_atomically(path, bytes, *mode) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(directory) = path.parent() {
                        fs::create_dir_all(directory)?;
                    }
                    write_atomically(path, bytes, *mode)
                }
                other => other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_and_go_with_their_files() {
        let home = tempfile::tempdir().unwrap();
        let keeper = Keeper::default();
        let network = home.path().join("network/1122334455667788.json");
        let member = home
            .path()
            .join("network/1122334455667788/member/aabbccddee.json");
        keeper.store(&network, b"{}".to_vec(), 0o600);
        keeper.store(&member, b"{}".to_vec(), 0o600);
        assert!(keeper.is_idle());
        keeper.remove_below(&member, home.path());
        assert!(!home.path().join("network/1122334455667788").exists());
        assert!(network.exists());
        keeper.remove_below(&network, home.path());
        assert!(!home.path().join("network").exists());
        assert!(home.path().exists());
    }

    #[test]
    fn what_cannot_be_written_is_kept_in_its_newest_state_until_it_can() {
        let home = tempfile::tempdir().unwrap();
        let keeper = Keeper::default();
        let path = home.path().join("networks.d/8056c2e21c000001.conf");
        // A file where the directory should be stands for any refusal.
        fs::write(home.path().join("networks.d"), b"").unwrap();
        keeper.store(&path, b"old".to_vec(), 0o600);
        keeper.store(&path, b"new".to_vec(), 0o600);
        assert!(!keeper.retry());
        fs::remove_file(home.path().join("networks.d")).unwrap();
        assert!(keeper.retry());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn an_unchanged_file_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let keeper = Keeper::default();
        let path = home.path().join("planet");
        keeper.store(&path, b"world".to_vec(), 0o644);
        let before = fs::metadata(&path).unwrap();
        keeper.store(&path, b"world".to_vec(), 0o644);
        let after = fs::metadata(&path).unwrap();
        assert_eq!(
            std::os::unix::fs::MetadataExt::ino(&before),
            std::os::unix::fs::MetadataExt::ino(&after)
        );
    }
}
