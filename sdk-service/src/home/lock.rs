//! One service a home: two with one identity would fight for one address.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{HomeError, PID_FILE};

/// Holds the lock; its content is the holder's process id.
const LOCK_FILE: &str = "zerotier-one.lock";

/// The lock on a home; the kernel gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of this home, or says who has it.
    pub fn take(home: &Path) -> Result<Self, HomeError> {
        let path = home.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(HomeError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(HomeError::InUse {
                    path: home.to_owned(),
                    pid: read_pid(&path),
                });
            }
            Err(error) => return Err(HomeError::io("lock", &path)(error.into())),
        }
        // zerotier-one takes no lock but leaves its process id.
        if let Some(pid) = read_pid(&home.join(PID_FILE)).filter(|pid| is_stock(*pid)) {
            return Err(HomeError::InUse {
                path: home.to_owned(),
                pid: Some(pid),
            });
        }
        file.set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(HomeError::io("write", &path))?;
        Ok(Self { _file: file })
    }
}

fn read_pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn is_stock(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "zerotier-one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_in_use_is_refused_by_the_holders_pid_and_free_again_afterwards() {
        let home = tempfile::tempdir().unwrap();
        let first = Lock::take(home.path()).unwrap();
        let error = Lock::take(home.path()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("(pid {})", std::process::id())),
            "{error}"
        );
        drop(first);
        Lock::take(home.path()).unwrap();
    }

    #[test]
    fn a_stale_pid_file_does_not_block_a_home() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(PID_FILE), "1").unwrap();
        Lock::take(home.path()).unwrap();
    }
}
