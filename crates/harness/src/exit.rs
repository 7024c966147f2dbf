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

impl Exit {
    /// The worst first.
    const ALL: [Self; 8] = [
        Self::Interrupted,
        Self::Terminated,
        Self::NotConverged,
        Self::Failed,
        Self::Usage,
        Self::No,
        Self::NoVerdict,
        Self::Well,
    ];

    /// Of several, as one.
    pub(crate) fn worst(exits: impl IntoIterator<Item = Self>) -> Self {
        let exits: Vec<Self> = exits.into_iter().collect();
        let worst = Self::ALL.into_iter().find(|exit| exits.contains(exit));
        worst.unwrap_or(Self::Well)
    }

    /// How a process of this program has ended.
    pub(crate) fn of_code(code: i32) -> Self {
        let exit = Self::ALL.into_iter().find(|exit| i32::from(exit.code()) == code);
        exit.unwrap_or(Self::Failed)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::NotConverged => 3,
            Self::Failed => 4,
            Self::NoVerdict => 5,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
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
