//! The fleet that a scenario plans: who is drawn for what, and what cannot be drawn.

mod rig;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rig::{GOOD, load, load_text};
use scenario::{Disturbance, HostPlan, Interruption, KeptStore, Links, Member, Passage, Scenario, Serves, Trouble};

#[test]
fn a_share_that_is_no_host_is_told_where_it_stands() {
    let text = GOOD.replace("hosts = 3", "hosts = 20");
    let stalling = "[faults.stalling]\nkind = \"stall\"\nhosts = \"1%\"\n";
    let error = load_text(&format!("{text}{stalling}"), &[]).unwrap_err();
    assert!(error.contains("x.toml:7: faults.stalling.hosts = \"1%\""), "{error}");
    assert!(error.contains("no host") && error.contains("5 %"), "{error}");
    let links = "[network.host]\nuplink = \"2 MB/s\"\ndownlink = \"2 MB/s\"\n";
    let slow = "[network.classes.slow]\nhosts = \"1%\"\nuplink = \"1 MB/s\"\ndownlink = \"1 MB/s\"\n";
    let error = load_text(&format!("{text}{links}{slow}"), &[]).unwrap_err();
    assert!(error.contains("network.classes.slow.hosts = \"1%\""), "{error}");
    let bad_day = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/bad-day.toml"));
    let error = load(bad_day, &["regions.region-a.hosts=20"]).unwrap_err();
    assert!(
        error.contains("faults.corrupting.hosts") && error.contains("faults.stalling.hosts"),
        "{error}"
    );
    // What is named as none is meant so.
    for hosts in ["0", "0%"] {
        let set = format!("faults.stalling.hosts={hosts}");
        load_text(&format!("{text}{stalling}"), &[&set]).unwrap();
    }
}

#[test]
fn a_zone_that_is_not_there_is_told_where_it_stands() {
    let fault = "[faults.late]\nkind = \"stall\"\nzone = 3\nhosts = 1\n";
    let text = GOOD.replace("hosts = 3", "hosts = 9\nzones = 3");
    let error = load_text(&format!("{text}{fault}"), &[]).unwrap_err();
    assert!(error.contains("x.toml:8: faults.late.zone = 3"), "{error}");
    assert!(error.contains("region-a"), "{error}");
    // Nor can a zone lose more hosts than it has, by one fault or by several.
    load_text(
        &format!("{text}{fault}"),
        &["faults.late.zone=2", "faults.late.hosts=3"],
    )
    .unwrap();
    let more = ["faults.late.zone=2", "faults.late.hosts=4"];
    let error = load_text(&format!("{text}{fault}"), &more).unwrap_err();
    assert!(error.contains("expected at most 3"), "{error}");
    let another = "[faults.other]\nkind = \"corrupt\"\nzone = 2\nhosts = 2\n";
    let two = ["faults.late.zone=2", "faults.late.hosts=2"];
    let error = load_text(&format!("{text}{fault}{another}"), &two).unwrap_err();
    assert!(error.contains("zone 2 of \"region-a\""), "{error}");
}

/// Two regions with zones, racks, two seeders, classes and every fault of hosts.
const EVERYTHING: &str = r#"
[regions.region-a]
hosts = 200
zones = 3
seeders = 2
[regions.region-b]
hosts = 100
[build]
size = "1 MiB"
[network.host]
uplink = "1 MB/s"
downlink = "2 MB/s"
[network.racks]
hosts = 10
uplink = "5 MB/s"
[network.classes.slow]
hosts = "5%"
uplink = "100 KB/s"
downlink = "200 KB/s"
[network.classes.fast]
hosts = 7
uplink = "4 MB/s"
downlink = "4 MB/s"
[faults.bad]
kind = "corrupt"
hosts = 7
regions = ["region-a"]
[faults.gone]
kind = "leave"
hosts = "5%"
at = "3s"
[faults.late]
kind = "join-late"
zone = 0
hosts = "10%"
at = "2s"
[faults.lazy]
kind = "stall"
hosts = "4%"
[faults.restart]
kind = "seeder-restart"
regions = ["region-a"]
seeder = 1
at = "1s"
for = "2s"
"#;

