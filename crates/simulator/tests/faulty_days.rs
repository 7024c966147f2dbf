//! Random fleets on random days: whatever goes wrong and passes, everybody of whom that is expected has the build before the
//! deadline that follows from the scenario, no host is banned for what it did not do, and the bound is not beaten.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod rig;

use std::fmt::Write as _;

use proptest::prelude::*;
use scenario::{HostState, RegionEnd, Slack};
use simulator::{Options, Status, forecast};

/// One of each kind: what it says besides its name, hosts and times.
const KINDS: [(&str, &str); 16] = [
    ("leave", "at"),
    ("join-late", "at"),
    ("pause", "at for"),
    ("crash", "at for store=\"kept\""),
    ("crash", "at for store=\"damaged\""),
    ("crash", "at for store=\"lost\""),
    ("slow-down", "at for to=\"10%\""),
    ("slow-down", "at for to=\"50%\" worst=\"0.1%\""),
    ("corrupt", ""),
    ("stall", ""),
    ("trickle", ""),
    ("claim", ""),
    ("busy", ""),
    ("reset", "at connections=\"60%\""),
    ("partition", "at for"),
    ("silent-cut", "at for way=\"WAY\" from=\"FROM\""),
];

#[derive(Clone, Debug)]
struct FaultDrawn {
    kind: usize,
    /// Of a hundred.
    hosts: u32,
    at_ms: u64,
    for_ms: u64,
    way: usize,
}

fn fault() -> impl Strategy<Value = FaultDrawn> {
    (0..KINDS.len(), 1..100_u32, 0..3_000_u64, 10..20_000_u64, 0..6_usize).prop_map(
        |(kind, hosts, at_ms, for_ms, way)| FaultDrawn {
            kind,
            hosts,
            at_ms,
            for_ms,
            way,
        },
    )
}

#[derive(Clone, Debug)]
struct Drawn {
    seed: u64,
    hosts: u32,
    chunks: u32,
    seeders: u32,
    zones: u32,
    seeder_away: bool,
    faults: Vec<FaultDrawn>,
}

fn day() -> impl Strategy<Value = Drawn> {
    let sizes = (any::<u32>(), 8..40_u32, 1..64_u32, 1..3_u32, 1..4_u32);
    (sizes, any::<bool>(), prop::collection::vec(fault(), 0..5)).prop_map(
        |((seed, hosts, chunks, seeders, zones), seeder_away, faults)| Drawn {
            seed: seed.into(),
            hosts,
            chunks,
            seeders,
            zones,
            seeder_away,
            faults,
        },
    )
}

impl Drawn {
    fn text(&self) -> String {
        let Self {
            seed,
            hosts,
            chunks,
            seeders,
            zones,
            ..
        } = self;
        let mut text = format!(
            "seed = {seed}\n[regions.region-a]\nhosts = {hosts}\nseeders = {seeders}\nzones = {zones}\n[build]\n\
             size = \"{} KiB\"\nchunk_size = \"64 KiB\"\n[network]\nlatency = \"2ms\"\n[network.host]\n\
             uplink = \"20 Mbit/s\"\ndownlink = \"40 Mbit/s\"\nspread = \"30%\"\n",
            chunks * 64 - 3
        );
        if self.seeder_away {
            text += "[faults.away]\nkind = \"seeder-restart\"\nat = \"300ms\"\nfor = \"2s\"\n";
        }
        let mut any_lie = false;
        for (number, fault) in self.faults.iter().enumerate() {
            let (kind, more) = KINDS[fault.kind];
            // Where a third of a fleet is of no use in several ways at once, some wait for longer than the deadline allows.
            let lies = ["stall", "trickle", "claim", "busy", "corrupt"].contains(&kind);
            if lies && std::mem::replace(&mut any_lie, true) {
                continue;
            }
            let is_between = ["reset", "partition", "silent-cut"].contains(&kind);
            // Of those who have a fault of their own there are few.
            let most = if is_between { *hosts } else { *hosts / 8 };
            let count = (most * fault.hosts / 100).max(1);
            writeln!(text, "[faults.f{number}]\nkind = \"{kind}\"\nhosts = {count}").unwrap();
            for key in more.split_whitespace() {
                let key = key
                    .replace("WAY", ["both", "in", "out"][fault.way % 3])
                    .replace("FROM", ["everybody", "hosts"][fault.way % 2]);
                match key.as_str() {
                    "at" => writeln!(text, "at = \"{}ms\"", fault.at_ms).unwrap(),
                    "for" => writeln!(text, "for = \"{}ms\"", fault.for_ms).unwrap(),
                    key => writeln!(text, "{key}").unwrap(),
                }
            }
        }
        text
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_passes_everybody_is_done_in_time(drawn in day()) {
        let text = drawn.text();
        let scenario = rig::scenario(&text, &[]);
        let (threads, deadline) = (1, scenario.time_limit());
        let options = Options { threads, deadline, record: false };
        let of = || forecast(&scenario, &options, &Status::new(&scenario)).unwrap();
        let done = of();
        let region = &done.regions[0];
        let stuck: Vec<_> = (0..).zip(&region.hosts).filter(|(_, host)| host.state == HostState::Pending).collect();
        prop_assert!(region.end == RegionEnd::Converged, "{:?} after {deadline:?}: {stuck:?}\n{text}", region.end);
        prop_assert!(stuck.is_empty());
        if !text.contains("corrupt") {
            prop_assert_eq!(region.protocol.neighbours_banned, 0, "{}", text);
        }
        prop_assert!(region.faults.ended <= region.faults.begun);
        if !text.contains("join-late") {
            let bound = scenario.bounds(&scenario.plan(0), Slack::default()).unwrap().makespan();
            let required = scenario.plan(0).hosts.into_iter().filter(|host| host.is_required());
            let last = required.filter_map(|host| region.hosts[host.index as usize].verified_after).max();
            prop_assert!(last.is_none_or(|last| last >= bound), "{last:?} beats {bound:?}\n{text}");
        }
        prop_assert_eq!(format!("{:?}", of()), format!("{:?}", done), "the same again");
    }
}
