//! Links that many chunks share: no link carries more than it can, in fleets where that once went wrong.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::path::Path;
use std::time::Duration;

use scenario::{LoadOptions, Scenario};
use simulator::{Forecast, Options, RegionEnd, Status, forecast};

fn load(path: &Path, overrides: &[&str]) -> Scenario {
    let options = LoadOptions {
        overrides: overrides.iter().map(|text| text.parse().unwrap()).collect(),
        ..LoadOptions::default()
    };
    Scenario::load(path, &options).unwrap_or_else(|error| panic!("{error}"))
}

fn shipped(name: &str, overrides: &[&str]) -> Scenario {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios"));
    load(&folder.join(name), overrides)
}

fn run(scenario: &Scenario) -> Forecast {
    let deadline = Duration::from_secs(3600);
    forecast(scenario, &Options { threads: 1, deadline }, &Status::new(scenario)).unwrap()
}

#[test]
fn many_chunks_into_one_downlink_do_not_get_its_rest_twice() {
    // With overflow checks this panicked: two chunks from one sender to one receiver were each given all that was left there.
    let scenario = shipped("kraken-2600.toml", &["regions.region-a.hosts=60", "build.size=500 MB"]);
    let forecast = run(&scenario);
    assert_eq!(forecast.regions[0].end, RegionEnd::Converged);
}
