//! `peer get BUILD`: one build of the directory by its key, to the folder of the configuration or to a file.
//!
//! Invariant: one process of a machine joins a build's swarm for a folder. Where an agent keeps the folder that agent fetches the build, as it
//! fetches all that is listed, and this one waits for it (`by_agent`) and copies what it has, held against the hashes by which it came
//! (`copying`). Otherwise it is fetched here (`by_network`). `telling` is what the person who waits sees. No row is written of it.

mod by_agent;
mod by_network;
mod copying;
mod telling;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Arg, Command, CommandFactory as _, value_parser};
use peer::OutputFormat;
use program::{Exit, LogFormat};
use settings::{Merged, Problem, Problems};

use super::arguments::place_of;
use super::configuration::{Configuration, NotConfigured, merge_all};
use super::kept::Kept;
use super::stop::Stop;
use super::{Arguments, Failure};
use telling::{Got, Progress};

/// What is to be got, and how.
pub(crate) struct Get {
    arguments: Arguments,
    key: String,
    format: OutputFormat,
    /// Where listeners were asked for by flag; those of the file are the agent's.
    listens: bool,
}

/// A build that is to be somewhere.
struct Wanted<'a> {
    key: &'a str,
    /// The folder of the agent, where there is one.
    folder: Option<&'a Path>,
    /// Where it is to be.
    out: PathBuf,
    begun: Instant,
}

impl Wanted<'_> {
    /// Its place in the folder.
    fn in_folder(&self) -> Option<PathBuf> {
        place_of(self.folder?, self.key)
    }

    /// Whether its place in the folder is where it is to be.
    fn is_for_folder(&self) -> bool {
        self.in_folder().as_ref() == Some(&self.out)
    }
}

impl Get {
    /// Reads `flags` with what is below them.
    ///
    /// # Errors
    /// Where something is wrong.
    pub(crate) fn read(flags: &[OsString]) -> Result<Self, NotConfigured> {
        let read = Configuration::read_as(command(), read_sources, flags)?;
        let mut arguments = read.arguments;
        let key = read.matches.get_one::<String>(BUILD).cloned().unwrap_or_default();
        let format = read
            .matches
            .get_one::<OutputFormat>(FORMAT)
            .copied()
            .unwrap_or_default();
        let listens = read.merged.has_flag("listen");
        // For rows there is the agent, and for a limit by default there is nobody who has not asked for the build.
        arguments.log = false;
        Ok(Self {
            arguments,
            key,
            format,
            listens,
        })
    }

    /// How its log lines are written.
    pub(crate) const fn log_format(&self) -> LogFormat {
        self.arguments.log_format
    }

    /// Gets it.
    pub(crate) async fn run(self, stop: Stop) -> ExitCode {
        match Box::pin(self.get(stop)).await {
            Ok(got) => match got.print(self.format) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => super::fail((Exit::Failed, format!("failed to print where the build is: {error}"))),
            },
            Err(failure) => super::fail(failure),
        }
    }

    async fn get(&self, mut stop: Stop) -> Result<Got, Failure> {
        let wanted = self.wanted()?;
        let progress = Progress::new(&self.key, self.format == OutputFormat::Text && !self.arguments.quiet);
        let kept = wanted.folder.filter(|folder| Kept::is_in_use(folder));
        let by_agent = match kept {
            Some(folder) => by_agent::get(&self.arguments, &wanted, folder, &progress, &mut stop).await?,
            None => None,
        };
        let got = match by_agent {
            Some(got) => got,
            None => by_network::get(self, &wanted, &progress, &mut stop).await?,
        };
        progress.clear();
        self.arguments.say(&got.sentence());
        Ok(got)
    }

    fn wanted(&self) -> Result<Wanted<'_>, Failure> {
        let folder = self.arguments.folder.as_deref();
        let out = match (&self.arguments.out, folder) {
            (Some(out), _) => out.clone(),
            (None, Some(folder)) => place_of(folder, &self.key).ok_or_else(|| {
                let (key, folder) = (&self.key, folder.display());
                (
                    Exit::Usage,
                    format!("{key} leads out of {folder}; expected the key of a build"),
                )
            })?,
            (None, None) => {
                let why = "expected --out FILE, or a folder by --folder or in the configuration";
                return Err((Exit::Usage, why.to_owned()));
            }
        };
        Ok(Wanted {
            key: &self.key,
            folder,
            out,
            begun: Instant::now(),
        })
    }
}

/// The agent's flags, and those of its own. What means nothing here is taken from the file and not shown.
fn command() -> Command {
    let hidden = Arguments::command();
    let hidden = hidden
        .get_arguments()
        .filter_map(|argument| Some((argument.get_id().clone(), argument.get_long()?.to_owned())));
    let hidden: Vec<_> = hidden.filter(|(_, flag)| !SHOWN.contains(&flag.as_str())).collect();
    let command = hidden.into_iter().fold(Arguments::command(), |command, (id, _)| {
        command.mut_arg(id, |argument| argument.hide(true))
    });
    command
        .name("peer get")
        .about("Fetch one build of the directory by its key")
        .after_help(EXIT_CODES)
        .mut_arg("out", |out| {
            out.help("Where the build goes; its place in the folder where absent")
                .long_help(None)
        })
        .mut_arg("directory", |directory| {
            directory
                .help("The directory of builds, as `seeder --queue` prints it first")
                .long_help(None)
        })
        .mut_arg("folder", |folder| {
            folder
                .help("The agent's folder: what it has is copied, and what it fetches is waited for")
                .long_help(None)
        })
        .arg(
            Arg::new(BUILD)
                .required(true)
                .value_name("BUILD")
                .help("The key of the build"),
        )
        .arg(
            Arg::new(FORMAT)
                .long(FORMAT)
                .value_name("FORMAT")
                .value_parser(value_parser!(OutputFormat))
                .default_value("text")
                .help("What is printed when it is there: its key and its path, or an object of JSON"),
        )
}

/// What all sources say. Flags that mean nothing here are refused; what file and environment say of one build by its seeders is not meant.
fn read_sources(flags: &[OsString]) -> Result<Merged, Problems> {
    let mut merged = merge_all(flags)?;
    let strange = merged.settings.iter().filter(|setting| setting.is_flag());
    let strange: Vec<Problem> = strange
        .filter(|setting| !SHOWN.contains(&setting.key))
        .map(|setting| setting.problem("means nothing to get; `peer get --help` shows what does"))
        .collect();
    if !strange.is_empty() {
        return Err(Problems { problems: strange });
    }
    merged.leave_out(&["seeder", "out", "linger"]);
    Ok(merged)
}

const BUILD: &str = "build";
const FORMAT: &str = "format";
/// Flags that mean something here.
const SHOWN: [&str; 21] = [
    "config",
    "directory",
    "folder",
    "out",
    "listen",
    "advertise",
    "timeout",
    "upload-rate",
    "download-rate",
    "traffic-class",
    "free-min",
    "store-max",
    "mode",
    "trust",
    "identity",
    "members",
    "certificate",
    "deny",
    "group",
    "quiet",
    "log-format",
];
const EXIT_CODES: &str = "Exit codes:
  0    the build is there, and verified
  2    a flag, the configuration or the key is wrong
  3    it has not come within --timeout
  4    it cannot be had
  130, 143  stopped by Ctrl-C, or by SIGTERM; what has come stays for the next time";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_a_flag_of_the_agent() {
        let command = Arguments::command();
        let flags: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
        for shown in SHOWN {
            assert!(flags.contains(&shown), "{shown}");
        }
        super::command().debug_assert();
        Arguments::to_run().debug_assert();
    }
}
