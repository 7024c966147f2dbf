//! What a scenario has go wrong, said as it happens.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use scenario::Scenario;

/// Faults that begin and end, in that order, and how many of these were said.
#[derive(Debug, Default)]
pub(super) struct Happening {
    lines: Vec<(Duration, String)>,
    said: Mutex<usize>,
}

impl Happening {
    /// Of a run whose seeders began to seed so long after the build was complete in their buckets.
    pub(super) fn new(scenario: &Scenario, seeding_after: Duration) -> Self {
        let times = scenario.fault_times(seeding_after).into_iter();
        let mut lines: Vec<(Duration, String)> = times
            .flat_map(|of| {
                let at = |time: Duration| format!("after {:.1} s", time.as_secs_f64());
                let begins = (of.at, format!("fault {} begins, {}", of.name, at(of.at)));
                let ends = of
                    .until
                    .map(|until| (until, format!("fault {} ends, {}", of.name, at(until))));
                [Some(begins), ends.filter(|(until, _)| *until > of.at)]
            })
            .flatten()
            .collect();
        lines.sort_by_key(|(at, _)| *at);
        Self {
            lines,
            said: Mutex::default(),
        }
    }

    /// What has happened by now and was not said yet.
    pub(super) fn by(&self, now: Duration) -> Vec<&str> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let new = self.lines[*said..].iter().take_while(|(at, _)| *at <= now);
        let new: Vec<&str> = new.map(|(_, line)| line.as_str()).collect();
        *said += new.len();
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_begin_and_end_is_said_once_when_it_has_come() {
        let text = "[regions.a]\nhosts = 10\n[build]\nsize = \"1 MiB\"\n\
            [faults.away]\nkind = \"seeder-restart\"\nat = \"4s\"\nfor = \"500ms\"\n\
            [faults.stalling]\nkind = \"stall\"\nhosts = 1\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.toml");
        std::fs::write(&file, text).unwrap();
        let scenario = Scenario::load(&file, &scenario::LoadOptions::default()).unwrap();
        let happening = Happening::new(&scenario, Duration::from_secs(1));
        let by = |ms: u64| happening.by(Duration::from_millis(ms));
        assert_eq!(by(0), ["fault stalling begins, after 0.0 s"]);
        assert!(by(4900).is_empty());
        assert_eq!(by(5000), ["fault away begins, after 5.0 s"]);
        assert_eq!(by(9000), ["fault away ends, after 5.5 s"]);
        assert!(by(90_000).is_empty());
    }
}
