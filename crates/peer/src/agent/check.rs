//! `peer check`: what flags, environment and file come to, as a configuration file that says where each value comes from.

use std::ffi::OsString;
use std::process::ExitCode;

use program::Exit;

use super::configuration::{Configuration, KEYS, NotConfigured, PREFIX};
use super::speech;

/// Prints what the agent would be told by `flags`. The exit code is 2 where something is wrong.
pub(crate) fn check(flags: &[OsString]) -> ExitCode {
    let configuration = match Configuration::read(flags) {
        Ok(configuration) => configuration,
        Err(why) => return not_configured(why),
    };
    let said = configuration
        .merged
        .shown(&KEYS, PREFIX, |key| key.values(&configuration.matches));
    if let Err(error) = speech::print_line(said.trim_end()) {
        return super::fail((Exit::Failed, format!("failed to print the configuration: {error}")));
    }
    match configuration
        .merged
        .check_files(&KEYS, &READ_AT_START, &configuration.matches)
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => not_configured(NotConfigured::Problems(problems)),
    }
}

/// Why it is not known what the agent is to do, in words.
pub(super) fn words(why: &NotConfigured) -> String {
    match why {
        NotConfigured::Problems(problems) => problems.to_string(),
        NotConfigured::Flags(error) => error.to_string(),
    }
}

/// Tells why it is not known what the agent is to do.
pub(crate) fn not_configured(why: NotConfigured) -> ExitCode {
    match why {
        NotConfigured::Problems(problems) => super::fail((Exit::Usage, problems.to_string())),
        NotConfigured::Flags(error) => {
            // There is nobody to tell that nobody can be told.
            let _ = error.print();
            Exit::of_words(error.use_stderr()).into()
        }
    }
}

/// Keys that name files which have to be there.
const READ_AT_START: [&str; 4] = ["trust", "members", "certificate", "deny"];
