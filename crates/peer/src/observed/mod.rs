//! How an agent is looked after from outside: what it answers over HTTP, and who asks it. The same for hosts and seeders, each of which has
//! a status of its own; nothing is known here, and the agent's loop is asked.

mod asking;
mod caretakers;
mod http;
mod metrics;
mod status;

use std::time::Duration;

use serde::Serialize;

pub use asking::ask_agent;
pub use caretakers::{Asked, Caretakers, CaretakersError};
pub use http::{HTTP_ADDRESS, HttpAddress, HttpError, Question, serve_metrics};
pub use metrics::{Metric, MetricsText};
pub use status::{OutputFormat, StatusArguments};

/// How an agent is, at one moment: `/status` has it as JSON.
pub trait AgentStatus: Serialize + Send + 'static {
    /// The same, for which the agent's loop was waited for so long.
    #[must_use]
    fn after(self, lag: Duration) -> Self;

    /// As Prometheus reads it.
    fn metrics(&self) -> String;

    /// Whether it does what it is there for, in a line for people.
    ///
    /// # Errors
    /// Why it does not, likewise.
    fn readiness(&self) -> Result<String, String>;
}
