//! How the program ends.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use scenario::Stop;

pub(crate) use cloud::chain;

/// Exit codes, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All well.
    Well,
    /// The answer is no: a threshold was missed, or a count did not match.
    No,
    /// Bad usage or a bad scenario.
    Usage,
    /// Hosts did not converge.
    NotConverged,
    /// Something failed: an endpoint, a disk, a limit.
    Failed,
    /// A threshold had no data, or the machine was too busy to tell.
    NoVerdict,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl From<Stop> for Exit {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Interrupted => Self::Interrupted,
            Stop::Terminated => Self::Terminated,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Well => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::NotConverged => 3,
            Exit::Failed => 4,
            Exit::NoVerdict => 5,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        })
    }
}

/// A line on stderr, if somebody listens: behind `say!`.
pub(crate) fn say(text: std::fmt::Arguments<'_>) {
    let mut line = text.to_string();
    line.push('\n');
    // Where it cannot be said there is nowhere to say so.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Says on stderr what went wrong, with all its causes.
pub(crate) fn complain(what: &str, error: &(dyn Error + 'static)) {
    say!("harness: {what}: {}", chain(error));
}
