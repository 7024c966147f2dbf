//! `peer status`: asks the agent of this machine how it is, and shows that.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use peer::StatusArguments;

use super::check::not_configured;
use super::configuration::{NotConfigured, read_sources};
use super::speech;
use super::status::Status;
use program::Exit;

/// Asks, and prints the answer. The exit code is 4 where nobody answers, and 2 where it is not known whom to ask.
pub(crate) fn status(flags: &[OsString]) -> ExitCode {
    let arguments = match StatusArguments::read("peer status", flags) {
        Ok(arguments) => arguments,
        Err(error) => return not_configured(NotConfigured::Flags(error)),
    };
    let said = match read_sources(&arguments.configuration()) {
        Ok(said) => said,
        Err(problems) => return not_configured(NotConfigured::Problems(problems)),
    };
    let address = match arguments.address(&said) {
        Ok(address) => address,
        Err(why) => return super::fail((Exit::Usage, why)),
    };
    let answer = arguments.answer(&address, |first, second| Ok(shown(&parsed(first)?, &parsed(second)?)));
    match answer.map(|text| speech::print_line(text.trim_end())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => super::fail((Exit::Failed, format!("failed to print the status: {error}"))),
        Err(why) => super::fail((Exit::Failed, why)),
    }
}

/// A status as the agent answers it.
pub(super) fn parsed(text: &str) -> Result<Status, serde_json::Error> {
    serde_json::from_str(text)
}

/// The second look for people, with what was moved since the first.
fn shown(first: &Status, second: &Status) -> String {
    let seconds = (second.up_s - first.up_s).max(0.001);
    let rate = |before: u64, now: u64| speech::bytes((now.saturating_sub(before) as f64 / seconds) as u64);
    let limit = |limit: Option<u64>| {
        limit.map_or_else(
            || "no limit".to_owned(),
            |limit| format!("at most {}/s", speech::bytes(limit)),
        )
    };
    let (before, now) = (&first.bytes, &second.bytes);
    let received = |bytes: &super::status::Bytes| bytes.from_seeders + bytes.from_hosts;
    let mut text = String::new();
    let Status {
        version,
        host,
        folder,
        directory,
        ..
    } = second;
    let answers = match (&directory.error, directory.answers) {
        (Some(error), _) => format!("does not answer: {error}"),
        (None, true) => "answers".to_owned(),
        (None, false) => "has not answered yet".to_owned(),
    };
    let lines = [
        format!("host {host}, release {version}, up for {} s", second.up_s as u64),
        format!("directory {}: {answers}", directory.address),
        format!(
            "sends {}/s ({}), receives {}/s ({})",
            rate(before.sent, now.sent),
            limit(second.upload_limit_bytes_per_s),
            rate(received(before), received(now)),
            limit(second.download_limit_bytes_per_s)
        ),
        format!(
            "{} of builds in {folder}, {} free; {} neighbours, {} connections, {} rows wait",
            speech::bytes(second.store_bytes),
            second
                .disk_free_bytes
                .map_or_else(|| "unknown".to_owned(), speech::bytes),
            second.neighbours,
            second.connections,
            second.rows_waiting
        ),
    ];
    for line in lines {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{line}");
    }
    text.push_str(&table(second));
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The builds, each in a line.
fn table(status: &Status) -> String {
    let mut text = String::new();
    let names = status.builds.iter().map(|build| build.build.chars().count());
    let width = names.max().unwrap_or_default().max("BUILD".len());
    if !status.builds.is_empty() {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "\n{:width$}  {:<9} {:>13} {:>10}  WHY",
            "BUILD", "STATE", "CHUNKS", "NEIGHBOURS"
        );
    }
    for build in &status.builds {
        let chunks = format!("{}/{}", build.chunks_held, build.chunks_total);
        let otherwise = if build.is_listed { "" } else { "not listed any more" };
        let why = build.why.as_deref().unwrap_or(otherwise);
        let state = build.state.word().replace('_', " ");
        let _ = writeln!(
            text,
            "{:width$}  {state:<9} {chunks:>13} {:>10}  {why}",
            build.build, build.neighbours
        );
    }
    text
}
