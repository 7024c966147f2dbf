//! Whole regions in virtual time: the bound is never beaten, nothing depends on threads, faults do not keep healthy hosts
//! from converging, and what cannot end is told.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::path::Path;
use std::time::Duration;

use scenario::{HostState, RegionEnd, Scenario, Slack};
use simulator::{Forecast, Options, Status, forecast, memory_estimate};

const BASE: &str = r#"
[regions.region-a]
hosts = 200
[regions.region-b]
hosts = 100
[build]
size = "128 MiB"
chunk_size = "1 MiB"
[network]
latency = "1ms"
[network.host]
uplink = "1 Gbit/s"
downlink = "2 Gbit/s"
[swarm]
upload_slots = 1
chunks_in_flight = 2
"#;

fn scenario(more: &str, overrides: &[&str]) -> Scenario {
    rig::scenario(&format!("{BASE}{more}"), overrides)
}

fn run(scenario: &Scenario, threads: usize) -> Forecast {
    let deadline = Duration::from_secs(600);
    forecast(
        scenario,
        &Options {
            threads,
            deadline,
            record: false,
        },
        &Status::new(scenario),
    )
    .unwrap()
}

fn makespan(forecast: &Forecast, region: usize) -> Duration {
    rig::makespan(&forecast.regions[region])
}

/// What no schedule can beat in a region.
fn bound(scenario: &Scenario, region: usize) -> Duration {
    let bounds = scenario.bounds(&scenario.plan(region), Slack::default());
    bounds.unwrap().makespan()
}

#[test]
fn equal_scenarios_give_equal_results_with_any_number_of_threads() {
    let scenario = scenario("", &[]);
    let of = |threads| format!("{:?}", run(&scenario, threads));
    assert_eq!(of(1), of(2));
    let mut other = scenario.clone();
    other.seed += 1;
    assert_ne!(format!("{:?}", run(&other, 1)), of(1), "the seed matters");
}

#[test]
fn every_host_gets_every_byte_once_and_the_bound_is_not_beaten() {
    for overrides in [
        &[][..],
        &[
            "network.host.downlink=1 Gbit/s",
            "swarm.upload_slots=4",
            "swarm.chunks_in_flight=4",
        ],
        &["network.host.spread=50%", "swarm.upload_slots=2"],
        &["swarm.policy=rarest-first"],
        &["swarm.policy=random"],
        &["build.size=1 MiB"],
    ] {
        let scenario = scenario("", overrides);
        let forecast = run(&scenario, 2);
        for (index, region) in forecast.regions.iter().enumerate() {
            assert_eq!(region.end, RegionEnd::Converged, "{overrides:?}");
            let bound = bound(&scenario, index);
            let makespan = makespan(&forecast, index);
            assert!(makespan >= bound, "{overrides:?}: {makespan:?} beats {bound:?}");
            for host in &region.hosts {
                assert_eq!(host.state, HostState::Verified);
                assert_eq!(
                    host.bytes_from_seeder + host.bytes_from_peers,
                    scenario.build_size().get()
                );
            }
        }
    }
}

#[test]
fn the_scheduler_stays_close_to_the_bound() {
    // Some 5 % above what it is today, so that a change which costs more is seen.
    let scenario = scenario("", &[]);
    let bound = bound(&scenario, 0);
    let stretch = makespan(&run(&scenario, 2), 0).as_secs_f64() / bound.as_secs_f64();
    assert!(stretch < 1.25, "stretch {stretch:.3}");
}

#[test]
fn healthy_hosts_converge_on_a_bad_day() {
    let scenario = scenario(
        r#"
[faults.stalling]
kind = "stall"
hosts = "3%"
[faults.corrupting]
kind = "corrupt"
hosts = "3%"
[faults.leaving]
kind = "leave"
hosts = "3%"
at = "500ms"
[faults.late]
kind = "join-late"
hosts = "3%"
at = "600ms"
[faults.seeder]
kind = "seeder-restart"
at = "300ms"
for = "400ms"
"#,
        &[],
    );
    let forecast = run(&scenario, 2);
    for region in &forecast.regions {
        assert_eq!(region.end, RegionEnd::Converged);
        assert!(region.hosts.iter().all(|host| host.state != HostState::Pending));
        assert!(region.protocol.chunks_corrupt > 0, "the corrupt ones were met");
        let excused = region.hosts.iter().filter(|host| host.state == HostState::Excused);
        assert!(excused.count() <= region.hosts.len() * 6 / 100);
    }
}

const SLOW_SEEDERS: &str = "[network.seeder]\nuplink = \"400 Mbit/s\"\ndownlink = \"1 Gbit/s\"\n";

