//! What `harness baseline` takes.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::Format;

#[derive(Debug, Args)]
pub(crate) struct BaselineArguments {
    #[command(subcommand)]
    pub(crate) what: OfBaselines,
    /// The folder with the baselines.
    #[arg(long = "in", value_name = "FOLDER", default_value = BASELINES, global = true)]
    pub(crate) folder: PathBuf,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OfBaselines {
    /// Keep the reports of a run under a name, in place of what has it: `harness compare --baseline NAME` holds others against them.
    Set {
        /// The name.
        name: BaselineName,
        /// A run's folder, its report.json, or a folder of such folders, as `run --repeat` leaves them.
        run: PathBuf,
    },
    /// List them.
    List,
    /// Remove one.
    Rm {
        /// Its name.
        name: BaselineName,
    },
}

/// The name of a baseline, which is a folder's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaselineName(String);

impl BaselineName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BaselineName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let may_be = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && text.len() <= LENGTH_MAX && text.chars().all(may_be) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "expected a letter or digit and then at most {} of A-Z a-z 0-9 . _ -, such as main or 2026-11",
                LENGTH_MAX - 1
            ))
        }
    }
}

/// Where baselines are unless somebody says otherwise.
pub(crate) const BASELINES: &str = "baselines";
/// Characters of a name.
const LENGTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_a_folder_that_is_seen() {
        for name in ["main", "2026-11", "v1.2_x", &"a".repeat(64)] {
            assert!(name.parse::<BaselineName>().is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            ".hidden",
            "-x",
            "a b",
            "ü",
            &"a".repeat(65),
        ] {
            assert!(name.parse::<BaselineName>().is_err(), "{name}");
        }
    }
}
