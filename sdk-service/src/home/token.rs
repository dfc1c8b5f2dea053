//! `authtoken.secret`: who may read it may command the service.

use std::path::Path;

use super::{HomeError, file};

/// Length and alphabet of zerotier-one's tokens (VL2 §6.1).
const LENGTH: usize = 24;
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// The token in this file; a new one when there is none yet.
pub fn load_or_create(path: &Path) -> Result<String, HomeError> {
    if let Some(content) = file::read_if_present(path)? {
        let token = String::from_utf8_lossy(&content).trim().to_owned();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HomeError::Corrupt {
                path: path.to_owned(),
                problem: "holds no token".into(),
                advice: "write one word into it, or delete it to get a new one",
            });
        }
        return Ok(token);
    }
    let token =
        generate().map_err(|error| HomeError::io("draw randomness for", path)(error.into()))?;
    file::store(path, token.as_bytes(), 0o600)?;
    Ok(token)
}

fn generate() -> Result<String, getrandom::Error> {
    let mut token = String::with_capacity(LENGTH);
    while token.len() < LENGTH {
        let mut byte = [0u8];
        getrandom::fill(&mut byte)?;
        // 252 is the largest multiple of 36: no letter is likelier than another.
        if byte[0] < 252 {
            token.push(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
        }
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("authtoken.secret");
        let token = load_or_create(&path).unwrap();
        assert_eq!(token.len(), LENGTH);
        assert_eq!(load_or_create(&path).unwrap(), token);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn blanks_around_a_token_do_not_count_and_an_empty_file_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("authtoken.secret");
        fs::write(&path, "secret\n").unwrap();
        assert_eq!(load_or_create(&path).unwrap(), "secret");
        fs::write(&path, "\n").unwrap();
        let error = load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("authtoken.secret holds no token"), "{error}");
    }
}
