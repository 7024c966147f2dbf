//! `peer check`: what flags, environment and file come to, as a configuration file that says where each value comes from.

use std::ffi::OsString;
use std::fs::File;
use std::process::ExitCode;

use program::Exit;
use settings::{Problem, Problems};

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
        .shown(&KEYS, PREFIX, |key| configuration.values(key));
    if let Err(error) = speech::print_line(said.trim_end()) {
        return super::fail((Exit::Failed, format!("failed to print the configuration: {error}")));
    }
    match files_that_cannot_be_read(&configuration) {
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

/// What is to be read at the start can be read.
fn files_that_cannot_be_read(configuration: &Configuration) -> Result<(), Problems> {
    let unreadable = READ_AT_START.iter().filter_map(|key| -> Option<Problem> {
        let setting = configuration.merged.get(key)?;
        let id = key.replace('-', "_");
        let path = configuration.matches.get_raw(&id)?.next()?;
        let error = File::open(path).err()?;
        let path = path.to_string_lossy();
        Some(setting.problem(&format!("= {path:?} — it cannot be read ({error}); expected a file")))
    });
    let problems: Vec<Problem> = unreadable.collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Problems { problems })
}

/// Keys that name files which have to be there.
const READ_AT_START: [&str; 4] = ["trust", "members", "certificate", "deny"];
