//! `identity.secret` and `identity.public`: who this node is, for good.

use std::path::Path;

use getrandom::SysRng;
use zt_protocol::SecretIdentity;
use zt_protocol::rand_core::UnwrapErr;

use super::{HomeError, IDENTITY_PUBLIC, IDENTITY_SECRET, file};

const ADVICE: &str =
    "restore it from a backup, or move it away to get a new identity with another address";

/// The identity of this home; a new one when the home has none.
///
/// An identity that does not check out is never replaced: it may be the only copy of a node's
/// address, and the damage may be elsewhere.
pub fn load_or_generate(home: &Path) -> Result<SecretIdentity, HomeError> {
    let path = home.join(IDENTITY_SECRET);
    let identity = match file::read_if_present(&path)? {
        Some(content) => parse(&content).map_err(|problem| HomeError::Corrupt {
            path: path.clone(),
            problem: problem.into(),
            advice: ADVICE,
        })?,
        None => {
            let identity = SecretIdentity::generate(&mut UnwrapErr(SysRng));
            file::store(&path, identity.to_secret_text().as_bytes(), 0o600)?;
            identity
        }
    };
    // The public file is a copy for people and scripts: it follows the secret one.
    let public = identity.public().to_string();
    let path = home.join(IDENTITY_PUBLIC);
    let known = file::read_if_present(&path)?;
    if known.is_none_or(|known| known.trim_ascii() != public.as_bytes()) {
        file::store(&path, public.as_bytes(), 0o644)?;
    }
    Ok(identity)
}

fn parse(content: &[u8]) -> Result<SecretIdentity, &'static str> {
    let text = std::str::from_utf8(content).map_err(|_| "is not text")?;
    if text.trim().is_empty() {
        return Err("is empty");
    }
    let identity: SecretIdentity = text
        .parse()
        .map_err(|_| "is not an identity with its private key")?;
    // Both the pair of keys and the proof of work (VL1 §1.3, §1.4).
    if identity.validate() {
        Ok(identity)
    } else {
        Err("holds an identity that fails validation")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Making an identity takes long in a debug build.
    const MADE: &str = include_str!("../../tests/recorded/identity.secret");

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let home = tempfile::tempdir().unwrap();
        let first = load_or_generate(home.path()).unwrap();
        let again = load_or_generate(home.path()).unwrap();
        assert_eq!(first.public(), again.public());
        let mode = fs::metadata(home.path().join(IDENTITY_SECRET))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let public = fs::read_to_string(home.path().join(IDENTITY_PUBLIC)).unwrap();
        assert_eq!(public, first.public().to_string());
    }

    #[test]
    fn a_public_file_that_disagrees_is_rewritten() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(IDENTITY_SECRET), MADE).unwrap();
        fs::write(home.path().join(IDENTITY_PUBLIC), "other").unwrap();
        let identity = load_or_generate(home.path()).unwrap();
        let public = fs::read_to_string(home.path().join(IDENTITY_PUBLIC)).unwrap();
        assert_eq!(public, identity.public().to_string());
    }

    #[test]
    fn a_damaged_identity_is_named_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(IDENTITY_SECRET);
        let text = MADE.to_owned();
        let public = &text[..text.rfind(':').unwrap()];
        let flipped = {
            // The last digit of the private key: the pair does not fit any more.
            let last = if text.ends_with('0') { '1' } else { '0' };
            format!("{}{last}", &text[..text.len() - 1])
        };
        let cases = [
            ("", "is empty"),
            ("hello", "is not an identity with its private key"),
            (public, "is not an identity with its private key"),
            (&text[..200], "is not an identity with its private key"),
            (&flipped, "fails validation"),
        ];
        for (content, expected) in cases {
            fs::write(&path, content).unwrap();
            let error = load_or_generate(home.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains("identity.secret"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(
            load_or_generate(home.path())
                .unwrap_err()
                .to_string()
                .contains("is not text")
        );
    }
}
