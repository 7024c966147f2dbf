//! Zones: payload stays within them, at no cost in time, and none starves for it.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::time::Duration;

use rig::makespan;
use scenario::{HostState, RegionEnd};
use simulator::RegionResult;

/// 120 hosts in three zones, 64 chunks.
const BASE: &str = r#"
[regions.region-a]
hosts = 120
zones = 3
[build]
size = "64 MiB"
chunk_size = "1 MiB"
[network]
latency = "200us"
[network.zones]
latency = "1ms"
[network.host]
uplink = "1 Gbit/s"
downlink = "2 Gbit/s"
[swarm]
upload_slots = 1
chunks_in_flight = 2
"#;

fn run(more: &str, overrides: &[&str]) -> RegionResult {
    let scenario = rig::scenario(&format!("{BASE}{more}"), overrides);
    rig::first_region(&scenario, Duration::from_secs(300))
}

fn copies_across(region: &RegionResult) -> f64 {
    region.cross_zone_bytes.unwrap() as f64 / f64::from(64 << 20)
}

#[test]
fn about_one_copy_of_the_build_comes_into_each_zone_and_nobody_waits_for_it() {
    let (aware, blind) = (run("", &[]), run("", &["swarm.locality=none"]));
    assert_eq!(aware.end, RegionEnd::Converged);
    assert!(copies_across(&blind) > 30.0, "{}", copies_across(&blind));
    assert!(copies_across(&aware) < 3.0 * 3.0, "{}", copies_across(&aware));
    assert!(aware.protocol.chunks_imported > 0 && blind.protocol.chunks_imported == 0);
    // One seed's last host differs from another's by up to four percent.
    let median = |locality: &str| {
        let of = |seed: u32| makespan(&run("", &[locality, &format!("seed={seed}")]));
        let mut all = [1, 2, 3, 4, 5].map(of);
        all.sort_unstable();
        all[all.len() / 2]
    };
    let (aware, blind) = (median("swarm.locality=zones"), median("swarm.locality=none"));
    // It was within five percent before all had the manifest from the beginning, which who chooses among all neighbours gains more by.
    assert!(aware < blind * 108 / 100, "{aware:?} and {blind:?} without");
}

#[test]
fn a_zone_that_comes_when_the_seeder_is_long_busy_with_others_does_not_starve() {
    let late = "[faults.late]\nkind = \"join-late\"\nzone = 1\nhosts = \"100%\"\nat = \"200ms\"\n";
    let region = run(late, &[]);
    assert_eq!(region.end, RegionEnd::Converged);
    let latest = |zone: usize| {
        let hosts = region.hosts.iter().skip(zone).step_by(3);
        hosts.filter_map(|host| host.verified_after).max().unwrap()
    };
    // Its hosts count from when they come.
    assert!(latest(1) < latest(0) * 3 / 2, "{:?} and {:?}", latest(1), latest(0));
    assert!(copies_across(&region) < 3.0 * 3.0, "{}", copies_across(&region));
}

#[test]
fn when_all_who_were_invited_stall_or_leave_the_zone_fetches_by_itself() {
    let faults = "[faults.a]\nkind = \"stall\"\nzone = 1\nhosts = \"40%\"\n\
                  [faults.b]\nkind = \"leave\"\nzone = 2\nhosts = \"60%\"\nat = \"100ms\"\n";
    let region = run(faults, &[]);
    assert_eq!(region.end, RegionEnd::Converged);
    let pending = region.hosts.iter().filter(|host| host.state == HostState::Pending);
    assert_eq!(pending.count(), 0);
}

#[test]
fn a_zone_of_a_host_or_two_is_not_left_alone() {
    for hosts in [3, 4, 7] {
        let region = run("", &[&format!("regions.region-a.hosts={hosts}")]);
        assert_eq!(region.end, RegionEnd::Converged, "{hosts} hosts");
        assert!(makespan(&region) < Duration::from_secs(2), "{:?}", makespan(&region));
    }
}

#[test]
fn zones_do_not_matter_where_nobody_is_in_one() {
    let region = run("", &["regions.region-a.zones=1"]);
    assert_eq!(region.protocol.chunks_imported, 0);
    assert_eq!(region.cross_zone_bytes, Some(0));
    assert_eq!(region.end, RegionEnd::Converged);
}
