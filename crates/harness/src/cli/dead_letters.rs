//! What `harness dead-letters` takes.

use clap::{Args, Subcommand};

use super::values::whole;
use super::{Format, Place};

#[derive(Debug, Args)]
pub(crate) struct DeadLettersArguments {
    #[command(subcommand)]
    pub(crate) what: OfDeadLetters,
    #[command(flatten)]
    pub(crate) place: Place,
    /// The regions.
    #[arg(long, value_delimiter = ',', default_values_t = ["region-a".to_owned(), "region-b".to_owned()], global = true)]
    pub(crate) regions: Vec<String>,
    /// Only this queue, such as region-a-builds-events-dead-letter.
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) queue: Option<String>,
    /// Messages of a queue that are looked at, at most. SQS tells them in no order.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = whole::<u16, 1, 10_000>, global = true)]
    pub(crate) count: u16,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OfDeadLetters {
    /// List the queues, whose dead letters are in each, and how many.
    List,
    /// Show messages, and why each is there.
    Show {
        /// Only these: ids as they are shown, or the first eight characters or more of one.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
    /// Send messages back to where they came from: once more they are taken up, or end here again.
    Retry {
        /// Only these; all where absent.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
    /// Take messages away for good.
    Drop {
        /// These.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// All that are there.
        #[arg(long, conflicts_with = "ids")]
        yes: bool,
    },
}
