//! The seeder's configuration: which keys there are, and what flags, environment and file come to; `seeder check` prints that.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use peer::{HTTP_ADDRESS, HttpAddress, Multiaddr, TRAFFIC_CLASS, TrafficClass};
use program::Exit;
use settings::{Changed, Key, Kind, Merged, Problems, Sources, asks_for_words, is_some_text, merge};

use super::{Arguments, RATE, part, rate};

/// What the seeder is to do, and who says so.
pub(crate) struct Configuration {
    /// The command line.
    flags: Vec<OsString>,
    pub(crate) arguments: Arguments,
    matches: ArgMatches,
    merged: Merged,
}

impl Configuration {
    /// Reads the command line with what is below it.
    ///
    /// # Errors
    /// The exit code where something is wrong, which was said then.
    pub(crate) fn read(flags: &[OsString]) -> Result<Self, ExitCode> {
        let (matches, merged) = read_all(flags)?;
        let arguments = Arguments::from_arg_matches(&matches).map_err(said)?;
        Ok(Self {
            flags: flags.to_vec(),
            arguments,
            matches,
            merged,
        })
    }

    /// Reads everything again, and says what has changed.
    ///
    /// # Errors
    /// Where something is wrong by now, which was said then.
    pub(crate) fn read_again(&self) -> Result<(Self, Changed), ExitCode> {
        let now = Self::read(&self.flags)?;
        let changed = Changed::since(&self.matches, &now.matches, &KEYS);
        Ok((now, changed))
    }
}

/// Prints what the seeder would be told by `flags`. The exit code is 2 where something is wrong.
pub(crate) fn check(flags: &[OsString]) -> ExitCode {
    let Configuration { matches, merged, .. } = match Configuration::read(flags) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    super::print_line(merged.shown(&KEYS, PREFIX, |key| key.values(&matches)).trim_end());
    match merged.check_files(&KEYS, &READ_AT_START, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => not_so(&problems),
    }
}

fn read_all(flags: &[OsString]) -> Result<(ArgMatches, Merged), ExitCode> {
    let merged = if asks_for_words(flags) {
        Merged::default()
    } else {
        read_sources(flags).map_err(|problems| not_so(&problems))?
    };
    let line = merged.command_line("seeder", flags);
    let matches = Arguments::command().try_get_matches_from(line).map_err(said)?;
    Ok((matches, merged))
}

/// Says what is wrong with environment or file, or with a file that they name.
fn not_so(problems: &Problems) -> ExitCode {
    program::say!("seeder: {problems}");
    Exit::Usage.into()
}

/// What all sources say. Flags for one build leave no place for what is said below of a queue, and the other way round.
pub(crate) fn read_sources(flags: &[OsString]) -> Result<Merged, Problems> {
    let sources = Sources {
        flags,
        prefix: PREFIX,
        environment: &|name| std::env::var_os(name),
        default_file: Path::new(DEFAULT_FILE),
    };
    let mut merged = merge(&KEYS, &sources)?;
    if ["bucket", "key"].iter().any(|key| merged.has_flag(key)) {
        merged.leave_out(&["queue", "http", "log", "stage", "log-region"]);
    } else if merged.has_flag("queue") {
        merged.leave_out(&["bucket", "key", "part"]);
    }
    merged.check_needs(&KEYS)?;
    Ok(merged)
}

/// Says what is wrong with the command line, or what was asked for.
pub(crate) fn said(error: clap::Error) -> ExitCode {
    // There is nobody to tell that nobody can be told.
    let _ = error.print();
    Exit::of_words(error.use_stderr()).into()
}

const ADDRESSES: Kind = Kind::texts("an address in quotes, such as \"/ip4/0.0.0.0/tcp/4001\"", |text| {
    text.parse::<Multiaddr>().is_ok()
});

/// All keys, in the order in which people want to read them.
const KEYS: [Key; 28] = [
    Key::new("queue", Kind::NAME),
    Key::new("bucket", Kind::NAME).needs("key"),
    Key::new("key", Kind::NAME).needs("bucket"),
    Key::new(
        "part",
        Kind::text("a part of how many in quotes, such as \"1/2\"", |text| {
            part(text).is_ok()
        }),
    ),
    Key::new("listen", ADDRESSES),
    Key::new("advertise", ADDRESSES),
    Key::new("folder", Kind::FILE),
    Key::new("spool-max", Kind::number(0, u64::MAX, "bytes")),
    Key::new("upload-rate", Kind::text(RATE, |text| rate(text).is_ok())).live(),
    Key::new(
        "traffic-class",
        Kind::text(TRAFFIC_CLASS, |text| text.parse::<TrafficClass>().is_ok()),
    ),
    Key::new("hosts-max", Kind::number(1, u32::MAX as u64, "hosts")),
    Key::new("builds-max", Kind::number(1, 64, "builds")).live(),
    Key::new("seed-at-least", Kind::number(1, u16::MAX as u64, "seconds")).live(),
    Key::new("give-up-after", Kind::number(1, u32::MAX as u64, "seconds")).live(),
    Key::new("visible-after", Kind::number(2, 43_200, "seconds")),
    Key::new("chunk-size", Kind::number(16, u32::MAX as u64, "bytes")),
    Key::new("trust", Kind::FILE),
    Key::new("identity", Kind::FILE),
    Key::new("members", Kind::FILE).needs("certificate"),
    Key::new("certificate", Kind::FILE).needs("members"),
    Key::new("deny", Kind::FILE).needs("members"),
    Key::new("group", Kind::texts("the name of a group in quotes", is_some_text)).needs("members"),
    Key::new(
        "http",
        Kind::texts(HTTP_ADDRESS, |text| text.parse::<HttpAddress>().is_ok()),
    )
    .needs("queue"),
    Key::new("log", Kind::Switch).needs("queue"),
    Key::new("stage", Kind::NAME).needs("log"),
    Key::new("log-region", Kind::text("an AWS region in quotes", is_some_text)).needs("log"),
    Key::new("endpoint-url", Kind::text("a URL in quotes", is_some_text)),
    Key::new(
        "log-format",
        Kind::text("\"text\" or \"json\"", |text| matches!(text, "text" | "json")),
    ),
];

/// Keys that name files which have to be there.
const READ_AT_START: [&str; 4] = ["trust", "members", "certificate", "deny"];
/// How variables of the environment begin: a machine may have both agents.
const PREFIX: &str = "FLEETCAST_SEEDER_";
/// Read where it is there and nobody has named another one.
const DEFAULT_FILE: &str = "/etc/fleetcast/seeder.toml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_key_and_every_key_a_flag() {
        let command = Arguments::command();
        let flags = command.get_arguments().filter_map(clap::Arg::get_long);
        let wrong = settings::mismatches(&KEYS, flags, &["config", "print-id"]);
        assert_eq!(wrong, <[String; 0]>::default());
    }
}
