//! What tests of forecasts share: scenarios from text, and regions of them.

#![allow(dead_code, reason = "each test file uses the part it needs")]

pub(crate) mod fleets;

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use scenario::{LoadOptions, Scenario};
use simulator::{Options, RegionResult, Status, forecast};

/// The scenario of a file with this text.
#[expect(
    clippy::disallowed_methods,
    reason = "a scenario is read from a file, which a test writes"
)]
pub(crate) fn scenario(text: &str, overrides: &[&str]) -> Scenario {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    load(&path, overrides).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The scenario of a file that is there.
pub(crate) fn loaded(path: &Path, overrides: &[&str]) -> Scenario {
    load(path, overrides).unwrap_or_else(|error| panic!("{error}"))
}

fn load(path: &Path, overrides: &[&str]) -> Result<Scenario, impl Display> {
    let options = LoadOptions {
        overrides: overrides.iter().map(|text| text.parse().unwrap()).collect(),
        ..LoadOptions::default()
    };
    Scenario::load(path, &options)
}

/// The first region of a forecast that is given up after `deadline`.
pub(crate) fn first_region(scenario: &Scenario, deadline: Duration) -> RegionResult {
    let done = forecast(
        scenario,
        &Options {
            threads: 1,
            deadline,
            record: false,
        },
        &Status::new(scenario),
    )
    .unwrap();
    done.regions.into_iter().next().unwrap()
}

/// When the last host had the build.
pub(crate) fn makespan(region: &RegionResult) -> Duration {
    let latencies = region.hosts.iter().filter_map(|host| host.verified_after);
    latencies.max().unwrap()
}
