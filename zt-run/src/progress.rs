//! What a person sees while they wait: one line that is rewritten on a terminal, one line a phase elsewhere, nothing with `-q`.

use std::io::{IsTerminal, Write, stderr};

/// Progress on standard error.
pub(crate) struct Progress {
    mode: Mode,
    last: String,
}

enum Mode {
    Quiet,
    Plain,
    Terminal,
}

impl Progress {
    /// Quiet, or as fits standard error.
    pub(crate) fn new(quiet: bool) -> Self {
        let mode = match (quiet, stderr().is_terminal()) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Terminal,
            (false, false) => Mode::Plain,
        };
        Self {
            mode,
            last: String::new(),
        }
    }

    /// Says what is being done; `detail` changes while it is and is shown on terminals only.
    pub(crate) fn phase(&mut self, phase: &str, detail: &str) {
        match self.mode {
            Mode::Quiet => {}
            Mode::Plain if self.last != phase => eprintln!("zt-run: {phase}"),
            Mode::Plain => {}
            Mode::Terminal => {
                let _ = write!(stderr(), "\r\x1b[Kzt-run: {phase}{detail}");
                let _ = stderr().flush();
            }
        }
        phase.clone_into(&mut self.last);
    }

    /// Removes the line, so that something else can be printed.
    pub(crate) fn clear(&mut self) {
        if matches!(self.mode, Mode::Terminal) && !self.last.is_empty() {
            let _ = write!(stderr(), "\r\x1b[K");
            let _ = stderr().flush();
        }
        self.last.clear();
    }

    /// Prints what a person must know of although the command goes on; `-q` does not hide it.
    pub(crate) fn warn(&mut self, line: &str) {
        self.clear();
        eprintln!("zt-run: warning: {line}");
    }

    /// Prints a line that stays.
    pub(crate) fn say(&mut self, line: &str) {
        self.clear();
        if !matches!(self.mode, Mode::Quiet) {
            eprintln!("zt-run: {line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
