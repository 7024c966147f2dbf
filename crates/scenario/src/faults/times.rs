//! When what goes wrong, for who shows it.

use std::time::Duration;

use crate::Scenario;

/// When a fault of a scenario begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultTime {
    /// Its name in the file.
    pub name: String,
    /// After the build was complete in the regional bucket.
    pub at: Duration,
    /// Likewise; it goes on to the end where absent.
    pub until: Option<Duration>,
}

impl Scenario {
    /// Its faults by when they begin, where the seeders began to seed so long after the build was complete in their buckets.
    pub fn fault_times(&self, seeding_after: Duration) -> Vec<FaultTime> {
        let time = |name: &str, at: Duration, lasts: Option<Duration>| FaultTime {
            name: name.to_owned(),
            at,
            until: lasts.map(|lasts| at + lasts),
        };
        let of_hosts = self.faults.iter().map(|of| time(&of.name, of.at, of.lasts));
        let between = self
            .network_faults
            .iter()
            .map(|of| time(&of.name, of.at, Some(of.lasts)));
        // Those of seeders count from when they began to seed.
        let of_seeders = self
            .seeder_faults
            .iter()
            .map(|of| time(&of.name, of.at + seeding_after, of.down));
        let mut times: Vec<FaultTime> = of_hosts.chain(between).chain(of_seeders).collect();
        times.sort_by_key(|of| of.at);
        times
    }
}
