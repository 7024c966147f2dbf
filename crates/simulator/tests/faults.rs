//! Every fault of a scenario file in virtual time: what it does to its hosts is seen, and the others are not held up.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::time::Duration;

use rig::makespan;
use scenario::{HostState, RegionEnd, Scenario};
use simulator::{HostResult, RegionResult};

/// Some 0.7 s of work where nothing goes wrong.
const BASE: &str = r#"
[regions.region-a]
hosts = 60
[build]
size = "64 MiB"
chunk_size = "512 KiB"
[network]
latency = "1ms"
[network.host]
uplink = "1 Gbit/s"
downlink = "2 Gbit/s"
"#;

const BUILD: u64 = 64 << 20;

fn scenario(faults: &str, overrides: &[&str]) -> Scenario {
    rig::scenario(&format!("{BASE}{faults}"), overrides)
}

/// The region of a forecast within the time limit of its scenario.
fn run_to_the_end(scenario: &Scenario) -> RegionResult {
    rig::first_region(scenario, scenario.time_limit())
}

/// The same, where everybody of whom that is expected gets the build.
fn run(scenario: &Scenario) -> RegionResult {
    let region = run_to_the_end(scenario);
    assert_eq!(region.end, RegionEnd::Converged);
    assert!(region.hosts.iter().all(|host| host.state != HostState::Pending));
    region
}

fn verified(host: &HostResult) -> Duration {
    host.verified_after.unwrap()
}

