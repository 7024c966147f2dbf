//! `seeder status`: asks the seeder of this machine's queue how it is, and shows that.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use peer::StatusArguments;
use program::Exit;
use seeder::SeederStatus;

use crate::configuration::{read_sources, said};
use crate::print_line;

/// Asks, and prints the answer. The exit code is 4 where nobody answers, and 2 where it is not known whom to ask.
pub(crate) fn status(flags: &[OsString]) -> ExitCode {
    let arguments = match StatusArguments::read("seeder status", flags) {
        Ok(arguments) => arguments,
        Err(error) => return said(error),
    };
    let address = read_sources(&arguments.configuration())
        .map_err(|problems| problems.to_string())
        .and_then(|said| arguments.address(&said));
    let address = match address {
        Ok(address) => address,
        Err(why) => {
            program::say!("seeder: {why}");
            return Exit::Usage.into();
        }
    };
    let answer = arguments.answer(&address, |first, second| {
        Ok(shown(&serde_json::from_str(first)?, &serde_json::from_str(second)?))
    });
    match answer {
        Ok(text) => {
            print_line(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(why) => {
            program::say!("seeder: {why}");
            Exit::Failed.into()
        }
    }
}

/// The second look for people, with what was moved since the first.
fn shown(first: &SeederStatus, second: &SeederStatus) -> String {
    let seconds = (second.up_s - first.up_s).max(0.001);
    let rate = |before: u64, now: u64| settings::shown_bytes((now.saturating_sub(before) as f64 / seconds) as u64);
    let limit = second.upload_limit_bytes_per_s.map_or_else(
        || "no limit".to_owned(),
        |limit| format!("at most {}/s", settings::shown_bytes(limit)),
    );
    let answers = match (&second.queue.error, second.queue.answers) {
        (Some(error), _) => format!("does not answer: {error}"),
        (None, true) => "answers".to_owned(),
        (None, false) => "has not answered yet".to_owned(),
    };
    let unheard = match second.queue.unheard.as_slice() {
        [] => String::new(),
        builds => format!(
            "; it has told nothing of {}: is another seeder on it?",
            builds.join(", ")
        ),
    };
    let free = second
        .disk_free_bytes
        .map_or_else(|| "unknown".to_owned(), settings::shown_bytes);
    let mut text = format!(
        "release {}, up for {} s, directory at {}\n\
         queue {}: {answers}{unheard}\n\
         sends {}/s ({limit}), receives {}/s from S3\n\
         {} of builds in {}, {free} free; {} hosts follow, {} connections\n",
        second.version,
        second.up_s as u64,
        second.addresses.join(", "),
        second.queue.name,
        rate(first.sent_bytes, second.sent_bytes),
        rate(first.pulled_bytes, second.pulled_bytes),
        settings::shown_bytes(second.store_bytes),
        second.folder,
        second.followers,
        second.connections,
    );
    let names = second.builds.iter().map(|build| build.build.chars().count());
    let width = names.max().unwrap_or_default().max("BUILD".len());
    if !second.builds.is_empty() {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "\n{:width$}  {:<9} {:>11} {:>9} {:>9}",
            "BUILD", "STATE", "SIZE", "HAVE IT", "LACK IT"
        );
    }
    for build in &second.builds {
        let size = build.size_bytes.map_or_else(String::new, settings::shown_bytes);
        let (name, state) = (&build.build, build.state.word());
        let _ = writeln!(
            text,
            "{name:width$}  {state:<9} {size:>11} {:>9} {:>9}",
            build.have, build.lack
        );
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
