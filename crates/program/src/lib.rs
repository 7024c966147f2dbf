//! What our programs have in common as programs: how they end, how they tell of an error, and how they write log lines.

mod errors;
mod exit;
#[cfg(feature = "logging")]
mod logging;

pub use errors::{chain, say};
pub use exit::Exit;
#[cfg(feature = "logging")]
pub use logging::{LogFormat, log_to_stderr};
