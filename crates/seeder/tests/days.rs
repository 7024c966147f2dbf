//! Whole days of a region, drawn by a seed: a hundred builds at once, ten hosts, and agents that are killed and started again.
//! Seeder and hosts are the shipped binaries.
//!
//! `FLEETCAST_SEEDS=0..200` runs more seeds than the one of CI.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "days/region.rs"]
mod region;
mod rig;
#[path = "../../lambdas/tests/rig/mod.rs"]
mod stack;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use cloud::{DeploymentLog, DeploymentStatus};
use futures::stream::{self, StreamExt as _};
use region::{Agent, BUCKET, Draw, PATIENCE, Region, Replay, Services, Usage, seeds, until};
use rig::data;

const BUILDS: usize = 100;
const HOSTS: usize = 10;
const SIZE_MAX_LOG2: u64 = 22;

/// A build, and what is to be of it in the end.
struct Build {
    key: String,
    /// The lengths of its versions, all different.
    versions: Vec<usize>,
    number: u64,
}

impl Build {
    fn bytes(&self, version: usize) -> Vec<u8> {
        data(self.versions[version], (self.number * 16 + version as u64) * 1_000_003)
    }

    fn last(&self) -> usize {
        self.versions.len() - 1
    }
}

/// What happens at a moment after the builds were told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    SeederDies,
    SeederStarts,
    HostDies(usize),
    HostStarts(usize),
    Version(usize, usize),
}

struct Day {
    builds: Vec<Build>,
    plan: Vec<(u64, Happens)>,
    /// Builds that are seeded at a time.
    listed: u64,
}

