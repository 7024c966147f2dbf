//! How a program ends.

use std::process::ExitCode;

/// Exit codes, the same for every program and command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All well.
    Success,
    /// The answer is no: a threshold was missed, or a count did not match.
    No,
    /// Bad usage, a bad configuration or a bad scenario.
    Usage,
    /// Hosts did not converge, or a build did not come in time.
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
        Self::Success,
    ];

    /// Of several, as one.
    pub fn worst(exits: impl IntoIterator<Item = Self>) -> Self {
        let exits: Vec<Self> = exits.into_iter().collect();
        let worst = Self::ALL.into_iter().find(|exit| exits.contains(exit));
        worst.unwrap_or(Self::Success)
    }

    /// How a process of ours has ended.
    pub fn of_code(code: i32) -> Self {
        let exit = Self::ALL.into_iter().find(|exit| i32::from(exit.code()) == code);
        exit.unwrap_or(Self::Failed)
    }

    /// Of a command line that was not run: bad usage, or somebody has asked for words.
    pub const fn of_words(is_error: bool) -> Self {
        if is_error { Self::Usage } else { Self::Success }
    }

    /// The code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_one_end_and_the_worst_of_several_counts() {
        for exit in Exit::ALL {
            assert_eq!(Exit::of_code(exit.code().into()), exit);
        }
        assert_eq!(Exit::of_code(101), Exit::Failed, "a panic is a failure");
        assert_eq!(Exit::worst([Exit::Success, Exit::No, Exit::Usage]), Exit::Usage);
        assert_eq!(Exit::worst([]), Exit::Success);
    }
}
