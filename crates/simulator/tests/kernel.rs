//! The kernel fidelity: the bound is not beaten either, it is near the faithful one, and says what it cannot do.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::time::Duration;

use scenario::{Fidelity, RegionEnd, Scenario, Slack};
use simulator::{Forecast, Options, SimulationError, Status, forecast, kernel_difference};

const OPTIONS: Options = Options {
    threads: 2,
    deadline: Duration::from_secs(600),
    record: false,
};

fn scenario(hosts: u32, downlink: &str, more: &str) -> Scenario {
    scenario_of("fidelity = \"kernel\"", hosts, downlink, more)
}

fn scenario_of(first: &str, hosts: u32, downlink: &str, more: &str) -> Scenario {
    let text = format!(
        "{first}\n[regions.region-a]\nhosts = {hosts}\n[regions.region-b]\nhosts = {hosts}\n\
         [build]\nsize = \"128 MiB\"\nchunk_size = \"1 MiB\"\n[network.host]\nuplink = \"1 Gbit/s\"\n\
         downlink = \"{downlink}\"\n[swarm]\nupload_slots = 1\nchunks_in_flight = 2\n{more}"
    );
    rig::scenario(&text, &[])
}

fn run(scenario: &Scenario) -> Forecast {
    forecast(scenario, &OPTIONS, &Status::new(scenario)).unwrap()
}

/// What no schedule can beat in a region.
fn bound(scenario: &Scenario, region: usize) -> Duration {
    let bounds = scenario.bounds(&scenario.plan(region), Slack::default());
    bounds.unwrap().makespan()
}

#[test]
fn it_is_between_the_bound_and_the_faithful_forecast() {
    for hosts in [30, 200, 600] {
        let scenario = scenario(hosts, "2 Gbit/s", "");
        let forecast = run(&scenario);
        assert_eq!(forecast.regions[0].end, RegionEnd::Converged);
        assert_eq!(forecast.regions[0].transfers, u64::from(hosts) * 128);
        let last = forecast.regions[0]
            .hosts
            .iter()
            .filter_map(|host| host.verified_after)
            .max();
        assert!(last.unwrap() >= bound(&scenario, 0));
        let difference = kernel_difference(&scenario, &OPTIONS, &Status::new(&scenario))
            .unwrap()
            .unwrap();
        assert_eq!(difference.hosts, hosts);
        assert_eq!(difference.kernel, last.unwrap());
        let percent = difference.percent();
        assert!((-12.0..=1.0).contains(&percent), "{hosts} hosts: {percent} %");
    }
}

#[test]
fn a_forecast_that_is_stopped_is_not_compared() {
    let scenario = scenario(30, "2 Gbit/s", "");
    let status = Status::new(&scenario);
    status.stop();
    assert!(kernel_difference(&scenario, &OPTIONS, &status).unwrap().is_none());
}

#[test]
fn equal_scenarios_give_equal_results_with_any_number_of_threads() {
    let scenario = scenario(100, "1 Gbit/s", "");
    let one = Options { threads: 1, ..OPTIONS };
    let of = |options| format!("{:?}", forecast(&scenario, options, &Status::new(&scenario)).unwrap());
    assert_eq!(of(&OPTIONS), of(&one));
}

#[test]
fn everybody_converges_with_narrow_and_with_mixed_links_and_alone() {
    for (hosts, downlink, more) in [
        (300, "1 Gbit/s", ""),
        (
            300,
            "2 Gbit/s",
            "[network.classes.slow]\nhosts = \"5%\"\nuplink = \"100 Mbit/s\"\ndownlink = \"100 Mbit/s\"\n",
        ),
        (1, "1 Gbit/s", ""),
        (2, "1 Gbit/s", ""),
    ] {
        let region = &run(&scenario(hosts, downlink, more)).regions[0];
        assert_eq!(region.end, RegionEnd::Converged, "{hosts} hosts, {downlink}, {more}");
        assert!(region.hosts.iter().all(|host| host.chunks_held == 128));
    }
}

#[test]
fn what_needs_the_protocol_is_refused_by_name() {
    // A file that says both is refused when it is read; here the fidelity changes after that.
    let stall = "[faults.x]\nkind = \"stall\"\nhosts = 1\n";
    let mut faulty = scenario_of("fidelity = \"faithful\"", 100, "2 Gbit/s", stall);
    faulty.fidelity = Fidelity::Kernel;
    let error = forecast(&faulty, &OPTIONS, &Status::new(&faulty)).unwrap_err();
    assert!(
        matches!(&error, SimulationError::NotInKernel { keys } if keys == "faults"),
        "{error}"
    );
    let mut faithful = faulty;
    faithful.fidelity = Fidelity::Faithful;
    assert_eq!(run(&faithful).regions[0].end, RegionEnd::Converged);
}

#[test]
fn a_host_receives_no_more_at_a_time_than_it_may_ask_for() {
    let last = |chunks_in_flight: usize| {
        let mut scenario = scenario(200, "4 Gbit/s", "");
        scenario.swarm.chunks_in_flight = Some(chunks_in_flight);
        let region = &run(&scenario).regions[0];
        assert_eq!(region.end, RegionEnd::Converged);
        rig::makespan(region)
    };
    // Two chunks at a time hide that one is on its way; a third one finds no more uplinks.
    assert!(last(1) > last(2), "{:?} and {:?}", last(1), last(2));
}

#[test]
fn what_crosses_zones_is_left_out_and_not_made_up() {
    let mut scenario = scenario(60, "2 Gbit/s", "");
    for region in &mut scenario.regions {
        region.zones = 3;
    }
    for region in &run(&scenario).regions {
        assert_eq!(region.cross_zone_bytes, None);
    }
    scenario.fidelity = Fidelity::Faithful;
    assert!(run(&scenario).regions[0].cross_zone_bytes > Some(0));
}
