//! The agent's configuration: which keys there are, and what flags, environment and file come to.
//!
//! Invariant: every flag is a key but those that ask for something else than to run, and every key is a flag.

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgMatches, Command, FromArgMatches as _};
use peer::{HTTP_ADDRESS, HttpAddress, Multiaddr, TRAFFIC_CLASS, TrafficClass};
use settings::{Changed, Key, Kind, Merged, Problems, Sources, Text, asks_for_words, is_some_text, merge};

use super::Arguments;
use super::arguments::{SIZE, size};
use super::limits::{self, RATE};

/// What the agent is to do, and who says so.
pub(crate) struct Configuration {
    /// The command line.
    flags: Vec<OsString>,
    pub(crate) arguments: Arguments,
    pub(crate) matches: ArgMatches,
    pub(crate) merged: Merged,
}

/// Why it is not known what the agent is to do.
pub(crate) enum NotConfigured {
    /// Environment or file are wrong.
    Problems(Problems),
    /// The flags are, or all together; or somebody has asked for help.
    Flags(clap::Error),
}

impl Configuration {
    /// Reads `flags` with what is below them.
    ///
    /// # Errors
    /// Where something is wrong.
    pub(crate) fn read(flags: &[OsString]) -> Result<Self, NotConfigured> {
        Self::read_as(Arguments::to_run(), read_sources, flags)
    }

    /// The same for a `command` that has the agent's flags among its own, with `sources` below them.
    ///
    /// # Errors
    /// Where something is wrong.
    pub(super) fn read_as(
        command: Command,
        sources: impl FnOnce(&[OsString]) -> Result<Merged, Problems>,
        flags: &[OsString],
    ) -> Result<Self, NotConfigured> {
        let program = command.get_name().to_owned();
        if asks_for_words(flags) {
            let line = std::iter::once(OsString::from(&program)).chain(flags.iter().cloned());
            if let Err(words) = command.clone().try_get_matches_from(line) {
                return Err(NotConfigured::Flags(words));
            }
        }
        let merged = sources(flags).map_err(NotConfigured::Problems)?;
        let line = merged.command_line(&program, flags);
        let matches = command.try_get_matches_from(line).map_err(NotConfigured::Flags)?;
        let arguments = Arguments::from_arg_matches(&matches).map_err(NotConfigured::Flags)?;
        Ok(Self {
            flags: flags.to_vec(),
            arguments,
            matches,
            merged,
        })
    }
}

/// What has changed since the configuration was read.
pub(crate) struct Changes {
    /// What the agent is to do now.
    pub(crate) now: Configuration,
    pub(crate) changed: Changed,
}

impl Configuration {
    /// Reads everything again.
    ///
    /// # Errors
    /// Where something is wrong by now.
    pub(crate) fn read_again(&self) -> Result<Changes, NotConfigured> {
        let now = Self::read(&self.flags)?;
        let changed = Changed::since(&self.matches, &now.matches, &KEYS);
        Ok(Changes { now, changed })
    }
}

/// What all sources say. Flags for one build leave no place for what is said below of a directory, and the other way round.
pub(super) fn read_sources(flags: &[OsString]) -> Result<Merged, Problems> {
    let mut merged = merge_all(flags)?;
    if OF_ONE_BUILD.iter().any(|key| merged.has_flag(key)) {
        let of_directory = KEYS.iter().filter(|key| key.needs == Some("directory"));
        let of_directory: Vec<&str> = of_directory.map(|key| key.name).collect();
        merged.leave_out(&of_directory);
        merged.leave_out(&["directory", "log-by"]);
    } else if ["directory", "folder"].iter().any(|key| merged.has_flag(key)) {
        merged.leave_out(&OF_ONE_BUILD);
    }
    merged.check_needs(&KEYS)?;
    Ok(merged)
}

/// What all sources say, whatever goes with what.
pub(super) fn merge_all(flags: &[OsString]) -> Result<Merged, Problems> {
    let sources = Sources {
        flags,
        prefix: PREFIX,
        environment: &|name| std::env::var_os(name),
        default_file: Path::new(DEFAULT_FILE),
    };
    merge(&KEYS, &sources)
}

fn is_address(text: &str) -> bool {
    text.parse::<Multiaddr>().is_ok()
}

fn is_size(text: &str) -> bool {
    size(text).is_ok()
}

fn is_rate(text: &str) -> bool {
    limits::parse(text).is_ok()
}

fn is_mode(text: &str) -> bool {
    u32::from_str_radix(text, 8).is_ok_and(|bits| bits <= 0o7777)
}

const ADDRESS: &str =
    "an address in quotes with its peer id, as the seeder prints it: \"/ip4/10.0.0.1/tcp/4001/p2p/12D3…\"";
