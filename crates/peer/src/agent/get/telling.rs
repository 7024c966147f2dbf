//! What the person who waits for a build sees: a line on a terminal that goes with it, and what came of it.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use peer::{OutputFormat, Traffic};
use serde::Serialize;

use super::super::speech;

/// A build that is there. Names end with their unit.
#[derive(Debug, Serialize)]
pub(super) struct Got {
    pub(super) build: String,
    pub(super) version: String,
    pub(super) path: PathBuf,
    pub(super) size_bytes: u64,
    pub(super) took_s: f64,
    pub(super) from: From,
    pub(super) from_seeders_bytes: u64,
    pub(super) from_hosts_bytes: u64,
    pub(super) copied_bytes: u64,
}

/// Where it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum From {
    /// It stood there, and was read and found right.
    Place,
    /// The agent of this machine has it.
    Agent,
    /// Seeders and hosts, and older builds of the folder.
    Swarm,
}

impl Got {
    /// That it is there, for people.
    pub(super) fn sentence(&self) -> String {
        let (name, took) = (self.path.display().to_string(), Duration::from_secs_f64(self.took_s));
        match self.from {
            From::Place => speech::was_there(&name, self.size_bytes, took),
            From::Agent if self.copied_bytes == 0 => format!("{name}: in place, by the agent of this machine"),
            From::Agent => {
                let copied = speech::bytes(self.copied_bytes);
                format!("{name}: in place, {copied} copied from the agent of this machine")
            }
            From::Swarm => {
                let traffic = Traffic {
                    from_seeder: self.from_seeders_bytes,
                    from_peers: self.from_hosts_bytes,
                    reused: self.copied_bytes,
                    ..Traffic::default()
                };
                speech::has_come(&name, self.size_bytes, took, &traffic)
            }
        }
    }

    /// Prints it for the program that waits for it.
    pub(super) fn print(&self, format: OutputFormat) -> io::Result<()> {
        match format {
            OutputFormat::Text => speech::print_line(&format!("{} {}", self.build, self.path.display())),
            OutputFormat::Json => speech::print_line(&serde_json::to_string(self)?),
        }
    }
}

/// The line on a terminal.
pub(super) struct Progress {
    key: String,
    is_shown: bool,
    before: RefCell<Option<(Instant, u64)>>,
}

/// How far a build is.
#[derive(Clone, Copy, Debug)]
pub(super) struct HowFar {
    pub(super) chunks_held: u32,
    pub(super) chunks_total: u32,
    pub(super) size: u64,
    pub(super) neighbours: u64,
}

impl Progress {
    /// Of the build `key`, where somebody may look.
    pub(super) fn new(key: &str, may_look: bool) -> Self {
        Self {
            key: key.to_owned(),
            is_shown: may_look && io::stderr().is_terminal(),
            before: RefCell::default(),
        }
    }

    /// It is so far now.
    pub(super) fn show(&self, far: HowFar) {
        if !self.is_shown {
            return;
        }
        let (now, held) = (Instant::now(), far.held());
        let before = self.before.borrow_mut().replace((now, held));
        let rate = before.map_or(0, |(then, before)| {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            (held.saturating_sub(before) as f64 / seconds) as u64
        });
        self.write(&far.line(&self.key, rate));
    }

    /// It waits, for that.
    pub(super) fn waits(&self, why: &str) {
        if self.is_shown {
            self.write(&format!("{}: waits: {why}", self.key));
        }
    }

    /// Nothing is shown any more.
    pub(super) fn clear(&self) {
        if self.is_shown {
            self.write("");
        }
    }

    /// The next line, whoever writes it, stands in its place.
    fn write(&self, line: &str) {
        let mut terminal = io::stderr().lock();
        // There is nobody to tell that nobody can be told.
        let _ = write!(terminal, "\r{line}\x1b[K\r").and_then(|()| terminal.flush());
    }
}

impl HowFar {
    /// Bytes that are here, to a chunk.
    fn held(&self) -> u64 {
        let part = u128::from(self.size) * u128::from(self.chunks_held) / u128::from(self.chunks_total.max(1));
        u64::try_from(part).unwrap_or(self.size)
    }

    fn line(&self, key: &str, rate: u64) -> String {
        if self.chunks_total == 0 {
            return format!("{key}: asks its seeder");
        }
        let percent = u64::from(self.chunks_held) * 100 / u64::from(self.chunks_total);
        let (held, size, rate) = (
            speech::bytes(self.held()),
            speech::bytes(self.size),
            speech::bytes(rate),
        );
        let neighbours = self.neighbours;
        format!("{key}: {percent} %, {held} of {size}, {rate}/s, {neighbours} neighbours")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_fast() {
        let far = HowFar {
            chunks_held: 10,
            chunks_total: 40,
            size: 160 << 20,
            neighbours: 7,
        };
        assert_eq!(
            far.line("a/b.zip", 1 << 20),
            "a/b.zip: 25 %, 40.0 MiB of 160.0 MiB, 1.0 MiB/s, 7 neighbours"
        );
        let unknown = HowFar { chunks_total: 0, ..far };
        assert_eq!(unknown.line("b", 0), "b: asks its seeder");
        assert_eq!(
            HowFar {
                size: u64::MAX,
                chunks_held: 40,
                ..far
            }
            .held(),
            u64::MAX
        );
    }
}
