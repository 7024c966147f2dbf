//! A region in which nothing moves: it goes on where somebody is to come or return, however late, and ends where not.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::time::Duration;

use scenario::RegionEnd;
use simulator::RegionResult;

/// Half a second of work.
const BASE: &str = r#"
[regions.region-a]
hosts = 60
[build]
size = "32 MiB"
chunk_size = "1 MiB"
[network.host]
uplink = "1 Gbit/s"
downlink = "2 Gbit/s"
"#;

const HOUR: Duration = Duration::from_secs(3600);

fn run(faults: &str, overrides: &[&str], deadline: Duration) -> RegionResult {
    rig::first_region(&rig::scenario(&format!("{BASE}{faults}"), overrides), deadline)
}

#[test]
fn a_host_that_is_due_much_later_is_waited_for() {
    for after in ["15m", "5h"] {
        let late = format!("[faults.late]\nkind = \"join-late\"\nhosts = 1\nat = \"{after}\"\n");
        let region = run(&late, &[], 12 * HOUR);
        assert_eq!(region.end, RegionEnd::Converged, "after {after}");
    }
}

#[test]
fn a_seeder_that_is_away_for_long_is_waited_for() {
    let away = "[faults.away]\nkind = \"seeder-restart\"\nat = \"20ms\"\nfor = \"15m\"\n";
    let region = run(away, &[], 12 * HOUR);
    assert_eq!(region.end, RegionEnd::Converged);
    assert!(region.virtual_time > Duration::from_secs(15 * 60));
}

#[test]
fn who_would_come_after_the_deadline_is_not_waited_for() {
    let away = "[faults.away]\nkind = \"seeder-restart\"\nat = \"20ms\"\nfor = \"100h\"\n";
    let region = run(away, &[], 12 * HOUR);
    assert_eq!(region.end, RegionEnd::Deadlock);
    assert!(region.virtual_time < HOUR, "{:?}", region.virtual_time);
}

#[test]
fn a_chunk_that_takes_an_hour_and_patience_for_it_are_no_deadlock() {
    // Two hosts, so that nothing else moves meanwhile; the one that stalls is asked first or not at all.
    let slow = "[network.seeder]\nuplink = \"300 B/s\"\ndownlink = \"300 B/s\"\n\
                [faults.stalls]\nkind = \"stall\"\nhosts = 1\n";
    let overrides = ["regions.region-a.hosts=2", "build.size=2 MiB", "swarm.patience=30m"];
    let region = run(slow, &overrides, 100 * HOUR);
    assert_ne!(region.end, RegionEnd::Deadlock, "{:?}", region.virtual_time);
}
