//! The log of one process: a line a decision, to standard error, when `ZT_NC_LOG` asks for it.

use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicU8, Ordering};

use zt_intercept::{Errno, Fd, Outcome, Reason};

use crate::raw::{self, number};

/// How much is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing (`ZT_NC_LOG` unset).
    Off,
    /// Decisions that concern the LAN, and failures (`ZT_NC_LOG=1`).
    Lan,
    /// Calls that were left to the kernel too (`ZT_NC_LOG=2`).
    All,
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

pub(crate) fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Logs the end of an operation and hands it on.
pub(crate) fn outcome<T>(call: &'static str, fd: Fd, outcome: Outcome<T>) -> Outcome<T> {
    let level = LEVEL.load(Ordering::Relaxed);
    if level != Level::Off as u8 {
        match &outcome {
            Outcome::Done(_) => line(format_args!("{call}({fd}) on the LAN")),
            Outcome::Fail(Errno(errno)) => {
                line(format_args!("{call}({fd}) failed with errno {errno}"))
            }
            Outcome::PassThrough(reason)
                if level >= Level::All as u8 || *reason == Reason::ServiceAway =>
            {
                line(format_args!(
                    "{call}({fd}) left to the kernel: {}",
                    reason.text()
                ));
            }
            Outcome::PassThrough(_) => {}
        }
    }
    outcome
}

/// Writes one line, cut to a reasonable length, in one call so that lines of several processes do not mix.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    const STDERR: usize = 2;
    let mut line = Line {
        bytes: [0; 256],
        len: 0,
    };
    let _ = writeln!(line, "zt-intercept: {text}");
    // SAFETY: a readable buffer of this length.
    let _ = unsafe {
        raw::call(
            number::WRITE,
            [STDERR, line.bytes.as_ptr() as usize, line.len, 0, 0, 0],
        )
    };
}

struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            let slot = self.bytes.get_mut(self.len).ok_or(fmt::Error)?;
            *slot = byte;
            self.len += 1;
        }
        Ok(())
    }
}