#[test]
fn several_slow_seeders_inject_together_what_one_would_take_too_long_for() {
    let one = scenario(SLOW_SEEDERS, &[]);
    let three = scenario(SLOW_SEEDERS, &["regions.region-a.seeders=3"]);
    let (of_one, of_three) = (run(&one, 2), run(&three, 2));
    let bound = bound(&three, 0);
    let (alone, together) = (makespan(&of_one, 0), makespan(&of_three, 0));
    assert!(together >= bound, "{together:?} beats {bound:?}");
    assert!(together * 3 < alone * 2, "{together:?} after {alone:?} with one");
    let injected = of_three.regions[0].seeder_bytes as f64 / three.build_size().get() as f64;
    assert!(injected < 4.0, "{injected:.2} copies from three seeders");
}

#[test]
fn a_region_goes_on_when_one_of_its_seeders_is_lost_whichever_it_is() {
    for lost in [0, 1] {
        let faults = format!(
            "{SLOW_SEEDERS}[faults.lost]\nkind = \"seeder-restart\"\nregions = [\"region-a\"]\nseeder = {lost}\n\
             at = \"300ms\"\nfor = \"1h\"\n[faults.late]\nkind = \"join-late\"\nhosts = \"5%\"\nat = \"800ms\"\n\
             [faults.leaving]\nkind = \"leave\"\nhosts = \"5%\"\nat = \"1s\"\n"
        );
        let overrides = ["regions.region-a.seeders=2"];
        let forecast = run(&scenario(&faults, &overrides), 2);
        let region = &forecast.regions[0];
        assert_eq!(region.end, RegionEnd::Converged, "seeder {lost} lost");
    }
}

#[test]
fn slow_hosts_do_not_hold_up_the_others() {
    let slow = "[network.classes.slow]\nhosts = \"2%\"\nuplink = \"100 Mbit/s\"\ndownlink = \"200 Mbit/s\"\n";
    let (with, without) = (run(&scenario(slow, &[]), 2), run(&scenario("", &[]), 2));
    let median = |forecast: &Forecast| {
        let mut all: Vec<_> = forecast.regions[0]
            .hosts
            .iter()
            .map(|h| h.verified_after.unwrap())
            .collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    // Where a chunk takes many round trips: a second copy is worth it.
    let near = run(&scenario(slow, &["network.latency=100us"]), 2);
    let hedged = near.regions.iter().map(|region| region.protocol.requests_hedged);
    assert!(hedged.sum::<u64>() > 0, "nobody asked for a late chunk twice");
    assert!(
        median(&with) < median(&without) * 5 / 4,
        "{:?} {:?}",
        median(&with),
        median(&without)
    );
}

#[test]
fn shared_links_and_the_bucket_take_their_time() {
    let plain = makespan(&run(&scenario("", &[]), 2), 0);
    let racks = "[network.racks]\nhosts = 20\nuplink = \"1 Gbit/s\"\n";
    let with_racks = makespan(&run(&scenario(racks, &[]), 2), 0);
    // Twenty hosts share what one of them has: nearly every chunk crosses it.
    assert!(with_racks > plain * 5, "{with_racks:?} after {plain:?}");
    let zones = "[network.zones]\nuplink = \"10 Gbit/s\"\nlatency = \"5ms\"\n";
    let zoned = run(&scenario(zones, &["regions.region-a.zones=2"]), 2);
    assert!(makespan(&zoned, 0) > plain, "ten links for a hundred hosts");
    assert!(zoned.regions[0].cross_zone_bytes > Some(0));
    let pulled = run(&scenario("[network.bucket]\nrate = \"1 Gbit/s\"\n", &[]), 2);
    assert_eq!(pulled.seeding_after[0], Duration::from_nanos(128 * 8 * (1 << 20)));
    assert_eq!(
        pulled.outcomes()[0].verified_after.unwrap(),
        pulled.regions[0].hosts[0].verified_after.unwrap() + pulled.seeding_after[0]
    );
}

#[test]
fn rows_take_as_long_as_the_table_lets_them() {
    let logs = "[network.logs]\nrows_per_second = 10\nlatency = \"20ms\"\n";
    let scenario = scenario(logs, &[]);
    let forecast = run(&scenario, 2);
    let last = forecast.last_row_after(&scenario.network.logs).unwrap();
    assert!(last >= Duration::from_secs(30), "300 rows at ten a second: {last:?}");
}

#[test]
fn a_region_that_cannot_converge_ends_at_the_deadline_and_tells_who_lacks_what() {
    // Everybody takes requests and nobody serves, but for the seeder.
    let scenario = scenario("[faults.all]\nkind = \"stall\"\nhosts = \"100%\"\n", &[]);
    let options = Options {
        threads: 2,
        deadline: Duration::from_secs(20),
        record: false,
    };
    let forecast = forecast(&scenario, &options, &Status::new(&scenario)).unwrap();
    assert_eq!(forecast.regions[0].end, RegionEnd::Deadline);
    assert_eq!(forecast.regions[0].virtual_time, Duration::from_secs(20));
    let stuck = forecast.regions[0]
        .hosts
        .iter()
        .find(|host| host.state == HostState::Pending)
        .unwrap();
    assert!(stuck.chunks_held < 128 && stuck.neighbours > 0);
}

#[test]
fn a_forecast_can_be_stopped_and_needs_links() {
    let scenario = scenario("", &["regions.region-a.hosts=2000"]);
    let status = Status::new(&scenario);
    status.stop();
    let options = Options {
        threads: 2,
        deadline: Duration::from_secs(20),
        record: false,
    };
    let stopped = forecast(&scenario, &options, &status).unwrap();
    assert_eq!(stopped.regions[0].end, RegionEnd::Stopped);
    let mut unlimited = scenario.clone();
    unlimited.network.host = None;
    let error = forecast(&unlimited, &options, &status).unwrap_err();
    assert!(error.to_string().contains("network.host"), "{error}");
}

#[test]
fn the_scenarios_that_ship_can_be_planned_and_their_memory_is_known() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios"));
    for (name, most) in [
        ("100k-hosts-10gb", 8_u64 << 30),
        ("1m-hosts", 20 << 30),
        ("kraken-2600", 1 << 30),
    ] {
        let path = folder.join(format!("{name}.toml"));
        let scenario = rig::loaded(&path, &[]);
        let estimate = memory_estimate(&scenario, 2);
        assert!(estimate < most, "{name}: {estimate}");
        assert!(
            memory_estimate(&scenario, 4) >= estimate,
            "more threads hold more regions"
        );
    }
}

