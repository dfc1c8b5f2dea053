//! The command line of `zerotier-cli`: options anywhere, the rest are words (VL2 §6.5).

use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Print the help and leave with this code: 0 when asked for, 1 for a malformed option.
    Help {
        /// Exit code.
        code: u8,
    },
    /// Print the version.
    Version,
    /// Run a command.
    Run(Options),
}

/// Options and words of one call.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// `-j`
    pub json: bool,
    /// `-D`
    pub home: PathBuf,
    /// `-p`
    pub port: Option<u16>,
    /// `-H`: where the TCP port is, for a service with `allowManagementFrom` (stock only).
    pub host: String,
    /// `-T`
    pub token: Option<String>,
    /// Command and arguments.
    pub words: Vec<String>,
}

/// Reads the arguments after the program's name.
pub fn parse(arguments: &[String]) -> Invocation {
    let mut options = Options {
        json: false,
        home: crate::home::default_directory(),
        port: None,
        host: "127.0.0.1".to_owned(),
        token: None,
        words: Vec::new(),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        // JSON of an `api` call and negative numbers are words, not options.
        let Some(option) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            options.words.push(argument.clone());
            continue;
        };
        let letter = option.chars().next().unwrap_or('h');
        let glued = option.strip_prefix(letter).unwrap_or_default();
        let mut value = || match glued {
            "" => arguments.next().cloned().filter(|next| !next.is_empty()),
            glued => Some(glued.to_owned()),
        };
        match letter {
            'j' if glued.is_empty() => options.json = true,
            'q' => {}
            'v' if glued.is_empty() => return Invocation::Version,
            'D' => match value() {
                Some(home) => options.home = home.into(),
                None => return Invocation::Help { code: 1 },
            },
            'p' => match value()
                .and_then(|port| port.parse().ok())
                .filter(|port| *port != 0)
            {
                Some(port) => options.port = Some(port),
                None => return Invocation::Help { code: 1 },
            },
            'H' => match value() {
                Some(host) => options.host = host,
                None => return Invocation::Help { code: 1 },
            },
            'T' => match value() {
                Some(token) => options.token = Some(token),
                None => return Invocation::Help { code: 1 },
            },
            _ => return Invocation::Help { code: 0 },
        }
    }
    Invocation::Run(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Invocation {
        parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    fn options(line: &str) -> Options {
        match call(line) {
            Invocation::Run(options) => options,
            other => panic!("{line:?} gave {other:?}"),
        }
    }

    #[test]
    fn values_are_taken_glued_or_from_the_next_word() {
        for line in [
            "-D/h -p9 -Tt join x",
            "-D /h -p 9 -T t join x",
            "join -D /h x -p9 -T t",
        ] {
            let options = options(line);
            assert_eq!(options.home, PathBuf::from("/h"), "{line}");
            assert_eq!(options.port, Some(9), "{line}");
            assert_eq!(options.token.as_deref(), Some("t"), "{line}");
            assert_eq!(options.words, ["join", "x"], "{line}");
        }
    }

    #[test]
    fn help_is_a_success_only_when_it_was_asked_for() {
        assert_eq!(call("-h"), Invocation::Help { code: 0 });
        assert_eq!(call("-?"), Invocation::Help { code: 0 });
        assert_eq!(call("-x info"), Invocation::Help { code: 0 });
        for malformed in [
            "-p0 info",
            "-p65536 info",
            "-pzz info",
            "info -p",
            "info -D",
            "info -T",
        ] {
            assert_eq!(call(malformed), Invocation::Help { code: 1 }, "{malformed}");
        }
    }

    #[test]
    fn a_lone_dash_is_a_word() {
        assert_eq!(
            options("api POST /network -").words,
            ["api", "POST", "/network", "-"]
        );
    }
}
