//! What `harness completions` and `harness man` take.

use std::path::PathBuf;

use clap::Args;

/// A shell, by a name that only who writes completions knows.
#[cfg(feature = "manual")]
pub(crate) use clap_complete::Shell;
/// Likewise, where nobody does.
#[cfg(not(feature = "manual"))]
pub(crate) type Shell = String;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell: bash, elvish, fish, powershell or zsh.
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Where they go; made where it is not there. Files of these names are written over.
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}