fn everything(text: &str) -> Scenario {
    load_text(text, &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn drawn(scenario: &Scenario, region: usize, is: impl Fn(&HostPlan) -> bool) -> BTreeSet<u32> {
    let hosts = scenario.plan(region).hosts;
    hosts.iter().filter(|host| is(host)).map(|host| host.index).collect()
}

const IS_BAD: fn(&HostPlan) -> bool = |host| host.serves == Serves::Corrupt;
const IS_LAZY: fn(&HostPlan) -> bool = |host| host.serves == Serves::Nothing;
const IS_GONE: fn(&HostPlan) -> bool = |host| host.leave_at.is_some();
const IS_LATE: fn(&HostPlan) -> bool = |host| host.join_at.is_some();
const IS: [fn(&HostPlan) -> bool; 4] = [IS_BAD, IS_GONE, IS_LATE, IS_LAZY];

#[test]
fn faults_take_their_share_of_each_region_and_zone_and_never_the_same_host() {
    let scenario = everything(EVERYTHING);
    let count = |region| IS.map(|is| drawn(&scenario, region, is).len());
    assert_eq!(count(0), [7, 10, 7, 8]);
    assert_eq!(count(1), [0, 5, 10, 4]);
    let plan = scenario.plan(0);
    for host in &plan.hosts {
        assert!(IS.iter().filter(|is| is(host)).count() <= 1);
        assert!(!IS_LATE(host) || host.zone == 0 && host.join_at == Some(Duration::from_secs(2)));
        assert_eq!(host.is_required(), !IS_BAD(host) && !IS_GONE(host));
    }
    assert_eq!(plan.required(), 200 - 17);
    let absences: Vec<usize> = plan.seeders.iter().map(|seeder| seeder.absences.len()).collect();
    assert_eq!((absences, plan.seeders[1].zone), (vec![0, 1], 1));
}

#[test]
fn a_fault_of_a_zone_has_its_hosts_even_where_others_draw_from_the_same() {
    // Stalling hosts come last by kind, and all of zone 1 are to stall.
    let text = EVERYTHING.replace("hosts = \"4%\"", "hosts = \"100%\"\nzone = 1\nregions = [\"region-a\"]");
    let scenario = everything(&text);
    let zone: BTreeSet<u32> = drawn(&scenario, 0, |host| host.zone == 1);
    assert_eq!(drawn(&scenario, 0, IS_LAZY), zone);
    assert_eq!(drawn(&scenario, 0, IS_GONE).len(), 10);
}

#[test]
fn a_fleet_is_that_of_its_seed_and_every_member_has_a_seed_and_an_id_of_its_own() {
    let mut scenario = everything(EVERYTHING);
    let plans = scenario.plans();
    assert_eq!(plans, everything(EVERYTHING).plans());
    let mut seeds = BTreeSet::new();
    for plan in &plans {
        let hosts = plan.hosts.iter().map(|host| host.id);
        let ids: BTreeSet<_> = hosts.chain(plan.seeders.iter().map(|seeder| seeder.id)).collect();
        assert_eq!(ids.len(), plan.hosts.len() + plan.seeders.len());
        seeds.extend(plan.hosts.iter().map(|host| host.seed));
        seeds.extend(plan.seeders.iter().map(|seeder| seeder.seed));
    }
    assert_eq!(seeds.len(), 303);
    scenario.seed += 1;
    assert_ne!(drawn(&scenario, 0, IS_BAD), drawn(&everything(EVERYTHING), 0, IS_BAD));
}

#[test]
fn a_fault_that_is_renamed_draws_the_same_hosts_and_so_does_a_class() {
    let before = everything(EVERYTHING);
    let rename = |from: &str, to: &str, text: String| text.replace(from, to);
    let renamed = rename("faults.bad", "faults.z", EVERYTHING.to_owned());
    let renamed = everything(&rename("faults.lazy", "faults.a", renamed));
    let kinds = |scenario: &Scenario| scenario.faults.iter().map(|fault| fault.kind).collect::<Vec<_>>();
    assert_ne!(kinds(&renamed), kinds(&before), "the names put them into another order");
    assert_eq!(renamed.plans(), before.plans());
    let renamed = everything(&rename("classes.slow", "classes.a", EVERYTHING.to_owned()));
    let links = |scenario: &Scenario| scenario.plan(0).hosts.iter().map(|host| host.links).collect::<Vec<_>>();
    assert_ne!(renamed.network.classes[0].links, before.network.classes[0].links);
    assert_eq!(links(&renamed), links(&before));
}

#[test]
fn a_fault_more_or_a_larger_share_leaves_the_others_their_hosts() {
    let before = everything(EVERYTHING);
    let more = everything(&format!(
        "{EVERYTHING}[faults.a]\nkind = \"leave\"\nhosts = 20\nat = \"1s\"\n"
    ));
    for is in [IS_BAD, IS_LAZY, IS_LATE] {
        let (before, after) = (drawn(&before, 0, is), drawn(&more, 0, is));
        let moved = before.difference(&after).count();
        // Those that the new one wants too and draws before them: a tenth of the hosts.
        assert!(moved <= 3, "{moved} of {}", before.len());
    }
    let larger = everything(&EVERYTHING.replace("hosts = \"4%\"", "hosts = \"6%\""));
    assert!(drawn(&before, 0, IS_LAZY).is_subset(&drawn(&larger, 0, IS_LAZY)));
    let later = everything(&EVERYTHING.replace("at = \"3s\"", "at = \"9s\""));
    assert_eq!(drawn(&before, 0, IS_GONE), drawn(&later, 0, IS_GONE));
    for is in IS {
        let links = everything(&EVERYTHING.replace("hosts = \"5%\"\nuplink", "hosts = \"9%\"\nuplink"));
        assert_eq!(
            drawn(&before, 0, is),
            drawn(&links, 0, is),
            "links have nothing to do with it"
        );
    }
}

#[test]
fn a_class_has_its_share_and_its_links() {
    let scenario = everything(EVERYTHING);
    let slow = Links {
        uplink: 100_000,
        downlink: 200_000,
    };
    let of = |name: &str| scenario.network.classes.iter().position(|class| class.name == name);
    let hosts = scenario.plan(0).hosts;
    let class = |host: &HostPlan| host.class.map(usize::from);
    let slow_ones: Vec<_> = hosts.iter().filter(|host| class(host) == of("slow")).collect();
    assert_eq!(slow_ones.len(), 10);
    assert!(slow_ones.iter().all(|host| host.links == Some(slow)));
    assert_eq!(hosts.iter().filter(|host| class(host) == of("fast")).count(), 7);
    let mut others = hosts.iter().filter(|host| host.class.is_none());
    assert!(others.all(|host| host.links == scenario.network.host));
}

#[test]
fn spread_links_stay_within_bounds_keep_their_mean_and_follow_the_seed() {
    let text = GOOD.replace("hosts = 3", "hosts = 1000");
    let text = format!("{text}[network.host]\nuplink = \"1 MB/s\"\ndownlink = \"2 MB/s\"\nspread = \"50%\"\n");
    let of = |seed: u64| {
        let hosts = load_text(&text, &[&format!("seed={seed}")]).unwrap().plan(0).hosts;
        hosts.iter().filter_map(|host| host.links).collect::<Vec<Links>>()
    };
    let links = of(1);
    assert_eq!(links.len(), 1000);
    assert!(links.iter().all(|l| (500_000..=1_500_000).contains(&l.uplink)));
    assert!(
        links.iter().all(|l| l.downlink.abs_diff(2 * l.uplink) <= 2),
        "one factor for both"
    );
    let mean = links.iter().map(|l| l.uplink).sum::<u64>() / 1000;
    assert!((950_000..1_050_000).contains(&mean), "{mean}");
    assert_eq!(links, of(1));
    assert_ne!(links, of(2));
}

#[test]
fn an_error_in_the_fleet_does_not_hide_another() {
    let text = EVERYTHING
        .replace("hosts = \"4%\"", "hosts = \"0.1%\"")
        .replace("zone = 0", "zone = 1");
    let error = load_text(&text, &[]).unwrap_err();
    for part in [
        "faults.lazy.hosts = \"0.1%\" — 0.1 % of 200 hosts, those of \"region-a\", is no host; expected a count, or at least 0.5 %",
        "of 100 hosts, those of \"region-b\", is no host; expected a count, or at least 1 %",
        "faults.late.zone = 1 — expected less than 1, the zones of \"region-b\"",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn a_host_receives_no_faster_than_it_writes_whatever_its_links() {
    let disk = "uplink = \"1 MB/s\"\ndownlink = \"2 MB/s\"\ndisk = \"1.5 MB/s\"\nspread = \"50%\"\n";
    let text = EVERYTHING.replace("uplink = \"1 MB/s\"\ndownlink = \"2 MB/s\"\n", disk);
    let text = text.replace("[faults.bad]", "disk = \"150 KB/s\"\n[faults.bad]");
    let (with, without) = (everything(&text), everything(&text.replace("disk =", "#")));
    let class = |name: &str| with.network.classes.iter().position(|class| class.name == name);
    let mut held = 0;
    for (host, free) in with.plan(0).hosts.iter().zip(without.plan(0).hosts) {
        let (links, free) = (host.links.unwrap(), free.links.unwrap());
        let is_fast = host.class.map(usize::from) == class("fast");
        let disk = if is_fast { 150_000 } else { 1_500_000 };
        assert_eq!((links.uplink, links.downlink), (free.uplink, free.downlink.min(disk)));
        held += usize::from(links != free);
    }
    assert!((20..180).contains(&held), "{held} of 200 hosts");
    let seeder = &with.plan(0).seeders[0];
    assert_eq!(seeder.links, with.network.host, "a seeder reads what it sends");
    let live = with.only_in_forecasts();
    assert!(
        live.contains(&"network.host.disk") && live.contains(&"network.classes.*.disk"),
        "{live:?}"
    );
    assert!(!without.only_in_forecasts().iter().any(|key| key.contains("disk")));
}

const SLOW: &str = "[faults.tired]\nkind = \"slow-down\"\nhosts = \"10%\"\nat = \"2s\"\nfor = \"3s\"\nto = \"10%\"\n";

#[test]
fn slow_hosts_have_a_part_of_their_links_for_a_time_and_are_expected_to_get_the_build() {
    let scenario = everything(&format!("{EVERYTHING}{SLOW}"));
    let plan = scenario.plan(0);
    assert_eq!((plan.disturbances.len(), plan.required()), (20, 200 - 17));
    assert!(plan.disturbances.is_sorted_by_key(|slow| slow.host));
    for slow in &plan.disturbances {
        let host = &plan.hosts[slow.host as usize];
        assert!(!IS.iter().any(|is| is(host)), "one fault at most");
        let links = host.links.unwrap();
        assert_eq!(
            (slow.at, slow.lasts),
            (Duration::from_secs(2), Some(Duration::from_secs(3)))
        );
        let slowed = Links {
            uplink: links.uplink / 10,
            downlink: links.downlink / 10,
        };
        assert_eq!(slow.what, Trouble::Slow(slowed));
    }
    assert_eq!(scenario.only_in_forecasts(), ["network.racks"]);
    let without = everything(EVERYTHING);
    assert_eq!(
        without.plan(0).hosts,
        plan.hosts,
        "it comes last and takes nobody from others"
    );
    assert_eq!(scenario.time_limit(), without.time_limit() + Duration::from_secs(3));
    let forever = everything(&format!("{EVERYTHING}{}", SLOW.replace("for = \"3s\"\n", "")));
    assert!(forever.time_limit() >= 10 * without.time_limit());
    // A disk that is slower than the slow link goes on as before.
    let disk = "downlink = \"2 MB/s\"\ndisk = \"150 KB/s\"\n";
    let held = everything(&format!("{EVERYTHING}{SLOW}").replace("downlink = \"2 MB/s\"\n", disk));
    let plan = held.plan(0);
    let most = plan
        .disturbances
        .iter()
        .filter(|slow| plan.hosts[slow.host as usize].class.is_none());
    let mut downlinks = most.map(|slow| slowed(slow).downlink);
    assert!(downlinks.all(|downlink| downlink == 150_000));
}

/// The links of a host that is slow.
fn slowed(disturbance: &Disturbance) -> Links {
    match disturbance.what {
        Trouble::Slow(links) => links,
        other => panic!("{other:?}"),
    }
}

#[test]
fn unequally_slow_hosts_are_slow_by_a_heavy_tail_down_to_the_worst() {
    let tail = SLOW.replace("hosts = \"10%\"", "hosts = \"80%\"");
    let text = GOOD.replace("hosts = 3", "hosts = 2000");
    let links = "[network.host]\nuplink = \"1 MB/s\"\ndownlink = \"2 MB/s\"\n";
    let scenario = everything(&format!("{text}{links}{tail}worst = \"0.1%\"\n"));
    let mut uplinks: Vec<u64> = scenario
        .plan(0)
        .disturbances
        .iter()
        .map(|slow| slowed(slow).uplink)
        .collect();
    uplinks.sort_unstable();
    let below = |rate: u64| uplinks.iter().filter(|uplink| **uplink < rate).count() as f64 / 1600.0;
    assert!(
        (1_000, 100_000) == (uplinks[0], *uplinks.last().unwrap() / 10_000 * 10_000 + 10_000),
        "{uplinks:?}"
    );
    for (rate, share) in [(50_000, 0.5), (10_000, 0.1), (5_000, 0.05)] {
        assert!((below(rate) - share).abs() < 0.05, "{} below {rate}", below(rate));
    }
    let error = load_text(&format!("{text}{links}{tail}worst = \"20%\"\n"), &[]).unwrap_err();
    assert!(
        error.contains("faults.tired.worst = \"20%\" — expected no more than to"),
        "{error}"
    );
}

#[test]
fn a_slow_down_that_says_too_little_or_too_much_is_told_where_it_stands() {
    let text = GOOD.replace("hosts = 3", "hosts = 20");
    for (from, to, told) in [
        (
            "to = \"10%\"\n",
            "",
            "faults.tired.to — missing; expected what is left of the links",
        ),
        (
            "to = \"10%\"",
            "to = \"0%\"",
            "faults.tired.to = \"0%\" — expected more than nothing",
        ),
        ("at = \"2s\"\n", "", "faults.tired.at — missing"),
        (
            "slow-down",
            "stall",
            "faults.tired.to = \"10%\" — a fault of kind \"stall\" has none; expected it with \"slow-down\"",
        ),
        (
            "slow-down",
            "stall",
            "expected it with \"pause\", \"crash\", \"slow-down\", \"partition\", \"silent-cut\", \"seeder-restart\"",
        ),
        (
            "slow-down",
            "slow-down",
            "slows links that are not limited; expected [network.host] as well",
        ),
    ] {
        let error = load_text(&format!("{text}{}", SLOW.replace(from, to)), &[]).unwrap_err();
        assert!(error.contains(told), "{told} in {error}");
    }
}

#[test]
fn a_host_sends_and_receives_no_more_than_its_cores_can() {
    let of = |sets: &[&str]| {
        let links = [
            "network.host.uplink=1 GB/s",
            "network.host.downlink=1 GB/s",
            "network.host.cores=2",
        ];
        load_text(GOOD, &[&links[..], sets].concat()).unwrap()
    };
    let links = |sets: &[&str]| {
        of(sets).plan(0).hosts[0]
            .links
            .map(|links| (links.uplink, links.downlink))
            .unwrap()
    };
    // 2 s of CPU a GB where nothing is said, so 1 GB/s in all.
    assert_eq!(links(&[]), (500_000_000, 500_000_000));
    assert_eq!(links(&["network.host.cpu_per_gb=6s"]), (166_666_666, 166_666_666));
    assert_eq!(links(&["network.host.cores=16"]), (1_000_000_000, 1_000_000_000));
    // What one direction cannot use the other has.
    let slow = "network.host.cpu_per_gb=6s";
    assert_eq!(
        links(&[slow, "network.host.disk=33333333 B/s"]),
        (300_000_000, 33_333_333)
    );
    assert_eq!(
        links(&[slow, "network.host.uplink=33333333 B/s"]),
        (33_333_333, 300_000_000)
    );
    assert_eq!(
        of(&[slow]).held_back(),
        ["hosts are held by their processors (317.8 MiB/s of 1.8 GiB/s)"]
    );
    assert_eq!(
        of(&["network.host.cores=16", "network.host.disk=100 MiB/s"]).held_back(),
        ["hosts are held by their disks (100 MiB/s of 953.6 MiB/s)"]
    );
    assert_eq!(of(&["network.host.cores=16"]).held_back(), [""; 0]);
    assert!(of(&[]).only_in_forecasts().contains(&"network.host.cores"));
    let error = load_text(GOOD, &["network.host.cpu_per_gb=0s"]).unwrap_err();
    assert!(
        error.contains("network.host.cpu_per_gb=0s: ") && error.contains("expected more than nothing"),
        "{error}"
    );
}

/// What passes: hosts that stand still, and hosts that are down.
const PASSING: &str = "[faults.still]\nkind = \"pause\"\nhosts = 5\nat = \"2s\"\nfor = \"30s\"\n\
    [faults.down]\nkind = \"crash\"\nhosts = 7\nat = \"1s\"\nfor = \"5s\"\nstore = \"damaged\"\n";

#[test]
fn hosts_that_stand_still_or_crash_are_expected_to_get_the_build_and_waited_for() {
    let (with, without) = (everything(&format!("{EVERYTHING}{PASSING}")), everything(EVERYTHING));
    let plan = with.plan(0);
    assert_eq!((plan.disturbances.len(), plan.required()), (12, 200 - 17));
    let of = |what: Trouble| plan.disturbances.iter().filter(move |one| one.what == what);
    for (what, at, lasts, count) in [(Trouble::Pause, 2, 30, 5), (Trouble::Down(KeptStore::Half), 1, 5, 7)] {
        let (at, lasts) = (Duration::from_secs(at), Some(Duration::from_secs(lasts)));
        assert_eq!(of(what).count(), count);
        assert!(of(what).all(|one| (one.at, one.lasts) == (at, lasts)));
        assert!(of(what).all(|one| !IS.iter().any(|is| is(&plan.hosts[one.host as usize]))));
    }
    assert_eq!(
        plan.hosts,
        without.plan(0).hosts,
        "they come last and take nobody from others"
    );
    // Both may come one after the other, and what is lost has to come again.
    assert!(with.time_limit() >= without.time_limit() * 2 + Duration::from_secs(35));
    let late = everything(&format!("{EVERYTHING}{PASSING}").replace("\"2s\"\nfor", "\"90h\"\nfor"));
    assert!(
        late.time_limit() < with.time_limit(),
        "what begins after the end does nobody harm"
    );
}

#[test]
fn who_says_that_it_has_everything_is_expected_to_get_nothing_and_a_trickle_is_a_thin_uplink() {
    let kinds = ["claim", "busy", "trickle"];
    let faults = kinds.map(|kind| format!("[faults.{kind}]\nkind = \"{kind}\"\nhosts = 4\n"));
    let scenario = everything(&format!("{EVERYTHING}{}", faults.concat()));
    let plan = scenario.plan(0);
    let hosts = |is: fn(&&HostPlan) -> bool| plan.hosts.iter().filter(is).count();
    assert_eq!(hosts(|host| host.serves == Serves::Claims && !host.is_required()), 4);
    assert_eq!(hosts(|host| host.serves == Serves::Busy && !host.is_required()), 4);
    let is_thin = |host: &&HostPlan| host.links.unwrap().uplink == 2 && host.is_required();
    assert_eq!(hosts(is_thin), 4);
    assert_eq!(
        hosts(|host| host.links.unwrap().uplink == 2 && host.links.unwrap().downlink < 200_000),
        0
    );
    // Where links are not limited, that one is.
    let free = load_text(
        &GOOD.replace("hosts = 3", "hosts = 9"),
        &["faults.x.kind=trickle", "faults.x.hosts=1"],
    );
    let links: Vec<_> = free
        .unwrap()
        .plan(0)
        .hosts
        .into_iter()
        .filter_map(|host| host.links)
        .collect();
    assert_eq!((links.len(), links[0].uplink), (1, 2));
}

const BETWEEN: &str = "[faults.split]\nkind = \"partition\"\nhosts = \"30%\"\nat = \"2s\"\nfor = \"10s\"\n\
    [faults.deaf]\nkind = \"silent-cut\"\nhosts = 10\nat = \"1s\"\nfor = \"3s\"\nway = \"in\"\nfrom = \"hosts\"\n\
    [faults.reset]\nkind = \"reset\"\nhosts = \"100%\"\nat = \"4s\"\nconnections = \"25%\"\n\
    [faults.pair]\nkind = \"reset\"\nhosts = 1\nat = \"5s\"\nconnections = 1\n";

fn between() -> (Scenario, Vec<Interruption>) {
    let scenario = everything(&format!("{EVERYTHING}{BETWEEN}"));
    let interruptions = scenario.plan(0).interruptions;
    (scenario, interruptions)
}

#[test]
fn what_goes_wrong_between_members_takes_no_host_from_other_faults_and_is_waited_for() {
    let (scenario, interruptions) = between();
    let sizes: Vec<usize> = interruptions.iter().map(|one| one.hosts.len()).collect();
    assert_eq!(sizes, [10, 60, 200, 1], "in the order of their times");
    let without = everything(EVERYTHING);
    assert_eq!(scenario.plan(0).hosts, without.plan(0).hosts);
    assert_eq!(scenario.plan(0).required(), without.plan(0).required());
    assert!(scenario.time_limit() >= without.time_limit() + Duration::from_secs(13));
    let renamed = everything(&format!(
        "{EVERYTHING}{}",
        BETWEEN.replace("split", "a").replace("deaf", "z")
    ));
    assert_eq!(renamed.plan(0).interruptions, interruptions);
}

#[test]
fn a_cut_lets_nothing_pass_between_its_hosts_and_whom_they_are_cut_from() {
    let (_, interruptions) = between();
    let (deaf, split) = (&interruptions[0], &interruptions[1]);
    let [inside, other] = [split.hosts[0], split.hosts[1]].map(Member::Host);
    let outside = Member::Host((0..200).find(|host| !split.hosts.contains(host)).unwrap());
    let seeder = Member::Seeder(1);
    for (from, to, expected) in [
        (inside, outside, Passage::Refused),
        (outside, inside, Passage::Refused),
        (seeder, inside, Passage::Refused),
        (inside, other, Passage::Open),
        (outside, seeder, Passage::Open),
    ] {
        assert_eq!(split.passage(from, to), expected, "{from:?} to {to:?}");
    }
    let outside = Member::Host((0..200).find(|host| !deaf.hosts.contains(host)).unwrap());
    let inside = Member::Host(deaf.hosts[0]);
    for (from, to, expected) in [
        (outside, inside, Passage::Held),
        (inside, outside, Passage::Open),
        (seeder, inside, Passage::Open),
    ] {
        assert_eq!(deaf.passage(from, to), expected, "{from:?} to {to:?}");
    }
    assert!(deaf.ends(inside, &[outside]).is_empty(), "nobody is told");
    assert!(deaf.is_silent() && !split.is_silent());
}

#[test]
fn a_reset_ends_a_share_of_the_connections_the_same_at_both_ends() {
    let (_, interruptions) = between();
    let (share, pair) = (&interruptions[2], &interruptions[3]);
    let members: Vec<Member> = (0..200).map(Member::Host).chain([Member::Seeder(0)]).collect();
    let ends = |own: Member| share.ends(own, &members[..]);
    let ended: usize = members.iter().map(|own| ends(*own).len()).sum();
    assert!((9_000..11_000).contains(&ended), "{ended} of 40,000");
    for own in &members[..20] {
        for other in ends(*own) {
            assert!(ends(other).contains(own), "{own:?} and {other:?}");
        }
        assert!(!ends(*own).contains(&Member::Seeder(0)), "between hosts");
    }
    let one = Member::Host(pair.hosts[0]);
    let connected = [Member::Host(198), Member::Host(199), Member::Seeder(0)];
    assert_eq!(pair.ends(one, &connected).len(), 1);
    assert!(
        pair.ends(Member::Host((pair.hosts[0] + 1) % 200), &connected)
            .is_empty()
    );
}

#[test]
fn a_seeder_may_be_lost_for_good() {
    let lost = "[faults.lost]\nkind = \"seeder-lost\"\nregions = [\"region-a\"]\nseeder = 0\nat = \"1s\"\n";
    let plan = everything(&format!("{EVERYTHING}{lost}")).plan(0);
    assert_eq!(plan.seeders[0].absences.len(), 1);
    assert_eq!(plan.seeders[0].absences[0].down, None);
    let error = load_text(&format!("{EVERYTHING}{lost}for = \"1s\"\nhosts = 1\n"), &[]).unwrap_err();
    assert!(
        error.contains("faults.lost.for = \"1s\" — a fault of kind \"seeder-lost\" has none; expected it with"),
        "{error}"
    );
    assert!(error.contains("faults.lost.hosts = 1 — a fault of kind"), "{error}");
}

#[test]
fn what_a_live_run_can_do_depends_on_its_cloud_and_its_processes() {
    let of = |more: &str| everything(&format!("{EVERYTHING}{more}"));
    let plain = of("");
    assert!(plain.only_with_own_cloud().is_empty() && plain.only_in_one_process().is_empty());
    let narrow = of("[network.zones]\nuplink = \"1 MB/s\"\n");
    assert_eq!(narrow.only_in_one_process(), ["network.zones.uplink"]);
    let throttled = of("[network.logs]\nrows_per_second = 15999\n");
    assert_eq!(throttled.only_in_one_process(), ["network.logs.rows_per_second"]);
    let slow = of("[network.bucket]\nrate = \"1 MB/s\"\n[network.logs]\nrows_per_second = 15999\n");
    assert_eq!(
        slow.only_with_own_cloud(),
        ["network.bucket.rate", "network.logs.rows_per_second"]
    );
    assert!(
        of("[network.logs]\nrows_per_second = 16000\n")
            .only_with_own_cloud()
            .is_empty()
    );
}