const LISTEN: &str = "an address in quotes, such as \"/ip4/0.0.0.0/tcp/4001\"";
const SIZES: Kind = Kind::Quantity(Text {
    expected: SIZE,
    is_right: is_size,
});
const COMMAND: Kind = Kind::text("a command for the shell in quotes", is_some_text);
const SECONDS: Kind = Kind::number(0, SECONDS_MAX, "seconds");

/// All keys, in the order in which people want to read them.
pub(crate) const KEYS: [Key; 42] = [
    Key::new("directory", Kind::text(ADDRESS, is_address)).needs("folder"),
    Key::new("folder", Kind::FILE).needs("directory"),
    Key::new("seeder", Kind::texts(ADDRESS, is_address)).needs("out"),
    Key::new("out", Kind::FILE).needs("seeder"),
    Key::new("listen", Kind::texts(LISTEN, is_address)),
    Key::new("advertise", Kind::texts(LISTEN, is_address)),
    Key::new("fetches-max", Kind::number(1, 64, "builds"))
        .needs("directory")
        .live(),
    Key::new("timeout", Kind::number(1, SECONDS_MAX, "seconds")).live(),
    Key::new("linger", SECONDS).needs("out"),
    Key::new("keep", Kind::number(0, u32::MAX as u64, "builds"))
        .needs("directory")
        .live(),
    Key::new("keep-size", SIZES).needs("directory").live(),
    Key::new("pin", Kind::texts("the key of a build in quotes", is_some_text))
        .needs("directory")
        .live(),
    Key::new(
        "current",
        Kind::text("the name of a link in quotes, such as \"current\"", is_some_text),
    )
    .needs("directory"),
    Key::new("before-install", COMMAND).needs("directory").live(),
    Key::new("installed", COMMAND).needs("directory").live(),
    Key::new("failed", COMMAND).needs("directory").live(),
    Key::new("hook-timeout", Kind::number(1, 86_400, "seconds")).live(),
    Key::new("serve-idle", SECONDS).needs("directory").live(),
    Key::new("upload-rate", Kind::text(RATE, is_rate)).live(),
    Key::new("download-rate", Kind::text(RATE, is_rate)).live(),
    Key::new(
        "traffic-class",
        Kind::text(TRAFFIC_CLASS, |text| text.parse::<TrafficClass>().is_ok()),
    ),
    Key::new("connections-max", Kind::number(1, 1_000_000, "connections")),
    Key::new("free-min", SIZES).needs("directory").live(),
    Key::new("store-max", SIZES).needs("directory").live(),
    Key::new(
        "mode",
        Kind::text("permission bits in octal, in quotes, such as \"0755\"", is_mode),
    ),
    Key::new("trust", Kind::FILE),
    Key::new("identity", Kind::FILE),
    Key::new("members", Kind::FILE).needs("certificate"),
    Key::new("certificate", Kind::FILE).needs("members"),
    Key::new("deny", Kind::FILE).needs("members"),
    Key::new("group", Kind::texts("the name of a group in quotes", is_some_text)).needs("members"),
    Key::new("host-id", Kind::NAME),
    Key::new("region", Kind::NAME),
    Key::new("zone", Kind::NAME),
    Key::new("log", Kind::Switch),
    Key::new(
        "log-by",
        Kind::text("\"seeder\" or \"host\"", |text| matches!(text, "seeder" | "host")),
    )
    .needs("log"),
    Key::new("endpoint-url", Kind::text("a URL in quotes", is_some_text)).needs("log"),
    Key::new("stage", Kind::NAME).needs("log"),
    Key::new("log-region", Kind::text("an AWS region in quotes", is_some_text)).needs("log"),
    Key::new("quiet", Kind::Switch).live(),
    Key::new(
        "http",
        Kind::texts(HTTP_ADDRESS, |text| text.parse::<HttpAddress>().is_ok()),
    )
    .needs("directory"),
    Key::new(
        "log-format",
        Kind::text("\"text\" or \"json\"", |text| matches!(text, "text" | "json")),
    ),
];

/// What is said of one build, and not of a directory.
const OF_ONE_BUILD: [&str; 3] = ["seeder", "out", "linger"];
/// How variables of the environment begin.
pub(super) const PREFIX: &str = "FLEETCAST_";
/// Read where it is there and nobody has named another one.
const DEFAULT_FILE: &str = "/etc/fleetcast/host.toml";
/// A year.
const SECONDS_MAX: u64 = 366 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_key_and_every_key_a_flag() {
        let command = Arguments::to_run();
        let flags = command.get_arguments().filter_map(clap::Arg::get_long);
        let wrong = settings::mismatches(&KEYS, flags, &["config", "print-id"]);
        assert_eq!(wrong, <[String; 0]>::default());
    }
}
