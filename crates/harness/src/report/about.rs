//! What a report is a report of: what was asked for, what the scenario came to, and what does it once more.
//!
//! Invariant: what differs from one making of a forecast to the next is in [`Made`], which a forecast's report has not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use scenario::{LoadOptions, Scenario};
use serde::Serialize;
use serde_json::Value;

use crate::machine;

/// What a report is a report of.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct About {
    harness_version: &'static str,
    /// As it was given.
    scenario_file: String,
    /// What the command line changed in it, in order: KEY=VALUE.
    pub(super) set: Vec<String>,
    /// A line for a shell that makes it once more.
    pub(super) replay: String,
    /// What each key of the scenario came to, and the rule where it has no value by itself.
    pub(super) values: BTreeMap<String, Value>,
    /// When, where and by which command. Null in a forecast, which is the same everywhere: see timing.json beside it.
    made: Option<Made>,
}

/// When, where and by which command something was made.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Made {
    command: Vec<String>,
    /// UTC.
    started_at: String,
    host: Host,
}

/// The machine. What its system does not tell is null.
#[derive(Clone, Debug, Serialize)]
struct Host {
    name: Option<String>,
    system: Option<String>,
    processor: Option<String>,
    cores: usize,
    memory_bytes: Option<u64>,
    /// Programs that ran or wanted to, on average of the minute before.
    load_average: Option<f64>,
}

/// What was asked for on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `run` or `plan`.
    pub(crate) command: &'static str,
    pub(crate) scenario: PathBuf,
    pub(crate) set: Vec<String>,
    pub(crate) build: Option<PathBuf>,
    /// What else decides what comes of it, such as `--cloud aws`.
    pub(crate) more: Vec<String>,
}

impl Asked {
    pub(crate) fn new(command: &'static str, scenario: &Path, options: &LoadOptions) -> Self {
        Self {
            command,
            scenario: scenario.to_owned(),
            set: options.overrides.iter().map(scenario::Override::pair).collect(),
            build: options.build.clone(),
            more: Vec::new(),
        }
    }

    /// The line for a shell that does it once more, whatever the scenario's seed becomes.
    fn replay(&self, seed: u64) -> String {
        let mut words = vec!["harness".to_owned(), self.command.to_owned()];
        words.push(self.scenario.display().to_string());
        words.extend(["--seed".to_owned(), seed.to_string()]);
        for set in &self.set {
            words.extend(["--set".to_owned(), set.clone()]);
        }
        if let Some(build) = &self.build {
            words.extend(["--build".to_owned(), build.display().to_string()]);
        }
        words.extend(self.more.iter().cloned());
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        quoted.join(" ")
    }
}

impl About {
    pub(crate) fn new(scenario: &Scenario, asked: &Asked, made: Option<Made>) -> Self {
        let values = scenario.values.iter().map(|of| (of.key.clone(), of.value.clone()));
        Self {
            harness_version: env!("CARGO_PKG_VERSION"),
            scenario_file: asked.scenario.display().to_string(),
            set: asked.set.clone(),
            replay: asked.replay(scenario.seed),
            values: values.collect(),
            made,
        }
    }
}

impl Made {
    /// Here and now.
    pub(crate) fn now() -> Self {
        Self {
            command: std::env::args_os()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            started_at: cloud::timestamp(SystemTime::now()),
            host: Host {
                name: first_line("/proc/sys/kernel/hostname"),
                system: first_line("/proc/sys/kernel/osrelease").map(|release| format!("Linux {release}")),
                processor: machine::processor(),
                cores: machine::cores(),
                memory_bytes: machine::memory_bytes(),
                load_average: first_line("/proc/loadavg")
                    .and_then(|line| line.split(' ').next().and_then(|first| first.parse().ok())),
            },
        }
    }
}

fn first_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

/// A word as a POSIX shell takes it.
pub(crate) fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_quoted_words_as_they_were() {
        let words = [
            "",
            "plain",
            "a b",
            "it's $HOME",
            "\"x\"",
            "`id`",
            "a\\b",
            "flotte-zürich.toml",
            "#",
            "~",
        ];
        let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let script = format!("for word in {}; do printf '%s\\n' \"$word\"; done", line.join(" "));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(told.lines().collect::<Vec<_>>(), words);
        assert_eq!(quote("scenarios/smoke.toml"), "scenarios/smoke.toml");
    }
}
