//! The command line of the daemon (VL2 §6.7).

use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Print the help.
    Help,
    /// Say what is wrong with the command line.
    Misused(String),
    /// Print the version.
    Version,
    /// Run the service.
    Run(Options),
}

/// How to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The home directory.
    pub home: PathBuf,
    /// `-p`: UDP port and port of the control API; 0 takes any.
    pub port: Option<u16>,
    /// `-d`
    pub background: bool,
}

/// Reads the arguments after the program's name. `-U` is taken for compatibility: there is no
/// check for root to skip and no privilege to drop, this service runs as whoever starts it.
pub fn parse(arguments: &[String]) -> Invocation {
    let mut home = None;
    let mut port = None;
    let mut background = false;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-h" | "-?" | "--help" => return Invocation::Help,
            "-v" | "--version" => return Invocation::Version,
            "-d" => background = true,
            "-U" => {}
            option if option.starts_with("-p") => {
                let glued = option.strip_prefix("-p").unwrap_or_default();
                let value = if glued.is_empty() {
                    arguments.next().map(String::as_str)
                } else {
                    Some(glued)
                };
                let value = value.unwrap_or_default();
                match value.parse() {
                    Ok(value) => port = Some(value),
                    Err(_) => {
                        return Invocation::Misused(format!(
                            "\"{value}\" is not a port from 0 to 65535"
                        ));
                    }
                }
            }
            option if option.starts_with('-') => {
                return Invocation::Misused(format!("there is no option {option}"));
            }
            "" => return Invocation::Misused("the home directory has no name".into()),
            path => match &home {
                None => home = Some(PathBuf::from(path)),
                Some(home) => {
                    return Invocation::Misused(format!(
                        "one home directory, not both {} and {path}",
                        home.display()
                    ));
                }
            },
        }
    }
    Invocation::Run(Options {
        home: home.unwrap_or_else(crate::home::default_directory),
        port,
        background,
    })
}

/// The help text.
pub fn help(program: &str) -> String {
    format!(
        "\
zerotier-sdk-service {}: a ZeroTier node for containers, without privilege and without a TUN device

Usage: {program} [-d] [-U] [-p PORT] [HOME]

  -d        run in the background; returns when the service is up, or with its error
  -U        taken for compatibility: the service runs as any user anyway
  -p PORT   UDP port and port of the control API (default 9993; 0: any free one)
  -v        the version
  -h        this help
  -q ...    be zerotier-cli
  -i ...    be zerotier-idtool

HOME (default {}) keeps the identity; one service a home.

Environment:
  ZEROTIER_HOME   default of HOME
  ZT_NETWORK      network ids to join, separated by commas
  ZT_NC_DIR       where the sockets nc_NETWORK for programs are made (default HOME)
  ZT_NAME         the name to publish on the networks: web is found as web.local
  ZT_ROOT         1: be the root of a planet of one's own, signed anew when addresses change
  ZT_PLANET       planet file to follow; with ZT_ROOT, to publish
  ZT_LOG          error, warn, info (default), debug or trace
",
        crate::VERSION,
        crate::DEFAULT_HOME
    )
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

    fn run(home: &str, port: Option<u16>, background: bool) -> Invocation {
        Invocation::Run(Options {
            home: home.into(),
            port,
            background,
        })
    }

    #[test]
    fn the_tutorials_of_the_2016_sdk_and_of_stock_are_understood() {
        assert_eq!(
            call("-d -p8000 /home/me/zt"),
            run("/home/me/zt", Some(8000), true)
        );
        assert_eq!(call("-U -p0 /h"), run("/h", Some(0), false));
        assert_eq!(call("-d -p 8000 /h"), run("/h", Some(8000), true));
        assert_eq!(call("/h -d"), run("/h", None, true));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, problem) in [
            ("-p", "\"\" is not a port from 0 to 65535"),
            ("-p65536 /h", "\"65536\" is not a port from 0 to 65535"),
            ("-p /h", "\"/h\" is not a port from 0 to 65535"),
            ("-x /h", "there is no option -x"),
            ("/h /other", "one home directory, not both /h and /other"),
        ] {
            assert_eq!(
                call(line),
                Invocation::Misused(problem.to_owned()),
                "{line}"
            );
        }
        assert_eq!(call("-h"), Invocation::Help);
        assert_eq!(call("-v"), Invocation::Version);
    }
}