fn draw(seed: u64) -> Day {
    let mut draw = Draw::of(seed);
    let mut builds = Vec::new();
    let mut plan = Vec::new();
    for number in 0..BUILDS {
        let folder = if draw.below(4) == 0 { "nested/" } else { "" };
        let versions = if draw.below(16) == 0 { draw.between(2, 4) } else { 1 };
        let length = |draw: &mut Draw| {
            let log2 = draw.between(0, SIZE_MAX_LOG2);
            usize::try_from((1 << log2) - draw.below(1 + (1 << log2) / 2)).unwrap()
        };
        let mut lengths: Vec<usize> = Vec::new();
        while (lengths.len() as u64) < versions {
            let length = length(&mut draw);
            if !lengths.contains(&length) {
                lengths.push(length);
            }
        }
        for version in 1..lengths.len() {
            plan.push((
                version as u64 * 1000 + draw.below(1000),
                Happens::Version(number, version),
            ));
        }
        builds.push(Build {
            key: format!("day-{seed}/{folder}build-{number}.zip"),
            versions: lengths,
            number: number as u64,
        });
    }
    let host = usize::try_from(draw.below(HOSTS as u64)).unwrap();
    for (dies, starts) in [
        (Happens::SeederDies, Happens::SeederStarts),
        (Happens::HostDies(host), Happens::HostStarts(host)),
    ] {
        let at = draw.below(6000);
        plan.push((at, dies));
        plan.push((at + draw.between(200, 5000), starts));
    }
    plan.sort_unstable();
    Day {
        builds,
        plan,
        listed: draw.between(8, 32),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_builds_reach_ten_hosts_whoever_is_killed() {
    let services = Services::start().await;
    for seed in seeds() {
        let _replay = Replay {
            test: "a_hundred_builds_reach_ten_hosts_whoever_is_killed",
            seed,
        };
        let began = Instant::now();
        Box::pin(a_day(&services, seed)).await;
        println!("seed {seed}: {:.1} s", began.elapsed().as_secs_f64());
    }
}

async fn a_day(services: &Services, seed: u64) {
    let Day { builds, plan, listed } = draw(seed);
    let region = Region::start(services, &format!("day-{seed}")).await;
    for build in &builds {
        region.put(&build.key, build.bytes(0)).await;
    }
    let builds_max = listed.to_string();
    let of_seeder = [
        "--visible-after",
        "5",
        "--seed-at-least",
        "1",
        "--builds-max",
        &builds_max,
    ];
    let of_host = ["--keep", "1000", "--serve-idle", "1"];
    let mut seeder = region.seeder(&of_seeder).await;
    let mut hosts: Vec<Agent> = (0..HOSTS).map(|host| region.host(host, &of_host)).collect();
    until("all hosts follow the directory", || region.connections() >= HOSTS).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before: Vec<Usage> = hosts.iter().chain([&seeder]).map(Agent::usage).collect();

    let told = Instant::now();
    let telling = stream::iter(&builds).for_each_concurrent(4, |build| region.tell(&build.key));
    let happening = async {
        for (at, what) in &plan {
            tokio::time::sleep_until((told + Duration::from_millis(*at)).into()).await;
            match *what {
                Happens::SeederDies => seeder.kill(),
                Happens::SeederStarts => seeder = region.seeder(&of_seeder).await,
                Happens::HostDies(host) => hosts[host].kill(),
                Happens::HostStarts(host) => hosts[host] = region.host(host, &of_host),
                Happens::Version(number, version) => {
                    let build = &builds[number];
                    region.put(&build.key, build.bytes(version)).await;
                    region.tell(&build.key).await;
                }
            }
        }
    };
    // Beside all that: a query may take long, and who is away for long is not waited for.
    let mut first_rows = Rows::new();
    let happened = async { tokio::join!(telling, happening) };
    tokio::select! {
        _ = happened => {}
        () = see_first_rows(&region, &builds, &mut first_rows) => {}
    }

    // Every build is on every host …
    let began = Instant::now();
    loop {
        let lacking = lacking(&region, &builds);
        if lacking.is_empty() {
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "seed {seed}: {} of {} are not there: {:?}\nplan {plan:?}\n{}\n{}",
            lacking.len(),
            BUILDS * HOSTS,
            &lacking[..lacking.len().min(12)],
            seeder.said(),
            hosts[lacking[0].0].said()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = told.elapsed();
    for build in &builds {
        let expected = build.bytes(build.last());
        for host in 0..HOSTS {
            let file = region.builds(host).join(&build.key);
            assert!(
                std::fs::read(&file).unwrap() == expected,
                "seed {seed}: {}",
                file.display()
            );
        }
    }
    // … with one row, which says when it came the first time …
    check_rows(&region, &builds, &first_rows, seed).await;
    // … and nothing was printed twice or pulled twice.
    let killed = plan.iter().find_map(|(_, what)| match what {
        Happens::HostDies(host) => Some(*host),
        _ => None,
    });
    eprintln!("seed {seed}: rows after {:.1} s", told.elapsed().as_secs_f64());
    check_lines(&hosts, &builds, killed.unwrap(), seed);
    check_gets(services, &builds, seed);
    // Nothing is left that the builds did not need.
    let began = Instant::now();
    while region.messages().await > 0 {
        assert!(
            began.elapsed() < PATIENCE,
            "seed {seed}: messages are left\n{}",
            seeder.said()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!("seed {seed}: messages after {:.1} s", told.elapsed().as_secs_f64());
    check_folders(&region, &builds, seed);
    check_usage(&hosts, &seeder, &before, listed, seed).await;
    eprintln!("seed {seed}: all is there after {:.1} s", took.as_secs_f64());
    for agent in hosts.iter_mut().chain([&mut seeder]) {
        agent.stops().await;
    }
}

/// Hosts and keys that are not there as they are to be in the end, by their lengths.
fn lacking<'a>(region: &Region<'_>, builds: &'a [Build]) -> Vec<(usize, &'a str)> {
    let mut lacking = Vec::new();
    for host in 0..HOSTS {
        for build in builds {
            let there = std::fs::metadata(region.builds(host).join(&build.key));
            if there.map(|there| there.len()).ok() != Some(build.versions[build.last()] as u64) {
                lacking.push((host, &*build.key));
            }
        }
    }
    lacking
}

type Rows = BTreeMap<(String, String, Option<String>), DeploymentLog>;

async fn rows(region: &Region<'_>, builds: impl IntoIterator<Item = &Build>) -> Rows {
    let all = stream::iter(builds).map(|build| region.rows(&build.key)).buffered(4);
    let all = all.collect::<Vec<_>>().await.into_iter().flatten();
    all.map(|row| ((row.build_id.clone(), row.host_id.clone(), row.version.clone()), row))
        .collect()
}

/// Notes rows as they are the first time that they are seen, for as long as it is let.
async fn see_first_rows(region: &Region<'_>, builds: &[Build], first: &mut Rows) {
    for build in builds.iter().cycle() {
        for (id, row) in rows(region, [build]).await {
            if row.status == DeploymentStatus::Succeeded {
                first.entry(id).or_insert(row);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn check_rows(region: &Region<'_>, builds: &[Build], first: &Rows, seed: u64) {
    let mut wanted = BTreeSet::new();
    for build in builds {
        let head = region.services.buckets.head(BUCKET, &build.key).await.unwrap();
        for host in 0..HOSTS {
            wanted.insert((build.key.clone(), format!("host-{host}"), Some(head.etag.clone())));
        }
    }
    let began = Instant::now();
    let mut all = rows(region, builds).await;
    loop {
        let there: BTreeSet<_> = all.keys().cloned().collect();
        let lacking: BTreeSet<_> = wanted.difference(&there).collect();
        if lacking.is_empty() {
            assert_eq!(there, wanted, "seed {seed}: rows that nobody wants");
            break;
        }
        assert!(began.elapsed() < PATIENCE, "seed {seed}: no rows of {lacking:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let keys: BTreeSet<String> = lacking.iter().map(|(key, ..)| key.clone()).collect();
        all.retain(|(key, ..), _| !keys.contains(key));
        all.extend(rows(region, builds.iter().filter(|build| keys.contains(&build.key))).await);
    }
    for (id, row) in &all {
        assert_eq!(row.status, DeploymentStatus::Succeeded, "seed {seed}: {row:?}");
        if let Some(first) = first.get(id) {
            assert_eq!(row, first, "seed {seed}: a row was written anew");
        }
    }
}

fn check_lines(hosts: &[Agent], builds: &[Build], killed: usize, seed: u64) {
    for (number, host) in hosts.iter().enumerate() {
        let lines = host.lines();
        let mut silent = Vec::new();
        for build in builds {
            let begins = format!("{} ", build.key);
            let printed = lines.iter().filter(|line| line.starts_with(&begins)).count();
            assert!(
                printed <= build.versions.len(),
                "seed {seed}: host {number} printed {} {printed} times",
                build.key
            );
            if printed == 0 {
                silent.push(&build.key);
            }
        }
        // What was about to be printed when it was killed is not printed: whoever reads it may have read it.
        let allowed = if number == killed { 8 } else { 0 };
        assert!(
            silent.len() <= allowed,
            "seed {seed}: host {number} is silent about {silent:?}"
        );
    }
}

/// Each build comes with one GET, which is made again only if it was under way at the kill.
fn check_gets(services: &Services, builds: &[Build], seed: u64) {
    let mut again = 0;
    for build in builds {
        let gets = services.front.gets(&build.key);
        // While a version was pulled the next one may have come: that one's chunks are asked for and refused.
        let versions = 2 * build.versions.len() - 1;
        assert!(gets <= versions + 1, "seed {seed}: {gets} GETs of {}", build.key);
        again += gets.saturating_sub(versions);
    }
    assert!(again <= GETS_MAX, "seed {seed}: {again} builds were pulled again");
}

/// What is not listed any more costs nothing: an agent has what it had before the builds, and a part for each that is listed.
async fn check_usage(hosts: &[Agent], seeder: &Agent, before: &[Usage], listed: u64, seed: u64) {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        let after: Vec<Usage> = hosts.iter().chain([seeder]).map(Agent::usage).collect();
        let is_as_before = |(after, before): (&Usage, &Usage)| {
            let links = listed * (HOSTS as u64 + 2);
            after.descriptors as u64 <= before.descriptors as u64 + HOSTS as u64 + links
                && after.threads <= before.threads + THREADS_MORE
                && after.anonymous_kib <= before.anonymous_kib + ANONYMOUS_KIB_MORE + links * ANONYMOUS_KIB_OF_LINK
        };
        let more = after.iter().zip(before).position(|usage| !is_as_before(usage));
        let Some(agent) = more else {
            return;
        };
        let open = || hosts.get(agent).unwrap_or(seeder).open();
        if began.elapsed() > USAGE_PATIENCE && !is_told {
            is_told = true;
            let after = after[agent];
            eprintln!(
                "seed {seed}: agent {agent} has more than before, still: {after:?}\n{:#?}",
                open()
            );
        }
        assert!(
            began.elapsed() < PATIENCE,
            "seed {seed}: {listed} builds are listed\nbefore {before:#?}\nafter {after:#?}\n{:#?}",
            open()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What an agent has for longer than this after all is there is told, with what it is.
const USAGE_PATIENCE: Duration = Duration::from_secs(3);
/// GETs of a seeder at a time.
const GETS_MAX: usize = 8;
/// Threads of the runtime that wait for the disk end when they were idle for ten seconds.
const THREADS_MORE: u64 = 8;
/// What an allocator keeps of what it once had; a seeder had eight GETs of 8 MiB at a time.
const ANONYMOUS_KIB_MORE: u64 = 64 << 10;
/// A connection with its encryption, its buffers and its task.
const ANONYMOUS_KIB_OF_LINK: u64 = 64;

fn check_folders(region: &Region<'_>, builds: &[Build], seed: u64) {
    let mut wanted: BTreeSet<String> = builds.iter().map(|build| build.key.clone()).collect();
    wanted.extend([".fleetcast-builds.json", ".fleetcast-lock"].map(str::to_owned));
    for host in 0..HOSTS {
        let mut there = BTreeSet::new();
        files(&region.builds(host), "", &mut there);
        assert_eq!(there, wanted, "seed {seed}: host {host}");
    }
    let mut there = BTreeSet::new();
    files(&region.spool(), "", &mut there);
    let is_over = |name: &&String| !name.ends_with(".data") && !name.ends_with(".json");
    let over: Vec<_> = there.iter().filter(is_over).collect();
    // What a kill cut off says which build it is of in its first line.
    for pull in over.iter().filter(|name| name.ends_with(".pull")) {
        let journal = std::fs::read_to_string(region.spool().join(pull)).unwrap_or_default();
        let whole = there.contains(&pull.replace(".pull", ".json"));
        eprintln!("{pull}: whole {whole}, {}", journal.lines().next().unwrap_or_default());
    }
    assert_eq!(over, ["directory.key", "lock"], "seed {seed}: of the spool");
}

fn files(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name);
        }
    }
}
