//! Builds that come to hosts which stay up: a line for each that is on its way, and nothing between them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use super::rate::Rate;
use super::{Done, Screen, lock, percent, seconds};
use crate::live::FleetStatus;

/// The builds that are on their way now.
pub(crate) struct Builds {
    state: Mutex<State>,
}

struct State {
    screen: Screen,
    on_their_way: BTreeMap<String, Build>,
}

struct Build {
    began: Instant,
    rate: Rate,
    share: f64,
    hosts: u32,
    of: u32,
    line: Vec<String>,
}

impl Builds {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                screen: Screen::new(),
                on_their_way: BTreeMap::new(),
            }),
        }
    }

    /// How hosts stand with one, which has so many `bytes`.
    pub(crate) fn note(&self, name: &str, bytes: u64, status: &FleetStatus) {
        let mut state = lock(&self.state);
        if state.on_their_way.is_empty() {
            // Plain lines come soon again: those of a build that was there an hour ago had become rare.
            state.screen = Screen::new();
        }
        let build = state.on_their_way.entry(name.to_owned()).or_insert_with(|| Build {
            began: Instant::now(),
            rate: Rate::default(),
            share: 0.0,
            hosts: 0,
            of: 0,
            line: Vec::new(),
        });
        build.note(name, bytes, status);
        state.screen.show(&state.lines());
    }

    /// One is over, however it ended.
    pub(crate) fn over(&self, name: &str) {
        let mut state = lock(&self.state);
        state.on_their_way.remove(name);
        if state.on_their_way.is_empty() {
            state.screen.finish();
        }
    }

    /// Does something that prints.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        lock(&self.state).screen.suspend(print)
    }
}

impl Build {
    fn note(&mut self, name: &str, bytes: u64, status: &FleetStatus) {
        let held = status.held.first().map_or(0.0, |held| held.share());
        self.hosts = status.done.iter().sum();
        self.of = self.hosts + (status.pending + status.failed) as u32;
        // Those that are done have all of it, whoever is in the sample.
        self.share = held.max(f64::from(self.hosts) / f64::from(self.of.max(1)));
        let done = Done {
            name,
            share: self.share,
            hosts: self.hosts,
            of: self.of,
        };
        self.line = done.line(&mut self.rate, self.began.elapsed(), bytes);
        if status.failed > 0 {
            self.line.insert(1, format!("{} failed", status.failed));
        }
        self.line
            .extend(self.rate.left().map(|left| format!("{} left", seconds(left))));
    }
}

impl State {
    /// Where several are on their way, all of them together come first: of plain lines only that is shown.
    fn lines(&self) -> Vec<Vec<String>> {
        let all = self.on_their_way.values();
        let mut lines: Vec<_> = all.clone().map(|build| build.line.clone()).collect();
        if lines.len() > 1 {
            let (hosts, of): (u32, u32) = (all.clone().map(|b| b.hosts).sum(), all.clone().map(|b| b.of).sum());
            let share = all.map(|b| b.share * f64::from(b.of)).sum::<f64>() / f64::from(of.max(1));
            let together = vec![
                format!("{} builds {:.0} %", lines.len(), percent(share)),
                format!("{hosts} of {of} hosts"),
            ];
            lines.insert(0, together);
        }
        lines.truncate(LINES_MAX);
        lines
    }
}

/// Builds beyond are in the first line only.
const LINES_MAX: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Held;

    fn status(chunks: u64, done: u32, failed: usize) -> FleetStatus {
        FleetStatus {
            done: vec![done],
            failed,
            pending: 50 - done as usize - failed,
            held: vec![Held { chunks, of: 1000 }],
            ..FleetStatus::default()
        }
    }

    fn lines(builds: &Builds) -> Vec<String> {
        let lines = lock(&builds.state).lines();
        lines.iter().map(|line| line.join(", ")).collect()
    }

    #[test]
    fn a_build_on_its_way_is_told_as_a_run_tells_it() {
        let builds = Builds::new();
        builds.note("region-a: app.tar.gz", 1 << 20, &status(437, 0, 0));
        assert_eq!(lines(&builds), ["region-a: app.tar.gz 43 %, 0 of 50 hosts, 0 B/s"]);
        builds.note("region-a: app.tar.gz", 1 << 20, &status(996, 48, 2));
        assert_eq!(
            lines(&builds),
            ["region-a: app.tar.gz 99 %, 2 failed, 48 of 50 hosts, 0 B/s"]
        );
        builds.over("region-a: app.tar.gz");
        assert!(lines(&builds).is_empty());
    }

    #[test]
    fn several_builds_are_told_together_first() {
        let builds = Builds::new();
        builds.note("region-a: app.tar.gz", 1 << 20, &status(500, 0, 0));
        builds.note("region-b: app.tar.gz", 1 << 20, &status(1000, 50, 0));
        assert_eq!(
            lines(&builds),
            [
                "2 builds 75 %, 50 of 100 hosts",
                "region-a: app.tar.gz 50 %, 0 of 50 hosts, 0 B/s",
                "region-b: app.tar.gz 100 %, 50 of 50 hosts, 0 B/s"
            ]
        );
        builds.over("region-b: app.tar.gz");
        assert_eq!(lines(&builds).len(), 1);
    }
}
