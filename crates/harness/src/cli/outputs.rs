//! Where a report goes besides its folder.

use std::path::PathBuf;

use clap::Args;

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Outputs {
    /// Write what held and what did not as JUnit's XML too, for a CI that shows it.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write the report's summary in Markdown too, as for a job's summary or a pull request.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}
