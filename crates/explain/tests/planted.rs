//! Causes that are planted in scenarios are the ones that are named: of forecasts, over several seeds.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::time::Duration;

use explain::{Cause, Reasons, Records, Sample};
use scenario::{LoadOptions, Scenario, Slack};
use simulator::{Options, Status, forecast};

/// Some dozens of hosts, some dozens of chunks, 100 and 200 Mbit/s: another fleet for each seed.
fn records(more: &str, seed: u64) -> Records {
    let hosts = format!("hosts = {}\n", 40 + 37 * seed % 80);
    let build = format!("size = \"{} MiB\"\nchunk_size = \"512 KiB\"\n", 24 + 7 * seed % 30);
    // A table that `more` has too is its.
    let parts = [
        ("[regions.region-a]", hosts.as_str()),
        ("[build]", build.as_str()),
        ("[network]", "latency = \"1ms\"\n"),
        ("[network.host]", "uplink = \"100 Mbit/s\"\ndownlink = \"200 Mbit/s\"\n"),
    ];
    let lacking = parts.iter().filter(|(head, _)| !more.contains(head));
    let text = lacking
        .map(|(head, body)| format!("{head}\n{body}"))
        .collect::<String>()
        + more;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("planted.toml");
    std::fs::write(&path, &text).unwrap();
    let options = LoadOptions {
        seed: Some(seed),
        ..LoadOptions::default()
    };
    let scenario = Scenario::load(&path, &options).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let options = Options {
        threads: 1,
        deadline: Duration::from_secs(600),
        record: true,
    };
    let mut done = forecast(&scenario, &options, &Status::new(&scenario)).unwrap();
    done.take_records(&scenario, None).unwrap()
}

/// The same records of every `stride`-th chunk, as of a fleet that is too large for all of them.
fn thinned(mut records: Records, stride: usize) -> Records {
    let all = records.sample.clone();
    records.sample = Sample::of(
        all.chunks().iter().rev().step_by(stride).rev().copied(),
        records.chunks(),
    );
    for host in records.regions.iter_mut().flat_map(|region| &mut region.hosts) {
        let chunks = records.sample.chunks().iter();
        host.chunks = chunks
            .filter_map(|chunk| host.chunks.get(all.place(*chunk)?).copied())
            .collect();
    }
    records
}

/// Whether the last host is told that `cause` made it late, for nearly all of some seeds; and that what it waited for adds up to its time.
fn is_named(cause: Cause, more: &str) {
    let mut other = Vec::new();
    for (seed, stride) in (1..=8).flat_map(|seed| [(seed, 1), (seed, 3)]) {
        // As it is read from a file.
        let records = Records::from_bytes(&records(more, seed).to_bytes()).unwrap();
        let records = thinned(records, stride);
        let reasons = Reasons::new(&records, Slack::default());
        let (region, host) = reasons.last_of_all().unwrap();
        let verdict = reasons.why(region, host).unwrap();
        let end = match records.regions[region].hosts[host as usize].done {
            0 => records.regions[region].ended_at,
            done => done.into(),
        };
        let begin = records.regions[region].complete_at.unwrap();
        assert_eq!(
            verdict.total,
            end - begin,
            "the path of {host} has holes (seed {seed}, {stride})"
        );
        if verdict.main != cause {
            let (sentence, table) = (reasons.sentence(region, &verdict), reasons.table(&verdict));
            let steps = reasons.steps(region, &verdict, 40);
            other.push(format!("seed {seed}, {stride}: {sentence}\n{table}{steps}"));
        }
    }
    // In a few fleets the swarm gets around what was planted, and the last host waits for something else as long; and where not all chunks are
    // recorded, one that was kept back is seldom among them.
    assert!(
        other.len() <= 4,
        "{} of 16 are not told {cause:?}:\n{}",
        other.len(),
        other.join("\n")
    );
}

#[test]
fn a_slow_class_is_told_of_its_link() {
    is_named(
        Cause::OwnLink,
        "[network.classes.old]\nhosts = 3\nuplink = \"100 Mbit/s\"\ndownlink = \"20 Mbit/s\"\n",
    );
}

#[test]
fn a_neighbour_that_stalls_is_told_of_as_one_that_does_not_send() {
    is_named(Cause::Silence, "[faults.stalling]\nkind = \"stall\"\nhosts = \"40%\"\n");
}

#[test]
fn a_seeder_that_comes_late_is_told_of() {
    is_named(
        Cause::SeederAway,
        "[faults.late]\nkind = \"seeder-restart\"\nat = \"0s\"\nfor = \"8s\"\n",
    );
}

#[test]
fn a_slow_bucket_is_told_of() {
    is_named(Cause::Bucket, "[network.bucket]\nrate = \"5 MB/s\"\n");
}

#[test]
fn a_zone_behind_a_narrow_link_is_told_of_it() {
    is_named(
        Cause::SharedLink,
        "[regions.region-a]\nhosts = 60\nzones = 3\n[network.zones]\nlatency = \"2ms\"\nuplink = \"50 Mbit/s\"\n",
    );
}

#[test]
fn a_window_that_starves_is_told_of() {
    is_named(
        Cause::Window,
        "[network]\nlatency = \"60ms\"\n[swarm]\nchunks_in_flight = 1\n",
    );
}

#[test]
fn a_slow_table_of_logs_is_told_of() {
    is_named(Cause::Log, "[network.logs]\nrows_per_second = 4\n");
}

#[test]
fn a_host_that_comes_late_is_told_that_it_did() {
    is_named(
        Cause::CameLate,
        "[faults.late]\nkind = \"join-late\"\nhosts = 1\nat = \"20s\"\n",
    );
}

#[test]
fn a_seeder_with_too_few_slots_is_told_of() {
    is_named(
        Cause::SeederSlots,
        "[network.seeder]\nuplink = \"2 Gbit/s\"\ndownlink = \"2 Gbit/s\"\n[network.host]\nuplink = \"400 Mbit/s\"\n\
         downlink = \"40 Mbit/s\"\n[swarm]\nseeder_slots = 1\nupload_slots = 8\n",
    );
}

#[test]
fn neighbours_with_slow_uplinks_are_told_of() {
    is_named(
        Cause::SenderLink,
        "[network.classes.thin]\nhosts = \"90%\"\nuplink = \"10 Mbit/s\"\ndownlink = \"200 Mbit/s\"\n",
    );
}

#[test]
fn where_nothing_is_wrong_it_is_links_and_hardly_later_than_the_bound() {
    for seed in 1..=8 {
        let records = records("", seed);
        let reasons = Reasons::new(&records, Slack::default());
        let (region, host) = reasons.last_of_all().unwrap();
        let verdict = reasons.why(region, host).unwrap();
        let told = format!("{}\n{}", reasons.sentence(region, &verdict), reasons.table(&verdict));
        assert!(
            matches!(verdict.main, Cause::SeederLink | Cause::OwnLink | Cause::SenderLink),
            "{told}"
        );
        assert!(verdict.lateness().unwrap() * 4 < verdict.total, "{told}");
    }
}
