//! The protocol's defaults on fleets of all kinds, with no `[swarm]` section: how much later than the bound the last host is.
//!
//! ```sh
//! FLEETCAST_GRID=0..40 cargo test --release -p simulator --test grid -- --ignored --nocapture
//! ```

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::time::Duration;

use rig::fleets::Fleet;
use scenario::Slack;
use simulator::{Options, Status, forecast};

/// The last host's latency over the bound.
fn last(fleet: &Fleet) -> f64 {
    let scenario = rig::scenario(&fleet.scenario(), &[]);
    let bounds = scenario.bounds(&scenario.plan(0), Slack::default()).unwrap();
    let options = Options {
        threads: 1,
        deadline: bounds.makespan() * 30 + Duration::from_secs(60),
        record: false,
    };
    let done = forecast(&scenario, &options, &Status::new(&scenario)).unwrap();
    let latency = |host: &simulator::HostResult| host.verified_after.map_or(f64::INFINITY, |after| after.as_secs_f64());
    let last = done.regions[0].hosts.iter().map(latency).fold(0.0, f64::max);
    last / bounds.makespan().as_secs_f64()
}

/// Of the fleets of these numbers, as a table.
fn play(numbers: impl Iterator<Item = u64>, hosts_max: u32) -> Vec<f64> {
    let play = |number| {
        let mut fleet = Fleet::draw(number);
        fleet.hosts = fleet.hosts.min(hosts_max);
        let last = last(&fleet);
        eprintln!("{fleet}  {last:.3}");
        last
    };
    let lasts: Vec<f64> = numbers.map(play).collect();
    let excess = lasts.iter().map(|last| (last - 1.0).max(0.001).ln());
    let mean = (excess.sum::<f64>() / lasts.len() as f64).exp();
    let worst = lasts.iter().copied().fold(0.0, f64::max);
    let above = lasts.iter().filter(|last| **last > 1.15).count();
    eprintln!(
        "{} fleets: worst {worst:.3}, geometric mean of the excess {mean:.3}, {above} above 1.15",
        lasts.len()
    );
    lasts
}

#[test]
fn equal_hosts_are_near_the_bound_whatever_their_links() {
    // D = U, D = 1.5 U and a long way, D = 2 U, D = 4 U and a long way.
    let lasts = play([3, 16, 15, 13].into_iter(), 60);
    for last in lasts {
        assert!((1.0..=1.15).contains(&last), "{last}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "which fleets are drawn may be said by who runs it"
)]
#[test]
#[ignore = "all fleets take minutes: the command stands above"]
fn the_whole_grid() {
    let numbers = std::env::var("FLEETCAST_GRID").unwrap_or_else(|_| "0..100".to_owned());
    let (from, to) = numbers.split_once("..").expect("numbers as 0..100");
    let lasts = play(from.parse().unwrap()..to.parse().unwrap(), u32::MAX);
    assert!(
        lasts.iter().all(|last| *last >= 1.0),
        "nothing is faster than the bound"
    );
}
