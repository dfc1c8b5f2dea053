//! What the supervisor says on standard error.

use std::fmt;
use std::io::Write as _;

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Only what a person must know.
    Off,
    /// Decisions that concern the LAN, and failures.
    Lan,
    /// Calls that were left to the kernel too.
    All,
}

impl Level {
    /// Reads `ZT_NC_LOG` as the library does.
    pub(crate) fn from_environment(value: Option<&[u8]>) -> Self {
        match value {
            None | Some(b"" | b"0" | b"off") => Self::Off,
            Some(b"2" | b"all" | b"trace") => Self::All,
            Some(_) => Self::Lan,
        }
    }
}

/// The log of one supervisor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log(pub(crate) Level);

impl Log {
    /// Says something that must not be met with silence.
    pub(crate) fn always(&self, text: fmt::Arguments<'_>) {
        let line = format!("zt-launch: {text}\n");
        // One call, so that lines of several processes do not mix. Nobody can be told that this failed.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// Says something if it was asked for.
    pub(crate) fn at(&self, level: Level, text: fmt::Arguments<'_>) {
        if self.0 >= level {
            self.always(text);
        }
    }
}
