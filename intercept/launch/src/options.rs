//! The command line.

use std::ffi::OsString;

use crate::log::Level;

/// `zt-launch --help`.
pub(crate) const HELP: &str = "\
zt-launch - puts an unmodified program on a ZeroTier LAN

usage: zt-launch [-v] PROGRAM [ARGUMENT…]

For programs that libztintercept.so cannot reach: static ones, and programs in Go. Dynamically linked programs work
too, but the library (LD_PRELOAD) costs less. PROGRAM and everything that it starts have their connections and datagrams
to the LAN's addresses on the LAN, and their listeners and UDP servers on both networks.

  -v           say what is put on the LAN, on standard error; twice: and what is not, and why
  -h, --help   this text
  --version    the version

environment:
  ZT_NC_NETWORK   the service's socket for one network, like /var/lib/zerotier-one/nc_8056c2e21c000001;
                  without it PROGRAM is run as it is
  ZT_NC_MODE      split (default): the LAN's addresses only; isolated: everything but loopback
  ZT_NC_LOG       1 or 2: as -v, -vv

zt-launch needs no privilege. It stays until the last process of the program has ended, and ends with the status of the
first: its own, 128 + the number of the signal that killed it, 127 when there is no PROGRAM, 126 when it cannot be
executed, and 125 when it cannot be put on the LAN.

what differs from the LAN under the library: a connection that is reset with nothing unread ends as if it were closed; a
receive on a listening socket waits; `recv` and `read` on a connected UDP socket report ECONNRESET when its peer refuses.
A program that changes its user without being executed anew leaves the LAN, and
zt-launch says so.

examples:
  ZT_NC_NETWORK=/run/zt/nc_8056c2e21c000001 zt-launch busybox httpd -f -p 8080
  ZT_NC_NETWORK=/run/zt/nc_8056c2e21c000001 zt-launch ./server-in-go
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To run a program.
    Run {
        /// More than the environment says.
        level: Level,
        program: OsString,
        arguments: Vec<OsString>,
    },
    Help,
    Version,
}

/// Reads the arguments after the program's own name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut level = Level::Off;
    let mut arguments = arguments.into_iter();
    let program = loop {
        let Some(argument) = arguments.next() else {
            return Err("which program? (zt-launch --help explains)".to_owned());
        };
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(Request::Help),
            Some("--version") => return Ok(Request::Version),
            Some("-v") if level == Level::Off => level = Level::Lan,
            Some("-v" | "-vv") => level = Level::All,
            Some("--") => match arguments.next() {
                Some(program) => break program,
                None => return Err("which program? (zt-launch --help explains)".to_owned()),
            },
            Some(option) if option.starts_with('-') => {
                return Err(format!(
                    "unknown option {option} (zt-launch --help explains)"
                ));
            }
            _ => break argument,
        }
    };
    Ok(Request::Run {
        level,
        program,
        arguments: arguments.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn run(level: Level, program: &str, arguments: &[&str]) -> Result<Request, String> {
        Ok(Request::Run {
            level,
            program: program.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
        })
    }

    #[test]
    fn options_of_the_program_are_its_own() {
        assert_eq!(
            read("busybox httpd -f -v"),
            run(Level::Off, "busybox", &["httpd", "-f", "-v"])
        );
        assert_eq!(read("-v -- -odd -h"), run(Level::Lan, "-odd", &["-h"]));
        assert_eq!(read("-v -v x"), run(Level::All, "x", &[]));
        assert_eq!(read("-vv x"), run(Level::All, "x", &[]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(read("").is_err_and(|text| text.contains("which program")));
        assert!(read("-v").is_err());
        assert!(read("--").is_err());
        assert!(read("--frobnicate x").is_err_and(|text| text.contains("--frobnicate")));
        assert_eq!(read("--help"), Ok(Request::Help));
        assert_eq!(read("-v --version x"), Ok(Request::Version));
    }
}
