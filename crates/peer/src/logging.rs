//! What the binaries say on stderr while they work.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Log lines go to stderr from now on, those that `RUST_LOG` lets through or else `filter`; coloured on a terminal where
/// `NO_COLOR` does not ask for none.
pub fn log_to_stderr(filter: &str) {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| filter.into()))
        .with_ansi(std::io::stderr().is_terminal() && !is_plain)
        .with_writer(std::io::stderr)
        .init();
}
