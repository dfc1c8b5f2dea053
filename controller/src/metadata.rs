//! What a configuration request says about the node that makes it (VL2 §2.1).

use zt_protocol::Dictionary;

use crate::member::Version;

/// The parts of a request's metadata that a controller acts on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Rules engine revision; 0 if the node has none.
    pub(crate) rules_revision: u64,
    pub(crate) version: Option<Version>,
    /// A secret that may open the network.
    pub(crate) token: Option<String>,
}

impl Metadata {
    /// Reads a metadata dictionary; what is missing or unreadable is unknown.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let dictionary = Dictionary::parse(text);
        let number = |key| dictionary.integer(key).and_then(|n| u32::try_from(n).ok());
        let version = || {
            Some(Version {
                major: number("majv")?,
                minor: number("minv")?,
                revision: number("revv")?,
                protocol: number("pv")?,
            })
        };
        let token = dictionary.text("a");
        Self {
            rules_revision: dictionary.integer("revr").unwrap_or(0),
            version: version(),
            token: token.and_then(|text| text.strip_prefix("token:").map(str::to_owned)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_rules_and_token_are_found() {
        let text = b"v=7\npv=c\nmajv=1\nminv=e\nrevv=1\nrevr=1\na=token:open sesame";
        let metadata = Metadata::parse(text);
        let version = Version {
            major: 1,
            minor: 14,
            revision: 1,
            protocol: 12,
        };
        assert_eq!(metadata.version, Some(version));
        assert_eq!(metadata.rules_revision, 1);
        assert_eq!(metadata.token.as_deref(), Some("open sesame"));
        assert_eq!(Metadata::parse(b"\xff=\0"), Metadata::default());
    }
}
