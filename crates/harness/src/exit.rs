//! How the program ends, and what it says of that.

use std::error::Error;

use scenario::Stop;

pub(crate) use program::{Exit, chain};

/// The end of something that was stopped.
pub(crate) const fn of_stop(stop: Stop) -> Exit {
    match stop {
        Stop::Interrupted => Exit::Interrupted,
        Stop::Terminated => Exit::Terminated,
    }
}

/// Says on stderr what went wrong, with all its causes.
pub(crate) fn print_error(what: &str, error: &(dyn Error + 'static)) {
    say!("harness: {what}: {}", chain(error));
}
