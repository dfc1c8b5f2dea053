//! An error together with the exit code that `docker run` users know: 125 the tool failed, 126 the program cannot be run,
//! 127 there is no such program, 128 + n ended by signal n.

use std::fmt;

/// An error with an exit code of its own.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// `zt-run` itself failed.
    pub(crate) const TOOL: u8 = 125;
    /// The program is there but cannot be run.
    pub(crate) const NOT_RUNNABLE: u8 = 126;
    /// The program is not there.
    pub(crate) const NOT_FOUND: u8 = 127;

    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn interrupted(signal: i32) -> Self {
        Self::new(
            128u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
            "interrupted",
        )
    }

    /// The exit code of any error.
    pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
        error
            .downcast_ref::<Self>()
            .map_or(Self::TOOL, |failure| failure.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_dockers_exit_codes() {
        assert_eq!(Failure::code_of(&anyhow::anyhow!("x")), 125);
        assert_eq!(
            Failure::code_of(&Failure::new(Failure::NOT_FOUND, "x").into()),
            127
        );
        assert_eq!(
            Failure::code_of(
                &anyhow::Error::from(Failure::interrupted(2)).context("while waiting")
            ),
            130
        );
    }
}
