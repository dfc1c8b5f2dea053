//! `controller.d`: the records of the networks that this node controls (VL2 §5.1).
//!
//! What a record means is the controller's business, which is asked before anything starts; here
//! it is one JSON object a file, under a key that is the file's path without `.json`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zt_controller::Records;

use super::{HomeError, file};

const ADVICE: &str = "restore it from a backup, or move it away to go on without this record";

/// Every record below this directory. A file that is not such a record is an error, because a
/// controller that forgets a network in silence locks its members out, and one that forgets a
/// member writes a new record over the old.
pub fn records(directory: &Path) -> Result<Records, HomeError> {
    Records::read(files(directory)?).map_err(|unreadable| HomeError::Corrupt {
        path: directory.join(format!("{}.json", unreadable.key)),
        problem: format!("is not a record of the controller: {}", unreadable.reason),
        advice: ADVICE,
    })
}

/// The content of every file with its key: `network/<id>` or `network/<id>/member/<address>`.
fn files(directory: &Path) -> Result<Vec<(String, Value)>, HomeError> {
    let mut records = Vec::new();
    let networks = directory.join("network");
    for network in identifiers(&networks, 16, ".json")? {
        records.push(record(directory, format!("network/{network}"), &network)?);
    }
    for network in identifiers(&networks, 16, "")? {
        for member in identifiers(&networks.join(&network).join("member"), 10, ".json")? {
            records.push(record(
                directory,
                format!("network/{network}/member/{member}"),
                &member,
            )?);
        }
    }
    Ok(records)
}

/// The file of a record, or `None` for a key that is none: keys never lead out of the directory.
pub fn record_path(directory: &Path, key: &str) -> Option<PathBuf> {
    let valid = match key.split('/').collect::<Vec<_>>().as_slice() {
        ["network", network] => is_identifier(network, 16),
        ["network", network, "member", member] => {
            is_identifier(network, 16) && is_identifier(member, 10)
        }
        _ => false,
    };
    valid.then(|| directory.join(format!("{key}.json")))
}

fn record(directory: &Path, key: String, id: &str) -> Result<(String, Value), HomeError> {
    let path = directory.join(format!("{key}.json"));
    let content = file::read_if_present(&path)?.unwrap_or_default();
    let corrupt = |problem: String| HomeError::Corrupt {
        path: path.clone(),
        problem,
        advice: ADVICE,
    };
    let value: Value = serde_json::from_slice(&content)
        .map_err(|error| corrupt(format!("is not JSON: {error}")))?;
    if value.get("id").and_then(Value::as_str) != Some(id) {
        return Err(corrupt(format!("is not the record of {id}")));
    }
    Ok((key, value))
}

/// Names in a directory that are this many hexadecimal digits and the suffix, sorted.
fn identifiers(directory: &Path, digits: usize, suffix: &str) -> Result<Vec<String>, HomeError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(HomeError::io("read", directory)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(HomeError::io("read", directory))?.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(suffix))
            .filter(|id| is_identifier(id, digits));
        found.extend(id.map(str::to_owned));
    }
    found.sort();
    Ok(found)
}

fn is_identifier(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NETWORK: &str = "network/1122334455667788";
    const MEMBER: &str = "network/1122334455667788/member/aabbccddee";

    fn put(directory: &Path, key: &str, content: &str) {
        let path = record_path(directory, key).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn records_come_back_by_key_and_foreign_files_are_left_out() {
        let home = tempfile::tempdir().unwrap();
        assert!(files(home.path()).unwrap().is_empty());
        put(home.path(), NETWORK, r#"{"id":"1122334455667788"}"#);
        put(home.path(), MEMBER, r#"{"id":"aabbccddee"}"#);
        fs::write(home.path().join("network/README"), "x").unwrap();
        fs::write(
            home.path().join("network/.1122334455667788.json.1.new"),
            "half",
        )
        .unwrap();
        assert_eq!(
            files(home.path()).unwrap(),
            [
                (NETWORK.to_owned(), json!({"id": "1122334455667788"})),
                (MEMBER.to_owned(), json!({"id": "aabbccddee"})),
            ]
        );
    }

    #[test]
    fn a_damaged_record_is_named() {
        let home = tempfile::tempdir().unwrap();
        put(home.path(), NETWORK, r#"{"id":"1122334455667788"}"#);
        for (content, expected) in [
            ("", "is not JSON"),
            ("{", "is not JSON"),
            ("{}", "is not the record of aabbccddee"),
            (
                r#"{"id":"aabbccddee","identity":"x"}"#,
                "is not a record of the controller: identity: no identity",
            ),
        ] {
            put(home.path(), MEMBER, content);
            let error = records(home.path()).unwrap_err().to_string();
            assert!(error.contains("member/aabbccddee.json"), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_key_cannot_lead_elsewhere() {
        for key in [
            "",
            "network",
            "network/../planet",
            "network/112233445566778G",
            "x/1122334455667788",
            "network/1122334455667788/member/..",
            "network/1122334455667788/member/aabbccddee/x",
        ] {
            assert!(record_path(Path::new("/d"), key).is_none(), "{key}");
        }
    }
}
