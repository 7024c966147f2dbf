//! What `harness explain` takes.

use std::path::PathBuf;

use clap::Args;

use super::Format;
use super::values::whole;

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// A run's folder; or a word such as stretch, a field of a report, or a key of a scenario. The newest folder under runs/ where absent.
    #[arg(value_name = "RUN|WORD")]
    pub(crate) what: Vec<PathBuf>,
    /// All words, in Markdown: docs/words.md.
    #[arg(long, exclusive = true)]
    pub(crate) words: bool,
    /// Of this host, by its name.
    #[arg(long, value_name = "HOST", conflicts_with = "last")]
    pub(crate) host: Option<String>,
    /// Of the last hosts of each region, so many; of the last of all where absent.
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "1", value_parser = whole::<u16, 0, 65_535>)]
    pub(crate) last: Option<u16>,
    /// Steps of a path that are shown, the longest of it.
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = whole::<u16, 0, 65_535>)]
    pub(crate) steps: u16,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
