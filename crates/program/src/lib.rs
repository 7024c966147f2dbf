//! What our programs have in common as programs: how they end, how they tell of an error, and how they write log lines.
//!
//! ```
//! use program::{Exit, chain};
//!
//! let error = "x".parse::<u8>().unwrap_err();
//! assert_eq!(chain(&error), "invalid digit found in string");
//! // Of several runs the worst counts.
//! assert_eq!(Exit::worst([Exit::Success, Exit::No]).code(), 1);
//! ```

mod errors;
mod exit;
#[cfg(feature = "logging")]
mod logging;

pub use errors::{chain, print_line, say};
pub use exit::Exit;
#[cfg(feature = "logging")]
pub use logging::{LogFormat, log_to_stderr};