#[test]
fn a_slow_disk_holds_a_host_and_its_bound_as_a_slow_downlink_would() {
    let disk = scenario("", &["network.host.disk=40 MB/s"]);
    let downlink = scenario(
        "",
        &[
            "network.host.downlink=40 MB/s",
            "network.seeder.uplink=1 Gbit/s",
            "network.seeder.downlink=2 Gbit/s",
        ],
    );
    let (of_disk, of_downlink) = (run(&disk, 2), run(&downlink, 2));
    assert_eq!(format!("{of_disk:?}"), format!("{of_downlink:?}"));
    assert_eq!(bound(&disk, 0), bound(&downlink, 0));
    // 128 MiB at 40 MB/s.
    assert!(bound(&disk, 0) >= Duration::from_millis(3_355));
    assert!(makespan(&of_disk, 0) >= bound(&disk, 0));
}

const SLOW: &str = "[faults.tired]\nkind = \"slow-down\"\nhosts = \"5%\"\nat = \"500ms\"\nto = \"10%\"\n";

fn verified(forecast: &Forecast, host: u32) -> Duration {
    forecast.regions[0].hosts[host as usize].verified_after.unwrap()
}

#[test]
fn a_host_that_slows_down_is_late_by_what_its_links_take_then_and_others_by_less() {
    let (healthy, slow) = (scenario("", &[]), scenario(SLOW, &[]));
    let (before, after) = (run(&healthy, 2), run(&slow, 2));
    let tired: Vec<u32> = slow.plan(0).disturbances.iter().map(|slow| slow.host).collect();
    assert_eq!(tired.len(), 10);
    // Until then it has at most what 500 ms let through, and the rest comes at 25 MB/s.
    let first = 125_000_000_u64;
    let least = Duration::from_secs_f64(0.5 + (slow.build_size().get() - first) as f64 / 25e6);
    let deadline = slow.time_limit();
    for host in &tired {
        let at = verified(&after, *host);
        assert!(at >= least && at < deadline, "{at:?} of {least:?} to {deadline:?}");
    }
    // Who had asked one of them waits for it, and asks somebody else in the end.
    let others = (0..200).filter(|host| !tired.contains(host));
    let last = |forecast: &Forecast| others.clone().map(|host| verified(forecast, host)).max().unwrap();
    let first_tired = tired.iter().map(|host| verified(&after, *host)).min().unwrap();
    assert!(
        last(&before) <= last(&after),
        "{:?} and {:?}",
        last(&before),
        last(&after)
    );
    assert!(last(&after) < first_tired, "{:?} and {first_tired:?}", last(&after));
    assert_eq!(bound(&slow, 0), bound(&healthy, 0), "the bound ignores it");
}

#[test]
fn a_slow_down_that_ends_gives_its_links_back() {
    let for_ever = run(&scenario(SLOW, &["faults.tired.to=0.01%"]), 2);
    assert_eq!(for_ever.regions[0].end, RegionEnd::Deadline);
    let slow = scenario(SLOW, &["faults.tired.to=0.01%", "faults.tired.for=5s"]);
    let after = run(&slow, 2);
    assert_eq!(after.regions[0].end, RegionEnd::Converged);
    for slow in &slow.plan(0).disturbances {
        let at = verified(&after, slow.host);
        // It has its links back at 5.5 s, and the whole build takes them 0.54 s.
        assert!(
            at >= Duration::from_millis(5_500) && at < Duration::from_millis(7_500),
            "{at:?}"
        );
    }
}
