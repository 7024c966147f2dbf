//! Links that many chunks share: no link carries more than it can, in fleets where that once went wrong.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::path::Path;
use std::time::Duration;

use scenario::{RegionEnd, Scenario};
use simulator::{Forecast, Options, Status, forecast};

fn shipped(name: &str, overrides: &[&str]) -> Scenario {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios"));
    rig::loaded(&folder.join(name), overrides)
}

fn run(scenario: &Scenario) -> Forecast {
    let deadline = Duration::from_secs(3600);
    forecast(
        scenario,
        &Options {
            threads: 1,
            deadline,
            record: false,
        },
        &Status::new(scenario),
    )
    .unwrap()
}

#[test]
fn many_chunks_into_one_downlink_do_not_get_its_rest_twice() {
    // With overflow checks this panicked: two chunks from one sender to one receiver were each given all that was left there.
    let scenario = shipped("kraken-2600.toml", &["regions.region-a.hosts=60", "build.size=500 MB"]);
    let forecast = run(&scenario);
    assert_eq!(forecast.regions[0].end, RegionEnd::Converged);
}

/// Nine hosts with the fastest links and one with the slowest, which takes over a quarter of an hour for the build.
const EXTREMES: &str = r#"
[regions.region-a]
hosts = 10
[build]
size = "1 KiB"
chunk_size = "16 B"
[network.host]
uplink = "1 Tbit/s"
downlink = "1 Tbit/s"
[network.classes.slow]
hosts = 1
uplink = "1 B/s"
downlink = "1 B/s"
"#;

#[test]
fn a_byte_a_second_and_a_terabit_are_in_one_fleet() {
    // With whole bytes a second three chunks into one byte a second had no rate, and waited for ever.
    let scenario = rig::scenario(EXTREMES, &["swarm.patience=10m"]);
    let forecast = run(&scenario);
    let region = &forecast.regions[0];
    assert_eq!(region.end, RegionEnd::Converged);
    let mut after: Vec<Duration> = region.hosts.iter().filter_map(|host| host.verified_after).collect();
    after.sort_unstable();
    assert!(after[8] < Duration::from_secs(60), "{after:?}");
    assert!(after[9] >= Duration::from_secs(1024), "{after:?}");
}

#[test]
fn a_year_is_not_too_long() {
    let late = "[faults.late]\nkind = \"join-late\"\nhosts = 1\nat = \"8760h\"\n";
    let scenario = rig::scenario(
        &format!("{EXTREMES}{late}"),
        &["regions.region-a.hosts=2", "network.classes.slow.hosts=0", "seed=2"],
    );
    let (hours, threads) = (9000, 1);
    let deadline = Duration::from_secs(hours * 3600);
    let forecast = forecast(
        &scenario,
        &Options {
            threads,
            deadline,
            record: false,
        },
        &Status::new(&scenario),
    )
    .unwrap();
    assert_eq!(forecast.regions[0].end, RegionEnd::Converged);
    assert!(forecast.regions[0].virtual_time >= Duration::from_secs(8760 * 3600));
}