/// Those of whom `is` is true and the others, each by when they had the build.
fn divided(region: &RegionResult, is: impl Fn(u32) -> bool) -> [Vec<Duration>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for (index, host) in (0..).zip(&region.hosts) {
        times[usize::from(!is(index))].push(verified(host));
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    times
}

const UNDISTURBED: Duration = Duration::from_millis(1_000);

#[test]
fn without_faults_it_takes_less_than_a_second() {
    let region = run(&scenario("", &[]));
    assert!(makespan(&region) < UNDISTURBED, "{:?}", makespan(&region));
    assert_eq!(region.faults, Default::default());
}

fn reset(more: &str) -> String {
    format!("[faults.reset]\nkind = \"reset\"\nhosts = \"100%\"\nat = \"200ms\"\n{more}")
}

#[test]
fn a_reset_ends_connections_that_are_made_anew() {
    let all = run(&scenario(&reset(""), &[])).faults.connections_cut;
    assert!((300..600).contains(&all), "some twelve of each of 60 hosts: {all}");
    let third = run(&scenario(&reset("connections = \"33%\"\n"), &[]))
        .faults
        .connections_cut;
    assert!((all / 4..all / 2).contains(&third), "{third} of {all}");
    let pair = run(&scenario(&reset("connections = 1\n"), &["faults.reset.hosts=1"]));
    assert_eq!(
        (pair.faults.connections_cut, pair.faults.begun, pair.faults.ended),
        (1, 1, 0)
    );
    let with_seeders = run(&scenario(&reset("from = \"everybody\"\n"), &[]))
        .faults
        .connections_cut;
    assert_eq!(with_seeders, all + 60);
}

#[test]
fn several_resets_of_all_connections_cost_little() {
    let resets: String = (1..=4)
        .map(|number| {
            reset("")
                .replace("reset]", &format!("reset-{number}]"))
                .replace("200ms", &format!("{number}00ms"))
        })
        .collect();
    let region = run(&scenario(&resets, &[]));
    assert_eq!(region.faults.begun, 4);
    assert!(makespan(&region) < UNDISTURBED * 2, "{:?}", makespan(&region));
}

const SPLIT: &str = "[faults.split]\nkind = \"partition\"\nhosts = \"30%\"\nat = \"100ms\"\nfor = \"8s\"\n";
const HEALED: Duration = Duration::from_millis(8_100);

#[test]
fn a_partition_holds_its_hosts_back_until_it_heals_and_nobody_else() {
    let scenario = scenario(SPLIT, &[]);
    let within = scenario.plan(0).interruptions[0].hosts.clone();
    let region = run(&scenario);
    let [inside, outside] = divided(&region, |host| within.contains(&host));
    assert_eq!((inside.len(), outside.len()), (18, 42));
    assert!(inside[0] > HEALED, "{inside:?}");
    assert!(*outside.last().unwrap() < UNDISTURBED * 2, "{outside:?}");
    assert!(inside[17] < HEALED + Duration::from_secs(5), "{inside:?}");
    assert!(region.faults.connections_cut > 100);
    assert_eq!((region.faults.begun, region.faults.ended), (1, 1));
}

#[test]
fn hosts_that_are_parted_from_other_hosts_only_have_the_seeder() {
    let from_hosts = scenario(SPLIT, &["faults.split.from=hosts"]);
    let region = run(&from_hosts);
    assert!(makespan(&region) < HEALED, "{:?}", makespan(&region));
    assert!(region.faults.connections_cut > 100);
    assert!(region.seeder_bytes > run(&scenario("", &[])).seeder_bytes);
}

#[test]
fn a_silent_cut_holds_its_hosts_back_and_no_connection_is_lost() {
    for way in ["both", "in", "out"] {
        let split = SPLIT.replace("partition", "silent-cut");
        let scenario = scenario(&split, &[&format!("faults.split.way={way}")]);
        let within = scenario.plan(0).interruptions[0].hosts.clone();
        let region = run(&scenario);
        let [inside, outside] = divided(&region, |host| within.contains(&host));
        assert!(inside[0] > HEALED, "{way}: {inside:?}");
        // Where they can still ask and do not see what is sent, they take the seeder's time until it gives up on them.
        assert!(way == "in" || *outside.last().unwrap() < HEALED, "{way}: {outside:?}");
        assert!(inside[17] < HEALED + Duration::from_secs(20), "{way}: {inside:?}");
        assert_eq!(region.faults.connections_cut, 0);
        assert_eq!(region.protocol.neighbours_banned, 0);
    }
}

#[test]
fn a_host_that_stands_still_gets_the_build_when_it_goes_on_and_nobody_is_blamed() {
    let paused = "[faults.still]\nkind = \"pause\"\nhosts = 6\nat = \"200ms\"\nfor = \"20s\"\n";
    let scenario = scenario(paused, &[]);
    let still: Vec<u32> = scenario.plan(0).disturbances.iter().map(|one| one.host).collect();
    let region = run(&scenario);
    let [inside, outside] = divided(&region, |host| still.contains(&host));
    let over = Duration::from_millis(20_200);
    assert!(inside.len() == 6 && inside[0] >= over, "{inside:?}");
    assert!(inside[5] < over + Duration::from_secs(3), "{inside:?}");
    assert!(*outside.last().unwrap() < Duration::from_secs(6), "{outside:?}");
    assert_eq!(region.protocol.neighbours_banned, 0);
    assert_eq!((region.faults.begun, region.faults.ended), (6, 6));
}

#[test]
fn a_host_that_crashes_has_to_get_again_what_it_lost() {
    let crash = "[faults.crash]\nkind = \"crash\"\nhosts = 6\nat = \"400ms\"\nfor = \"3s\"\nstore = \"STORE\"\n";
    let mut received = Vec::new();
    for store in ["kept", "damaged", "lost"] {
        let scenario = scenario(&crash.replace("STORE", store), &[]);
        let down: Vec<u32> = scenario.plan(0).disturbances.iter().map(|one| one.host).collect();
        let region = run(&scenario);
        let [inside, outside] = divided(&region, |host| down.contains(&host));
        assert!(
            inside.len() == 6 && inside[0] >= Duration::from_millis(3_400),
            "{store}: {inside:?}"
        );
        assert!(inside[5] < Duration::from_secs(7), "{store}: {inside:?}");
        assert!(
            *outside.last().unwrap() < Duration::from_secs(3),
            "{store}: {outside:?}"
        );
        let bytes = |host: &u32| {
            let host = &region.hosts[*host as usize];
            host.bytes_from_peers + host.bytes_from_seeder
        };
        received.push(down.iter().map(bytes).sum::<u64>());
    }
    assert_eq!(received[0], 6 * BUILD, "what was kept does not come again");
    let (half, all) = (received[1] - received[0], received[2] - received[0]);
    assert!(
        half > BUILD / 4 && all > half + half / 2 && all < half * 5 / 2,
        "{half} and {all} again"
    );
}

/// It has the build before it goes down, while another is yet to come.
#[test]
fn a_host_that_had_the_build_and_lost_it_is_done_when_it_has_it_again() {
    let crash = "[faults.late]\nkind = \"join-late\"\nhosts = 1\nat = \"9s\"\n\
                 [faults.crash]\nkind = \"crash\"\nhosts = 1\nat = \"3s\"\nfor = \"1s\"\nstore = \"STORE\"\n";
    for (store, after) in [("lost", Duration::from_secs(4)), ("kept", Duration::ZERO)] {
        let scenario = scenario(&crash.replace("STORE", store), &[]);
        let region = run(&scenario);
        let host = scenario.plan(0).disturbances[0].host;
        let at = verified(&region.hosts[host as usize]);
        assert!(at > after && at < after + Duration::from_secs(3), "{store}: {at:?}");
    }
}

#[test]
fn hosts_go_on_without_seeders_once_they_have_every_chunk_and_not_before() {
    let lost = "[faults.lost]\nkind = \"seeder-lost\"\nat = \"AT\"\n";
    // Two send all of it in 540 ms, and nobody has it before a second has passed.
    let two = ["build.size=128 MiB", "regions.region-a.seeders=2"];
    let late = run(&scenario(&lost.replace("AT", "800ms"), &two));
    assert_eq!((late.faults.begun, late.faults.ended), (2, 0));
    let early = run_to_the_end(&scenario(&lost.replace("AT", "50ms"), &[]));
    assert_ne!(early.end, RegionEnd::Converged);
    let stuck = early.hosts.iter().filter(|host| host.state == HostState::Pending);
    assert_eq!(stuck.count(), 60);
    // Another seeder has it all.
    let one_of_two = run(&scenario(
        &format!("{}seeder = 0\n", lost.replace("AT", "50ms")),
        &["regions.region-a.seeders=2"],
    ));
    assert!(makespan(&one_of_two) < UNDISTURBED * 3);
}

/// Requests for each chunk that was fetched.
fn requests_a_chunk(region: &RegionResult) -> f64 {
    let fetched = region.hosts.iter().filter(|host| host.state == HostState::Verified);
    region.protocol.requests_sent as f64 / (fetched.count() * 128) as f64
}

#[test]
fn members_that_lie_hold_nobody_up_and_are_expected_to_get_nothing() {
    assert!(requests_a_chunk(&run(&scenario("", &[]))) < 1.04);
    for (kind, excused) in [("claim", 3), ("busy", 3), ("trickle", 0)] {
        let of = |hosts: &str| {
            run(&scenario(
                &format!("[faults.bad]\nkind = \"{kind}\"\nhosts = \"{hosts}\"\n"),
                &[],
            ))
        };
        let few = of("5%");
        let states = few.hosts.iter().filter(|host| host.state == HostState::Excused);
        assert_eq!(states.count(), excused, "{kind}");
        assert!(makespan(&few) < UNDISTURBED * 3, "{kind}: {:?}", makespan(&few));
        let many = of("40%");
        for region in [&few, &many] {
            assert_eq!(region.protocol.neighbours_banned, 0, "{kind}");
        }
        let asked = requests_a_chunk(&many);
        assert!(
            asked > 1.06,
            "{kind}: {asked} requests a chunk, so nobody asked them in vain"
        );
    }
}

#[test]
fn a_thousandth_of_a_link_and_a_heavy_tail_are_slow_for_as_long_as_they_last() {
    let slow = "[faults.slow]\nkind = \"slow-down\"\nhosts = 10\nat = \"100ms\"\nfor = \"6s\"\nto = \"TO\"\n";
    let over = Duration::from_millis(6_100);
    let thousandth = scenario(&slow.replace("TO", "0.1%"), &[]);
    let slow_ones: Vec<u32> = thousandth.plan(0).disturbances.iter().map(|one| one.host).collect();
    let [inside, outside] = divided(&run(&thousandth), |host| slow_ones.contains(&host));
    assert!(
        inside[0] > over && inside[9] < over + Duration::from_secs(3),
        "{inside:?}"
    );
    assert!(*outside.last().unwrap() < over, "{outside:?}");
    let tail = scenario(&slow.replace("TO", "40%"), &["faults.slow.worst=0.1%"]);
    let [inside, _] = divided(&run(&tail), |host| slow_ones.contains(&host));
    assert!(
        inside[0] < Duration::from_secs(3) && inside[9] > Duration::from_secs(5),
        "{inside:?}"
    );
}
